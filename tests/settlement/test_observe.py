"""Observing a settlement price: window, spacing, weights, oracle states, and what one observation
can move.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.market.feed_reader import OracleState
from risk.exact.settlement import settlement_logic
from risk.exact.state import Settlement, World
from tests.settlement.helpers import (
    DAY0,
    DAY1,
    EXPIRY,
    FUTURE,
    KEY,
    MIN_OBSERVATIONS,
    SPACING,
    WINDOW,
    is_revert,
    observe,
    record,
)
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import OWNER, WAD, underlying_params

pytestmark = pytest.mark.chain

STRANGER = 0xBEEF


def item(m: Market) -> Settlement:
    return m.state.settlements[KEY]


def test_only_a_listed_expiry_of_a_listed_underlying(m: Market) -> None:
    is_revert(m.do(OWNER, "observe", 2, DAY0), "UnknownUnderlying", 2)
    is_revert(m.do(OWNER, "observe", 255, DAY0), "UnknownUnderlying", 255)
    unlisted = FUTURE + (1 << 10)
    is_revert(m.do(OWNER, "observe", 0, DAY0 + 1), "UnknownInstrument", unlisted)


def test_window_opens_to_the_second(m: Market) -> None:
    is_revert(
        observe(m, 3_000, EXPIRY - WINDOW - 1),
        "ObservationOutsideWindow",
        0,
        DAY0,
        EXPIRY - WINDOW - 1,
    )
    m.world.timestamp = EXPIRY - WINDOW
    assert m.do(STRANGER, "observe", 0, DAY0) is None  # anyone
    assert item(m) == Settlement(3_000 * WAD, 1, EXPIRY - WINDOW, 1, 3_000 * WAD, settled=False)


def test_spacing_to_the_second(m: Market) -> None:
    start = EXPIRY - WINDOW
    assert observe(m, 3_000, start + 5) is None
    following = start + 5 + SPACING
    is_revert(observe(m, 3_100, following - 1), "ObservationTooSoon", 0, DAY0, following)
    m.world.timestamp = following
    assert m.do(OWNER, "observe", 0, DAY0) is None
    assert item(m).observations == 2


def test_weights_are_the_seconds_since_the_last_within_their_caps(m: Market) -> None:
    start = EXPIRY - WINDOW
    assert observe(m, 3_000, start + 90) is None  # 90 s since the window opened
    assert item(m).weight == 90
    assert observe(m, 3_100, start + 90 + 700) is None
    assert item(m).weight == 90 + 700
    assert observe(m, 3_300, start + 90 + 700 + 1_900) is None  # capped at 1200
    assert item(m).weight == 90 + 700 + 1_200
    first = (3_000 * WAD * 90 + 3_100 * WAD * 700) // 790
    assert item(m).mean_wad == (first * 790 + 3_300 * WAD * 1_200) // 1_990


def test_first_weight_is_capped_at_the_spacing(m: Market) -> None:
    assert observe(m, 3_000, EXPIRY - 5) is None
    assert item(m).weight == SPACING


def test_mean_is_fixed_at_expiry_and_not_before(m: Market) -> None:
    for i in range(MIN_OBSERVATIONS + 1):
        assert observe(m, 3_000 + i, EXPIRY - 1 - (4 - i) * SPACING) is None
    assert not item(m).settled
    mean = item(m).mean_wad
    m.world.timestamp = EXPIRY
    assert m.do(OWNER, "observe", 0, DAY0) is None  # within the spacing of the last: it only fixes
    assert (item(m).settled, item(m).price_wad, item(m).mean_wad) == (True, mean, mean)
    assert item(m).observations == MIN_OBSERVATIONS + 1
    is_revert(m.do(OWNER, "observe", 0, DAY0), "AlreadySettled", 0, DAY0)
    assert m.read("settlement", 0, DAY0) == [mean, 5, EXPIRY - 1, mean, True]


def test_G57_a_price_after_enough_observations_changes_nothing(m: Market) -> None:
    for i in range(MIN_OBSERVATIONS):
        assert observe(m, 3_000, EXPIRY - (4 - i) * SPACING) is None
    assert observe(m, 9_000, EXPIRY + 86_400) is None  # fixes the mean, adds nothing
    assert item(m).settled
    assert item(m).price_wad == 3_000 * WAD


@pytest.mark.parametrize("last", [3_000 * 1.2, 3_000 * 0.5])
def test_G57_the_last_second_moves_the_price_by_its_weight_only(m: Market, last: float) -> None:
    """Honest observations at 3 000, a manipulated one at expiry − 1: |ΔP| = |Δ|·w/W, w ≤ 1200."""
    start = EXPIRY - WINDOW
    times = [start + 60, start + 60 + SPACING, start + 60 + 2 * SPACING, start + 60 + 3 * SPACING]
    for at in times:
        assert observe(m, 3_000, at) is None
    assert observe(m, last, EXPIRY - 1) is None
    m.world.timestamp = EXPIRY
    assert m.do(OWNER, "observe", 0, DAY0) is None
    weight, total = 2 * SPACING, 60 + 3 * SPACING + 2 * SPACING
    assert item(m).weight == total
    moved = abs(item(m).price_wad - 3_000 * WAD)
    allowed = abs(round(last * 10**8) * 10**10 - 3_000 * WAD) * weight
    assert moved * total <= allowed + 6 * total
    # and in any case by less than 2 of n parts, n observations
    assert moved * 5 <= abs(round(last * 10**8) * 10**10 - 3_000 * WAD) * 2 + 30


def test_G57_too_few_observations_do_not_settle(m: Market) -> None:
    """One observation at the last second cannot be the price, and later ones complete it."""
    assert observe(m, 9_000, EXPIRY - 1) is None
    m.world.timestamp = EXPIRY
    is_revert(m.do(OWNER, "observe", 0, DAY0), "ObservationTooSoon", 0, DAY0, EXPIRY - 1 + SPACING)
    for i in range(1, MIN_OBSERVATIONS):
        assert not item(m).settled
        assert observe(m, 3_000, EXPIRY - 1 + i * SPACING) is None
    assert item(m).settled
    assert item(m).price_wad == (9_000 * WAD + 3 * 3_000 * WAD) // 4


def test_liveness_observations_may_all_come_after_the_expiry(m: Market) -> None:
    late = EXPIRY + 40 * 86_400
    for i in range(MIN_OBSERVATIONS):
        assert observe(m, 2_500, late + i * SPACING) is None
    assert item(m).settled
    assert item(m).price_wad == 2_500 * WAD


def test_a_dead_feed_does_not_stop_the_call_that_fixes(m: Market) -> None:
    for i in range(MIN_OBSERVATIONS):
        assert observe(m, 3_000, EXPIRY - (4 - i) * SPACING) is None
    m.set_feed(m.state.underlyings[0].feed, -1, m.world.timestamp)
    m.world.timestamp = EXPIRY
    assert m.do(OWNER, "observe", 0, DAY0) is None
    assert item(m).settled


@pytest.mark.parametrize("state", list(OracleState))
def test_oracle_matrix_settle_row(m: Market, state: OracleState) -> None:
    m.world.timestamp = EXPIRY - 1_000
    if state == OracleState.UNCERTAIN:
        m.set_price(0, 3_000)
        m.report(0)
        tight = replace(underlying_params(), max_confidence_bps=5)
        m.set_params(replace(m.state.params, underlyings=(tight, tight)))
    elif state == OracleState.STALE:
        m.set_price(0, 3_000, age=3_700)
    elif state == OracleState.HALTED:
        m.set_feed(m.state.underlyings[0].feed, 0, m.world.timestamp)
    else:
        m.set_price(0, 3_000)
    assert m.model.oracle_state(0)[0] == state
    result = m.do(OWNER, "observe", 0, DAY0)
    if state <= OracleState.UNCERTAIN:
        assert result is None
    else:
        is_revert(result, "OracleNotUsable", 0, state)


def test_without_parameters_one_observation_after_expiry_settles(market: Market) -> None:
    """Everything 0: window 0, one observation, spacing 1."""
    m = market
    is_revert(observe(m, 3_000, EXPIRY - 1), "ObservationOutsideWindow", 0, DAY0, EXPIRY - 1)
    assert observe(m, 3_123, EXPIRY) is None
    assert item(m) == Settlement(3_123 * WAD, 1, EXPIRY, 1, 3_123 * WAD, settled=True)


def test_expiries_settle_apart(m: Market) -> None:
    record(m, 3_000)
    assert observe(m, 61_000, u=1, at=EXPIRY + 10) is None
    assert not m.state.settlements[1 << 16 | DAY0].settled
    is_revert(
        m.do(OWNER, "observe", 0, DAY1), "ObservationOutsideWindow", 0, DAY1, m.world.timestamp - 1
    )


def test_mean_never_above_the_exact_mean_and_less_than_n_units_below() -> None:
    """A hundred observations of the model alone, against rational arithmetic."""
    p = params(settle_window_seconds=86_400, settle_min_spacing_seconds=60)
    got, world = Settlement(), World(timestamp=EXPIRY - 86_400)
    exact, total = 0, 0
    for i in range(100):
        world.timestamp += 60 + (i * 37) % 90
        price = 3_000 * WAD + (i * 7_919_333_333_333_333_333) % (500 * WAD)
        before = got.weight
        settlement_logic._add(got, world, p, FUTURE, price)
        exact += price * (got.weight - before)
        total += got.weight - before
        assert got.weight - before <= 120
    assert got.mean_wad * total <= exact < (got.mean_wad + 100) * total


def test_counters_stop_instead_of_wrapping() -> None:
    p = params(settle_window_seconds=86_400, settle_min_spacing_seconds=60)
    got = Settlement(3_000 * WAD, 2**16 - 1, EXPIRY - 100, 2**24 - 5, 3_000 * WAD)
    settlement_logic._add(got, World(timestamp=EXPIRY), p, FUTURE, 6_000 * WAD)
    assert (got.observations, got.weight) == (2**16 - 1, 2**24 - 1)
    assert 3_000 * WAD < got.mean_wad < 3_001 * WAD


def test_counters_at_their_limits_agree_with_the_chain(m: Market) -> None:
    m.state.settlements[KEY] = Settlement(
        3_000 * WAD, 2**16 - 1, EXPIRY - 700, 2**24 - 5, 3_000 * WAD
    )
    m.write_state()
    assert observe(m, 6_000, EXPIRY - 10) is None
    assert (item(m).observations, item(m).weight) == (2**16 - 1, 2**24 - 1)
