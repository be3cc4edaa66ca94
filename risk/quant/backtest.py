"""Backtests of VaR and of margin: coverage, independence, duration, traffic light.

An *exception* is an observation whose loss exceeds the forecast strictly. `tail` is 1 - alpha, the
probability of an exception under the null hypothesis. All statistics are likelihood ratios with
0·ln 0 = 0, so they exist for 0 exceptions too. What a clearing house publishes (observations,
exceptions, achieved coverage, largest and average uncovered loss) is `Coverage`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import FitError, QuantError
from risk.quant.var import TailRisk, check_alpha, check_losses

Floats = NDArray[np.float64]
Hits = NDArray[np.bool_]
Zone = Literal["green", "yellow", "red"]

YELLOW_FROM: Final = 0.95  # cumulative probability at which the Basel zones begin
RED_FROM: Final = 0.9999
MAX_WEIBULL: Final = 20.0  # largest shape tried: spells so regular that the exact value is moot
MIN_DURATION_EXCEPTIONS: Final = 3


@dataclass(frozen=True)
class LikelihoodRatio:
    """A statistic that is chi-squared with `df` degrees of freedom under the null."""

    name: str
    statistic: float
    df: int
    p_value: float

    def rejects(self, level: float = 0.05) -> bool:
        """True where the null is rejected at `level`."""
        return self.p_value < level


def _likelihood_ratio(name: str, statistic: float, df: int) -> LikelihoodRatio:
    from scipy.special import chdtrc

    statistic = max(statistic, 0.0)  # rounding may leave -1e-15
    return LikelihoodRatio(name, statistic, df, float(chdtrc(df, statistic)))


def _log_likelihood(failures: float, trials: float, probability: float) -> float:
    """Log-likelihood of a Bernoulli sample."""
    from scipy.special import xlog1py, xlogy

    return float(xlogy(failures, probability) + xlog1py(trials - failures, -probability))


# --------------------------------------------------------------------------------------- coverage


@dataclass(frozen=True)
class Coverage:
    """The published form. Sizes are losses beyond the forecast, in units of the losses; 0 without
    exceptions. `coverage` = 1 - exceptions/observations, to be compared with `alpha`."""

    alpha: float
    observations: int
    exceptions: int
    coverage: float
    largest_exception: float
    average_exception: float


def hits(losses: ArrayLike, forecast: ArrayLike) -> Hits:
    """(T,) True where the loss (T,) exceeds the forecast, (T,) or (), strictly."""
    loss = check_losses(losses)
    margin = np.asarray(forecast, dtype=np.float64)
    if margin.shape not in ((), loss.shape) or not np.isfinite(margin).all():
        raise QuantError(f"the forecasts have shape {margin.shape}, the losses {loss.shape}")
    return np.asarray(loss > margin)


def coverage(losses: ArrayLike, forecast: ArrayLike, alpha: float) -> Coverage:
    """Summary of losses (T,) against VaR or margin forecasts made before them."""
    hit = hits(losses, forecast)
    beyond = (np.asarray(losses, dtype=np.float64) - np.asarray(forecast))[hit]
    count = int(hit.sum())
    return Coverage(
        alpha=check_alpha(alpha),
        observations=hit.size,
        exceptions=count,
        coverage=1.0 - count / hit.size,
        largest_exception=float(beyond.max()) if count else 0.0,
        average_exception=float(beyond.mean()) if count else 0.0,
    )


def kupiec(observations: int, exceptions: int, tail: float) -> LikelihoodRatio:
    """Proportion of failures (Kupiec 1995): is the frequency of exceptions `tail`?"""
    check_alpha(tail)
    if not 0 <= exceptions <= observations or observations == 0:
        raise QuantError(f"{exceptions} exceptions in {observations} observations")
    seen = exceptions / observations
    ratio = _log_likelihood(exceptions, observations, seen)
    ratio -= _log_likelihood(exceptions, observations, tail)
    return _likelihood_ratio("Kupiec POF", 2.0 * ratio, 1)


# ----------------------------------------------------------------------------------- independence


def transitions(hit: Hits) -> tuple[int, int, int, int]:
    """(n00, n01, n10, n11): pairs of neighbours, first index yesterday, 1 an exception."""
    before, after = hit[:-1], hit[1:]
    return (
        int(np.sum(~before & ~after)),
        int(np.sum(~before & after)),
        int(np.sum(before & ~after)),
        int(np.sum(before & after)),
    )


def independence(n00: int, n01: int, n10: int, n11: int) -> LikelihoodRatio:
    """Christoffersen (1998): does an exception make one on the next day more likely?"""
    from_quiet, from_hit = n00 + n01, n10 + n11
    if min(n00, n01, n10, n11) < 0 or from_quiet + from_hit == 0:
        raise QuantError("transition counts must be non-negative and not all zero")
    pooled = (n01 + n11) / (from_quiet + from_hit)
    ratio = -_log_likelihood(n01 + n11, from_quiet + from_hit, pooled)
    for moved, total in ((n01, from_quiet), (n11, from_hit)):
        if total:
            ratio += _log_likelihood(moved, total, moved / total)
    return _likelihood_ratio("Christoffersen independence", 2.0 * ratio, 1)


def combined(frequency: LikelihoodRatio, independent: LikelihoodRatio) -> LikelihoodRatio:
    """Conditional coverage: the sum of the two statistics, chi-squared with 2 degrees."""
    total = frequency.statistic + independent.statistic
    return _likelihood_ratio("Christoffersen conditional coverage", total, 2)


@dataclass(frozen=True)
class DurationTest:
    """Weibull shape of the time between exceptions; below 1 they cluster, 1 is no memory.

    `simulated_p_value` is the Monte Carlo p-value (Dufour) over samples of the same length, or None
    where it was not asked for; the chi-squared one is rough for few exceptions.
    """

    ratio: LikelihoodRatio
    shape: float
    simulated_p_value: float | None


def duration(hit: Hits, tail: float, *, simulations: int = 0, seed: int = 0) -> DurationTest:
    """Christoffersen and Pelletier (2004), Weibull against exponential durations (T,).

    The spell before the first and the one after the last exception count as censored. Needs
    `MIN_DURATION_EXCEPTIONS` exceptions, else `FitError`.
    """
    check_alpha(tail)
    statistic, shape = _duration_ratio(hit)
    p_value = None
    if simulations:
        rng = np.random.default_rng(seed)
        drawn = []
        for sample in rng.random((simulations, hit.size)) < tail:
            if int(sample.sum()) >= MIN_DURATION_EXCEPTIONS:
                drawn.append(_duration_ratio(sample)[0])
        reached = int(np.sum(np.array(drawn) >= statistic))
        p_value = (reached + 1) / (len(drawn) + 1)
    ratio = _likelihood_ratio("Christoffersen-Pelletier duration", statistic, 1)
    return DurationTest(ratio, shape, p_value)


def _duration_ratio(hit: Hits) -> tuple[float, float]:
    """(2·ln likelihood ratio, Weibull shape b). For given b the best rate is known in closed form,
    a^b = U/Σ D^b with U uncensored spells, which leaves one dimension."""
    from scipy import optimize

    at = np.flatnonzero(hit)
    if at.size < MIN_DURATION_EXCEPTIONS:
        raise FitError(f"{at.size} exceptions; the duration test needs {MIN_DURATION_EXCEPTIONS}")
    whole = np.diff(at).astype(np.float64)
    ends = np.array([at[0] + 1.0 if at[0] > 0 else 0.0, hit.size - 1.0 - at[-1]])
    logs = np.log(np.concatenate([whole, ends[ends > 0.0]]))
    log_whole, count = float(np.log(whole).sum()), whole.size
    top = float(logs.max())

    def deviance(shape: float) -> float:
        # ln Σ D^b with the largest term taken out, so that b = 20 does not overflow
        log_sum = shape * top + float(np.log(np.sum(np.exp(shape * (logs - top)))))
        likelihood = count * (np.log(count) - log_sum + np.log(shape) - 1.0)
        return -float(likelihood + (shape - 1.0) * log_whole)

    found = optimize.minimize_scalar(
        lambda log_shape: deviance(float(np.exp(log_shape))),
        bounds=(np.log(0.05), np.log(MAX_WEIBULL)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return max(2.0 * (deviance(1.0) - float(found.fun)), 0.0), float(np.exp(found.x))


# ---------------------------------------------------------------------------------- traffic light


@dataclass(frozen=True)
class TrafficLight:
    """`cumulative` = P(at most this many exceptions) under the null, and the Basel zone."""

    observations: int
    exceptions: int
    cumulative: float
    zone: Zone


def traffic_light(observations: int, exceptions: int, tail: float = 0.01) -> TrafficLight:
    """Basel zones for any sample size: yellow from cumulative 95 %, red from 99.99 %."""
    from scipy.special import bdtr

    if not 0 <= exceptions <= observations or observations == 0:
        raise QuantError(f"{exceptions} exceptions in {observations} observations")
    cumulative = float(bdtr(exceptions, observations, check_alpha(tail)))
    zone: Zone = "green"
    if cumulative >= RED_FROM:
        zone = "red"
    elif cumulative >= YELLOW_FROM:
        zone = "yellow"
    return TrafficLight(observations, exceptions, cumulative, zone)


# ------------------------------------------------------------------------------- the whole battery


@dataclass(frozen=True)
class VarBacktest:
    """All tests of one series of forecasts. `duration` is None with too few exceptions."""

    coverage: Coverage
    kupiec: LikelihoodRatio
    independence: LikelihoodRatio
    combined: LikelihoodRatio
    traffic_light: TrafficLight
    duration: DurationTest | None


def backtest_var(losses: ArrayLike, forecast: ArrayLike, alpha: float) -> VarBacktest:
    """Losses (T,), T >= 2, against VaR forecasts (T,) or () of confidence `alpha`."""
    hit = hits(check_losses(losses, 2), forecast)
    tail = 1.0 - check_alpha(alpha)
    frequency = kupiec(hit.size, int(hit.sum()), tail)
    independent = independence(*transitions(hit))
    enough = int(hit.sum()) >= MIN_DURATION_EXCEPTIONS
    return VarBacktest(
        coverage=coverage(losses, forecast, alpha),
        kupiec=frequency,
        independence=independent,
        combined=combined(frequency, independent),
        traffic_light=traffic_light(hit.size, int(hit.sum()), tail),
        duration=duration(hit, tail) if enough else None,
    )


def rolling_risk(
    losses: ArrayLike, estimate: Callable[[Floats], TailRisk], window: int, *, every: int = 1
) -> tuple[Floats, Floats]:
    """Out-of-sample (VaR, ES), each (T - window,), for the losses window … T - 1.

    `estimate` sees the `window` losses before each forecast and nothing else; with `every` > 1 its
    answer stands for that many steps.
    """
    loss = check_losses(losses, window + 1)
    if window < 1 or every < 1:
        raise QuantError("window and every must be positive")
    answers = [estimate(loss[t - window : t]) for t in range(window, loss.size, every)]
    ahead = loss.size - window
    var = np.repeat(np.array([a.var for a in answers]), every)[:ahead]
    es = np.repeat(np.array([a.es for a in answers]), every)[:ahead]
    return var, es
