"""`plumbline deploy` as a person runs it: exit codes, messages, no file without a deployment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from risk.chain.node import Anvil, Node
from risk.cli.main import app
from risk.deploy.cli import KEY_VARIABLE
from risk.deploy.record import read_record
from tests.deploy.support import LOCAL, ROOT, SEPOLIA, key, small_config, spoiled

SECRET = "0x" + "5ec7e7" * 10 + "5ec"  # one digit short
PLUMBLINE = Path(sys.executable).parent / "plumbline"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Node]:
    """A node over HTTP, as users name one."""
    with Anvil(ipc=False) as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small configuration file."""
    file = tmp_path / "small.json"
    file.write_text(json.dumps(small_config()))
    return file


def plumbline(*arguments: Any, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `plumbline deploy`."""
    clean = {k: v for k, v in os.environ.items() if k != KEY_VARIABLE}
    return subprocess.run(
        [str(PLUMBLINE), "deploy", *map(str, arguments)],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def inside(*arguments: Any, **environment: str) -> Result:
    """The same command in this process, which starts faster."""
    clean = {KEY_VARIABLE: None, **environment}
    return CliRunner().invoke(app, ["deploy", *map(str, arguments)], env=clean)


def refused(code: int, output: str, *expected: str) -> None:
    """Non-zero exit and one readable message."""
    assert code in (1, 2), output
    assert "Traceback" not in output, output
    for part in expected:
        assert part in output, output


def test_deploys_and_records(endpoint: Node, small: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "records" / "r.json", tmp_path / "summary.json"
    run = plumbline(
        "--config", small, "--rpc", endpoint.url, "--out", out, "--json", summary, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    record = read_record(out)
    result = json.loads(summary.read_text())
    assert result["ok"] is True and result["vault"] == record.vault
    assert "deploy Vault" in run.stderr and "reading everything back" in run.stderr
    with endpoint.rpc() as rpc:
        assert rpc.code(record.vault)


def test_default_record_path_and_text(endpoint: Node, small: Path, tmp_path: Path) -> None:
    run = plumbline("--config", small, "--rpc", endpoint.url, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = read_record(tmp_path / "deployments" / "small-31337.json")
    assert record.vault in run.stdout and "read back without a difference" in run.stdout
    assert sorted(os.listdir(tmp_path / "deployments")) == [
        "small-31337-sources",
        "small-31337.json",
    ]


def test_a_key_in_file_keystore_or_environment(endpoint: Node, small: Path, tmp_path: Path) -> None:
    one = key(1)
    plain, store, password = tmp_path / "key", tmp_path / "store.json", tmp_path / "password"
    plain.write_text(one.key.hex() + "\n")
    store.write_text(json.dumps(Account.encrypt(one.key, "correct horse", iterations=2)))
    password.write_text("correct horse\n")
    base = ("--config", small, "--rpc", endpoint.url, "--out", tmp_path / "r.json")
    for arguments, environment in (
        (("--key-file", plain), {}),
        (("--key-file", store, "--password-file", password), {}),
        ((), {KEY_VARIABLE: one.key.hex()}),
    ):
        run = plumbline(*base, *arguments, cwd=tmp_path, **environment)
        assert run.returncode == 0, run.stderr
        assert read_record(tmp_path / "r.json").owner == one.address


def test_check_connects_to_nothing(tmp_path: Path) -> None:
    for config in (LOCAL, SEPOLIA):
        run = plumbline("--config", config, "--check", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert "config_hash" in run.stdout
    assert os.listdir(tmp_path) == []


def test_refusals(
    endpoint: Node, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every refusal: non-zero, names what is wrong, leaves no record and sends nothing."""
    monkeypatch.chdir(tmp_path)
    with endpoint.rpc() as rpc:
        height = rpc.block_number()
    out = tmp_path / "r.json"
    to = ("--rpc", endpoint.url, "--out", out)
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(spoiled({"cash.decimals": 77}, small_config())))
    owned = tmp_path / "owned.json"
    owned.write_text(json.dumps(spoiled({"deployer": key(3).address}, small_config())))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(spoiled({"chain_ids": [1337]}, small_config())))
    broken_key, wrong_password = tmp_path / "broken", tmp_path / "wrong"
    broken_key.write_text(SECRET)
    wrong_password.write_text("nope")
    store = tmp_path / "store.json"
    store.write_text(json.dumps(Account.encrypt(key(1).key, "right", iterations=2)))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases: list[tuple[tuple[Any, ...], dict[str, str], tuple[str, ...]]] = [
            (("--config", bad, *to), {}, ("cash.decimals", "[0, 18]")),
            (("--config", tmp_path / "none.toml", *to), {}, ("cannot be read",)),
            (("--config", small, "--out", out), {}, ("exactly one of --rpc",)),
            (("--config", other, *to), {}, ("expected 1337, got 31337",)),
            (("--config", owned, *to), {}, ("deployer", key(3).address)),
            (("--config", small, "--rpc", "http://127.0.0.1:1"), {}, ("refused",)),
            (("--config", small, "--rpc", "ftp://x"), {}, ("ftp://x",)),
            (
                ("--config", small, "--node", "anvil", "--port", port),
                {},
                (f"port {port}", "in use"),
            ),
            (("--config", small, "--node", "geth"), {}, ("geth", "anvil")),
            (("--config", SEPOLIA, "--node", "anvil"), {}, ("local = true",)),
            (("--config", SEPOLIA, *to), {}, (KEY_VARIABLE,)),
            (("--config", SEPOLIA, *to, "--account", key(0).address), {}, ("11155111", "31337")),
            (("--config", small, *to, "--key-file", broken_key), {}, ("not a private key",)),
            (("--config", small, *to), {KEY_VARIABLE: SECRET}, ("not a private key", KEY_VARIABLE)),
            (("--config", small, *to), {KEY_VARIABLE: "0x" + "0" * 64}, ("not a private key",)),
            (("--config", small, *to), {KEY_VARIABLE: "0x" + "7" * 64}, ("no balance",)),
            (("--config", small, *to, "--key-file", store), {}, ("--password-file",)),
            (
                ("--config", small, *to, "--key-file", store, "--password-file", wrong_password),
                {},
                ("wrong password",),
            ),
            (
                ("--config", small, *to, "--account", key(2).address),
                {KEY_VARIABLE: key(1).key.hex()},
                ("--account", key(1).address),
            ),
            (
                ("--config", small, *to, "--account", "0x" + "12" * 20),
                {},
                ("not unlocked",),
            ),
            (("--config", small, *to, "--account", "0x12"), {}, ("--account", "40 hex digits")),
        ]
        for arguments, environment, expected in cases:
            run = inside(*arguments, **environment)
            assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
            refused(run.exit_code, run.stderr, *expected)
            assert "5ec7" not in run.stderr + run.stdout  # no secret in any message
            assert not out.exists() and not (tmp_path / "deployments").exists()
    with endpoint.rpc() as rpc:
        assert rpc.block_number() == height


def test_a_record_is_not_overwritten_on_a_public_chain(tmp_path: Path, endpoint: Node) -> None:
    """Where `local = true` is absent, an existing record stops the deployment before it starts."""
    record = tmp_path / "sepolia.json"
    record.write_text("precious")
    run = plumbline("--config", SEPOLIA, "--rpc", endpoint.url, "--out", record, cwd=tmp_path)
    refused(run.returncode, run.stderr, "a record exists")
    assert record.read_text() == "precious"


def test_errors_are_json_too(tmp_path: Path, small: Path) -> None:
    file = tmp_path / "result.json"
    arguments = ("--config", small, "--rpc", "http://127.0.0.1:1", "--json", file)
    run = plumbline(*arguments, cwd=tmp_path)
    refused(run.returncode, run.stderr, "refused")
    result = json.loads(file.read_text())
    assert result["ok"] is False and result["error"] == "TransportError"


def test_brownie_is_imported_only_where_a_network_is_attached() -> None:
    """Importing everything of `risk.deploy` must neither need nor load Brownie."""
    code = "import sys, risk.deploy.brownie_tasks, risk.deploy.cli; print('brownie' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr
