"""The command line: JSON files, exit codes, readable refusals.  Help: test_help.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from risk.chain.node import project_root
from risk.cli.explain import ExplainError, instrument_name, money, parse_account, parse_address

ROOT = project_root()
VECTORS = ROOT / "vectors" / "margin_v1.json"


def plumbline(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "risk.cli.main", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.chain
def test_verify_writes_the_documented_json(tmp_path: Path) -> None:
    file = tmp_path / "out" / "verify.json"
    run = plumbline(
        "verify",
        "--cases",
        "6",
        "--sequences",
        "1",
        "--actions",
        "5",
        "--seed",
        "3",
        "--json",
        str(file),
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(file.read_text())
    assert result["cases"] == 6
    assert result["sequences"] == 1
    assert result["actions"] == 5
    assert result["mismatches"] == 0
    assert result["values_compared"] > 500
    assert {"reverts_compared", "liquidations"} <= result.keys()
    assert "0 mismatches" in run.stdout
    assert "100 %" in run.stderr
    assert "100 %" not in run.stdout


@pytest.mark.chain
def test_verify_repeats_a_single_case(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    run = plumbline("verify", "--seed", "3", "--only-case", "5", "--json", str(file))
    assert run.returncode == 0, run.stderr
    assert json.loads(file.read_text())["cases"] == 1


def test_explain_a_vector(tmp_path: Path) -> None:
    document = json.loads(VECTORS.read_text())
    index = next(
        i
        for i, c in enumerate(document["cases"])
        if "error" not in c["outputs"] and c["outputs"]["margin"]["scan"] != "0"
    )
    file = tmp_path / "explain.json"
    run = plumbline("explain", "--vectors", str(VECTORS), "--case", str(index), "--json", str(file))
    assert run.returncode == 0, run.stderr
    result = json.loads(file.read_text())
    total = sum(int(row["scan_contribution"]) for row in result["rows"])
    assert total == int(result["margin"]["scan"]), "contributions sum to the scan"
    assert "maintenance margin MM" in run.stdout
    assert money(int(result["margin"]["mm"])) in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain",), "give --rpc, --vault and --account"),
        (("explain", "--vectors", "nowhere.json"), "nowhere.json"),
        (("explain", "--vectors", str(VECTORS), "--case", "99999"), "there is no case 99999"),
        (
            ("explain", "--rpc", "http://127.0.0.1:9", "--vault", "0x12", "--account", "0x1"),
            "vault '0x12' has 2 hex digits",
        ),
        (
            (
                "explain",
                "--rpc",
                "http://127.0.0.1:9",
                "--vault",
                "0x" + "11" * 20,
                "--account",
                "0x1",
            ),
            "account '0x1'",
        ),
        (
            (
                "explain",
                "--rpc",
                "http://127.0.0.1:9",
                "--vault",
                "0x" + "11" * 20,
                "--account",
                "0x" + "22" * 20,
            ),
            "127.0.0.1:9",
        ),
        (("vectors",), "either --check FILE or --write FILE"),
        (("vectors", "--check", "nowhere.json"), "nowhere.json"),
        (("verify", "--cases", "-1"), "--cases"),
        (("deploy", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_wrong_use_is_one_clear_line_and_a_failure(
    arguments: tuple[str, ...], message: str
) -> None:
    run = plumbline(*arguments)
    assert run.returncode != 0
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_accounts_and_addresses() -> None:
    owner = "0x" + "ab" * 20
    assert parse_account(owner) == int(owner, 16) << 8
    assert parse_account(owner + ":255") == int(owner, 16) << 8 | 255
    assert parse_account(owner + "07") == int(owner, 16) << 8 | 7
    for wrong in (owner + ":256", owner + ":x", "0xzz", "0x1"):
        with pytest.raises(ExplainError):
            parse_account(wrong)
    with pytest.raises(ExplainError, match="vault"):
        parse_address("hello", "vault")


def test_readable_numbers_and_names() -> None:
    assert money(-(10**18) * 1234 - 5 * 10**11) == "-1,234.000000"
    assert money(2**255 - 1) == "max"
    assert money(-(2**255)) == "min"
    day = 20_000  # 2024-10-04
    assert (
        instrument_name(1 << 28 | 2 << 26 | day << 10, lambda _: 3 * 10**18)
        == "CALL u1 2024-10-04 3.000000"
    )
    assert instrument_name(0, lambda _: 0) == "PERP u0"


@pytest.mark.chain
def test_explain_on_a_chain(deployed: Any, tmp_path: Path) -> None:
    account = deployed.deployment.accounts[0]
    file = tmp_path / "explain.json"
    run = plumbline(
        "explain",
        "--rpc",
        deployed.chain.node.endpoint,
        "--vault",
        f"{deployed.deployment.vault:#042x}",
        "--account",
        f"{account:#044x}",
        "--json",
        str(file),
    )
    assert run.returncode == 0, run.stderr
    margin = deployed.vault.margin(account)
    assert int(json.loads(file.read_text())["margin"]["equity"]) == margin.equity


@pytest.mark.chain
def test_explain_refuses_an_address_without_code(deployed: Any) -> None:
    run = plumbline(
        "explain",
        "--rpc",
        deployed.chain.node.endpoint,
        "--vault",
        "0x" + "99" * 20,
        "--account",
        "0x" + "11" * 20,
    )
    assert run.returncode == 2
    assert "there is no contract" in run.stderr
