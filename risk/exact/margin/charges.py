"""Charges beside the scan: short-option floor, basis, size.  Twin:
``contracts/margin/Charges.sol``.

Formulas: docs/margin.md §5.  All charges are WAD of the settlement currency and rounded up.
"""

from __future__ import annotations

from typing import Final

WAD: Final = 10**18
BPS: Final = 10**4
BPS_TO_WAD: Final = 10**14
YEAR: Final = 31_536_000
DELTA_ONE: Final = 511


def floor_charge(short_units: int, price: int, bps: int) -> int:
    """⌈⌈units·price⌉·bps⌉: minimum charge of short options."""
    return _up(_up(short_units * price, WAD) * bps, BPS)


def basis_rate(base_bps: int, slope_bps: int, tenor: int) -> int:
    """base + slope·T per year, rounded up, WAD; ``tenor`` in seconds."""
    return base_bps * BPS_TO_WAD + _up(slope_bps * BPS_TO_WAD * tenor, YEAR)


def basis_charge(exposure: int, price: int, rate: int) -> int:
    """⌈⌈|X_b|·S/511⌉·rate⌉; ``exposure`` X_b in units × 511."""
    return _up(_up(abs(exposure) * price, DELTA_ONE * WAD) * rate, WAD)


def size_charge(units: int, price: int, measure: int, depth: int, bps: int) -> int:
    """⌈A·max(0, measure/depth − 1)·λ⌉ with A = ⌈S·N⌉; ``measure`` is N for MM and the open interest
    for IM.
    """
    return (
        _up(_up(units * price, WAD) * (measure - depth) * bps, depth * BPS)
        if measure > depth
        else 0
    )


def _up(x: int, d: int) -> int:
    return -(-x // d)
