"""Random accounts, from empty to 128 positions, and the move to a health boundary."""

from __future__ import annotations

from collections import Counter
from random import Random

from risk.diff.plumbline.draw import chance, log_int, near, sign, weighted
from risk.diff.plumbline.world import CALL, FUTURE, PERP, WorldSpec
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.state import Account, Linear, Option, State

WAD = 10**18
MAX_POSITIONS = 128


def position_count(rng: Random) -> int:
    """Number of positions: empty to the limit, with the shares that the issue asks for."""
    low, high = weighted(
        rng,
        [
            ((0, 0), 4),
            ((1, 3), 12),
            ((4, 15), 38),
            ((16, 63), 30),
            ((64, 127), 13),
            ((128, 128), 3),
        ],
    )
    return rng.randint(low, high)


def make_account(rng: Random, spec: WorldSpec, count: int, *, wild: bool = True) -> Account:
    """An account with ``count`` positions (fewer where the world lists fewer), collateral and some
    cash.
    """
    account = Account()
    notional = log_int(rng, 10, 10**6)
    bias = weighted(rng, [(0, 6), (1, 1), (-1, 1)])  # mixed, all long, all short
    ids = spec.instruments()
    chosen = rng.sample(ids, min(count, len(ids)))
    extreme = wild and chance(rng, 5)
    for item in chosen:
        size = _size(rng, spec, item, notional, extreme) * (bias or sign(rng))
        _add(rng, spec, account, item, size)
    if chance(rng, 50):
        _mirror(rng, spec, account)
    for j, c in enumerate(spec.collaterals):
        if chance(rng, 60):
            price = spec.underlyings[c.underlying].price_wad
            account.collateral[j] = (
                log_int(rng, 1, notional * 10) * WAD * 10**c.decimals // max(1, price)
            )
            account.collateral[j] = min(account.collateral[j], 2**100)
    account.cash_wad = near(rng, notional * WAD * max(1, count) // 4, 900_000) * weighted(
        rng, [(1, 6), (0, 1), (-1, 2)]
    )
    return account


def _size(rng: Random, spec: WorldSpec, item: int, notional: int, extreme: bool) -> int:
    if extreme and chance(rng, 30):
        return rng.choice([1, 2, 2**95 - 1, 10**12])
    price = max(1, spec.underlyings[item >> 28].price_wad)
    return min(max(1, near(rng, notional, 950_000) * WAD * WAD // price), 2**94)


def _add(rng: Random, spec: WorldSpec, account: Account, item: int, size: int) -> None:
    kind = item >> 26 & 3
    if kind in (PERP, FUTURE):
        price = spec.underlyings[item >> 28].price_wad
        quote = -size * near(rng, price, 50_000) // WAD
        if chance(rng, 4):  # an undrawn claim
            size, quote = 0, abs(quote) // 50 + 1
        account.linear.append(Linear(item, size, max(-(2**126), min(2**126, quote))))
    else:
        account.options.append(Option(item, size))


def _mirror(rng: Random, spec: WorldSpec, account: Account) -> None:
    """Make some neighbouring options spreads: opposite signs, so that scan, floor and basis net in
    part.
    """
    for a, b in zip(account.options[::2], account.options[1::2], strict=False):
        if chance(rng, 50) and a.instrument >> 28 == b.instrument >> 28:
            b.size_wad = max(
                -(2**94), min(2**94, -near(rng, a.size_wad, rng.choice([0, 1, 200_000])))
            )
            if b.size_wad == 0:
                b.size_wad = 1


def open_interest(accounts: list[Account]) -> Counter[int]:
    """Σ |size| by underlying: an upper bound of what these accounts need as open interest."""
    total: Counter[int] = Counter()
    for account in accounts:
        for linear in account.linear:
            total[linear.instrument >> 28] += abs(linear.size_wad)
        for option in account.options:
            total[option.instrument >> 28] += abs(option.size_wad)
    return total


def underlyings_of(account: Account, spec: WorldSpec) -> set[int]:
    """Underlyings that the account holds, collateral included."""
    held = {p.instrument >> 28 for p in account.linear} | {
        p.instrument >> 28 for p in account.options
    }
    return held | {c.underlying for j, c in enumerate(spec.collaterals) if account.collateral[j]}


def move_to_boundary(rng: Random, state: State, account_id: int) -> str:
    """Set cash so that E stands at, or within 1e-6 of, MM, IM or the target.  Returns which, or ""
    if it cannot.
    """
    account = state.accounts[account_id]
    try:
        margin = margin_engine.compute(state, account_id, account)
    except ModelRevert:
        return ""
    if not margin.has_obligations or margin.mm == 0 or state.params is None:
        return ""
    name, goal = weighted(
        rng,
        [
            (("HF=1", margin.mm), 5),
            (("IM", margin.im), 2),
            (("target", -(-margin.mm * state.params.target_bps // 10_000)), 2),
        ],
    )
    offset = weighted(
        rng, [(0, 2), (1, 1), (-1, 4), (-2, 1), (goal * rng.randint(-900, 900) // 10**9, 3)]
    )
    cash = account.cash_wad + goal + offset - margin.equity
    if not -(2**126) < cash < 2**126:
        return ""
    old, account.cash_wad = account.cash_wad, cash
    if cash >= 0 > old or old >= 0 > cash:  # the obligation flag may have changed with the sign
        again = margin_engine.compute(state, account_id, account)
        if again.mm != margin.mm or again.im != margin.im:
            account.cash_wad = old
            return ""
    return name


def set_health(rng: Random, state: State, account_id: int) -> None:
    """Set cash so that E is somewhere between −MM and 2·MM."""
    account = state.accounts[account_id]
    try:
        margin = margin_engine.compute(state, account_id, account)
    except ModelRevert:
        return
    cash = account.cash_wad - margin.equity + margin.mm * rng.randint(-1000, 2000) // 1000
    if -(2**126) < cash < 2**126:
        account.cash_wad = cash


def instruments_of(account: Account) -> list[int]:
    """Ids of every position, linear first."""
    return [p.instrument for p in account.linear] + [p.instrument for p in account.options]


def option_ids(account: Account) -> list[int]:
    """Ids of the options: those with a scenario array."""
    return [p.instrument for p in account.options if p.instrument >> 26 & 3 >= CALL]
