"""What follows the snapshot price: funding, stable price, previous snapshot, circuit breaker.

Chain and model side by side: ``Twin.act`` compares the outcome and every stored field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from risk.chain.events import EventDecoder
from risk.chain.rebuild import Rebuilder
from risk.exact.market import breaker, funding
from risk.exact.market.report_hash import VolReport
from risk.exact.state import Underlying
from tests.market.market_twin import DAY, KEYS, WAD, Twin

HOUR = 3_600
PRICE = 3_000
E12_WAD = 10**6  # WAD in one unit of F


@pytest.fixture
def followed(market: Twin) -> Twin:
    """Funding up to 1 % a period of 8 hours; the stable price moves 10 % a day, band 2 %; a jump of
    5 % trips the breaker for an hour.
    """
    tail(
        market,
        max_funding_bps=100,
        stable_rate_bps_per_day=1_000,
        stable_band_bps=200,
        jump_bps=500,
    )
    return market


def tail(t: Twin, **changes: int) -> None:
    """Parameters of underlying 0 (and of nobody else), without a new epoch."""
    assert t.state.params is not None
    first, *rest = t.state.params.underlyings
    t.set_params(
        replace(
            t.state.params,
            underlyings=(replace(first, **changes), *rest),
            funding_period_seconds=8 * HOUR,
            breaker_seconds=HOUR,
        )
    )


def data(t: Twin) -> Underlying:
    return t.state.underlyings[0]


def snapshot(t: Twin, price: float, *, after: int = HOUR + 1) -> None:
    """A snapshot at ``price``, ``after`` seconds after the last one."""
    t.world.timestamp = data(t).time + after
    t.set_feed(data(t).feed, round(price * 10**8))
    assert t.refresh(0) is None
    assert data(t).price_wad == round(price * 10**8) * 10**10


def premium(t: Twin, e9: int, *, wait: int = 1) -> None:
    """A report without slices."""
    t.warp(wait)
    t.set_feed(data(t).feed, data(t).price_wad // 10**10)
    nonce = data(t).report_nonce + 1
    stamp = t.world.timestamp
    assert t.submit(VolReport(0, nonce, stamp, 10, (), e9), KEYS[:2]) is None
    assert data(t).premium_e9 == e9


def accrue(t: Twin, wait: int = 0) -> int:
    """F after ``wait`` seconds."""
    t.warp(wait)
    assert t.state.params is not None
    p = t.state.params
    assert t.act(lambda s, w: funding.accrue(s, w, p, 0), "accrueFunding", 0) is None
    return data(t).funding_e12


# ------------------------------------------------------------------------------------ funding


def test_the_premium_is_paid_once_a_period(followed: Twin) -> None:
    """0.3 % of 3 000 in eight hours is 9; half the time, half of it; negative the same."""
    premium(followed, 3_000_000)
    start, since = data(followed).funding_e12, data(followed).funding_time
    followed.world.timestamp = since + 8 * HOUR
    assert accrue(followed) - start == 9 * 10**12
    premium(followed, -3_000_000)
    start, since = data(followed).funding_e12, data(followed).funding_time
    followed.world.timestamp = since + 4 * HOUR
    assert accrue(followed) - start == -45 * 10**11


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("e9", [10_000_000, 10_000_001, 2**31 - 1])
def test_the_premium_is_clamped(followed: Twin, sign: int, e9: int) -> None:
    """1 % a period at most, whatever the signers say."""
    premium(followed, sign * e9)
    start, since = data(followed).funding_e12, data(followed).funding_time
    followed.world.timestamp = since + 8 * HOUR
    assert accrue(followed) - start == sign * 30 * 10**12


def test_a_report_ends_the_old_premium(followed: Twin) -> None:
    """Until the report the old premium was paid at the old snapshot's price; nothing before it is
    paid at the new one.
    """
    premium(followed, 3_000_000)
    start, since = data(followed).funding_e12, data(followed).funding_time
    premium(followed, -10_000_000, wait=HOUR - 1)
    elapsed = data(followed).funding_time - since
    assert data(followed).funding_time == followed.world.timestamp - 1
    assert data(followed).funding_e12 - start == 9 * 10**12 * elapsed // (8 * HOUR)


def test_a_snapshot_ends_the_old_price(followed: Twin) -> None:
    premium(followed, 3_000_000)
    start, since = data(followed).funding_e12, data(followed).funding_time
    snapshot(followed, 6_000)
    elapsed = data(followed).funding_time - since
    assert elapsed > HOUR
    assert data(followed).funding_e12 - start == 9 * 10**12 * elapsed // (8 * HOUR)


def test_what_rounds_to_nothing_is_not_lost(followed: Twin) -> None:
    """At a price of 1e-12 and 1e-6 % premium it takes years until a unit is due; calls in between
    change nothing.
    """
    data(followed).price_wad, data(followed).premium_e9 = 10**9, 10_000
    data(followed).funding_time = followed.world.timestamp
    followed.write_state()
    since = data(followed).funding_time
    for _ in range(5):
        assert accrue(followed, 10) == 0
        assert data(followed).funding_time == since
    due = 8 * HOUR * 10**15 // (10**9 * 10_000)  # one unit
    followed.world.timestamp = since + due - 1
    assert accrue(followed) == 0
    followed.world.timestamp = since + due
    assert accrue(followed) == 1
    assert data(followed).funding_time == since + due
    # a change of premium or parameters drops the rest instead of charging it at the new rate
    p = followed.state.params
    assert p is not None
    assert followed.act(lambda s, w: funding.close(s, w, p, 0), "closeFunding", 0) is None
    assert data(followed).funding_time == followed.world.timestamp - 1


@pytest.mark.parametrize("off", [{"max_funding_bps": 0}, {"max_funding_bps": 100}])
def test_off_moves_the_time(market: Twin, off: dict[str, int]) -> None:
    """No maximum, or a premium of 0: no funding, and nothing is owed for that time later."""
    tail(market, **off)
    if off["max_funding_bps"] == 0:
        premium(market, 10**9)
    assert accrue(market, DAY) == 0
    assert data(market).funding_time == market.world.timestamp - 1


@pytest.mark.parametrize("sign", [1, -1])
def test_G53_a_century_of_idleness_saturates(followed: Twin, sign: int) -> None:
    """F stops at int80; the market can still be refreshed and the other sign comes back."""
    premium(followed, sign * 2**31) if sign < 0 else premium(followed, 2**31 - 1)
    data(followed).price_wad = 10**25
    data(followed).funding_e12 = sign * (2**79 - 10**12)
    followed.write_state()
    bound = 2**79 - 1 if sign > 0 else -(2**79)
    assert accrue(followed, 60 * 365 * DAY) == bound
    followed.set_feed(data(followed).feed, PRICE * 10**8)
    assert followed.refresh(0) is None
    premium(followed, -sign * 10**9)
    assert sign * (accrue(followed, DAY) - bound) < 0


def test_accruing_in_steps_loses_less_than_a_unit_each(followed: Twin) -> None:
    """Against the exact fraction, over 60 random steps with changing premium and price."""
    rng = Random(19)
    exact = Fraction(data(followed).funding_e12)
    last, steps = data(followed).funding_time, 0
    for _ in range(60):
        price, rate = data(followed).price_wad, data(followed).premium_e9
        kind = rng.randrange(3)
        if kind == 0:
            accrue(followed, rng.randrange(1, 5_000))
        elif kind == 1:
            snapshot(followed, rng.uniform(2_000, 4_000), after=rng.randrange(HOUR + 1, 4 * HOUR))
        else:
            premium(followed, rng.randrange(-2 * 10**7, 2 * 10**7), wait=rng.randrange(1, 900))
        elapsed = data(followed).funding_time - last
        clamped = max(-(10**7), min(rate, 10**7))
        exact += Fraction(price * clamped * elapsed, 10**15 * 8 * HOUR)
        last, steps = data(followed).funding_time, steps + 1
        assert abs(data(followed).funding_e12 - exact) < steps


# --------------------------------------------------------------------------------- stable price


def test_first_snapshot_is_the_stable_price(twin: Twin) -> None:
    tail(twin, stable_rate_bps_per_day=1_000, stable_band_bps=200)
    twin.set_feed(data(twin).feed, PRICE * 10**8)
    assert twin.refresh(0) is None
    assert data(twin).stable_price_wad == PRICE * WAD and not data(twin).stable_apart
    # there is none before it: its own price, at a time before everything
    assert (data(twin).previous_price_wad, data(twin).previous_time) == (PRICE * WAD, 0)


def test_A19_a_new_price_moves_the_stable_price_only_while_it_stands(followed: Twin) -> None:
    """The snapshot that jumps does not move it at all; a day at the new price moves it by 10 %."""
    snapshot(followed, 4_500)
    assert data(followed).stable_price_wad == PRICE * WAD and data(followed).stable_apart
    snapshot(followed, 4_500, after=DAY)
    assert data(followed).stable_price_wad == PRICE * WAD * 11 // 10
    assert data(followed).stable_apart
    for _ in range(3):
        snapshot(followed, 4_500, after=DAY)
    # arrived: it stops at the price, and counts no longer
    snapshot(followed, 4_500, after=DAY)
    assert data(followed).stable_price_wad == 4_500 * WAD and not data(followed).stable_apart


def test_the_stable_price_falls_at_the_same_rate(followed: Twin) -> None:
    snapshot(followed, 2_000)
    snapshot(followed, 2_000, after=DAY // 2)
    assert data(followed).stable_price_wad == PRICE * WAD * 95 // 100


@pytest.mark.parametrize(
    ("factor", "apart"), [(0.9803, True), (0.9804, False), (1.0204, False), (1.0205, True)]
)
def test_band_edges(followed: Twin, factor: float, apart: bool) -> None:
    """|stable − price| ≥ 2 % of the price: above, the band is 2 % of the higher price."""
    snapshot(followed, PRICE * factor)
    assert data(followed).stable_apart is (abs(1 - factor) >= 0.02 * factor) is apart


def test_open_interest_keeps_the_flag(followed: Twin) -> None:
    """Flag and open interest share a field."""
    snapshot(followed, 4_500)
    data(followed).open_interest_wad = 10**20
    assert followed.transact("setOpenInterest", 0, 10**20) is None
    followed.compare_state()
    assert data(followed).stable_apart


@pytest.mark.parametrize("off", ["stable_rate_bps_per_day", "stable_band_bps"])
def test_where_it_is_off_it_is_the_price(followed: Twin, off: str) -> None:
    """So that switching it on starts from the present price."""
    snapshot(followed, 4_500)
    assert data(followed).stable_apart
    tail(followed, **{off: 0})
    snapshot(followed, 4_400)
    assert data(followed).stable_price_wad == 4_400 * WAD and not data(followed).stable_apart


def test_previous_snapshot_is_of_another_second(followed: Twin) -> None:
    """Two snapshots in one second (a report behind a refresh) are one time: the older one stays."""
    first = data(followed).time
    snapshot(followed, 3_030)
    assert (data(followed).previous_price_wad, data(followed).previous_time) == (PRICE * WAD, first)
    before = data(followed).epoch
    data(followed).time = followed.world.timestamp  # as if the last one were of this second
    followed.write_state()
    followed.set_feed(data(followed).feed, 3_070 * 10**8)
    assert followed.refresh(0) is None
    assert data(followed).epoch == before + 1 and data(followed).price_wad == 3_070 * WAD
    assert (data(followed).previous_price_wad, data(followed).previous_time) == (PRICE * WAD, first)


# -------------------------------------------------------------------------------------- breaker


@pytest.mark.parametrize(
    ("price", "trips"), [(2_850.1, False), (2_850, True), (3_149.9, False), (3_150, True)]
)
def test_a_jump_trips_the_breaker(followed: Twin, price: float, trips: bool) -> None:
    snapshot(followed, price)
    now = data(followed).time
    assert data(followed).reduce_only_until == (now + HOUR if trips else 0)
    followed.world.timestamp = now + HOUR - 1
    assert followed.view("breakerActive", 0) == [trips]
    assert breaker.active(followed.state, followed.world, 0) is False  # a second later it is over
    assert followed.view("breakerActive", 0) == [False]


def test_many_small_steps_do_not_trip(followed: Twin) -> None:
    """A jump is one snapshot's; the stable price is what sees a slow push."""
    for step in range(1, 9):
        snapshot(followed, PRICE * 1.04**step)
    assert data(followed).reduce_only_until == 0 and data(followed).stable_apart


