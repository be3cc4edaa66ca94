"""VaR backtests against published values, second computations, and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from risk.quant import backtest, var
from risk.quant.errors import FitError, QuantError

Floats = NDArray[np.float64]

# Kupiec (1995) proportion of failures. Source: published worked examples, recomputed; tolerance
# half a unit of the last digit. observations, exceptions, tail, statistic, its tolerance, p-value,
# its tolerance
KUPIEC = [
    (1043, 57, 0.05, 0.46147, 5e-6, 0.49694, 5e-6),
    (250, 3, 0.05, 10.8123, 5e-5, 0.001008, 5e-7),
    (250, 3, 0.01, 0.09494, 5e-6, 0.75799, 5e-6),
]


@pytest.mark.parametrize("row", KUPIEC)
def test_kupiec(row: tuple[int, int, float, float, float, float, float]) -> None:
    observations, exceptions, tail, statistic, error, p_value, p_error = row
    got = backtest.kupiec(observations, exceptions, tail)
    assert got.statistic == pytest.approx(statistic, abs=error)
    assert got.p_value == pytest.approx(p_value, abs=p_error)
    assert got.rejects() == (p_value < 0.05)


def test_christoffersen() -> None:
    # Christoffersen (1998), same worked example: N00 = 932, N10 = N01 = 53, N11 = 4; tolerance
    # half a unit of the last digit.
    independent = backtest.independence(932, 53, 53, 4)
    assert independent.statistic == pytest.approx(0.25866, abs=5e-6)
    assert independent.p_value == pytest.approx(0.61104, abs=5e-6)
    both = backtest.combined(backtest.kupiec(1043, 57, 0.05), independent)
    assert both.statistic == pytest.approx(0.72013, abs=5e-6)
    assert both.p_value == pytest.approx(0.69763, abs=5e-6)
    assert both.df == 2


# Basel Committee (1996), supervisory framework for backtesting, table for 250 days at 1 %:
# cumulative probability in per cent, tolerance 0.005; yellow from 5, red from 10 exceptions.
BASEL = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]


@pytest.mark.parametrize(("exceptions", "per_cent"), list(enumerate(BASEL)))
def test_traffic_light(exceptions: int, per_cent: float) -> None:
    light = backtest.traffic_light(250, exceptions)
    assert 100.0 * light.cumulative == pytest.approx(per_cent, abs=0.005)
    assert light.zone == ("green" if exceptions < 5 else "yellow" if exceptions < 10 else "red")


# ------------------------------------------------------------------------------- published form


def test_coverage_by_hand() -> None:
    losses, margin = [1.0, 5.0, 2.0, 7.0, -3.0], [2.0, 4.0, 2.0, 3.0, 0.0]
    got = backtest.coverage(losses, margin, 0.9)
    assert (got.observations, got.exceptions, got.coverage) == (5, 2, pytest.approx(0.6))
    assert (got.largest_exception, got.average_exception) == (4.0, 2.5)
    assert backtest.hits(losses, margin).tolist() == [False, True, False, True, False]
    none = backtest.coverage(losses, 100.0, 0.9)
    assert (none.exceptions, none.coverage) == (0, 1.0)
    assert (none.largest_exception, none.average_exception) == (0.0, 0.0)


def test_transitions_by_hand() -> None:
    hit = np.array([0, 1, 1, 0, 0, 1, 0], dtype=bool)
    assert backtest.transitions(hit) == (1, 2, 2, 1)


def test_no_and_only_exceptions() -> None:
    none = backtest.kupiec(250, 0, 0.01)
    assert none.statistic == pytest.approx(-2.0 * 250 * np.log(0.99))
    assert backtest.kupiec(250, 250, 0.01).statistic == pytest.approx(-2.0 * 250 * np.log(0.01))
    assert backtest.independence(249, 0, 0, 0).p_value == 1.0
    result = backtest.backtest_var(np.zeros(250), 1.0, 0.99)
    assert result.duration is None
    assert result.combined.statistic == pytest.approx(none.statistic)
    assert result.traffic_light.zone == "green"


def test_independence_sees_clusters() -> None:
    rng = np.random.default_rng(0)
    even = rng.random(2000) < 0.05
    clustered = np.repeat(rng.random(400) < 0.05, 5)
    assert not backtest.independence(*backtest.transitions(even)).rejects(0.01)
    assert backtest.independence(*backtest.transitions(clustered)).rejects(1e-6)


def test_rejection_rates_under_the_null() -> None:
    # 2 000 samples, long enough for the chi-squared law: each test must reject a true model in 5 %
    # of them; 4 sd of the simulation.
    rng = np.random.default_rng(1)
    rejected = np.zeros(3)
    for hit in rng.random((2000, 1000)) < 0.2:
        frequency = backtest.kupiec(1000, int(hit.sum()), 0.2)
        independent = backtest.independence(*backtest.transitions(hit))
        both = backtest.combined(frequency, independent)
        rejected += [frequency.rejects(), independent.rejects(), both.rejects()]
    assert rejected / 2000 == pytest.approx([0.05] * 3, abs=0.02)


# ------------------------------------------------------------------------------------- durations


def weibull_deviance(theta: Floats, whole: Floats, censored: Floats) -> float:
    """Minus the log-likelihood by scipy's Weibull density and survival function."""
    scale, shape = np.exp(theta)
    law = stats.weibull_min(shape, scale=scale)
    return -float(np.sum(law.logpdf(whole)) + np.sum(law.logsf(censored)))


