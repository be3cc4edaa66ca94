"""Arithmetic of an auto-deleveraging: who closes how much, and who pays how much.  Twin:
``contracts/waterfall/Deleverage.sol``.

Pure integers; derivation and bounds: docs/waterfall.md §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.math.wad_math import WAD, mul_div_down, mul_div_up

MAX_THETA: Final = 2**160 - 1
SLACK: Final = (
    100  # haircuts may exceed the deficit by a hundredth of it before they are given back
)


def shares(sizes: Sequence[int], covered: int, total: int) -> list[int]:
    """Split ``total`` over ``sizes`` in proportion: ⌊total·size/covered⌋, and the wei left over
    one each from the first on.  Needs Σ sizes = covered ≥ total.
    """
    closed = [mul_div_down(total, size, covered) for size in sizes]
    for i in range(total - sum(closed)):
        closed[i] += 1
    return closed


def haircut(theta_wad: int, closed: int, cap: int) -> int:
    """min(⌈θ·closed⌉, cap)"""
    return min(mul_div_up(min(theta_wad, MAX_THETA), closed, WAD), cap)


def haircuts(
    closed: Sequence[int], caps: Sequence[int], total: int, theta_wad: int, deficit_wad: int
) -> tuple[list[int], int]:
    """(haircuts, Σ): min(⌈θ·closed⌉, cap) each, and what they exceed the deficit by given back in
    proportion.

    ``AdlHaircutMismatch(Σ, deficit)`` where Σ > 1.01·deficit + n + ⌊total/1e18⌋, or where Σ <
    deficit although one that closes something pays less than its cap.
    """
    paid = [haircut(theta_wad, size, cap) for size, cap in zip(closed, caps, strict=True)]
    total_paid = sum(paid)
    all_bind = all(h == cap or size == 0 for h, cap, size in zip(paid, caps, closed, strict=True))
    too_much = total_paid > deficit_wad + deficit_wad // SLACK + len(paid) + total // WAD
    if too_much or (total_paid < deficit_wad and not all_bind):
        raise ModelRevert("AdlHaircutMismatch", (total_paid, deficit_wad))
    if total_paid > deficit_wad:
        paid = _give_back(paid, total_paid, total_paid - deficit_wad)
    return paid, min(total_paid, deficit_wad)


def _give_back(paid: list[int], total_paid: int, excess: int) -> list[int]:
    """⌊excess·paid/Σ⌋ off each, and the wei left over from the first on."""
    kept = [h - mul_div_down(excess, h, total_paid) for h in paid]
    left = sum(kept) - (total_paid - excess)
    for i, h in enumerate(kept):
        back = min(h, left)
        kept[i] -= back
        left -= back
    return kept
