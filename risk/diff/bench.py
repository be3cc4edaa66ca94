"""The speeds of the engines on the same margin cases, in one run on one machine.

Every engine is asked once about every account, and no account is repeated; every answer must be the
model's, byte by byte. The unit is one call of ``margin(account)`` of an account with 16
instruments; at least 500 are listed on at least 4 underlyings, K = 32, scenario arrays cached.

* ``web3``: one ``eth_call`` a case, ``contract.functions.margin(id).call()``; ``web3_raw``: the
  same with calldata packed by hand and no decoding;
* ``revm``: in process; ``batch``: through the harness, many a call; ``transactions``: each in a
  block of its own.

All these find the accounts stored beforehand (not timed). ``*_overlaid`` writes the account's words
within the timed call, and ``*_whole`` is all the work of a differential run: drawing the account,
the model, the engine, the comparison.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import queue
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from risk.diff.kit.errors import DiffError
from risk.diff.margin_cases.check import CasePlan
from risk.diff.margin_cases.speeds import Part, work

SCENARIOS = 32
CASES = 12_000  # of all workers together, for the engines that are fast
TARGETS = {"revm": 100, "batch": 30}  # times the rate of web3


@dataclass
class Row:
    """One measurement."""

    name: str
    parts: list[Part] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Cases a second of all workers together, from the first start to the last stop."""
        seconds = max(p.stop for p in self.parts) - min(p.start for p in self.parts)
        return sum(p.cases for p in self.parts) / seconds

    @property
    def cpu(self) -> float:
        """Processor seconds a case, of clients and nodes."""
        return sum(p.cpu_seconds for p in self.parts) / sum(p.cases for p in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Rate, cases, processes, processor time a case, wrong answers."""
        cases = sum(p.cases for p in self.parts)
        return {
            "cases_per_second": round(self.rate, 1),
            "cases": cases,
            "clients": len(self.parts),
            "cpu_us_per_case": round(self.cpu * 1e6, 1),
            "wrong": sum(p.wrong for p in self.parts),
        }


def bench(
    seconds: float = 8.0, *, workers: int = 2, cases: int = CASES, seed: int = 1
) -> dict[str, Any]:
    """Measure every engine; ``seconds`` for each of those that take one case at a time.

    Returns JSON: rows, ratios to ``web3`` with one client, targets, machine. Raises ``DiffError``
    where a worker fails. ``mismatches`` counts answers that differ from the model's.
    """
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(workers), context.Queue()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    plan = CasePlan(seed, 2 * cases, 2 * cases, scenarios=SCENARIOS, calm=True)
    crew: list[Any] = [
        context.Process(target=work, args=(plan, i, workers, seconds, barrier, results))
        for i in range(workers)
    ]
    for process in crew:
        process.start()
    rows: dict[str, Row] = {}
    market: dict[str, Any] = {}
    try:
        for name, part in _results(results, crew):
            if isinstance(part, Part):
                rows.setdefault(name, Row(name)).parts.append(part)
            else:
                market = part
    finally:
        for process in crew:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()
    return _report(rows, market, workers, seed, load)


def _report(
    rows: dict[str, Row], market: dict[str, Any], workers: int, seed: int, load: float | None
) -> dict[str, Any]:
    base = rows["web3"].rate
    ratios = {name: round(row.rate / base, 1) for name, row in rows.items() if name != "web3"}
    by_cpu = {
        name: round(rows["web3"].cpu / row.cpu * len(row.parts), 1)
        for name, row in rows.items()
        if name != "web3"
    }
    return {
        "seed": seed,
        "market": market,
        "workers": workers,
        "rows": {name: row.to_json() for name, row in rows.items()},
        "ratio_to_web3": ratios,
        # from processor time, a core to each client: what a busy machine cannot spoil as much
        "ratio_by_cpu": by_cpu,
        "targets": {
            name: {"wanted": wanted, "reached": ratios[name] >= wanted, "ratio": ratios[name]}
            for name, wanted in TARGETS.items()
        },
        "mismatches": sum(p.wrong for row in rows.values() for p in row.parts),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "pyrevm": version("pyrevm"),
            "web3": version("web3"),
            "load_before": load,
        },
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _results(results: Any, crew: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """(name, part) until every worker has said that it is done."""
    left = len(crew)
    while left:
        try:
            kind, payload = results.get(timeout=5)
        except queue.Empty:
            if not any(process.is_alive() for process in crew):
                raise DiffError("a worker of the bench died") from None
            continue
        if kind == "failed":
            raise DiffError(f"a worker of the bench failed:\n{payload}")
        if kind == "done":
            left -= 1
        else:
            yield kind, payload
