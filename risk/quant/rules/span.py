"""SPAN-type grid: sixteen scenarios an underlying, spread credits between underlyings.

Scenarios 1-14: price 0, ±1/3, ±2/3, ±1 of the scan range, volatility up and down; 15 and 16: twice
the range, no volatility move, 35 % of the loss counts (CME, "Risk Arrays"). Arrays hold *losses*
of one unit and include the passing of one day. The risk of an underlying is its largest loss,
at least the short-option minimum; between underlyings a credit for opposite deltas.

CME publishes no ranges for a portfolio of BTC, ETH and SOL that would fit these days, so these are
assumptions: the scan range is `RANGE_SIGMAS` times the σ that our own parameters used on that day
(so the two rule sets differ in shape and not in the volatility that they saw); the volatility range
is 25 % of the implied volatility; the credit is the 55 % of CME's corn-soybean example, spreads are
formed by equal price risk, in the order of the assets; the short-option minimum is 1 % of S.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from risk.quant.errors import QuantError
from risk.quant.rolling_margin import Day
from risk.quant.rules.common import Floats, delta, groups, unit_changes, volatility

EXTREME: Final = 2.0
EXTREME_SHARE: Final = 0.35
# (price in scan ranges, volatility in its ranges, share of the loss), scenarios 1 … 16
SCENARIOS: Final[tuple[tuple[float, float, float], ...]] = (
    *((p, v, 1.0) for p in (0.0, 1 / 3, -1 / 3, 2 / 3, -2 / 3, 1.0, -1.0) for v in (1.0, -1.0)),
    (EXTREME, 0.0, EXTREME_SHARE),
    (-EXTREME, 0.0, EXTREME_SHARE),
)
RANGE_SIGMAS: Final = 2.5758  # 99 % of a normal move, both sides
VOL_RANGE: Final = 0.25
CREDIT: Final = 0.55
SHORT_OPTION_MINIMUM: Final = 0.01
ELAPSED_DAYS: Final = 1.0


def future_array(scan_range: float) -> Floats:
    """Losses (16,) of one long future."""
    return np.array([-p * scan_range * share for p, _, share in SCENARIOS])


def scan_risk(arrays: Floats, positions: Floats) -> tuple[float, int]:
    """(largest loss, number of the scenario from 1) of positions (c,) with arrays (c, 16)."""
    losses = np.asarray(positions, dtype=np.float64) @ np.asarray(arrays, dtype=np.float64)
    worst = int(np.argmax(losses))
    return float(losses[worst]), worst + 1


def spread_credit(
    price_risk: tuple[float, float],
    deltas: tuple[float, float],
    ratio: tuple[float, float],
    rate: float,
) -> float:
    """Inter-commodity credit: spreads of `ratio` deltas each are formed as far as opposite deltas
    reach; `rate` of their price risk is given back. `price_risk` is per delta."""
    a, b = deltas
    if a * b >= 0.0:
        return 0.0
    spreads = min(abs(a) / ratio[0], abs(b) / ratio[1])
    return rate * spreads * (ratio[0] * price_risk[0] + ratio[1] * price_risk[1])


@dataclass(frozen=True)
class Span:
    """`sigma`: by opening time, σ (n,) in force; the scan range is `range_sigmas` times it."""

    sigma: Mapping[int, Floats]
    range_sigmas: float = RANGE_SIGMAS
    vol_range: float = VOL_RANGE
    credit: float = CREDIT
    name: str = "SPAN"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        if day.time not in self.sigma:
            raise QuantError(f"no scan range for the day that opens at {day.time}")
        book = day.book
        ranges = np.expm1(self.range_sigmas * self.sigma[day.time])
        risk = np.empty((sizes_usd.shape[0], book.underlyings))
        deltas = np.empty_like(risk)
        minimum = np.zeros(sizes_usd.shape[0])
        prices = np.array([p for p, _, _ in SCENARIOS])
        shares = np.array([s for _, _, s in SCENARIOS])
        for u, mine in groups(book):
            x = np.maximum(prices * ranges[u], -0.95)
            moved = np.array([1.0 + v * self.vol_range for _, v, _ in SCENARIOS])
            vol = volatility(book, mine)[:, None] * moved
            arrays = -unit_changes(book, mine, x, vol, elapsed_days=ELAPSED_DAYS) * shares
            held = sizes_usd[:, mine]
            risk[:, u] = np.maximum((held @ arrays).max(axis=1), 0.0)
            deltas[:, u] = held @ delta(book, mine)
            short = np.maximum(-held[:, ~book.linear[mine]], 0.0).sum(axis=1)
            minimum += SHORT_OPTION_MINIMUM * short
        total = risk.sum(axis=1) - self._credits(deltas, ranges, risk)
        return np.asarray(np.maximum(total, minimum))

    def _credits(self, deltas: Floats, ranges: Floats, risk: Floats) -> Floats:
        """(P,): spreads by equal price risk, first come first served; no leg gives back more than
        `credit` of its scan risk."""
        out = np.zeros(deltas.shape[0])
        for p in range(deltas.shape[0]):
            left = deltas[p].copy()
            room = self.credit * risk[p]
            for a, b in combinations(range(left.size), 2):
                ratio = (1.0 / ranges[a], 1.0 / ranges[b])
                if left[a] * left[b] >= 0.0:
                    continue
                spreads = min(abs(left[a]) / ratio[0], abs(left[b]) / ratio[1])
                pair = (float(left[a]), float(left[b]))
                given = spread_credit((ranges[a], ranges[b]), pair, ratio, self.credit)
                for u, each in ((a, ratio[0]), (b, ratio[1])):
                    part = min(given / 2.0, room[u])
                    room[u] -= part
                    out[p] += part
                    left[u] -= np.sign(left[u]) * spreads * each
        return out
