"""Correlation models against definitions, known parameters and second implementations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from risk.quant.correlation import (
    ewma_covariance,
    fit_dcc,
    fit_t_copula,
    ledoit_wolf,
    t_tail_dependence,
    tail_dependence,
    to_correlation,
)
from risk.quant.data import PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.montecarlo import draw_moves
from risk.quant.volatility import fit_arch

Floats = NDArray[np.float64]
TARGET = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.4], [0.3, 0.4, 1.0]])


def simulate_dcc(count: int, a: float, b: float, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    q, rows = TARGET.copy(), np.empty((count, 3))
    for t in range(count):
        rows[t] = np.linalg.cholesky(to_correlation(q)) @ rng.standard_normal(3)
        q = (1 - a - b) * TARGET + a * np.outer(rows[t], rows[t]) + b * q
    return rows


def test_ledoit_wolf() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((12, 20)), rng.standard_normal((20_000, 3)) * [1.0, 5.0, 0.1]
    shrunk = ledoit_wolf(few)
    assert np.linalg.eigvalsh(np.cov(few.T)).min() < 1e-10  # 12 rows cannot span 20 assets
    assert np.linalg.eigvalsh(shrunk.covariance).min() > 0.01
    assert 0.3 < shrunk.intensity <= 1.0
    # Standardised: variances are kept, only correlations move, and by the stated share.
    assert np.diag(shrunk.covariance) == pytest.approx(few.var(axis=0))
    plain = np.corrcoef(few.T)
    off = ~np.eye(20, dtype=bool)
    got = to_correlation(shrunk.covariance)
    assert got[off] == pytest.approx((1.0 - shrunk.intensity) * plain[off], abs=1e-12)
    # unequal scales survive, and the raw form pulls them together
    assert np.diag(ledoit_wolf(many).covariance) == pytest.approx(many.var(axis=0))
    assert ledoit_wolf(many, standardise=False).covariance[2, 2] > 0.01


def test_ewma_covariance_by_definition() -> None:
    returns = np.random.default_rng(0).standard_normal((60, 3)) @ TARGET
    expected = [np.mean([np.outer(r, r) for r in returns[:10]], axis=0)]
    for row in returns:
        expected.append(0.97 * expected[-1] + 0.03 * np.outer(row, row))
    got = ewma_covariance(returns, 0.97, warm_up=10)
    assert got.shape == (61, 3, 3)
    assert got == pytest.approx(np.array(expected), rel=1e-12, abs=1e-12)
    assert np.linalg.eigvalsh(got).min() > 0.0


def test_to_correlation() -> None:
    covariance = np.array([[[4.0, 3.0], [3.0, 9.0]], [[1.0, -1.0], [-1.0, 1.0]]])
    expected = [[[1.0, 0.5], [0.5, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]]
    assert to_correlation(covariance).tolist() == expected
    with pytest.raises(QuantError, match="not positive"):
        to_correlation(np.zeros((2, 2)))


def test_dcc_recovers_its_parameters() -> None:
    z = simulate_dcc(4000, 0.05, 0.92, 0)
    fit = fit_dcc(z)
    assert fit.a == pytest.approx(0.05, abs=0.02)  # about three standard errors of 4 000 rows
    assert fit.b == pytest.approx(0.92, abs=0.03)
    # the recursion again, one step at a time
    q = fit.target.copy()
    for row, r in zip(z, fit.correlation, strict=True):
        assert r == pytest.approx(to_correlation(q), abs=1e-9)
        q = (1 - fit.a - fit.b) * fit.target + fit.a * np.outer(row, row) + fit.b * q
    assert fit.next_correlation == pytest.approx(to_correlation(q), abs=1e-9)


def test_dcc_likelihood_and_maximum() -> None:
    z = simulate_dcc(600, 0.08, 0.85, 4)
    fit = fit_dcc(z)
    total = sum(
        stats.multivariate_normal(cov=r).logpdf(row) - stats.norm.logpdf(row).sum()
        for row, r in zip(z, fit.correlation, strict=True)
    )
    assert fit.loglikelihood == pytest.approx(total, rel=1e-9)
    constant = np.sum(stats.multivariate_normal(cov=fit.target).logpdf(z)) - np.sum(
        stats.norm.logpdf(z)
    )
    assert fit.loglikelihood > constant


def test_dcc_on_the_generated_market(market: PriceTable) -> None:
    returns = market.log_returns()[:1500, :3]
    z = np.column_stack([fit_arch(column, "garch").residuals() for column in returns.T])
    fit = fit_dcc(z)
    assert 0.0 < fit.a < fit.a + fit.b < 1.0
    assert np.linalg.eigvalsh(fit.next_correlation).min() > 0.0
    assert np.diagonal(fit.correlation, axis1=1, axis2=2) == pytest.approx(np.ones((1500, 3)))
    off = fit.target[np.triu_indices(3, 1)]
    assert off == pytest.approx(np.full(3, 0.8), abs=0.15)


def test_tail_dependence_extremes() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(20_000)
    values = np.column_stack([x, np.exp(x), -x, rng.standard_normal(20_000)])
    lower = tail_dependence(values, 0.05)
    assert lower[0].tolist()[:3] == [1.0, 1.0, 0.0]
    assert lower[0, 3] == pytest.approx(0.05, abs=0.02)  # independence
    assert np.array_equal(lower, lower.T)
    joined = np.column_stack([x, np.where(x > 1.0, x, rng.standard_normal(20_000))])
    upper = tail_dependence(joined, 0.05, lower=False)
    assert upper[0, 1] > 3.0 * tail_dependence(joined, 0.05)[0, 1]


def test_t_tail_dependence() -> None:
    # McNeil, Frey, Embrechts, Quantitative Risk Management, table of the t copula (published to
    # two decimals, tolerance 0.005): nu 2, 4, 10 against rho -0.5, 0, 0.5, 0.9, 1.
    table = {
        2: [0.06, 0.18, 0.39, 0.72, 1.0],
        4: [0.01, 0.08, 0.25, 0.63, 1.0],
        10: [0.0, 0.01, 0.08, 0.46, 1.0],
    }
    for df, published in table.items():
        got = t_tail_dependence(np.array([-0.5, 0.0, 0.5, 0.9, 1.0]), df)
        assert got == pytest.approx(published, abs=0.005)
    with pytest.raises(QuantError, match="correlation"):
        t_tail_dependence(-1.0, 4.0)


def test_t_copula_recovers_its_parameters() -> None:
    rng = np.random.default_rng(1)
    z = draw_moves(rng, 4000, TARGET, df=4.0, antithetic=False)
    z = np.column_stack([z[:, 0] ** 3, np.exp(z[:, 1]), z[:, 2]])  # margins must not matter
    fit = fit_t_copula(z)
    assert fit.df == pytest.approx(4.0, abs=0.6)
    assert fit.correlation == pytest.approx(TARGET, abs=0.05)
    assert fit.tail_dependence[0, 1] == pytest.approx(float(t_tail_dependence(0.5, 4.0)), abs=0.05)
    # the likelihood by scipy's own densities
    uniform = stats.rankdata(z, axis=0) / (len(z) + 1.0)
    x = stats.t.ppf(uniform, fit.df)
    joint = stats.multivariate_t(shape=fit.correlation, df=fit.df).logpdf(x)
    assert fit.loglikelihood == pytest.approx(
        float(np.sum(joint) - np.sum(stats.t.logpdf(x, fit.df))), rel=1e-9
    )


def test_copula_tells_normal_from_t() -> None:
    z = draw_moves(np.random.default_rng(2), 4000, TARGET, antithetic=False)
    fit = fit_t_copula(z)
    assert fit.df > 20.0
    assert fit.tail_dependence[0, 2] < 0.02


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ewma_covariance(np.ones(30)), QuantError, "expected"),
        (lambda: ledoit_wolf(np.ones((30, 2))), FitError, "constant"),
        (lambda: fit_dcc(np.ones((30, 2))), FitError, "at least 100"),
        (lambda: fit_dcc(np.random.default_rng(0).random((200, 1))), QuantError, "two series"),
        (lambda: fit_dcc(np.repeat(np.arange(200.0)[:, None], 2, 1)), FitError, "singular"),
        (lambda: tail_dependence(np.ones((30, 2)), 0.01), QuantError, "level"),
        (lambda: fit_t_copula(np.ones((60, 1))), QuantError, "two series"),
    ],
)
def test_refusals(call, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
