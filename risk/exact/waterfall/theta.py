"""The level θ of an auto-deleveraging.  No twin: a keeper computes it, the contract checks it.

The smallest θ whose haircuts reach the deficit always passes the contract's check: one wei of θ
moves their sum by at most n + ⌊total/1e18⌋, and one wei less is not enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from risk.exact.waterfall import deleverage
from risk.exact.waterfall.deleverage import MAX_THETA


def find(closed: Sequence[int], caps: Sequence[int], deficit_wad: int) -> int:
    """Smallest θ (WAD of cash per unit) with Σ min(⌈θ·closed⌉, cap) ≥ deficit, by bisection;
    ``MAX_THETA`` where all caps together are not enough: then every cap binds.
    """

    def total(theta: int) -> int:
        pairs = zip(closed, caps, strict=True)
        return sum(deleverage.haircut(theta, size, cap) for size, cap in pairs)

    if total(MAX_THETA) < deficit_wad:
        return MAX_THETA
    low, high = 0, MAX_THETA
    while low < high:
        middle = (low + high) // 2
        if total(middle) < deficit_wad:
            low = middle + 1
        else:
            high = middle
    return low


def cap_of(equity: int) -> int:
    """What a counterparty with this equity can pay: max(0, E − 1); the wei is for the rounding of
    what it closes.
    """
    return max(0, equity - 1)
