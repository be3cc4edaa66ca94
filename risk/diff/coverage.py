"""What a run has seen: counters that add up over workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from risk.diff.adapter import Counterexample

MAX_COUNTEREXAMPLES = 20


@dataclass
class Tally:
    """Counters of one task or of a whole run; ``merge`` adds."""

    cases: int = 0
    values_compared: int = 0
    mismatches: int = 0
    sequences: int = 0
    actions: int = 0
    tags: Counter[str] = field(default_factory=Counter)  # case mix
    events: Counter[str] = field(default_factory=Counter)  # "liquidation", "revert:<Error>" …
    action_kinds: Counter[str] = field(default_factory=Counter)  # "<kind>:ok", "<kind>:revert"
    counterexamples: list[Counterexample] = field(default_factory=list)

    def merge(self, other: Tally) -> None:
        """Add ``other`` to this tally."""
        self.cases += other.cases
        self.values_compared += other.values_compared
        self.mismatches += other.mismatches
        self.sequences += other.sequences
        self.actions += other.actions
        self.tags.update(other.tags)
        self.events.update(other.events)
        self.action_kinds.update(other.action_kinds)
        room = MAX_COUNTEREXAMPLES - len(self.counterexamples)
        self.counterexamples += other.counterexamples[: max(0, room)]

    @property
    def reverts(self) -> dict[str, int]:
        """Compared reverts by error name."""
        prefix = "revert:"
        return {k[len(prefix) :]: n for k, n in self.events.items() if k.startswith(prefix)}

    @property
    def calls(self) -> dict[str, int]:
        """How often each function was asked."""
        prefix = "call:"
        return {k[len(prefix) :]: n for k, n in sorted(self.events.items()) if k.startswith(prefix)}

    @property
    def reverts_compared(self) -> int:
        """All compared reverts."""
        return sum(self.reverts.values())

    @property
    def liquidations(self) -> int:
        """Liquidations that went through on both sides."""
        return self.events["liquidation"]

    def summary(self) -> dict[str, object]:
        """JSON form; the first seven keys are the documented ones."""
        return {
            "cases": self.cases,
            "values_compared": self.values_compared,
            "mismatches": self.mismatches,
            "sequences": self.sequences,
            "actions": self.actions,
            "reverts_compared": self.reverts_compared,
            "liquidations": self.liquidations,
            "reverts": dict(sorted(self.reverts.items())),
            "action_kinds": dict(sorted(self.action_kinds.items())),
            "calls": self.calls,
            "mix": dict(sorted(self.tags.items())),
        }


GOAL = 20  # times that a long run should reach everything


@dataclass(frozen=True)
class Reached:
    """One goal of a run: ``reason`` says why it may stay below ``GOAL``."""

    name: str
    count: int
    reason: str

    @property
    def missed(self) -> bool:
        """Below the goal without a reason."""
        return self.count < GOAL and not self.reason


def reached(tally: Tally, goals: Mapping[str, str]) -> list[Reached]:
    """Every goal with its count."""
    return [Reached(name, tally.events[name], reason) for name, reason in goals.items()]
