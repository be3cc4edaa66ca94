"""Before a disagreement is called a finding: is the target deterministic, is it the clock?"""

from __future__ import annotations

from collections.abc import Sequence

from risk.diff.adapter import Observation
from risk.diff.compare import compare, show
from risk.diff.kit.adapter import Step, World
from risk.diff.kit.errors import NotDeterministic
from risk.diff.kit.target import AdapterTarget

SHIFT_SECONDS = 12_345_678


def check_deterministic(target: AdapterTarget, world: World, steps: Sequence[Step]) -> None:
    """Replays the contracts twice, from a new engine state each; raises ``NotDeterministic`` with
    the first value that differs.
    """
    first, second = (_chain_alone(target, world, steps, 0) for _ in range(2))
    for number, (a, b) in enumerate(zip(first, second, strict=True), 1):
        _, differing = compare(a, b)
        if differing:
            m = differing[0]
            where = "after the set-up" if number == 1 else f"after step {number - 1}"
            raise NotDeterministic(
                f"{target.name} is not deterministic: {where}, {m.where} was {show(m.model)} in "
                f"one replay and {show(m.chain)} in the next. A contract under comparison may "
                "read storage, calldata, block time and block number; not gas left, block hashes "
                "or randomness"
            )


def clock_hint(target: AdapterTarget, world: World, steps: Sequence[Step], where: str) -> str:
    """A line if the value at ``where`` depends on the block time as such, else ""."""
    name = where.removeprefix("state.")
    early = _chain_alone(target, world, steps, 0)[-1].get(name)
    late = _chain_alone(target, world, steps, SHIFT_SECONDS)[-1].get(name)
    if early == late or early is None:
        return ""
    return (
        f"{name} depends on the block time: {show(early)}, and {show(late)} when the same steps "
        f"run {SHIFT_SECONDS} s later. The model is told the time as `now`"
    )


def _chain_alone(
    target: AdapterTarget, world: World, steps: Sequence[Step], shift: int
) -> list[Observation]:
    """What the contracts show after the set-up and after each step, without the model."""
    target.restart(shift)
    try:
        session = target.start_in(world)
        seen: list[Observation] = [session.observe_chain()]
        for step in steps:
            outcome = session.on_chain(step)
            seen.append({**outcome.observation("outcome"), **session.observe_chain()})
        return seen
    finally:
        target.restart(0)
