"""Rolling margins and their disclosure: against plain counting, the exact model, real prices."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from risk.cli.main import app
from risk.exact.margin import margin_engine
from risk.exact.params.risk_params import CollateralParams
from risk.exact.state import Collateral, Linear
from risk.quant import archetypes
from risk.quant.backtest import kupiec
from risk.quant.clearing import disclose, event
from risk.quant.data import PriceTable, read_prices
from risk.quant.errors import DataError, QuantError
from risk.quant.rolling_margin import NOTIONAL_USD, Rolling, hourly_changes, read, roll
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import make_book, value_changes
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.factors import Scale
from risk.quant.scenarios.fit import Plan as FitPlan
from risk.quant.scenarios.fit import ScenarioSet
from risk.quant.scenarios.rolling import Rolling as Plan
from risk.quant.scenarios.rolling import run

Floats = NDArray[np.float64]
KINDS = len(archetypes.ARCHETYPES)
SETTINGS = Settings(
    FitPlan(iterations=60, rounds=1, seed=3),
    training=500,
    linear=150,
    validation=400,
    adversaries=0,
)
PLAN = Plan(train_days=120, days=4, per_kind=2, update_days=2)
CAMPAIGN = "PLUMBLINE_CAMPAIGN"  # set: the run over the whole real history, two minutes


@pytest.fixture(scope="module")
def pair(market: PriceTable) -> PriceTable:
    return PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})


@pytest.fixture(scope="module")
def rolling(pair: PriceTable) -> Rolling:
    return roll(pair, SETTINGS, PLAN)


def made(loss: Floats, margin: Floats, per_kind: int = 2) -> Rolling:
    """A history with these losses and margins (D, 6·per_kind)."""
    days, count = loss.shape
    empty = np.ones((days, 1))
    return Rolling(
        dates=1_731_398_400 + 86_400 * np.arange(days),
        assets=("BTC",),
        archetypes=archetypes.ARCHETYPES,
        kinds=np.repeat(np.arange(KINDS), per_kind),
        price=empty,
        implied=empty,
        sigma=empty,
        scales=empty,
        sizes_usd=np.zeros((days, count, 1)),
        pnl_usd=-loss,
        worst_pnl_usd=-loss - 1.0,
        margin_usd=margin,
        scan_usd=margin / 2,
        initial_usd=margin * 1.2,
        margin_wad=tuple(int(m * 10**18) for m in margin.ravel()),
        about={},
    )


# ----------------------------------------------------------------------------------------- history


def test_agrees_with_the_calibration_backtest(pair: PriceTable, rolling: Rolling) -> None:
    history = run(pair, SETTINGS, PLAN)
    assert np.array_equal(history.times, rolling.dates)
    assert np.array_equal(history.kinds, rolling.kinds)
    assert rolling.loss_usd == pytest.approx(history.loss * NOTIONAL_USD, rel=1e-12)
    assert rolling.margin_usd == pytest.approx(history.mm * NOTIONAL_USD, rel=1e-12)
    assert rolling.scan_usd == pytest.approx(history.scan * NOTIONAL_USD, rel=1e-12)
    assert (rolling.margin_usd > 0.0).all()
    assert rolling.initial_usd == pytest.approx(1.2 * rolling.margin_usd, rel=1e-12)


def test_margins_do_not_see_the_future(pair: PriceTable, rolling: Rolling) -> None:
    row = int(np.searchsorted(pair.times, rolling.dates[2]))
    close = pair.close.copy()
    close[row + 1 :] *= np.array([0.7, 0.75])
    other = roll(PriceTable(pair.assets, pair.times, {"close": close}), SETTINGS, PLAN)
    known = 3 * rolling.kinds.size
    assert other.margin_wad[:known] == rolling.margin_wad[:known]
    assert other.margin_wad[known:] != rolling.margin_wad[known:]
    assert np.array_equal(other.pnl_usd[:2], rolling.pnl_usd[:2])
    assert (other.loss_usd[2] > other.margin_usd[2]).any(), "a crash of 30 % is an exception"


def test_profit_of_perps_is_units_times_the_move(pair: PriceTable, rolling: Rolling) -> None:
    seen = 0
    for d in range(rolling.days):
        day = rolling.market(d)
        row = int(np.searchsorted(pair.times, day.time))
        step = pair.close[row + factors.PERIOD] - pair.close[row]
        linear = np.flatnonzero(day.book.linear)
        perps = ~(day.sizes_usd[:, ~day.book.linear] != 0.0).any(axis=1)
        units = rolling.units(d)
        expected = units[:, linear] @ step[day.book.owner[linear]]
        assert rolling.pnl_usd[d, perps] == pytest.approx(expected[perps], rel=1e-9)
        assert np.abs(day.sizes_usd).sum(axis=1) == pytest.approx(NOTIONAL_USD)
        seen += int(perps.sum())
    assert seen >= rolling.days


def test_hourly_marks_end_at_the_realised_loss(pair: PriceTable, rolling: Rolling) -> None:
    f = factors.build(pair)
    row = int(np.searchsorted(pair.times, rolling.dates[1]))
    book = make_book(f.implied[row])
    path = hourly_changes(book, f, row)
    x, v = np.expm1(f.move[row : row + 1]), np.expm1(f.vol_move[row : row + 1])
    assert path[:, -1] == pytest.approx(value_changes(book, x, v, aged=True)[:, 0], abs=1e-12)
    assert path.shape == (book.size, factors.PERIOD)
    lowest = (rolling.sizes_usd[1] @ path).min(axis=1)
    assert rolling.worst_pnl_usd[1] == pytest.approx(np.minimum(lowest, rolling.pnl_usd[1]))
    assert (rolling.worst_pnl_usd <= rolling.pnl_usd).all()
    assert (rolling.worst_pnl_usd < rolling.pnl_usd).any()


def test_collateral_has_the_margin_of_the_perp_that_stands_for_it() -> None:
    """Archetypes hold collateral as part of the linear column: the same MM to a few wei."""
    book = make_book(np.array([0.5, 0.7]))
    shapes = np.vstack([-np.eye(2, 4) * 3.0, np.eye(2, 4) * 3.0])
    scenarios = ScenarioSet(shapes, np.ones(4), 4)
    scale = Scale(np.array([0.03, 0.04]), np.array([0.05, 0.05]))
    params = exact.quantised(scenarios, scale, exact.Policy())
    time, prices = 1_799_136_000, [60_000.0, 3_000.0]
    rows = archetypes.sample("collateral-heavy", book, 12, 5)
    state = exact.make_state(book, prices, time, params)
    net = exact.margins(rows, book, state, time, NOTIONAL_USD)
    listed = tuple(CollateralParams(u, 18, 500, 10**30, False) for u in range(2))
    state.params = replace(params, collaterals=listed)
    state.collaterals.extend(Collateral(11 + u, 18, u) for u in range(2))
    ids = exact.instruments(book, time)
    perps = [ids[int(j)] for j in np.flatnonzero(book.linear)]
    bought = [10 * exact.WAD, 300 * exact.WAD]
    for row, expected in zip(rows, net, strict=True):
        account = exact.account_of(row, book, state, ids, NOTIONAL_USD)
        held = {x.instrument: x.size_wad for x in account.linear}
        account.collateral = list(bought)
        account.linear = []
        for perp, units, price in zip(perps, bought, prices, strict=True):
            size = held.get(perp, 0) - units
            account.linear.append(Linear(perp, size, -(size * exact.price_wad(price) // exact.WAD)))
        got = margin_engine.compute(state, exact.ACCOUNT, account)
        # a wei of exposure is worth at most a lane of 4095; two roundings of it in each underlying
        assert abs(got.mm - expected.mm) <= 4 * 4096
        assert got.equity < got.mark_equity, "the haircut lowers equity, not the requirement"


def test_a_history_is_kept_to_the_wei(rolling: Rolling, tmp_path: Path) -> None:
    file = tmp_path / "kept" / "rolling.npz"
    rolling.write(file)
    again = read(file)
    assert again.margin_wad == rolling.margin_wad
    assert again.about == json.loads(json.dumps(rolling.about))
    assert np.array_equal(again.sizes_usd, rolling.sizes_usd)
    assert disclose(again) == disclose(rolling)
    bad = tmp_path / "bad.npz"
    bad.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"bad\.npz: is not a rolling margin file"):
        read(bad)


def test_too_short_a_history(pair: PriceTable) -> None:
    with pytest.raises(QuantError, match="no day left to test"):
        roll(pair, SETTINGS, replace(PLAN, train_days=500))


# -------------------------------------------------------------------------------------- disclosure


def test_disclosure_counts_as_one_does() -> None:
    rng = np.random.default_rng(1)
    loss = rng.standard_normal((400, 2 * KINDS))
    margin = np.full_like(loss, 2.2)
    loss[7, 5], margin[7, 5] = 50.0, 10.0
    found = disclose(made(loss, margin), alpha=0.99)
    calendar = found.rows[2]
    mine, held = loss[:, 4:6], margin[:, 4:6]
    beyond = (mine - held)[mine > held]
    assert (calendar.archetype, calendar.portfolios) == ("calendar", 2)
    assert calendar.observations == 800
    assert calendar.exceptions == beyond.size > 3
    assert calendar.days_with_exception == int((mine > held).any(axis=1).sum())
    assert calendar.coverage == pytest.approx(1.0 - beyond.size / 800)
    assert calendar.kupiec_p_value == pytest.approx(kupiec(800, beyond.size, 0.01).p_value)
    assert calendar.largest_exception_usd == pytest.approx(40.0)
    assert calendar.largest_exception_of_margin == pytest.approx(4.0)
    assert calendar.largest_exception_day == "2024-11-19"
    assert calendar.average_exception_usd == pytest.approx(beyond.mean())
    counts = (mine > held).sum(axis=0)
    assert calendar.single.exceptions == counts.max()
    assert calendar.single.kupiec_p_value == pytest.approx(kupiec(400, counts.max(), 0.01).p_value)
    assert found.rows[-1].archetype == "all"
    assert found.rows[-1].exceptions == sum(r.exceptions for r in found.rows[:-1])
    late = disclose(made(loss, margin), last_days=100)
    assert late.days == 100
    assert late.rows[-1].exceptions == int((loss[-100:] > margin[-100:]).sum())


def test_an_exception_is_strict_and_other_margins_can_be_judged() -> None:
    loss = np.ones((50, 2 * KINDS))
    even = made(loss, loss.copy())
    none = disclose(even).rows[-1]
    assert (none.exceptions, none.days_with_exception, none.single.exceptions) == (0, 0, 0)
    assert disclose(even, hourly=True).rows[-1].exceptions == loss.size
    assert disclose(even, loss - 1e-9).rows[-1].exceptions == loss.size
    without = disclose(even, np.zeros_like(loss))
    assert without.rows[0].largest_exception_of_margin == float("inf")
    assert json.loads(json.dumps(without.to_json(), allow_nan=False))["short"][0] == "directional"
    with pytest.raises(QuantError, match="margins have shape"):
        disclose(even, loss[:, 1:])


@pytest.mark.parametrize(
    ("exceptions", "verdict"), [(0, "dearer"), (8, "as stated"), (25, "short")]
)
def test_verdict_says_which_way_the_test_rejects(exceptions: int, verdict: str) -> None:
    loss, margin = np.zeros((400, 2 * KINDS)), np.ones((400, 2 * KINDS))
    loss[np.arange(exceptions) * 11, np.arange(exceptions) % 2] = 2.0
    found = disclose(made(loss, margin))
    assert found.rows[0].verdict == verdict
    assert found.rows[1].verdict == "dearer"
    assert ("directional" in found.short) == (verdict == "short")


def test_one_bad_portfolio_is_not_hidden_by_its_neighbours() -> None:
    """Eleven exceptions in 400 days of one portfolio of ten: pooled 11 of 4 000 looks ample."""
    loss, margin = np.zeros((400, 10 * KINDS)), np.ones((400, 10 * KINDS))
    loss[::30, 3] = 2.0
    found = disclose(made(loss, margin, per_kind=10)).rows[0]
    assert found.exceptions == 14
    assert found.kupiec_p_value < 0.05
    assert found.coverage > 0.99
    assert found.verdict == "short"
    assert found.single.portfolio == 3
    assert found.single.zone == "red"


def test_one_event(rolling: Rolling) -> None:
    loss, margin = np.zeros((5, 2 * KINDS)), np.full((5, 2 * KINDS), 10.0)
    loss[3, 2:4] = [12.0, 6.0]
    rows = event(made(loss, margin), "2024-11-15")
    assert (rows[1].exceptions, rows[1].loss_of_margin) == (1, pytest.approx(1.2))
    assert rows[0].exceptions == 0
    assert event(made(loss, margin), "2024-11-15", hourly=True)[1].loss_usd == 13.0
    with pytest.raises(QuantError, match="no margin period opens on 2001-01-01"):
        event(rolling, "2001-01-01")


# ----------------------------------------------------------------------------------------- command


def backtest(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["backtest", *arguments])
    return result.exit_code, result.output


def test_command_judges_a_kept_history(rolling: Rolling, tmp_path: Path) -> None:
    kept, target = tmp_path / "kept.npz", tmp_path / "out.json"
    rolling.write(kept)
    code, output = backtest("--load", str(kept), "--json", str(target))
    assert code == 0, output
    report = json.loads(target.read_text())
    assert [row["archetype"] for row in report["margin"]["rows"]] == [*archetypes.ARCHETYPES, "all"]
    assert report["margin"]["rows"] == json.loads(json.dumps(disclose(rolling).to_json()["rows"]))
    whole, part = report["sum_of_margins_usd"].split(".")
    assert int(whole + part) == sum(rolling.margin_wad)
    assert "delta-neutral" in output


def test_command_fails_where_coverage_is_short(tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    made(np.full((30, 2 * KINDS), 2.0), np.ones((30, 2 * KINDS))).write(kept)
    code, output = backtest("--load", str(kept))
    assert code == 1
    assert "at the end of the period: directional, " in output


def test_command_shows_one_event(tmp_path: Path) -> None:
    kept, target = tmp_path / "kept.npz", tmp_path / "out.json"
    loss, margin = np.zeros((30, 2 * KINDS)), np.ones((30, 2 * KINDS))
    loss[3, 0], loss[3, 2], margin[3, 2] = 2.0, 1.0, 0.0
    made(loss, margin).write(kept)
    code, output = backtest("--load", str(kept), "--event", "2024-11-15", "--json", str(target))
    assert code == 0, output
    rows = json.loads(target.read_text(), parse_constant=pytest.fail)["event"]["margin"]
    assert [row["exceptions"] for row in rows] == [1, 1, 0, 0, 0, 0]
    assert rows[0]["loss_of_margin"] == 2.0
    assert rows[1]["loss_of_margin"] is None
    for day, message in (("soon", "--event 'soon' is not a date"), ("2020-01-01", "no margin per")):
        code, output = backtest("--load", str(kept), "--event", day)
        assert (code, message in output) == (2, True)


def test_command_names_what_is_wrong(tmp_path: Path) -> None:
    bad, target = tmp_path / "bad.csv", tmp_path / "out.json"
    hours = [f"2024-01-{1 + i // 24:02d}T{i % 24:02d}:00:00Z,{100 + i}" for i in range(48)]
    bad.write_text("\n".join(["timestamp,BTC", *hours]) + "\n")
    code, output = backtest("--data", str(bad), "--json", str(target), "--save", f"{target}.npz")
    assert code == 2
    said = " ".join(output.split())
    assert "bad.csv, row 49, column 'timestamp': too short: ends after 48 rows" in said
    assert list(tmp_path.iterdir()) == [bad]


# -------------------------------------------------------------------------------------- real prices


def test_margin_over_the_crash_of_october_2025(crypto_file: Path) -> None:
    """A short run on real prices: 8 to 11 October, calibrated on the 120 days before."""
    table = read_prices(crypto_file)
    opening = int(np.searchsorted(table.times, 1_759_910_400))  # 2025-10-08T08:00Z
    first = opening - (30 + 120) * 24
    found = roll(table.rows(first, opening + 6 * 24), SETTINGS, replace(PLAN, days=4, per_kind=5))
    assert disclose(found).first_day == "2025-10-08"
    crash = {row.archetype: row for row in event(found, "2025-10-10")}
    quiet = {row.archetype: row for row in event(found, "2025-10-08")}
    assert crash["directional"].exceptions > 0, "the largest daily move of the year is not covered"
    assert crash["directional"].loss_of_margin < 3.0
    assert sum(row.exceptions for row in quiet.values()) == 0
    hourly = {row.archetype: row for row in event(found, "2025-10-10", hourly=True)}
    assert hourly["directional"].loss_of_margin > crash["directional"].loss_of_margin


@pytest.mark.slow
@pytest.mark.skipif(CAMPAIGN not in os.environ, reason=f"set {CAMPAIGN} for the whole history")
def test_whole_real_history(crypto_file: Path) -> None:
    """519 days with 10 October 2025: what docs/backtests.md states."""
    found = roll(read_prices(crypto_file))
    assert found.days >= 365
    end = disclose(found)
    assert end.first_day < "2025-10-10" < end.last_day
    assert len(end.rows) == KINDS + 1
    assert all(row.observations >= 5 * 365 for row in end.rows)
    assert end.short == ()
    for name in ("delta-neutral", "calendar", "short strangle"):
        row = next(r for r in end.rows if r.archetype == name)
        assert row.exceptions == 0
    assert {r.archetype for r in event(found, "2025-10-10") if r.exceptions} == {
        "directional",
        "collateral-heavy",
    }
    assert max(r.largest_exception_of_margin or 0.0 for r in end.rows) < 0.6
