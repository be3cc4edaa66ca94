"""Drive both sides along given steps: the loop under explorer, hypothesis and replays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from risk.diff.adapter import Mismatch, Observation, Outcome
from risk.diff.compare import compare
from risk.diff.kit.adapter import Step
from risk.diff.kit.target import AdapterSession


@dataclass
class Followed:
    """What a sequence did up to its end or its first disagreement."""

    steps: list[Step] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)  # the model's
    mismatches: list[Mismatch] = field(default_factory=list)  # of the last step
    values_compared: int = 0
    seen: list[Observation] = field(default_factory=list)  # the chain's, if they are kept

    @property
    def failed(self) -> bool:
        """Whether the last step disagreed."""
        return bool(self.mismatches)


def compare_step(session: AdapterSession, step: Step) -> tuple[Outcome, int, list[Mismatch]]:
    """One action on both sides: the model's outcome, number of values compared, what differs."""
    on_model, on_chain = session.on_model(step), session.on_chain(step)
    count, mismatches = compare(on_model.observation("outcome"), on_chain.observation("outcome"))
    more, differing = compare(
        session.observe_model(), session.observe_chain(), "state.", session.tolerance
    )
    broken = [Mismatch("invariant", "holds", line) for line in session.invariants()]
    return on_model, count + more, mismatches + differing + broken


def follow(session: AdapterSession, steps: Iterable[Step], *, keep: bool = False) -> Followed:
    """Replay until the first disagreement. ``steps`` may be a generator that looks at the session.

    ``keep`` also records what the chain showed after each step.
    """
    done = Followed()
    for step in steps:
        outcome, count, done.mismatches = compare_step(session, step)
        done.steps.append(step)
        done.outcomes.append(outcome)
        done.values_compared += count
        if keep:
            done.seen.append(session.observe_chain())
        if done.failed:
            break
    return done
