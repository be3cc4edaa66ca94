"""Accounts a second of the model, the exact engine and the filter, on one book, in one run.

What each row may have ready before its clock starts: the model its arrays and ``Account``
objects; the exact engine the market table and the batch; the filter the table and the float batch.
Its coefficients, and the exact engine for what the filter leaves open, are inside the clock.  All
of it runs in one process, on one core.  Where others use the machine too, the processor's seconds
say what the wall clock would on an idle one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Final, TypeVar

import numpy as np

from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, State
from risk.vector import certified, coefficients, decide, exact, sample
from risk.vector.accounts import AccountBatch
from risk.vector.certified import FloatBatch
from risk.vector.decide import HEALTHY, UNHEALTHY, Verdicts
from risk.vector.market import MarketTable
from risk.vector.rescan import Rescanner
from risk.vector.result import Margins

REPEATS: Final = 3
MOVES_PPM: Final = (1_000, 10_000, 50_000)

Tell = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One way to scan: the best of its repeats."""

    what: str
    accounts: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Accounts a second."""
        return self.accounts / self.seconds


@dataclass(frozen=True)
class Scan:
    """Rows d, e, f; how many accounts agreed, of how many compared; what the filter left open."""

    rows: dict[str, Row]
    model_compared: int
    model_differs: int
    filter_compared: int
    filter_differs: int
    left_open: int
    unhealthy: int


@dataclass(frozen=True)
class Move:
    """One rescan after every price moved by up to ``ppm`` millionths."""

    ppm: int
    accounts: int
    table_seconds: float  # marks and arrays of every instrument, in Python
    scan_seconds: float  # coefficients, both levels, exact integers for the rest
    cpu_seconds: float  # of both
    filtered: int
    exact: int
    unhealthy: int
    compared: int
    differs: int

    @property
    def seconds(self) -> float:
        """From the new prices to the verdict of every account."""
        return self.table_seconds + self.scan_seconds


def scan(
    state: State, table: MarketTable, batch: AccountBatch, model_accounts: int, tell: Tell
) -> Scan:
    """Measures d (on the first ``model_accounts``), e and f and compares what they say."""
    n = len(batch)
    count = min(n, model_accounts)
    accounts = [batch.account(i) for i in range(count)]
    _model(state, batch, accounts[:2_000])  # every array is in the model's cache afterwards
    tell(f"(d) the model on {count} accounts")
    wanted, spent = _best(lambda: _model(state, batch, accounts), 1)
    rows = {"d": Row("Python integers: the reference model", count, *spent)}
    tell(f"(e) the exact engine on {n} accounts")
    m, spent = _best(lambda: exact.margins(table, batch, state))
    rows["e"] = Row("vectorised exact engine", n, *spent)
    tell(f"(f) the filter on {n} accounts")
    floats = FloatBatch.build(table, batch)
    verdicts, spent = _best(lambda: filtered(state, table, batch, floats))
    rows["f"] = Row("certified filter, exact integers for the rest", n, *spent)
    return Scan(
        rows=rows,
        model_compared=count,
        model_differs=sum(not _same(m, i, want) for i, want in enumerate(wanted)),
        filter_compared=n,
        filter_differs=differing(verdicts, m),
        left_open=verdicts.exact,
        unhealthy=int((verdicts.status == UNHEALTHY).sum()),
    )


def filtered(state: State, table: MarketTable, batch: AccountBatch, floats: FloatBatch) -> Verdicts:
    """Who is healthy, from coefficients to the last open account."""
    bounds = certified.bounds(coefficients.of_maintenance(table), floats)
    return decide.settle(bounds, table, batch, state)


def rescans(
    state: State, table: MarketTable, batch: AccountBatch, compare: int, tell: Tell
) -> list[Move]:
    """Rescans after moves of several sizes; ``compare`` random accounts are checked against the
    exact engine each time.
    """
    watcher = Rescanner(table, batch)
    rng = np.random.default_rng(1)
    out = []
    for n, ppm in enumerate(MOVES_PPM):
        tell(f"rescan of {len(batch)} accounts after a move of {ppm / 10_000:g} %")
        after = sample.move(state, n, ppm)
        started, cpu = perf_counter(), process_time()
        now = MarketTable.from_state(after)
        between = perf_counter()
        done = watcher.rescan(now, after)
        ended, cpu = perf_counter(), process_time() - cpu
        rows = np.sort(rng.choice(len(batch), min(compare, len(batch)), replace=False))
        m = exact.margins(now, batch.take(rows), after)
        status = done.verdicts.status
        chosen = Verdicts(status[rows], 0, 0)
        out.append(
            Move(
                ppm=ppm,
                accounts=len(batch),
                table_seconds=between - started,
                scan_seconds=ended - between,
                cpu_seconds=cpu,
                filtered=done.filtered,
                exact=done.verdicts.exact,
                unhealthy=int((status == UNHEALTHY).sum()),
                compared=len(rows),
                differs=differing(chosen, m),
            )
        )
    return out


def differing(verdicts: Verdicts, m: Margins) -> int:
    """Accounts whose verdict is not the sign of E − MM of the exact engine."""
    want = np.where(m.health >= 0, HEALTHY, UNHEALTHY)
    want[list(m.errors)] = decide.UNKNOWN
    return int((verdicts.status != want).sum())


def distinct(batch: AccountBatch) -> bool:
    """Whether no account is repeated: sizes and columns of no two are the same."""
    keys = {
        (batch.column[a:b].tobytes(), batch.size[a:b].tobytes())
        for a, b in zip(batch.pointer[:-1], batch.pointer[1:], strict=True)
    }
    return len(keys) == len(batch)


def _model(
    state: State, batch: AccountBatch, accounts: list[Account]
) -> list[Margin | ModelRevert]:
    out: list[Margin | ModelRevert] = []
    for name, account in zip(batch.ids, accounts, strict=False):
        try:
            out.append(margin_engine.compute(state, name, account))
        except ModelRevert as error:
            out.append(error)
    return out


def _same(m: Margins, i: int, want: Margin | ModelRevert) -> bool:
    if isinstance(want, ModelRevert):
        return i in m.errors and repr(m.errors[i]) == repr(want)
    return i not in m.errors and m.row(i) == want


def _best(body: Callable[[], T], repeats: int = REPEATS) -> tuple[T, tuple[float, float]]:
    """(what the last call returned, the least seconds by the clock and of the processor)."""
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        started, cpu = perf_counter(), process_time()
        result = body()
        seconds.append(perf_counter() - started)
        cpu_seconds.append(process_time() - cpu)
    return result, (min(seconds), min(cpu_seconds))
