"""Integer arithmetic with named rounding.  Twin: ``contracts/math/WadMath.sol``.

Fixed point is WAD = 1e18.  The result is the exact quotient rounded once, in the direction that the
function name says: down = towards zero (unsigned), up = away from zero (unsigned), floor = towards
−∞, ceil = towards +∞.

Errors, in this order: ``DivisionByZero`` where the divisor is zero, ``MulDivOverflow`` where the
rounded result does not fit the return type.  Arguments are taken to be in the range of their
Solidity type; that is not checked again.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from risk.exact.errors import ModelRevert

WAD: Final = 10**18
UINT256_MAX: Final = 2**256 - 1
INT256_MAX: Final = 2**255 - 1
INT256_MIN: Final = -(2**255)


def mul_div_down(x: int, y: int, d: int) -> int:
    """⌊x·y / d⌋, all uint256."""
    if d == 0:
        raise ModelRevert("DivisionByZero")
    z = x * y // d
    if z > UINT256_MAX:
        raise ModelRevert("MulDivOverflow")
    return z


def mul_div_up(x: int, y: int, d: int) -> int:
    """⌈x·y / d⌉, all uint256."""
    if d == 0:
        raise ModelRevert("DivisionByZero")
    z = -(-x * y // d)
    if z > UINT256_MAX:
        raise ModelRevert("MulDivOverflow")
    return z


def mul_wad_down(x: int, y: int) -> int:
    """⌊x·y / WAD⌋, uint256."""
    return mul_div_down(x, y, WAD)


def mul_wad_up(x: int, y: int) -> int:
    """⌈x·y / WAD⌉, uint256."""
    return mul_div_up(x, y, WAD)


def div_wad_down(x: int, y: int) -> int:
    """⌊x·WAD / y⌋, uint256."""
    return mul_div_down(x, WAD, y)


def div_wad_up(x: int, y: int) -> int:
    """⌈x·WAD / y⌉, uint256."""
    return mul_div_up(x, WAD, y)


def mul_div_floor(x: int, y: int, d: int) -> int:
    """⌊x·y / d⌋ towards −∞; x int256, y and d uint256, result int256."""
    if d == 0:
        raise ModelRevert("DivisionByZero")
    z = x * y // d
    if not INT256_MIN <= z <= INT256_MAX:
        raise ModelRevert("MulDivOverflow")
    return z


def mul_div_ceil(x: int, y: int, d: int) -> int:
    """⌈x·y / d⌉ towards +∞; x int256, y and d uint256, result int256."""
    if d == 0:
        raise ModelRevert("DivisionByZero")
    z = -(-x * y // d)
    if not INT256_MIN <= z <= INT256_MAX:
        raise ModelRevert("MulDivOverflow")
    return z


def clamp(x: int, lo: int, hi: int) -> int:
    """x limited to [lo, hi]; the upper limit wins where lo > hi."""
    return min(max(x, lo), hi)


def sqrt(x: int) -> int:
    """⌊√x⌋ of a uint256."""
    return isqrt(x)
