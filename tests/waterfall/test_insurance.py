"""The insurance fund and its caps (ATTACKS E45, E46)."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World
from risk.exact.waterfall import insurance_lib, waterfall_logic
from tests.attacks.scene import model_market
from tests.support.vault_fixtures import params

PERIOD = 86_400
EVENT, CAP = 30_000, 100_000


def fund(**changes: int) -> tuple[State, World, RiskParams]:
    p = params(
        **{
            "insurance_event_cap_wad": EVENT,
            "insurance_period_cap_wad": CAP,
            "insurance_period_seconds": PERIOD,
            **changes,
        }
    )
    return State(0, 0, 6, params=p, insurance_wad=10**9), World(timestamp=10**9), p


def test_without_caps_the_fund_is_the_limit() -> None:
    state, world, p = fund(
        insurance_event_cap_wad=0, insurance_period_cap_wad=0, insurance_period_seconds=0
    )
    assert insurance_lib.available(state, world, p) == 10**9
    assert insurance_lib.pay(state, world, p, 1, 7) == 7
    assert insurance_lib.pay(state, world, p, 1, 2 * 10**9) == 10**9 - 7
    assert (state.insurance_wad, state.insurance_paid_wad, state.insurance_paid_time) == (0, 0, 0)


def test_E45_less_than_wanted_is_paid_without_a_revert() -> None:
    state, world, p = fund()
    assert [insurance_lib.pay(state, world, p, 1, 10**6) for _ in range(5)] == [
        EVENT,
        EVENT,
        EVENT,
        CAP - 3 * EVENT,
        0,
    ]
    assert state.insurance_wad == 10**9 - CAP


def test_the_bucket_runs_dry_evenly_and_never_early() -> None:
    state, world, p = fund(insurance_event_cap_wad=0)
    assert insurance_lib.pay(state, world, p, 1, CAP) == CAP
    start = world.timestamp
    for seconds in (1, 7, PERIOD // 2, PERIOD - 1):
        world.timestamp = start + seconds
        assert insurance_lib.available(state, world, p) == CAP * seconds // PERIOD
    world.timestamp = start + PERIOD
    assert insurance_lib.available(state, world, p) == CAP


def test_a_period_of_zero_never_runs_dry_and_a_lowered_cap_waits() -> None:
    state, world, p = fund(insurance_period_seconds=0, insurance_event_cap_wad=0)
    assert insurance_lib.pay(state, world, p, 1, CAP) == CAP
    world.timestamp += 10 * PERIOD
    assert insurance_lib.available(state, world, p) == 0
    lower = params(insurance_period_cap_wad=CAP // 2, insurance_period_seconds=PERIOD)
    assert insurance_lib.available(state, World(timestamp=state.insurance_paid_time), lower) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * PERIOD), st.integers(0, 3 * EVENT)), min_size=1, max_size=40
    )
)
def test_E46_jelly_no_window_loses_more_than_the_caps(steps: list[tuple[int, int]]) -> None:
    """Hyperliquid's backstop lost what it had; ours loses its caps."""
    state, world, p = fund()
    paid: list[tuple[int, int]] = []
    for wait, wanted in steps:
        world.timestamp += wait
        before = insurance_lib.available(state, world, p)
        got = insurance_lib.pay(state, world, p, 1, wanted)
        assert got == min(before, wanted) <= EVENT
        assert insurance_lib.available(state, world, p) <= CAP - got
        paid.append((world.timestamp, got))
    for i, (start, _) in enumerate(paid):
        lost = 0
        for time, amount in paid[i:]:
            lost += amount
            assert lost * PERIOD <= CAP * (PERIOD + time - start)
    assert 10**9 - state.insurance_wad == sum(amount for _, amount in paid)


def test_nothing_for_an_account_whose_margin_check_waits() -> None:
    state, world, p = fund()
    state.deferring, state.deferred = True, [5 | 1 << 168, 9]
    rng = Random(1)
    for identity in (5, 9):
        assert insurance_lib.pay(state, world, p, identity, rng.randrange(1, EVENT)) == 0
    assert insurance_lib.pay(state, world, p, 6, 11) == 11
    state.deferring = False
    assert insurance_lib.pay(state, world, p, 5, 11) == 11


def test_a_draw_of_dust_trips_no_breaker() -> None:
    """A thousandth of the fund is a draw; the rounding of a bankrupt cent closes no market."""
    m = model_market()
    m.set_params(params(breaker_seconds=3_600))
    m.state.insurance_wad = 10**21
    p = m.state.params
    assert p is not None
    assert waterfall_logic._pay(m.state, m.world, p, 1, 10**18 - 10**12, [0, 1]) > 0
    assert [u.reduce_only_until for u in m.state.underlyings] == [0, 0]
    assert waterfall_logic._pay(m.state, m.world, p, 1, 10**19, [0, 1]) == 10**19
    assert min(u.reduce_only_until for u in m.state.underlyings) > m.world.timestamp
