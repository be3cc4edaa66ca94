"""Aave's fixed-point arithmetic in exact integers.

A wad has 18 decimals, a ray 27, a percentage is in basis points (10,000 = 100 %). The direction of
rounding is in the name: ``_floor``, ``_ceil``; no suffix means half up. All arguments are words of
256 bits; what does not fit is refused as the contracts refuse it: assembly reverts without data,
checked Solidity with ``Panic(0x11)``, SafeCast with its own error.

Source: WadRayMath, PercentageMath, MathUtils of @aave-dao/aave-v3-origin 3.6.0 and the Aave v3
technical paper, section 4.
"""

from __future__ import annotations

from risk.diff.kit.adapter import Refused

WORD = 2**256
MAX = WORD - 1
WAD = 10**18
RAY = 10**27
HALF_RAY = RAY // 2
PERCENT = 10_000
HALF_PERCENT = PERCENT // 2
YEAR_SECONDS = 365 * 86_400
PANIC_OVERFLOW = 0x11


def add(a: int, b: int, bits: int = 256) -> int:
    """a + b in ``bits`` bits. Raises ``Refused("Panic", 0x11)``."""
    if a + b >= 1 << bits:
        raise Refused("Panic", PANIC_OVERFLOW)
    return a + b


def sub(a: int, b: int) -> int:
    """a − b ≥ 0. Raises ``Refused("Panic", 0x11)``."""
    if b > a:
        raise Refused("Panic", PANIC_OVERFLOW)
    return a - b


def mul(a: int, b: int) -> int:
    """a · b in a word. Raises ``Refused("Panic", 0x11)``."""
    if a * b > MAX:
        raise Refused("Panic", PANIC_OVERFLOW)
    return a * b


def cast(value: int, bits: int) -> int:
    """The value if it fits into ``bits`` bits (SafeCast). Raises ``Refused``."""
    if value >> bits:
        raise Refused("SafeCastOverflowedUintDowncast", bits, value)
    return value


def percent_mul(value: int, percentage: int) -> int:
    """value · percentage, half up."""
    if percentage and value > (MAX - HALF_PERCENT) // percentage:
        raise Refused()
    return (value * percentage + HALF_PERCENT) // PERCENT


def percent_mul_floor(value: int, percentage: int) -> int:
    """value · percentage, down."""
    if percentage and value > MAX // percentage:
        raise Refused()
    return value * percentage // PERCENT


def percent_div(value: int, percentage: int) -> int:
    """value / percentage, half up."""
    if percentage == 0 or value > (MAX - percentage // 2) // PERCENT:
        raise Refused()
    return (value * PERCENT + percentage // 2) // percentage


def percent_div_ceil(value: int, percentage: int) -> int:
    """value / percentage, up."""
    if percentage == 0 or value > MAX // PERCENT:
        raise Refused()
    return -(-value * PERCENT // percentage)


def wad_div(a: int, b: int) -> int:
    """a / b in wads, half up."""
    if b == 0 or a > (MAX - b // 2) // WAD:
        raise Refused()
    return (a * WAD + b // 2) // b


def ray_mul(a: int, b: int) -> int:
    """a · b in rays, half up."""
    if b and a > (MAX - HALF_RAY) // b:
        raise Refused()
    return (a * b + HALF_RAY) // RAY


def ray_mul_floor(a: int, b: int) -> int:
    """a · b in rays, down."""
    if b and a > MAX // b:
        raise Refused()
    return a * b // RAY


def ray_mul_ceil(a: int, b: int) -> int:
    """a · b in rays, up."""
    if b and a > MAX // b:
        raise Refused()
    return -(-a * b // RAY)


def ray_div(a: int, b: int) -> int:
    """a / b in rays, half up."""
    if b == 0 or a > (MAX - b // 2) // RAY:
        raise Refused()
    return (a * RAY + b // 2) // b


def ray_div_floor(a: int, b: int) -> int:
    """a / b in rays, down."""
    if b == 0 or a > MAX // RAY:
        raise Refused()
    return a * RAY // b


def ray_div_ceil(a: int, b: int) -> int:
    """a / b in rays, up."""
    if b == 0 or a > MAX // RAY:
        raise Refused()
    return -(-a * RAY // b)


def mul_div_ceil(a: int, b: int, c: int) -> int:
    """a · b / c, up; the product must fit into a word."""
    if c == 0 or (b and a > MAX // b):
        raise Refused()
    return -(-a * b // c)


def linear_interest(rate: int, since: int, now: int) -> int:
    """Growth factor in ray of a simple rate (ray a year) over now − since seconds, down."""
    return add(RAY, mul(rate, sub(now, since)) // YEAR_SECONDS)


def compound_interest(rate: int, since: int, now: int) -> int:
    """Growth factor in ray of a compounded rate: 1 + x + x²/2 + x³/6 with x = rate · time.

    Terms of higher order are left out by design, so it undercharges. Unchecked in the contract.
    """
    time = sub(now, since)
    if time == 0:
        return RAY
    x = rate * time % WORD // YEAR_SECONDS
    return (RAY + x + ray_mul(x, (x // 2 + ray_mul(x, x // 6)) % WORD)) % WORD
