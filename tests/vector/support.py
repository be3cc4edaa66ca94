"""Worlds and books for the tests of the vectorised engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from risk.diff.plumbline.cases import make_case
from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, State
from risk.vector import sample
from risk.vector.accounts import AccountBatch
from risk.vector.market import MarketTable

WAD = 10**18


@dataclass(frozen=True)
class Book:
    """A state and the batch of some accounts of it."""

    state: State
    table: MarketTable
    batch: AccountBatch

    def want(self, i: int) -> Margin | ModelRevert:
        """What the model says of account i."""
        try:
            return margin_engine.compute(self.state, self.batch.ids[i], self.batch.account(i))
        except ModelRevert as error:
            return error


def generated(seed: int, first: int, last: int) -> Iterator[Book]:
    """The runner's account-level cases: wild markets, extremes, missing slices, boundaries."""
    for index in range(first, last):
        state = make_case(seed, index).state
        held = {p.instrument for a in state.accounts.values() for p in (*a.linear, *a.options)}
        table = MarketTable.from_state(state, held)
        yield Book(state, table, AccountBatch.from_state(table, state))


@cache
def tame(seed: int, instruments: int = 120, scenarios: int = 32) -> tuple[State, MarketTable]:
    """A market of the bench, smaller."""
    state = sample.market(seed, instruments=instruments, underlyings=3, scenarios=scenarios)
    return state, MarketTable.from_state(state)


def book(state: State, table: MarketTable, accounts: list[Account]) -> Book:
    """A batch of accounts as they stand."""
    names = [i + 1 << 8 for i in range(len(accounts))]
    return Book(state, table, AccountBatch.from_accounts(table, names, accounts))


def loaded(state: State, account_id: int) -> Account:
    """The account with its interest."""
    return account_lib.load(state, account_id)


def at_distance(state: State, account: Account, wei: int, *, initial: bool = False) -> Account:
    """The account with cash such that E − MM (or E − IM) is ``wei``; it must stay obliged."""
    margin = margin_engine.compute(state, 1, account)
    goal = margin.im if initial else margin.mm
    out = Account(
        account.cash_wad + goal + wei - margin.equity,
        list(account.collateral),
        list(account.linear),
        list(account.options),
    )
    again = margin_engine.compute(state, 1, out)
    assert again.equity - (again.im if initial else again.mm) == wei
    return out
