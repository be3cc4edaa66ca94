"""A million margin cases: markets over worker processes, resumable, one result file a market.

A result is used again only where contracts, model and generator are what they were: their content
is part of the folder's name.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from risk.chain.compile import compile_contracts, content_hash
from risk.chain.node import project_root
from risk.diff.kit.batch import BatchEngine
from risk.diff.kit.engine import Engine
from risk.diff.kit.errors import DiffError
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.margin_cases.check import CasePlan, CaseTally, check_market
from risk.diff.margin_cases.stand import Stand
from risk.files import write_text

ENGINES: dict[str, Callable[[], Engine]] = {
    "revm": RevmEngine,
    "batch": BatchEngine,
    "node": NodeEngine,
}
FOLDER = Path("build") / "margin-cases"
SOURCES = ("risk/exact", "risk/diff/margin_cases", "risk/diff/plumbline", "risk/diff/kit")


@dataclass
class CaseRun:
    """The result of a run."""

    plan: CasePlan
    engine: str
    workers: int
    tally: CaseTally = field(default_factory=CaseTally)
    markets: int = 0
    resumed: int = 0  # markets whose result was there already
    new_cases: int = 0
    seconds: float = 0.0  # of this run

    def summary(self) -> dict[str, Any]:
        """JSON form; ``share`` is the part of the cases with a property."""
        done = max(1, self.tally.cases)
        return {
            "seed": self.plan.seed,
            "cases": self.tally.cases,
            "wanted": self.plan.cases,
            "values_compared": self.tally.values,
            "mismatches": self.tally.mismatches,
            "engine": self.engine,
            "workers": self.workers,
            "plan": asdict(self.plan),
            "markets": self.markets,
            "markets_resumed": self.resumed,
            "seconds": round(self.seconds, 1),
            "cases_per_second": round(self.new_cases / self.seconds, 1) if self.seconds else 0.0,
            "cpu_us_per_case": round(self.tally.cpu_seconds / done * 1e6, 1),
            "mix": dict(sorted(self.tally.mix.items())),
            "share": {k: round(v / done, 4) for k, v in sorted(self.tally.mix.items())},
            "counterexamples": self.tally.examples,
        }


def run(
    plan: CasePlan,
    *,
    workers: int = 2,
    engine: str = "revm",
    folder: Path | None = None,
    progress: Callable[[CaseRun], None] | None = None,
) -> CaseRun:
    """Check every case of the plan; markets whose result lies in ``folder`` are not done again.

    ``folder`` None keeps nothing. Raises ``DiffError`` where a worker dies or an engine fails.
    """
    out = CaseRun(plan, engine, workers)
    started = time.monotonic()
    todo = []
    for number in range(plan.markets):
        kept = _kept(folder, number)
        if kept is None:
            todo.append(number)
        else:
            out.tally.merge(kept)
            out.markets += 1
            out.resumed += 1
    for number, tally in _tallies(plan, engine, min(workers, len(todo)), todo):
        if folder is not None:
            _keep(folder, number, tally)
        out.tally.merge(tally)
        out.markets += 1
        out.new_cases += tally.cases
        out.seconds = time.monotonic() - started
        if progress:
            progress(out)
    return out


def check_case(plan: CasePlan, index: int, engine: str = "revm") -> CaseTally:
    """One case of the plan alone."""
    stand = Stand(ENGINES[engine]())
    try:
        stand.open()
        return check_market(stand, plan, index // plan.cases_a_market, indices=[index])
    finally:
        stand.close()


def default_folder(plan: CasePlan, engine: str) -> Path:
    """``build/margin-cases/<hash of plan, engine, contracts, sources>``."""
    root = project_root()
    compiled = compile_contracts(root)
    sources = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for part in SOURCES
        for path in sorted((root / part).rglob("*.py"))
    }
    key = [asdict(plan), engine, {n: a.bytecode for n, a in compiled.items()}, sources]
    return root / FOLDER / content_hash(key)[:16]


# ── results on disk ──────────────────────────────────────────────────────────────────────────────


def _path(folder: Path, number: int) -> Path:
    return folder / f"market-{number:06d}.json"


def _kept(folder: Path | None, number: int) -> CaseTally | None:
    if folder is None or not _path(folder, number).exists():
        return None
    return CaseTally.from_json(json.loads(_path(folder, number).read_text(encoding="utf-8")))


def _keep(folder: Path, number: int, tally: CaseTally) -> None:
    """A market with a mismatch is not kept: it is done again after the mending."""
    if tally.mismatches:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(_path(folder, number), json.dumps(tally.to_json()) + "\n")


# ── worker processes ─────────────────────────────────────────────────────────────────────────────


def _tallies(
    plan: CasePlan, engine: str, workers: int, todo: list[int]
) -> Iterator[tuple[int, CaseTally]]:
    """(market, tally) of each, in the order in which they are done."""
    if workers <= 1:
        if not todo:
            return
        stand = Stand(ENGINES[engine]())
        try:
            stand.open()
            for number in todo:
                yield number, check_market(stand, plan, number)
        finally:
            stand.close()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open_worker, (engine,)) as pool:
        waiting: dict[Future[CaseTally], int] = {
            pool.submit(_work, plan, number): number for number in todo
        }
        try:
            while waiting:
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(done), done.result()
        except BrokenProcessPool as error:
            raise DiffError("a worker of the margin cases died") from error
        finally:
            for future in waiting:
                future.cancel()


_stand: Stand | None = None


def _open_worker(engine: str) -> None:
    """The engine lives as long as its process; Anvil ends with it."""
    global _stand
    _stand = Stand(ENGINES[engine]())
    _stand.open()


def _work(plan: CasePlan, number: int) -> CaseTally:
    assert _stand is not None
    return check_market(_stand, plan, number)
