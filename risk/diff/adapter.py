"""The adapter protocol: all that the differential runner asks of a target.

A target brings a *model* (plain Python) and a *chain* (the contracts on a node) and knows how to

* make one account-level case from a seed and an index, and evaluate it on both sides;
* start a stateful sequence, propose the next action from the model's own state, apply it on both
  sides and observe the complete state of both sides afterwards.

Every observation is a flat mapping ``name -> value``; values are integers, strings, booleans or
bytes and must be equal. A revert is an observation too: its raw return data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

Value = int | str | bool | bytes | None
Observation = Mapping[str, Value]


@dataclass(frozen=True)
class Outcome:
    """What one call did: decoded return values, or the raw revert data.

    ``error`` is the decoded name of the error, for counting and reading; ``data`` is what is
    compared.
    """

    ok: bool
    data: bytes = b""
    error: str = ""

    def observation(self, name: str) -> dict[str, Value]:
        """The outcome as two named values."""
        return {f"{name}.ok": self.ok, f"{name}.data": self.data}


@dataclass(frozen=True)
class Mismatch:
    """One value on which model and chain disagree."""

    where: str
    model: Value
    chain: Value

    @property
    def difference(self) -> int | None:
        """chain − model, where both are integers."""
        if isinstance(self.model, int) and isinstance(self.chain, int):
            return self.chain - self.model
        return None


@dataclass
class Counterexample:
    """A disagreement, with what is needed to see it again."""

    kind: str  # "case" or "sequence"
    seed: int
    index: int
    step: int  # action number inside a sequence, 0 for cases
    title: str
    mismatches: list[Mismatch]
    rerun: str
    details: list[str] = field(default_factory=list)


class Case(Protocol):
    """One account-level case: immutable, made from (seed, index) alone."""

    @property
    def index(self) -> int:
        """Number of the case."""
        ...

    @property
    def tags(self) -> frozenset[str]:
        """What the mix table counts."""
        ...

    def describe(self) -> list[str]:
        """Readable lines for a counterexample."""
        ...


class Action(Protocol):
    """One step of a sequence."""

    @property
    def kind(self) -> str:
        """Name for the coverage table."""
        ...

    def describe(self) -> str:
        """One readable line."""
        ...


class Session(Protocol):
    """A running sequence: model and chain at the same state."""

    #: see ``compare.compare``; empty unless the target has a stated reason
    tolerance: Mapping[str, int]

    def propose(self, rng: Random) -> Action:
        """The next action, chosen from the model's state only."""
        ...

    def on_model(self, action: Any) -> Outcome:
        """Apply to the model."""
        ...

    def on_chain(self, action: Any) -> Outcome:
        """Apply to the chain as a real transaction."""
        ...

    def counted(self, action: Any, outcome: Outcome) -> Iterable[str]:
        """Names to count beside kinds and errors: ``call:<function>``, ``liquidation`` …"""
        ...

    def observe_model(self) -> Observation:
        """Complete state of the model."""
        ...

    def observe_chain(self) -> Observation:
        """Complete state of the chain, the same keys."""
        ...

    def invariants(self) -> Iterable[str]:
        """Violated invariants, as readable lines; empty when all hold."""
        ...

    def finish(self) -> list[Mismatch]:
        """Checks at the end of the sequence (for instance a rebuild from events)."""
        ...


class SequenceTarget(Protocol):
    """A model and its contracts, compared along sequences."""

    name: str
    #: the command line that repeats a run, before ``--seed``
    command: str

    def open(self) -> None:
        """Start the engine and deploy what sequences (and cases) share."""
        ...

    def close(self) -> None:
        """Stop the engine."""
        ...

    def start(self, seed: int, index: int) -> Session:
        """Deploy a fresh world for a sequence on both sides."""
        ...

    def goals(self) -> Mapping[str, str]:
        """Counted names that a long run should reach, each with the reason why it may stay
        unreached ("" where it may not).
        """
        ...


class Target(SequenceTarget, Protocol):
    """A target that has account-level cases too, and a model that can run without a chain."""

    def make_case(self, seed: int, index: int) -> Case:
        """The case of this seed and index; the same on every machine."""
        ...

    def case_on_model(self, case: Any) -> Observation:
        """Evaluate on the model."""
        ...

    def case_on_chain(self, case: Any) -> Observation:
        """Evaluate on the chain."""
        ...

    def case_events(self, model: Observation) -> Iterable[str]:
        """Names to count: ``revert:<Error>``, ``liquidation`` …"""
        ...

    def open_alone(self) -> None:
        """Instead of ``open``: what the model needs without a chain."""
        ...

    def start_alone(self, seed: int, index: int) -> Session:
        """A fresh world for a sequence of the model alone: nothing is asked of a chain."""
        ...


def flatten(prefix: str, values: Sequence[Value]) -> dict[str, Value]:
    """``prefix[0]``, ``prefix[1]`` … and ``prefix.length``."""
    out: dict[str, Value] = {f"{prefix}.length": len(values)}
    for i, value in enumerate(values):
        out[f"{prefix}[{i}]"] = value
    return out
