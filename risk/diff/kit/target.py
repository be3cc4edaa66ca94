"""An adapter as a target of the runner: worlds, sessions, replays.

One engine serves all sequences of a target: the world is deployed once, and a snapshot of the state
after ``deploy`` is kept for as long as the same world is asked for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from risk.chain.abi import AbiError
from risk.chain.compile import Artifact
from risk.diff.adapter import Mismatch, Observation, Outcome
from risk.diff.kit.adapter import Adapter, Refused, Step, World
from risk.diff.kit.chain import Chain
from risk.diff.kit.draw import SeededDraw
from risk.diff.kit.engine import Call, Engine
from risk.diff.kit.errors import AdapterError, DiffError, TargetOutOfGas
from risk.diff.kit.watch import time_limit

MODEL_SECONDS = 20.0  # an action of the model that takes longer counts as hung
PERMITTED_HALTS = ("InvalidFEOpcode",)  # old compilers' assert: a refusal like a revert


class AdapterSession:
    """Model and chain at the same state. See ``risk.diff.adapter.Session``."""

    def __init__(self, adapter: Adapter[Any], chain: Chain, world: World) -> None:
        self.adapter = adapter
        self.chain = chain
        self.world = world
        self.tolerance = adapter.tolerance
        self.model = _guard(adapter, "model", lambda: adapter.model(chain, world))

    def propose(self, rng: Random) -> Step:
        """The adapter's choice."""
        draw = SeededDraw(rng)
        step: Step = _guard(
            self.adapter, "propose", lambda: self.adapter.propose(draw, self.model, self.world)
        )
        return step

    def on_model(self, step: Step) -> Outcome:
        """The action on a copy of the model, which replaces it where the model accepts."""
        twin = copy.deepcopy(self.model)
        time = self.chain.engine.time() + step.wait
        contract, name, _ = self.adapter.call_of(self.chain, step)
        try:
            with time_limit(MODEL_SECONDS, f"the model of {self.adapter.name}, {step.describe()},"):
                returned = self.adapter.apply(self.chain, twin, step, time)
        except Refused as refused:
            data = self._revert_data(refused)
            return Outcome(False, data, self.chain.error_name(data))
        except DiffError:
            raise
        except Exception as error:
            raise AdapterError(
                f"the model of {self.adapter.name} failed in {step.describe()}: {error!r}"
            ) from error
        self.model = twin
        self._compares_data = returned is not None
        if returned is None:
            return Outcome(True)
        return Outcome(True, contract.function(name).encode_outputs(*returned))

    def _revert_data(self, refused: Refused) -> bytes:
        if not refused.name:
            return b""
        try:
            return self.chain.errors.encode(refused.name, refused.arguments)
        except AbiError as error:
            raise AdapterError(f"the model refused with {refused}: {error}") from error

    def on_chain(self, step: Step) -> Outcome:
        """The action as a transaction, ``step.wait`` seconds later than the one before."""
        contract, name, arguments = self.adapter.call_of(self.chain, step)
        data = contract.encode(name, arguments)
        self.chain.engine.warp(step.wait)
        sender = self.chain.role(step.sender)
        result = self.chain.engine.transact(Call(contract.address, data, sender, step.value))
        if result.halt and result.halt not in PERMITTED_HALTS:
            kind = TargetOutOfGas if "Gas" in result.halt else DiffError
            raise kind(
                f"{contract.name}.{name} in {step.describe()} ended with {result.halt} "
                f"(gas limit of a call: {Call(0, b'', 0).gas:,})"
            )
        outcome = self.adapter.outcome_of(self.chain, step, result)
        if outcome.ok and not self._compares_data:
            return Outcome(True)
        return outcome

    _compares_data = True

    def counted(self, step: Step, outcome: Outcome) -> Iterable[str]:
        """What the adapter counts of an accepted action, and how large the amounts were."""
        if outcome.ok:
            yield from self.adapter.tick(self.model, step)
        for argument in step.arguments:
            if type(argument) is int:
                yield "size:" + magnitude(argument)
        yield "wait:" + magnitude(step.wait)

    def observe_model(self) -> Observation:
        """See ``Adapter.observe_model``."""
        seen: Observation = _guard(
            self.adapter, "observe_model", lambda: self.adapter.observe_model(self.model)
        )
        return seen

    def observe_chain(self) -> Observation:
        """See ``Adapter.observe_chain``."""
        return self.adapter.observe_chain(self.chain)

    def invariants(self) -> Iterable[str]:
        """See ``Adapter.invariants``."""
        return self.adapter.invariants(self.model)

    def finish(self) -> list[Mismatch]:
        """Nothing more to compare."""
        return []


