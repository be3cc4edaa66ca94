"""Drive both sides along given steps: the loop under explorer, hypothesis and replays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from risk.diff.adapter import Mismatch, Outcome
from risk.diff.kit.adapter import Step
from risk.diff.kit.target import AdapterSession
from risk.diff.runner import compare_step


@dataclass
class Followed:
    """What a sequence did up to its end or its first disagreement."""

    steps: list[Step] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)  # the model's
    mismatches: list[Mismatch] = field(default_factory=list)  # of the last step
    values_compared: int = 0

    @property
    def failed(self) -> bool:
        """Whether the last step disagreed."""
        return bool(self.mismatches)


def follow(session: AdapterSession, steps: Iterable[Step]) -> Followed:
    """Until the first disagreement. ``steps`` may be a generator that looks at the session."""
    done = Followed()
    for step in steps:
        outcome, count, done.mismatches = compare_step(session, step)
        done.steps.append(step)
        done.outcomes.append(outcome)
        done.values_compared += count
        if done.failed:
            break
    return done
