"""The learnt volatility forecast: accepted where there is something to learn, else rejected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.quant.data import PriceTable, read_prices
from risk.quant.errors import FitError, QuantError
from risk.quant.forecast_ml import (
    DECAYS,
    LAGS,
    Model,
    Settings,
    bands,
    daily,
    diebold_mariano,
    features,
    forecast,
    judge,
    qlike_losses,
    walk_forward,
)
from risk.quant.generate import generate
from risk.quant.volatility import ewma_variance, qlike

Floats = NDArray[np.float64]
MODELS: tuple[Model, ...] = ("ridge", "boosting")
DAYS = 560


def series(kind: str, seed: int, days: int = DAYS, assets: int = 2) -> PriceTable:
    """`planted`: five quiet days and two wild ones every week, which EWMA cannot see coming;
    `noise`: independent normal returns, about which nothing can be known."""
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    sd = 0.02 * (np.where(day % 7 < 2, 2.2, 0.8) if kind == "planted" else np.ones(days))
    moves = rng.standard_normal((days * 24, assets)) * np.repeat(sd, 24)[:, None] / np.sqrt(24)
    close = 100.0 * np.exp(np.vstack([np.zeros(assets), np.cumsum(moves, axis=0)]))
    times = 1_704_067_200 + 3600 * np.arange(days * 24 + 1)
    return PriceTable(tuple("ABCDEF"[:assets]), times, {"close": close})


# ----------------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize("model", MODELS)
def test_a_planted_pattern_is_accepted(model: Model) -> None:
    table = series("planted", 1)
    found = forecast(table, Settings(model=model))
    assert found.accepted, found.reasons
    assert found.method == model
    assert found.days == DAYS - max(LAGS) - 240 - 60
    for j in found.judgements:
        assert j.challenger.qlike < 0.6 * j.ewma.qlike
        assert j.challenger.coverage == pytest.approx(0.95, abs=0.03)
        assert min(j.ewma.coverage_by_bin) < 0.93, "EWMA is short before the wild days"
        assert j.challenger.coverage_error < j.ewma.coverage_error
    # the day after the table: DAYS % 7 == 0, so a wild one; the truth is 0.044
    assert found.next_sigma == pytest.approx(np.full(2, 0.044), rel=0.2)
    assert json.loads(json.dumps(found.to_json()))["accepted"] is True


@pytest.mark.parametrize(
    ("model", "seed"), [("ridge", 0), ("ridge", 1), ("ridge", 2), ("boosting", 0)]
)
def test_pure_noise_is_rejected(model: Model, seed: int) -> None:
    table = series("noise", seed)
    found = forecast(table, Settings(model=model))
    assert not found.accepted
    assert any("QLIKE not significantly lower" in why for why in found.reasons)
    assert found.method == f"EWMA {DECAYS[-1]:g} a day"
    assert found.next_sigma == pytest.approx(np.sqrt(daily(table).ewma[-1, :, -1]))


def test_generated_prices_reject_it() -> None:
    """The generator's clusters are GARCH, which EWMA already follows."""
    found = forecast(generate(7, 24 * 520), Settings(model="ridge"))
    assert not found.accepted
    assert all(j.qlike_test.p_value > 0.01 for j in found.judgements)


def test_real_prices_give_a_verdict_with_reasons(crypto_file: Path) -> None:
    """QLIKE falls by a fifth, significantly; the band is not significantly better: rejected."""
    found = forecast(read_prices(crypto_file), Settings(model="ridge"))
    assert found.days >= 365
    for j in found.judgements:
        assert j.qlike_test.p_value < 0.01
        assert j.challenger.qlike < 0.9 * j.ewma.qlike
        assert j.challenger.coverage_error < j.ewma.coverage_error
        assert j.quantile_test.p_value > 0.05
    assert not found.accepted
    assert all("quantile score" in why for why in found.reasons)


@pytest.mark.parametrize("short", ["qlike", "bins", "kupiec", "none"])
def test_each_condition_alone_rejects(short: str) -> None:
    """A truth of two levels, an EWMA that says the mean, a challenger that is wrong in one way."""
    rng = np.random.default_rng(1)  # 55 of 60 seeds pass "none"
    days, settings = 1000, Settings(burn=200)
    level = np.where(rng.random((days, 1)) < 0.5, 0.25, 1.75)
    moves = np.sqrt(level) * rng.standard_normal((days, 1))
    realised = level * rng.chisquare(24, (days, 1)) / 24
    flat = np.ones_like(level)
    challenger = level
    if short == "qlike":  # right order, wrong level: the band scales it away, QLIKE does not
        challenger = 20.0 * level
    elif short == "bins":
        challenger = flat * np.exp(0.01 * rng.standard_normal(level.shape))
        realised = challenger * rng.chisquare(24, level.shape) / 24
        moves = rng.standard_normal(level.shape)
    elif short == "kupiec":
        moves[settings.burn :] *= np.where(np.arange(days - 200) > 50, 1.6, 1.0)[:, None]
    reasons = judge(realised, moves, challenger, flat, "flat", settings).reasons
    if short == "none":
        assert reasons == ()
        return
    wanted = {"qlike": "QLIKE", "bins": "score not", "kupiec": "is rejected (Kupiec"}[short]
    assert any(wanted in why for why in reasons), reasons
    if short in ("qlike", "kupiec"):
        assert len(reasons) == 1


