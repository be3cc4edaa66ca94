"""The 24-bit gauge of an underlying: open interest rounded up, and whether the stable price is
apart.  Twin: ``contracts/market/Gauge.sol``.

Layout, high to low: exponent 7 | mantissa 16 | apart 1.
"""

from __future__ import annotations


def encode(open_interest_wad: int, apart: bool) -> int:
    """Smallest representable number ≥ ``open_interest_wad`` (< 2^104), and the flag."""
    exponent, mantissa = 0, open_interest_wad
    while mantissa > 0xFFFF:
        mantissa = (mantissa + 1) >> 1
        exponent += 1
    return exponent << 17 | mantissa << 1 | int(apart)


def open_interest(gauge: int) -> int:
    """Open interest rounded up, WAD."""
    return (gauge >> 1 & 0xFFFF) << (gauge >> 17)


def stable_apart(gauge: int) -> bool:
    """Whether the stable price is out of its band around the index."""
    return bool(gauge & 1)
