"""Monte Carlo VaR and ES: draw joint factor moves, reprice everything, read the tail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.bands import order_statistics
from risk.quant.errors import QuantError
from risk.quant.var import TailRisk, check_alpha, sample_tails

Floats = NDArray[np.float64]
# Losses (m,) of a portfolio under factor moves (m, n); it must reprice, not linearise.
LossFunction = Callable[[Floats], Floats]


@dataclass(frozen=True)
class MonteCarlo:
    """The measured risk, and what the number of paths leaves open.

    `var_low` … `var_high` is the 95 % order-statistics band of VaR, `es_error` the standard error
    of ES (both in the units of the losses, over independent draws).
    """

    risk: TailRisk
    paths: int
    var_low: float
    var_high: float
    es_error: float


def draw_moves(
    rng: np.random.Generator,
    paths: int,
    covariance: ArrayLike,
    *,
    mean: ArrayLike = 0.0,
    df: float | None = None,
    antithetic: bool = True,
) -> Floats:
    """Factor moves (paths, n) with the given covariance (n, n) and mean (n,) or ().

    `df` None is a multivariate normal, else a multivariate t of the same covariance (df > 2), which
    has tail dependence. `antithetic` uses every draw also with the opposite sign; paths is even
    then. The covariance may be singular.
    """
    cov = np.asarray(covariance, dtype=np.float64)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or not np.allclose(cov, cov.T):
        raise QuantError("the covariance is not a symmetric matrix")
    if df is not None and df <= 2.0:
        raise QuantError(f"df = {df}: a t needs df > 2 to have a covariance")
    if paths < 1 or (antithetic and paths % 2):
        raise QuantError(f"paths = {paths} must be positive, and even for antithetic draws")
    values, vectors = np.linalg.eigh(cov)
    if values.min() < -1e-10 * max(float(values.max()), 0.0):
        raise QuantError("the covariance is not positive semi-definite")
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    count = paths // 2 if antithetic else paths
    draws = rng.standard_normal((count, len(cov))) @ root.T
    if df is not None:
        draws *= np.sqrt((df - 2.0) / rng.chisquare(df, (count, 1)))
    if antithetic:
        draws = np.concatenate([draws, -draws])
    return np.asarray(draws + np.asarray(mean, dtype=np.float64))


def draw_copula(
    rng: np.random.Generator,
    paths: int,
    history: ArrayLike,
    correlation: ArrayLike,
    df: float,
) -> Floats:
    """Moves (paths, n) with each factor's own history (T, n) as margin, joined by a t copula.

    The empirical quantile function is interpolated, so that nothing exceeds what was seen.
    """
    from scipy.special import stdtr

    past = np.sort(np.asarray(history, dtype=np.float64), axis=0)
    draws = draw_moves(rng, paths, correlation, df=df, antithetic=False)
    uniform = stdtr(df, draws * np.sqrt(df / (df - 2.0)))
    grid = (np.arange(len(past)) + 0.5) / len(past)
    columns = [np.interp(uniform[:, j], grid, past[:, j]) for j in range(past.shape[1])]
    return np.column_stack(columns)


def measure(loss: LossFunction, moves: Floats, alpha: float, *, batch: int = 65_536) -> MonteCarlo:
    """Full revaluation of `moves` (m, n) by `loss` in batches, VaR, ES and their sampling error.

    The error figures assume independent rows; with antithetic draws they err on the safe side for
    portfolios that are nearly linear.
    """
    check_alpha(alpha)
    pieces = [np.asarray(loss(moves[i : i + batch])) for i in range(0, len(moves), batch)]
    losses = np.concatenate(pieces)
    if losses.shape != (len(moves),) or not np.isfinite(losses).all():
        raise QuantError("the loss function must give one finite loss per move")
    var, es = (float(x[0]) for x in sample_tails(losses[None, :], alpha))
    band = order_statistics(losses, alpha)
    beyond = np.maximum(losses - var, 0.0)  # ES = VaR + mean(beyond)/(1 - alpha)
    error = float(np.std(beyond)) / ((1.0 - alpha) * float(np.sqrt(len(losses))))
    risk = TailRisk(alpha, var, es, "Monte Carlo")
    return MonteCarlo(risk, len(losses), band.low, band.high, error)
