"""Tails by model: generalised Pareto, fitted t, Monte Carlo with repricing, confidence bands."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from risk.exact.math.black76 import price as exact_price
from risk.quant import bands, evt, montecarlo, parametric, pricing, var
from risk.quant.errors import FitError, QuantError

Floats = NDArray[np.float64]


# ---------------------------------------------------------------------------------------------- EVT


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25, 0.7])
@pytest.mark.parametrize("scale", [0.02, 30.0])
def test_pareto_recovers_its_parameters(shape: float, scale: float) -> None:
    excess = stats.genpareto(shape, scale=scale).rvs(4000, random_state=1)
    losses = np.concatenate([excess, np.full(36_000, -scale)])  # a tenth lies in the tail
    tail = evt.fit_pot(losses, threshold=0.0)
    assert tail.exceedances == 4000
    assert tail.shape_error is not None
    assert tail.scale_error is not None
    assert abs(tail.shape - shape) < 4.0 * tail.shape_error
    assert abs(tail.scale - scale) < 4.0 * tail.scale_error
    # asymptotic standard errors (1 + xi)/sqrt(k) and beta·sqrt(2(1 + xi))/sqrt(k)
    assert tail.shape_error == pytest.approx((1.0 + shape) / np.sqrt(4000), rel=0.15)
    assert tail.scale_error == pytest.approx(scale * np.sqrt(2 * (1 + shape) / 4000), rel=0.15)
    # scipy's own optimiser finds no better point
    c, _, s = stats.genpareto.fit(excess, floc=0.0)
    assert tail.loglikelihood >= float(np.sum(stats.genpareto.logpdf(excess, c, 0.0, s))) - 1e-3
    law = stats.genpareto(tail.shape, scale=tail.scale)
    assert tail.loglikelihood == pytest.approx(float(np.sum(law.logpdf(excess))), rel=1e-6)
    # VaR and ES are those of the fitted law: P(L > VaR) = 1 - alpha, ES by quadrature
    risk = tail.risk(0.99)
    assert 0.1 * law.sf(risk.var) == pytest.approx(0.01, rel=1e-9)
    beyond = law.expect(lambda y: y - risk.var, lb=risk.var)
    assert risk.es == pytest.approx(risk.var + 0.1 * beyond / 0.01, rel=1e-4)


def test_pareto_limits() -> None:
    heavy = stats.genpareto(1.4).rvs(500, random_state=0)
    with pytest.raises(QuantError, match="its ES is infinite"):
        evt.fit_pot(heavy, threshold=0.0).risk(0.99)
    with pytest.raises(FitError, match="0 losses exceed the threshold 1e"):
        evt.fit_pot(heavy, threshold=1e12)
    with pytest.raises(QuantError, match="below the threshold's own level"):
        evt.fit_pot(heavy, quantile=0.9).quantile(0.8)
    tail = evt.fit_pot(heavy, quantile=0.9)
    assert tail.quantile(0.9) == pytest.approx(tail.threshold, rel=1e-9)


# ----------------------------------------------------------------------------------------- fitted t


def test_fitted_t_is_the_maximum_likelihood() -> None:
    losses = stats.t(4.0, 0.5, 2.0).rvs(3000, random_state=3)
    risk = parametric.fit_student_t(losses, 0.99)
    truth = parametric.student_t(2.0 * np.sqrt(2.0), 4.0, 0.99, mean=0.5)
    assert (risk.var, risk.es) == pytest.approx((truth.var, truth.es), rel=0.12)
    df, place, scale = stats.t.fit(losses)
    other = parametric.student_t(scale * np.sqrt(df / (df - 2.0)), df, 0.99, mean=place)
    assert (risk.var, risk.es) == pytest.approx((other.var, other.es), rel=1e-3)


def test_fitted_normal() -> None:
    risk = parametric.fit_normal([1.0, 2.0, 3.0], 0.975)
    assert risk.var == pytest.approx(2.0 + 1.959964, abs=1e-6)


# ------------------------------------------------------------------------------------ option prices

# Haug, The Complete Guide to Option Pricing Formulas: generalised Black-Scholes. Published to four
# decimals, tolerance 5e-5.
HAUG = [
    # S, K, q, r, T, sigma, call, value
    (60.0, 65.0, 0.0, 0.08, 0.25, 0.30, True, 2.1334),
    (100.0, 95.0, 0.05, 0.10, 0.5, 0.20, False, 2.4648),
    (110.0, 100.0, 0.1, 0.1, 0.5, 0.35, True, 15.3086),
]


@pytest.mark.parametrize("row", HAUG)
def test_haug(row: tuple[float, float, float, float, float, float, bool, float]) -> None:
    *arguments, published = row
    assert float(pricing.black_scholes(*arguments)) == pytest.approx(published, abs=5e-5)


def test_haug_black76() -> None:
    # F = K = 19, T = 0.75, r = 0.1, sigma = 0.28, call; published to seven decimals.
    value = np.exp(-0.1 * 0.75) * pricing.black76(19.0, 19.0, 0.28 * np.sqrt(0.75), True)
    assert float(value) == pytest.approx(1.7010507, abs=5e-8)


def test_black76_agrees_with_the_integer_model() -> None:
    rng = np.random.default_rng(0)
    wad = 10**18
    forward = np.exp(rng.uniform(-3, 11, 400))
    strike = forward * np.exp(rng.uniform(-1.5, 1.5, 400))
    sd = np.concatenate([rng.uniform(0.001, 2.0, 390), np.zeros(10)])
    for is_call in (True, False):
        got = pricing.black76(forward, strike, sd, is_call)
        for f, k, s, value in zip(forward, strike, sd, got, strict=True):
            exact = exact_price(int(f * wad), int(k * wad), int(s * wad))[0 if is_call else 1]
            # both are right to about 1e-12 of the forward
            assert value == pytest.approx(exact / wad, rel=1e-9, abs=1e-11 * f)


def test_black76_bounds_and_parity() -> None:
    f, k, sd = 100.0, np.array([1.0, 50.0, 100.0, 101.0, 1e4]), np.array([[0.0], [0.3], [9.0]])
    call, put = pricing.black76(f, k, sd, True), pricing.black76(f, k, sd, False)
    assert call.shape == (3, 5)
    assert call - put == pytest.approx(np.broadcast_to(f - k, (3, 5)), abs=1e-9)
    assert (call >= np.maximum(f - k, 0.0)).all()
    assert (call <= f).all()
    assert (put <= k).all()
    assert call[0].tolist() == [99.0, 50.0, 0.0, 0.0, 0.0]
    with pytest.raises(QuantError, match="needs forward > 0"):
        pricing.black76(0.0, 1.0, 1.0, True)


# -------------------------------------------------------------------------------------- Monte Carlo

COVARIANCE = np.array([[0.04, 0.02, 0.0], [0.02, 0.09, 0.01], [0.0, 0.01, 0.01]])


@pytest.mark.parametrize("df", [None, 4.0])
def test_drawn_moves_have_the_asked_moments(df: float | None) -> None:
    mean = np.array([0.1, -0.2, 0.0])
    moves = montecarlo.draw_moves(np.random.default_rng(0), 400_000, COVARIANCE, mean=mean, df=df)
    assert moves.mean(axis=0) == pytest.approx(mean, abs=1e-12)  # exact, being antithetic
    assert np.cov(moves.T) == pytest.approx(COVARIANCE, abs=0.002)
    kurtosis = stats.kurtosis(moves, axis=0)
    if df is None:
        assert kurtosis == pytest.approx(np.zeros(3), abs=0.05)
    else:
        assert (kurtosis > 3.0).all()


def test_singular_covariance_and_refusals() -> None:
    rng = np.random.default_rng(0)
    twins = montecarlo.draw_moves(rng, 10, [[1.0, 1.0], [1.0, 1.0]])
    assert twins[:, 0] == pytest.approx(twins[:, 1])
    for arguments, words in (
        ((rng, 10, [[1.0, 2.0], [2.0, 1.0]]), "positive semi-definite"),
        ((rng, 10, [[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        ((rng, 9, np.eye(2)), "even"),
    ):
        with pytest.raises(QuantError, match=words):
            montecarlo.draw_moves(*arguments)
    with pytest.raises(QuantError, match="df > 2"):
        montecarlo.draw_moves(rng, 10, np.eye(2), df=2.0)
    with pytest.raises(QuantError, match="one finite loss per move"):
        montecarlo.measure(lambda moves: moves, np.ones((5, 2)), 0.9)


@pytest.mark.parametrize("df", [None, 5.0])
def test_linear_portfolio_meets_the_closed_form(df: float | None) -> None:
    held = np.array([100.0, -50.0, 30.0])
    moves = montecarlo.draw_moves(np.random.default_rng(1), 200_000, COVARIANCE, df=df)
    result = montecarlo.measure(lambda m: -(m @ held), moves, 0.99)
    sd = float(np.sqrt(held @ COVARIANCE @ held))
    truth = parametric.normal(sd, 0.99) if df is None else parametric.student_t(sd, df, 0.99)
    assert result.var_low <= truth.var <= result.var_high
    assert abs(result.risk.es - truth.es) < 4.0 * result.es_error
    assert result.es_error < 0.02 * truth.es
    assert result.paths == 200_000


def test_option_portfolio_is_fully_repriced() -> None:
    # A short straddle on one factor: its loss is a convex function of the forward, so VaR and ES
    # are one-dimensional integrals over the normal log move.
    sd, vol = 0.06, 0.15

    def loss(moves: Floats) -> Floats:
        forward = 100.0 * np.exp(moves[:, 0])
        value = pricing.black76(forward, 100.0, vol, True)
        value += pricing.black76(forward, 100.0, vol, False)
        now = pricing.black76(100.0, 100.0, vol, [True, False]).sum()
        return np.asarray(value - now)

    moves = montecarlo.draw_moves(np.random.default_rng(2), 200_000, [[sd**2]])
    result = montecarlo.measure(loss, moves, 0.975, batch=7_001)
    nodes = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)[:, None] * sd
    exact = var.historical(loss(nodes), 0.975)
    assert result.var_low <= exact.var <= result.var_high
    assert abs(result.risk.es - exact.es) < 4.0 * result.es_error
    # a delta-normal view sees next to nothing of it
    delta = float((loss(np.array([[1e-4]])) - loss(np.array([[-1e-4]])))[0] / 2e-4)
    assert parametric.delta_normal([delta], [[sd**2]], 0.975).var < 0.3 * exact.var


def test_copula_draws_keep_the_margins() -> None:
    rng = np.random.default_rng(4)
    history = np.column_stack([rng.standard_t(3, 2000), rng.gamma(2.0, 1.0, 2000)])
    rho = np.array([[1.0, 0.7], [0.7, 1.0]])
    draws = montecarlo.draw_copula(rng, 50_000, history, rho, 4.0)
    for j in range(2):
        assert draws[:, j].min() >= history[:, j].min()
        assert draws[:, j].max() <= history[:, j].max()
        for level in (0.05, 0.5, 0.95):
            spread = np.quantile(history[:, j], level) - np.quantile(draws[:, j], level)
            assert abs(spread) < 0.1
    tau = stats.kendalltau(draws[:5000, 0], draws[:5000, 1]).statistic
    assert np.sin(np.pi * tau / 2.0) == pytest.approx(0.7, abs=0.03)


# -------------------------------------------------------------------------------------------- bands


def test_order_statistics_by_hand() -> None:
    # 10 losses, median: P(2 <= K < 9) = P(K in 2 … 8) = 1 - 2·11/1024
    band = bands.order_statistics(np.arange(1.0, 11.0), 0.5)
    assert (band.low, band.high) == (2.0, 9.0)
    assert band.coverage == pytest.approx(1.0 - 22.0 / 1024.0)


def test_order_statistics_without_enough_data() -> None:
    band = bands.order_statistics(np.arange(100.0), 0.999)
    assert band.high == np.inf
    low = bands.order_statistics(np.arange(100.0), 0.001)
    assert low.low == -np.inf


def test_order_statistics_cover() -> None:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((2000, 500))
    found = [bands.order_statistics(row, 0.95) for row in samples]
    inside = np.mean([b.low <= stats.norm.ppf(0.95) <= b.high for b in found])
    assert found[0].coverage is not None
    assert found[0].coverage >= 0.95
    assert inside == pytest.approx(found[0].coverage, abs=0.015)  # 3 sd of 2 000 samples


def test_bootstrap_bands() -> None:
    losses = np.random.default_rng(1).standard_normal(2000)
    result = bands.bootstrap(losses, 0.975, repetitions=1000, seed=4)
    measured = var.historical(losses, 0.975)
    assert result.var.low < measured.var < result.var.high
    assert result.es.low < measured.es < result.es.high
    assert result == bands.bootstrap(losses, 0.975, repetitions=1000, seed=4)
    # asymptotic standard errors for a normal: VaR sqrt(a(1-a)/n)/density;
    # ES sqrt(Var((L-VaR)+)/n)/(1-a)
    density = stats.norm.pdf(stats.norm.ppf(0.975))
    assert result.var_error == pytest.approx(np.sqrt(0.975 * 0.025 / 2000) / density, rel=0.3)
    spread = np.std(np.maximum(losses - measured.var, 0.0)) / 0.025 / np.sqrt(2000)
    assert result.es_error == pytest.approx(spread, rel=0.1)


def test_blocks_widen_the_bands_of_dependent_losses() -> None:
    rng = np.random.default_rng(2)
    clustered = np.repeat(rng.standard_normal(200), 10)  # ten times the same loss
    plain = bands.bootstrap(clustered, 0.95, repetitions=500)
    block = bands.bootstrap(clustered, 0.95, repetitions=500, block=30.0)
    assert block.es_error > 2.0 * plain.es_error
    with pytest.raises(QuantError, match="block"):
        bands.bootstrap(clustered, 0.95, block=0.5)
