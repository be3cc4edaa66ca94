"""Health of everybody at a head: bounds for nearly all, exact integers for the rest, the contract's
own test for whoever fails (docs/keeper-planner.md §1).

The rows of accounts stay from head to head (``scan_rows.py``); prices that moved are a rescan,
touched accounts move to a small batch that is merged now and then. What a scan is told to be
touched is trusted only where the head follows the last one directly; otherwise the accounts of the
book are compared by identity, which the book changes with every change.
"""

from __future__ import annotations

import logging

from risk.exact.errors import ModelRevert
from risk.exact.state import Account, State
from risk.keeper import arrays
from risk.keeper.book import Advance, Prices
from risk.keeper.health import HealthBook, Market, blind, judge, refresh, underlyings_of
from risk.keeper.ports import Sweep
from risk.keeper.scan_rows import Rows, Table
from risk.keeper.types import Head, Health, Reading

log = logging.getLogger("plumbline.keeper.scan")

MERGE = 1_000  # touched accounts that are kept apart; a twentieth of all where that is more


class Scanner:
    """``ports.Scanning``. ``health`` remembers last values; ``warnings`` False leaves out the
    warning zone, which costs a second pass of the filter.
    """

    def __init__(self, *, warnings: bool = True, merge: int = MERGE) -> None:
        self.health = HealthBook()
        self._warnings, self._merge = warnings, merge
        self._forget()

    def _forget(self) -> None:
        self._head: Head | None = None
        self._seen: dict[int, Account] = {}
        self._table: Table | None = None
        self._main: Rows | None = None
        self._side: Rows | None = None
        self._moved: set[int] = set()  # accounts of the side

    # ── one head ─────────────────────────────────────────────────────────────────────────────────

    def scan(self, state: State, prices: Prices, head: Head, advance: Advance) -> Sweep:
        """Never raises: an error makes everybody unknown, with the last values, and stands in
        ``Sweep.failed``.
        """
        try:
            return self._scan(state, prices, head, advance)
        except Exception as error:
            log.exception("scan failed", extra={"block": head.number})
            self._forget()
            why = f"the scan failed: {type(error).__name__}: {error}"
            lost = [
                self.health.unsure(blind(a, why), head.timestamp) for a in sorted(state.accounts)
            ]
            self.health.keep(r.account for r in lost)
            # a vault that has no parameters yet is no defect
            closed = isinstance(error, ModelRevert) and error.name == "RiskParamsMissing"
            unknown = {r.account: r for r in lost}
            return Sweep(head, {}, unknown, {}, len(lost), 0, "" if closed else why)

    def _scan(self, state: State, prices: Prices, head: Head, advance: Advance) -> Sweep:
        arrays.trim(state)
        market = refresh(state, prices, head)
        table = Table.of(market.state, self._table)
        touched = self._touched(state, head, advance)
        self._rows(market, table, touched)
        fresh = 0
        sweep = _Sweep(market, self.health)
        for rows, without in ((self._main, self._moved), (self._side, frozenset[int]())):
            if rows is not None:
                fresh += rows.judge(market, table)
                sweep.add(rows, without)
        self._table, self._head = table, head
        self._remember(state, touched)
        return sweep.finish(len(state.accounts), min(fresh, len(state.accounts)))

    def _touched(self, state: State, head: Head, advance: Advance) -> frozenset[int] | None:
        """Accounts that changed since the last scan, None for all."""
        last = self._head
        if last is None or advance.touched is None or self._main is None:
            return None
        if head.hash == last.hash and not advance.touched:
            return frozenset()
        if not advance.undone and advance.applied == 1 and head.parent == last.hash:
            return advance.touched
        old, new = self._seen, state.accounts
        changed = {a for a, item in new.items() if old.get(a) is not item}
        return frozenset(changed | (old.keys() - new.keys()))

    def _remember(self, state: State, touched: frozenset[int] | None) -> None:
        if touched is None:
            self._seen = dict(state.accounts)
            return
        for account in touched:
            if account in state.accounts:
                self._seen[account] = state.accounts[account]
            else:
                self._seen.pop(account, None)

    def _rows(self, market: Market, table: Table, touched: frozenset[int] | None) -> None:
        """Bring the rows to the accounts of the market."""
        state = market.state
        main = self._main
        limit = max(self._merge, len(state.accounts) // 20)
        if (
            touched is None
            or main is None
            or not main.fits(table)
            or len(self._moved | touched) > limit
        ):
            self._main = Rows(market, table, sorted(state.accounts), warnings=self._warnings)
            self._side, self._moved = None, set()
        elif touched:
            self._moved |= touched
            here = sorted(a for a in self._moved if a in state.accounts)
            self._side = Rows(market, table, here, warnings=self._warnings) if here else None


class _Sweep:
    """Collects readings."""

    def __init__(self, market: Market, health: HealthBook) -> None:
        self._market, self._health = market, health
        self._unhealthy: dict[int, Reading] = {}
        self._unknown: list[Reading] = []
        self._warned: dict[int, Reading] = {}

    def add(self, rows: Rows, without: frozenset[int] | set[int]) -> None:
        """The accounts of ``rows`` except ``without``, whose rows are outdated."""
        for account, values in rows.uncertain(without):
            mask = underlyings_of(self._market.state, account)
            since, why = self._market.since(mask), self._market.missing(mask)
            number = self._market.head.number
            found = blind(account, why)
            if values is not None:
                found = Reading(account, Health.UNKNOWN, *values, number, since, why)
            self._unknown.append(found)
        for account in rows.failing(without):
            self._take(judge(self._market, account)[0])
        now = self._market.head
        for account, values in rows.warned(without):
            self._warned[account] = Reading(
                account, Health.HEALTHY, *values, now.number, now.timestamp
            )

    def _take(self, found: Reading) -> None:
        if found.health is Health.UNKNOWN:
            self._unknown.append(found)
        elif found.health is Health.UNHEALTHY:
            self._unhealthy[found.account] = found
        elif found.equity_wad < found.im_wad:
            self._warned[found.account] = found

    def finish(self, accounts: int, fresh: int) -> Sweep:
        """Readings in the order of their accounts, unknown ones with what was known last."""
        now = self._market.head.timestamp
        unsure = {r.account: self._health.unsure(r, now) for r in self._unknown}
        self._health.known([*self._unhealthy.values(), *self._warned.values()])
        self._health.keep([*self._unhealthy, *self._warned, *unsure])
        unhealthy, warned = (dict(sorted(d.items())) for d in (self._unhealthy, self._warned))
        return Sweep(
            self._market.head, unhealthy, dict(sorted(unsure.items())), warned, accounts, fresh
        )
