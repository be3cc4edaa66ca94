"""What an auditor writes: a model, how its actions become calls, and what to compare.

``AdapterTarget`` (``target.py``) turns an adapter into a target of the runner, the explorer and
the shrinker. See docs/auditing.md for a worked example of 60 lines.

    model action   ──apply──▶  the model changes, returns a value or raises ``Refused``
                   ──call_of─▶  a call to a contract: return data, or revert data

Both are compared, then ``observe_model`` against ``observe_chain``: every name, every value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from risk.chain.compile import Artifact
from risk.diff.adapter import Observation, Outcome, Value
from risk.diff.kit.chain import Chain, Contract
from risk.diff.kit.draw import Draw
from risk.diff.kit.engine import Result
from risk.diff.kit.errors import AdapterError

M = TypeVar("M")
Argument = int | str | bool | bytes | tuple["Argument", ...]
World = dict[str, Any]  # plain JSON values: it is written to the corpus and into findings


class Refused(Exception):
    """Raised by a model where the contract must revert.

    ``name`` is a custom error of the contract's ABI, ``"Error"`` with one string for a reason
    string, ``"Panic"`` with a code, or ``""`` for empty revert data; ``arguments`` are the error's.
    """

    def __init__(self, name: str = "", *arguments: Argument) -> None:
        self.name = name
        self.arguments = arguments
        super().__init__(f"{name}({', '.join(map(str, arguments))})")


@dataclass(frozen=True)
class Step:
    """One action of a sequence, pure data: it can be replayed, shrunk and written to a file.

    ``sender`` is a role of the adapter. A role's name inside ``arguments`` stays a name: model and
    ``call_of`` translate it (``Chain.role``). ``wait`` seconds pass before the action.
    """

    kind: str
    sender: str
    arguments: tuple[Argument, ...] = ()
    wait: int = 0
    value: int = 0  # wei sent along

    def describe(self) -> str:
        """``alice.supply(0, 100) after 60 s``."""
        words = ", ".join(str(a) for a in self.arguments)
        wait = f" after {self.wait} s" if self.wait else ""
        value = f" with {self.value} wei" if self.value else ""
        return f"{self.sender}.{self.kind}({words}){value}{wait}"


class Adapter(ABC, Generic[M]):
    """Everything the tool knows of a target. All methods must be free of hidden state: what a
    method needs to remember belongs into the world, the model or the chain.
    """

    #: name in reports, file names and on the command line
    name: str
    #: senders; addresses are derived from the names, the same on every engine
    roles: tuple[str, ...] = ("owner", "alice", "bob", "carol")
    #: actions that ``propose`` can return, for the coverage table
    kinds: tuple[str, ...] = ()
    #: observation name (or prefix ending in ``*``) -> largest absolute difference that counts as
    #: equal. Empty on purpose: a difference of one wei is a finding until somebody explains it.
    tolerance: Mapping[str, int] = {}
    #: EVM rules of the target
    hardfork: str = "shanghai"

    # ── the chain's side ─────────────────────────────────────────────────────────────────────────

    def artifacts(self) -> Mapping[str, Artifact]:
        """Build output by contract name: ``from_folder("out")``, ``from_sources(...)``."""
        raise AdapterError(f"adapter {self.name} has no method artifacts()")

    @abstractmethod
    def deploy(self, chain: Chain, world: World) -> None:
        """Deploy or attach, fund the roles, set up: ``chain.deploy(...)``, ``chain.must(...)``.
        Contracts are found later by their names: ``chain["pool"]``.
        """

    @abstractmethod
    def call_of(self, chain: Chain, step: Step) -> tuple[Contract, str, tuple[Any, ...]]:
        """Contract, function and ABI arguments of an action."""

    @abstractmethod
    def observe_chain(self, chain: Chain) -> Observation:
        """The complete state to compare, base quantities first (the first difference is reported as
        the first diverging quantity). Ask many views at once: ``chain.views([...])``.
        """

    def outcome_of(self, chain: Chain, step: Step, result: Result) -> Outcome:
        """What of a result is compared; as it stands: the bytes of success and of refusal."""
        return Outcome(result.ok, result.data, "" if result.ok else chain.error_name(result.data))

    # ── the model's side ─────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def world(self, draw: Draw) -> World:
        """A random initial situation: parameters, markets, prices. Plain JSON values."""

    @abstractmethod
    def model(self, chain: Chain, world: World) -> M:
        """The model in the state in which ``deploy`` leaves the contracts. It may read addresses
        from ``chain``, never amounts.
        """

    @abstractmethod
    def propose(self, draw: Draw, model: M, world: World) -> Step:
        """A next action, chosen from the model's state alone."""

    @abstractmethod
    def observe_model(self, model: M) -> Observation:
        """The same names as ``observe_chain``, in the same order."""

    def apply(self, chain: Chain, model: M, step: Step, time: int) -> tuple[Value, ...] | None:
        """Do the action on the model at block time ``time``; the values that the contract returns,
        or None where the return data is not compared. Raises ``Refused``.

        As it stands: ``model.now = time`` and the method named like the action, called with the
        sender's role and the arguments.
        """
        model.now = time  # type: ignore[attr-defined]
        returned = getattr(model, step.kind)(step.sender, *step.arguments)
        if returned is None or isinstance(returned, tuple):
            return returned
        return (returned,)

    def invariants(self, model: M) -> Iterable[str]:
        """Broken invariants of the model, as readable lines."""
        return ()

    def tick(self, model: M, step: Step) -> Iterable[str]:
        """Names to count beside the kinds and errors, e.g. ``liquidation``."""
        return ()

    # ── for reports ──────────────────────────────────────────────────────────────────────────────

    def explain(self, model: M, step: Step) -> Sequence[str]:
        """Why the model did what it did: intermediate quantities of the last action, one a line."""
        return ()

    def smaller_worlds(self, world: World) -> Iterable[World]:
        """Worlds with less in them (fewer markets, rounder prices), the boldest first."""
        return ()

    def instruments(self, world: World, steps: Sequence[Step]) -> int:
        """Number of instruments (markets, assets) that world and steps involve."""
        return 1
