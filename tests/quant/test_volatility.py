"""Volatility models: against their definitions and known parameters, and without look-ahead."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.quant.data import PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.volatility import (
    ArchKind,
    ewma,
    ewma_variance,
    fit_arch,
    fit_har,
    qlike,
    realised_variance,
    rolling_arch,
    rolling_sigma,
)

Floats = NDArray[np.float64]
KINDS: tuple[ArchKind, ...] = ("garch", "gjr", "egarch")


def simulate_gjr(count: int, seed: int) -> Floats:
    """mean 0.0002, omega 4e-7, alpha 0.05, gamma 0.08, beta 0.88 (sd about 0.0028)."""
    rng = np.random.default_rng(seed)
    variance, shocks = 4e-7 / 0.03, np.empty(count)
    for t in range(count):
        shocks[t] = np.sqrt(variance) * rng.standard_normal()
        variance = 4e-7 + (0.05 + 0.08 * (shocks[t] < 0)) * shocks[t] ** 2 + 0.88 * variance
    return shocks + 0.0002


@pytest.fixture(scope="module")
def series() -> Floats:
    return simulate_gjr(5000, 1)


# -------------------------------------------------------------------------------------------- EWMA


def test_ewma_by_definition() -> None:
    rng = np.random.default_rng(0)
    returns = rng.standard_normal((40, 2))
    expected = [np.array([1.5, 0.5])]
    for row in returns:
        expected.append(0.9 * expected[-1] + 0.1 * row**2)
    got = ewma_variance(returns**2, 0.9, [1.5, 0.5])
    assert got == pytest.approx(np.array(expected), rel=1e-13)
    path = ewma(returns[:, 0], 0.9, warm_up=5)
    assert path.sigma[0] ** 2 == pytest.approx(np.mean(returns[:5, 0] ** 2))
    assert path.sigma.shape == (40,)
    assert path.next_sigma**2 == pytest.approx(
        0.9 * path.sigma[-1] ** 2 + 0.1 * returns[-1, 0] ** 2
    )


def test_ewma_does_not_look_ahead() -> None:
    returns = np.random.default_rng(0).standard_normal(100)
    changed = returns.copy()
    changed[60] = 50.0
    one, two = ewma(returns).sigma, ewma(changed).sigma
    assert np.array_equal(one[:61], two[:61])
    assert two[61] > one[61]


# ------------------------------------------------------------------------------------ GARCH family


def test_gjr_recovers_its_parameters(series: Floats) -> None:
    fit = fit_arch(series, "gjr", "normal")
    # 5 000 observations; three published-size standard errors of each parameter
    assert fit.mean == pytest.approx(2e-4, abs=1.5e-4)
    assert fit.params["alpha[1]"] == pytest.approx(0.05, abs=0.04)
    assert fit.params["gamma[1]"] == pytest.approx(0.08, abs=0.05)
    assert fit.params["beta[1]"] == pytest.approx(0.88, abs=0.06)
    assert float(np.std(fit.residuals())) == pytest.approx(1.0, abs=0.02)


def test_gjr_recursion_in_units_of_the_series(series: Floats) -> None:
    fit = fit_arch(series, "gjr", "normal")
    p = fit.params
    shocks = series - fit.mean
    expected = (
        p["omega"] / fit.scale**2
        + (p["alpha[1]"] + p["gamma[1]"] * (shocks[:-1] < 0)) * shocks[:-1] ** 2
        + p["beta[1]"] * fit.sigma[:-1] ** 2
    )
    assert fit.sigma[1:] ** 2 == pytest.approx(expected, rel=1e-9)
    # the likelihood is that of the series itself, not of the rescaled one
    z = fit.residuals()
    density = -0.5 * (np.log(2 * np.pi) + z**2) - np.log(fit.sigma)
    assert fit.loglikelihood == pytest.approx(float(density.sum()), rel=1e-9)


def test_asymmetry_is_found_only_where_it_is(series: Floats) -> None:
    plain, asymmetric = fit_arch(series, "garch", "normal"), fit_arch(series, "gjr", "normal")
    assert asymmetric.loglikelihood > plain.loglikelihood + 5.0
    assert "gamma[1]" not in plain.params
    # EGARCH: a fall raises volatility more than a rise, so its gamma is negative
    assert fit_arch(series, "egarch", "normal").params["gamma[1]"] < 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_filter_reproduces_and_does_not_look_ahead(series: Floats, kind: ArchKind) -> None:
    # our recursion against that of `arch`, and its one-step forecast
    fit = fit_arch(series[:1000], kind)
    same = fit.filter(series[:1000])
    assert same.sigma == pytest.approx(fit.sigma, rel=1e-9)
    assert same.next_sigma == pytest.approx(fit.next_sigma, rel=1e-9)
    longer = fit.filter(series[:1200])
    assert np.array_equal(longer.sigma[:1000], same.sigma)
    assert longer.sigma[1000] == same.next_sigma


@pytest.mark.parametrize("kind", KINDS)
def test_scale_of_the_series_does_not_matter(series: Floats, kind: ArchKind) -> None:
    one, two = fit_arch(series[:1500], kind), fit_arch(series[:1500] * 1e4, kind)
    assert two.next_sigma == pytest.approx(1e4 * one.next_sigma, rel=1e-3)


def test_horizon_volatility(series: Floats) -> None:
    # GARCH(1,1): E[var] decays to its mean at the rate alpha + beta; the sum is known.
    fit = fit_arch(series, "garch", "normal")
    persistence = fit.params["alpha[1]"] + fit.params["beta[1]"]
    level = fit.params["omega"] / fit.scale**2 / (1.0 - persistence)
    steps = np.arange(24)
    total = np.sum(level + persistence**steps * (fit.next_sigma**2 - level))
    assert fit.horizon_sigma(1) == fit.next_sigma
    sampled = fit.horizon_sigma(24, paths=20_000, seed=1)
    assert sampled == pytest.approx(np.sqrt(total), rel=0.03)
    assert np.array_equal(fit.bootstrap_sums(3, 50, 9), fit.bootstrap_sums(3, 50, 9))
    assert not np.array_equal(fit.bootstrap_sums(3, 50, 9), fit.bootstrap_sums(3, 50, 10))


def test_rolling_arch_is_out_of_sample(series: Floats) -> None:
    short = rolling_arch(series[:700], 500, 100, "garch", "normal")
    assert short.shape == (200,)
    assert short[0] == pytest.approx(fit_arch(series[:500], "garch", "normal").next_sigma)
    changed = series[:700].copy()
    changed[650] = 0.05
    again = rolling_arch(changed, 500, 100, "garch", "normal")
    assert np.array_equal(again[:151], short[:151])
    assert again[151] > short[151]


def test_rolling_sigma() -> None:
    values = np.arange(10.0)
    got = rolling_sigma(values, lambda window: float(window[-1]), 4, every=2)
    assert got.tolist() == [3.0, 3.0, 5.0, 5.0, 7.0, 7.0]


# --------------------------------------------------------------------------------------------- HAR


def test_har_recovers_its_coefficients() -> None:
    rng = np.random.default_rng(3)
    values = [1.0] * 30
    for _ in range(4000):
        mean = 0.1 + 0.4 * values[-1] + 0.3 * np.mean(values[-7:]) + 0.2 * np.mean(values[-30:])
        values.append(mean * np.exp(0.2 * rng.standard_normal() - 0.02))
    fit = fit_har(values)
    # least squares on 4 000 days; three standard errors
    assert fit.coefficients == pytest.approx([0.1, 0.4, 0.3, 0.2], abs=0.12)
    last = np.array(values)
    features = [1.0, last[-1], last[-7:].mean(), last[-30:].mean()]
    assert fit.next_variance == pytest.approx(float(fit.coefficients @ features), rel=1e-12)
    assert np.isnan(fit.variance[:30]).all()
    assert not np.isnan(fit.variance[30:]).any()
    # in-sample: the least-squares fit has no mean error
    assert float(np.mean(last[30:] - fit.variance[30:])) == pytest.approx(0.0, abs=1e-9)


def test_realised_variance_groups_from_the_end() -> None:
    returns = np.array([9.0, 1.0, 2.0, 3.0, 4.0])
    assert realised_variance(returns, per_day=2).tolist() == [5.0, 25.0]


def test_models_beat_a_constant_on_the_generated_market(market: PriceTable) -> None:
    # The generated market clusters, so a clustering model must score better out of sample.
    returns = market.log_returns()[:, 0]
    squares = returns[2000:] ** 2 + 1e-12
    constant = np.full(squares.shape, np.var(returns[:2000]))
    smoothed = ewma(returns, 0.94).sigma[2000:] ** 2
    filtered = fit_arch(returns[:2000], "gjr").filter(returns).sigma[2000:] ** 2
    assert qlike(squares, filtered) < qlike(squares, constant)
    assert qlike(squares, smoothed) < qlike(squares, constant)


def test_qlike() -> None:
    assert qlike([2.0, 3.0], [2.0, 3.0]) == 0.0
    assert qlike([1.0], [2.0]) == pytest.approx(0.5 + np.log(2.0) - 1.0)
    assert qlike([2.0], [1.0]) > qlike([1.0], [2.0])  # too low costs more than too high


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ewma([0.0] * 30), FitError, "all zero"),
        (lambda: ewma([1.0] * 5), FitError, "5 observations"),
        (lambda: ewma(np.ones(30), 1.0), QuantError, "decay"),
        (lambda: ewma([1.0, np.inf] * 20), QuantError, "finite"),
        (lambda: fit_arch(np.ones(200)), FitError, "constant"),
        (lambda: fit_arch(np.ones(50)), FitError, "at least 100"),
        (lambda: fit_arch(np.arange(200.0), "arch"), QuantError, "unknown model"),  # type: ignore[arg-type]
        (lambda: fit_har(np.ones(70)), FitError, "collinear"),
        (lambda: fit_har(np.zeros(70)), FitError, "zero"),
        (lambda: fit_har(np.ones(70), (7, 1)), QuantError, "lags"),
        (lambda: qlike([1.0], [0.0]), QuantError, "positive"),
    ],
)
def test_refusals(call, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