class AdapterTarget:
    """See ``risk.diff.adapter.Target``; only its sequences: an adapter has no cases of its own."""

    def __init__(
        self,
        adapter: Adapter[Any],
        engine: Engine,
        artifacts: Callable[[], Mapping[str, Artifact]] | None = None,
    ) -> None:
        self.adapter = adapter
        self.engine = engine
        self.name = adapter.name
        self.command = f"plumbline diff {adapter.name} --engine {engine.name}"
        self._load = artifacts or adapter.artifacts
        self._worlds: dict[str, tuple[object, dict[str, Any]]] = {}

    def load(self) -> None:
        """The artifacts. Raises ``ArtifactError``, ``CompileError``."""
        self.artifacts = self._load()

    def open(self) -> None:
        """Load the artifacts, start the engine."""
        self.load()
        self.engine.open()
        self._empty = self.engine.snapshot()

    def close(self) -> None:
        """Stop the engine."""
        self.engine.close()

    def forget_worlds(self) -> None:
        """The next session deploys its world anew."""
        self._worlds.clear()

    def restart(self, shift: int = 0) -> None:
        """A new engine state, ``shift`` seconds later than usual; worlds are deployed anew."""
        self.forget_worlds()
        self.engine.close()
        self.engine.open()
        self.engine.warp(shift)
        self._empty = self.engine.snapshot()

    def goals(self) -> Mapping[str, str]:
        """Every kind of action, accepted at least once."""
        return {}

    def make_world(self, seed: int, index: int) -> World:
        """The world of (seed, index); the same on every engine."""
        draw = SeededDraw(Random(f"world {seed} {index}"))
        world: World = _guard(self.adapter, "world", lambda: self.adapter.world(draw))
        return world

    def start(self, seed: int, index: int) -> AdapterSession:
        """A fresh world on both sides."""
        return self.start_in(self.make_world(seed, index))

    def start_in(self, world: World) -> AdapterSession:
        """Model and contracts as ``deploy`` leaves them."""
        key = json.dumps(world, sort_keys=True)
        chain = Chain(self.engine, self.artifacts)
        if key in self._worlds:
            mark, contracts = self._worlds[key]
            self.engine.revert(mark)
            chain.contracts = dict(contracts)
        else:
            self._worlds.clear()  # marks are a stack: going back to the first drops the others
            self.engine.revert(self._empty)
            chain.fund(self.adapter.roles)
            self.adapter.deploy(chain, world)
            self._worlds[key] = (self.engine.snapshot(), dict(chain.contracts))
        return AdapterSession(self.adapter, chain, copy.deepcopy(world))


def magnitude(value: int) -> str:
    """Where a number lies on a logarithmic scale, for histograms: ``0``, ``1``, ``10^3``, ``2^64``
    (exactly, or one off) …
    """
    size, sign = abs(value), "-" if value < 0 else ""
    if size < 2:
        return sign + str(size)
    for bits in range(32, 257, 8):
        if abs(size - (1 << bits)) <= 1:
            return f"{sign}2^{bits}"
    return f"{sign}10^{len(str(size)) - 1}"


def _guard(adapter: Adapter[Any], method: str, ask: Callable[[], Any]) -> Any:
    """Names the adapter's method where it fails."""
    try:
        return ask()
    except DiffError:
        raise
    except Exception as error:
        raise AdapterError(f"{adapter.name}.{method} failed: {error!r}") from error
