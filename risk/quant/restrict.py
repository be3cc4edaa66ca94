"""Fewer underlyings: of risk parameters, and of a whole book, where others lack prices.

An account that holds anything of an underlying that goes, a position or a collateral, goes whole:
what stays has exactly the margin that it had, because the scan of an account reads the shocks of
its own underlyings only. Nothing is repriced and no position is taken out of an account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_COLLATERALS, Account, State
from risk.quant.book_market import RiskBook, holdings
from risk.quant.errors import QuantError

_REST = 2**28 - 1  # of an instrument: everything but its underlying


def subset(params: RiskParams, columns: Sequence[int]) -> RiskParams:
    """Parameters of the underlyings `columns`, in that order, and of their collaterals. Scenarios,
    weights and all that is not of one underlying stay."""
    places = {old: new for new, old in enumerate(columns)}
    return replace(
        params,
        underlyings=tuple(params.underlyings[i] for i in columns),
        collaterals=tuple(
            replace(c, underlying=places[c.underlying])
            for c in params.collaterals
            if c.underlying in places
        ),
    )


def restrict(book: RiskBook, names: Sequence[str]) -> RiskBook:
    """The book with the underlyings `names` only, in the order of the book.

    `about["left_out"]` says what went: names of underlyings and collaterals, how many accounts
    and positions, and of how many. `QuantError` for a name that the book does not have, and where
    no account is left of a book that had some.
    """
    wanted = {book.underlying(name) for name in names}
    if not wanted:
        raise QuantError("no underlying is left")
    columns = sorted(wanted)
    places = {old: new for new, old in enumerate(columns)}
    if len(columns) == len(book.underlyings):
        return book
    state = book.state
    kept = [j for j, c in enumerate(state.collaterals) if c.underlying in places]
    accounts = {
        number: _moved(account, places, kept)
        for number, account in state.accounts.items()
        if _stays(account, places, kept)
    }
    if state.accounts and not accounts:
        raise QuantError(f"no account is left: every one holds something besides {list(names)}")
    gone = [a for number, a in state.accounts.items() if number not in accounts]
    about = {
        **book.about,
        "left_out": {
            "underlyings": [n for i, n in enumerate(book.underlyings) if i not in places],
            "collaterals": [n for j, n in enumerate(book.collaterals) if j not in kept],
            "accounts": len(gone),
            "of_accounts": len(state.accounts),
            "positions": sum(len(holdings(a)) for a in gone),
            "of_positions": sum(len(holdings(a)) for a in state.accounts.values()),
        },
    }
    if "accounts" in about:
        about["accounts"] = len(accounts)
    return RiskBook(
        _state(state, columns, places, kept, accounts),
        tuple(book.underlyings[i] for i in columns),
        tuple(book.collaterals[j] for j in kept),
        {number: name for number, name in book.labels.items() if number in accounts},
        about,
    )


def _state(
    state: State,
    columns: Sequence[int],
    places: dict[int, int],
    kept: Sequence[int],
    accounts: dict[int, Account],
) -> State:
    return replace(
        state,
        params=None if state.params is None else subset(state.params, columns),
        underlyings=[state.underlyings[i] for i in columns],
        collaterals=[
            replace(state.collaterals[j], underlying=places[state.collaterals[j].underlying])
            for j in kept
        ],
        accounts=accounts,
        buckets={
            places[key >> 16] << 16 | key & 0xFFFF: bucket
            for key, bucket in state.buckets.items()
            if key >> 16 in places
        },
        settlements={
            places[key >> 16] << 16 | key & 0xFFFF: item
            for key, item in state.settlements.items()
            if key >> 16 in places
        },
        open_interest={
            _instrument(i, places): size
            for i, size in state.open_interest.items()
            if instrument_id.underlying(i) in places
        },
    )


def _stays(account: Account, places: dict[int, int], kept: Sequence[int]) -> bool:
    if any(amount and j not in kept for j, amount in enumerate(account.collateral)):
        return False
    return all(instrument_id.underlying(x.instrument) in places for x in holdings(account))


def _moved(account: Account, places: dict[int, int], kept: Sequence[int]) -> Account:
    collateral = [account.collateral[j] for j in kept]
    return replace(
        account,
        collateral=collateral + [0] * (MAX_COLLATERALS - len(collateral)),
        linear=[replace(x, instrument=_instrument(x.instrument, places)) for x in account.linear],
        options=[replace(x, instrument=_instrument(x.instrument, places)) for x in account.options],
    )


def _instrument(number: int, places: dict[int, int]) -> int:
    return places[instrument_id.underlying(number)] << 28 | number & _REST
