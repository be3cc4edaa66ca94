"""Proposals around the users: prices that make positions liquidatable, and administration."""

from __future__ import annotations

from collections.abc import Callable

from risk.diff.kit.adapter import Argument
from risk.diff.kit.draw import Draw
from risk.targets.aave.admin import ADMIN, MAX_CAP, Market
from risk.targets.aave.liquidation import FULL_CLOSE_HEALTH
from risk.targets.aave.look import Choice, debt_of, held_by, owed_by, sums_of
from risk.targets.aave.math import PERCENT, WAD
from risk.targets.aave.reserve import Reserve
from risk.targets.aave.world import ASSETS, COLLATERALS, CURVES, TRADERS

HOUR = 3_600
HEALTH_GOALS = (WAD - 1, WAD, WAD + 1, FULL_CLOSE_HEALTH, FULL_CLOSE_HEALTH + 1, 98 * WAD // 100)
PRICE_LIMIT = 10**18  # base units; values then stay far below a word


# ── prices ───────────────────────────────────────────────────────────────────────────────────────


def propose_price(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    broken = [a for a, p in view.prices.items() if p <= 0]
    if broken or draw.chance(12):
        asset = draw.choice(broken or tuple(ASSETS))
        usual = ASSETS[asset][1] * 10**8
        return ADMIN, (asset, draw.integer(usual // 2, usual * 2, [usual]))
    if draw.chance(4):
        return ADMIN, (draw.choice(tuple(ASSETS)), draw.choice((0, -1, 1, PRICE_LIMIT)))
    target = _price_for_health(draw, view)
    if target is not None:
        return ADMIN, target
    asset = draw.choice(tuple(ASSETS))
    price = view.prices[asset]
    return ADMIN, (asset, draw.integer(price * 9 // 10, price * 11 // 10 + 1, [price]))


def _price_for_health(draw: Draw, view: Market) -> tuple[str, int] | None:
    """A price of a borrower's collateral or debt that gives a chosen health factor."""
    borrowers = [u for u in TRADERS if owed_by(view, u)]
    if not borrowers:
        return None
    user = draw.choice(borrowers)
    sums = sums_of(view, user)
    used = [r for r in view.reserves.values() if view.uses(user, r) and r.config.threshold]
    if sums is None or not used or not sums.debt:
        return None
    goal = draw.choice(HEALTH_GOALS) if draw.chance(70) else draw.integer(WAD // 20, 2 * WAD)
    reserve = draw.choice(used)
    price, unit = view.prices[reserve.asset], reserve.config.unit
    amount = held_by(view, reserve, user)
    weighted = sums.collateral * sums.threshold
    own = amount * price // unit * reserve.config.threshold
    owed_here = debt_of(view, reserve, user) * price // unit
    if draw.chance(25):  # move a debt's price instead
        debt = view.reserves[draw.choice(owed_by(view, user))]
        owed = debt_of(view, debt, user)
        others = sums.debt - owed * view.prices[debt.asset] // debt.config.unit
        wanted = weighted * WAD // (goal * PERCENT) - others
        found = wanted * debt.config.unit // max(owed, 1)
        return debt.asset, _in_range(found + draw.choice((-1, 0, 1)))
    # amount · p · threshold + others = goal · (debt elsewhere + debt here · p)
    slope = amount * reserve.config.threshold * WAD - goal * PERCENT * debt_of(view, reserve, user)
    rest = goal * PERCENT * (sums.debt - owed_here) - (weighted - own) * WAD
    if slope <= 0 or rest <= 0:
        return None
    return reserve.asset, _in_range(rest * unit // slope + draw.choice((-1, 0, 0, 1)))


def _in_range(price: int) -> int:
    return min(max(price, 1), PRICE_LIMIT)


# ── administration ───────────────────────────────────────────────────────────────────────────────


def _admin(
    arguments: Callable[[Draw, Reserve, Market], tuple[int, ...]],
) -> Choice:
    def choose(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
        who = ADMIN if not draw.chance(15) else draw.choice(TRADERS)
        asset = draw.choice(tuple(ASSETS))
        return who, (asset, *arguments(draw, view.reserves[asset], view))

    return choose


def _collateral(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
    del view
    config = reserve.config
    if draw.chance(50):
        return draw.choice((*COLLATERALS, (0, 0, 0), (0, 1, 65_535), (1, 1, 65_536)))
    threshold = draw.integer(0, 10_500, [config.threshold, config.ltv])
    ltv = draw.integer(0, 10_500, [config.ltv, threshold])
    return ltv, threshold, draw.integer(0, 70_000, [config.bonus, PERCENT, 65_535])


def _curve(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
    del reserve, view
    if draw.chance(35):
        return draw.choice(CURVES)
    return (
        draw.integer(0, 10_001, [100, 9_900]),
        draw.integer(0, 20_000),
        draw.integer(0, 100_000, [1_000, 90_000]),
        draw.integer(0, 100_001, [1_000, 90_000, 100_000]),
    )


def _cap(total: Callable[[Reserve, int], int]) -> Choice:
    def arguments(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
        whole = total(reserve, view.now) // reserve.config.unit
        if draw.chance(35):
            return (0,)
        return (draw.integer(0, MAX_CAP + 1, [whole, whole + 1, 2 * whole, MAX_CAP, MAX_CAP]),)

    return _admin(arguments)


def _pause(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
    del view
    on = not reserve.config.paused if draw.chance(80) else reserve.config.paused
    grace = draw.integer(HOUR, 4 * HOUR + 1, [HOUR, 4 * HOUR, 4 * HOUR])
    return int(on and not draw.chance(60)), grace


def _toggle(now: Callable[[Reserve], bool], back: int) -> Choice:
    """The other state; ``back`` percent of the moves into the unusual one are taken back."""

    def arguments(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
        del view
        state = now(reserve)
        return (int(state if draw.chance(back) else not state),)

    return _admin(arguments)


def _bps(draw: Draw, reserve: Reserve, view: Market) -> tuple[int, ...]:
    del reserve, view
    return (draw.integer(0, PERCENT + 1, [0, 1_000, PERCENT, PERCENT]),)


def _borrowed_total(reserve: Reserve, now: int) -> int:
    return reserve.d.balance(reserve.d.total, reserve.debt_index(now))


def _supplied_total(reserve: Reserve, now: int) -> int:
    return reserve.a.balance(reserve.a.total + reserve.accrued, reserve.income(now))


ADMINISTRATION: list[tuple[str, Choice]] = [
    ("configureReserveAsCollateral", _admin(_collateral)),
    ("configureReserveAsCollateral", _admin(_collateral)),
    ("setReserveFactor", _admin(_bps)),
    ("setLiquidationProtocolFee", _admin(_bps)),
    ("setReserveInterestRateData", _admin(_curve)),
    ("setBorrowCap", _cap(_borrowed_total)),
    ("setSupplyCap", _cap(_supplied_total)),
    ("setReservePause", _admin(_pause)),
    ("setReserveFreeze", _toggle(lambda r: r.config.frozen, 10)),
    ("setReserveLtvzero", _toggle(lambda r: r.config.ltv == 0, 10)),
    ("setReserveBorrowing", _toggle(lambda r: r.config.borrowing, 50)),
    ("setReserveActive", _toggle(lambda r: r.config.active, 50)),
]


def recoveries(view: Market) -> list[tuple[str, Choice]]:
    """Back to normal operation, so that a sequence does not end in refusals only."""
    found: list[tuple[str, Choice]] = []
    for asset, reserve in view.reserves.items():
        config = reserve.config
        if config.paused:
            found.append(("setReservePause", _unpause(asset)))
        if config.frozen:
            found.append(("setReserveFreeze", _fixed(asset, 0)))
        elif reserve.pending_ltv and not config.ltv:
            found.append(("setReserveLtvzero", _fixed(asset, 0)))
        if not config.active:
            found.append(("setReserveActive", _fixed(asset, 1)))
        if not config.borrowing:
            found.append(("setReserveBorrowing", _fixed(asset, 1)))
        if view.prices[asset] <= 0 or view.prices[asset] in (1, PRICE_LIMIT):
            found.append(("setPrice", _fixed(asset, ASSETS[asset][1] * 10**8)))
    return found


def _fixed(*arguments: Argument) -> Choice:
    return lambda draw, view: (ADMIN, arguments)


def _unpause(asset: str) -> Choice:
    return lambda draw, view: (ADMIN, (asset, 0, draw.integer(0, 4 * HOUR, [0, HOUR, 4 * HOUR])))
