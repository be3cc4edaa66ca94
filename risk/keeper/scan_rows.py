"""The rows of the scan: a batch of accounts with its verdicts, over a table of the market.

``Table`` is built anew only for the underlyings that moved. ``Rows`` keeps its verdicts while
neither the table nor the interest indices changed. Everything is of the state after ``refresh``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader
from risk.exact.settlement import settlement_lib
from risk.exact.state import State
from risk.keeper.health import Market
from risk.vector import certified, coefficients, decide, exact
from risk.vector.accounts import AccountBatch
from risk.vector.limbs import Bools, Ints
from risk.vector.market import MarketTable, listed
from risk.vector.rescan import Rescanner

Values = tuple[int, int, int]
"""E, MM and IM, WAD."""

ANCHOR_SHARE = 10  # a new anchor where more than a tenth of the accounts pass the first level


@dataclass(frozen=True)
class Table:
    """A market table with what it was made of: ``keys`` by underlying, ``rest`` for all."""

    table: MarketTable
    keys: tuple[Any, ...]
    rest: tuple[Any, ...]
    params: object

    @classmethod
    def of(cls, state: State, last: Table | None) -> Table:
        """Of ``state``; rows of ``last`` are kept where nothing that they depend on changed.

        Underlyings and collaterals without parameters are left out: whoever holds one is none of
        the batch's business and goes to the model.
        """
        p = feed_reader.load_params(state)
        view = copy.copy(state)
        view.underlyings = state.underlyings[: len(p.underlyings)]
        view.collaterals = state.collaterals[: len(p.collaterals)]
        keys, rest = _keys(view), _rest(view)
        if last is None or last.params is not p or len(last.keys) != len(keys):
            return cls(MarketTable.from_state(view), keys, rest, p)
        if keys == last.keys and rest == last.rest:
            return last
        moved = {u for u, key in enumerate(keys) if key != last.keys[u]}
        ids = [i for i in listed(view) if instrument_id.underlying(i) in moved]
        old = last.table
        if {i for i in old.ids if instrument_id.underlying(i) in moved} != set(ids):
            return cls(MarketTable.from_state(view), keys, rest, p)
        new = MarketTable.from_state(view, ids)
        instruments = {x.id: x for x in new.instruments}
        buckets = {b.key: b for b in new.buckets}
        merged = replace(
            new,
            ids=old.ids,
            instruments=tuple(
                replace(instruments[x.id], bucket=x.bucket) if x.id in instruments else x
                for x in old.instruments
            ),
            buckets=tuple(buckets.get(b.key, b) for b in old.buckets),
        )
        return cls(merged, keys, rest, p)


def _keys(state: State) -> tuple[Any, ...]:
    """What the instruments of each underlying depend on, beside the parameters."""
    buckets: list[list[Any]] = [[] for _ in state.underlyings]
    for key, b in sorted(state.buckets.items()):
        if key >> 16 < len(buckets):
            svi = b.a_e9, b.b_e9, b.rho_e9, b.m_e9, b.sigma_e9
            buckets[key >> 16].append(
                (key, b.forward_ratio_wad, b.discount_wad, *svi, tuple(b.strikes_wad))
            )
    return tuple(
        (u.price_wad, u.time, u.funding_e12, held)
        for u, held in zip(state.underlyings, buckets, strict=True)
    )


def _rest(state: State) -> tuple[Any, ...]:
    """What rows of underlyings and collaterals depend on beside."""
    apart = tuple(
        (u.open_interest_wad, u.stable_apart and u.stable_price_wad) for u in state.underlyings
    )
    return apart, tuple(c.rate_wad for c in state.collaterals)


class Rows:
    """See the module. ``judge`` before the questions."""

    def __init__(
        self, market: Market, table: Table, accounts: list[int], *, warnings: bool = True
    ) -> None:
        state = market.state
        self._origin = AccountBatch.from_state(table.table, state, accounts)
        self._rescanner = Rescanner(table.table, self._origin)
        self._indices = _indices(state)
        self._obliged = self._origin.obliged(table.table)
        self._ids = np.array(accounts, dtype=object)
        self._warnings = warnings
        self._judged: tuple[Table, tuple[int, int]] | None = None
        self._status: NDArray[np.int8] = np.zeros(len(accounts), dtype=np.int8)
        none: Bools = np.zeros(len(accounts), dtype=np.bool_)
        self._low = self._fails = self._gone = none
        self._values: dict[int, Values | None] = {}  # by row

    def __len__(self) -> int:
        return len(self._origin)

    def fits(self, table: Table) -> bool:
        """Whether the batch can be judged over ``table``: same columns, K, depths and λ."""
        floats = self._rescanner.floats
        return (
            self._origin.instruments == table.table.ids
            and self._rescanner.coefficients.scenarios == table.table.scenarios
            and floats.size_key == coefficients.size_key(table.table)
            and floats.columns == self._rescanner.coefficients.columns
            and len(table.table.collaterals)
            == floats.columns - 2 * len(table.table.ids) - len(table.table.underlyings)
        )

    def judge(self, market: Market, table: Table) -> int:
        """Verdicts at the market; how many accounts were judged anew."""
        indices = _indices(market.state)
        fresh = 0
        if self._judged is None or self._judged[0] is not table or self._judged[1] != indices:
            self._rescan(market.state, table.table, indices)
            self._judged = table, indices
            fresh = len(self)
        self._market, self._table = market, table.table
        self._gone = self._obliged & self._depends(market.dead | market.unknown)
        lost = self._obliged & self._depends(market.unknown)
        self._fails = (self._status <= 0) | self._origin.apart | self._settles(market)
        self._fails &= ~lost
        self._gone &= ~self._fails
        return fresh

    def _rescan(self, state: State, table: MarketTable, indices: tuple[int, int]) -> None:
        if indices != self._indices:
            # from the batch as it was recorded: accrued batches hold on to their predecessor
            self._rescanner.batch = self._origin
            self._rescanner.accrue(state)
            self._indices = indices
        found = self._rescanner.rescan(table, state)
        if found.filtered * ANCHOR_SHARE > len(self):
            self._rescanner.anchor(table)
        self._status = found.verdicts.status
        self._values = {}
        self._low = np.zeros(len(self), dtype=np.bool_)
        if self._warnings:
            need = coefficients.of_initial(table)
            bounds = certified.bounds(need, self._rescanner.floats)
            initial = decide.settle(bounds, table, self._rescanner.batch, state, initial=True)
            self._low = (initial.status < 0) & (self._status > 0)

    # ── questions ────────────────────────────────────────────────────────────────────────────────

    def failing(self, without: Collection[int]) -> list[int]:
        """Accounts that only the exact test can judge: below MM, refused by the engine, or with a
        position to settle first.
        """
        return [int(a) for a in self._ids[self._fails] if a not in without]

    def uncertain(self, without: Collection[int]) -> Iterator[tuple[int, Values | None]]:
        """Accounts that cannot be called healthy because a price is missing; their values at the
        snapshots, None where the model refuses them there.
        """
        return self._valued(self._gone, without)

    def warned(self, without: Collection[int]) -> Iterator[tuple[int, Values]]:
        """MM ≤ E < IM, with certainty."""
        chosen = self._low & ~self._fails & ~self._gone
        return ((a, v) for a, v in self._valued(chosen, without) if v is not None)

    def _valued(
        self, chosen: Bools, without: Collection[int]
    ) -> Iterator[tuple[int, Values | None]]:
        rows = [int(i) for i in np.flatnonzero(chosen) if self._ids[i] not in without]
        wanted = [i for i in rows if i not in self._values]
        if wanted:
            batch = self._rescanner.batch.take(np.array(wanted, dtype=np.int64))
            m = exact.margins(self._table, batch, self._market.state)
            columns = [m.values(name) for name in ("equity", "mm", "im")]
            for k, i in enumerate(wanted):
                e, mm, im = (c[k] for c in columns)
                self._values[i] = None if k in m.errors else (e, mm, im)
        for i in rows:
            yield int(self._ids[i]), self._values[i]

    def _depends(self, underlyings: Collection[int]) -> Bools:
        """Accounts with an entry of one of ``underlyings``."""
        if not underlyings:
            return np.zeros(len(self), dtype=np.bool_)
        floats = self._rescanner.floats
        held = np.isin(self._rescanner.coefficients.underlying, sorted(underlyings))
        return _any(held[floats.column], floats.pointer.astype(np.int64))

    def _settles(self, market: Market) -> Bools:
        """Accounts that hold what a liquidation would settle first."""
        state, world = market.state, market.world
        closing = settlement_lib.is_closing(state, world)
        due = np.array(
            [
                closing
                or settlement_lib.has_price(state, i)
                or settlement_lib.is_complete(state, world, i)
                for i in self._origin.instruments
            ],
            dtype=np.bool_,
        )
        if not due.any():
            return np.zeros(len(self), dtype=np.bool_)
        return _any(due[self._origin.column], self._origin.pointer)


def _any(entries: Bools, pointer: Ints) -> Bools:
    """Whether any entry of each segment is set."""
    counts = np.concatenate([[0], np.cumsum(entries)])
    return np.asarray(counts[pointer[1:]] > counts[pointer[:-1]])


def _indices(state: State) -> tuple[int, int]:
    return state.supply_index_e15, state.borrow_index_e15
