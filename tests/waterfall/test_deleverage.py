"""Arithmetic of an auto-deleveraging, without a chain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.math.wad_math import WAD
from risk.exact.waterfall import deleverage, theta

sizes_ = st.lists(st.integers(min_value=1, max_value=10**25), min_size=1, max_size=64)
caps_ = st.integers(min_value=0, max_value=10**28)


@given(sizes_, st.integers(min_value=0, max_value=10**6))
def test_shares_add_up_and_nobody_closes_more_than_it_has(sizes: list[int], part: int) -> None:
    covered = sum(sizes)
    total = max(1, covered * part // 10**6)
    closed = deleverage.shares(sizes, covered, total)
    assert sum(closed) == total
    for c, size in zip(closed, sizes, strict=True):
        assert 0 <= c <= size
        assert abs(c * covered - total * size) <= covered  # pro rata to the wei


@given(sizes_, st.data())
def test_E47_theta_found_by_bisection_passes_the_check(
    sizes: list[int], data: st.DataObject
) -> None:
    n = len(sizes)
    caps = data.draw(st.lists(caps_, min_size=n, max_size=n))
    deficit = data.draw(st.integers(min_value=0, max_value=2 * sum(caps) + 2))
    total = sum(sizes)
    level = theta.find(sizes, caps, deficit)
    paid, paid_total = deleverage.haircuts(sizes, caps, total, level, deficit)
    assert paid_total == sum(paid) == min(deficit, sum(caps))  # exactly, or all they have
    assert all(0 <= h <= cap for h, cap in zip(paid, caps, strict=True))
    # levelled: whoever does not pay its cap pays θ a unit, but for the rounding given back
    slack = n + total // WAD
    for h, cap, size in zip(paid, caps, sizes, strict=True):
        assert h == cap or h >= min(-(-level * size // WAD), cap) - slack


@given(sizes_, st.integers(min_value=1, max_value=10**27))
def test_E47_a_level_too_high_or_too_low_is_refused(sizes: list[int], deficit: int) -> None:
    caps = [10**30] * len(sizes)
    total, n = sum(sizes), len(sizes)
    level = theta.find(sizes, caps, deficit)
    with pytest.raises(ModelRevert) as low:
        deleverage.haircuts(sizes, caps, total, level - 1, deficit)
    assert low.value.name == "AdlHaircutMismatch" and low.value.args[0] < deficit
    tolerance = deficit // 100 + n + total // WAD
    higher = -(-(deficit + tolerance + 1) * WAD // total)
    with pytest.raises(ModelRevert) as high:
        deleverage.haircuts(sizes, caps, total, higher, deficit)
    assert high.value.args[0] > deficit + tolerance


@given(sizes_, st.integers(min_value=10**6, max_value=10**27), st.integers(0, 990))
def test_D37_a_level_a_little_too_high_takes_no_more(
    sizes: list[int], deficit: int, over: int
) -> None:
    """The room for a deficit that moves in front of the call costs nobody anything."""
    caps = [10**30] * len(sizes)
    level = theta.find(sizes, caps, deficit)
    exact, _ = deleverage.haircuts(sizes, caps, sum(sizes), level, deficit)
    higher = min(level * (100_000 + over) // 100_000, deficit * 101 * WAD // (100 * sum(sizes)))
    if higher <= level:
        return
    paid, total = deleverage.haircuts(sizes, caps, sum(sizes), higher, deficit)
    assert total == sum(paid) == deficit
    for got, want in zip(paid, exact, strict=True):
        assert abs(got - want) <= len(sizes) + sum(sizes) // WAD + 2


def test_any_level_where_every_cap_binds() -> None:
    for level in (10**40, 2**160, 2**256 - 1):
        assert deleverage.haircuts([5, 7], [3, 0], 12, level, 10) == ([3, 0], 3)
    with pytest.raises(ModelRevert):
        deleverage.haircuts([5, 7], [3, 0], 12, 0, 10)
    # one that closes nothing need not pay its cap
    assert deleverage.haircuts([5, 0], [3, 9], 5, 2**256 - 1, 10) == ([3, 0], 3)


def test_nothing_to_pay() -> None:
    assert theta.find([10, 20], [5, 5], 0) == 0
    assert deleverage.haircuts([10, 20], [5, 5], 30, 0, 0) == ([0, 0], 0)
