"""Volatility of one series: EWMA, GARCH / GJR / EGARCH (through `arch`), HAR, and how to score it.

Every model answers with forecasts: `sigma[t]` uses what was known before return t, and
`next_sigma` is the forecast for the first return after the sample. All are per step, in the
units of the returns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError

Floats = NDArray[np.float64]
ArchKind = Literal["garch", "gjr", "egarch"]
Innovation = Literal["normal", "t"]

ARCH_TARGET_SD: Final = 1.0  # `arch` converges best on series of this size; we rescale both ways


@dataclass(frozen=True, eq=False)
class VolatilityPath:
    """One-step forecasts: `sigma` (T,) for the returns of the sample, `next_sigma` for the next."""

    sigma: Floats
    next_sigma: float
    method: str


def _series(returns: ArrayLike, least: int) -> Floats:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise QuantError("a series must be one-dimensional and finite")
    if values.size < least:
        raise FitError(f"{values.size} observations; at least {least} are needed")
    return values


# ------------------------------------------------------------------------------------------ EWMA


def ewma_variance(squares: ArrayLike, decay: float, start: ArrayLike) -> Floats:
    """v[0] = start, v[t + 1] = decay·v[t] + (1 - decay)·squares[t]; (T, …) in, (T + 1, …) out."""
    if not 0.0 < decay < 1.0:
        raise QuantError(f"decay = {decay} must lie strictly within 0 … 1")
    from scipy.signal import lfilter

    square = np.asarray(squares, dtype=np.float64)
    first = np.broadcast_to(np.asarray(start, dtype=np.float64), square.shape[1:])
    body, _ = lfilter([1.0 - decay], [1.0, -decay], square, axis=0, zi=decay * first[None])
    return np.concatenate([first[None], body])


def ewma(returns: ArrayLike, decay: float = 0.94, *, warm_up: int = 20) -> VolatilityPath:
    """RiskMetrics EWMA around mean 0, started from the mean square of the first `warm_up` returns.

    The forecasts of those first returns are therefore not out of sample.
    """
    values = _series(returns, max(warm_up, 2))
    start = float(np.mean(values[:warm_up] ** 2))
    if start <= 0.0:
        raise FitError(f"the first {warm_up} returns are all zero; EWMA has no start")
    sigma = np.sqrt(ewma_variance(values**2, decay, start))
    return VolatilityPath(sigma[:-1], float(sigma[-1]), f"EWMA {decay:g}")


# ----------------------------------------------------------------------------------- GARCH family


@dataclass(frozen=True, eq=False)
class ArchFit:
    """A fitted GARCH-type model of a series (T,).

    `params` are those of `arch` for the series times `scale`; `mean`, `sigma` (T,) and
    `next_sigma` are in units of the series.
    """

    kind: ArchKind
    innovation: Innovation
    params: Mapping[str, float]
    scale: float
    returns: Floats
    mean: float
    sigma: Floats
    next_sigma: float
    loglikelihood: float

    def residuals(self) -> Floats:
        """Standardised residuals (T,)."""
        return np.asarray((self.returns - self.mean) / self.sigma)

    def path(self) -> VolatilityPath:
        """The forecasts alone."""
        return VolatilityPath(self.sigma, self.next_sigma, f"{self.kind}-{self.innovation}")

    def filter(self, returns: ArrayLike) -> VolatilityPath:
        """The recursion with these parameters, unchanged, over another (longer) series (T,).

        It starts at this fit's first volatility, so that nothing later can reach back: with
        parameters from an earlier window these are out-of-sample forecasts.
        """
        shocks = (_series(returns, 1) - self.mean) * self.scale
        variance = np.empty(shocks.size + 1)
        variance[0] = (self.sigma[0] * self.scale) ** 2
        for t, shock in enumerate(shocks):
            variance[t + 1] = self._next_variance(variance[t], shock)
        sigma = np.sqrt(variance) / self.scale
        return VolatilityPath(sigma[:-1], float(sigma[-1]), f"{self.kind}-{self.innovation}")

    def horizon_sigma(self, steps: int, *, paths: int = 10_000, seed: int = 0) -> float:
        """Standard deviation of the sum of the next `steps` returns (bootstrap for `steps` > 1)."""
        if steps == 1:
            return self.next_sigma
        return float(np.std(self.bootstrap_sums(steps, paths, seed)))

    def bootstrap_sums(self, steps: int, paths: int, seed: int) -> Floats:
        """Sums of the next `steps` returns, (paths,), with resampled standardised residuals."""
        if steps < 1 or paths < 1:
            raise QuantError("steps and paths must be positive")
        draws = np.random.default_rng(seed).choice(self.residuals(), (steps, paths))
        variance = np.full(paths, (self.next_sigma * self.scale) ** 2)
        total = np.zeros(paths)
        for z in draws:
            shock = np.sqrt(variance) * z
            total += shock
            variance = self._next_variance(variance, shock)
        return np.asarray(total / self.scale + steps * self.mean)

    def _next_variance(self, variance: Any, shock: Any) -> Any:
        """One step of the recursion, in scaled units; scalars or arrays."""
        p = self.params
        gamma = p.get("gamma[1]", 0.0)
        if self.kind == "egarch":
            z = shock / np.sqrt(variance)
            move = p["alpha[1]"] * (np.abs(z) - np.sqrt(2.0 / np.pi)) + gamma * z
            return np.exp(p["omega"] + move + p["beta[1]"] * np.log(variance))
        return (
            p["omega"]
            + (p["alpha[1]"] + gamma * (shock < 0.0)) * shock**2
            + p["beta[1]"] * variance
        )


def _model(values: Floats, kind: ArchKind, innovation: Innovation) -> Any:
    from arch import arch_model

    if kind not in ("garch", "gjr", "egarch") or innovation not in ("normal", "t"):
        raise QuantError(f"unknown model {kind!r} with innovation {innovation!r}")
    return arch_model(
        values,
        mean="Constant",
        vol="EGARCH" if kind == "egarch" else "GARCH",
        p=1,
        o=0 if kind == "garch" else 1,
        q=1,
        dist=innovation,
        rescale=False,
    )


def fit_arch(returns: ArrayLike, kind: ArchKind = "gjr", innovation: Innovation = "t") -> ArchFit:
    """Maximum likelihood of a constant mean and a (1,1) model; `gjr` and `egarch` are asymmetric.

    Raises `FitError` where the optimiser does not converge.
    """
    values = _series(returns, 100)
    spread = float(np.std(values))
    if not spread > 0.0:
        raise FitError("the series is constant; there is no volatility to fit")
    scale = ARCH_TARGET_SD / spread
    model = _model(values * scale, kind, innovation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is checked below
        result = model.fit(disp="off", show_warning=False)
    if result.convergence_flag != 0 or not np.isfinite(result.loglikelihood):
        raise FitError(f"{kind} did not converge on {values.size} observations")
    ahead = result.forecast(horizon=1, reindex=False)
    params = {str(name): float(value) for name, value in result.params.items()}
    return ArchFit(
        kind=kind,
        innovation=innovation,
        params=params,
        scale=scale,
        returns=values,
        mean=params["mu"] / scale,
        sigma=np.asarray(result.conditional_volatility, dtype=np.float64) / scale,
        next_sigma=float(np.sqrt(ahead.variance.values[-1, 0])) / scale,
        loglikelihood=float(result.loglikelihood) + values.size * float(np.log(scale)),
    )


# ------------------------------------------------------------------------------------------- HAR


@dataclass(frozen=True, eq=False)
class HarFit:
    """Corsi's HAR: RV[t] = c + Σ_k b_k·mean(RV[t - lag_k … t - 1]).

    `coefficients` (1 + lags,): constant first. `variance` (T,) holds the fitted forecasts, NaN for
    the first max(lags) days; `next_variance` is the next one. Both are kept at or above the
    smallest realised variance of the sample, since a linear model may go below zero.
    """

    lags: tuple[int, ...]
    coefficients: Floats
    variance: Floats
    next_variance: float
    r_squared: float


def realised_variance(returns: ArrayLike, per_day: int = 24) -> Floats:
    """Sums of squared returns of whole days, (T // per_day,); an incomplete first day is left out.

    Returns are grouped from the end, so that the last day ends with the last return.
    """
    values = _series(returns, per_day)
    days = values.size // per_day
    return np.asarray((values[values.size - days * per_day :] ** 2).reshape(days, per_day).sum(1))


def _har_design(realised: Floats, lags: tuple[int, ...]) -> Floats:
    """Rows for t = max(lags) … T (the last one forecasts), columns 1 and the lagged means."""
    total = np.concatenate([[0.0], np.cumsum(realised)])
    t = np.arange(max(lags), realised.size + 1)
    means = [(total[t] - total[t - lag]) / lag for lag in lags]
    return np.column_stack([np.ones(t.size), *means])


def fit_har(realised: ArrayLike, lags: tuple[int, ...] = (1, 7, 30)) -> HarFit:
    """Least squares on daily realised variances (T,). Lags in days; crypto has 7-day weeks."""
    if not lags or min(lags) < 1 or list(lags) != sorted(set(lags)):
        raise QuantError(f"lags = {lags} must rise and be positive")
    values = _series(realised, 2 * max(lags))
    if not (values > 0.0).all():
        raise FitError("a realised variance is zero; HAR needs positive ones")
    design = _har_design(values, lags)
    target = values[max(lags) :]
    coefficients, _, rank, _ = np.linalg.lstsq(design[:-1], target, rcond=None)
    if int(rank) < design.shape[1]:
        raise FitError("the lagged variances are collinear; use fewer lags")
    fitted = design @ coefficients
    residual = target - fitted[:-1]
    total = float(np.sum((target - target.mean()) ** 2))
    r_squared = 1.0 - float(residual @ residual) / total
    fitted = np.maximum(fitted, values.min())
    variance = np.concatenate([np.full(max(lags), np.nan), fitted[:-1]])
    return HarFit(lags, np.asarray(coefficients), variance, float(fitted[-1]), r_squared)


# --------------------------------------------------------------------- out of sample, and scoring

Forecaster = Callable[[Floats], float]


def rolling_sigma(returns: ArrayLike, forecast: Forecaster, window: int, every: int = 1) -> Floats:
    """Out-of-sample `forecast(returns[t - window : t])` for t = window … T - 1, (T - window,).

    The forecaster runs at every `every`-th t and its answer stands until the next run.
    """
    values = _series(returns, window + 1)
    if window < 1 or every < 1:
        raise QuantError("window and every must be positive")
    answers = [forecast(values[t - window : t]) for t in range(window, values.size, every)]
    return np.repeat(np.array(answers), every)[: values.size - window]


def rolling_arch(
    returns: ArrayLike,
    window: int,
    every: int,
    kind: ArchKind = "gjr",
    innovation: Innovation = "t",
) -> Floats:
    """Out-of-sample sigma (T - window,) of a model refitted on the last `window` returns at every
    `every`-th step, its recursion updated with each return in between."""
    values = _series(returns, window + 1)
    pieces = []
    for t in range(window, values.size, every):
        fit = fit_arch(values[t - window : t], kind, innovation)
        stop = min(t + every, values.size)
        pieces.append(fit.filter(values[t - window : stop]).sigma[window:])
    return np.concatenate(pieces)


def qlike(realised: ArrayLike, forecast: ArrayLike) -> float:
    """Mean of RV/h - ln(RV/h) - 1 over variances (T,): 0 is perfect; robust to a noisy RV."""
    seen, said = np.asarray(realised, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if seen.shape != said.shape or not ((seen > 0.0).all() and (said > 0.0).all()):
        raise QuantError("QLIKE needs positive variances of the same shape")
    ratio = seen / said
    return float(np.mean(ratio - np.log(ratio) - 1.0))
