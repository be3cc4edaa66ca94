"""Checked integer arithmetic and the 18-decimal operations of Yield's utils-v2.

Each function raises the ``Refused`` with which the Solidity operation reverts.
"""

from __future__ import annotations

from risk.diff.kit.adapter import Refused

WAD = 10**18
UINT32_MAX = 2**32 - 1
UINT128_MAX = 2**128 - 1
UINT256_MAX = 2**256 - 1
INT128_MAX = 2**127 - 1
INT128_MIN = -(2**127)
INT256_MAX = 2**255 - 1

OVERFLOW = 0x11
DIVISION_BY_ZERO = 0x12


def error(reason: str) -> Refused:
    """A revert with a reason string."""
    return Refused("Error", reason)


def require(condition: bool, reason: str) -> None:
    """Raises the reason string where the condition does not hold."""
    if not condition:
        raise error(reason)


def uint(value: int, bits: int = 256) -> int:
    """A result of checked arithmetic on ``uint<bits>``; a panic where it does not fit."""
    if not 0 <= value < 1 << bits:
        raise Refused("Panic", OVERFLOW)
    return value


def sint(value: int, bits: int) -> int:
    """A result of checked arithmetic on ``int<bits>``; a panic where it does not fit."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Refused("Panic", OVERFLOW)
    return value


def cast(value: int, largest: int) -> int:
    """The Cast… libraries: a reason string where the value is above ``largest``."""
    require(value <= largest, "Cast overflow")
    return value


def u128(value: int) -> int:
    """CastU256U128."""
    return cast(value, UINT128_MAX)


def i128(value: int) -> int:
    """CastU256I128 and CastU128I128."""
    return cast(value, INT128_MAX)


def wmul(x: int, y: int) -> int:
    """x·y / 1e18, down."""
    return uint(x * y) // WAD


def wdiv(x: int, y: int) -> int:
    """x·1e18 / y, down."""
    scaled = uint(x * WAD)
    if y == 0:
        raise Refused("Panic", DIVISION_BY_ZERO)
    return scaled // y


def wdivup(x: int, y: int) -> int:
    """x·1e18 / y, up."""
    scaled = uint(uint(x * WAD) + y)
    if y == 0:
        raise Refused("Panic", DIVISION_BY_ZERO)
    return (scaled - 1) // y


def wpow(x: int, n: int) -> int:
    """x to the n-th by squaring, each product rounded half up; without data where a product does
    not fit, or x ≥ 2^128 before it is squared.
    """
    if x == 0:
        return 0 if n else WAD
    z = x if n % 2 else WAD
    n >>= 1
    while n:
        if x >> 128:
            raise Refused()
        x = _rounded(x * x)
        if n % 2:
            if z * x > UINT256_MAX and x:
                raise Refused()
            z = _rounded(z * x)
        n >>= 1
    return z


def _rounded(product: int) -> int:
    if product + WAD // 2 > UINT256_MAX:
        raise Refused()
    return (product + WAD // 2) // WAD
