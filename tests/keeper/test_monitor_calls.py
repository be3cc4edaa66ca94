"""Margin calls: exactly one for each time an account falls below a line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.keeper.monitor import Crossings, Line, MarginCall
from risk.keeper.types import Health, Reading


def below(*accounts: int, block: int = 1) -> dict[int, Reading]:
    return {a: Reading(a, Health.HEALTHY, 1, 1, 2, block, 1) for a in accounts}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(calls: list[MarginCall]) -> set[tuple[int, str]]:
    assert len({c.id for c in calls}) == len(calls)
    return {(c.reading.account, c.line.label) for c in calls}


def test_one_call_a_crossing() -> None:
    crossings = Crossings(Clock(), quiet_seconds=0.0)
    assert said(crossings.observe(below(1, 2), below(3))) == {
        (1, "warned"),
        (2, "warned"),
        (3, "liquidatable"),
    }
    assert crossings.observe(below(1, 2), below(3)) == []
    assert said(crossings.observe(below(2), below(3, 1))) == {(1, "liquidatable")}
    assert crossings.observe(below(1, 2, 3), {}) == []  # better, still below IM
    assert said(crossings.observe(below(2, 3), below(1))) == {(1, "liquidatable")}
    assert crossings.observe({}, {}) == []
    assert said(crossings.observe(below(1), {})) == {(1, "warned")}


def test_H58_unknown_is_neither_a_recovery_nor_a_fall() -> None:
    crossings = Crossings(Clock(), quiet_seconds=0.0)
    crossings.observe(below(1), below(2))
    assert crossings.observe({}, {}, [1, 2, 3]) == []
    assert crossings.observe(below(1), below(2)) == []  # nothing has changed since
    assert said(crossings.observe({}, below(1, 3))) == {(1, "liquidatable"), (3, "liquidatable")}


def test_an_account_that_swings_is_not_called_again_too_soon() -> None:
    clock = Clock()
    crossings = Crossings(clock, quiet_seconds=100.0)
    assert len(crossings.observe(below(1), {})) == 1
    for clock.now in range(1, 100, 7):
        assert crossings.observe({}, {}) == []
        assert crossings.observe(below(1), {}) == []
    assert said(crossings.observe({}, below(1))) == {(1, "liquidatable")}  # another line
    crossings.observe({}, {})
    clock.now = 99.0
    assert crossings.observe(below(1), {}) == []
    clock.now = 100.0
    assert said(crossings.observe(below(1), {})) == {(1, "warned")}  # still below: told now
    assert crossings.observe(below(1), {}) == []


def test_a_restart_does_not_tell_everybody_again() -> None:
    crossings = Crossings(Clock(), quiet_seconds=0.0)
    crossings.prime([(1, Line.WARNED), (2, Line.LIQUIDATABLE)])
    assert crossings.observe(below(1), below(2)) == []
    assert said(crossings.observe({}, below(1, 2))) == {(1, "liquidatable")}


def test_forgets_who_is_well() -> None:
    clock = Clock()
    crossings = Crossings(clock, quiet_seconds=10.0)
    crossings.observe(below(*range(1000)), {})
    crossings.observe({}, {})
    assert len(crossings) == 1000
    clock.now = 10.0
    crossings.observe({}, {})
    assert len(crossings) == 0


LINES = st.sampled_from(["above", "warned", "liquidatable", "unknown"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LINES, LINES), max_size=20))
def test_calls_are_exactly_the_crossings(path: list[tuple[str, str]]) -> None:
    """Against the definition: the last known line of each account, and a call where it is worse."""
    crossings = Crossings(Clock(), quiet_seconds=0.0)
    last = ["above", "above"]
    order = ["above", "warned", "liquidatable"]
    for step in path:
        made = said(
            crossings.observe(
                below(*(a for a in (0, 1) if step[a] == "warned")),
                below(*(a for a in (0, 1) if step[a] == "liquidatable")),
                [a for a in (0, 1) if step[a] == "unknown"],
            )
        )
        expected = set()
        for a in (0, 1):
            if step[a] == "unknown":
                continue
            if order.index(step[a]) > order.index(last[a]):
                expected.add((a, step[a]))
            last[a] = step[a]
        assert made == expected
