"""Risk parameters: one encoding, and the first broken rule is what is reported, on both sides."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams, UnderlyingParams
from risk.exact.state import State, World
from tests.margin.conftest import OWNER, VaultCalls
from tests.margin.worlds import random_world


def base(scenarios: int = 5) -> tuple[State, RiskParams]:
    """A state with two underlyings and its valid parameters."""
    state = random_world(Random(f"params {scenarios}"), scenarios, 2).state
    assert state.params is not None
    return state, state.params


def field_of(error: ModelRevert) -> tuple[str, int, int]:
    name, index, value = error.args
    return name.to_bytes(32, "big").rstrip(b"\0").decode("ascii"), index, value


def with_word(blob: bytes, index: int, change: int, shift: int, bits: int) -> bytes:
    """The blob with ``bits`` bits at ``shift`` of word ``index`` set to ``change``."""
    word = int.from_bytes(blob[32 * index : 32 * index + 32], "big")
    word = word & ~((1 << bits) - 1 << shift) | change << shift
    return blob[: 32 * index] + word.to_bytes(32, "big") + blob[32 * index + 32 :]


# (name, word, shift, bits, value, expected (field, index, value)); words 15… are underlying 1
U1 = 15
BROKEN: list[tuple[int, int, int, int, tuple[str, int, int]]] = [
    (0, 0, 8, 0, ("scenarios", 0, 0)),
    (0, 0, 8, 65, ("scenarios", 0, 65)),
    (0, 8, 8, 1, ("underlyings", 0, 1)),
    (0, 8, 8, 3, ("underlyings", 0, 3)),
    (0, 16, 8, 9, ("collaterals", 0, 9)),
    (0, 24, 16, 9_999, ("im_factor_bps", 0, 9_999)),
    (0, 40, 16, 10_000, ("target_bps", 0, 10_000)),
    (0, 40, 16, 13_334, ("target_bps", 0, 13_334)),
    (0, 56, 16, 2_001, ("reward_base_bps", 0, 2_001)),
    (0, 88, 16, 13_000, ("reward_max_bps", 0, 13_000)),
    (0, 104, 1, 1, ("stray_bits", 0, 1 << 104)),
    (0, 255, 1, 1, ("stray_bits", 0, 1 << 255)),
    (1, 16, 16, 0, ("weight", 1, 0)),
    (1, 64, 16, 10_001, ("weight", 4, 10_001)),
    (1, 80, 16, 1, ("weight", 5, 1)),
    (4, 240, 16, 7, ("weight", 63, 7)),
    (5, 0, 104, 0, ("depth_wad", 0, 0)),
    (U1, 0, 104, 0, ("depth_wad", 1, 0)),
    (U1, 168, 16, 0, ("price_unit_e6", 1, 0)),
    (U1, 168, 16, 6_945, ("price_unit_e6", 1, 6_945)),
    (U1, 184, 16, 0, ("vol_unit_e6", 1, 0)),
    (U1 + 1, 104, 64, 0, ("tenor_cap_wad", 1, 0)),
    (U1 + 1, 168, 16, 0, ("deviation_band_bps", 1, 0)),
    (U1 + 1, 184, 32, 0, ("max_age_seconds", 1, 0)),
    (U1, 208, 8, 3, ("stray_bits", U1, 3 << 208)),
    (U1, 255, 1, 1, ("stray_bits", U1, 1 << 255)),
    (U1 + 2, 0, 13, 0, ("price_lane", 256, 0)),
    (U1 + 2, 13, 13, 1, ("price_lane", 257, 1)),
    (U1 + 2, 65, 13, 4_095, ("price_lane", 261, 4_095)),
    (U1 + 5, 195, 13, 0, ("price_lane", 256 + 63, 0)),
    (U1 + 2, 208, 4, 9, ("stray_bits", U1 + 2, 9 << 208)),
    (U1 + 6, 52, 13, 0, ("vol_lane", 260, 0)),
    (U1 + 7, 0, 13, 4_097, ("vol_lane", 256 + 16, 4_097)),
    (U1 + 9, 255, 1, 1, ("stray_bits", U1 + 9, 1 << 255)),
    (25, 0, 8, 7, ("underlying", 0, 7)),
    (25, 8, 8, 17, ("decimals", 0, 17)),
    (25, 16, 16, 10_001, ("haircut_bps", 0, 10_001)),
    (25, 161, 1, 1, ("stray_bits", 25, 1 << 161)),
]


def broken_blobs() -> list[tuple[State, bytes, tuple[str, int, int]]]:
    state, params = base()
    target_and_unit = replace(
        params,
        im_factor_bps=13_333,
        target_bps=12_000,
        underlyings=tuple(replace(u, price_unit_e6=1_000) for u in params.underlyings),
    )
    target_and_unit = replace(
        target_and_unit,
        underlyings=tuple(
            replace(u, price_lanes=tuple(max(-900, x) for x in u.price_lanes))
            for u in target_and_unit.underlyings
        ),
    )
    blob = target_and_unit.encode()
    params_logic.validate(state, blob)
    cases = [
        (state, with_word(blob, word, value, shift, bits), expected)
        for word, shift, bits, value, expected in BROKEN
    ]
    has_rate = state.collaterals[0].rate_feed != 0
    flipped = with_word(blob, 25, int(not has_rate), 160, 1)
    cases.append((state, flipped, ("has_rate", 0, int(not has_rate))))
    for wrong in (blob[:-1], blob[:32], b"", blob[:-32], blob + bytes(32), blob[:159]):
        cases.append((state, wrong, ("length", 0, len(wrong))))
    return cases


def test_each_rule_is_reported_by_its_name() -> None:
    for state, blob, expected in broken_blobs():
        with pytest.raises(ModelRevert) as caught:
            params_logic.validate(state, blob)
        assert caught.value.name == "RiskParamsInvalid"
        assert field_of(caught.value) == expected


@pytest.mark.chain
def test_chain_refuses_the_same(vault: VaultCalls) -> None:
    for state, blob, _ in broken_blobs():
        with pytest.raises(ModelRevert) as caught:
            params_logic.validate(state, blob)
        got = vault.call(state, "setRiskParams", blob, sender=OWNER)
        assert got == vault.revert(caught.value)


@pytest.mark.chain
@pytest.mark.parametrize("scenarios", [1, 16, 17, 32, 33, 63, 64])
def test_chain_accepts_and_gives_back(vault: VaultCalls, scenarios: int) -> None:
    state, params = base(scenarios)
    assert vault.call(state, "setRiskParams", params.encode(), sender=OWNER) == []
    _, blob = vault.call(state, "riskParams")
    assert blob == params.encode()


@pytest.mark.chain
@pytest.mark.parametrize("group", [1, 128, 255])
def test_any_group_is_accepted(vault: VaultCalls, group: int) -> None:
    state, params = base()
    last = replace(params.underlyings[-1], group=group)
    grouped = replace(params, underlyings=(*params.underlyings[:-1], last))
    assert grouped.has_groups and not params.has_groups
    assert grouped.encode() == with_word(params.encode(), U1, group, 200, 8)
    assert RiskParams.decode(grouped.encode()) == grouped
    assert vault.call(state, "setRiskParams", grouped.encode(), sender=OWNER) == []
    with pytest.raises(ValueError, match="group"):
        replace(grouped, underlyings=(replace(last, group=256),)).encode()


def test_price_shock_stays_above_minus_one_hundred_percent() -> None:
    """The last admitted lane for several units: lane·unit > −1e6."""
    state, params = base()
    for unit in (1, 7, 244, 245, 250, 999, 1_000, 6_944):
        lowest = max(-4_095, -((10**6 - 1) // unit))

        def with_lane(lane: int, unit: int = unit) -> bytes:
            first = replace(
                params.underlyings[0], price_unit_e6=unit, price_lanes=(lane, 0, 0, 0, 0)
            )
            return replace(params, underlyings=(first, params.underlyings[1])).encode()

        params_logic.validate(state, with_lane(lowest))
        if lowest > -4_095:
            with pytest.raises(ModelRevert):
                params_logic.validate(state, with_lane(lowest - 1))


def test_setting_opens_a_new_epoch_of_underlyings_with_a_snapshot() -> None:
    state, params = base()
    state.underlyings[0].epoch, state.underlyings[1].epoch = 5, 0
    params_logic.set_params(state, World(), params.encode())
    assert [u.epoch for u in state.underlyings] == [6, 0]
    assert state.params == params


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), scenarios=st.sampled_from((1, 31, 32, 33, 64)))
def test_encoding_round_trip(seed: int, scenarios: int) -> None:
    state = random_world(Random(seed), scenarios, 3).state
    params = state.params
    assert params is not None
    params_logic.validate(state, params.encode())
    assert RiskParams.decode(params.encode()) == params
    assert len(params.encode()) == 32 * (5 + 33 + 2 * len(params.collaterals) + 4)


@pytest.mark.parametrize(
    "change",
    [
        {"depth_wad": 2**104},
        {"som_bps": -1},
        {"price_lanes": (4_096,) * 5},
        {"vol_lanes": (-4_096,) * 5},
        {"price_lanes": (0,) * 65},
        {"tenor_cap_wad": 2**64},
    ],
)
def test_encode_refuses_what_does_not_fit(change: dict[str, Any]) -> None:
    _, params = base()
    first: UnderlyingParams = replace(params.underlyings[0], **change)
    with pytest.raises(ValueError, match=r"fit|not in"):
        replace(params, underlyings=(first, params.underlyings[1])).encode()
