"""Quantisation of scenario arrays: the bounds that docs/margin.md §8 rests on."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.chain.keccak import keccak
from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic, instrument_id, option_rows, scenario_array
from risk.exact.margin.scenario_array import ARRAYS_SLOT, MAX_LANE, TAG_CYCLE
from risk.exact.math.black76 import call_from_log, log_moneyness
from risk.exact.math.exp_ln import ln_wad
from tests.margin.worlds import WAD, random_world

amount = st.integers(0, 2**100)
change = st.one_of(st.integers(-(2**100), 2**100), st.integers(-5, 5), st.integers(-(2**40), 2**40))
changes = st.lists(change, min_size=1, max_size=64)


@settings(max_examples=400)
@given(largest=st.integers(0, 2**134))
def test_unit_is_the_smallest_above_the_need(largest: int) -> None:
    mantissa, exponent = scenario_array.unit_for(7, largest)
    unit = mantissa << exponent
    need = max(1, -(-largest // MAX_LANE))
    assert unit >= need
    assert unit * MAX_LANE >= largest
    assert 1 <= mantissa <= 255
    assert 0 <= exponent <= 127
    assert exponent == 0 or mantissa >= 128
    assert (unit - need) * 128 <= need  # within 2^-7
    smaller = (mantissa - 1 << exponent) if mantissa > 128 or exponent == 0 else 255 << exponent - 1
    assert smaller < need


def test_unit_at_the_edges() -> None:
    assert scenario_array.unit_for(1, 0) == (1, 0)
    assert scenario_array.unit_for(1, 255 * 4095) == (255, 0)
    assert scenario_array.unit_for(1, 255 * 4095 + 1) == (128, 1)  # 256 becomes 128·2
    assert scenario_array.unit_for(1, 511 * 4095) == (128, 2)
    assert scenario_array.unit_for(1, (255 << 127) * 4095) == (255, 127)
    with pytest.raises(ModelRevert) as caught:
        scenario_array.unit_for(9, (255 << 127) * 4095 + 1)
    assert caught.value == ModelRevert("ArrayOutOfRange", (9,))


@settings(max_examples=400)
@given(value=amount)
def test_mark_brackets_the_value(value: int) -> None:
    array = scenario_array.pack(1, [0], value, 0)
    assert array.mark_down <= value <= array.mark_up
    if value < 2**41:
        assert array.mark_down == value == array.mark_up
    else:
        assert value < array.mark_up
        assert (array.mark_up - array.mark_down) << 40 <= value  # 2^-40


@settings(max_examples=400)
@given(moves=changes, size=st.integers(1, 2**95 - 1), short=st.booleans())
def test_row_never_gains_more_than_the_position(moves: list[int], size: int, short: bool) -> None:
    """s·ℓ − deduction ≤ o·ΔV ≤ s·ℓ + one lane step and 4096, for both signs."""
    array = scenario_array.pack(1, moves, 0, 0)
    o = -size if short else size
    row = option_rows.row_of(array, o)
    for lane, move in zip(array.lanes, moves, strict=True):
        assert -MAX_LANE <= lane <= MAX_LANE
        assert lane * array.unit <= move < (lane + 1) * array.unit
        assert (row.s * lane - row.deduction) * WAD <= o * move
        assert o * move <= (row.s * lane + abs(row.s) + 1 + 4096) * WAD


@settings(max_examples=200)
@given(
    moves=changes,
    value=st.integers(0, 2**100),
    code=st.integers(0, 511),
    epoch=st.integers(0, 2**32 - 1),
)
def test_words_carry_everything(moves: list[int], value: int, code: int, epoch: int) -> None:
    array = scenario_array.pack(1, moves, value, code)
    words = array.words(epoch)
    for k, lane in enumerate(array.lanes):
        assert (words[k // 16] >> 13 * (k % 16) & 0x1FFF) - 4096 == lane
    count = scenario_array.word_count(len(moves))
    for k in range(len(moves), 16 * count):
        assert words[k // 16] >> 13 * (k % 16) & 0x1FFF == 4096
    assert words[0] >> 208 & 0xFFFFFF == scenario_array.tag_of(epoch)
    assert words[0] >> 232 & 0xFF == array.unit_mantissa
    assert words[0] >> 240 & 0x7F == array.unit_exponent
    assert words[0] >> 247 == code
    assert words[1] >> 208 & 2**41 - 1 == array.mark_mantissa
    assert words[1] >> 249 == array.mark_exponent
    assert words[2] >> 208 == words[3] >> 208 == 0
    assert all(word == 0 for word in words[count:])


@settings(max_examples=300)
@given(one=st.integers(0, 2**32 - 1), other=st.integers(0, 2**32 - 1))
def test_two_epochs_never_share_tag_and_place(one: int, other: int) -> None:
    same_tag = scenario_array.tag_of(one) == scenario_array.tag_of(other)
    same_place = scenario_array.base_of(one) == scenario_array.base_of(other)
    assert (same_tag and same_place) == (one == other)
    assert 1 <= scenario_array.tag_of(one) <= TAG_CYCLE


def test_tags_around_the_wrap() -> None:
    cycle = 2**24 - 1
    expected = {0: (1, 0), cycle - 1: (cycle, 0), cycle: (1, 1), cycle + 1: (2, 1)}
    for epoch, (tag, generation) in expected.items():
        assert scenario_array.tag_of(epoch) == tag
        assert scenario_array.base_of(epoch) == ARRAYS_SLOT + (generation << 40)
    hashed = int.from_bytes(keccak(b"plumbline.scenario.arrays"), "big")
    assert hashed >> 160 << 160 == ARRAYS_SLOT
    # generations up to 2^32 epochs and all instruments stay below the cleared bits
    assert (2**32 // cycle << 40) + (2**32 << 2) < 2**160


@pytest.mark.parametrize("seed", range(6))
def test_array_against_its_formula(seed: int) -> None:
    """§4 written down once more, with the exact ΔV, on random options."""
    rng = Random(f"formula {seed}")
    world = random_world(rng, 9, 2)
    params = world.state.params
    assert params is not None
    for instrument in rng.sample(world.options, 12):
        array = array_logic.compute(world.state, instrument)
        u = instrument_id.underlying(instrument)
        p, market = params.underlyings[u], world.state.underlyings[u]
        bucket = world.state.buckets[instrument_id.bucket_key(instrument)]
        strike = bucket.strikes_wad[instrument_id.strike_index(instrument)]
        if instrument_id.expiry(instrument) > market.time:
            continue
        # expired at the snapshot: intrinsic values of S·(1 + x)
        put = instrument_id.kind(instrument) == instrument_id.PUT

        def intrinsic(price: int, strike: int = strike, put: bool = put) -> int:
            return max(0, strike - price if put else price - strike)

        value = intrinsic(market.price_wad)
        assert array.mark_down <= value <= array.mark_up
        assert array.delta_code == (511 if market.price_wad > strike else 0)
        for lane, x in zip(array.lanes, p.price_lanes, strict=True):
            shocked = market.price_wad * (10**6 + x * p.price_unit_e6) // 10**6
            assert lane == (intrinsic(shocked) - value) // array.unit


def test_tenor_factor() -> None:
    world = random_world(Random("tenor"), 1, 1)
    params = world.state.params
    assert params is not None
    limits = params.underlyings[0]
    object.__setattr__(limits, "tenor_power_wad", WAD // 2)
    object.__setattr__(limits, "tenor_floor_seconds", 86_400)
    object.__setattr__(limits, "tenor_cap_wad", 5 * WAD)
    month = 30 * 86_400
    assert array_logic.tenor_factor(params, 0, month) == WAD
    assert abs(array_logic.tenor_factor(params, 0, 4 * month) - WAD // 2) <= 2
    assert abs(array_logic.tenor_factor(params, 0, month // 9) - 3 * WAD) <= 10
    at_floor = array_logic.tenor_factor(params, 0, 86_400)
    assert at_floor == array_logic.tenor_factor(params, 0, 1) == 5 * WAD  # √30 > 5: the cap
    object.__setattr__(limits, "tenor_power_wad", 2**64 - 1)  # the exponent is far beyond exp
    object.__setattr__(limits, "tenor_floor_seconds", 0)
    assert array_logic.tenor_factor(params, 0, 0) == 5 * WAD
    assert array_logic.tenor_factor(params, 0, 65_535 * 86_400) == 0


def test_zero_volatility_is_intrinsic_and_put_call_parity_holds_per_scenario() -> None:
    forward, strike = 3_000 * WAD, 2_500 * WAD
    log_fk = log_moneyness(forward, strike)
    for x in (-9 * WAD // 10, -WAD // 10, 0, WAD):
        shocked = forward * (WAD + x) // WAD
        assert call_from_log(log_fk + ln_wad(WAD + x), shocked, strike, 0) == max(
            0, shocked - strike
        )
