"""What ``plumbline keeper …`` says about a failure, and that it leaves nothing behind where an
input is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risk.errors import PlumblineError
from risk.keeper.commands import drill_command, guarded, run_command, status_command
from risk.keeper.config import KeeperConfig
from risk.keeper.errors import ConfigError, KeyError_, StateError, Transient
from tests.keeper.test_keeper_cli import written

LOG = {"log_file": "state/keeper.log"}


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (ConfigError("[chain] id: odd"), "error: [chain] id: odd", 2),
        (KeyError_("key: no such file"), "error: key: no such file", 3),
        (StateError("corrupt"), "error: corrupt", 7),
        (Transient("no head"), "error: no head", 75),
        (PlumblineError("a message"), "error: a message", 1),
        (FileNotFoundError(2, "No such file", "drill.json"), "error: drill.json: No such file", 1),
        (ConnectionResetError(104, "reset by peer"), "error: reset by peer", 1),
        (OSError("without a number"), "error: without a number", 1),
        (ValueError("may hold anything"), "error: unexpected ValueError, see the log", 1),
    ],
)
def test_a_failure_is_one_line(
    tmp_path: Path, error: Exception, line: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same form as everywhere else: no class, no empty place."""

    def body(config: KeeperConfig) -> int:
        raise error

    assert guarded(written(tmp_path), body) == code
    assert capsys.readouterr().err == line + "\n"


def left(folder: Path) -> set[str]:
    """Everything but what the operator wrote."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*")} - {"keeper.toml", "key", "xdg"}


@pytest.mark.parametrize(
    ("sections", "live", "code", "named"),
    [
        ({"vault": {"record": "no.json"}}, False, 2, "no.json"),
        ({"vault": {"record": "no.json"}}, True, 2, "no.json"),
        ({"signer": {"secret_file": "no"}}, True, 3, "no: No such file"),
        ({"signer": {"keystore": "no"}}, True, 3, "no: cannot be read"),
        ({"signer": {"keystore": "k", "password_file": "no"}}, True, 3, "no: No such file"),
        ({"signer": {"keystore": "k", "password_env": "NOT_SET"}}, True, 3, "NOT_SET is not set"),
        ({"signer": {"secret_file": None}}, True, 3, "names no keystore"),
    ],
)
def test_nothing_is_made_before_the_inputs_are_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sections: dict[str, dict[str, Any]],
    live: bool,
    code: int,
    named: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    given: dict[str, dict[str, Any]] = {"state": LOG, **sections}
    if "vault" in given:
        given["vault"] = {"address": None, "deployed_block": None, **given["vault"]}
    else:
        given["signer"] = {"secret_file": None, **given["signer"]}
    path = written(tmp_path, **given)
    assert run_command(path, live=live) == code
    assert named in capsys.readouterr().err
    assert left(tmp_path) == set() and not (tmp_path / "xdg").exists()
    if "vault" in sections:
        assert drill_command(path, shocks=[], block=None, json=None) == 2
        assert status_command(path, json=False) == 2
        assert left(tmp_path) == set()


def test_a_dry_run_needs_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its inputs are there, so it has a log and a state."""
    path = written(tmp_path, state=LOG, signer={"secret_file": "no"})
    assert run_command(path, live=False) == 75
    assert "no usable chain" in capsys.readouterr().err
    assert (tmp_path / "state" / "keeper.log").exists()
