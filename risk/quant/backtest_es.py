"""Backtests of expected shortfall, and scores to rank models by.

With losses L, forecasts VaR and ES at confidence alpha, I = 1 where L > VaR (Acerbi, Székely 2014
and 2019, in terms of losses)::

    Z1  = 1 - (1/ΣI)·Σ I·L/ES                              size of the exceptions only
    Z2  = 1 - Σ I·L/ES / (T·(1 - α))                       size and frequency
    Zmb = mean((ES - VaR - (L - VaR)+/(1 - α))/ES)         nearly blind to errors of VaR

All have mean 0 under the null (Z1 given an exception) and fall below 0 when risk is understated.
Their law depends on the shape of the losses alone, not on the scale, so it is simulated once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant import parametric
from risk.quant.errors import FitError, QuantError
from risk.quant.var import check_alpha, check_losses

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EsStatistics:
    """The three statistics; `z1` is None without exceptions."""

    z1: float | None
    z2: float
    minimally_biased: float


def _checked(
    losses: ArrayLike, var: ArrayLike, es: ArrayLike, alpha: float
) -> tuple[Floats, Floats, Floats]:
    check_alpha(alpha)
    loss = check_losses(losses, 2)
    shape = loss.shape
    value = np.broadcast_to(np.asarray(var, dtype=np.float64), shape)
    shortfall = np.broadcast_to(np.asarray(es, dtype=np.float64), shape)
    if not (shortfall > 0.0).all() or not (shortfall >= value).all():
        raise QuantError("ES forecasts must be positive and at least VaR")
    return loss, value, shortfall


def es_statistics(losses: ArrayLike, var: ArrayLike, es: ArrayLike, alpha: float) -> EsStatistics:
    """Z1, Z2 and Zmb of losses (T,) against forecasts (T,) or ()."""
    loss, value, shortfall = _checked(losses, var, es, alpha)
    z1, z2, biased = _statistics(loss[None, :], value, shortfall, 1.0 - alpha)
    size = None if np.isnan(z1[0]) else float(z1[0])
    return EsStatistics(size, float(z2[0]), float(biased[0]))


def _statistics(
    loss: Floats, var: Floats | float, es: Floats | float, tail: float
) -> tuple[Floats, Floats, Floats]:
    """Row by row over (m, T)."""
    hit = loss > var
    sizes = np.where(hit, loss / es, 0.0).sum(axis=1)
    count = hit.sum(axis=1)
    z1 = 1.0 - sizes / np.where(count > 0, count, np.nan)
    z2 = 1.0 - sizes / (loss.shape[1] * tail)
    gap = (es - var - np.maximum(loss - var, 0.0) / tail) / es
    return z1, z2, gap.mean(axis=1)


@dataclass(frozen=True, eq=False)
class NullLaw:
    """Simulated statistics under the null, (simulations,) each: losses with the stated law, for
    which the forecasts are exact."""

    alpha: float
    observations: int
    z1: Floats
    z2: Floats
    minimally_biased: Floats


def null_law(
    observations: int,
    alpha: float,
    *,
    df: float | None = None,
    simulations: int = 10_000,
    seed: int = 0,
) -> NullLaw:
    """The law of the statistics for `observations` normal losses, or t losses with `df` > 2."""
    if observations < 2 or simulations < 1:
        raise QuantError("observations must be at least 2 and simulations positive")
    risk = parametric.normal(1.0, alpha) if df is None else parametric.student_t(1.0, df, alpha)
    rng = np.random.default_rng(seed)
    pieces = []
    batch = max(1, 2_000_000 // observations)  # 16 MB at a time
    for start in range(0, simulations, batch):
        shape = (min(batch, simulations - start), observations)
        if df is None:
            loss = rng.standard_normal(shape)
        else:
            loss = rng.standard_t(df, shape) * np.sqrt((df - 2.0) / df)
        pieces.append(_statistics(loss, risk.var, risk.es, 1.0 - alpha))
    z1, z2, biased = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return NullLaw(alpha, observations, z1, z2, biased)


def critical_value(simulated: Floats, level: float = 0.05) -> float:
    """Below this value a statistic rejects at `level`; NaN entries (no exception) are left out."""
    return float(np.nanquantile(simulated, check_alpha(level)))


def p_value(statistic: float, simulated: Floats) -> float:
    """Share of the simulated null at or below the statistic, counting itself once."""
    drawn = simulated[~np.isnan(simulated)]
    return float((np.sum(drawn <= statistic) + 1) / (drawn.size + 1))


@dataclass(frozen=True)
class EsBacktest:
    """Statistics and one-sided p-values: small means that ES was too low. `exceptions` of
    `observations` losses lay above VaR; `average_ratio` is the mean of L/ES over them, 1 where
    ES is right; it and what follows from Z1 are None without exceptions."""

    alpha: float
    observations: int
    exceptions: int
    average_ratio: float | None
    statistics: EsStatistics
    z1_p_value: float | None
    z2_p_value: float
    minimally_biased_p_value: float


def backtest_es(losses: ArrayLike, var: ArrayLike, es: ArrayLike, null: NullLaw) -> EsBacktest:
    """Losses (T,) against forecasts (T,) or () at `null.alpha`; T must be `null.observations`."""
    loss, value, _ = _checked(losses, var, es, null.alpha)
    if loss.size != null.observations:
        raise QuantError(f"{loss.size} losses against a null law of {null.observations}")
    seen = es_statistics(losses, var, es, null.alpha)
    return EsBacktest(
        alpha=null.alpha,
        observations=loss.size,
        exceptions=int(np.sum(loss > value)),
        average_ratio=None if seen.z1 is None else 1.0 - seen.z1,
        statistics=seen,
        z1_p_value=None if seen.z1 is None else p_value(seen.z1, null.z1),
        z2_p_value=p_value(seen.z2, null.z2),
        minimally_biased_p_value=p_value(seen.minimally_biased, null.minimally_biased),
    )


@dataclass(frozen=True)
class ExceedanceTest:
    """McNeil and Frey (2000): mean of (L - ES)/ES over the exceptions, its t ratio, and the
    one-sided bootstrap p-value of a mean above 0, which says that ES was too low."""

    exceptions: int
    mean: float
    t_ratio: float
    p_value: float


def exceedance_residuals(
    losses: ArrayLike,
    var: ArrayLike,
    es: ArrayLike,
    alpha: float,
    *,
    repetitions: int = 5_000,
    seed: int = 0,
) -> ExceedanceTest:
    """The bootstrap makes no assumption about the law of the exceptions. Needs three of them that
    are not all alike, else `FitError`."""
    loss, value, shortfall = _checked(losses, var, es, alpha)
    hit = loss > value
    residual = loss[hit] / shortfall[hit] - 1.0
    if residual.size < 3 or not np.ptp(residual) > 0.0:
        raise FitError(f"{residual.size} exceptions; three different ones are needed")

    def t_ratios(sample: Floats) -> Floats:
        spread = sample.std(axis=1, ddof=1) / np.sqrt(sample.shape[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sample.mean(axis=1) / spread)

    observed = float(t_ratios(residual[None, :])[0])
    rng = np.random.default_rng(seed)
    centred = residual - residual.mean()
    drawn = t_ratios(rng.choice(centred, (repetitions, residual.size)))
    drawn = drawn[~np.isnan(drawn)]
    chance = (np.sum(drawn >= observed) + 1) / (drawn.size + 1)
    return ExceedanceTest(residual.size, float(residual.mean()), observed, float(chance))


# ----------------------------------------------------------------------------------------- scores


def quantile_score(losses: ArrayLike, var: ArrayLike, alpha: float) -> float:
    """Mean pinball loss of VaR forecasts (T,) or (): smaller is better; minimal at the truth."""
    loss, value = check_losses(losses), np.asarray(var, dtype=np.float64)
    gap = loss - value
    return float(np.mean(np.maximum(check_alpha(alpha) * gap, (alpha - 1.0) * gap)))


def fz0_score(losses: ArrayLike, var: ArrayLike, es: ArrayLike, alpha: float) -> float:
    """Mean FZ0 loss of (VaR, ES) forecasts (Patton, Ziegel, Chen 2019): smaller is better."""
    loss, value, shortfall = _checked(losses, var, es, alpha)
    beyond = np.maximum(loss - value, 0.0) / (1.0 - alpha)
    return float(np.mean((beyond + value) / shortfall + np.log(shortfall) - 1.0))
