"""How large a slice may be, and what it costs.  Twin: ``contracts/liquidation/SliceMath.sol``.

Formulas, derivation and bounds: docs/liquidation.md.  The fraction is rounded down, the price and
the payment up (for the account), the legs towards zero (the account keeps the dust).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from risk.exact.math import wad_math
from risk.exact.math.wad_math import WAD

BPS_WAD: Final = 10**14


@dataclass(frozen=True)
class LiqTerm:
    """An underlying of which the account holds more than the depth: N_u, S, depth, λ."""

    units_wad: int
    price_wad: int
    depth_wad: int
    liq_bps: int


def reward_wad(
    base_bps: int, slope_bps: int, max_bps: int, health_factor: int, growth_wad: int
) -> int:
    """ρ = min(max, base + ⌊slope·shortfall⌋ + growth), shortfall = 1 − HF limited to [0, 1]; all
    WAD.
    """
    shortfall = min(WAD, max(0, WAD - health_factor))
    grown = base_bps * BPS_WAD + slope_bps * BPS_WAD * shortfall // WAD + growth_wad
    return min(max_bps * BPS_WAD, grown)


def growth(time_bps: int, elapsed: int) -> int:
    """What ρ has grown by ``elapsed`` seconds after the flag: ⌊rate·elapsed/3600⌋."""
    return time_bps * BPS_WAD * elapsed // 3_600


def full_price(mark_equity: int, reward: int, mm: int) -> int:
    """M − ⌊ρ·MM/WAD⌋, the signed price of the whole account, rounded up."""
    return mark_equity - reward * mm // WAD


def closed_form(mark_equity: int, equity: int, mm: int, reward: int, target: int) -> int:
    """f* where no underlying exceeds its depth: ⌊(t·MM − E) / ((t − ρ)·MM + M − E)⌋.

    Needs E < MM and M·WAD > ρ·MM.
    """
    numerator = target * mm - equity * WAD
    divisor = (target - reward) * mm + (mark_equity - equity) * WAD
    return numerator * WAD // divisor


def bisect(
    equity: int, price: int, mm_without_liq: int, target: int, terms: Sequence[LiqTerm]
) -> int:
    """f* = 1 − g, g the smallest WAD number in [0, 1] where E·g + (1 − g)·price ≤ t·MM(g).

    MM(g) = g·(max(Scan, Floor) + Basis) + Σ_u Liq_u(g).  At most 60 halvings.
    """
    lo, hi = 0, WAD
    while hi - lo > 1:
        g = (lo + hi) // 2
        left = equity * g + price * (WAD - g)
        right = target * (g * mm_without_liq + WAD * liq_at(terms, g)) // WAD
        if left <= right:
            hi = g
        else:
            lo = g
    return WAD - hi


def liq_at(terms: Sequence[LiqTerm], g: int) -> int:
    """Σ_u Liq_u on ⌈g·N_u⌉ units; rounded up as in docs/margin.md §5."""
    total = 0
    for term in terms:
        units = wad_math.mul_wad_up(term.units_wad, g)
        if units > term.depth_wad:
            value = wad_math.mul_wad_up(term.price_wad, units)
            excess = (units - term.depth_wad) * term.liq_bps
            total += wad_math.mul_div_up(value, excess, term.depth_wad * 10_000)
    return total


def with_dust(asked: int, max_fraction: int, mm: int, min_margin: int) -> int:
    """The fraction taken: min(asked, f*), and everything where f* would leave a requirement of less
    than ``min_margin``.  Who asks for less than f* gets what he asks for.
    """
    if asked < max_fraction:
        return asked
    return WAD if mm * (WAD - max_fraction) < min_margin * WAD else max_fraction


def leg(x: int, fraction: int) -> int:
    """The part of a signed leg that moves: x·f/WAD towards zero; everything where f = 1."""
    moved = abs(x) * fraction // WAD
    return moved if x >= 0 else -moved


def payment(price: int, fraction: int) -> int:
    """⌈f·price⌉, signed."""
    return wad_math.mul_div_ceil(price, fraction, WAD)