@pytest.mark.parametrize("seed", range(4))
def test_duration_against_a_second_computation(seed: int) -> None:
    hit = np.random.default_rng(seed).random(700) < 0.04
    at = np.flatnonzero(hit)
    whole = np.diff(at).astype(float)
    censored = np.array([at[0] + 1.0, 699.0 - at[-1]])
    censored = censored[censored > (1.0 if at[0] == 0 else 0.0)]
    start = np.array([np.log(25.0), 0.0])
    free = optimize.minimize(
        weibull_deviance, start, (whole, censored), method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000},
    )  # fmt: skip
    tied = optimize.minimize_scalar(
        lambda log_scale: weibull_deviance(np.array([log_scale, 0.0]), whole, censored)
    )
    result = backtest.duration(hit, 0.04)
    assert result.ratio.statistic == pytest.approx(2.0 * (tied.fun - free.fun), abs=1e-6)
    assert result.shape == pytest.approx(float(np.exp(free.x[1])), rel=1e-4)
    assert result.simulated_p_value is None


def test_duration_sees_clusters_and_regularity() -> None:
    rng = np.random.default_rng(3)
    calm, wild = rng.random(1000) < 0.005, rng.random(300) < 0.25
    clustered = backtest.duration(np.concatenate([calm, wild]), 0.05, simulations=200, seed=1)
    assert clustered.shape < 0.8
    assert clustered.ratio.p_value < 1e-4
    assert clustered.simulated_p_value is not None
    assert clustered.simulated_p_value < 0.02
    regular = np.zeros(1000, dtype=bool)
    regular[::20] = True
    even = backtest.duration(regular, 0.05)
    assert even.shape > 5.0
    assert even.ratio.p_value < 1e-4
    fair = backtest.duration(rng.random(1000) < 0.05, 0.05, simulations=200, seed=1)
    assert fair.simulated_p_value is not None
    assert fair.simulated_p_value > 0.05


def test_duration_needs_exceptions() -> None:
    hit = np.zeros(100, dtype=bool)
    hit[[10, 50]] = True
    with pytest.raises(FitError, match="2 exceptions; the duration test needs 3"):
        backtest.duration(hit, 0.01)


# --------------------------------------------------------------------------------------- rolling


def test_rolling_uses_only_the_past() -> None:
    losses = np.random.default_rng(0).standard_normal(120)
    value, shortfall = backtest.rolling_risk(losses, lambda w: var.historical(w, 0.9), 50)
    assert value.shape == shortfall.shape == (70,)
    for t in (0, 33, 69):
        own = var.historical(losses[t : t + 50], 0.9)
        assert (value[t], shortfall[t]) == (own.var, own.es)
    rare, _ = backtest.rolling_risk(losses, lambda w: var.historical(w, 0.9), 50, every=30)
    assert rare.tolist() == [value[0]] * 30 + [value[30]] * 30 + [value[60]] * 10


def test_a_right_model_passes_and_a_wrong_one_fails() -> None:
    rng = np.random.default_rng(8)
    sd = np.exp(0.5 * np.sin(np.arange(2000) / 60.0))
    losses = sd * rng.standard_normal(2000)
    right = backtest.backtest_var(losses, 2.3263 * sd, 0.99)
    assert not right.kupiec.rejects()
    assert not right.combined.rejects()
    assert right.traffic_light.zone == "green"
    low = backtest.backtest_var(losses, 1.6 * sd, 0.99)
    assert low.kupiec.rejects(1e-6)
    assert low.traffic_light.zone == "red"
    flat = backtest.backtest_var(losses, float(np.quantile(losses, 0.95)), 0.95)
    assert not flat.kupiec.rejects()  # the frequency is right by construction
    assert flat.duration is not None
    assert flat.duration.ratio.rejects(1e-3)  # but the exceptions come together


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: backtest.kupiec(10, 11, 0.01), "11 exceptions in 10"),
        (lambda: backtest.kupiec(10, 1, 1.0), "confidence"),
        (lambda: backtest.traffic_light(0, 0), "0 exceptions in 0"),
        (lambda: backtest.independence(0, 0, 0, 0), "not all zero"),
        (lambda: backtest.hits([1.0, 2.0], [1.0, 2.0, 3.0]), "shape"),
        (lambda: backtest.hits([1.0, 2.0], [1.0, np.nan]), "shape"),
        (lambda: backtest.rolling_risk([1.0], lambda w: var.historical(w, 0.9), 1), "1 losses"),
    ],
)
def test_refusals(call, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(QuantError, match=words):
        call()
