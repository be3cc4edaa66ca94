"""Expected shortfall and scan of many portfolios, and how the one covers the other.

ratio = scan / ES; *covered* where ratio >= 1; overcharge = ratio - 1. A portfolio is *material* if
its ES exceeds `MATERIAL` of its gross notional. Below it lie nearly closed books (calendars with
equal legs), which a scan of 64 points cannot measure and the short-option minimum must cover; they
are counted apart, and the certificate shows them against the whole requirement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.errors import QuantError
from risk.quant.var import sample_tails

Floats = NDArray[np.float64]

TILE: Final = 256
MATERIAL: Final = 0.005  # of the gross notional


@dataclass(frozen=True)
class Coverage:
    """`worst` is the least ratio; overcharges are fractions: mean and 99 % quantile over the
    portfolios, and that of the sums (`aggregate`)."""

    portfolios: int
    left_out: int
    covered: float
    mean_overcharge: float
    aggregate_overcharge: float
    p99_overcharge: float
    worst: float


def expected_shortfall(sizes: Floats, changes: Floats, alpha: float) -> Floats:
    """ES (P,) of portfolios (P, M) over the sample of unit P&L (M, S); tiled."""
    out = np.empty(sizes.shape[0])
    for start in range(0, sizes.shape[0], TILE):
        losses = -(sizes[start : start + TILE] @ changes)
        out[start : start + TILE] = sample_tails(losses, alpha)[1]
    return out


def scan(sizes: Floats, changes: Floats, weights: Floats) -> Floats:
    """Float scan (P,) = max(0, max_k w_k·loss_k) with scenario P&L (M, K)."""
    return np.asarray(np.maximum((-(sizes @ changes) * weights).max(axis=1), 0.0))


def summarise(required: Floats, es: Floats, material: float = MATERIAL) -> Coverage:
    """Coverage of ES (P,) by requirements (P,), of the portfolios with ES above `material`."""
    some = es > material
    if not some.any():
        raise QuantError("none of the portfolios is material")
    ratio = required[some] / es[some]
    return Coverage(
        portfolios=int(some.sum()),
        left_out=int((~some).sum()),
        covered=float(np.mean(ratio >= 1.0)),
        mean_overcharge=float(np.mean(ratio) - 1.0),
        aggregate_overcharge=float(required[some].sum() / es[some].sum() - 1.0),
        p99_overcharge=float(np.quantile(ratio, 0.99) - 1.0),
        worst=float(ratio.min()),
    )
