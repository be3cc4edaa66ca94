"""ES backtests: definitions by hand, published critical values, size and power."""

from __future__ import annotations

import numpy as np
import pytest

from risk.quant import backtest_es, parametric
from risk.quant.errors import FitError, QuantError


def test_statistics_by_hand() -> None:
    # alpha 0.75, 8 losses, two exceptions (3 and 5 above VaR 2), ES 4
    losses = [0.0, 1.0, 3.0, -2.0, 5.0, 2.0, 1.0, 0.0]
    got = backtest_es.es_statistics(losses, 2.0, 4.0, 0.75)
    assert got.z1 == pytest.approx(1.0 - (3 / 4 + 5 / 4) / 2)
    assert got.z2 == pytest.approx(1.0 - (3 / 4 + 5 / 4) / (8 * 0.25))
    assert got.minimally_biased == pytest.approx((4 - 2 - (1 + 3) / 0.25 / 8) / 4)
    quiet = backtest_es.es_statistics([0.0, 1.0], 2.0, 4.0, 0.75)
    assert (quiet.z1, quiet.z2) == (None, 1.0)


def test_statistics_do_not_depend_on_the_unit() -> None:
    losses = np.random.default_rng(0).standard_normal(500)
    one = backtest_es.es_statistics(losses, 1.2, 1.6, 0.9)
    two = backtest_es.es_statistics(1e6 * losses, 1.2e6, 1.6e6, 0.9)
    assert (two.z1, two.z2, two.minimally_biased) == pytest.approx(
        (one.z1, one.z2, one.minimally_biased), rel=1e-12
    )


def test_critical_value_of_z2() -> None:
    # Acerbi, Szekely (2014): Z2 at 2.5 %, T = 250, 5 % critical value -0.70 under normality.
    # Tolerance: half a unit of the last digit and 3 standard errors of 40 000 simulations (0.012).
    null = backtest_es.null_law(250, 0.975, simulations=40_000, seed=1)
    assert backtest_es.critical_value(null.z2) == pytest.approx(-0.70, abs=0.017)


@pytest.mark.parametrize("df", [None, 5.0])
def test_null_means_are_zero(df: float | None) -> None:
    null = backtest_es.null_law(250, 0.975, df=df, simulations=20_000, seed=2)
    for drawn in (null.z1, null.z2, null.minimally_biased):
        seen = drawn[~np.isnan(drawn)]
        assert abs(seen.mean()) < 4.0 * seen.std() / np.sqrt(seen.size)
    assert np.array_equal(
        null.z2, backtest_es.null_law(250, 0.975, df=df, simulations=20_000, seed=2).z2
    )


def test_size_and_power() -> None:
    rng = np.random.default_rng(3)
    null = backtest_es.null_law(250, 0.975, simulations=10_000, seed=4)
    fair, short = parametric.normal(1.0, 0.975), parametric.normal(0.75, 0.975)
    right, wrong = np.zeros(2), np.zeros(2)
    for losses in rng.standard_normal((400, 250)):
        for risk, rejected in ((fair, right), (short, wrong)):
            result = backtest_es.backtest_es(losses, risk.var, risk.es, null)
            rejected += [result.z2_p_value < 0.05, result.minimally_biased_p_value < 0.05]
    assert right / 400 == pytest.approx([0.05, 0.05], abs=0.033)  # 3 sd of 400 samples
    assert (wrong / 400 > 0.8).all()


def test_time_varying_scale_has_the_same_null() -> None:
    rng = np.random.default_rng(5)
    null = backtest_es.null_law(1000, 0.975, simulations=2_000, seed=6)
    sd = np.exp(np.sin(np.arange(1000) / 40.0))
    risk = parametric.normal(1.0, 0.975)
    losses = sd * rng.standard_normal(1000)
    result = backtest_es.backtest_es(losses, risk.var * sd, risk.es * sd, null)
    assert min(result.z2_p_value, result.minimally_biased_p_value) > 0.05
    assert result.average_ratio == pytest.approx(1.0, abs=0.15)
    assert result.observations == 1000
    blind = backtest_es.backtest_es(losses, risk.var, risk.es, null)
    assert blind.z2_p_value < 0.01
    with pytest.raises(QuantError, match="1000 losses against a null law of 250"):
        small = backtest_es.null_law(250, 0.975, simulations=10)
        backtest_es.backtest_es(losses, risk.var, risk.es, small)


def test_no_exceptions() -> None:
    null = backtest_es.null_law(50, 0.975, simulations=500, seed=0)
    result = backtest_es.backtest_es(np.zeros(50), 2.0, 3.0, null)
    assert (result.exceptions, result.average_ratio, result.z1_p_value) == (0, None, None)
    assert result.z2_p_value == 1.0


def test_exceedance_residuals() -> None:
    rng = np.random.default_rng(7)
    losses = rng.standard_t(4, 4000) / np.sqrt(2.0)
    truth, thin = parametric.student_t(1.0, 4.0, 0.975), parametric.normal(1.0, 0.975)
    fair = backtest_es.exceedance_residuals(losses, truth.var, truth.es, 0.975)
    assert fair.p_value > 0.05
    assert fair.exceptions == int(np.sum(losses > truth.var))
    # nearly the same VaR (both 2.0), but the normal ES is too low by a quarter
    low = backtest_es.exceedance_residuals(losses, thin.var, thin.es, 0.975)
    assert low.mean > 0.1
    assert low.p_value < 0.01
    again = backtest_es.exceedance_residuals(losses, thin.var, thin.es, 0.975)
    assert low == again
    with pytest.raises(FitError, match="0 exceptions"):
        backtest_es.exceedance_residuals(np.zeros(10), 1.0, 2.0, 0.975)


def test_scores_are_best_at_the_truth() -> None:
    losses = np.random.default_rng(9).standard_normal(400_000)
    truth = parametric.normal(1.0, 0.975)
    best = backtest_es.quantile_score(losses, truth.var, 0.975)
    joint = backtest_es.fz0_score(losses, truth.var, truth.es, 0.975)
    for factor in (0.85, 1.15):
        assert backtest_es.quantile_score(losses, factor * truth.var, 0.975) > best
        assert backtest_es.fz0_score(losses, truth.var, factor * truth.es, 0.975) > joint
        assert backtest_es.fz0_score(losses, factor * truth.var, factor * truth.es, 0.975) > joint
    # by hand: the pinball loss of a loss above and one below
    assert backtest_es.quantile_score([3.0, 0.0], 1.0, 0.9) == pytest.approx((0.9 * 2 + 0.1) / 2)


@pytest.mark.parametrize(
    ("var", "es", "words"),
    [(2.0, 1.0, "at least VaR"), (-2.0, -1.0, "must be positive")],
)
def test_impossible_forecasts(var: float, es: float, words: str) -> None:
    with pytest.raises(QuantError, match=words):
        backtest_es.es_statistics(np.zeros(5), var, es, 0.975)
