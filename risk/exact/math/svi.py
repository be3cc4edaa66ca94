"""Raw SVI total variance.  Twin: ``contracts/math/Svi.sol``, bit for bit.

w(k) = a + b·(ρ·(k − m) + √((k − m)² + σ²)), k = ln(K/F), all WAD.  Gatheral (2004); Gatheral and
Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014).

One rounding rule: floor.  The square root, the product with b and the standard deviation are each
rounded down, so w is at most b·1e−18 + 1 unit below its exact value and never above it; and w ≥ 0.
"""

from __future__ import annotations

from math import isqrt
from typing import Final, NamedTuple

from risk.exact.errors import ModelRevert
from risk.exact.math.exp_ln import sqrt_wad

WAD: Final = 10**18
MAX_A: Final = 100 * WAD
MIN_SIGMA: Final = 10**12
MAX_SIGMA: Final = 100 * WAD
MAX_M: Final = 100 * WAD
MAX_WING_SLOPE: Final = 2 * WAD  # b·(1 + |ρ|) ≤ 2: Lee (2004), see Svi.sol
MAX_LOG_STRIKE: Final = 180 * WAD

_WAD2: Final = WAD * WAD


class SviParams(NamedTuple):
    """One slice, all WAD: a, rho, m signed; b, sigma unsigned."""

    a: int
    b: int
    rho: int
    m: int
    sigma: int


def validate(p: SviParams) -> None:
    """Raise unless the slice is admissible.

    The first failing check, in the order of ``Svi.sol``, names the error.
    """
    if abs(p.a) > MAX_A:
        raise ModelRevert("SviAOutOfRange", (p.a,))
    if abs(p.rho) >= WAD:
        raise ModelRevert("SviRhoOutOfRange", (p.rho,))
    if abs(p.m) > MAX_M:
        raise ModelRevert("SviMOutOfRange", (p.m,))
    if not MIN_SIGMA <= p.sigma <= MAX_SIGMA:
        raise ModelRevert("SviSigmaOutOfRange", (p.sigma,))
    if p.b * (WAD + abs(p.rho)) > MAX_WING_SLOPE * WAD:
        raise ModelRevert("SviWingTooSteep", (p.b, p.rho))
    minimum = p.a + p.b * p.sigma * isqrt(_WAD2 - p.rho * p.rho) // _WAD2
    if minimum < 0:
        raise ModelRevert("SviNegativeVariance", (minimum,))


def total_variance(p: SviParams, k: int) -> int:
    """Total variance at log strike k = ln(K/F) = −ln(F/K), WAD, rounded down.

    Precondition: ``validate(p)`` passes.  Raises ``SviLogStrikeOutOfRange`` only.
    """
    if abs(k) > MAX_LOG_STRIKE:
        raise ModelRevert("SviLogStrikeOutOfRange", (k,))
    x = k - p.m
    inner = p.rho * x + WAD * isqrt(x * x + p.sigma * p.sigma)
    w = p.a + p.b * inner // _WAD2
    return w if w > 0 else 0


def std_dev(p: SviParams, k: int) -> int:
    """σ√T at log strike k: ⌊√w⌋, WAD, of ``total_variance``."""
    return sqrt_wad(total_variance(p, k))
