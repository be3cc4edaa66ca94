"""``plumbline bench scan`` on a small book: agreement, figures, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from risk.cli import bench
from risk.vector import measure, sample
from risk.vector.market import MarketTable
from tests.vector.support import tame


def test_small_run_agrees_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "scan.json"
    sizes = ["--accounts", "400", "--model-accounts", "150", "--rescan-accounts", "600"]
    sizes += ["--lens-accounts", "0"]  # rows (a) to (c): tests/keeper/test_measure_rows.py
    done = CliRunner().invoke(bench.app, ["scan", *sizes, "--json", str(out)])
    report = json.loads(out.read_text())
    assert done.exit_code == (1 if report["failed"] else 0)
    assert report["book"]["instruments_listed"] >= 500
    assert report["book"]["underlyings"] >= 4
    assert report["book"]["no_account_repeated"] is True
    assert report["agreement"] == {
        "model_compared": 150,
        "model_differs": 0,
        "filter_compared": 400,
        "filter_differs": 0,
    }
    rows = report["rows"]
    assert {key: row["accounts"] for key, row in rows.items()} == {"d": 150, "e": 400, "f": 400}
    for row in rows.values():
        assert row["per_second"] == pytest.approx(row["accounts"] / row["seconds"])
    assert report["ratios"]["f/d"] > report["ratios"]["e/d"] > 1
    assert [m["differs"] for m in report["rescans"]] == [0, 0, 0]
    assert all(m["accounts"] == 600 and m["compared"] == 600 for m in report["rescans"])
    assert not [line for line in report["failed"] if "disagree" in line or "repeated" in line]


def test_a_missed_target_and_a_disagreement_are_said() -> None:
    rows = {
        "d": measure.Row("d", 1000, 1.0, 1.0),
        "e": measure.Row("e", 9000, 1.0, 1.0),
        "f": measure.Row("f", 10**6, 1.0, 1.0),
    }
    result = measure.Scan(rows, 1000, 2, 9000, 1, 0, 0)
    slow = measure.Move(10, 5, 0.5, 0.6, 1.1, 0, 0, 0, 5, 4)
    said = bench.failures(result, [slow], unique=False)
    assert said == [
        "3 accounts disagree",
        "an account is repeated",
        "(e) is 9.0 × (d), wanted 10 ×",
        "4 accounts disagree after a move of 10 ppm",
        "rescan after 10 ppm took 1.10 s",
    ]


def test_differences_are_counted() -> None:
    """The comparison itself can fail: a wrong market makes accounts differ."""
    state, table = tame(32)
    batch = sample.accounts(table, 300, seed=21)
    result = measure.scan(state, table, batch, 50, lambda _: None)
    assert (result.model_differs, result.filter_differs) == (0, 0)
    other = MarketTable.from_state(sample.move(state, 1, 300_000))
    assert measure.scan(state, other, batch, 50, lambda _: None).model_differs > 40


def test_repeated_accounts_are_seen() -> None:
    _, table = tame(32)
    batch = sample.accounts(table, 50, seed=2)
    assert measure.distinct(batch)
    assert not measure.distinct(type(batch).concat([batch, batch]))
