"""Every malformed field is refused with its name and its limit; nothing is coerced or ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from risk.deploy.config import DeployConfig, load_config, parse_config, tomllib
from risk.deploy.errors import ConfigError
from risk.deploy.quantise import quantise
from tests.deploy.support import LOCAL, SEPOLIA, content, small_config, spoiled

U = "underlyings.0"
C = "collaterals.0"
E = "underlyings.0.expiries.0"
TOKEN = "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238"

# path, bad value, what the message must name (field and limit)
BAD: list[tuple[str, Any, list[str]]] = [
    ("version", 2, ["version", "1"]),
    ("version", ..., ["version", "missing"]),
    ("name", "../evil", ["name", "1 to 32"]),
    ("name", "", ["name"]),
    ("local", "yes", ["local", "boolean"]),
    ("chain_ids", [], ["chain_ids", "[1, 16]"]),
    ("chain_ids", [0], ["chain_ids[0]", "[1, "]),
    ("chain_ids", [31337, 1], ["chain_ids", "local = true", "[1]"]),
    ("owner", "0x123", ["owner", "40 hex digits"]),
    ("owner", "0x" + "0" * 40, ["owner", "zero address"]),
    ("owner", TOKEN[:-1] + "9", ["owner", "checksum"]),
    ("unheard_of", 1, ["unheard_of", "unknown field"]),
    ("cash.decimals", 19, ["cash.decimals", "[0, 18]"]),
    ("cash.decimals", "6", ["cash.decimals", "whole number", "str"]),
    ("cash.decimals", 6.0, ["cash.decimals", "whole number", "float"]),
    ("cash.decimals", True, ["cash.decimals", "whole number", "bool"]),
    ("cash.mock", ..., ["cash", "address or mock"]),
    ("cash.address", TOKEN, ["cash", "address or mock"]),
    ("margin.im_factor", "0.99", ["margin.im_factor", "[1, 6.5535]"]),
    ("margin.im_factor", 1.2, ["margin.im_factor", "decimal string", "float"]),
    ("margin.im_factor", "1,2", ["margin.im_factor", "decimal number"]),
    ("margin.im_factor", "1e2", ["margin.im_factor", "decimal number"]),
    ("margin.im_factor", "NaN", ["margin.im_factor", "decimal number"]),
    ("margin.im_factor", "1" * 61, ["margin.im_factor", "decimal number"]),
    ("margin.target", "1", ["margin.target", "(1, 6.5535]"]),
    ("margin.target", "1.3", ["margin", "target 1.3", "im_factor 1.2"]),
    ("margin.reward_base", "0.09", ["margin", "reward_base 0.09", "reward_max 0.08"]),
    ("margin.reward_max", "1.1", ["margin", "reward_max 1.1", "target 1.1"]),
    ("weights.0", "0", ["weights[0]", "(0, 1]"]),
    ("weights.3", "1.0001", ["weights[3]", "(0, 1]"]),
    ("weights", [], ["weights", "[1, 64]"]),
    ("weights", ["1"] * 65, ["weights", "65", "[1, 64]"]),
    ("weights", ["1"] * 31, ["underlyings[0].price_shocks", "32", "31"]),
    ("underlyings", [], ["underlyings", "[1, 16]"]),
    ("underlyings.1.name", "ETH", ["underlyings", "distinct"]),
    (f"{U}.depth", "0", ["underlyings[0].depth", "(0, "]),
    (f"{U}.depth", "20000000000001", ["underlyings[0].depth", "20000000000000"]),
    (f"{U}.short_option_minimum", "-0.1", ["underlyings[0].short_option_minimum", "[0, 1]"]),
    (f"{U}.liquidity", "7", ["underlyings[0].liquidity", "6.5535"]),
    (f"{U}.basis", "1.1", ["underlyings[0].basis", "[0, 1]"]),
    (f"{U}.basis_per_year", "2", ["underlyings[0].basis_per_year", "[0, 1]"]),
    (f"{U}.tenor_power", "5", ["underlyings[0].tenor_power", "[0, 4]"]),
    (f"{U}.tenor_floor_seconds", -1, ["underlyings[0].tenor_floor_seconds", "[0, "]),
    (f"{U}.tenor_cap", "0", ["underlyings[0].tenor_cap", "(0, 18]"]),
    (f"{U}.deviation_band", "0", ["underlyings[0].deviation_band", "[0.0001, 0.5]"]),
    (f"{U}.max_age_seconds", 0, ["underlyings[0].max_age_seconds", "[1, 604800]"]),
    (f"{U}.max_confidence", "1.5", ["underlyings[0].max_confidence", "[0, 1]"]),
    (f"{U}.max_skew_seconds", 10**9, ["underlyings[0].max_skew_seconds", "604800"]),
    (f"{U}.price_shocks.0", "-1", ["underlyings[0].price_shocks[0]", "(-1, 28]"]),
    (f"{U}.price_shocks.5", "-1.5", ["underlyings[0].price_shocks[5]", "(-1, 28]"]),
    (f"{U}.vol_shocks.2", "-1.1", ["underlyings[0].vol_shocks[2]", "[-1, 65]"]),
    (f"{U}.group", -1, ["underlyings[0].group", "[0, 255]"]),
    (f"{U}.group", 256, ["underlyings[0].group", "[0, 255]"]),
    (f"{U}.price_unit", "0", ["underlyings[0].price_unit", "0.006944"]),
    (f"{U}.feed.price", "10000001", ["underlyings[0].feed.price", "(0, 10000000]"]),
    (f"{U}.feed.price", "0", ["underlyings[0].feed.price", "(0, 10000000]"]),
    (f"{U}.feed.price", "99", ["underlyings[0].feed", "price 99", "[100, 50000]"]),
    (f"{U}.feed.price", ..., ["underlyings[0].feed", "price"]),
    (f"{U}.feed.min_price", "60000", ["underlyings[0].feed", "min_price", "max_price"]),
    (f"{U}.feed.decimals", 37, ["underlyings[0].feed.decimals", "[0, 18]"]),
    (f"{U}.feed.address", TOKEN, ["underlyings[0].feed", "address or mock"]),
    (f"{U}.surprise", 1, ["underlyings[0].surprise", "unknown field"]),
    (f"{E}.in_days", 0, ["underlyings[0].expiries[0].in_days", "[1, 1000]"]),
    (f"{E}.day", 20000, ["underlyings[0].expiries[0]", "in_days", "day"]),
    (f"{E}.strikes", ["3000"], ["underlyings[0].expiries[0]", "strikes", "moneyness"]),
    (f"{E}.step", ..., ["underlyings[0].expiries[0]", "step"]),
    (f"{E}.moneyness", ["1", "0.9"], ["underlyings[0].expiries[0]", "ascend"]),
    (f"{E}.moneyness", [], ["underlyings[0].expiries[0]", "[1, 1024]"]),
    (f"{E}.slice.rho", "1", ["underlyings[0].expiries[0].slice.rho", "(-1, 1)"]),
    (f"{E}.slice.sigma", "0", ["underlyings[0].expiries[0].slice.sigma", "(0, 10]"]),
    (f"{E}.slice.forward_ratio", "5", ["expiries[0].slice.forward_ratio", "[0.25, 2]"]),
    (f"{E}.slice.discount", "1.2", ["expiries[0].slice.discount", "1.1"]),
    ("collaterals", [None] * 17, ["collaterals[0]"]),
    (f"{C}.underlying", "SOL", ["collaterals[0].underlying", "'SOL'", "'ETH'"]),
    (f"{C}.haircut", "1.01", ["collaterals[0].haircut", "[0, 1]"]),
    (f"{C}.cap", "-1", ["collaterals[0].cap", "[0, "]),
    (f"{C}.cap", "1000000000000001", ["collaterals[0].cap", "1000000000000000"]),
    (f"{C}.token.decimals", -1, ["collaterals[0].token.decimals", "[0, 18]"]),
    (f"{C}.token.symbol", "W ETH", ["collaterals[0].token.symbol", "1 to 32"]),
    ("signers.threshold", 0, ["signers.threshold", "[1, 16]"]),
    ("signers.threshold", 4, ["signers", "threshold 4", "3"]),
    ("signers.addresses", [TOKEN, TOKEN], ["signers", "duplicate"]),
    ("signers.local_keys", 17, ["signers.local_keys", "[0, 16]"]),
    ("deployer", "0x12", ["deployer", "40 hex digits"]),
    ("handover", "later", ["handover", "two_step", "direct"]),
    ("cash_market.base_rate_per_year", "7", ["cash_market.base_rate_per_year", "6.5535"]),
    ("cash_market.kink_utilisation", "1", ["cash_market.kink_utilisation", "[0, 1)"]),
    ("cash_market.base_rate_per_year", "0.5", ["cash_market", "must rise", "0.5"]),
    ("cash_market.kink_rate_per_year", "0.9", ["cash_market", "must rise", "0.9"]),
    ("cash_market.reserve_share", "1.1", ["cash_market.reserve_share", "[0, 1]"]),
    ("cash_market.spread", "1", ["cash_market.spread", "unknown field"]),
    ("fees.trade_fee", "0.02", ["fees.trade_fee", "[0, 0.01]"]),
    ("fees.option_fee_cap", "2", ["fees.option_fee_cap", "[0, 1]"]),
    ("liquidation.warning", "0.9", ["liquidation", "warning 0.9 is below 1"]),
    ("liquidation.warning", "1.3", ["liquidation.warning", "im_factor 1.2"]),
    ("liquidation.min_margin_cash", "1" + "0" * 11, ["min_margin_cash", "79000000000"]),
    ("liquidation.grace_seconds", 2**24, ["liquidation.grace_seconds", "16777215"]),
    ("liquidation.emergency", "1.01", ["liquidation.emergency", "[0, 1]"]),
    ("insurance.period_seconds", 0, ["insurance", "period_cap_cash and period_seconds"]),
    ("deleveraging.open_interest_share", "1.5", ["open_interest_share", "[0, 1]"]),
    ("withdrawals.period_seconds", 0, ["withdrawals.cash_cap_cash: needs", "withdraw_cap: needs"]),
    ("withdrawals.unrealised_cap_usd", "5", ["unrealised_cap_usd", "whole number"]),
    ("settlement.min_observations", 17, ["settlement", "17 observations", "1800"]),
    ("guards.breaker_seconds", 0, ["underlyings[0].jump: needs guards.breaker_seconds"]),
    ("guards.sequencer_grace_seconds", 60, ["guards", "needs sequencer_feed"]),
    ("funding.period_seconds", 0, ["underlyings[0].max_funding: needs funding.period_seconds"]),
    (f"{U}.position_cap", "50000", ["underlyings[0].position_cap", "open_interest_cap"]),
    (f"{U}.max_funding", "0.11", ["underlyings[0].max_funding", "[0, 0.1]"]),
    (f"{U}.stable_band", "0", ["underlyings[0]", "stable_rate_per_day belong together"]),
    (f"{C}.withdraw_cap", "-1", ["collaterals[0].withdraw_cap", "[0, "]),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), BAD, ids=[f"{p}={v}"[:60] for p, v, _ in BAD]
)
def test_malformed_field(path: str, value: Any, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(spoiled({path: value}), "test.toml")
    for part in expected:
        assert part in str(caught.value), str(caught.value)


POLICY = (
    "cash_market",
    "fees",
    "liquidation",
    "insurance",
    "deleveraging",
    "withdrawals",
    "settlement",
    "guards",
    "funding",
)


def test_without_policy_everything_of_it_is_off() -> None:
    """The tail is all zeros: no rates, fees, caps, grace, breakers."""
    data = small_config()
    for section in POLICY:
        del data[section]
    u, c = data["underlyings"][0], data["collaterals"][0]
    for name in ("open_interest_cap", "position_cap", "max_funding", "jump"):
        del u[name]
    for place, name in ((u, "stable_rate_per_day"), (u, "stable_band"), (c, "withdraw_cap")):
        del place[name]
    blob = quantise(parse_config(data)).encode()
    tail = 32 * (4 + 1 + 1)
    assert not any(blob[-tail:]) and any(blob[-tail - 32 : -tail])


def test_the_shipped_governance_example_is_valid() -> None:
    """The section that configs/sepolia.toml shows as a comment, with addresses filled in."""
    lines = SEPOLIA.read_text().splitlines()
    start = lines.index("# [governance]")
    text = "\n".join(line.removeprefix("# ") for line in lines[start : lines.index("", start)])
    section = tomllib.loads(text)["governance"]
    for i, name in enumerate(("admin", "guardian", "steward", "lister"), 1):
        assert section[name] == "0x…"
        section[name] = f"0x{i:040x}"
    config = parse_config({**content(SEPOLIA), "governance": section})
    assert config.governance is not None
    assert config.governance.timelock_delay_seconds >= 2 * 86_400


def test_all_problems_at_once() -> None:
    bad = {"cash.decimals": 19, f"{U}.depth": "0", "weights.0": 0.5, "extra": 1}
    with pytest.raises(ConfigError) as caught:
        parse_config(spoiled(bad))
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("path", [LOCAL, SEPOLIA])
def test_shipped_configurations(path: Path) -> None:
    config = load_config(path)
    params = quantise(config)
    assert params.scenario_count == 32
    assert len(params.underlyings) == 3 and len(params.collaterals) == 3


def test_sepolia_uses_the_real_feeds() -> None:
    config = load_config(SEPOLIA)
    assert config.chain_ids == [11155111]
    assert [u.feed.address for u in config.underlyings] == [
        "0x694AA1769357215DE4FAC081bf1f309aDC325306",  # ETH / USD
        "0x1b44F3514812d835EB1BDB0acB33d3fA3351Ee43",  # BTC / USD
        "0xc59E3633BAAC79493d908e63626716e204A45EdF",  # LINK / USD
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("cash.mock", True, "cash"),
        ("signers.local_keys", 1, "signers.local_keys: only where local = true"),
        ("underlyings.0.feed.mock", True, "underlyings[0].feed"),
        (
            "underlyings.0.expiries.0.slice",
            content()["underlyings"][0]["expiries"][0]["slice"],
            "slice: first reports are signed only where local = true",
        ),
    ],
)
def test_nothing_local_on_a_public_chain(path: str, value: Any, expected: str) -> None:
    change = {path: value}
    if path.endswith("mock"):
        change[path.replace("mock", "address")] = ...
    if path == "underlyings.0.feed.mock":
        change["underlyings.0.feed.price"] = "3000"
    with pytest.raises(ConfigError) as caught:
        parse_config(spoiled(change, content(SEPOLIA)))
    assert expected in str(caught.value)


def test_the_hash_ignores_layout_and_sees_every_value() -> None:
    one, two = parse_config(content()), parse_config(json.loads(json.dumps(content())))
    assert one.config_hash() == two.config_hash()
    seen = {one.config_hash()}
    for path, value in (("margin.target", "1.11"), (f"{U}.depth", "20001"), ("name", "x")):
        seen.add(parse_config(spoiled({path: value})).config_hash())
    assert len(seen) == 4


def test_json_is_as_good_as_toml(tmp_path: Path) -> None:
    file = tmp_path / "local.json"
    file.write_text(json.dumps(content()))
    assert load_config(file).config_hash() == load_config(LOCAL).config_hash()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("missing.toml", None, "cannot be read"),
        ("broken.toml", "a = [1", "malformed"),
        ("broken.json", '{"a": 1', "malformed"),
        ("config.yaml", "a: 1", ".toml or .json"),
        ("list.json", "[1, 2]", "valid dictionary"),
        ("deep.json", "[" * 100_000, "malformed"),
        ("big.toml", "#" * 1_000_001, "1000000 bytes"),
        ("binary.toml", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_unreadable_files(
    tmp_path: Path, name: str, text: str | bytes | None, expected: str
) -> None:
    file = tmp_path / name
    if isinstance(text, bytes):
        file.write_bytes(text)
    elif text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert expected in str(caught.value)


def test_fields_do_not_change_after_the_check() -> None:
    config = parse_config(content())
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]
    assert isinstance(config, DeployConfig)
