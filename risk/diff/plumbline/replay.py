"""Sequences of our vault as something to shrink: recorded as data, replayed in any smaller world.

``VaultReplays`` compares the model with the contracts on a node. ``ModelPair`` compares the model
with a model in which a fault is planted: the same search, without a node and much faster; what it
finds is confirmed on the chain afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from random import Random
from typing import Any

from risk.diff.coverage import Tally
from risk.diff.findings.finding import Finding
from risk.diff.kit.errors import DiffError
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.faults import Fault, planted
from risk.diff.plumbline.lone import LoneSession, Nowhere
from risk.diff.plumbline.replay_session import (
    ChainSession,
    PairSession,
    SetUpFailed,
    copied,
    deployed,
)
from risk.diff.plumbline.replay_steps import (
    Symbols,
    VaultStep,
    amounts,
    places_of,
    read,
    written,
)
from risk.diff.plumbline.replay_worlds import (
    VaultWorld,
    smaller,
)
from risk.diff.plumbline.session import VaultSession
from risk.diff.plumbline.setup import Deployment, setup_actions
from risk.diff.plumbline.signing import actor
from risk.diff.runner import Plan, step_once
from risk.diff.shrink import Failure, Shrunk

FUNDING = ("deposit", "fundInsurance")


# ── recording ────────────────────────────────────────────────────────────────────────────────────


class _Recorded:
    """Mixed into a session: keeps the set-up as steps."""

    deployment: Deployment
    chain: Any
    now: int

    def set_up(self, action: VaultAction) -> None:
        symbols = Symbols(places_of(self.deployment), self.chain.vault_functions)
        step = symbols.step_of(action, self.now)
        self.__dict__.setdefault("before", None)
        self.__dict__.setdefault("set_up_steps", []).append(step)
        super().set_up(action)  # type: ignore[misc]


class _ChainRecording(_Recorded, VaultSession):
    pass


class _LoneRecording(_Recorded, LoneSession):
    pass


def _record(
    session: Any, plan: Plan, index: int, check: bool
) -> tuple[VaultWorld, list[VaultStep]]:
    """``check`` compares with the chain after each action and stops at the first disagreement."""
    d: Deployment = session.deployment
    since = d.world.feeds[d.sequencer].updated_at
    done = session.__dict__.get("set_up_steps", [])
    world = VaultWorld(
        copy.deepcopy(d.spec),
        len(d.signers),
        d.threshold,
        d.spec.now - since,
        len(done) if d.probe_early else None,
    )
    steps = [replace(s, funding=True) for s in done if s.kind in FUNDING]
    symbols = Symbols(places_of(d), session.chain.vault_functions)  # before anything is adopted
    rng = Random(f"sequence {plan.seed} {index}")
    counts = Tally()
    for _ in range(plan.actions):
        action = session.propose(rng)
        steps.append(symbols.step_of(action, session.now))
        if check:
            if step_once(session, action, counts)[0]:
                break
        else:
            session.on_model(action)
    return world, steps


class _Replays:
    """What the two kinds share. See ``risk.diff.shrink.Replays``."""

    def is_action(self, step: VaultStep) -> bool:
        """Deposits of the set-up are none."""
        return not step.funding

    def waits(self, step: VaultStep) -> int:
        """Beyond the second of the block."""
        return step.wait

    def with_wait(self, step: VaultStep, wait: int) -> VaultStep:
        """Another wait."""
        return replace(step, wait=wait)

    def numbers(self, step: VaultStep) -> Sequence[int]:
        """Amounts, prices and sizes; of a batch none."""
        return [] if step.inner else [read(s, path) for s, path in amounts(step)]

    def with_number(self, step: VaultStep, position: int, value: int) -> VaultStep:
        """See ``numbers``."""
        _, path = amounts(step)[position]
        return written(step, path, value)

    def others(
        self, world: VaultWorld, steps: Sequence[VaultStep]
    ) -> Iterable[tuple[VaultWorld, list[VaultStep]]]:
        """See ``replay_worlds.py``; each call of a batch in its place, and without one of them."""
        users = sorted((actor(f"user {i}") for i in range(4)), key=lambda a: a.address)
        yield from smaller(world, steps, users)
        for i, step in enumerate(steps):
            if step.name != "batch":
                continue
            for n, item in enumerate(step.inner):
                alone = replace(item, sender=step.sender, wait=step.wait)
                rest = replace(step, inner=(*step.inner[:n], *step.inner[n + 1 :]))
                for instead in (alone, rest):
                    yield world, [*steps[:i], instead, *steps[i + 1 :]]

    def instruments(self, world: VaultWorld, steps: Sequence[VaultStep]) -> int:
        """Everything that the world lists, whether an action names it or not."""
        del steps
        return len(world.spec.instruments())

    def key(self, world: VaultWorld, steps: Sequence[VaultStep]) -> Hashable:
        """Text of both."""
        return repr(world), repr(list(steps))

    def replay(self, world: VaultWorld, steps: Sequence[VaultStep]) -> Failure | None:
        """See ``Replays``; an error of the model that is no refusal counts as one of the tool."""
        session, counts = self.start(world), Tally()
        for number, step in enumerate(steps):
            try:
                mismatches, _, _ = step_once(session, session.action(step), counts)
            except DiffError:
                raise
            except (ArithmeticError, LookupError, TypeError, ValueError, AssertionError) as error:
                raise SetUpFailed(f"{step.describe()}: {error!r}") from error
            if mismatches:
                return Failure(number, tuple(mismatches))
        return None

    def start(self, world: VaultWorld) -> Any:
        """A session after the set-up."""
        raise NotImplementedError


class VaultReplays(_Replays):
    """An open ``PlumblineTarget``. The set-up of a world is done once and kept as a snapshot."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.chain = target.chain
        self.command = target.command
        self._world = ""
        self._mark = ""
        self._base: ChainSession | None = None

    def record(self, plan: Plan, index: int) -> tuple[VaultWorld, list[VaultStep]]:
        """The runner's sequence."""
        self._world = ""
        self.chain.reset()
        return _record(_ChainRecording(self.chain, plan.seed, index), plan, index, check=True)

    def start(self, world: VaultWorld) -> ChainSession:
        """From the snapshot, or from the beginning."""
        rpc, key = self.chain.rpc, repr(world)
        if key != self._world or not rpc.call("evm_revert", self._mark):
            self._world = ""
            self.chain.reset()
            base = ChainSession(self.chain, deployed(self.chain, world))
            for action in islice(setup_actions(base, None), world.set_up):
                base.set_up(action)
            self._base, self._world = base, key
        self._mark = rpc.call("evm_snapshot")
        assert self._base is not None
        d = replace(self._base.deployment, state=self._base.state, world=self._base.vault.world)
        session = ChainSession(self.chain, copied(d))
        session.logs, session.touched = list(self._base.logs), set(self._base.touched)
        return session

    def finding(self, shrunk: Shrunk[VaultWorld, VaultStep]) -> Finding:
        """For ``write_findings``: see ``replay_finding.py``."""
        from risk.diff.plumbline.replay_finding import finding_of

        return finding_of(self, shrunk)


class ModelPair(_Replays):
    """The model with a planted fault against the model without."""

    def __init__(self, fault: Fault, nowhere: Nowhere | None = None) -> None:
        self.fault = fault
        self.nowhere = nowhere or Nowhere()

    def record(self, plan: Plan, index: int) -> tuple[VaultWorld, list[VaultStep]]:
        """What the faulty model leads the proposer to, as in the runner; all of it."""
        with planted(self.fault):
            return _record(_LoneRecording(self.nowhere, plan.seed, index), plan, index, check=False)

    def start(self, world: VaultWorld) -> PairSession:
        """Both models after the set-up."""
        self.nowhere.reset()
        d = deployed(self.nowhere, world)
        d.state.interest_time = d.spec.now
        session = PairSession(self.nowhere, d, self.fault)
        for action in islice(setup_actions(session, None), world.set_up):
            session.set_up(action)
        return session
