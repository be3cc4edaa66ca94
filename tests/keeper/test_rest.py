"""Accounts that rest after a lost race, and what the pool's word is worth."""

from __future__ import annotations

from risk.keeper.rest import Rests
from risk.keeper.types import Health, Reading

A, B = 0xA00, 0xB00


def unhealthy(*accounts: int) -> dict[int, Reading]:
    return {a: Reading(a, Health.UNHEALTHY, 1, 2, 3, 1, 1) for a in accounts}


def test_a_lost_race_rests_for_so_many_heads() -> None:
    rests = Rests(3)
    rests.lost(A, 10)
    both = unhealthy(A, B)
    assert rests.resting(both, 10) == rests.resting(both, 12) == {A: 13}
    assert rests.resting(both, 13) == {}
    assert rests.resting(both, 12) == {}  # over is over


def test_another_loss_begins_anew() -> None:
    rests = Rests(3)
    rests.lost(A, 10)
    rests.lost(A, 12)
    assert rests.resting(unhealthy(A), 14) == {A: 15}


def test_who_is_healthy_is_not_named_but_his_rest_goes_on() -> None:
    rests = Rests(3)
    rests.lost(A, 10)
    assert rests.resting(unhealthy(B), 11) == {}
    assert rests.resting(unhealthy(A, B), 12) == {A: 13}


def test_nobody_rests_at_zero_or_longer_than_configured() -> None:
    none = Rests(0)
    none.lost(A, 10)
    assert none.resting(unhealthy(A), 10) == {}
    rests = Rests(3)
    rests.lost(A, 10)
    assert rests.resting(unhealthy(A), 9) == {}  # a chain that was cut back


def test_the_pool_is_believed_at_one_head() -> None:
    rests = Rests()
    both = unhealthy(A, B)
    assert rests.trusts(A, both, 10)
    rests.left(A, 10)
    assert rests.trusts(A, both, 10)  # the same head once more
    assert not rests.trusts(A, both, 11) and rests.trusts(B, both, 11)
    rests.left(A, 11)
    assert not rests.trusts(A, both, 11)
    assert rests.trusts(B, unhealthy(B), 12)  # A was healthy at 12
    assert rests.trusts(A, both, 13)