# ------------------------------------------------------------------------------------ no look-ahead


@pytest.mark.parametrize("model", MODELS)
def test_forecasts_do_not_see_the_future(model: Model) -> None:
    table, settings = series("planted", 3, days=200), Settings(model=model, train=100)
    close = table.close.copy()
    change = (max(LAGS) + 100 + 30) * 24  # from the day of the second fit on
    rng = np.random.default_rng(0)
    close[change + 1 :] *= np.exp(
        np.cumsum(0.05 * rng.standard_normal(close[change + 1 :].shape), 0)
    )
    other = PriceTable(table.assets, table.times, {"close": close})
    one, two = walk_forward(daily(table), settings), walk_forward(daily(other), settings)
    assert np.array_equal(one[:31], two[:31])
    assert not np.allclose(one[31], two[31], rtol=0.05)


def test_bands_do_not_see_their_own_day() -> None:
    rng = np.random.default_rng(2)
    moves, variance = rng.standard_normal((150, 2)), np.full((150, 2), 0.7)
    one = bands(moves, variance, 0.9, 50)
    moves[80] = 100.0
    two = bands(moves, variance, 0.9, 50)
    assert np.array_equal(one[:31], two[:31])
    assert (two[31:] >= one[31:]).all()
    assert one[0] == pytest.approx(np.full(2, np.quantile(np.abs(rng_moves(2)[:50]), 0.9)))


def rng_moves(seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((150, 2))


def test_days_and_features_by_hand() -> None:
    table = series("noise", 5, days=60)
    d = daily(table)
    returns = np.diff(np.log(table.close), axis=0)
    assert d.realised.shape == (60, 2)
    assert d.realised[17] == pytest.approx((returns[17 * 24 : 18 * 24] ** 2).sum(axis=0))
    assert d.moves[17] == pytest.approx(np.log(table.close[18 * 24] / table.close[17 * 24]))
    assert d.ended[17] == table.times[18 * 24]
    start = (returns[: 30 * 24] ** 2).mean(axis=0)
    path = ewma_variance(returns**2, DECAYS[1] ** (1 / 24), start)
    assert d.ewma[18, :, 1] == pytest.approx(24 * path[18 * 24])
    x = features(d)
    assert np.isnan(x[: max(LAGS)]).all()
    assert np.isfinite(x[max(LAGS) :]).all()
    assert x[40, :, 1] == pytest.approx(
        np.log(d.realised[33:40].mean(axis=0)) - np.log(d.ewma[40, :, -1])
    )


# ------------------------------------------------------------------------------------------- tests


def test_diebold_mariano_against_a_second_computation() -> None:
    """statsmodels' regression on a constant with the same Bartlett weights."""
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(8)
    gap = np.convolve(rng.standard_normal(405), [1.0, 0.6, 0.3], "valid") - 0.2
    got = diebold_mariano(gap, np.zeros_like(gap))
    kernel = {"maxlags": got.lags, "use_correction": False}
    fitted = sm.OLS(gap, np.ones(gap.size)).fit(cov_type="HAC", cov_kwds=kernel)
    assert got.lags == 5
    assert got.statistic == pytest.approx(float(fitted.tvalues[0]) * np.sqrt(402 / 403), rel=1e-9)
    assert got.mean == pytest.approx(gap.mean())
    assert got.p_value < 0.05
    assert diebold_mariano(np.zeros_like(gap), gap).p_value == pytest.approx(1.0 - got.p_value)


def test_diebold_mariano_rejects_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    p = [diebold_mariano(*rng.standard_normal((2, 300))).p_value for _ in range(600)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)  # three standard errors
    same = rng.standard_normal(50)
    assert diebold_mariano(same, same).p_value == 1.0


def test_qlike_losses_have_the_known_mean() -> None:
    rng = np.random.default_rng(3)
    seen, said = rng.chisquare(5, 100), rng.chisquare(5, 100)
    assert qlike_losses(seen, said).mean() == pytest.approx(qlike(seen, said))
    assert qlike_losses(seen, seen) == pytest.approx(np.zeros(100))


# ----------------------------------------------------------------------------------------- refusals


def test_refusals() -> None:
    table = series("noise", 1, days=300)
    with pytest.raises(FitError, match="days to judge on; at least 120"):
        forecast(table, Settings(model="ridge"))
    with pytest.raises(FitError, match="too few for 400 days of training"):
        forecast(table, Settings(model="ridge", train=400))
    with pytest.raises(FitError, match="10 whole days"):
        daily(table.rows(0, 241))
    with pytest.raises(QuantError, match="hourly prices are expected"):
        daily(replace(table, step_seconds=60))
    with pytest.raises(QuantError, match="unknown model"):
        forecast(table, Settings(model="oracle", train=60))  # type: ignore[arg-type]
