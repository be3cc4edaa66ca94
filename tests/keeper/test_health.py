"""The contract's own test of one account, on copies; what the book of readings remembers."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.state import Account
from risk.keeper.health import HealthBook, adopt, blind, judge, refresh, scratch
from risk.keeper.types import Health, Reading
from tests.attacks.scene import ModelMarket, model_market
from tests.keeper.planner_scene import (
    BOOK,
    LONG,
    PRICES,
    WAD,
    A,
    C,
    D,
    Keeper,
    at_health,
    settle_in,
)


@pytest.fixture
def m() -> ModelMarket:
    made = model_market()
    settle_in(made)
    return made


def health_of(m: ModelMarket, account: int = A, unknown: frozenset[int] = frozenset()) -> Reading:
    k = Keeper(m)
    return judge(refresh(m.state, k.prices(unknown, "no answer"), k.next_head()), account)[0]


def liquidatable(m: ModelMarket, account: int = A) -> bool:
    """What the model's ``flag`` says, which has the same test."""
    twin = m.copy()
    try:
        twin.model.flag(0, account)
    except ModelRevert as error:
        assert error.name == "AccountHealthy", error
        return False
    return True


@pytest.mark.parametrize("percent", [-20, 0, 50, 99, 100, 101, 130, 300])
def test_agrees_with_flag(m: ModelMarket, percent: int) -> None:
    at_health(m, A, percent * WAD // 100, **BOOK)
    found = health_of(m)
    assert (found.health is Health.UNHEALTHY) == liquidatable(m) == (percent < 100)
    assert (found.equity_wad < found.mm_wad) == (percent < 100)


@pytest.mark.parametrize("wei", [-1, 0, 1])
def test_one_wei(m: ModelMarket, wei: int) -> None:
    at_health(m, A, WAD, **BOOK)
    margin = m.model.margin(A)
    m.state.accounts[A].cash_wad += margin.mm - margin.equity + wei
    assert (health_of(m).health is Health.UNHEALTHY) == (wei < 0) == liquidatable(m)


@pytest.mark.parametrize("move", [0.97, 0.985, 0.995, 1.005, 1.015, 1.03])
@pytest.mark.parametrize("percent", [94, 99, 101, 106])
def test_live_prices_decide(m: ModelMarket, move: float, percent: int) -> None:
    """Within the band the snapshot stays and the live price decides; beyond it is taken first."""
    at_health(m, A, percent * WAD // 100, **BOOK)
    m.set_price(0, PRICES[0] * move)
    assert (health_of(m).health is Health.UNHEALTHY) == liquidatable(m)


def test_nothing_is_changed(m: ModelMarket) -> None:
    at_health(m, A, WAD // 2, **BOOK)
    m.set_price(0, PRICES[0] * 0.9)
    before = copy.deepcopy(m.state)
    health_of(m)
    assert m.state == before


def test_a_dead_feed_is_unknown_not_healthy(m: ModelMarket) -> None:
    at_health(m, A, 101 * WAD // 100, **BOOK)
    time = m.state.underlyings[0].time
    m.set_feed(m.state.underlyings[0].feed, 0)
    found = health_of(m)
    assert found.health is Health.UNKNOWN and "underlying 0 HALTED" in found.reason
    assert found.timestamp == time and found.mm_wad > 0  # as old as the snapshot


def test_a_dead_feed_does_not_hide_who_fails_in_any_case(m: ModelMarket) -> None:
    at_health(m, A, -WAD, **BOOK)
    m.set_feed(m.state.underlyings[0].feed, 0)
    assert health_of(m).health is Health.UNHEALTHY and liquidatable(m)


def test_within_the_favour_of_a_dead_feed_nothing_is_certain(m: ModelMarket) -> None:
    at_health(m, A, 99 * WAD // 100, **BOOK)
    m.set_feed(m.state.underlyings[0].feed, 0)
    assert not liquidatable(m)
    assert health_of(m).health is Health.UNKNOWN


def test_a_stale_feed(m: ModelMarket) -> None:
    at_health(m, A, 2 * WAD, **BOOK)
    m.world.timestamp += 3_700
    m.set_price(1, PRICES[1])
    found = health_of(m)
    assert found.health is Health.UNKNOWN and "STALE" in found.reason


def test_no_answer_is_unknown_even_for_who_fails(m: ModelMarket) -> None:
    at_health(m, A, WAD // 2, **BOOK)
    found = health_of(m, unknown=frozenset({0}))
    assert found.health is Health.UNKNOWN and "no answer" in found.reason


def test_other_underlyings_do_not_matter(m: ModelMarket) -> None:
    at_health(m, A, 2 * WAD, **LONG)
    m.set_feed(m.state.underlyings[1].feed, 0)
    assert health_of(m).health is Health.HEALTHY
    assert health_of(m, unknown=frozenset({1})).health is Health.HEALTHY


def test_without_obligations_no_price_is_needed(m: ModelMarket) -> None:
    m.put(D, cash=10 * WAD, collateral={0: 10**18})
    assert health_of(m, D, frozenset({0, 1})).health is Health.HEALTHY


def test_what_the_model_refuses_is_unknown(m: ModelMarket) -> None:
    at_health(m, A, 2 * WAD, **BOOK)
    for bucket in m.state.buckets.values():
        bucket.forward_ratio_wad = 0
    found = health_of(m)
    assert found.health is Health.UNKNOWN and "SliceMissing" in found.reason
    assert found.timestamp == 0


# ── copies ───────────────────────────────────────────────────────────────────────────────────────


def test_scratch_of_a_scratch(m: ModelMarket) -> None:
    at_health(m, A, WAD, **BOOK)
    before = copy.deepcopy(m.state)
    first = scratch(m.state)
    second = scratch(first)
    second.accounts[A] = Account(cash_wad=1)
    second.accounts[D] = Account(cash_wad=2)
    second.underlyings[0].price_wad = 3
    second.open_interest[7] = 4
    second.insurance_wad = 5
    assert first.accounts[A] == m.state.accounts[A] and D not in first.accounts
    adopt(first, second)
    assert first.accounts[A].cash_wad == 1 and first.accounts[D].cash_wad == 2
    assert first.underlyings[0].price_wad == 3 and first.open_interest[7] == 4
    assert first.insurance_wad == 5
    assert m.state == before
    third = scratch(first)
    third.accounts[A] = Account(cash_wad=9)
    assert first.accounts[A].cash_wad == 1 and third.accounts[D].cash_wad == 2


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def read(account: int, time: int, health: Health = Health.UNHEALTHY) -> Reading:
    return Reading(account, health, 10 * time, 1, 2, time, time)


def test_unknown_keeps_the_newest_values() -> None:
    book = HealthBook()
    book.known([read(1, 100)])
    kept = book.unsure(blind(1, "down"), 112)
    assert (kept.equity_wad, kept.timestamp, kept.health) == (1_000, 100, Health.UNKNOWN)
    assert kept.reason == "down" and kept.age(112) == 12
    # values of an older snapshot do not replace it, those of a newer one do
    assert book.unsure(read(1, 50, Health.UNKNOWN), 124).timestamp == 100
    assert book.unsure(read(1, 110, Health.UNKNOWN), 124).timestamp == 110
    assert book.unknown_since(1) == 112


def test_queue_has_the_oldest_value_first() -> None:
    book = HealthBook()
    for account, time in ((1, 100), (2, 50), (3, 50)):
        book.known([read(account, time)])
    book.unsure(blind(3, ""), 120)
    book.unsure(blind(1, ""), 120)
    book.unsure(blind(2, ""), 132)
    book.unsure(blind(4, "never read"), 132)
    assert [r.account for r in book.queue(140)] == [4, 3, 2, 1]
    book.known([replace(read(2, 150))])
    book.keep([1, 2, 3])
    assert [r.account for r in book.queue(160)] == [3, 1]
    assert book.last(4) is None and book.unknown_since(2) is None
    found = book.last(2)
    assert found is not None and found.timestamp == 150


def test_liquidator_is_no_special_case(m: ModelMarket) -> None:
    assert health_of(m, C).health is Health.HEALTHY
