"""Reserved scenarios: fixed damped tails and historical days. They protect short wings.

Fixed: ±2 and ±4 times a `UNIT` = 2.5σ move of everything together with volatility up. Historical:
the most extreme filtered days of the sample, at least `APART` hours apart, as they were. Damping: a
scenario of m units has the weight `DAMPING`/m². SPAN's 1/m would bind for every short gamma
position, whose loss grows like m²; 1/m² binds only where the loss grows faster, which is the short
far wing that an expected shortfall does not see.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNIT: Final = 2.5
TAILS: Final = ((2.0, 4.0), (4.0, 6.0))  # multiple m of the price unit, vol move in τ
DAMPING: Final = 0.9
APART: Final = 72
MAX_LOG_MOVE: Final = 12.0  # in σ: a shape stays a shock above -100 % at any admitted scale


def fixed(underlyings: int) -> tuple[Floats, Floats]:
    """(shapes (4, 2n), weights (4,))."""
    rows, weights = [], []
    for price, vol in TAILS:
        for sign in (-1.0, 1.0):
            y = np.full(underlyings, sign * price * UNIT)
            rows.append(np.concatenate([y, np.full(underlyings, vol)]))
            weights.append(DAMPING / price**2)
    return np.array(rows), np.array(weights)


def historical(sample: Floats, count: int, every: int) -> tuple[Floats, Floats, list[int]]:
    """The `count` most extreme observations of the filtered sample (m, 2n), taken `every` hours:
    (shapes, weights, rows in the sample). Extreme: by the Mahalanobis norm of the price moves."""
    n = sample.shape[1] // 2
    y = sample[:, :n]
    inverse = np.linalg.inv(np.cov(y, rowvar=False).reshape(n, n))
    norm = np.sqrt(np.einsum("ij,jk,ik->i", y, inverse, y))
    rows: list[int] = []
    for row in np.argsort(-norm, kind="stable"):
        if len(rows) == count:
            break
        if all(abs(int(row) - r) * every >= APART for r in rows):
            rows.append(int(row))
    shapes = np.clip(sample[rows], -MAX_LOG_MOVE, MAX_LOG_MOVE)
    multiple = np.maximum(norm[rows] / UNIT, 1.0)
    return shapes, np.asarray(DAMPING / multiple**2), rows
