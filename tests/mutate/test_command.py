"""``plumbline mutate``: what it prints and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risk.cli import mutate
from risk.mutate import journal
from risk.mutate.campaign import generate
from risk.mutate.config import load_config
from risk.mutate.worker import Verdict
from tests.mutate.conftest import write_bank

CONFIG = """
[scope]
include = ["src/*"]

[compile]
soljson = "{soljson}"
folders = ["src"]
evm_version = "shanghai"
remappings = []
optimizer = {{ enabled = true }}

[[stage]]
name = "suite"
kind = "command"
command = ["true"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project as the one the command works on."""
    from risk.chain import node

    soljson = node.project_root() / "node_modules" / "solc" / "soljson.js"
    root = write_bank(tmp_path)
    (root / "configs").mkdir()
    (root / "configs" / "mutation.toml").write_text(CONFIG.format(soljson=soljson))
    monkeypatch.setattr(node, "project_root", lambda: root)
    return root


def test_show_and_report(project: Path) -> None:
    known, mutants = generate(project, load_config(project / "configs" / "mutation.toml"))
    chosen = [m for m in mutants if m.original == "30"]
    path = project / "build" / "mutation" / "seed-1.jsonl"
    for mutant, name in zip(chosen, ("killed", "survived", "stillborn"), strict=False):
        entry = journal.entry(
            mutant, Verdict(name, "suite", "seen", 1.0), known.sources[mutant.file]
        )
        journal.append(path, entry)
    run = CliRunner()
    file = project / "show.json"
    shown = run.invoke(mutate.app, ["show", chosen[0].id[:8], "--json", str(file)])
    assert shown.exit_code == 0
    (row,) = json.loads(file.read_text())
    assert (row["id"], row["verdict"], row["stage"]) == (chosen[0].id, "killed", "suite")
    assert "-    uint256 public constant FEE = 30;" in row["diff"]
    assert "-    uint256 public constant FEE = 30;" in shown.stdout
    assert "killed suite seen" in shown.stdout
    nobody = run.invoke(mutate.app, ["show", "zz"])
    assert nobody.exit_code == 2
    markdown = project / "report.md"
    report = run.invoke(mutate.app, ["report", "--markdown", str(markdown)])
    assert report.exit_code == 1  # one lives without a decision
    assert "1 of 2 killed, 50.0 %; 1 without a decision" in report.stdout
    assert f"### {chosen[1].id}: constant, src/Bank.sol:" in markdown.read_text()


def test_help_is_quick_and_says_what_there_is() -> None:
    code = "from risk.cli.mutate import app; import sys; assert 'numpy' not in sys.modules; "
    code += "assert 'risk.mutate.campaign' not in sys.modules; app()"
    run = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert all(word in run.stdout for word in ("run", "report", "show"))
