"""Next actions, chosen from the model's state and biased to its boundaries.

Amounts lie at balances, caps, the health factor of one, the dust rules; prices move so that some
position's health factor lands on 1 ± 1 wei, on the close factor's 0.95, or below water.
"""

from __future__ import annotations

from dataclasses import replace

from risk.diff.kit.adapter import Argument, Step
from risk.diff.kit.draw import Draw
from risk.targets.aave.admin import Market
from risk.targets.aave.liquidation import (
    MIN_LEFTOVER,
    max_repay,
)
from risk.targets.aave.look import (
    Choice,
    debt_of,
    deficits,
    draw_amount,
    draw_asset,
    held_by,
    one_with,
    owed_by,
    sick_users,
    sums_of,
    supplied_by,
)
from risk.targets.aave.math import MAX, PERCENT
from risk.targets.aave.pool import COVERAGE, VARIABLE, Clock
from risk.targets.aave.propose_market import ADMINISTRATION, propose_price, recoveries
from risk.targets.aave.reserve import Reserve
from risk.targets.aave.world import ASSETS, TRADERS, UNLISTED

HOUR, DAY, YEAR = 3_600, 86_400, 365 * 86_400


def propose(draw: Draw, model: Market) -> Step:
    """One action after some seconds."""
    wait = _wait(draw)
    view = replace(model, clock=Clock(model.now + wait))  # reads only
    kind, choose = draw.choice(_menu(draw, view))
    who, arguments = choose(draw, view)
    return Step(kind, who, arguments, wait)


def _menu(draw: Draw, view: Market) -> list[tuple[str, Choice]]:
    """The actions that fit the state, each as often as it should come up."""
    sick = bool(sick_users(view))
    debts = any(r.d.total for r in view.reserves.values())
    if not debts and draw.chance(80):
        start: list[tuple[str, Choice]] = [("supply", _supply), ("borrow", _borrow)]
        return start
    menu: list[tuple[str, Choice]] = [
        *[("supply", _supply)] * 12,
        *[("withdraw", _withdraw)] * 10,
        *[("borrow", _borrow)] * 14,
        *[("repay", _repay)] * 7,
        *[("repayWithATokens", _repay_with_a)] * 4,
        *[("setUserUseReserveAsCollateral", _use)] * 5,
        *[("liquidationCall", _liquidate)] * (50 if sick else 3),
        *[("setPrice", propose_price)] * (8 if sick else 18),
        *[("transfer", _transfer)] * 4,
        *[("mintToTreasury", _mint)] * 2,
        *[("eliminateReserveDeficit", _cover)] * (5 if deficits(view) else 1),
        ("approve", _approve),
        *[("approveDelegation", _delegate)] * 2,
        ("donate", _donate),
    ]
    if draw.chance(11):
        return list(ADMINISTRATION)
    if sick and draw.chance(35):
        return [("liquidationCall", _liquidate)]
    broken = recoveries(view)
    return broken if broken and draw.chance(18) else menu


def _wait(draw: Draw) -> int:
    if draw.chance(45):
        return 0
    if draw.chance(60):
        return draw.integer(1, HOUR, (1, 12, HOUR))
    return draw.integer(1, YEAR, (DAY, 30 * DAY)) if draw.chance(15) else draw.integer(1, 3 * DAY)


# ── users ────────────────────────────────────────────────────────────────────────────────────────


