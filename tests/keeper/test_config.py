"""The keeper's configuration: what is refused, with which words, and that nothing secret shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risk.keeper.config import KeeperConfig, load_config, parse_config, vault_place
from risk.keeper.errors import ConfigError, KeyError_

PATH = Path("/etc/plumbline/keeper.toml")
ADDRESS = "0x" + "0" * 38 + "aa"
EXAMPLE = Path(__file__).parents[2] / "examples" / "keeper" / "config.toml"


def content(**sections: dict[str, Any]) -> dict[str, Any]:
    """A valid file's content with these fields changed (None: left out)."""
    out: dict[str, Any] = {
        "version": 1,
        "chain": {"id": 31337, "endpoints": ["http://127.0.0.1:8545"]},
        "vault": {"address": ADDRESS, "deployed_block": 7},
        "signer": {"address": ADDRESS},
        "profit": {"native_price_cash": "3000"},
        "fees": {"max_fee_cap_gwei": "200", "budget_native": "0.05", "max_tip_gwei": "20"},
        "state": {"folder": "state"},
    }
    for name, fields in sections.items():
        merged = {**out.get(name, {}), **fields}
        out[name] = {k: v for k, v in merged.items() if v is not None}
    return out


def parsed(**sections: dict[str, Any]) -> KeeperConfig:
    return parse_config(content(**sections), PATH)


def refusal(raw: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw, PATH)
    return str(caught.value)


def test_a_dry_run_is_the_default_and_paths_start_at_the_file() -> None:
    config = parsed(state={"log_file": "../log/keeper.log"}, signer={"keystore": "/keys/a.json"})
    assert config.dry_run
    assert config.state.folder == PATH.parent / "state"
    assert config.state.log_file == PATH.parent / "../log/keeper.log"
    assert config.signer.keystore == Path("/keys/a.json")
    assert config.liquidator_account == 0xAA << 8


def test_units_become_exact_integers() -> None:
    policy = parsed(
        fees={"tip_gwei": "1.5", "min_tip_gwei": "0.1"}, liquidator={"sub_account": 3}
    ).dispatch_policy()
    assert policy.fees.max_fee_cap_wei == 200 * 10**9
    assert policy.fees.budget_wei == 5 * 10**16
    assert policy.fees.tip_wei == 15 * 10**8
    assert policy.fees.min_tip_wei == 10**8
    assert parsed().head_rule().age == 120.0
    assert parsed(chain={"max_head_age_seconds": 0}).head_rule().age is None


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"chain": {"endpiont": "x"}}, "[chain] endpiont: unknown field"),
        ({"chian": {"id": 1}}, "chian: unknown field"),
        ({"fees": {"budget_native": None}}, "[fees] budget_native: required field is missing"),
        ({"fees": {"budget_native": 0.05}}, "[fees] budget_native: write the number as a decimal"),
        ({"chain": {"id": True}}, "[chain] id: expected a whole number"),
        ({"chain": {"poll_seconds": float("nan")}}, "[chain] poll_seconds:"),
        ({"chain": {"endpoints": []}}, "[chain] endpoints:"),
        ({"chain": {"endpoints": ["ftp://x"]}}, "[chain] endpoints[0]: expected an http(s)"),
        ({"chain": {"quorum": 2}}, "[chain] quorum: 2 of 1 endpoints"),
        ({"vault": {"record": "r.json"}}, "[vault]: give either record or address"),
        ({"vault": {"deployed_block": None}}, "[vault] deployed_block: needed with address"),
        ({"vault": {"code_hash": "0x12"}}, "[vault] code_hash: expected 0x and 64 hex digits"),
        ({"signer": {"keystore": "a", "secret_file": "b"}}, "[signer]: give keystore or"),
        ({"signer": {"password_env": "P"}}, "[signer]: a password is for a keystore"),
        ({"profit": {"native_underlying": 0}}, "[profit]: give either native_price_cash"),
        ({"fees": {"max_tip_gwei": "201"}}, "[fees] or [dispatch]: 0 <= min_tip_wei"),
        ({"dispatch": {"confirmations": 300}}, "[fees] or [dispatch]: 0 <= confirmations"),
        ({"book": {"behind_blocks": 65}}, "[book] behind_blocks: more than ring_blocks"),
        ({"monitor": {"webhook_url": "/socket"}}, "[monitor] webhook_url: expected an http(s)"),
    ],
)
def test_refusals_name_file_section_and_field(sections: dict[str, Any], words: str) -> None:
    told = refusal(content(**sections))
    assert told.startswith(f"{PATH}: ")
    assert words in told


def test_every_problem_is_told_at_once() -> None:
    told = refusal(content(chain={"id": "x", "lag": 3}, state={"folder": 7}))
    assert "3 problems" in told
    assert "[chain] lag: unknown field" in told and "[state] folder" in told


def test_H64_no_secret_in_repr_errors_or_text() -> None:
    secret = "s3cr3tprojectkey"
    url = f"https://rpc.example.org/v2/{secret}?token=abcdefghijkl"
    hook = "https://hooks.example.org/T0/B0/hookhookhook"
    config = parsed(
        chain={"endpoints": [url]},
        relay={"url": f"https://relay.example.org/{secret}"},
        monitor={"webhook_url": hook},
    )
    for text in (repr(config), str(config), config.model_dump_json()):
        assert secret not in text and "abcdefghijkl" not in text and "hookhook" not in text
    assert config.shown_urls == ["https://rpc.example.org"]
    assert config.urls == [url]
    for part in (secret, "abcdefghijkl", "hookhookhook"):
        assert any(part in s for s in config.secrets)
    key = "ab" * 32
    told = refusal(content(signer={"address": "0x" + key}, chain={"id": "0x" + key}))
    assert key not in told
    told = refusal(content(chain={"endpoints": [f"https://user:{secret}@rpc.example.org/"]}))
    assert secret not in told and "user:password" in told


def test_no_key_is_an_error_of_the_key() -> None:
    with pytest.raises(KeyError_, match=r"\[signer\]"):
        parsed().key_source()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text('version = 1\nsecret = "hunter2hunter2\n')
    with pytest.raises(ConfigError, match="malformed TOML: line 2") as caught:
        load_config(bad)
    assert "hunter2" not in str(caught.value)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(bad)


def test_a_record_that_is_missing_or_foreign(tmp_path: Path) -> None:
    config = parsed(
        vault={"address": None, "deployed_block": None, "record": str(tmp_path / "r.json")}
    )
    with pytest.raises(ConfigError, match=r"\[vault\] record"):
        vault_place(config)


def test_the_example_is_valid() -> None:
    config = load_config(EXAMPLE)
    assert config.dry_run and config.vault.record is not None
    assert config.dispatch_policy().chain_id == 31337


def test_rivals_reach_the_planner() -> None:
    from risk.keeper.ground import terms_of

    assert terms_of(parsed()).spread_bps == 10_000
    assert terms_of(parsed(profit={"spread_bps": 0})).spread_bps == 0
    assert (parsed().profit.retry_blocks, parsed().profit.ask_pool) == (3, False)
    for field, value in (("spread_bps", 100_001), ("retry_blocks", -1), ("ask_pool", 1)):
        assert f"[profit] {field}" in refusal(content(profit={field: value}))
