"""The quantisation: directions, policy numbers, lanes; the vault accepts what comes out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.deploy.config import DeployConfig, load_config, parse_config
from risk.deploy.errors import ConfigError
from risk.deploy.quantise import MAX_LANE, quantise, shock_lanes, shock_unit_e6
from risk.deploy.scenarios import joint_scenarios, shocks, weights
from risk.errors import PlumblineError
from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Collateral, State, Underlying
from tests.deploy.support import LOCAL, SEPOLIA, content, small_config, spoiled

U = "underlyings.0"
RANGES = [("0.15", "0.45"), ("0.12", "0.4"), ("0.18", "0.5")]


def listed(config: DeployConfig) -> State:
    """A state in which everything of the configuration is listed."""
    names = [u.name for u in config.underlyings]
    return State(
        owner=1,
        cash_token=2,
        cash_decimals=config.cash.decimals,
        underlyings=[Underlying(10 + i, u.feed.decimals) for i, u in enumerate(config.underlyings)],
        collaterals=[
            Collateral(
                100 + j, c.token.decimals, names.index(c.underlying), 1 if c.rate_feed else 0
            )
            for j, c in enumerate(config.collaterals)
        ],
    )


@pytest.mark.parametrize("path", [LOCAL, SEPOLIA])
def test_the_vault_accepts_the_shipped_parameters(path: Any) -> None:
    config = load_config(path)
    blob = quantise(config).encode()
    params_logic.validate(listed(config), blob)
    assert RiskParams.decode(blob).encode() == blob


@pytest.mark.parametrize(
    ("path", "value", "read", "expected"),
    [
        ("weights.1", "0.50001", lambda p: p.weights_bps[1], 5001),  # up
        ("weights.1", "0.00001", lambda p: p.weights_bps[1], 1),
        (f"{U}.short_option_minimum", "0.07501", lambda p: p.underlyings[0].som_bps, 751),
        (f"{U}.liquidity", "0.10001", lambda p: p.underlyings[0].liq_bps, 1001),
        (f"{U}.basis", "0.01001", lambda p: p.underlyings[0].basis_base_bps, 101),
        (f"{U}.basis_per_year", "0.00001", lambda p: p.underlyings[0].basis_slope_bps, 1),
        (f"{U}.depth", "0.0000000000000000019", lambda p: p.underlyings[0].depth_wad, 1),  # down
        (f"{U}.max_confidence", "0.05009", lambda p: p.underlyings[0].max_confidence_bps, 500),
        (
            f"{U}.tenor_power",
            "0.0000000000000000001",
            lambda p: p.underlyings[0].tenor_power_wad,
            1,
        ),
        (
            f"{U}.tenor_cap",
            "1.0000000000000000001",
            lambda p: p.underlyings[0].tenor_cap_wad,
            10**18 + 1,
        ),
        ("collaterals.0.haircut", "0.08001", lambda p: p.collaterals[0].haircut_bps, 801),
        ("collaterals.0.cap", "1.5", lambda p: p.collaterals[0].cap, 15 * 10**17),
        (f"{U}.price_shocks.0", "-0.15001", lambda p: p.underlyings[0].price_lanes[0], -751),
        (f"{U}.price_shocks.1", "0.15001", lambda p: p.underlyings[0].price_lanes[1], 751),
        (f"{U}.vol_shocks.0", "0.45001", lambda p: p.underlyings[0].vol_lanes[0], 1801),
        (
            "collaterals.0.withdraw_cap",
            "1.0000000000000000019",
            lambda p: p.collaterals[0].withdraw_cap,
            10**18 + 1,
        ),
        (
            f"{U}.open_interest_cap",
            "40000.0000000000000000019",
            lambda p: p.underlyings[0].oi_cap_wad,
            40_000 * 10**18 + 1,
        ),
        (
            f"{U}.position_cap",
            "0.0000000000000000019",
            lambda p: p.underlyings[0].position_cap_wad,
            1,
        ),
        (
            "insurance.event_cap_cash",
            "0.0000000000000000019",
            lambda p: p.insurance_event_cap_wad,
            1,
        ),
        (
            "withdrawals.cash_cap_cash",
            "0.0000000000000000019",
            lambda p: p.cash_withdraw_cap_wad,
            1,
        ),
        (
            "liquidation.min_margin_cash",
            "0.0000000000000000011",
            lambda p: p.min_margin_wad,
            2,
        ),  # up
    ],
)
def test_rounding_is_against_the_account(path: str, value: str, read: Any, expected: int) -> None:
    config = parse_config(spoiled({path: value}, small_config()))
    assert read(quantise(config)) == expected


@pytest.mark.parametrize(
    "path",
    [
        "margin.im_factor",
        "margin.target",
        "margin.reward_base",
        "margin.reward_slope",
        "margin.reward_max",
        f"{U}.deviation_band",
        f"{U}.max_funding",
        f"{U}.stable_rate_per_day",
        f"{U}.stable_band",
        f"{U}.jump",
        "cash_market.kink_utilisation",
        "cash_market.reserve_share",
        "fees.option_fee_cap",
        "liquidation.warning",
        "liquidation.reward_per_hour",
        "liquidation.emergency",
        "deleveraging.open_interest_share",
    ],
)
def test_policy_numbers_must_be_whole_basis_points(path: str) -> None:
    above_one = {
        "margin.im_factor": "1.20001",
        "margin.target": "1.10001",
        "liquidation.warning": "1.10001",
    }
    value = above_one.get(path, "0.02001")
    with pytest.raises(ConfigError, match="whole number of basis points") as caught:
        quantise(parse_config(spoiled({path: value})))
    assert path.replace(".0.", "[0].") in str(caught.value)


def test_a_fee_must_be_whole_millionths() -> None:
    with pytest.raises(ConfigError, match=r"fees.trade_fee: 0.0000015 is not a whole"):
        quantise(parse_config(spoiled({"fees.trade_fee": "0.0000015"})))


@pytest.mark.parametrize(
    "path", ["insurance.event_cap_cash", f"{U}.position_cap", "collaterals.0.withdraw_cap"]
)
def test_a_cap_does_not_vanish(path: str) -> None:
    """0 would mean no cap at all."""
    with pytest.raises(ConfigError, match=r"rounds to 0, which means no cap") as caught:
        quantise(parse_config(spoiled({path: "0.0000000000000000001"}, small_config())))
    assert path.replace(".0.", "[0].") in str(caught.value)


def test_the_tail_of_the_shipped_test_net() -> None:
    """Every field of the file arrives under its name."""
    p = quantise(load_config(SEPOLIA))
    assert (p.base_rate_bps, p.kink_utilisation_bps, p.kink_rate_bps, p.full_rate_bps) == (
        100,
        8_000,
        800,
        6_000,
    )
    assert (p.reserve_share_bps, p.trade_fee_e6, p.option_fee_cap_bps) == (1_000, 300, 1_250)
    assert (p.warning_bps, p.min_margin_wad, p.grace_seconds) == (11_500, 50 * 10**18, 300)
    assert (p.reward_time_bps, p.emergency_bps, p.adl_share_bps) == (200, 8_000, 5_000)
    assert p.insurance_event_cap_wad == 50_000 * 10**18
    assert (p.insurance_period_cap_wad, p.insurance_period_seconds) == (200_000 * 10**18, 86_400)
    assert (p.cash_withdraw_cap_wad, p.withdraw_period_seconds) == (2_000_000 * 10**18, 86_400)
    assert p.unrealised_cap_usd == 100_000
    assert (p.settle_window_seconds, p.settle_min_observations) == (1_800, 6)
    assert (p.settle_min_spacing_seconds, p.breaker_seconds) == (120, 3_600)
    assert (p.sequencer_grace_seconds, p.wind_down_notice_seconds) == (0, 604_800)
    assert p.funding_period_seconds == 28_800
    eth, wbtc = p.underlyings[0], p.collaterals[1]
    assert (eth.oi_cap_wad, eth.position_cap_wad) == (40_000 * 10**18, 4_000 * 10**18)
    assert (eth.max_funding_bps, eth.stable_rate_bps_per_day) == (75, 2_000)
    assert (eth.stable_band_bps, eth.jump_bps) == (500, 1_200)
    assert wbtc.withdraw_cap == 1_000 * 10**8


def test_a_shock_beyond_its_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"underlyings\[0\].price_shocks\[28\].*0.4095"):
        quantise(parse_config(spoiled({f"{U}.price_unit": "0.0001"})))
    with pytest.raises(ConfigError, match="whole number of millionths"):
        quantise(parse_config(spoiled({f"{U}.vol_unit": "0.00000150"})))


def test_a_shock_that_rounds_to_minus_one_is_refused() -> None:
    change = {f"{U}.price_shocks.0": "-0.99999", f"{U}.price_unit": "0.005"}
    with pytest.raises(ConfigError, match=r"price_shocks\[0\].*above −1"):
        quantise(parse_config(spoiled(change, small_config())))


decimals = st.decimals("-0.99", "27", allow_nan=False, places=9)


@given(st.lists(decimals, min_size=1, max_size=64))
def test_lanes_are_away_from_zero_and_tight(values: list[Decimal]) -> None:
    unit = shock_unit_e6(values)
    for shock, lane in zip(values, shock_lanes("x", values, unit), strict=True):
        assert abs(lane) <= MAX_LANE
        quantised = Fraction(lane * unit, 10**6)
        excess = abs(quantised) - abs(Fraction(shock))
        assert 0 <= excess < Fraction(unit, 10**6)
        assert quantised * Fraction(shock) >= 0
    assert unit == 1 or max(abs(v) for v in values) * 10**6 > MAX_LANE * (unit - 1)


@settings(max_examples=50)
@given(st.data())
def test_random_configurations_validate_or_are_refused(data: st.DataObject) -> None:
    """Whatever the configuration accepts, the vault accepts: no third outcome."""
    raw = small_config()
    number = st.decimals("-0.2", "1.6", places=4).map(str)
    for path in ("margin.target", "margin.reward_max", f"{U}.deviation_band", f"{U}.tenor_cap"):
        if data.draw(st.booleans()):
            raw = spoiled({path: data.draw(number)}, raw)
    raw = spoiled({f"{U}.price_shocks": [data.draw(number), data.draw(number)]}, raw)
    try:
        config = parse_config(raw)
        params = quantise(config)
    except PlumblineError:
        return
    params_logic.validate(listed(config), params.encode())


def test_an_unlisted_blob_would_be_refused() -> None:
    """The validation above is not vacuous."""
    config = parse_config(content())
    params = quantise(config)
    with pytest.raises(Exception, match="RiskParamsInvalid"):
        params_logic.validate(listed(config), replace(params, target_bps=10_000).encode())


def test_the_shipped_scenarios_are_the_recipe() -> None:
    rows = shocks(RANGES)
    for path in (LOCAL, SEPOLIA):
        data = content(path)
        assert data["weights"] == weights()
        for underlying, (price, vol) in zip(data["underlyings"], rows, strict=True):
            assert underlying["price_shocks"] == price
            assert underlying["vol_shocks"] == vol
    config = load_config(LOCAL)
    for exact, asked in zip(quantise(config).underlyings, config.underlyings, strict=True):
        for lane, shock in zip(exact.price_lanes, asked.price_shocks, strict=True):
            assert lane * exact.price_unit_e6 == shock * 10**6  # no rounding at all
        for lane, shock in zip(exact.vol_lanes, asked.vol_shocks, strict=True):
            assert lane * exact.vol_unit_e6 == shock * 10**6


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 16])
def test_the_recipe(count: int) -> None:
    rows = joint_scenarios(count)
    assert len(rows) == 32
    assert len({(r.price, r.vol) for r in rows[:14]}) == 14
    for row in rows:
        assert 0 < Fraction(row.weight) <= 1
        damped = [abs(m) * Fraction(row.weight) for m in row.price]
        assert max(damped) <= 1  # a linear position is never charged more than its scan range
        if row.weight != "1":
            assert max(abs(m) for m in row.price) > 1
    if count >= 2:
        assert any(r.price[0] == -r.price[1] != 0 for r in rows)
    for up, down in zip(rows[26::2], rows[27::2], strict=True):
        assert [-m for m in up.price] == list(down.price)