def _supply(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = draw.choice((*TRADERS, COVERAGE))
    asset = draw_asset(draw, [a for a, r in view.reserves.items() if r.underlying.of(who)])
    if asset == UNLISTED:
        return who, (asset, 1, who)
    reserve = view.reserves[asset]
    balance = reserve.underlying.of(who)
    edges = [balance, reserve.config.unit, 1]
    if reserve.config.supply_cap:
        index = reserve.income(view.now)
        used = reserve.a.balance(reserve.a.total + reserve.accrued, index)
        edges += [reserve.config.supply_cap * reserve.config.unit - used] * 3
    holder = who
    if draw.chance(6):
        holder = draw.choice((*TRADERS, COVERAGE, reserve.vault))
    return who, (asset, draw_amount(draw, balance, edges), holder)


def _withdraw(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = one_with(draw, (*TRADERS, COVERAGE), lambda user: bool(supplied_by(view, user)))
    asset = draw_asset(draw, supplied_by(view, who))
    if asset == UNLISTED:
        return who, (asset, 1, who)
    reserve = view.reserves[asset]
    held = held_by(view, reserve, who)
    edges = [held, reserve.virtual, MAX, *_free(view, reserve, who, held)]
    if draw.chance(10):
        return who, (asset, MAX, who)
    to = who
    if draw.chance(8):
        to = draw.choice((*TRADERS, reserve.vault))
    return who, (asset, draw_amount(draw, held, edges), to)


def _free(view: Market, reserve: Reserve, user: str, held: int) -> list[int]:
    """Amounts of a collateral that leave a health factor near one."""
    sums = sums_of(view, user)
    price, threshold = view.prices[reserve.asset], reserve.config.threshold
    if not sums or not sums.debt or price <= 0 or not threshold or not view.uses(user, reserve):
        return []
    spare = sums.collateral * sums.threshold - sums.debt * PERCENT
    amount = spare * reserve.config.unit // (threshold * price)
    return [amount, amount, held - amount] if 0 < amount <= held else []


def _borrow(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = holder = one_with(
        draw, TRADERS, lambda user: bool((sums := sums_of(view, user)) and sums.words()[2])
    )
    lent = [a for a, r in view.reserves.items() if r.virtual and r.config.borrowing]
    asset = draw_asset(draw, lent)
    if draw.chance(12):
        delegated = [
            (j, i, a) for a, r in view.reserves.items() for (i, j), n in r.d.allowances.items() if n
        ]
        if delegated:
            who, holder, asset = draw.choice(delegated)
        else:
            holder = draw.choice(TRADERS)
    mode = VARIABLE if not draw.chance(4) else draw.choice((0, 1, 3, MAX))
    if asset == UNLISTED:
        return who, (asset, 1, mode, holder)
    reserve = view.reserves[asset]
    sums = sums_of(view, holder)
    edges = [reserve.virtual, 1, reserve.d.allowances.get((holder, who), reserve.virtual)]
    high = reserve.virtual
    if sums and view.prices[asset] > 0:
        price, unit = view.prices[asset], reserve.config.unit
        room = sums.words()[2] * unit // price
        edges += [room] * 4
        edges += [max(sums.collateral * sums.threshold // PERCENT - sums.debt, 0) * unit // price]
        high = min(high, room) if draw.chance(80) else high
    if reserve.config.borrow_cap:
        total = reserve.d.balance(reserve.d.total, reserve.debt_index(view.now))
        edges += [reserve.config.borrow_cap * reserve.config.unit - total] * 3
    if draw.chance(35):
        edges = [high]  # a position near its limit is the one that a price can push over it
    return who, (asset, draw_amount(draw, high, edges), mode, holder)


def _repay(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    holder = one_with(draw, TRADERS, lambda user: bool(owed_by(view, user)))
    who = holder if not draw.chance(25) else draw.choice(TRADERS)
    asset = draw_asset(draw, owed_by(view, holder))
    mode = VARIABLE if not draw.chance(4) else draw.choice((0, 1, 3, MAX))
    if asset == UNLISTED:
        return who, (asset, 1, mode, holder)
    debt = debt_of(view, view.reserves[asset], holder)
    amount = MAX if draw.chance(15) else draw_amount(draw, debt, [debt, 1, MAX])
    return who, (asset, amount, mode, holder)


def _repay_with_a(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = one_with(
        draw, TRADERS, lambda user: bool({*owed_by(view, user)} & {*supplied_by(view, user)})
    )
    both = [a for a in owed_by(view, who) if a in supplied_by(view, who)]
    asset = draw_asset(draw, both or owed_by(view, who))
    mode = VARIABLE if not draw.chance(4) else draw.choice((0, 1, 3, MAX))
    if asset == UNLISTED:
        return who, (asset, 1, mode)
    reserve = view.reserves[asset]
    debt, held = debt_of(view, reserve, who), held_by(view, reserve, who)
    amount = MAX if draw.chance(25) else draw_amount(draw, min(debt, held), [debt, held, 1])
    return who, (asset, amount, mode)


def _use(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = one_with(draw, (*TRADERS, COVERAGE), lambda user: bool(supplied_by(view, user)))
    asset = draw_asset(draw, supplied_by(view, who))
    if asset == UNLISTED:
        return who, (asset, 1)
    using = view.uses(who, view.reserves[asset])
    return who, (asset, int(using if draw.chance(10) else not using))


def _transfer(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = draw.choice(TRADERS)
    asset = draw_asset(draw, supplied_by(view, who))
    asset = asset if asset != UNLISTED else "USDC"
    reserve = view.reserves[asset]
    held = held_by(view, reserve, who)
    edges = [held, held, *_free(view, reserve, who, held)]
    to = COVERAGE if deficits(view) and draw.chance(50) else draw.choice(TRADERS)
    return who, (asset, to, draw_amount(draw, held, edges))


def _approve(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = draw.choice(TRADERS)
    asset = draw.choice(tuple(ASSETS))
    balance = view.reserves[asset].underlying.of(who)
    return who, (asset, MAX if draw.chance(75) else draw.integer(0, max(balance, 1)))


def _delegate(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who, to = draw.choice(TRADERS), draw.choice(TRADERS)
    asset = draw.choice(tuple(ASSETS))
    reserve = view.reserves[asset]
    return who, (asset, to, draw.integer(0, MAX, [reserve.virtual, reserve.config.unit, MAX]))


def _donate(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = draw.choice(TRADERS)
    asset = draw.choice(tuple(ASSETS))
    balance = view.reserves[asset].underlying.of(who)
    return who, (asset, draw.integer(0, balance // 1_000 + 1, [1]))


# ── liquidation and treasury ─────────────────────────────────────────────────────────────────────


def _liquidate(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    sick = sick_users(view)
    borrower = draw.choice(sick) if sick and not draw.chance(5) else draw.choice(TRADERS)
    others = tuple(t for t in TRADERS if t != borrower)
    used = [a for a, r in view.reserves.items() if view.uses(borrower, r)]
    collateral = draw_asset(draw, used)
    debt = draw_asset(draw, owed_by(view, borrower))
    rich = [u for u in others if debt in view.reserves and _rich(view, u, borrower, debt)]
    who = draw.choice(rich if rich and not draw.chance(15) else others)
    who = borrower if draw.chance(3) else who
    cover = MAX
    if UNLISTED not in (collateral, debt) and not draw.chance(45):
        cover = _cover_amount(draw, view, borrower, view.reserves[collateral], view.reserves[debt])
    return who, (collateral, debt, borrower, cover, int(draw.chance(35)))


def _rich(view: Market, user: str, borrower: str, asset: str) -> bool:
    reserve = view.reserves[asset]
    return reserve.underlying.of(user) >= debt_of(view, reserve, borrower)


def _cover_amount(
    draw: Draw, view: Market, borrower: str, collateral: Reserve, owed: Reserve
) -> int:
    """At the close factor, at the collateral's worth, at the dust that must not stay."""
    debt, held = debt_of(view, owed, borrower), held_by(view, collateral, borrower)
    prices = (view.prices[collateral.asset], view.prices[owed.asset])
    units = (collateral.config.unit, owed.config.unit)
    sums = sums_of(view, borrower)
    if sums is None or min(prices) <= 0:
        return MAX
    dust = MIN_LEFTOVER * units[1] // prices[1]
    worth = held * prices[0] * units[1] // (prices[1] * units[0])
    worth = worth * PERCENT // max(collateral.config.bonus, 1)
    best = max_repay(sums, debt, held, prices, units)
    edges = [debt, best, debt - dust, worth, worth - dust, debt // 2, 1]
    return draw_amount(draw, debt, edges)


def _mint(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    del view
    return draw.choice(TRADERS), (draw.integer(0, 15, [15]),)


def _cover(draw: Draw, view: Market) -> tuple[str, tuple[Argument, ...]]:
    who = COVERAGE if not draw.chance(5) else draw.choice(TRADERS)
    asset = draw_asset(draw, deficits(view))
    asset = asset if asset != UNLISTED else "USDC"
    reserve = view.reserves[asset]
    held = held_by(view, reserve, who)
    edges = [reserve.deficit, held, MAX]
    return who, (asset, draw_amount(draw, max(reserve.deficit, 1), edges))
