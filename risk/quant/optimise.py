"""Portfolios of least risk as convex programmes (cvxpy): CVaR (Rockafellar-Uryasev), variance.

Weights sum to 1. CVaR is the ES of `risk.quant.var`, loss = -return.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError
from risk.quant.var import TailRisk, check_alpha, historical, linear_losses

Floats = NDArray[np.float64]

# Far below the sampling error of any covariance, and enough for six published digits of a weight.
TOLERANCES: Final = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def _cvxpy() -> Any:
    """The module, loaded when first used; its annotations are too incomplete to check against."""
    return import_module("cvxpy")


@dataclass(frozen=True, eq=False)
class MinimumVariance:
    """`weights` (n,), their expected return and variance, per step."""

    weights: Floats
    expected_return: float
    variance: float


@dataclass(frozen=True, eq=False)
class MinimumCvar:
    """`weights` (n,), their mean return over the scenarios, and VaR and ES (= CVaR) there."""

    weights: Floats
    expected_return: float
    risk: TailRisk


def minimum_variance(
    mean: ArrayLike,
    covariance: ArrayLike,
    *,
    min_return: float | None = None,
    long_only: bool = True,
) -> MinimumVariance:
    """Least variance with mean returns (n,) and covariance (n, n); `FitError` where infeasible."""
    cp = _cvxpy()
    m, cov = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if m.ndim != 1 or cov.shape != (m.size, m.size) or not np.allclose(cov, cov.T):
        raise QuantError(f"mean {m.shape} and covariance {cov.shape} do not fit")
    scale = float(np.trace(cov)) / m.size
    if not scale > 0.0 or float(np.linalg.eigvalsh(cov).min()) < -1e-10 * scale:
        raise QuantError("the covariance is not positive semi-definite")
    w = cp.Variable(m.size)
    # In units of the mean variance, so that the solver's tolerances mean the same for any data.
    objective = cp.Minimize(cp.quad_form(w, cp.psd_wrap(cov / scale)))
    weights = _solve(objective, w, m, min_return, long_only)
    return MinimumVariance(weights, float(m @ weights), float(weights @ cov @ weights))


def minimum_cvar(
    returns: ArrayLike,
    alpha: float,
    *,
    mean: ArrayLike | None = None,
    min_return: float | None = None,
    long_only: bool = True,
) -> MinimumCvar:
    """Least CVaR over equally likely scenarios of returns (m, n), as a linear programme::

        min  z + Σ u_i / (m·(1 - α))      u_i >= -returns_i·w - z,  u_i >= 0

    `min_return` binds the expected return, by `mean` (n,) or else by the scenarios' own mean.
    """
    cp = _cvxpy()
    check_alpha(alpha)
    scenarios = np.asarray(returns, dtype=np.float64)
    if scenarios.ndim != 2 or 0 in scenarios.shape or not np.isfinite(scenarios).all():
        raise QuantError(f"returns have shape {scenarios.shape}; (m, n), finite, is expected")
    m = scenarios.mean(axis=0) if mean is None else np.asarray(mean, dtype=np.float64)
    count, n = scenarios.shape
    if m.shape != (n,):
        raise QuantError(f"mean {m.shape} does not fit {n} assets")
    scale = float(np.std(scenarios)) or 1.0
    w, z, u = cp.Variable(n), cp.Variable(), cp.Variable(count, nonneg=True)
    objective = cp.Minimize(z + cp.sum(u) / (count * (1.0 - alpha)))
    tail = [u >= -(scenarios / scale) @ w - z]
    weights = _solve(objective, w, m, min_return, long_only, tail)
    risk = historical(linear_losses(scenarios, weights), alpha)
    return MinimumCvar(weights, float(m @ weights), risk)


def _solve(
    objective: Any,
    w: Any,
    mean: Floats,
    min_return: float | None,
    long_only: bool,
    more: list[Any] | None = None,
) -> Floats:
    """The optimal weights, cleaned of the solver's last digits."""
    cp = _cvxpy()
    constraints = [cp.sum(w) == 1.0, *(more or [])]
    if long_only:
        constraints.append(w >= 0.0)
    if min_return is not None:
        unit = float(np.abs(mean).max()) or 1.0
        constraints.append((mean / unit) @ w >= min_return / unit)
    problem = cp.Problem(objective, constraints)
    try:
        problem.solve(solver=cp.CLARABEL, **TOLERANCES)
    except cp.SolverError as error:
        raise FitError(f"the solver gave up: {error}") from error
    if problem.status != cp.OPTIMAL:
        raise FitError(f"no optimal portfolio: {problem.status}")
    weights = np.asarray(w.value, dtype=np.float64)
    if long_only:
        weights = np.maximum(weights, 0.0)
    return np.asarray(weights / weights.sum())
