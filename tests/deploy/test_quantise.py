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
    ],
)
def test_policy_numbers_must_be_whole_basis_points(path: str) -> None:
    value = {"margin.im_factor": "1.20001", "margin.target": "1.10001"}.get(path, "0.02001")
    with pytest.raises(ConfigError, match="whole number of basis points") as caught:
        quantise(parse_config(spoiled({path: value})))
    assert path.replace(".0.", "[0].") in str(caught.value)


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
