"""Recording and replaying sequences of an adapter of the kit. See ``risk.diff.shrink.Replays``."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from risk.diff.kit.adapter import Argument, Step, World
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan
from risk.diff.shrink import Failure, record_steps, run_steps


class AdapterReplays:
    """An open ``AdapterTarget`` as something to shrink."""

    def __init__(self, target: AdapterTarget) -> None:
        self.target = target

    def record(self, plan: Plan, index: int) -> tuple[World, list[Step]]:
        """As the runner: the same world, the same steps."""
        world = self.target.make_world(plan.seed, index)
        return world, record_steps(self.target.start_in(world), plan, index)

    def replay(self, world: World, steps: Sequence[Step]) -> Failure | None:
        """Contracts as ``deploy`` leaves them, then the steps."""
        return run_steps(self.target.start_in(world), steps)

    def is_action(self, step: Step) -> bool:
        """Every step is; what ``deploy`` does is none."""
        del step
        return True

    def waits(self, step: Step) -> int:
        """All of it."""
        return step.wait

    def with_wait(self, step: Step, wait: int) -> Step:
        """Another wait."""
        return replace(step, wait=wait)

    def numbers(self, step: Step) -> Sequence[int]:
        """The wei sent, then every integer of the arguments, nested ones too."""
        return [step.value, *_integers(step.arguments)]

    def with_number(self, step: Step, position: int, value: int) -> Step:
        """See ``numbers``."""
        if position == 0:
            return replace(step, value=value)
        arguments, left = _put(step.arguments, position - 1, value)
        if left >= 0:
            raise IndexError(position)
        return replace(step, arguments=arguments)

    def others(self, world: World, steps: Sequence[Step]) -> Iterator[tuple[World, list[Step]]]:
        """The adapter's smaller worlds; each role renamed to an earlier one."""
        for smaller in self.target.adapter.smaller_worlds(world):
            yield smaller, list(steps)
        roles = self.target.adapter.roles
        used = [r for r in roles if any(r in _roles(step) for step in steps)]
        for role in reversed(used):
            for earlier in roles[: roles.index(role)]:
                yield world, [_renamed(step, role, earlier) for step in steps]

    def instruments(self, world: World, steps: Sequence[Step]) -> int:
        """The adapter's count."""
        return self.target.adapter.instruments(world, steps)

    def key(self, world: World, steps: Sequence[Step]) -> Hashable:
        """World as JSON, and the steps."""
        return json.dumps(world, sort_keys=True), tuple(map(repr, steps))


class GivenReplays(AdapterReplays):
    """Steps that something else found (the explorer, hypothesis, a file), instead of a seed."""

    def __init__(self, target: AdapterTarget, world: World, steps: Sequence[Step]) -> None:
        super().__init__(target)
        self.given = world, list(steps)

    def record(self, plan: Plan, index: int) -> tuple[World, list[Step]]:
        """What was given, whatever the plan says."""
        del plan, index
        return self.given


def _integers(arguments: Iterable[Argument]) -> Iterator[int]:
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _integers(argument)
        elif isinstance(argument, int) and not isinstance(argument, bool):
            yield argument


def _put(
    arguments: tuple[Argument, ...], position: int, value: int
) -> tuple[tuple[Argument, ...], int]:
    """With the integer of this position replaced; the second is negative once it was found."""
    out: list[Argument] = []
    for argument in arguments:
        if isinstance(argument, tuple) and position >= 0:
            argument, position = _put(argument, position, value)
        elif isinstance(argument, int) and not isinstance(argument, bool) and position >= 0:
            argument = value if position == 0 else argument
            position -= 1
        out.append(argument)
    return tuple(out), position


def _roles(step: Step) -> set[Any]:
    def words(arguments: Iterable[Argument]) -> Iterator[str]:
        for argument in arguments:
            if isinstance(argument, tuple):
                yield from words(argument)
            elif isinstance(argument, str):
                yield argument

    return {step.sender, *words(step.arguments)}


def _renamed(step: Step, old: str, new: str) -> Step:
    def words(arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
        return tuple(
            words(a) if isinstance(a, tuple) else new if a == old and isinstance(a, str) else a
            for a in arguments
        )

    sender = new if step.sender == old else step.sender
    return replace(step, sender=sender, arguments=words(step.arguments))
