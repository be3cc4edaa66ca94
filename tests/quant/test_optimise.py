"""Portfolio programmes against the published example, exact solutions and each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize as scipy_optimize

from risk.quant import parametric
from risk.quant.errors import FitError, QuantError
from risk.quant.montecarlo import draw_moves
from risk.quant.optimise import minimum_cvar, minimum_variance
from risk.quant.var import historical, linear_losses

# Rockafellar, Uryasev (2000), Optimization of conditional value-at-risk, section 5: S&P 500, US
# government bonds, small caps; monthly, return of at least 0.011, long only.
MEAN = np.array([0.0101110, 0.0043532, 0.0137058])
COVARIANCE = np.array(
    [
        [0.00324625, 0.00022983, 0.00420395],
        [0.00022983, 0.00049937, 0.00019247],
        [0.00420395, 0.00019247, 0.00764097],
    ]
)
RETURN = 0.011


def test_rockafellar_uryasev_minimum_variance() -> None:
    found = minimum_variance(MEAN, COVARIANCE, min_return=RETURN)
    # Weights: 2e-6 instead of half a digit, since the published ones miss the return by 1.4e-8
    # and the exact solution below is (0.4520113, 0.1155732, 0.4324155).
    assert found.weights == pytest.approx([0.452013, 0.115573, 0.432414], abs=2e-6)
    assert found.variance == pytest.approx(0.00378529, abs=5e-9)
    assert found.expected_return == pytest.approx(RETURN, abs=1e-9)


# alpha, VaR, CVaR of that portfolio under normality; half a unit of the last digit
RU_RISK = [(0.90, 0.067847, 0.096975), (0.95, 0.090200, 0.115908), (0.99, 0.132128, 0.152977)]


@pytest.mark.parametrize(("alpha", "value", "shortfall"), RU_RISK)
def test_rockafellar_uryasev_risk(alpha: float, value: float, shortfall: float) -> None:
    found = minimum_variance(MEAN, COVARIANCE, min_return=RETURN)
    sd = float(np.sqrt(found.variance))
    risk = parametric.normal(sd, alpha, mean=-found.expected_return)
    # 1e-6: the published VaR at 0.95 is 0.090200, the exact one 0.0901991
    assert risk.var == pytest.approx(value, abs=1e-6)
    assert risk.es == pytest.approx(shortfall, abs=5.5e-7)


def test_minimum_variance_is_exact() -> None:
    # Both constraints bind and no weight is zero, so the optimality conditions are linear.
    ones = np.ones((3, 1))
    system = np.block(
        [
            [2.0 * COVARIANCE, -ones, -MEAN[:, None]],
            [ones.T, np.zeros((1, 2))],
            [MEAN[None, :], np.zeros((1, 2))],
        ]
    )
    exact = np.linalg.solve(system, [0.0, 0.0, 0.0, 1.0, RETURN])[:3]
    found = minimum_variance(MEAN, COVARIANCE, min_return=RETURN)
    assert found.weights == pytest.approx(exact, abs=1e-8)
    free = minimum_variance(MEAN, COVARIANCE, long_only=False)
    inverse = np.linalg.solve(COVARIANCE, np.ones(3))
    assert free.weights == pytest.approx(inverse / inverse.sum(), abs=1e-7)


@pytest.mark.parametrize("alpha", [0.90, 0.95, 0.99])
def test_cvar_programme_tends_to_the_normal_solution(alpha: float) -> None:
    # Under normality the minimum-CVaR portfolio is the minimum-variance one. 20 000 draws: CVaR
    # within 2 %, and on these very draws not worse than the minimum-variance portfolio.
    moves = draw_moves(np.random.default_rng(0), 20_000, COVARIANCE, mean=MEAN)
    found = minimum_cvar(moves, alpha, mean=MEAN, min_return=RETURN)
    variance = minimum_variance(MEAN, COVARIANCE, min_return=RETURN)
    normal = parametric.normal(float(np.sqrt(variance.variance)), alpha, mean=-RETURN)
    assert found.risk.es == pytest.approx(normal.es, rel=0.02)
    assert found.risk.es <= historical(linear_losses(moves, variance.weights), alpha).es + 1e-9
    assert found.expected_return >= RETURN - 1e-9
    assert found.weights == pytest.approx(variance.weights, abs=0.06)


def test_cvar_programme_against_another_solver() -> None:
    rng = np.random.default_rng(1)
    returns = 0.02 * rng.standard_t(4, (400, 4)) + [0.001, 0.002, 0.0, 0.003]
    alpha, m, n = 0.95, 400, 4
    found = minimum_cvar(returns, alpha, min_return=0.0015)
    # variables w, z, u: HiGHS on the same programme
    cost = np.concatenate([np.zeros(n), [1.0], np.full(m, 1.0 / (m * (1 - alpha)))])
    tail = np.hstack([-returns, -np.ones((m, 1)), -np.eye(m)])
    floor = np.concatenate([-returns.mean(axis=0), np.zeros(1 + m)])
    total = np.concatenate([np.ones(n), np.zeros(1 + m)])
    other = scipy_optimize.linprog(
        cost,
        A_ub=np.vstack([tail, floor]),
        b_ub=np.concatenate([np.zeros(m), [-0.0015]]),
        A_eq=total[None, :],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)] + [(0, None)] * m,
    )
    assert found.risk.es == pytest.approx(other.fun, rel=1e-7)
    assert found.weights == pytest.approx(other.x[:n], abs=1e-5)


def test_scale_of_the_returns_does_not_matter() -> None:
    returns = np.random.default_rng(2).standard_normal((300, 3)) * [1.0, 2.0, 3.0]
    one, two = minimum_cvar(returns, 0.95), minimum_cvar(1e-5 * returns, 0.95)
    assert two.weights == pytest.approx(one.weights, abs=1e-6)
    small = minimum_variance(1e-5 * MEAN, 1e-10 * COVARIANCE, min_return=1e-5 * RETURN)
    plain = minimum_variance(MEAN, COVARIANCE, min_return=RETURN)
    assert small.weights == pytest.approx(plain.weights, abs=1e-7)


def test_short_positions_lower_the_risk() -> None:
    shared = np.random.default_rng(3).standard_normal((500, 1))
    returns = shared * [1.0, 1.5] + 0.1 * np.random.default_rng(4).standard_normal((500, 2))
    long_only, free = (minimum_cvar(returns, 0.95, long_only=flag) for flag in (True, False))
    assert long_only.weights == pytest.approx([1.0, 0.0], abs=1e-6)
    assert free.weights[1] < -1.0
    assert free.risk.es < 0.5 * long_only.risk.es


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: minimum_variance(MEAN, COVARIANCE, min_return=0.02), FitError, "infeasible"),
        (lambda: minimum_cvar(np.ones((5, 2)), 0.9, min_return=2.0), FitError, "infeasible"),
        (lambda: minimum_variance(MEAN, np.eye(2)), QuantError, "do not fit"),
        (lambda: minimum_variance(MEAN, -COVARIANCE), QuantError, "semi-definite"),
        (lambda: minimum_cvar(np.ones(5), 0.9), QuantError, "expected"),
        (lambda: minimum_cvar(np.ones((5, 2)), 1.0), QuantError, "confidence"),
        (lambda: minimum_cvar(np.ones((5, 2)), 0.9, mean=[1.0]), QuantError, "does not fit"),
    ],
)
def test_refusals(call, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        call()
