"""VaR and ES of normal and Student t losses in closed form, and their fits.

With `mean` m and standard deviation s of the loss, z the standard normal `alpha`-quantile and q
that of a t with ν degrees of freedom scaled to variance 1 by c = sqrt((ν - 2)/ν)::

    normal   VaR = m + s·z            ES = m + s·φ(z)/(1 - α)
    t        VaR = m + s·c·q          ES = m + s·c·f(q)/(1 - α)·(ν + q²)/(ν - 1)

The spread is always the standard deviation, also for the t, which therefore needs ν > 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError
from risk.quant.var import TailRisk, check_alpha, check_losses

# Beyond this a t is a normal to every digit that matters, and its likelihood is flat.
MAX_DF = 200.0


def normal(sd: float, alpha: float, *, mean: float = 0.0) -> TailRisk:
    """Normal losses with standard deviation `sd`, in the units of `sd`."""
    from scipy.special import ndtri

    check_alpha(alpha)
    _check_sd(sd)
    z = float(ndtri(alpha))
    density = float(np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi))
    return TailRisk(alpha, mean + sd * z, mean + sd * density / (1.0 - alpha), "normal")


def student_t(sd: float, df: float, alpha: float, *, mean: float = 0.0) -> TailRisk:
    """Student t losses with `df` > 2 degrees of freedom and standard deviation `sd`."""
    from scipy.special import gammaln, stdtrit

    check_alpha(alpha)
    _check_sd(sd)
    if not df > 2.0:
        raise QuantError(f"df = {df}: a t needs df > 2 to have a standard deviation")
    q = float(stdtrit(df, alpha))
    log_density = (
        gammaln((df + 1.0) / 2.0)
        - gammaln(df / 2.0)
        - 0.5 * np.log(df * np.pi)
        - (df + 1.0) / 2.0 * np.log1p(q * q / df)
    )
    excess = float(np.exp(log_density)) / (1.0 - alpha) * (df + q * q) / (df - 1.0)
    unit = sd * float(np.sqrt((df - 2.0) / df))
    return TailRisk(alpha, mean + unit * q, mean + unit * excess, f"t {df:.3g}")


def _check_sd(sd: float) -> None:
    if not (np.isfinite(sd) and sd >= 0.0):
        raise QuantError(f"sd = {sd} is not a standard deviation")


# ------------------------------------------------------------------------------------- estimation


def fit_normal(losses: ArrayLike, alpha: float) -> TailRisk:
    """Normal with the sample's mean and standard deviation (ddof 1)."""
    loss = check_losses(losses, 2)
    return normal(float(np.std(loss, ddof=1)), alpha, mean=float(np.mean(loss)))


def fit_student_t(losses: ArrayLike, alpha: float) -> TailRisk:
    """Student t by maximum likelihood in location, scale and degrees of freedom.

    Raises `FitError` where the fitted t has df <= 2 and thus no standard deviation.
    """
    from scipy import optimize, special

    loss = check_losses(losses, 20)
    centre, spread = float(np.median(loss)), float(np.std(loss))
    if not spread > 0.0:
        raise FitError("the losses are constant; no t can be fitted")
    x = (loss - centre) / spread

    def deviance(theta: NDArray[np.float64]) -> float:
        place, scale, df = theta[0], np.exp(theta[1]), np.exp(theta[2])
        constant = special.gammaln((df + 1) / 2) - special.gammaln(df / 2)
        constant -= 0.5 * np.log(df * np.pi) + theta[1]
        body = (df + 1) / 2 * np.mean(np.log1p(((x - place) / scale) ** 2 / df))
        return float(body - constant)

    found = optimize.minimize(
        deviance,
        x0=np.array([0.0, np.log(0.7), np.log(4.0)]),
        method="L-BFGS-B",
        bounds=[(-5.0, 5.0), (-10.0, 3.0), (np.log(0.3), np.log(MAX_DF))],
    )
    df = float(np.exp(found.x[2]))
    if not found.success or df <= 2.0:
        raise FitError(f"the t fit ends at df = {df:.3g}; it has no standard deviation")
    sd = spread * float(np.exp(found.x[1])) * float(np.sqrt(df / (df - 2.0)))
    return student_t(sd, df, alpha, mean=centre + spread * float(found.x[0]))


def delta_normal(exposures: ArrayLike, covariance: ArrayLike, alpha: float) -> TailRisk:
    """Normal loss of a linear portfolio with mean 0: sd = sqrt(eᵀ C e).

    `exposures` (n,) in money per unit of return, `covariance` (n, n) of the returns.
    """
    held, cov = np.asarray(exposures, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    if held.ndim != 1 or cov.shape != (held.size, held.size):
        raise QuantError(f"exposures {held.shape} and covariance {cov.shape} do not fit")
    variance = float(held @ cov @ held)
    if variance < 0.0:
        raise QuantError("the covariance is not positive semi-definite")
    return normal(float(np.sqrt(variance)), alpha)
