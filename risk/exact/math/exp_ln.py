"""Exponential, logarithm and square root of WAD numbers.  Twin: ``contracts/math/ExpLn.sol``, bit
for bit.

The algorithms are Solady's (Remco Bloemen's rational approximations, github.com/Vectorized/solady,
``src/utils/FixedPointMathLib.sol``, v0.1.26).  Nothing wraps: every intermediate of ``exp_wad`` and
``ln_wad`` stays inside int256 on the admitted range, so plain integers suffice.  Shifts are
arithmetic on both sides; where Solidity divides signed numbers the quotient is truncated towards
zero, written out below.

Stated error bounds, result − exact: ln_wad in [−1.1, 0.1] units, sqrt_wad in (−1, 0] units,
exp_wad in [−1.1 units − 2e−20·exact, 0.1 units + 2e−20·exact].
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from risk.exact.errors import ModelRevert

EXP_ZERO_AT: Final = -41446531673892822313  # e**x rounds to zero at and below
EXP_OVERFLOW_AT: Final = 135305999368893231589  # e**x does not fit an int256 at and above

_WAD: Final = 10**18
_POW5_18: Final = 5**18
_LN2_Q96: Final = 54916777467707473351141471128


def exp_wad(x: int) -> int:
    """e**x, rounded down after the approximation; x and the result WAD.

    ``ExpOverflow`` from ``EXP_OVERFLOW_AT`` on.
    """
    if x <= EXP_ZERO_AT:
        return 0
    if x >= EXP_OVERFLOW_AT:
        raise ModelRevert("ExpOverflow")
    # Q96, truncated towards zero as SDIV does.
    x = (x << 78) // _POW5_18 if x >= 0 else -((-x << 78) // _POW5_18)
    # x = k·ln 2 + remainder; k by SDIV again.
    k = (x << 96) // _LN2_Q96 if x >= 0 else -((-x << 96) // _LN2_Q96)
    k = (k + (1 << 95)) >> 96
    x -= k * _LN2_Q96
    y = x + 1346386616545796478920950773328
    y = ((y * x) >> 96) + 57155421227552351082224309758442
    p = y + x - 94201549194550492254356042504812
    p = ((p * y) >> 96) + 28719021644029726153956944680412240
    p = p * x + (4385272521454847904659076985693276 << 96)
    q = x - 2855989394907223263936484059900
    q = ((q * x) >> 96) + 50020603652535783019961831881945
    q = ((q * x) >> 96) - 533845033583426703283633433725380
    q = ((q * x) >> 96) + 3604857256930695427073651918091429
    q = ((q * x) >> 96) - 14423608567350463180887372962807573
    q = ((q * x) >> 96) + 26449188498355588339934803723976023
    # p, q > 0 on the reduced range |x| ≤ ½ ln 2, so floor = truncation.
    return ((p // q) * 3822833074963236453042738258902158003155416615667) >> (195 - k)


def ln_wad(x: int) -> int:
    """ln(x), rounded down after the approximation; x and the result WAD.

    ``LnWadUndefined`` for x ≤ 0.
    """
    if x <= 0:
        raise ModelRevert("LnWadUndefined")
    k = x.bit_length() - 97  # ⌊log2 x⌋ − 96
    x = x << -k if k < 0 else x >> k  # [1, 2) in Q96
    p = (x * (x + 3273285459638523848632254066296)) >> 96
    p = ((p + 24828157081833163892658089445524) * x) >> 96
    p = (((p + 43456485725739037958740375743393) * x) >> 96) - 11111509109440967052023855526967
    p = ((p * x) >> 96) - 45023709667254063763336534515857
    p = ((p * x) >> 96) - 14706773417378608786704636184526
    p = p * x - (795164235651350426258249787498 << 96)
    q = x + 5573035233440673466300451813936
    q = 71694874799317883764090561454958 + ((x * q) >> 96)
    q = 283447036172924575727196451306956 + ((x * q) >> 96)
    q = 401686690394027663651624208769553 + ((x * q) >> 96)
    q = 204048457590392012362485061816622 + ((x * q) >> 96)
    q = 31853899698501571402653359427138 + ((x * q) >> 96)
    q = 909429971244387300277376558375 + ((x * q) >> 96)
    # q > 0; p ≥ 0 up to rounding at x = 1: truncate as SDIV does.
    r = p // q if p >= 0 else -(-p // q)
    r *= 1677202110996718588342820967067443963516166
    r += 16597577552685614221487285958193947469193820559219878177908093499208371 * k
    r += 600920179829731861736702779321621459595472258049074101567377883020018308
    return r >> 174


def sqrt_wad(x: int) -> int:
    """⌊√(x·WAD)⌋ of a uint256: the square root of a WAD number as a WAD number."""
    return isqrt(x * _WAD)
