"""The exact model's state, driven by events block by block, each block with its undo.

A ``Rebuilder`` (risk/chain/rebuild.py) that keeps totals as it goes, replaces accounts instead of
changing them, and can take a block back. The cost of a block is what it changes, plus a copy of the
market (underlyings, collaterals, expiries), whatever the number of accounts.

What events do not say:

* ``interest_time`` moves without an event while nobody owes anything, or at a rate of zero. It is
  set wherever the contract certainly accrued (cash or parameters change); in between nothing could
  have grown, so the next accrual gives the same.
* cash token, decimals, decimals of rate feeds, bytes of the parameters: see ``facts.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from risk.chain.events import Event
from risk.chain.rebuild import Rebuilder
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Linear, Option, State
from risk.keeper.book.undo import Entry, Tracked, TrackedSet, revert

_TRACKED = ("accounts", "filled_wad", "open_interest", "operators", "min_nonce")
_APART = frozenset({*_TRACKED, "cancelled"})


@dataclass
class Undo:
    """What one block changed: the fields of the state before it, and the entries it replaced."""

    fields: dict[str, Any]
    own: tuple[int, int, int, int]  # pointer, hash, time, cash total of the ledger
    entries: list[Entry] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)  # accounts


@dataclass
class Ledger(Rebuilder):
    """See the module. ``adopt`` first, then ``block`` for each block."""

    cash_total: int = 0  # Σ recorded cash
    _undo: Undo | None = field(default=None, init=False)

    def adopt(self, state: State, pointer: int, hash_: int, time: int) -> None:
        """Take ``state`` as it is; the dictionaries are taken over."""
        self.state, self.params_pointer, self.params_hash = state, pointer, hash_
        self.time = time
        for name in _TRACKED:
            setattr(state, name, Tracked(getattr(state, name)))
        state.cancelled = TrackedSet(state.cancelled)
        self.cash_total = sum(a.cash_wad for a in state.accounts.values())
        self._undo = None

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def block(
        self,
        events: Iterable[Event],
        time: int,
        params: RiskParams | None,
        rate_decimals: dict[int, int],
    ) -> Undo:
        """Apply a block of time ``time``. ``params`` are those set last in it, if any;
        ``rate_decimals`` of the rate feeds listed in it. Where an event cannot be applied the error
        is raised and nothing has changed.
        """
        undo = self._begin()
        try:
            self.time = time
            for event in events:
                self.apply(event)
            if params is not None:
                self.state.params = params
            for j, decimals in rate_decimals.items():
                self.state.collaterals[j].rate_feed_decimals = decimals
            self.finish()
        except BaseException:
            self.revert(undo)
            raise
        self._stop()
        return undo

    def _begin(self) -> Undo:
        s = self.state
        fields = {name: value for name, value in vars(s).items() if name not in _APART}
        own = (self.params_pointer, self.params_hash, self.time, self.cash_total)
        undo = Undo(fields, own)
        s.underlyings = [copy.copy(u) for u in s.underlyings]
        s.collaterals = [copy.copy(c) for c in s.collaterals]
        s.buckets = {key: copy.copy(b) for key, b in s.buckets.items()}
        for bucket in s.buckets.values():
            bucket.strikes_wad = list(bucket.strikes_wad)
        s.settlements = {key: copy.copy(item) for key, item in s.settlements.items()}
        s.signers = list(s.signers)
        for tracked in self._tracked():
            tracked.log = undo.entries
        if isinstance(s.cancelled, TrackedSet):
            s.cancelled.log = undo.cancelled
        self._undo = undo
        return undo

    def _stop(self) -> None:
        for tracked in self._tracked():
            tracked.log = None
        if isinstance(self.state.cancelled, TrackedSet):
            self.state.cancelled.log = None
        self._undo = None

    def _tracked(self) -> list[Tracked[Any, Any]]:
        found = [getattr(self.state, name) for name in _TRACKED]
        return [item for item in found if isinstance(item, Tracked)]

    def revert(self, undo: Undo) -> None:
        """Take back the last block that was applied."""
        self._stop()
        revert(undo.entries)
        self.state.cancelled.difference_update(undo.cancelled)
        for name, value in undo.fields.items():
            setattr(self.state, name, value)
        self.params_pointer, self.params_hash, self.time, self.cash_total = undo.own

    # ── what differs from a rebuild of everything at once ────────────────────────────────────────

    def _account(self, account: int) -> Account:
        """The account, a copy of its own the first time in a block."""
        held = self.state.accounts.get(account)
        if self._undo is None or (held is not None and account in self._undo.touched):
            return super()._account(account) if held is None else held
        self._undo.touched.add(account)
        fresh = Account() if held is None else clone_account(held)
        self.state.accounts[account] = fresh
        return fresh

    def _set_cash(self, account: int, cash_wad: int) -> None:
        self.cash_total += cash_wad - self._account(account).cash_wad
        super()._set_cash(account, cash_wad)
        self.state.interest_time = self.time

    def _set_collateral(self, account: int, j: int, balance: int) -> None:
        held = self._account(account).collateral
        self.state.collaterals[j].total_held += balance - held[j]
        held[j] = balance

    def on_CollateralDeposited(
        self, account: int, collateral: int, amount: int, balance: int
    ) -> None:
        self._set_collateral(account, collateral, balance)

    def on_CollateralWithdrawn(
        self, account: int, collateral: int, to: int, amount: int, balance: int
    ) -> None:
        self._set_collateral(account, collateral, balance)

    def on_CollateralChanged(self, account: int, collateral: int, balance: int) -> None:
        self._set_collateral(account, collateral, balance)

    def on_RiskParamsSet(self, pointer: int, hash: int) -> None:
        super().on_RiskParamsSet(pointer, hash)
        self.state.interest_time = self.time

    def finish(self) -> State:
        """The totals that follow from others; the sums over accounts are kept as they change."""
        s = self.state
        pools = sum(u.pnl_pool_wad for u in s.underlyings)
        s.cash_held_wad = self.cash_total + s.insurance_wad + s.interest_wad + pools
        return s


def clone_account(a: Account) -> Account:
    """An account that can be changed; entries of its lists are only ever replaced."""
    return Account(
        a.cash_wad,
        list(a.collateral),
        list[Linear](a.linear),
        list[Option](a.options),
        a.interest_index,
        a.margin_call,
        a.flagged_at,
    )
