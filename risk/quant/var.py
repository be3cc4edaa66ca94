"""VaR and ES from a sample of losses: historical, age-weighted, volatility-scaled, filtered.

Conventions (all of `risk.quant`): losses positive, `alpha` is the confidence, VaR the upper
quantile, ES the Rockafellar-Uryasev weighted tail mean

    ES = min_z  z + E[(L - z)+] / (1 - alpha),

which for weights w_i is the mean of the worst 1 - alpha of the mass; the loss at the VaR counts
with the part of its weight that fills the tail. Hence ES >= VaR always, and ES is sub-additive
for every sample and every alpha, whole n·(1 - alpha) or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import QuantError

if TYPE_CHECKING:
    from risk.quant.volatility import ArchKind

Floats = NDArray[np.float64]

# Two sums of weights closer than this are the same confidence: 1 - 0.99 is not 0.01 in floats.
WEIGHT_TOLERANCE: Final = 1e-12


@dataclass(frozen=True)
class TailRisk:
    """VaR and ES of one loss distribution at confidence `alpha`, in the units of the losses.

    `method` says how they were measured.
    """

    alpha: float
    var: float
    es: float
    method: str


def check_alpha(alpha: float) -> float:
    """`alpha` itself if it is a confidence, strictly between 0 and 1."""
    if not 0.0 < alpha < 1.0:
        raise QuantError(f"alpha = {alpha} is the confidence and must lie strictly within 0 … 1")
    return alpha


def check_losses(losses: ArrayLike, least: int = 1) -> Floats:
    """The losses as a (T,) array of finite floats with at least `least` entries."""
    array = np.asarray(losses, dtype=np.float64)
    if array.ndim != 1:
        raise QuantError(f"losses have shape {array.shape}, one dimension is expected")
    if array.size < least:
        raise QuantError(f"{array.size} losses; at least {least} are needed")
    if not np.isfinite(array).all():
        raise QuantError(f"loss {int(np.flatnonzero(~np.isfinite(array))[0])} is not finite")
    return array


# ------------------------------------------------------------------------------ weighted samples


def weighted_tail(losses: ArrayLike, weights: ArrayLike, alpha: float) -> tuple[float, float]:
    """(VaR, ES) of losses (T,) with probability weights (T,), which are normalised to sum 1."""
    check_alpha(alpha)
    loss = check_losses(losses)
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != loss.shape or not (weight >= 0.0).all() or not 0.0 < weight.sum() < np.inf:
        raise QuantError("weights must be one per loss, non-negative, finite, not all zero")
    order = np.argsort(-loss, kind="stable")
    loss, weight = loss[order], weight[order] / weight.sum()
    tail = 1.0 - alpha
    worst = np.cumsum(weight)  # mass of the worst i + 1 losses
    # P(L <= x) > alpha fails first where the losses above hold the whole tail.
    at = min(int(np.searchsorted(worst, tail - WEIGHT_TOLERANCE)), loss.size - 1)
    var = float(loss[at])
    above = float(weight[:at] @ (loss[:at] - var))  # E[(L - VaR)+]
    return var, var + above / tail


def sample_tails(samples: Floats, alpha: float) -> tuple[Floats, Floats]:
    """(VaR, ES), each (m,), of m equally weighted samples of n losses in the rows of (m, n)."""
    check_alpha(alpha)
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise QuantError(f"samples have shape {samples.shape}, (m, n) with n > 0 is expected")
    n = samples.shape[1]
    rank = int(np.ceil(n * (1.0 - alpha) - n * WEIGHT_TOLERANCE))  # VaR is the rank-th worst
    rank = min(max(rank, 1), n)
    tail = np.partition(samples, n - rank, axis=1)[:, n - rank :]
    var = tail[:, 0]
    return var, var + (tail - var[:, None]).sum(axis=1) / (n * (1.0 - alpha))


def historical(losses: ArrayLike, alpha: float) -> TailRisk:
    """Every loss of (T,) has the weight 1/T."""
    var, es = sample_tails(check_losses(losses)[None, :], alpha)
    return TailRisk(alpha, float(var[0]), float(es[0]), "historical")


def age_weights(count: int, decay: float) -> Floats:
    """Boudoukh-Richardson-Whitelaw weights (count,), oldest first: proportional to decay**age."""
    if not 0.0 < decay <= 1.0:
        raise QuantError(f"decay = {decay} must lie within 0 … 1, 0 excluded")
    weights = decay ** np.arange(count - 1, -1, -1, dtype=np.float64)
    return np.asarray(weights / weights.sum())


def age_weighted(losses: ArrayLike, alpha: float, *, decay: float = 0.995) -> TailRisk:
    """Historical simulation in which a loss loses weight by `decay` per step of age."""
    loss = check_losses(losses)
    var, es = weighted_tail(loss, age_weights(loss.size, decay), alpha)
    return TailRisk(alpha, var, es, f"age-weighted {decay:g}")


# ------------------------------------------------------------------------- volatility in the tail


def scale_to_volatility(values: ArrayLike, sigma: ArrayLike, next_sigma: ArrayLike) -> Floats:
    """Hull-White scaling: values·next_sigma/sigma, so that old moves speak today's volatility.

    `values` and `sigma` are (T,) or (T, n); `next_sigma` is () or (n,). Each sigma must be a
    forecast made before its value was known, as `volatility.VolatilityPath` gives them.
    """
    value, sd = np.asarray(values, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    ahead = np.asarray(next_sigma, dtype=np.float64)
    if sd.shape != value.shape:
        raise QuantError(f"sigma has shape {sd.shape}, the values {value.shape}")
    if not (sd > 0.0).all() or not (ahead > 0.0).all():
        raise QuantError("a volatility is not positive; such moves cannot be scaled")
    return np.asarray(value * (ahead / sd))


def volatility_scaled(
    losses: ArrayLike, alpha: float, *, decay: float = 0.94, warm_up: int = 20
) -> TailRisk:
    """Hull-White historical simulation with EWMA volatility of the losses (T,) themselves.

    The first `warm_up` losses start the EWMA and leave the sample.
    """
    from risk.quant.volatility import ewma

    loss = check_losses(losses, warm_up + 1)
    path = ewma(loss, decay, warm_up=warm_up)
    scaled = scale_to_volatility(loss[warm_up:], path.sigma[warm_up:], path.next_sigma)
    var, es = sample_tails(scaled[None, :], alpha)
    return TailRisk(alpha, float(var[0]), float(es[0]), f"volatility-scaled EWMA {decay:g}")


def filtered_historical(
    losses: ArrayLike,
    alpha: float,
    *,
    kind: ArchKind = "gjr",
    horizon: int = 1,
    paths: int = 10_000,
    seed: int = 0,
) -> TailRisk:
    """Filtered historical simulation (Barone-Adesi, Giannopoulos, Vosper).

    A GARCH-type model is fitted to -losses (T,), a series of P&L or returns; its standardised
    residuals are drawn with replacement and sent through the fitted recursion for `horizon` steps.
    For `horizon` = 1 every residual is used once and nothing is random. The result is the loss
    over the whole horizon.
    """
    from risk.quant.volatility import fit_arch

    loss = check_losses(losses, 100)
    fit = fit_arch(-loss, kind)
    if horizon == 1:
        simulated = -(fit.mean + fit.next_sigma * fit.residuals())
    else:
        simulated = -fit.bootstrap_sums(horizon, paths, seed)
    var, es = sample_tails(simulated[None, :], alpha)
    return TailRisk(alpha, float(var[0]), float(es[0]), f"filtered historical {kind}")


# -------------------------------------------------------------------------------- portfolio level


def linear_losses(returns: ArrayLike, exposures: ArrayLike) -> Floats:
    """Losses (T,) = -returns (T, n) @ exposures (n,), exposures in money per unit of return."""
    moves, held = np.asarray(returns, dtype=np.float64), np.asarray(exposures, dtype=np.float64)
    if moves.ndim != 2 or held.shape != (moves.shape[1],):
        raise QuantError(f"returns {moves.shape} and exposures {held.shape} do not fit")
    return np.asarray(-(moves @ held))
