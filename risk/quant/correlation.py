"""Covariance and correlation of several series: Ledoit-Wolf, EWMA, DCC, tail dependence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError
from risk.quant.volatility import ewma_variance

Floats = NDArray[np.float64]

MAX_COPULA_DF: Final = 100.0  # a t copula beyond this has no measurable tail dependence


def _matrix(returns: ArrayLike, least: int) -> Floats:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 1 or not np.isfinite(values).all():
        raise QuantError(f"returns have shape {values.shape}; (T, n), finite, is expected")
    if values.shape[0] < least:
        raise FitError(f"{values.shape[0]} observations; at least {least} are needed")
    return values


def to_correlation(covariance: ArrayLike) -> Floats:
    """Correlations of covariance matrices (…, n, n); the diagonal is exactly 1."""
    cov = np.asarray(covariance, dtype=np.float64)
    sd = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    if not (sd > 0.0).all():
        raise QuantError("a variance is not positive; there is no correlation")
    result = cov / (sd[..., :, None] * sd[..., None, :])
    index = np.arange(cov.shape[-1])
    result[..., index, index] = 1.0
    return np.asarray(result)


# ---------------------------------------------------------------------------- static and weighted


@dataclass(frozen=True, eq=False)
class Shrunk:
    """`covariance` (n, n), shrunk by `intensity` (0 … 1) towards a multiple of the identity."""

    covariance: Floats
    intensity: float


def ledoit_wolf(returns: ArrayLike, *, standardise: bool = True) -> Shrunk:
    """Ledoit-Wolf (2004) covariance of returns (T, n) around their mean.

    With `standardise` the shrinkage acts on the correlations (each series is first divided by its
    standard deviation), so that quiet assets are not pulled to the variance of wild ones.
    """
    from sklearn.covariance import ledoit_wolf as shrink

    values = _matrix(returns, 2)
    scale = values.std(axis=0) if standardise else np.ones(values.shape[1])
    if not (scale > 0.0).all():
        raise FitError("a series is constant")
    covariance, intensity = shrink(values / scale)
    return Shrunk(np.asarray(covariance) * np.outer(scale, scale), float(intensity))


def ewma_covariance(returns: ArrayLike, decay: float = 0.94, *, warm_up: int = 20) -> Floats:
    """EWMA covariances around mean 0, (T + 1, n, n): entry t is the forecast for return t, the last
    one for the next. Started from the mean of the first `warm_up` outer products."""
    values = _matrix(returns, max(warm_up, 2))
    products = values[:, :, None] * values[:, None, :]
    return ewma_variance(products, decay, products[:warm_up].mean(axis=0))


# ------------------------------------------------------------------------------------------- DCC


@dataclass(frozen=True, eq=False)
class DccFit:
    """Engle's DCC(1,1) on standardised residuals z (T, n)::

        Q[t + 1] = (1 - a - b)·S + a·z[t] z[t]ᵀ + b·Q[t]      R[t] = Q[t] with unit diagonal

    `target` is S (n, n); `correlation` (T, n, n) holds R[t], the forecast for t, and
    `next_correlation` (n, n) the forecast after the sample. `loglikelihood` is the part of the
    correlations.
    """

    a: float
    b: float
    target: Floats
    correlation: Floats
    next_correlation: Floats
    loglikelihood: float


def fit_dcc(residuals: ArrayLike) -> DccFit:
    """Second step of DCC by Gaussian quasi-maximum likelihood, with correlation targeting.

    `residuals` (T, n) are returns divided by their one-step volatility forecasts (mean 0), for
    example `ArchFit.residuals()` of every asset side by side.
    """
    from scipy import optimize

    z = _matrix(residuals, 100)
    if z.shape[1] < 2:
        raise QuantError("DCC needs at least two series")
    target = to_correlation(z.T @ z / len(z))
    if float(np.linalg.eigvalsh(target).min()) < 1e-10:
        raise FitError("two series are copies of each other; their correlation is singular")
    products = z[:, :, None] * z[:, None, :]

    def deviance(theta: Floats) -> float:
        # Logistic coordinates keep a, b > 0 and a + b < 1.
        persistence, share = 1.0 / (1.0 + np.exp(-theta))
        a, b = persistence * share, persistence * (1.0 - share)
        return -_dcc_likelihood(z, _dcc_path(products, target, a, b)[:-1])

    starts = [np.array([np.log(p / (1 - p)), np.log(s / (1 - s))]) for p, s in _DCC_STARTS]
    found = min(
        (
            optimize.minimize(deviance, start, method="Nelder-Mead", options=_DCC_OPTIONS)
            for start in starts
        ),
        key=lambda result: float(result.fun),
    )
    if not np.isfinite(found.fun):
        raise FitError("the DCC likelihood is not finite on these residuals")
    persistence, share = 1.0 / (1.0 + np.exp(-found.x))
    a, b = float(persistence * share), float(persistence * (1.0 - share))
    path = _dcc_path(products, target, a, b)
    return DccFit(a, b, target, path[:-1], path[-1], -float(found.fun))


_DCC_STARTS: Final = ((0.97, 0.03), (0.80, 0.10))  # persistence a + b, share a / (a + b)
_DCC_OPTIONS: Final = {"xatol": 1e-4, "fatol": 1e-6, "maxiter": 200}


def _dcc_path(products: Floats, target: Floats, a: float, b: float) -> Floats:
    """R[0 … T], (T + 1, n, n), started at the target."""
    from scipy.signal import lfilter

    drive = (1.0 - a - b) * target + a * products
    body, _ = lfilter([1.0], [1.0, -b], drive, axis=0, zi=b * target[None])
    return to_correlation(np.concatenate([target[None], body]))


def _dcc_likelihood(z: Floats, correlation: Floats) -> float:
    """-½ Σ (ln|R| + zᵀR⁻¹z - zᵀz)."""
    sign, log_det = np.linalg.slogdet(correlation)
    if not (sign > 0.0).all():
        return -np.inf
    solved = np.linalg.solve(correlation, z[:, :, None])[:, :, 0]
    return float(-0.5 * np.sum(log_det + np.sum(z * solved, axis=1) - np.sum(z * z, axis=1)))


# -------------------------------------------------------------------------------- tail dependence


def tail_dependence(returns: ArrayLike, level: float = 0.05, *, lower: bool = True) -> Floats:
    """Empirical P(U_j < level | U_i < level) for all pairs of (T, n): symmetric (n, n), diagonal 1.

    U are the ranks of each series; `lower` False takes the upper tails instead. `level` is the
    share of observations in the tail; independence gives `level` itself.
    """
    values = _matrix(returns, 20)
    count = int(np.floor(level * len(values)))
    if not 0.0 < level < 1.0 or count < 2:
        raise QuantError(f"level = {level} leaves {count} observations in the tail")
    ranks = np.argsort(np.argsort(values if lower else -values, axis=0), axis=0)
    inside = (ranks < count).astype(np.float64)
    return np.asarray(inside.T @ inside / count)


def t_tail_dependence(correlation: ArrayLike, df: ArrayLike) -> Floats:
    """Limit of tail dependence of a t copula: 2·T_{ν+1}(-sqrt((ν + 1)(1 - ρ)/(1 + ρ)))."""
    from scipy.special import stdtr

    rho, nu = np.asarray(correlation, dtype=np.float64), np.asarray(df, dtype=np.float64)
    if not ((rho > -1.0) & (rho <= 1.0)).all() or not (nu > 0.0).all():
        raise QuantError("t tail dependence needs -1 < correlation <= 1 and df > 0")
    return np.asarray(2.0 * stdtr(nu + 1.0, -np.sqrt((nu + 1.0) * (1.0 - rho) / (1.0 + rho))))


@dataclass(frozen=True, eq=False)
class CopulaFit:
    """A t copula: `correlation` (n, n), `df`, and its limiting `tail_dependence` (n, n)."""

    correlation: Floats
    df: float
    tail_dependence: Floats
    loglikelihood: float


def fit_t_copula(returns: ArrayLike) -> CopulaFit:
    """t copula of (T, n): correlations sin(π·τ/2) from Kendall's τ, df by pseudo-likelihood on the
    ranks (McNeil, Frey, Embrechts). A matrix that is not positive definite is clipped to be so."""
    from scipy import optimize, stats

    values = _matrix(returns, 50)
    rows, n = values.shape
    if n < 2:
        raise QuantError("a copula needs at least two series")
    rho = np.eye(n)
    for i in range(n):
        for j in range(i):
            tau = float(stats.kendalltau(values[:, i], values[:, j]).statistic)
            rho[i, j] = rho[j, i] = np.sin(np.pi * tau / 2.0)
    roots, vectors = np.linalg.eigh(rho)
    if roots.min() < 1e-8:
        rho = to_correlation((vectors * np.maximum(roots, 1e-8)) @ vectors.T)
    uniform = stats.rankdata(values, axis=0) / (rows + 1.0)
    inverse, log_det = np.linalg.inv(rho), float(np.linalg.slogdet(rho)[1])

    def deviance(log_df: float) -> float:
        df = float(np.exp(log_df))
        x = stats.t.ppf(uniform, df)
        joint = np.sum((x @ inverse) * x, axis=1)
        constant = stats.t.logpdf(0.0, df)  # of one margin
        log_gamma = _log_gamma_ratio(df, n) - n / 2.0 * np.log(df * np.pi) - 0.5 * log_det
        density = log_gamma - (df + n) / 2.0 * np.log1p(joint / df)
        margins = n * constant - (df + 1.0) / 2.0 * np.sum(np.log1p(x**2 / df), axis=1)
        return -float(np.sum(density - margins))

    found = optimize.minimize_scalar(
        deviance, bounds=(np.log(1.0), np.log(MAX_COPULA_DF)), method="bounded"
    )
    df = float(np.exp(found.x))
    return CopulaFit(rho, df, t_tail_dependence(rho, df), -float(found.fun))


def _log_gamma_ratio(df: float, n: int) -> float:
    """ln Γ((ν + n)/2) - ln Γ(ν/2)."""
    from scipy.special import gammaln

    return float(gammaln((df + n) / 2.0) - gammaln(df / 2.0))
