"""An adapter inside hypothesis: its draws come from ``hypothesis.strategies.data()``.

    @given(st.data())
    def test_bank(data):
        assert_agreement(target, data, actions=20)

hypothesis then varies and shrinks the draws themselves; the runner's shrinker works on the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from risk.diff.compare import show
from risk.diff.kit.adapter import Step
from risk.diff.kit.follow import Followed, follow
from risk.diff.kit.target import AdapterSession, AdapterTarget

T = TypeVar("T")


class HypothesisDraw:
    """Draws from hypothesis' ``data`` object. See ``draw.Draw``."""

    def __init__(self, data: Any) -> None:
        from hypothesis import strategies

        self._data = data
        self._st = strategies

    def integer(self, low: int, high: int, edges: Sequence[int] = ()) -> int:
        """The ends and edges (and one beside each) or anything between."""
        wanted = [v + d for v in (low, *edges, high) for d in (0, 1, -1) if low <= v + d <= high]
        choices = self._st.one_of(
            self._st.sampled_from(list(dict.fromkeys(wanted))), self._st.integers(low, high)
        )
        return int(self._data.draw(choices))

    def choice(self, items: Sequence[T]) -> T:
        """One of the items; shrinks to the first."""
        picked: T = self._data.draw(self._st.sampled_from(list(items)))
        return picked

    def chance(self, percent: int) -> bool:
        """Shrinks to False."""
        return bool(self._data.draw(self._st.integers(0, 99)) >= 100 - percent)


def drawn(target: AdapterTarget, data: Any, actions: int) -> Followed:
    """A world and up to ``actions`` steps drawn by hypothesis, on both sides of an open target."""
    draw = HypothesisDraw(data)
    session = target.start_in(target.adapter.world(draw))
    count = draw.integer(1, actions)

    def steps(session: AdapterSession) -> Iterator[Step]:
        for _ in range(count):
            yield target.adapter.propose(draw, session.model, session.world)

    return follow(session, steps(session))


def assert_agreement(target: AdapterTarget, data: Any, actions: int = 20) -> None:
    """Raises ``AssertionError`` with the steps and the first value that differs."""
    done = drawn(target, data, actions)
    if done.failed:
        m = done.mismatches[0]
        story = "\n".join(f"  {i}. {step.describe()}" for i, step in enumerate(done.steps, 1))
        raise AssertionError(f"{m.where}: model {show(m.model)}, chain {show(m.chain)}\n{story}")