def test_a_trip_is_bounded_and_never_shortens(followed: Twin) -> None:
    def trip(seconds: int) -> int:
        act(followed, lambda s, w: breaker.trip(s, w, 0, seconds), "trip", 0, seconds)
        return data(followed).reduce_only_until

    now = followed.world.timestamp
    assert trip(0) == 0
    assert trip(100) == now + 101
    assert trip(50) == now + 101
    assert trip(2**32) == 2**32 - 1


def act(t: Twin, model: Callable[..., Any], name: str, *args: Any) -> None:
    assert t.act(model, name, *args) is None


# ---------------------------------------------------------------------------------------- events


def test_events_rebuild_what_follows(followed: Twin) -> None:
    """Logs alone give funding, premium, stable price, flag, previous snapshot and breaker."""
    decoder = EventDecoder(followed.artifacts["IMarket"].abi)
    rebuilt = Rebuilder()
    rebuilt.state = followed.state.clone()
    rng = Random(3)
    for _ in range(30):
        if rng.random() < 0.5:
            snapshot(followed, rng.uniform(2_500, 3_500), after=rng.randrange(HOUR + 1, DAY))
        elif rng.random() < 0.5:
            premium(followed, rng.randrange(-(10**7), 10**7), wait=rng.randrange(1, 900))
        else:
            accrue(followed, rng.randrange(1, 900))
        for log in followed.logs:
            rebuilt.apply(decoder.decode(log))
        assert rebuilt.state.underlyings == followed.state.underlyings


def test_funding_is_zero_sum(followed: Twin) -> None:
    """Σ sizes is 0, so Σ of what F takes from the positions is 0 whatever F is."""
    premium(followed, 1_234_567)
    sizes = [7 * WAD, -3 * WAD - 1, -4 * WAD + 1]
    before = data(followed).funding_e12
    paid = accrue(followed, 12_345) - before
    assert paid != 0 and sum(size * paid * E12_WAD for size in sizes) == 0
