"""`plumbline diff` from one end to the other, on the example and on the example mended."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from risk.cli.diff import FORMATS, Options, diff_command, list_command
from risk.diff.runner import Plan
from tests.diff.share_pool import EXAMPLE, mended_copy

PLAN = Plan(seed=1, cases=0, sequences=12, actions=24, workers=1)


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    """The example without its fault."""
    return mended_copy(tmp_path)


def test_a_fault_becomes_files_to_paste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures = tmp_path / "findings", tmp_path / "run.json"
    options = Options(str(EXAMPLE / "adapter.py"), plan=PLAN, json=figures, out=out)
    assert diff_command(options) == 1
    assert json.loads(figures.read_text())["mismatches"] > 0
    kinds = sorted(path.name.rsplit(".", 1)[-1] for path in out.iterdir())
    assert kinds == ["html", "json", "py", "sarif", "sol", "txt"] and len(FORMATS) == 6
    printed = capsys.readouterr().out
    assert re.search(r"2 actions of \d+, 1 instruments", printed)
    assert "chain - model" in printed and "hint:" not in printed
    again = re.search(
        r"again: plumbline diff (\S+) --engine revm --seed 1 --only-sequence (\d+)", printed
    )
    assert again is not None and again[1].endswith("share_pool/adapter.py")
    alone = Plan(seed=1, cases=0, actions=24, workers=1, only_sequence=int(again[2]))
    assert diff_command(Options(str(EXAMPLE / "adapter.py"), plan=alone, out=tmp_path / "b")) == 1


def test_agreement_writes_a_report_and_no_finding(mended: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "findings", tmp_path / "run.html"
    options = Options(str(mended), plan=PLAN, out=out, report=page)
    assert diff_command(options) == 0
    assert not out.exists()
    text = page.read_text()
    assert "0 mismatches" in text and "Amounts drawn" in text and "InsufficientShares" in text
    assert "http://" not in text and "https://" not in text and "<script" not in text


@pytest.mark.chain
def test_guided(mended: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, figures = tmp_path / "corpus", tmp_path / "run.json"
    options = Options(
        str(mended), "node", plan=PLAN, json=figures, corpus=corpus, guided_seconds=2.0
    )
    assert diff_command(options) == 0
    seen = json.loads(figures.read_text())
    assert seen["corpus"] == len(list(corpus.iterdir())) > 0 and seen["program_counters"] > 300
    faulty = Options(
        str(EXAMPLE / "adapter.py"), "node", plan=PLAN, out=tmp_path / "f", guided_seconds=60.0
    )
    assert diff_command(faulty) == 1
    assert "shrinking" in capsys.readouterr().err
    assert len(list((tmp_path / "f").iterdir())) == 6


def test_the_built_in_targets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_command() == 0
    assert {"aave", "morpho", "yield_v2"} <= set(capsys.readouterr().out.split())
