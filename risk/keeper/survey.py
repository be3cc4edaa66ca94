"""Pictures of the whole book for people: the histogram of E/MM, and who stands nearest to it.

Nothing here decides anything. The margins are exact (risk/vector) but at the last snapshots, and of
at most ``sample`` accounts, taken evenly; ``Sweep`` has the verdicts. Health factors are shown as
floats.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import State
from risk.keeper.ports import Passed, Sweep
from risk.keeper.snapshot import EDGES, MOST, Bin, Endangered, bins
from risk.keeper.types import Head, Health, Reading

SAMPLE = 20_000


@dataclass(frozen=True)
class Survey:
    """``nearest``: the healthy accounts of the sample with the least E/MM, as of ``block``."""

    block: int
    timestamp: int
    histogram: tuple[Bin, ...]
    nearest: tuple[tuple[int, Margin], ...]


def survey(state: State, head: Head, *, sample: int = SAMPLE, most: int = MOST) -> Survey:
    """Margins of the book at its last snapshots; accounts without obligations are not counted, nor
    those for which the model raises.
    """
    from risk.vector import exact
    from risk.vector.accounts import AccountBatch
    from risk.vector.market import MarketTable

    step = max(1, -(-len(state.accounts) // sample))
    chosen = [
        number
        for i, (number, account) in enumerate(state.accounts.items())
        if i % step == 0 and account_lib.has_obligations(account)
    ]
    counts = [0] * (len(EDGES) + 1)
    near: list[tuple[float, int, int]] = []
    if chosen and state.params is not None:
        table = MarketTable.from_state(state, _held(state, chosen))
        batch = AccountBatch.from_state(table, state, chosen)
        found = exact.margins(table, batch, state)
        equity, mm = found.values("equity"), found.values("mm")
        for i in range(len(chosen)):
            factor = None if i in found.errors else ratio(equity[i], mm[i])
            if factor is None:
                continue
            counts[bisect_right(EDGES, factor)] += 1
            if factor >= 1.0:
                near.append((factor, chosen[i], i))
        nearest = [(number, found.row(i)) for _, number, i in heapq.nsmallest(most, near)]
    else:
        nearest = []
    return Survey(head.number, head.timestamp, bins(counts), tuple(nearest))


def _held(state: State, accounts: Iterable[int]) -> list[int]:
    """Instruments that anybody of ``accounts`` holds."""
    found: set[int] = set()
    for number in accounts:
        account = state.accounts[number]
        found |= {x.instrument for x in account.linear}
        found |= {x.instrument for x in account.options}
    return sorted(found)


def ratio(equity_wad: int, mm_wad: int) -> float | None:
    """E/MM for display; None without a maintenance margin, and beyond float's range."""
    if mm_wad <= 0:
        return None
    try:
        return equity_wad / mm_wad
    except OverflowError:
        return None


def binding(m: Margin) -> str:
    """What makes most of MM: "scenario k", or the charge."""
    charges = {
        f"scenario {m.binding_scenario}" if m.scan >= m.floor_charge else "short option minimum": (
            max(m.scan, m.floor_charge)
        ),
        "basis": m.basis,
        "liquidity": m.liq,
    }
    best = max(charges, key=lambda name: charges[name])
    return best if charges[best] > 0 else ""


def endangered(
    sweep: Sweep | None,
    known: Survey | None,
    state: State,
    now: int,
    passed: Mapping[int, Passed],
    *,
    failure: str = "",
    most: int = MOST,
) -> tuple[Endangered, ...]:
    """The ``most`` worst accounts: unhealthy, unknown, warned, then the nearest healthy ones.

    ``failure``: nothing is known now, so everybody is shown as unknown for that reason, with the
    last values. ``now``: time of the head, for the ages.
    """
    out: list[Endangered] = []
    seen: set[int] = set()

    def add(reading: Reading, status: str, margin: Callable[[], Margin | None]) -> None:
        if len(out) >= most or reading.account in seen:
            return
        seen.add(reading.account)
        m = margin()
        why = passed.get(reading.account)
        out.append(
            Endangered(
                account=f"{reading.account:#044x}",
                status="unknown" if failure else status,
                equity_wad=reading.equity_wad,
                mm_wad=reading.mm_wad,
                im_wad=reading.im_wad,
                health_factor=ratio(reading.equity_wad, reading.mm_wad),
                binding=binding(m) if m else "",
                block=reading.block,
                age_seconds=reading.age(now),
                reason=failure or reading.reason,
                bucket=why.bucket.value if why else "",
                note=why.note if why else "",
            )
        )

    if sweep is not None:
        groups = ((sweep.unhealthy, "unhealthy"), (sweep.unknown, "unknown"))
        for group, status in (*groups, (sweep.warned, "warned")):
            for reading in heapq.nsmallest(most, group.values(), key=_badness):
                add(reading, status, _margin_of(state, reading.account))
    if known is not None:
        for number, m in known.nearest:
            reading = Reading(
                number, Health.HEALTHY, m.equity, m.mm, m.im, known.block, known.timestamp
            )
            add(reading, "healthy", _given(m))
    return tuple(out)


def _badness(reading: Reading) -> float:
    factor = ratio(reading.equity_wad, reading.mm_wad)
    return float("inf") if factor is None else factor


def _given(m: Margin) -> Callable[[], Margin | None]:
    return lambda: m


def _margin_of(state: State, account: int) -> Callable[[], Margin | None]:
    """The model's margin at the last snapshots; None where it raises."""

    def compute() -> Margin | None:
        try:
            return margin_engine.compute(state, account, account_lib.load(state, account))
        except (ModelRevert, LookupError, ArithmeticError):
            return None

    return compute
