"""``plumbline verify``."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from risk.chain.compile import compile_contracts
from risk.chain.node import project_root
from risk.cli.output import guarded, stdout, write_json
from risk.diff import report
from risk.diff.campaign import Campaign, campaign
from risk.diff.coverage import Tally, reached
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan, WorkerFailed, run
from risk.errors import PlumblineError

# cases, sequences, actions of each
PROFILES = {
    "default": Plan(),
    "full": Plan(cases=2000, sequences=900, actions=60),
    "model": Plan(cases=0, sequences=400, actions=100, alone=True),  # for each seed
    "chain": Plan(cases=0, sequences=100, actions=60),  # for each seed
}


@dataclass(frozen=True)
class Sizes:
    """What the command line says instead of the profile; None where it says nothing."""

    cases: int | None = None
    sequences: int | None = None
    actions: int | None = None


def verify_command(
    plan: Plan,
    json: Path | None,
    profile: str = "default",
    seeds: int = 1,
    sizes: Sizes | None = None,
) -> int:
    """0: no mismatch, and a full run reached all it should; 1: not so; 2: the run itself failed."""
    return guarded(lambda: _dispatch(plan, json, profile, seeds, sizes or Sizes()))


def _dispatch(plan: Plan, json: Path | None, profile: str, seeds: int, sizes: Sizes) -> int:
    if profile not in PROFILES:
        raise PlumblineError(f"profile {profile} is none of {', '.join(PROFILES)}")
    base = PROFILES[profile]
    given = {name: value for name, value in vars(sizes).items() if value is not None}
    plan = replace(
        base,
        seed=plan.seed,
        workers=plan.workers,
        only_case=plan.only_case,
        only_sequence=plan.only_sequence,
        **given,
    )
    print("compiling", file=sys.stderr)
    compile_contracts(project_root())  # once, before the workers read it from the cache
    try:
        if profile in ("model", "chain") and plan.only_sequence is None:
            return _campaign(plan, json, profile, seeds)
        return _verify(plan, json, profile)
    except WorkerFailed as failure:
        print(f"\nerror: a worker failed:\n{failure}", file=sys.stderr)
        return 2


def _verify(plan: Plan, json: Path | None, profile: str) -> int:
    started = time.monotonic()
    tally = run(PlumblineTarget, plan, functools.partial(_progress, started))
    seconds = time.monotonic() - started
    print(file=sys.stderr)
    report.print_run(stdout(), tally, seconds, f"plumbline verify, seed {plan.seed}")
    result = {**tally.summary(), "seed": plan.seed, "seconds": round(seconds, 1)}
    missed = 0
    if profile == "full":
        goals = reached(tally, PlumblineTarget().goals())
        report.print_reached(stdout(), goals)
        result["goals"] = {g.name: {"count": g.count, "reason": g.reason} for g in goals}
        missed = sum(g.missed for g in goals)
    write_json(json, result)
    return 0 if tally.mismatches == 0 and missed == 0 else 1


def _campaign(plan: Plan, json: Path | None, profile: str, seeds: int) -> int:
    folder = project_root() / "build" / "campaign"
    done = campaign(
        PlumblineTarget, plan, range(plan.seed, plan.seed + seeds), folder, _campaign_progress
    )
    title = f"campaign, {profile}, seeds {plan.seed} to {plan.seed + seeds - 1}"
    report.print_campaign(stdout(), done, title)
    write_json(json, {"first_seed": plan.seed, **done.summary()})
    return 0 if done.totals["mismatches"] == 0 else 1


def _campaign_progress(done: Campaign) -> None:
    print(
        f"{done.seeds} seeds ({done.resumed} from before)  {done.totals['actions']:,} actions  "
        f"{done.totals['mismatches']} mismatches  {done.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _progress(started: float, tally: Tally, done: int, tasks: int) -> None:
    seconds = time.monotonic() - started
    line = (
        f"\r{100 * done // tasks:3d} %  {tally.cases} cases  {tally.sequences} sequences  "
        f"{tally.actions} actions  {tally.mismatches} mismatches  {seconds:.0f} s "
    )
    if sys.stderr.isatty() or done == tasks or done % 25 == 0:
        print(line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
