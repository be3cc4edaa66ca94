"""Extreme value theory: peaks over threshold with a generalised Pareto tail (McNeil).

Losses above a threshold u exceed it by y > 0 with P(Y > y) = (1 + ξ·y/β)^(-1/ξ). With k of n losses
above u::

    VaR = u + β/ξ·(((1 - α)·n/k)^(-ξ) - 1)          ES = (VaR + β - ξ·u)/(1 - ξ),  ξ < 1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError
from risk.quant.var import TailRisk, check_alpha, check_losses

MIN_EXCEEDANCES: Final = 10
_SMALL_SHAPE: Final = 1e-8  # below this the tail is exponential to all digits


@dataclass(frozen=True)
class ParetoTail:
    """A fitted tail: `threshold` and `scale` β in units of the losses, `shape` ξ without units.

    `observations` n, `exceedances` k losses strictly above the threshold; standard errors from the
    inverse observed information (reliable for ξ > -0.5), None where that is not positive.
    """

    threshold: float
    shape: float
    scale: float
    observations: int
    exceedances: int
    shape_error: float | None
    scale_error: float | None
    loglikelihood: float

    def quantile(self, alpha: float) -> float:
        """VaR at `alpha`, which must lie in the fitted tail."""
        ratio = (1.0 - check_alpha(alpha)) * self.observations / self.exceedances
        if ratio > 1.0 + 1e-12:
            least = 1.0 - self.exceedances / self.observations
            raise QuantError(f"alpha = {alpha} is below the threshold's own level {least:.4f}")
        if abs(self.shape) < _SMALL_SHAPE:
            return self.threshold - self.scale * float(np.log(ratio))
        return self.threshold + self.scale * float(np.expm1(-self.shape * np.log(ratio))) / (
            self.shape
        )

    def risk(self, alpha: float) -> TailRisk:
        """VaR and ES at `alpha`. Raises `QuantError` for ξ >= 1, where ES is infinite."""
        if self.shape >= 1.0:
            raise QuantError(f"the tail shape is {self.shape:.3f} >= 1: its ES is infinite")
        var = self.quantile(alpha)
        es = (var + self.scale - self.shape * self.threshold) / (1.0 - self.shape)
        return TailRisk(alpha, var, es, f"EVT above {self.threshold:.6g}")


def fit_pot(
    losses: ArrayLike, *, threshold: float | None = None, quantile: float = 0.95
) -> ParetoTail:
    """Maximum likelihood over the losses (T,) above `threshold`, or above their `quantile`.

    The two-parameter likelihood is profiled to one (Grimshaw 1993): with θ = ξ/β,
    ξ(θ) = mean ln(1 + θ·y), and the maximum over θ is found on a grid and polished.
    """
    loss = check_losses(losses, MIN_EXCEEDANCES + 1)
    if threshold is None:
        threshold = float(np.quantile(loss, check_alpha(quantile)))
    excess = loss[loss > threshold] - threshold
    if excess.size < MIN_EXCEEDANCES:
        raise FitError(
            f"{excess.size} losses exceed the threshold {threshold:g}; at least"
            f" {MIN_EXCEEDANCES} are needed"
        )
    unit = float(np.mean(excess))
    shape, scale = _maximise(excess / unit)
    errors = _standard_errors(excess / unit, shape, scale)
    return ParetoTail(
        threshold=float(threshold),
        shape=shape,
        scale=scale * unit,
        observations=loss.size,
        exceedances=int(excess.size),
        shape_error=None if errors is None else errors[0],
        scale_error=None if errors is None else errors[1] * unit,
        loglikelihood=-_deviance(excess / unit, shape, scale) - excess.size * float(np.log(unit)),
    )


def _deviance(y: NDArray[np.float64], shape: float, scale: float) -> float:
    """Minus the log-likelihood of the excesses."""
    if scale <= 0.0:
        return float("inf")
    if abs(shape) < _SMALL_SHAPE:
        return float(y.size * np.log(scale) + y.sum() / scale)
    inner = shape / scale * y
    if inner.min() <= -1.0:
        return float("inf")
    return float(y.size * np.log(scale) + (1.0 + 1.0 / shape) * np.log1p(inner).sum())


def _maximise(y: NDArray[np.float64]) -> tuple[float, float]:
    """(ξ, β) of excesses with mean 1. The local maximum, as the likelihood is unbounded at the
    edge θ -> -1/max(y) for ξ < -1."""
    from scipy import optimize

    def profile(theta: float) -> float:
        if abs(theta) < _SMALL_SHAPE:
            return _deviance(y, 0.0, 1.0)
        shape = float(np.mean(np.log1p(theta * y)))
        return _deviance(y, shape, shape / theta) if shape > -1.0 else float("inf")

    edge = -1.0 / float(y.max())
    grid = np.concatenate([edge * (1.0 - np.geomspace(1e-6, 1.0, 60)), np.geomspace(1e-4, 50, 120)])
    values = np.array([profile(float(theta)) for theta in grid])
    at = int(np.argmin(values))
    low, high = grid[max(at - 1, 0)], grid[min(at + 1, grid.size - 1)]
    found = optimize.minimize_scalar(
        profile, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    theta = float(found.x)
    if not np.isfinite(found.fun):
        raise FitError("the Pareto likelihood has no maximum on these excesses")
    if abs(theta) < _SMALL_SHAPE:
        return 0.0, 1.0
    shape = float(np.mean(np.log1p(theta * y)))
    return shape, shape / theta


def _standard_errors(
    y: NDArray[np.float64], shape: float, scale: float
) -> tuple[float, float] | None:
    """From the observed information by central differences; None where it is not positive."""
    step = np.array([1e-4, 1e-4 * scale])
    point = np.array([shape, scale])
    hessian = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            hessian[i, j] = (
                _deviance(y, *(point + a + b))
                - _deviance(y, *(point + a - b))
                - _deviance(y, *(point - a + b))
                + _deviance(y, *(point - a - b))
            ) / (4.0 * step[i] * step[j])
    if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian).min() <= 0.0:
        return None
    variances = np.diag(np.linalg.inv(hessian))
    return float(np.sqrt(variances[0])), float(np.sqrt(variances[1]))
