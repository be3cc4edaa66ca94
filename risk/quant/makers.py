"""The other side of drawn accounts, and how well drawn accounts are margined.

On a chain the sizes of every instrument sum to zero. A drawn book is therefore closed by *makers*:
accounts that hold, in equal shares, the opposite of everything the drawn traders hold. What does
not divide goes to the first of them, so the sum is zero to the wei.

E/MM of a trader is 1 + 1.5·exp(0.9·z), z standard normal, within `HEALTH`: the median is 2.5, about
one account in thirty has less than 1.3 (the IM factor of usual parameters), one in twenty more than
7.6. The shape is an assumption, made to look like a venue in use: few accounts near their limits,
none below, a long tail with plenty of cash. Makers have `MAKER_HEALTH`.

Drawn sizes know nothing of the market. Where the open interest of an underlying would exceed
`DEPTH_SHARE` of its depth parameter, all its sizes are made smaller by one factor: thousands of
traders in a market made for a handful would otherwise owe more for their size than for their risk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin import instrument_id
from risk.exact.state import Account, Linear, Option, State
from risk.quant.book_market import holdings, interest_index
from risk.quant.errors import QuantError

BPS: Final = 10_000
HEALTH: Final = (1.02, 20.0)  # E/MM of a trader lies within
MEDIAN_EXCESS: Final = 1.5  # of E/MM over 1
SPREAD: Final = 0.9  # standard deviation of its logarithm
MAKER_HEALTH: Final = 8
TRADERS_OF_A_MAKER: Final = 100
DEPTH_SHARE: Final = (1, 2)  # of the depth, the most open interest
MAX_ENTRIES: Final = 64  # positions of one maker: within any limit of work, docs/accounts.md


def health_bps(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """(count,) E/MM of traders in whole basis points."""
    excess = MEDIAN_EXCESS * np.exp(SPREAD * rng.standard_normal(count))
    return np.asarray((np.clip(1.0 + excess, *HEALTH) * BPS).astype(np.int64))


def makers(traders: Sequence[Account]) -> list[Account]:
    """Accounts without cash that hold the other side of `traders`, exactly: sizes and quotes of
    every instrument sum to zero. Each serves instruments of one underlying, at most `MAX_ENTRIES`;
    there are as many of each kind as `TRADERS_OF_A_MAKER` asks for, at least one.
    """
    sizes: dict[int, int] = {}
    quotes: dict[int, int] = {}
    for account in traders:
        for x in holdings(account):
            sizes[x.instrument] = sizes.get(x.instrument, 0) - x.size_wad
            if isinstance(x, Linear):
                quotes[x.instrument] = quotes.get(x.instrument, 0) - x.quote_wad
    shares = max(1, len(traders) // TRADERS_OF_A_MAKER)
    out: list[Account] = []
    for group in _groups(sorted(sizes)):
        mine = [Account() for _ in range(shares)]
        for number in group:
            for i, account in enumerate(mine):
                size, quote = (_share(x, shares, i) for x in (sizes[number], quotes.get(number, 0)))
                if number in quotes:
                    if size or quote:
                        account.linear.append(Linear(number, size, quote))
                elif size:
                    account.options.append(Option(number, size))
        out += mine
    return [a for a in out if a.linear or a.options]


def _groups(instruments: Sequence[int]) -> list[list[int]]:
    """By underlying, at most `MAX_ENTRIES` each."""
    by: dict[int, list[int]] = {}
    for number in instruments:
        by.setdefault(instrument_id.underlying(number), []).append(number)
    return [
        mine[i : i + MAX_ENTRIES] for mine in by.values() for i in range(0, len(mine), MAX_ENTRIES)
    ]


def _share(whole: int, parts: int, i: int) -> int:
    """The i-th of `parts` whole numbers that sum to `whole`; the first takes the rest."""
    return whole // parts + (whole % parts if i == 0 else 0)


def fit(state: State, traders: Sequence[Account]) -> None:
    """Makes sizes and quotes smaller, towards zero, as the module says; in place."""
    if state.params is None:
        return
    gross = [0] * len(state.underlyings)  # of the traders: at least the open interest
    for x in (x for a in traders for x in holdings(a)):
        gross[instrument_id.underlying(x.instrument)] += abs(x.size_wad)
    most = [u.depth_wad * DEPTH_SHARE[0] // DEPTH_SHARE[1] for u in state.params.underlyings]
    for a in traders:
        for x in holdings(a):
            u = instrument_id.underlying(x.instrument)
            if gross[u] > most[u]:
                x.size_wad = _part(x.size_wad, most[u], gross[u])
                if isinstance(x, Linear):
                    x.quote_wad = _part(x.quote_wad, most[u], gross[u])
        a.linear = [x for x in a.linear if x.size_wad]
        a.options = [x for x in a.options if x.size_wad]


def _part(amount: int, share: int, whole: int) -> int:
    """amount·share/whole towards zero."""
    part = abs(amount) * share // whole
    return part if amount > 0 else -part


def close(state: State, traders: dict[int, Account], rng: np.random.Generator) -> int:
    """Puts `traders`, made to `fit`, and their makers into `state` and sets everybody's cash such
    that E/MM is what was drawn (`health_bps`; makers `MAKER_HEALTH`); how many makers there are.

    Exact engine, whole wei; E is rounded up to the next wei of the ratio. Makers have the account
    ids after the last trader's. `QuantError` where an account cannot be margined. Interest indices
    are set; open interest and totals are the caller's,
    by `book_market.finish`.
    """
    from risk.vector import exact
    from risk.vector.accounts import AccountBatch
    from risk.vector.market import MarketTable

    fit(state, list(traders.values()))
    others = makers(list(traders.values()))
    first = max(traders) + 256
    state.accounts = {**traders, **{first + (i << 8): a for i, a in enumerate(others)}}
    goals = dict(zip(traders, (int(x) for x in health_bps(rng, len(traders))), strict=True))
    for account in state.accounts.values():
        if account.cash_wad == 0:
            account.cash_wad = -1  # who owes nothing has no requirement
        account.interest_index = interest_index(state, account.cash_wad)
    table = MarketTable.from_state(state)
    batch = AccountBatch.from_state(table, state)
    m = exact.margins(table, batch, state)
    if m.errors:
        raise QuantError(f"a drawn account cannot be margined: {next(iter(m.errors.values()))}")
    for number, mm, equity in zip(batch.ids, m.values("mm"), m.values("equity"), strict=True):
        account = state.accounts[number]
        account.cash_wad += -(-mm * goals.get(number, MAKER_HEALTH * BPS) // BPS) - equity
        account.interest_index = interest_index(state, account.cash_wad)
    return len(others)
