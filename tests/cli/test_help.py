"""``--help`` of every command: cheap, without heavy imports, whole; options alike everywhere.

The commands come from the program's own tree, so a new one is judged without being named here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risk.chain.node import project_root
from risk.cli.main import app
from tests.support.command_tree import Node, commands, nodes

ROOT = project_root()
LIMIT = 0.5  # seconds of user and system time
TERMINAL = 80  # columns; a short help must not be cut there

# Packages of a command's work, none of them needed to say what it does.
HEAVY = (
    "arch",
    "brownie",
    "cvxpy",
    "eth_abi",
    "eth_account",
    "jinja2",
    "matplotlib",
    "mpmath",
    "numpy",
    "polars",
    "pyrevm",
    "scipy",
    "sklearn",
    "web3",
)

# Without `--json FILE`, each with its reason.
NO_JSON_FILE = {
    "keeper run": "runs until stopped; its log is JSON already",
    "keeper status": "prints: --json is a flag, one object on stdout",
    "keeper resume": "asks a running keeper, and has no result",
    "watch": "prints: --json is a flag, one object a line on stdout",
    "solcov run": "collects only; `solcov report --json` has the result",
}
RISK = ("calibrate", "var", "backtest", "stress", "efficiency", "recommend", "report")


def ids(found: Sequence[Node]) -> list[str]:
    return [node.name or "plumbline" for node in found]


every_node = pytest.mark.parametrize("node", nodes(), ids=ids(nodes()))
groups = [node for node in nodes() if node.group]
every_group = pytest.mark.parametrize("node", groups, ids=ids(groups))
every_command = pytest.mark.parametrize("node", commands(), ids=ids(commands()))


def helped(node: Node, out: Path) -> float:
    """Seconds of processor that a process of its own takes for the help of a command."""
    with out.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "risk.cli.main", *node.path, "--help"],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": str(TERMINAL), "TERM": "dumb"},
        )
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, out.read_text()
    return used.ru_utime + used.ru_stime


def test_the_tree_is_found() -> None:
    found = ids(nodes())
    assert len(found) == len(set(found))
    assert {"plumbline", "verify", "mutate", "mutate run", "bench soak", "keeper drill"} <= {*found}
    assert set(RISK) | set(NO_JSON_FILE) <= {*found}


@every_node
def test_help_is_under_half_a_second_of_processor_time(node: Node, tmp_path: Path) -> None:
    out = tmp_path / "help.txt"
    spent = helped(node, out)
    for _ in range(2):  # byte code was compiled, or the machine was busy: again
        if spent >= LIMIT:
            spent = min(spent, helped(node, out))
    text = out.read_text()
    assert text.splitlines()[0].startswith("Usage:")
    assert spent < LIMIT, f"{spent:.2f} s"


def test_no_help_imports_anything_heavy() -> None:
    """All in one fresh process; the first command that imports a heavy package is named."""
    script = """
import sys
from typer.testing import CliRunner
from risk.cli.main import app
from tests.support.command_tree import nodes

runner, heavy, seen = CliRunner(), set(sys.argv[1:]), 0
for node in nodes():
    result = runner.invoke(app, [*node.path, "--help"])
    assert result.exit_code == 0, (node.path, result.output)
    found = sorted(heavy & {name.partition(".")[0] for name in sys.modules})
    assert not found, f"plumbline {node.name} --help imports {', '.join(found)}"
    seen += 1
print(seen)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, *HEAVY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == len(nodes())


@every_group
def test_short_help_is_not_cut(node: Node) -> None:
    """What a group lists of its commands fits into a narrow terminal."""
    widest = max(map(len, node.command.commands))
    for name, child in node.command.commands.items():
        short = child.get_short_help_str(TERMINAL - 2 - 6 - widest)
        assert short, name
        assert not short.endswith("..."), f"{name}: {short}"


@every_command
def test_help_says_the_exit_codes_and_every_option(node: Node) -> None:
    epilog = node.command.epilog or ""
    assert epilog.startswith("Exit codes: 0 "), node.name
    assert epilog.endswith(".")
    for parameter in node.parameters:
        assert parameter.help, f"{node.name} {parameter.name}"


@every_command
def test_paths_are_files_or_folders(node: Node) -> None:
    """The placeholder of an option says which, not just that it is a path."""
    shown = CliRunner().invoke(app, [*node.path, "--help"]).output
    assert re.findall(r"^ +--[a-z-]+ <path>", shown, re.M) == []


@every_command
def test_json_goes_to_a_file(node: Node) -> None:
    option = node.option("--json")
    if node.name in NO_JSON_FILE:
        assert option is None or option.is_flag, "then it is no exception any more"
        return
    assert option is not None, f"{node.name} has no --json, and no reason above"
    assert option.metavar == "FILE"
    assert option.help == "Write the result as JSON to FILE."


@every_command
def test_options_of_one_name_mean_the_same(node: Node) -> None:
    seed, config = node.option("--seed"), node.option("--config")
    if seed is not None:
        assert seed.help == "Same seed, same random choices."
    if node.name in RISK:
        assert config is not None
        assert config.help.startswith("Deployment configuration")


def test_only_the_risk_commands_that_need_no_configuration_have_none() -> None:
    """`replay` takes it from the file that it repeats."""
    replay = next(node for node in commands() if node.name == "replay")
    assert replay.option("--config") is None
    assert any("recommend --json" in (p.help or "") for p in replay.parameters)
