"""Accounts of the margin cases, drawn fast: one account a case, none repeated.

The account of (market, index) depends on nothing else. Sizes, quotes and cash are biased to the
ends of their types; of a share of the accounts E − MM or E − IM is −1, 0 or +1 wei.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from risk.diff.margin_cases.market import Market
from risk.diff.plumbline.draw import log_int, weighted
from risk.exact.custody import interest_lib
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Linear, Option

WAD = 10**18
INDEX_ONE = 10**15
MAX_POSITIONS = 128
SIZE_EDGES = (1, 2, -1, -2, 10**12, -(10**12), 2**94, -(2**94), 2**95 - 1, -(2**95))
QUOTE_EDGES = (0, 1, -1, 2**126, 2**127 - 1, -(2**127))
AMOUNT_EDGES = (1, 2, 2**64, 2**127, 2**128 - 1)
CASH_EDGES = (0, 1, -1, 2**120, 2**127 - 1, -(2**127))

BOUNDARY_SHARE = 0.4
EDGE_ACCOUNT_SHARE = 0.05  # accounts with values at the ends of their types

MarginOf = Callable[[int, Account], Margin | None]


@dataclass(frozen=True)
class Mix:
    """What accounts look like: ``positions`` of each, or 0..128 with a bias where it is None."""

    positions: int | None = 16
    boundary_share: float = BOUNDARY_SHARE
    edge_share: float = EDGE_ACCOUNT_SHARE


@dataclass(frozen=True)
class MarginCase:
    """One call of ``margin(account)``. ``boundary`` is ``MM-1``, ``IM+0`` …, or empty."""

    index: int
    account_id: int
    account: Account
    boundary: str = ""


def account_id(seed: int, index: int) -> int:
    """A uint168 of its own for each case: owner (160 bits) and sub-account (8 bits)."""
    return (0xACC << 148 | seed % 2**48 << 96 | index) << 8 | index % 256


def make_case(market: Market, index: int, mix: Mix, margin_of: MarginOf) -> MarginCase:
    """The case of this market and index. ``margin_of`` is the model, which a boundary needs."""
    rng = Random(f"margin case {market.seed} {market.number} {index} {mix}")
    account = _account(rng, market, mix)
    number = account_id(market.seed, index)
    boundary = ""
    if rng.random() < mix.boundary_share:
        boundary = _to_boundary(rng, market, number, account, margin_of)
    return MarginCase(index, number, account, boundary)


def _count(rng: Random, mix: Mix) -> int:
    if mix.positions is not None:
        return mix.positions
    low, high = weighted(
        rng,
        [
            ((0, 0), 4),
            ((1, 3), 16),
            ((4, 15), 30),
            ((16, 40), 34),
            ((41, 127), 13),
            ((128, 128), 3),
        ],
    )
    return rng.randint(low, high)


def _account(rng: Random, market: Market, mix: Mix) -> Account:
    count = min(_count(rng, mix), MAX_POSITIONS)
    linear = min(
        len(market.linear), count, int(count * weighted(rng, [(0.0, 3), (0.2, 8), (1.0, 1)]))
    )
    linear = linear or int(count > 0 and rng.random() < 0.3)
    options = min(count - linear, len(market.options))
    account = Account()
    notional = log_int(rng, 10, 10**7) * WAD
    bias = weighted(rng, [(0, 6), (1, 1), (-1, 1)])  # mixed, all long, all short
    edgy = rng.random() < mix.edge_share
    prices = market.prices_wad
    for item in rng.sample(market.linear, linear):
        size = _size(rng, notional, prices[item >> 28], bias, edgy)
        account.linear.append(_linear(rng, item, size, prices[item >> 28], edgy))
    for item in rng.sample(market.options, options):
        account.options.append(Option(item, _size(rng, notional, prices[item >> 28], bias, edgy)))
    if options > 1 and rng.random() < 0.4:
        _hedge(rng, account)
    _collateral(rng, market, account, notional, edgy)
    _cash(rng, market, account, notional * max(1, count), edgy)
    if rng.random() < 0.1:  # flags lie in the same word as the cash and must not matter
        account.margin_call, account.flagged_at = True, rng.getrandbits(32)
    return account


def _size(rng: Random, notional: int, price: int, bias: int, edgy: bool) -> int:
    if edgy and rng.random() < 0.2:
        return rng.choice(SIZE_EDGES)
    size = max(1, min(int(notional * (0.05 + 1.9 * rng.random())) * WAD // price, 2**93))
    return size * (bias or (1 if rng.getrandbits(1) else -1))


def _linear(rng: Random, item: int, size: int, price: int, edgy: bool) -> Linear:
    if edgy and rng.random() < 0.2:
        return Linear(item, size, rng.choice(QUOTE_EDGES))
    quote = -size * (price * rng.randint(950_000, 1_050_000) // 10**6) // WAD
    if rng.random() < 0.03:  # an undrawn claim
        return Linear(item, 0, min(abs(quote) // 50 + 1, 2**126))
    return Linear(item, size, max(-(2**126), min(2**126, quote)))


def _hedge(rng: Random, account: Account) -> None:
    """Opposite signs on neighbouring options, equal or nearly so."""
    for a, b in zip(account.options[::2], account.options[1::2], strict=False):
        if rng.getrandbits(1):
            size = -a.size_wad + rng.choice((0, 0, 1, -1, a.size_wad // 5))
            if size and -(2**95) <= size < 2**95:
                b.size_wad = size


def _collateral(rng: Random, market: Market, account: Account, notional: int, edgy: bool) -> None:
    for j, c in enumerate(market.spec.collaterals):
        if rng.random() < 0.5:
            continue
        if edgy and rng.random() < 0.3:
            account.collateral[j] = rng.choice(AMOUNT_EDGES)
            continue
        units = int(notional * 4 * rng.random()) * WAD // market.prices_wad[c.underlying]
        account.collateral[j] = min(units // 10 ** (18 - c.decimals), 2**120)


def _cash(rng: Random, market: Market, account: Account, notional: int, edgy: bool) -> None:
    if edgy and rng.random() < 0.3:
        account.cash_wad = rng.choice(CASH_EDGES)
    else:
        account.cash_wad = int(notional * rng.random() / 4) * weighted(
            rng, [(1, 6), (0, 1), (-1, 3)]
        )
    account.cash_wad = max(-(2**127), min(2**127 - 1, account.cash_wad))
    if account.cash_wad:
        now = _index_now(market, account.cash_wad)
        account.interest_index = now if rng.random() < 0.4 else rng.randint(INDEX_ONE, now)


def _index_now(market: Market, cash: int) -> int:
    return market.state.supply_index_e15 if cash > 0 else market.state.borrow_index_e15


# ── boundaries ───────────────────────────────────────────────────────────────────────────────────


def _to_boundary(
    rng: Random, market: Market, number: int, account: Account, margin_of: MarginOf
) -> str:
    """Move cash (or the quote of a linear position) until E is MM or IM, or one wei beside it.

    Returns which one it is, or "" where the account has no obligations or a value would not fit.
    """
    margin = margin_of(number, account)
    if margin is None or not margin.has_obligations or margin.mm == 0:
        return ""
    name, goal = rng.choice((("MM", margin.mm), ("IM", margin.im)))
    offset = rng.choice((-1, 0, 1))
    move = goal + offset - margin.equity
    if account.linear and rng.random() < 0.5:
        entry = rng.choice(account.linear)
        if -(2**127) <= entry.quote_wad + move < 2**127:
            entry.quote_wad += move
            return f"{name}{offset:+d}"
    old, index = account.cash_wad, account.interest_index
    cash = interest_lib.touched(market.state, old, index) + move
    if not -(2**127) <= cash < 2**127:
        return ""
    # recorded at the present index, so that interest does not move it off the boundary
    account.cash_wad, account.interest_index = cash, _index_now(market, cash) if cash else 0
    if (cash < 0) != (old < 0):  # the sign decides about obligations, and they about MM and IM
        again = margin_of(number, account)
        if again is None or (again.mm, again.im) != (margin.mm, margin.im):
            account.cash_wad, account.interest_index = old, index
            return ""
    return f"{name}{offset:+d}"
