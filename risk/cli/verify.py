"""``plumbline verify``."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

from risk.chain.compile import compile_contracts
from risk.chain.node import project_root
from risk.cli.output import guarded, stdout, write_json
from risk.diff import report
from risk.diff.coverage import Tally
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan, WorkerFailed, run


def verify_command(plan: Plan, json: Path | None) -> int:
    """0: no mismatch; 1: mismatches; 2: the run itself failed."""
    return guarded(lambda: _verify(plan, json))


def _verify(plan: Plan, json: Path | None) -> int:
    started = time.monotonic()
    print("compiling", file=sys.stderr)
    compile_contracts(project_root())  # once, before the workers read it from the cache
    try:
        tally = run(PlumblineTarget, plan, functools.partial(_progress, started))
    except WorkerFailed as failure:
        print(f"\nerror: a worker failed:\n{failure}", file=sys.stderr)
        return 2
    seconds = time.monotonic() - started
    print(file=sys.stderr)
    report.print_run(stdout(), tally, seconds, f"plumbline verify, seed {plan.seed}")
    write_json(json, {**tally.summary(), "seed": plan.seed, "seconds": round(seconds, 1)})
    return 0 if tally.mismatches == 0 else 1


def _progress(started: float, tally: Tally, done: int, tasks: int) -> None:
    seconds = time.monotonic() - started
    line = (
        f"\r{100 * done // tasks:3d} %  {tally.cases} cases  {tally.sequences} sequences  "
        f"{tally.actions} actions  {tally.mismatches} mismatches  {seconds:.0f} s "
    )
    if sys.stderr.isatty() or done == tasks or done % 25 == 0:
        print(line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
