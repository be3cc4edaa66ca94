"""Long runs: one plan for each seed of a range, each with its own result file, so that a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from risk.diff.adapter import Target
from risk.diff.coverage import Tally
from risk.diff.runner import Plan, run
from risk.files import write_text


@dataclass
class Campaign:
    """What all seeds together have seen."""

    seeds: int = 0
    resumed: int = 0  # seeds whose result was there already
    seconds: float = 0.0  # of the seeds that are in it, whenever they ran
    totals: Counter[str] = field(default_factory=Counter)
    reverts: Counter[str] = field(default_factory=Counter)
    action_kinds: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """One seed's result."""
        self.seeds += 1
        self.seconds += result["seconds"]
        for name in TOTALS:
            self.totals[name] += result[name]
        self.reverts.update(result["reverts"])
        self.action_kinds.update(result["action_kinds"])
        self.calls.update(result["calls"])
        self.failures += result["failures"]

    def summary(self) -> dict[str, Any]:
        """JSON form."""
        rate = self.totals["actions"] / self.seconds if self.seconds else 0.0
        return {
            "seeds": self.seeds,
            **dict(self.totals),
            "seconds": round(self.seconds, 1),
            "actions_per_second": round(rate, 1),
            "failures": self.failures,
            "reverts": dict(sorted(self.reverts.items())),
            "action_kinds": dict(sorted(self.action_kinds.items())),
            "calls": dict(sorted(self.calls.items())),
        }


TOTALS = (
    "sequences",
    "actions",
    "values_compared",
    "refused",
    "liquidations",
    "mismatches",
)


def campaign(
    factory: Callable[[], Target],
    plan: Plan,
    seeds: Iterable[int],
    folder: Path,
    progress: Callable[[Campaign], None] | None = None,
) -> Campaign:
    """Run ``plan`` for each seed whose result is not in ``folder`` yet."""
    out = Campaign()
    part = "model" if plan.alone else "chain"
    for seed in seeds:
        path = folder / f"{part}-{plan.sequences}x{plan.actions}-{seed}.json"
        if path.exists():
            out.resumed += 1
            out.add(json.loads(path.read_text(encoding="utf-8")))
        else:
            started = time.monotonic()
            tally = run(factory, replace(plan, seed=seed))
            result = result_of(tally, seed, time.monotonic() - started)
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(result, indent=2) + "\n")
            out.add(result)
        if progress:
            progress(out)
    return out


def result_of(tally: Tally, seed: int, seconds: float) -> dict[str, Any]:
    """What one seed's file holds."""
    failures = [
        f"{e.rerun}  # step {e.step}: {e.title[:200]}: {e.mismatches[0].where}"
        for e in tally.counterexamples
    ]
    return {
        "seed": seed,
        "seconds": round(seconds, 3),
        **tally.summary(),
        "refused": tally.reverts_compared,
        "calls": tally.calls,
        "failures": failures,
    }
