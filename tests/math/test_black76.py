"""Black76: stated error, parity, bounds, monotonicity, published values (Python side).

The stated bound, in units of 1e-18, m = min(F, K), M = max(F, K)::

    |call − exact| ≤ 2.3e-16·m + 6.5e-18·M + 2      (the target was 1e-12 of the forward)
"""

from __future__ import annotations

import random
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.math import black76 as b76
from risk.exact.math.exp_ln import exp_wad, sqrt_wad
from tests.math.reference import (
    MP,
    WAD,
    black76_grid,
    black76_random,
    exact_call,
    exact_cdf,
)

MAX = b76.MAX_PRICE
prices = st.integers(1, MAX) | st.integers(WAD, 10**6 * WAD) | st.sampled_from([1, 2, WAD, MAX])
deviations = st.integers(0, 10 * WAD) | st.integers(0, 10**15) | st.integers(0, b76.MAX_STD_DEV)


def bound(forward: int, strike: int):
    """The stated error bound, units."""
    low, high = min(forward, strike), max(forward, strike)
    return MP.mpf("2.3e-16") * low + MP.mpf("6.5e-18") * high + 2


def slack(forward: int, strike: int) -> int:
    """How far a value may fall where the exact one rises: 3e-18 of min(F, K), plus 2 units."""
    return 3 * min(forward, strike) // WAD + 2


