"""Confidence bands of VaR and ES: order statistics (exact, VaR) and the bootstrap (both)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import QuantError
from risk.quant.var import check_alpha, check_losses, sample_tails

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """`low` <= measure <= `high` with probability about `confidence`; `coverage` is the exact
    probability where the method knows it, else None."""

    low: float
    high: float
    confidence: float
    coverage: float | None
    method: str


def order_statistics(losses: ArrayLike, alpha: float, *, confidence: float = 0.95) -> Band:
    """Distribution-free band of VaR between two order statistics of independent losses (T,).

    With K ~ Binomial(T, alpha) losses at or below the quantile, x(r) <= VaR <= x(s) holds with
    probability P(r <= K < s); r and s cut (1 - confidence)/2 on each side at most. Where the sample
    is too short for the upper side, `high` is infinite.
    """
    from scipy.special import bdtr

    loss = np.sort(check_losses(losses))
    check_alpha(alpha)
    side = (1.0 - check_alpha(confidence)) / 2.0
    n = loss.size
    cdf = np.asarray(bdtr(np.arange(-1, n + 1).clip(0), n, alpha), dtype=np.float64)
    cdf[0] = 0.0  # cdf[k + 1] = P(K <= k)
    rank_low = int(np.searchsorted(cdf, side, side="right")) - 1  # largest r with P(K < r) <= side
    rank_high = int(np.searchsorted(cdf, 1.0 - side))  # smallest s with P(K < s) >= 1 - side
    low = float(loss[rank_low - 1]) if rank_low >= 1 else -np.inf
    high = float(loss[rank_high - 1]) if rank_high <= n else np.inf
    coverage = float(cdf[min(rank_high, n + 1)] - cdf[max(rank_low, 0)])
    return Band(low, high, confidence, coverage, "order statistics")


@dataclass(frozen=True)
class TailBands:
    """Bootstrap bands of VaR and ES of one sample, and the bootstrap standard errors."""

    var: Band
    es: Band
    var_error: float
    es_error: float


def bootstrap(
    losses: ArrayLike,
    alpha: float,
    *,
    confidence: float = 0.95,
    repetitions: int = 2_000,
    block: float = 1.0,
    seed: int = 0,
) -> TailBands:
    """Percentile bands from resampled losses (T,).

    `block` > 1 draws stationary blocks (Politis-Romano) of that mean length, which keeps the
    dependence of overlapping or clustered losses; 1 is the plain bootstrap.
    """
    loss = check_losses(losses, 2)
    check_alpha(alpha)
    check_alpha(confidence)
    if block < 1.0 or block > loss.size or repetitions < 2:
        raise QuantError("block must lie within 1 … T and repetitions be at least 2")
    rng = np.random.default_rng(seed)
    var, es = np.empty(repetitions), np.empty(repetitions)
    batch = max(1, 2_000_000 // loss.size)  # 16 MB of losses at a time
    for start in range(0, repetitions, batch):
        stop = min(start + batch, repetitions)
        picked = _stationary_indices(rng, stop - start, loss.size, block)
        var[start:stop], es[start:stop] = sample_tails(loss[picked], alpha)
    cut = [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
    name = "bootstrap" if block == 1.0 else f"stationary bootstrap {block:g}"

    def band(samples: Floats) -> Band:
        low, high = np.quantile(samples, cut)
        return Band(float(low), float(high), confidence, None, name)

    errors = float(np.std(var, ddof=1)), float(np.std(es, ddof=1))
    return TailBands(band(var), band(es), *errors)


def _stationary_indices(
    rng: np.random.Generator, rows: int, size: int, block: float
) -> NDArray[np.int64]:
    """Row by row: indices (rows, size) of a stationary bootstrap, wrapping around the end."""
    fresh = rng.integers(0, size, (rows, size))
    if block == 1.0:
        return fresh
    starts = rng.random((rows, size)) < 1.0 / block
    starts[:, 0] = True
    position = np.arange(size)
    last = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
    return np.asarray(
        (np.take_along_axis(fresh, last, axis=1) + position - last) % size, dtype=np.int64
    )
