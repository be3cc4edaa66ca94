"""How the command line is put together: files, shared options, errors of one form."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.deployment import chosen_assets
from risk.cli.main import app
from risk.cli.options import exits
from risk.cli.output import guarded
from risk.deploy.config import load_config
from risk.deploy.errors import ConfigError
from risk.errors import PlumblineError

ROOT = project_root()
CLI = ROOT / "risk" / "cli"
LOCAL = ROOT / "configs" / "local.toml"
MOST_LINES = 400


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_no_file_grows_too_long() -> None:
    lengths = {p.name: len(p.read_text().splitlines()) for p in CLI.glob("*.py")}
    assert "main.py" in lengths
    assert not {name: n for name, n in lengths.items() if n >= MOST_LINES}


def test_no_option_is_defined_twice() -> None:
    """An alias of one name in two files is a copy, and copies drift apart."""
    aliases: Counter[str] = Counter()
    for path in sorted(CLI.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and "typer.Option" in ast.unparse(node.value):
                aliases.update(t.id for t in node.targets if isinstance(t, ast.Name))
    assert {"Json", "Seed", "Workers", "Data"} <= aliases.keys()
    copied = {name for name, count in aliases.items() if count > 1}
    assert copied <= {"Config"}, "the keeper's file and the mutation's file are two things"


def test_exit_codes_in_words() -> None:
    assert exits("good") == "Exit codes: 0 good; 2 wrong use, or the run failed."
    assert exits("good", "bad", "worse") == "Exit codes: 0 good; 1 bad; 2 worse."


def test_assets_of_a_configuration(tmp_path: Path) -> None:
    names = ",".join(u.name for u in load_config(LOCAL).underlyings)
    assert chosen_assets(None, LOCAL) == names
    assert chosen_assets("BTC", LOCAL) == "BTC"
    assert chosen_assets(None, None) is None
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        chosen_assets(None, tmp_path / "nowhere.toml")


def test_the_configuration_chooses_the_prices(tmp_path: Path) -> None:
    file = tmp_path / "var.json"
    arguments = ("var", "--config", str(LOCAL), "--paths", "1000", "--repetitions", "20")
    code, out, progress = call(*arguments, "--json", str(file))
    assert code == 0, progress
    deltas = json.loads(file.read_text())["book"]["deltas"]
    assert list(deltas) == [u.name for u in load_config(LOCAL).underlyings]
    assert "VaR" in out
    assert "no --data: generated prices" in progress
    assert "no --data" not in out


@pytest.mark.parametrize("command", ["calibrate", "var", "backtest", "efficiency", "recommend"])
def test_a_configuration_that_is_none_is_refused_before_any_work(
    command: str, tmp_path: Path
) -> None:
    file, wrong = tmp_path / "out.json", tmp_path / "nowhere.toml"
    code, out, said = call(command, "--config", str(wrong), "--json", str(file))
    assert code == 2
    assert said.startswith(f"error: {wrong}")
    assert not out
    assert not file.exists()


def test_an_unknown_command_is_wrong_use() -> None:
    code, _, said = call("calibrat")
    assert code == 2
    assert "calibrat" in said


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PlumblineError("a message"), "error: a message"),
        (FileNotFoundError(2, "No such file", "prices.csv"), "error: prices.csv: No such file"),
        (ConnectionResetError(104, "reset by peer"), "error: reset by peer"),
        (OSError("without a number"), "error: without a number"),
    ],
)
def test_a_failure_is_one_line_on_stderr_and_exit_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> int:
        raise error

    assert guarded(body) == 2
    said = capsys.readouterr()
    assert said.err == line + "\n"
    assert not said.out


def test_a_bug_is_not_hidden() -> None:
    def breaks() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(breaks)
