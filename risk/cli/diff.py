"""``plumbline diff``: any contract against a model."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from risk.cli.output import guarded, stderr, stdout, write_json
from risk.diff import report
from risk.diff.coverage import Tally
from risk.diff.findings import FORMATS, write_findings
from risk.diff.kit.corpus import Corpus
from risk.diff.kit.diagnose import check_deterministic, clock_hint
from risk.diff.kit.explore import Explored, explore
from risk.diff.kit.load import built_in, load_target
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, WorkerFailed, run
from risk.diff.shrink import Budget, replays_of, shrink
from risk.errors import PlumblineError
from risk.files import write_text


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    target: str
    engine: str = "revm"
    fork: str | None = None
    plan: Plan = field(default_factory=Plan)
    json: Path | None = None
    report: Path | None = None  # HTML of a run, also of one without findings
    out: Path = Path("findings")
    formats: tuple[str, ...] = FORMATS
    shrink_seconds: float = 120.0
    guided_seconds: float | None = None
    corpus: Path | None = None


def list_command() -> int:
    """The built-in targets."""
    for name in built_in():
        print(name)
    return 0


def diff_command(options: Options) -> int:
    """0: model and contracts agree; 1: they disagree; 2: the target or the tool failed."""
    return guarded(lambda: _run(options))


def _run(options: Options) -> int:
    unknown = [name for name in options.formats if name not in FORMATS]
    if unknown:
        raise PlumblineError(f"format {unknown[0]} is none of {', '.join(FORMATS)}")
    factory = functools.partial(load_target, options.target, options.engine, options.fork)
    factory().load()  # compiles once, and a faulty target is refused here, not in every worker
    if options.guided_seconds is not None:
        return _explore(options)
    started = time.monotonic()
    try:
        tally = run(factory, options.plan, _progress)
    except WorkerFailed as failure:
        print(f"\nerror: a worker failed:\n{failure}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - started
    title = f"{options.target} on {options.engine}"
    report.print_run(stdout(), tally, seconds, title, examples=0)  # the shrunk one follows
    if options.report is not None:
        from risk.diff.findings import html

        write_text(options.report, html.report(tally, []))
    result = {
        "target": options.target,
        "engine": options.engine,
        "seed": options.plan.seed,
        "seconds": round(seconds, 3),
        "actions_per_second": round(tally.actions / max(seconds, 1e-9), 1),
        **tally.summary(),
    }
    write_json(options.json, result)
    if tally.mismatches:
        _findings(options, tally)
    return 1 if tally.mismatches else 0


def _progress(tally: Tally, done: int, tasks: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {tasks} sequences", end="", file=sys.stderr, flush=True)


def _explore(options: Options) -> int:
    """Coverage-guided, one process; the corpus stays for the next run."""
    target = load_target(options.target, options.engine, options.fork, trace=True)
    corpus = Corpus(options.corpus)
    known = len(corpus)
    started = time.monotonic()

    def tell(seen: Explored) -> None:
        if sys.stderr.isatty():
            line = f"\r{seen.actions} actions, {seen.counters} program counters, {seen.kept} kept"
            print(line, end="", file=sys.stderr, flush=True)

    target.open()
    try:
        seen = explore(
            target,
            corpus,
            seed=options.plan.seed,
            actions=options.plan.actions,
            budget_seconds=options.guided_seconds,
            progress=tell,
        )
        console = stdout()
        console.print(
            f"{seen.sequences} sequences, {seen.actions} actions, "
            f"{seen.values_compared:,} values compared in {time.monotonic() - started:.1f} s; "
            f"{seen.counters} program counters, corpus {known} -> {len(corpus)} sequences"
        )
        write_json(
            options.json,
            {
                "target": options.target,
                "sequences": seen.sequences,
                "actions": seen.actions,
                "values_compared": seen.values_compared,
                "program_counters": seen.counters,
                "features": len(seen.features),
                "corpus": len(corpus),
                "growth": seen.growth[:: max(1, len(seen.growth) // 200)],
                "mismatches": len(seen.failure.mismatches) if seen.failure else 0,
            },
        )
        if seen.failure is None:
            console.print("0 mismatches")
            return 0
        return _explored_failure(options, target, seen)
    finally:
        target.close()


def _findings(options: Options, tally: Tally) -> None:
    """Shrink the first counterexample and write what an auditor needs of it."""
    first = min(tally.counterexamples, key=lambda example: example.index)
    target = load_target(options.target, options.engine, options.fork)
    target.open()
    try:
        _write(options, target, replays_of(target), first.index, tally)
    finally:
        target.close()


def _explored_failure(options: Options, target: AdapterTarget, seen: Explored) -> int:
    from risk.diff.findings.adapter_replays import GivenReplays

    assert seen.failure is not None
    replays = GivenReplays(target, seen.world, seen.failure.steps)
    tally = Tally(sequences=seen.sequences, actions=seen.actions, mismatches=1)
    _write(options, target, replays, 0, tally)
    return 1


def _write(options: Options, target: AdapterTarget, replays: Any, index: int, tally: Tally) -> None:
    console = stdout()
    stderr().print("shrinking")
    shrunk = shrink(replays, options.plan, index, Budget(seconds=options.shrink_seconds))
    shrunk.rerun = shrunk.rerun.replace("plumbline diff", target.command, 1)
    check_deterministic(target, shrunk.world, shrunk.steps)
    hint = clock_hint(target, shrunk.world, shrunk.steps, shrunk.mismatches[0].where)
    paths = write_findings(options.out, target, shrunk, tally, options.formats)
    text = next((p for p in paths if p.suffix == ".txt"), None)
    if text is not None:
        console.print(text.read_text(encoding="utf-8"), markup=False, highlight=False)
    if hint:
        console.print(f"hint: {hint}", markup=False)
    for path in paths:
        console.print(f"wrote {path}", markup=False)
