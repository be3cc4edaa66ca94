"""A price path with the shape of 10-Oct-2025: hourly candles filled to blocks of 12 seconds.

On that day, between 20:50 and 21:20 UTC, the largest liquidation of leveraged positions so far took
place. The candles below are the hours of that day in UTC (high, low, close in dollars; shared data
``crypto_hourly_2024_2026.csv.gz``, values unchanged). Within an hour a path goes from the last
close over the two extremes to the close, with a Brownian bridge in between: the lower extreme comes
last where the hour fell. A high more than 2 % above open and close is taken for a print of one
venue and cut there (ETH at 21:00 "reached" 4 380 in the crash; the oracles showed nothing of it).

Feeds answer as Chainlink's do: a new answer once the price has moved by ``DEVIATION``, or an hour
has passed. The base fee follows the speed of the fall, within EIP-1559's eighth a block; how it
went that day is not in the data, so this is an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

BLOCK_SECONDS: Final = 12
HOUR: Final = 3_600
DEVIATION: Final = 0.005
HEARTBEAT: Final = 3_600
GWEI: Final = 10**9
CALM_FEE_WEI: Final = GWEI // 5
HIGHEST_FEE_WEI: Final = 20 * GWEI
SPIKE: Final = 1.02  # highest credible high, of the larger of open and close
CRASH_HOUR, CRASH_MINUTE = 21, 20  # of the low
ASSETS: Final = ("BTC", "ETH", "SOL")

Candle = tuple[float, float, float]  # high, low, close
FIRST_OPEN: Final = {"BTC": 121662.4, "ETH": 4368.09, "SOL": 220.93}
DAY: Final[dict[str, tuple[Candle, ...]]] = {
    "BTC": (
        (121863.74, 121595.75, 121745.27),
        (121874.13, 121489.06, 121623.97),
        (121651.33, 120900, 121059.73),
        (121575.99, 120909.15, 121026.01),
        (121388.58, 121018.33, 121234.51),
        (121604.49, 120986.08, 121583.89),
        (121754.34, 121265.26, 121378.18),
        (121388.61, 120855.41, 120932.05),
        (121660.43, 120916.44, 121631.54),
        (121777.07, 121276.56, 121314.73),
        (121543.59, 121228.83, 121496.33),
        (121661.62, 121424.5, 121554.55),
        (121682.42, 121420, 121597.21),
        (122550, 121384.6, 121684.2),
        (122069.76, 120479.2, 120493.17),
        (120626.55, 118500, 119018.98),
        (119456.28, 118205.6, 118205.61),
        (118427.51, 117579.79, 117623.8),
        (117851.5, 117237, 117237.7),
        (117341.92, 115952.47, 116661.5),
        (117214.64, 113039, 114266.82),
        (115112.69, 102000, 113451.86),
        (114109.03, 110879.69, 113700),
        (114807.41, 112652.76, 112774.5),
    ),
    "ETH": (
        (4384.71, 4362.99, 4380.7),
        (4393.63, 4371.01, 4373.38),
        (4380.24, 4351, 4359.19),
        (4392.63, 4342.98, 4347.13),
        (4361.93, 4333, 4344.49),
        (4370.08, 4327.37, 4368.34),
        (4377.14, 4320.8, 4328),
        (4334.67, 4315.23, 4323.39),
        (4349.7, 4313.39, 4346.12),
        (4351.27, 4318.89, 4322.12),
        (4345.66, 4320.96, 4342.89),
        (4347.74, 4328.8, 4343.02),
        (4352.68, 4334.53, 4348.54),
        (4390.46, 4344.85, 4356.1),
        (4375.7, 4279.12, 4280.35),
        (4284.28, 4073.55, 4103.11),
        (4138.52, 4086.4, 4108.99),
        (4112.64, 4077.57, 4093.97),
        (4100.26, 4053.1, 4053.84),
        (4064.24, 3950.69, 3997.56),
        (4024.99, 3850, 3871.3),
        (4380, 3435, 3949.99),
        (4200, 3833.54, 3855.09),
        (3917.91, 3791.81, 3829.72),
    ),
    "SOL": (
        (222, 220.76, 221.23),
        (222.09, 220.52, 220.97),
        (221.85, 219.87, 220.33),
        (222.87, 219.5, 221.65),
        (222.9, 220.88, 221.22),
        (221.8, 220.04, 221.68),
        (222.43, 219.32, 219.39),
        (219.56, 217.92, 218.12),
        (220.1, 217.4, 220.06),
        (220.78, 218.94, 218.95),
        (220.63, 218.75, 220.4),
        (221.56, 220.28, 221.14),
        (221.8, 220.79, 221.76),
        (224.46, 221.52, 223.41),
        (224.42, 219.69, 219.79),
        (220.15, 209.01, 210.7),
        (213.06, 210.04, 211.26),
        (211.53, 208.82, 209.68),
        (210.07, 207.47, 207.47),
        (208.19, 203.43, 205.32),
        (207.8, 193, 196.84),
        (199.15, 168.79, 193.41),
        (194, 182.26, 189.93),
        (197.11, 187.33, 188.43),
    ),
}


@dataclass(frozen=True)
class Tick:
    """One block: seconds since the start, prices relative to the first, base fee."""

    second: int
    ratios: tuple[float, ...]
    base_fee_wei: int


def path(seed: int, blocks: int, *, start_hour: float = 20.5) -> list[Tick]:
    """``blocks`` ticks 12 s apart from ``start_hour`` UTC on, one ratio an asset of ``ASSETS``.

    Beyond the end of the day it goes on from its beginning, at the level that was reached.
    """
    series = [_seconds(seed, asset, start_hour, blocks) for asset in ASSETS]
    out: list[Tick] = []
    fee = float(CALM_FEE_WEI)
    lookback = 300 // BLOCK_SECONDS
    for i in range(blocks):
        speed = max(abs(s[i] / s[max(0, i - lookback)] - 1) for s in series)
        wanted = min(HIGHEST_FEE_WEI, CALM_FEE_WEI * math.exp(min(8.0, 120 * speed)))
        fee = min(max(wanted, fee * 0.875), fee * 1.125)
        out.append(Tick(i * BLOCK_SECONDS, tuple(s[i] / s[0] for s in series), int(fee)))
    return out


class Oracle:
    """What a feed shows of a path: answers change by steps."""

    def __init__(self, first: Sequence[float]) -> None:
        self.shown = list(first)
        self.times = [0] * len(first)

    def update(self, tick: Tick) -> list[int]:
        """Which feeds have a new answer at this tick."""
        out = []
        for u, ratio in enumerate(tick.ratios):
            moved = abs(ratio / self.shown[u] - 1) >= DEVIATION
            if moved or tick.second - self.times[u] >= HEARTBEAT:
                self.shown[u], self.times[u] = ratio, tick.second
                out.append(u)
        return out


def _seconds(seed: int, asset: str, start_hour: float, blocks: int) -> list[float]:
    """Price at each block; the moments of the extremes are common to all assets."""
    candles = DAY[asset]
    a_block = BLOCK_SECONDS / HOUR
    last_hour = int(start_hour + blocks * a_block) + 1
    level, open_ = 1.0, FIRST_OPEN[asset]
    curves: dict[int, list[float]] = {}
    for hour in range(last_hour + 1):
        day, of_day = divmod(hour, 24)
        if day and not of_day:
            level *= open_ / FIRST_OPEN[asset]
            open_ = FIRST_OPEN[asset]
        candle = candles[of_day]
        if hour >= int(start_hour):
            points = _hour(seed, asset, hour, open_, candle)
            curves[hour] = [level * p for p in points]
        open_ = candle[2]
    out = []
    for i in range(blocks):
        minute = (start_hour + i * a_block) * 60 + 1e-9
        at = minute % 60
        left = int(at)
        curve = curves[int(minute // 60)]
        out.append(curve[left] + (curve[left + 1] - curve[left]) * (at - left))
    return out


def _hour(seed: int, asset: str, hour: int, open_: float, candle: Candle) -> list[float]:
    """61 prices, minute by minute: first ``open_``, last the close, low and (credible) high hit."""
    high, low, close = candle
    high = max(min(high, SPIKE * max(open_, close)), open_, close)
    low = min(low, open_, close)
    together = Random(f"path {seed} {hour}")
    first, second = sorted((together.randint(5, 30), together.randint(31, 55)))
    if hour % 24 == CRASH_HOUR:
        first, second = 2, CRASH_MINUTE
    fell = close < open_ or hour % 24 == CRASH_HOUR
    anchors = [(0, open_), (first, high if fell else low), (second, low if fell else high)]
    anchors.append((60, close))
    rng = Random(f"path {seed} {hour} {asset}")
    out: list[float] = []
    for (t0, p0), (t1, p1) in pairwise(anchors):
        out += _bridge(rng, p0, p1, t1 - t0, 0.03 * (high - low))
    out.append(close)
    return [min(high, max(low, p)) for p in out]


def _bridge(rng: Random, start: float, end: float, steps: int, deviation: float) -> list[float]:
    """``steps`` values from ``start`` (exact) towards ``end`` (not included)."""
    walk = [0.0]
    for _ in range(steps):
        walk.append(walk[-1] + rng.gauss(0, deviation))
    drift = walk[-1] / steps
    return [start + (end - start) * i / steps + walk[i] - drift * i for i in range(steps)]
