"""Risk factors over the margin period: filtered price moves, volatility moves, their scales.

Margin period: `PERIOD` = 24 hours; observations are overlapping, one an hour. A price move is
devolatilised by the EWMA forecast made before it (`DECAY` 0.97 a day), so that calm and wild months
speak in the same unit. Implied volatility is not in the price files; its stand-in is the
30-day expectation of a mean-reverting variance (fast EWMA towards slow EWMA, half-life
`REVERSION_DAYS`), of which the 24-hour changes are dated like the prices: a crash moves both.

Anti-procyclicality (EMIR RTS 153/2013, Art. 28): method (b), a weight of 25 % for stressed
observations, applied to the scale: σ = 0.75·σ_now + 0.25·σ_stress, σ_stress the `STRESS_QUANTILE`
of the forecasts seen so far; and, as in method (c), never below the root mean square move of the
whole look-back (at most 10 years). Steps from one parameter set to the next are limited to
+25 % / -10 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.data import PriceTable
from risk.quant.errors import FitError
from risk.quant.volatility import ewma_variance

Floats = NDArray[np.float64]

PERIOD: Final = 24  # hours
DECAY: Final = 0.97  # a day
FAST_DECAY: Final = 0.90
SLOW_DECAY: Final = 0.995
REVERSION_DAYS: Final = 10.0
TENOR_DAYS: Final = 30.0
PREMIUM: Final = 1.1  # implied over expected realised volatility
WARM_UP: Final = 30 * 24  # hours before the first observation
YEAR_HOURS: Final = 365 * 24
LOOK_BACK: Final = 10 * YEAR_HOURS
STRESS_WEIGHT: Final = 0.25
STRESS_QUANTILE: Final = 0.99
MAX_STEP_UP: Final = 1.25
MAX_STEP_DOWN: Final = 0.90
MIN_VOL_SCALE: Final = 0.02


@dataclass(frozen=True, eq=False)
class Factors:
    """Aligned arrays (T, n); row t knows the prices up to time t, except for the moves.

    `sigma`: forecast standard deviation of the log price over one period; `implied`: stand-in of
    the 30-day volatility per year; `move`, `vol_move`: log change of price and of `implied` over
    the period that starts at t, (T - PERIOD, n). `first` is the first row after the warm-up.
    """

    assets: tuple[str, ...]
    times: NDArray[np.int64]
    price: Floats
    sigma: Floats
    implied: Floats
    move: Floats
    vol_move: Floats
    first: int = WARM_UP


@dataclass(frozen=True, eq=False)
class Scale:
    """`price` (n,) σ of one period and `vol` (n,) τ: what a shape is multiplied by."""

    price: Floats
    vol: Floats


def build(table: PriceTable) -> Factors:
    """Factors of an hourly table; `FitError` where it is not much longer than the warm-up."""
    if len(table.times) < WARM_UP + 60 * 24:
        raise FitError(f"{len(table.times)} hours; at least {WARM_UP + 60 * 24} are needed")
    returns = table.log_returns()
    squares, start = returns**2, np.mean(returns[:WARM_UP] ** 2, axis=0)

    def variance(decay_a_day: float) -> Floats:
        return ewma_variance(squares, decay_a_day ** (1 / 24), start)

    fast, slow = variance(FAST_DECAY), variance(SLOW_DECAY)
    reach = np.log(2.0) * TENOR_DAYS / REVERSION_DAYS
    share = (1.0 - np.exp(-reach)) / reach
    implied = PREMIUM * np.sqrt((slow + (fast - slow) * share) * YEAR_HOURS)
    logs, log_vol = np.log(table.close), np.log(implied)
    return Factors(
        assets=table.assets,
        times=table.times,
        price=table.close,
        sigma=np.sqrt(variance(DECAY) * PERIOD),
        implied=implied,
        move=logs[PERIOD:] - logs[:-PERIOD],
        vol_move=log_vol[PERIOD:] - log_vol[:-PERIOD],
    )


def vol_scale(factors: Factors, start: int, stop: int) -> Floats:
    """τ (n,): root mean square volatility move of the rows start … stop - 1."""
    square = factors.vol_move[start:stop] ** 2
    return np.asarray(np.maximum(np.sqrt(np.mean(square, axis=0)), MIN_VOL_SCALE))


def shapes(factors: Factors, start: int, stop: int, tau: Floats, *, every: int = 1) -> Floats:
    """Filtered observations (m, 2n), [y | q], that begin in the rows start … stop - 1.

    Only complete observations whose end lies in the table; `every` > 1 thins them out.
    """
    last = min(stop, factors.move.shape[0])
    y = factors.move[start:last:every] / factors.sigma[start:last:every]
    return np.hstack([y, factors.vol_move[start:last:every] / tau])


def price_scale(factors: Factors, at: int) -> Floats:
    """σ (n,) at row `at` by the anti-procyclical rule; sees nothing later than `at`."""
    begin = max(factors.first, at + 1 - LOOK_BACK)
    seen = factors.sigma[begin : at + 1]
    stressed = np.quantile(seen, STRESS_QUANTILE, axis=0)
    done = factors.move[max(0, at - LOOK_BACK) : at + 1 - PERIOD]
    floor = np.sqrt(np.mean(done**2, axis=0))
    blend = (1.0 - STRESS_WEIGHT) * factors.sigma[at] + STRESS_WEIGHT * stressed
    return np.asarray(np.maximum(blend, floor))


def step(old: Scale | None, new: Scale) -> Scale:
    """`new`, no further from `old` than the step limits allow."""
    if old is None:
        return new
    return Scale(
        np.clip(new.price, MAX_STEP_DOWN * old.price, MAX_STEP_UP * old.price),
        np.clip(new.vol, MAX_STEP_DOWN * old.vol, MAX_STEP_UP * old.vol),
    )


def shocks(shape: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """(x, v), each (m, n), of shapes (m, 2n): simple price shocks and relative vol shocks."""
    n = scale.price.size
    x = np.expm1(shape[:, :n] * scale.price)
    return np.asarray(x), np.asarray(np.expm1(shape[:, n:] * scale.vol))
