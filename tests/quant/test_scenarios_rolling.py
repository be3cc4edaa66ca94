"""The rolling backtest, the certificate and the command: small, and against plain counting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from risk.cli.main import app
from risk.quant import archetypes
from risk.quant.backtest import kupiec
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.scenarios import factors
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.certificate import Evidence, certify
from risk.quant.scenarios.fit import Plan
from risk.quant.scenarios.rolling import History, Rolling, opening_rows, run, summary

SETTINGS = Settings(
    Plan(iterations=80, rounds=1, seed=3), training=700, linear=200, validation=600, adversaries=0
)
PLAN = Rolling(train_days=120, days=4, per_kind=1, update_days=2)


@pytest.fixture(scope="module")
def pair(market: PriceTable) -> PriceTable:
    return PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})


@pytest.fixture(scope="module")
def history(pair: PriceTable) -> History:
    return run(pair, SETTINGS, PLAN)


def test_days_open_at_eight_and_end_in_the_table(pair: PriceTable) -> None:
    f = factors.build(pair)
    rows = opening_rows(f, replace(PLAN, days=10_000))
    assert (f.times[rows] // 3600 % 24 == 8).all()
    assert np.diff(rows).tolist() == [24] * (len(rows) - 1)
    assert rows[0] >= f.first + 120 * 24
    assert rows[-1] + factors.PERIOD < len(f.times)
    with pytest.raises(QuantError, match="no day left"):
        opening_rows(f, replace(PLAN, train_days=400))


def test_margins_do_not_see_the_future(pair: PriceTable, history: History) -> None:
    """Prices after the third opening change: all its losses do, none of the margins up to it."""
    f = factors.build(pair)
    third = opening_rows(f, PLAN)[2]
    close = pair.close.copy()
    close[third + 1 :] *= 0.8
    other = run(PriceTable(pair.assets, pair.times, {"close": close}), SETTINGS, PLAN)
    assert np.array_equal(history.mm[:3], other.mm[:3])
    assert np.array_equal(history.scan[:3], other.scan[:3])
    assert np.array_equal(history.loss[:2], other.loss[:2])
    assert (history.loss[2] != other.loss[2]).all()
    assert (other.loss[2] > other.mm[2]).any(), "a crash of 20 % is an exception somewhere"


def test_shape_of_a_history(history: History) -> None:
    kinds = len(archetypes.ARCHETYPES)
    assert history.loss.shape == history.scan.shape == history.mm.shape == (4, kinds)
    assert (history.mm >= history.scan - 1e-12).all()
    assert (history.scan > 0.0).any()


def test_summary_counts_as_one_does() -> None:
    rng = np.random.default_rng(1)
    kinds = np.repeat(np.arange(6), 2)
    loss = rng.standard_normal((400, 12))
    mm = np.full((400, 12), 2.0)
    times = 1_700_000_000 + 86_400 * np.arange(400)
    got = summary(History(times, kinds, loss, mm / 2, mm, np.ones((400, 2))))
    row = got["archetypes"][3]
    ours = loss[:, 6:8]
    assert row["portfolios"] == 2
    assert row["mm"]["exceptions"] == int((ours > 2.0).sum())
    assert row["mm"]["largest_exception"] == pytest.approx(ours.max() - 2.0)
    assert row["mm"]["kupiec_p_value"] == pytest.approx(
        kupiec(800, int((ours > 2.0).sum()), 0.01).p_value
    )
    assert row["scan"]["days_with_exception"] == int((ours > 1.0).any(axis=1).sum())
    assert got["largest_scale_increase"] == 0.0


def test_certificate_is_complete_and_reproducible(pair: PriceTable) -> None:
    evidence = Evidence(portfolios=140, starts=2, holdout_days=40)
    first = certify(pair, SETTINGS, evidence)
    second = certify(pair, SETTINGS, evidence)
    assert json.dumps(first.report) == json.dumps(second.report)
    report = first.report
    exact = report["exact_scan"]["hold_out_portfolios"]
    assert exact["portfolios"] == 140
    assert exact["covered"] > 0.9
    assert report["scenarios"]["count"] == 64
    assert len(report["scenarios"]["weights_bps"]) == 64
    assert report["data"]["sha256"] == pair.sha256()
    assert report["exact_requirement"]["covered"] >= exact["covered"]
    assert set(report["adversary"]) == {
        "linear_scan",
        "requirement_of_3_percent_of_gross",
        "requirement_of_1_percent_of_gross",
        "all_instruments_requirement",
    }


def test_command_names_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    hours = np.arange(24 * 95) * 3600 + 1_704_067_200
    stamps = np.datetime_as_string(hours.astype("datetime64[s]"))
    rows = [f"{stamp}Z,{-2 if i == 70 else 1}" for i, stamp in enumerate(stamps)]
    bad.write_text("\n".join(["timestamp,BTC", *rows]) + "\n")
    target = tmp_path / "certificate.json"
    result = CliRunner().invoke(
        app, ["calibrate", "--data", str(bad), "--certificate", str(target)]
    )
    assert result.exit_code == 2
    assert "bad.csv" in result.output
    assert "BTC" in result.output
    assert not target.exists()