@pytest.mark.parametrize("source", ["grid", "random", "ends"])
def test_error(source: str) -> None:
    """K/F in [1e-3, 1e3], σ√T in [1e-4, 10]; T → 0; and far outside."""
    tiny = [0, 1, 2, 10**6, 10**9, 10**12, 10**14]
    ends = (
        (f, k, s)
        for f in (1, WAD, 10**24, MAX)
        for ratio in (1, 1001, 999_999, 10**6 + 1)
        for k in (max(f * ratio // 1000, 1), max(f * 1000 // ratio, 1))
        for s in (*tiny, WAD // 10, WAD, 5 * WAD, 12 * WAD, 100 * WAD)
        if k <= MAX
    )
    points = {
        "grid": black76_grid(),
        "random": black76_random(8000, 31),
        "ends": ends,
    }[source]
    for forward, strike, std_dev in points:
        call, _ = b76.price(forward, strike, std_dev)
        error = abs(call - exact_call(forward, strike, std_dev))
        assert error <= bound(forward, strike), (forward, strike, std_dev, error)
        if 1 <= 1000 * strike // forward <= 10**6:
            assert error <= MP.mpf("1e-14") * forward + 2


@given(prices, prices, deviations)
def test_error_parity_and_bounds(forward: int, strike: int, std_dev: int) -> None:
    call, put = b76.price(forward, strike, std_dev)
    assert call - put == forward - strike
    assert max(forward - strike, 0) <= call <= forward
    assert max(strike - forward, 0) <= put <= strike
    assert abs(call - exact_call(forward, strike, std_dev)) <= bound(forward, strike)


@given(prices, prices, deviations)
def test_symmetry(forward: int, strike: int, std_dev: int) -> None:
    """The put with forward and strike exchanged is the call, to the last unit."""
    call, put = b76.price(forward, strike, std_dev)
    assert b76.price(strike, forward, std_dev) == (put, call)


@settings(max_examples=300)
@given(
    st.integers(0, 2**170 - 1),
    st.integers(0, 2**170 - 1),
    st.integers(-(2**128) + 1, 2**128 - 1) | st.integers(-(10**19), 10**19),
    st.integers(0, 2**128 - 1) | st.integers(0, 10**19) | st.integers(0, 10**6),
)
def test_kernel_bounds_on_its_whole_domain(f: int, k: int, log: int, std_dev: int) -> None:
    """The bounds hold for every admitted argument, also where the logarithm is not ln(F/K)."""
    call = b76.call_from_log(log, f, k, std_dev)
    assert max(f - k, 0) <= call <= f
    assert 0 <= call - f + k <= k


@given(prices, prices)
def test_no_deviation_is_intrinsic(forward: int, strike: int) -> None:
    assert b76.price(forward, strike, 0) == (max(forward - strike, 0), max(strike - forward, 0))


def test_saturation() -> None:
    assert b76.price(100 * WAD, 100 * WAD, 100 * WAD) == (100 * WAD, 100 * WAD)
    assert b76.price(100 * WAD, 90 * WAD, 1) == (10 * WAD, 0)
    assert b76.price(1, MAX, 10**14) == (0, MAX - 1)
    assert b76.call_from_log(0, 2**170 - 1, 2**170 - 1, 2**128 - 1) == 2**170 - 1


steps = st.sampled_from([1, 2, 10**3, 10**9, 10**14]) | st.integers(1, 10**20)


@settings(max_examples=500)
@given(prices, prices, deviations, steps)
def test_monotone(forward: int, strike: int, std_dev: int, step: int) -> None:
    """Call up in F, down in K; put down in F, up in K; both up in σ√T: up to `slack`."""
    call, put = b76.price(forward, strike, std_dev)
    tolerance = slack(forward, strike)
    if forward + step <= MAX:
        up_call, up_put = b76.price(forward + step, strike, std_dev)
        assert up_call >= call - tolerance
        assert up_put <= put + tolerance
    if strike + step <= MAX:
        up_call, up_put = b76.price(forward, strike + step, std_dev)
        assert up_call <= call + tolerance
        assert up_put >= put - tolerance
    if std_dev + step <= b76.MAX_STD_DEV:
        assert b76.price(forward, strike, std_dev + step)[0] >= call - tolerance


def test_monotone_near_the_money() -> None:
    """The same on small steps where the sign of a changes and ln moves by whole units."""
    rng = random.Random(32)
    for _ in range(6000):
        strike = int(10 ** rng.uniform(18, 24))
        std_dev = int(10 ** rng.uniform(13, 19))
        # a = 0 where ln(F/K) = ±s²/2
        log = std_dev * std_dev // (2 * WAD) * rng.choice([1, -1, 0])
        forward = strike * exp_wad(log) // WAD + rng.randint(-5, 5)
        if not 0 < forward < MAX:
            continue
        step = rng.choice([1, 1, 10, 10**4, 10**6])
        lower, upper = (b76.price(f, strike, std_dev)[0] for f in (forward, forward + step))
        assert upper >= lower - slack(forward, strike)
        lower, upper = (b76.price(forward, strike, std_dev + i)[0] for i in (0, step))
        assert upper >= lower - slack(forward, strike)


@given(prices, prices, st.integers(10**13, 10 * WAD))
def test_delta(forward: int, strike: int, std_dev: int) -> None:
    """|delta − N(d1)| ≤ 1.1e-16 + 1e-18·(1 + 1/s)."""
    call, put, delta = b76.price_and_delta(forward, strike, std_dev)
    assert (call, put) == b76.price(forward, strike, std_dev)
    s = MP.mpf(std_dev) / WAD
    d1 = MP.log(MP.mpf(forward) / strike) / s + s / 2
    assert abs(delta - exact_cdf(0) * MP.erfc(-d1 / MP.sqrt(2))) <= 110 + 1 + 1 / s


def test_delta_without_deviation() -> None:
    assert b76.delta_from_log(1, 0) == WAD
    assert b76.delta_from_log(0, 0) == WAD // 2
    assert b76.delta_from_log(-1, 0) == 0


def test_refusals_and_their_order() -> None:
    for args, name, value in (
        ((0, 0, 10**30), "Black76ForwardOutOfRange", 0),
        ((MAX + 1, 0, 0), "Black76ForwardOutOfRange", MAX + 1),
        ((1, 0, 10**30), "Black76StrikeOutOfRange", 0),
        ((1, MAX + 1, 0), "Black76StrikeOutOfRange", MAX + 1),
        ((1, MAX, 100 * WAD + 1), "Black76StdDevOutOfRange", 100 * WAD + 1),
    ):
        for f in (b76.price, b76.price_and_delta):
            with pytest.raises(ModelRevert) as caught:
                f(*args)
            assert caught.value == ModelRevert(name, (value,))


# Haug, The Complete Guide to Option Pricing Formulas, 2nd ed., chapter 1: generalised
# Black-Scholes-Merton with cost of carry r − q; rows of REFERENCE_VALUES.md, "Options": (S, K, q,
# r, T, σ), printed to four decimals -> 5e-5. Black-76 row: F = K = 19, T = .75, r = .1, σ = .28,
# printed to seven decimals -> 5e-8.
HAUG = [
    ("call", 60, 65, "0", "0.08", "0.25", "0.30", "2.1334", 5e-5),
    ("put", 100, 95, "0.05", "0.10", "0.5", "0.20", "2.4648", 5e-5),
    ("call", 110, 100, "0.1", "0.1", "0.5", "0.35", "15.3086", 5e-5),
    ("call", 19, 19, "0.1", "0.1", "0.75", "0.28", "1.7010507", 5e-8),
]


@pytest.mark.parametrize("row", HAUG, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def test_published_values(row: tuple) -> None:
    kind, spot, strike, q, r, t, sigma, printed, tolerance = row
    q, r, t, sigma = (int(MP.mpf(x) * WAD) for x in (q, r, t, sigma))
    forward = spot * exp_wad((r - q) * t // WAD)
    discount = exp_wad(-r * t // WAD)
    call, put = b76.price(forward, strike * WAD, sigma * sqrt_wad(t) // WAD)
    value = MP.mpf((call if kind == "call" else put) * discount // WAD) / WAD
    assert abs(value - MP.mpf(printed)) <= tolerance


def test_kernel_is_the_price() -> None:
    for f, k, s in chain(black76_grid(13, 11), black76_random(200, 33)):
        assert b76.price(f, k, s)[0] == b76.call_from_log(b76.log_moneyness(f, k), f, k, s)
