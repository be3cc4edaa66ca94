"""Feeds that lie, break or attack; refreshing; epochs.

Chain and model side by side (see market_twin).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.chain.rpc import to_hex
from risk.exact.errors import ModelRevert
from risk.exact.market import feed_reader
from risk.exact.market.feed_reader import OracleState
from tests.market.market_twin import (
    BIG,
    BROKEN,
    BURNS_GAS,
    DAY,
    GUZZLES,
    PANICS,
    REVERTS,
    WAD,
    Twin,
    address,
    underlying_params,
)

FRESH, UNCERTAIN, STALE, HALTED = OracleState
PRICE = 3_000 * 10**8
MAX = 2**255 - 1


def feed_of(t: Twin, u: int = 0) -> int:
    return t.state.underlyings[u].feed


def oracle(t: Twin, u: int = 0) -> OracleState:
    """Live state, price and time on both sides."""
    p = feed_reader.load_params(t.state)
    want = feed_reader.live(t.state, t.world, p, u)
    assert t.view("oracleState", u) == [int(x) for x in want]
    return want[0]


def test_works(twin: Twin) -> None:
    twin.set_feed(feed_of(twin), PRICE)
    assert oracle(twin) == FRESH
    assert twin.refresh(0) is None
    snapshot = twin.state.underlyings[0]
    assert (snapshot.price_wad, snapshot.epoch, snapshot.time) == (
        3_000 * WAD,
        1,
        twin.world.timestamp - 1,
    )


@pytest.mark.parametrize("mode", BROKEN)
def test_C24_broken_feed_is_halted_and_never_bubbles(market: Twin, mode: int) -> None:
    market.set_feed(feed_of(market), PRICE, mode=mode)
    assert oracle(market) == HALTED
    market.refuse("OracleNotUsable", (0, HALTED), market.refresh(0))
    # the others go on, and one bad one in a list reverts all of it
    market.set_feed(feed_of(market, 1), 70_000 * WAD)
    market.refuse("OracleNotUsable", (0, HALTED), market.refresh(1, 0))
    assert market.refresh(1) is None


@pytest.mark.parametrize("mode", (BIG, GUZZLES))
def test_long_or_expensive_answer_is_an_answer(market: Twin, mode: int) -> None:
    market.set_feed(feed_of(market), PRICE * 2, mode=mode)
    assert oracle(market) == FRESH
    assert market.refresh(0) is None
    assert market.gas_used < 250_000  # 100 000 bytes of answer are not copied


def test_feed_without_code(twin: Twin) -> None:
    feed = feed_of(twin)
    code = twin.rpc.code(address(feed))
    twin.rpc.call("anvil_setCode", address(feed), "0x")
    item = twin.world.feeds.pop(feed)
    assert oracle(twin) == HALTED
    twin.refuse("OracleNotUsable", (0, HALTED), twin.refresh(0))
    twin.rpc.call("anvil_setCode", address(feed), to_hex(code))
    twin.world.feeds[feed] = item


@pytest.mark.parametrize("mode", (BURNS_GAS, PANICS))
def test_gas_bomb_costs_a_bounded_amount(market: Twin, mode: int) -> None:
    market.set_feed(feed_of(market), PRICE, mode=mode)
    market.refuse("OracleNotUsable", (0, HALTED), market.refresh(0))
    assert market.gas_used < 150_000 + 60_000


def test_starved_feed_is_not_taken_for_a_broken_one(market: Twin) -> None:
    """The caller chooses the gas; too little of it must not turn an honest feed into a HALTED
    one.
    """
    feed = feed_of(market)
    # needs about 65 000
    market.set_feed(feed, PRICE * 2, market.state.underlyings[0].feed_updated_at, mode=GUZZLES)
    starved = market.errors.encode("FeedGasTooLow", (feed,))
    assert [market.simulate("refresh", [0], gas=g) for g in (30_000, 300_000)] == [b"", None]
    outcomes = [market.simulate("refresh", [0], gas=g) for g in range(40_000, 200_000, 4_000)]
    assert set(outcomes) == {b"", starved, None}
    # once it succeeds it always does, so an estimate of gas by bisection finds the right amount
    assert set(outcomes[outcomes.index(None) :]) == {None}


ANSWERS = (
    (-1, HALTED),
    (-MAX - 1, HALTED),
    (0, HALTED),
    (1, FRESH),
    (10**15, FRESH),  # MAX_PRICE_WAD at 8 decimals
    (10**15 + 1, HALTED),
    (MAX // 10**10, HALTED),
    (MAX // 10**10 + 1, HALTED),
    (MAX, HALTED),
)


@pytest.mark.parametrize(("answer", "want"), ANSWERS)
def test_C24_absurd_answers(twin: Twin, answer: int, want: OracleState) -> None:
    twin.set_feed(feed_of(twin), answer)
    assert oracle(twin) == want
    outcome = twin.refresh(0)
    assert outcome == (None if want == FRESH else ModelRevert("OracleNotUsable", (0, HALTED)))


@pytest.mark.parametrize(
    ("decimals", "answer", "price_wad"),
    [
        (0, 3_000, 3_000 * WAD),
        (0, 10**7, 10**25),
        (0, 10**7 + 1, 0),
        (18, 10**6, 10**6),  # the lowest price that is one
        (18, 10**6 - 1, 0),
        (18, 5, 0),
        (19, 10**7 + 9, 10**6),  # rounds down
        (19, 10**7 - 1, 0),
        (19, 9, 0),
        (36, 10**24, 10**6),
        (36, 10**24 - 1, 0),
        (36, 10**43, 10**25),
        (36, 10**43 + 10**18 - 1, 10**25),
        (36, 10**43 + 10**18, 0),
        (36, MAX, 0),
    ],
)
def test_C24_decimals_scale_down(twin: Twin, decimals: int, answer: int, price_wad: int) -> None:
    assert twin.list_underlying(twin.new_feed(decimals, answer)) is None
    p = feed_reader.load_params(twin.state)
    twin.set_params(replace(p, underlyings=(*p.underlyings, *[underlying_params()] * 2)))
    u = len(twin.state.underlyings) - 1
    twin.set_feed(feed_of(twin, u), answer)
    assert oracle(twin, u) == (FRESH if price_wad else HALTED)
    outcome = twin.refresh(u)
    assert outcome == (None if price_wad else ModelRevert("OracleNotUsable", (u, HALTED)))
    assert twin.state.underlyings[u].price_wad == price_wad


def test_C24_decimals_changed_by_the_feed_change_nothing(market: Twin) -> None:
    """Decimals are read once, when the underlying is listed."""
    feed = feed_of(market)
    market.rpc.call("anvil_setStorageAt", address(feed), "0x2", f"0x{6:064x}")
    market.set_feed(feed, PRICE * 2)
    assert market.refresh(0) is None
    assert market.state.underlyings[0].price_wad == 6_000 * WAD


def test_C24_feed_times(market: Twin) -> None:
    feed = feed_of(market)
    accepted = market.state.underlyings[0].feed_updated_at
    market.warp(100)
    for offset, want in ((0, FRESH), (1, HALTED), (2**255, HALTED)):
        market.set_feed(feed, PRICE, market.world.timestamp + offset)  # now, the future
        assert oracle(market) == want
    market.set_feed(feed, PRICE, 0)
    assert oracle(market) == HALTED
    market.set_feed(feed, PRICE, 2**256 - 1)
    assert oracle(market) == HALTED
    market.set_feed(feed, PRICE, accepted)
    assert oracle(market) == FRESH


def test_C23_feed_time_never_goes_backwards(market: Twin) -> None:
    feed = feed_of(market)
    accepted = market.state.underlyings[0].feed_updated_at
    market.set_feed(feed, PRICE * 2, accepted - 1)
    assert oracle(market) == HALTED
    market.refuse("OracleNotUsable", (0, HALTED), market.refresh(0))
    market.set_feed(feed, PRICE * 2, accepted)
    assert market.refresh(0) is None
    assert market.state.underlyings[0].feed_updated_at == accepted


def test_C24_stale_at_the_second(market: Twin) -> None:
    feed = feed_of(market)
    updated = market.world.timestamp
    market.set_feed(feed, PRICE, updated)
    market.world.timestamp = updated + 3_600
    assert oracle(market) == FRESH
    assert market.world.timestamp == updated + 3_601
    assert oracle(market) == STALE
    market.refuse("OracleNotUsable", (0, STALE), market.refresh(0))


def test_C26_wide_confidence_still_refreshes(market: Twin) -> None:
    """UNCERTAIN blocks new risk (InitialMargin), not the refresh that a liquidation needs."""
    market.state.underlyings[0].confidence_bps = 51
    market.write_state()
    market.compare_state()
    market.set_feed(feed_of(market), PRICE * 2)
    assert oracle(market) == UNCERTAIN
    assert market.refresh(0) is None
    market.warp(3_600)
    assert oracle(market) == STALE  # worse than UNCERTAIN
    market.set_feed(feed_of(market), PRICE * 2, mode=REVERTS)
    assert oracle(market) == HALTED


# ------------------------------------------------------------------------------------- refresh


def test_unknown_underlyings(twin: Twin) -> None:
    twin.refuse("UnknownUnderlying", (2,), twin.refresh(2))  # listed, without parameters
    twin.refuse("UnknownUnderlying", (3,), twin.refresh(3))
    twin.refuse("UnknownUnderlying", (255,), twin.refresh(255))
    assert twin.refresh() is None


def test_first_snapshot_is_due(twin: Twin) -> None:
    twin.set_feed(feed_of(twin), PRICE)
    assert twin.refresh(0) is None
    assert twin.state.underlyings[0].epoch == 1


def test_nobody_invalidates_arrays_for_free(market: Twin) -> None:
    """Not while the price is inside the band and the snapshot young, however often it is asked."""
    feed = feed_of(market)
    for answer in (PRICE, PRICE + 1, PRICE * 101 // 100 - 1, PRICE * 99 // 100 + 1):
        market.set_feed(feed, answer)
        market.refuse("RefreshNotNeeded", (0,), market.refresh(0))
    assert market.state.underlyings[0].epoch == 1


@pytest.mark.parametrize("answer", (PRICE * 101 // 100, PRICE * 99 // 100))
def test_leaving_the_band_bumps_the_epoch_once(market: Twin, answer: int) -> None:
    market.set_feed(feed_of(market), answer)
    market.refuse("RefreshNotNeeded", (0,), market.refresh(0, 0))  # the second is not due any more
    assert market.refresh(0) is None
    assert market.state.underlyings[0].epoch == 2
    market.refuse("RefreshNotNeeded", (0,), market.refresh(0))
    assert market.state.underlyings[1].epoch == 1


def test_stale_snapshot_is_due_at_the_second(market: Twin) -> None:
    taken = market.state.underlyings[0].time
    feed = feed_of(market)
    market.world.timestamp = taken + 3_600
    market.set_feed(feed, PRICE)
    market.refuse("RefreshNotNeeded", (0,), market.refresh(0))
    assert market.world.timestamp == taken + 3_601
    assert market.refresh(0) is None


def test_order_of_refusals(market: Twin) -> None:
    market.set_feed(feed_of(market), PRICE, mode=REVERTS)
    market.refuse("OracleNotUsable", (0, HALTED), market.refresh(0, 7))
    market.refuse("UnknownUnderlying", (7,), market.refresh(7, 0))
    market.refuse("RefreshNotNeeded", (1,), market.refresh(1, 7, 0))


def test_epoch_overflow_panics(market: Twin) -> None:
    assert market.transact("setEpoch", 0, 2**32 - 1) is None
    market.state.underlyings[0].epoch = 2**32 - 1
    market.set_feed(feed_of(market), PRICE * 2)
    market.refuse("Panic", (0x11,), market.refresh(0))


def test_open_interest_survives_a_refresh(market: Twin) -> None:
    assert market.transact("setOpenInterest", 0, 2**104 - 1) is None
    market.state.underlyings[0].open_interest_wad = 2**104 - 1
    market.set_feed(feed_of(market), PRICE * 2)
    assert market.refresh(0) is None


def test_without_parameters_nothing_refreshes(empty: Twin, twin: Twin) -> None:
    """The harness of another market, parameters never set."""
    other = Twin(empty.rpc, empty.artifacts, twin.world.timestamp + 100)
    other.refuse("RiskParamsMissing", (), other.refresh(0))
    other.refuse("RiskParamsMissing", (), other.compute_arrays(1))


# --------------------------------------------------------------------------------------- rates


def rate_feed_of(t: Twin) -> int:
    return t.state.collaterals[1].rate_feed


def test_refresh_takes_the_rates_of_its_collaterals(market: Twin) -> None:
    market.set_feed(rate_feed_of(market), 13 * WAD // 10)
    market.set_feed(feed_of(market, 1), 70_000 * WAD)
    assert market.refresh(1) is None
    assert market.state.collaterals[1].rate_wad == 12 * WAD // 10  # of the other underlying
    market.set_feed(feed_of(market), PRICE * 2)
    assert market.refresh(0) is None
    assert market.state.collaterals[1].rate_wad == 13 * WAD // 10
    assert len(market.event("RateRefreshed")) == 1


@pytest.mark.parametrize("mode", BROKEN)
def test_broken_rate_feed_keeps_the_last_rate_and_stops_nobody(market: Twin, mode: int) -> None:
    market.set_feed(rate_feed_of(market), 13 * WAD // 10, mode=mode)
    market.set_feed(feed_of(market), PRICE * 2)
    assert market.refresh(0) is None
    assert market.state.collaterals[1].rate_wad == 12 * WAD // 10
    assert len(market.event("RateKept")) == 1 and not market.event("RateRefreshed")


@pytest.mark.parametrize("answer", (0, -1, 2**96, MAX, -MAX - 1))
def test_absurd_rate_is_not_taken(market: Twin, answer: int) -> None:
    market.set_feed(rate_feed_of(market), answer)
    market.set_feed(feed_of(market), PRICE * 2)
    assert market.refresh(0) is None
    assert market.state.collaterals[1].rate_wad == 12 * WAD // 10


def test_C23_rate_time_is_monotone_and_bounded(market: Twin) -> None:
    feed = rate_feed_of(market)
    accepted = market.state.collaterals[1].rate_updated_at
    rate = 13 * WAD // 10
    for updated, taken in (
        (accepted - 1, False),
        (0, False),
        (market.world.timestamp + 10, False),
        (accepted, True),
    ):
        market.set_feed(feed, rate, updated)
        market.set_feed(feed_of(market), market.world.feeds[feed_of(market)].answer * 2)
        assert market.refresh(0) is None
        assert (market.state.collaterals[1].rate_wad == rate) is taken
    market.warp(3 * DAY)
    market.set_feed(feed_of(market), PRICE)
    market.set_feed(feed, rate + 1, accepted)  # more than three days old by now
    assert market.refresh(0) is None
    assert market.state.collaterals[1].rate_wad == rate


def test_rate_that_leaves_the_band_makes_a_refresh_due(market: Twin) -> None:
    feed, price_feed = rate_feed_of(market), feed_of(market)
    for rate, due in ((12 * WAD // 10 * 101 // 100 - 1, False), (12 * WAD // 10 * 99 // 100, True)):
        market.set_feed(feed, rate)
        market.set_feed(price_feed, PRICE)
        outcome = market.refresh(0)
        assert outcome == (None if due else ModelRevert("RefreshNotNeeded", (0,)))
    market.set_feed(feed, 0)  # an unusable rate is no reason
    market.refuse("RefreshNotNeeded", (0,), market.refresh(0))
