"""The hook in the client and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from risk.chain.rpc import OBSERVER, Rpc
from risk.solcov import command
from risk.solcov.collect import EFFORT, FOLDER, environment
from risk.solcov.command import ReportOptions, RunOptions, report_command, run_command
from risk.solcov.store import Writer
from tests.solcov.hook import seen
from tests.solcov.sample import compiled


class Echo:
    """A transport that answers every request with its method."""

    endpoint = "echo"

    def exchange(self, payload: bytes) -> bytes:
        return b'{"jsonrpc":"2.0","id":1,"result":"0x7"}'

    def close(self) -> None:
        pass


def test_the_observer_sees_every_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    seen.clear()
    monkeypatch.delenv(OBSERVER, raising=False)
    assert Rpc(Echo()).observer is None
    monkeypatch.setenv(OBSERVER, "tests.solcov.hook:factory")
    client = Rpc(Echo())
    assert client.block_number() == 7
    ((request, answer),) = seen
    assert request["method"] == "eth_blockNumber"
    assert answer["result"] == "0x7"


def test_the_environment_of_a_run(tmp_path: Path) -> None:
    variables = environment(tmp_path, 2.0)
    module, _, name = variables[OBSERVER].partition(":")
    assert (module, name) == ("risk.solcov.collect", "watch")
    assert variables[FOLDER] == str(tmp_path)
    assert variables[EFFORT] == "2.0"


def test_commands_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "compile_project", lambda root: compiled())
    monkeypatch.setattr(command, "project_root", lambda: tmp_path)
    assert report_command(ReportOptions(None, None, None, None)) == 2
    assert "no coverage of these sources" in capsys.readouterr().err
    assert run_command(RunOptions(None, None)) == 2
    assert "nothing to run" in capsys.readouterr().err


def test_report_judges_thresholds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "compile_project", lambda root: compiled())
    monkeypatch.setattr(command, "project_root", lambda: tmp_path)
    one = next(u for u in compiled().units if (u.name, u.kind) == ("B", "runtime"))
    Writer(tmp_path / command.DATA).hits(one.key, one.ranges, [])
    lcov, json = tmp_path / "out.info", tmp_path / "out.json"
    assert report_command(ReportOptions(json, lcov, 1.0, 0.0)) == 0
    out = capsys.readouterr().out
    assert "Sample.sol" in out and "s += i" in out  # the table and what was missed
    assert lcov.read_text().endswith("end_of_record\n")
    assert '"lines_hit"' in json.read_text()
    assert report_command(ReportOptions(None, None, 98.0, 95.0)) == 1
    errors = capsys.readouterr().err
    assert "failed: lines: " in errors and "failed: branches: " in errors
