"""Arithmetic of Morpho Blue: checked words, WAD fixed point, shares with virtual amounts.

Sources: the Morpho Blue whitepaper and the documentation of MathLib, SharesMathLib and UtilsLib.
Every function works on unsigned words; a value that leaves its word is refused as Solidity 0.8
refuses it, with ``Panic(0x11)``, a division by zero with ``Panic(0x12)``.
"""

from __future__ import annotations

from risk.diff.kit.adapter import Refused

WAD = 10**18
ORACLE_PRICE_SCALE = 10**36
MAX_FEE = WAD // 4
LIQUIDATION_CURSOR = 3 * 10**17
MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * 10**16
VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
UINT128_MAX = 2**128 - 1
UINT256_MAX = 2**256 - 1

ARITHMETIC = 0x11  # panic codes
DIVISION_BY_ZERO = 0x12


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def word(value: int, limit: int = UINT256_MAX) -> int:
    """``value``; refused where it is negative or above ``limit``."""
    if not 0 <= value <= limit:
        raise Refused("Panic", ARITHMETIC)
    return value


def half_word(value: int) -> int:
    """The checked result of arithmetic on uint128."""
    return word(value, UINT128_MAX)


def to_uint128(value: int) -> int:
    """The checked cast, which has a reason string instead of a panic."""
    if value > UINT128_MAX:
        raise Refused("Error", "max uint128 exceeded")
    return value


# ── fixed point ──────────────────────────────────────────────────────────────────────────────────


def mul_div_down(x: int, y: int, d: int) -> int:
    """x·y/d rounded down; the product has to fit a word."""
    product = word(x * y)
    if d == 0:
        raise Refused("Panic", DIVISION_BY_ZERO)
    return product // d


def mul_div_up(x: int, y: int, d: int) -> int:
    """x·y/d rounded up, as (x·y + (d − 1))/d; that numerator has to fit a word, and d ≥ 1."""
    return word(word(x * y) + word(d - 1)) // d


def w_mul_down(x: int, y: int) -> int:
    """x·y of WADs, rounded down."""
    return mul_div_down(x, y, WAD)


def w_div_down(x: int, y: int) -> int:
    """x/y of WADs, rounded down."""
    return mul_div_down(x, WAD, y)


def w_div_up(x: int, y: int) -> int:
    """x/y of WADs, rounded up."""
    return mul_div_up(x, WAD, y)


def w_taylor_compounded(rate: int, seconds: int) -> int:
    """e^(rate·seconds) − 1 to the third term, in WAD; each term rounded down.

    ``rate`` is in WAD per second. Whitepaper, "Interest": a + a²/2 + a³/6 with a = rate·seconds.
    """
    first = word(rate * seconds)
    second = mul_div_down(first, first, 2 * WAD)
    third = mul_div_down(second, first, 3 * WAD)
    return word(word(first + second) + third)


# ── shares ───────────────────────────────────────────────────────────────────────────────────────
# A market counts 10^6 shares and 1 asset more than it has, so that the price of a share in an empty
# market cannot be moved by a gift.


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    """Assets in shares, rounded down."""
    return mul_div_down(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_shares_up(assets: int, total_assets: int, total_shares: int) -> int:
    """Assets in shares, rounded up."""
    return mul_div_up(assets, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """Shares in assets, rounded down."""
    return mul_div_down(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """Shares in assets, rounded up."""
    return mul_div_up(shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


# ── liquidation ──────────────────────────────────────────────────────────────────────────────────


def liquidation_incentive_factor(lltv: int) -> int:
    """min(1.15, 1/(1 − 0.3·(1 − lltv))) in WAD, each step rounded down (whitepaper, "Liquidation").

    ``lltv`` is in WAD and at most 1.
    """
    discount = WAD - w_mul_down(LIQUIDATION_CURSOR, WAD - lltv)
    return min(MAX_LIQUIDATION_INCENTIVE_FACTOR, w_div_down(WAD, discount))
