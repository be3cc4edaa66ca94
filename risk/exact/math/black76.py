"""Undiscounted Black-76.  Twin: ``contracts/math/Black76.sol``, bit for bit.

Prices, strikes, values, deltas, std_dev = σ√T and log_moneyness = ln(F/K) are WAD; the caller
multiplies by the discount factor.  One algorithm, symmetric in F and K: with m = min(F, K), M =
max(F, K), ℓ = |ln(F/K)|, s = std_dev::

    a = s/2 − ℓ/s,   b = s/2 + ℓ/s,   m·φ(a) = M·φ(b)
    out-of-the-money value = m·e**(−a²/2)·(ρ(|a|) − ρ(b))          for a < 0
                           = m − m·e**(−a²/2)·(ρ(|a|) + ρ(b))      for a ≥ 0
    call = value + max(F − K, 0),   put = value + max(K − F, 0)

Hence by construction call − put = F − K, max(F − K, 0) ≤ call ≤ F, max(K − F, 0) ≤ put ≤ K, and
std_dev = 0 gives the intrinsic value.
"""

from __future__ import annotations

from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.math.exp_ln import ln_wad
from risk.exact.math.normal_cdf import (
    EXP2_E0,
    EXP2_E1,
    EXP2_E2,
    EXP2_F1,
    EXP2_F2,
    HALF_KAPPA_Q180_WAD,
    HALF_Q80,
    KAPPA_Q80,
    MASK_Q80,
    RHO_C0,
    RHO_C1,
    RHO_C2,
    RHO_C3,
    RHO_C4,
    RHO_C5,
    RHO_C6,
    RHO_D0,
    RHO_D1,
    RHO_D2,
    RHO_D3,
    RHO_D4,
    RHO_D5,
    RHO_D6,
    cdf,
)

WAD: Final = 10**18
MAX_PRICE: Final = 10**30  # largest forward and strike of price() and log_moneyness(): 1e12, WAD
KERNEL_PRICE_BOUND: Final = 1 << 170  # bound (exclusive) of F and K in the kernel
MAX_STD_DEV: Final = 100 * WAD  # largest std_dev of price()

_CUT_Q80: Final = 1 << 84  # |a|·κ ≥ 16: e**(−a²/2) ≤ 2**−256


def log_moneyness(forward: int, strike: int) -> int:
    """ln(F/K), WAD, error ≤ 2 units.

    ``Black76ForwardOutOfRange``, then ``Black76StrikeOutOfRange``.
    """
    if not 0 < forward <= MAX_PRICE:
        raise ModelRevert("Black76ForwardOutOfRange", (forward,))
    if not 0 < strike <= MAX_PRICE:
        raise ModelRevert("Black76StrikeOutOfRange", (strike,))
    return ln_wad(forward) - ln_wad(strike)


def price(forward: int, strike: int, std_dev: int) -> tuple[int, int]:
    """Undiscounted (call, put); call + K = put + F exactly.

    ``Black76ForwardOutOfRange``, ``Black76StrikeOutOfRange``, ``Black76StdDevOutOfRange``, in this
    order.
    """
    ln = log_moneyness(forward, strike)
    if std_dev > MAX_STD_DEV:
        raise ModelRevert("Black76StdDevOutOfRange", (std_dev,))
    call = call_from_log(ln, forward, strike, std_dev)
    return call, call + strike - forward


def price_and_delta(forward: int, strike: int, std_dev: int) -> tuple[int, int, int]:
    """As ``price``, with the forward delta of the call, N(d1); that of the put is N(d1) − WAD."""
    ln = log_moneyness(forward, strike)
    if std_dev > MAX_STD_DEV:
        raise ModelRevert("Black76StdDevOutOfRange", (std_dev,))
    call = call_from_log(ln, forward, strike, std_dev)
    return call, call + strike - forward, delta_from_log(ln, std_dev)


def delta_from_log(log_moneyness_: int, std_dev: int) -> int:
    """N(d1), d1 = ln(F/K)/s + s/2: the forward delta of the call, WAD, to nearest; in [0, WAD].

    std_dev = 0: WAD, WAD/2 or 0 as ln(F/K) is positive, zero or negative.  ln(F/K)/s is rounded
    towards zero.  Error ≤ 1.1e−16 + 1e−18·(1 + 1/s).
    """
    if std_dev == 0:
        return WAD if log_moneyness_ > 0 else 0 if log_moneyness_ < 0 else WAD // 2
    q = abs(log_moneyness_) * WAD // std_dev
    return cdf((q if log_moneyness_ >= 0 else -q) + std_dev // 2)


def call_from_log(log_moneyness_: int, forward: int, strike: int, std_dev: int) -> int:
    """HOT KERNEL.  Undiscounted value of the call; the put is value + strike − forward, exactly and
    never < 0.

    Does not check and does not raise.  Preconditions: forward, strike < 2**170,
    |log_moneyness_| < 2**128, 0 ≤ std_dev < 2**128.  The sign of log_moneyness_ is not used.
    """
    if forward > strike:
        m = strike
        intrinsic = forward - strike
    else:
        m = forward
        intrinsic = 0
    if not std_dev:
        return intrinsic
    x = abs(log_moneyness_) * KAPPA_Q80 // std_dev
    y = std_dev * HALF_KAPPA_Q180_WAD >> 100
    b = x + y
    t = y - x if x < y else x - y
    if t >= _CUT_Q80:
        return intrinsic if x > y else forward
    z = t * t >> 80
    h = z + HALF_Q80
    f = (h & MASK_Q80) - HALF_Q80
    u = f * f >> 80
    u = EXP2_E0 - EXP2_E1 // (u + EXP2_F1 - EXP2_E2 // (u + EXP2_F2))
    r = RHO_C5 // (RHO_C6 // (t + RHO_D6) + RHO_D5 + t)
    r = RHO_C3 // (RHO_C4 // (r + RHO_D4 + t) + t - RHO_D3)
    r = RHO_C1 // (RHO_C2 // (RHO_D2 - r + t) + t - RHO_D1)
    r = RHO_C0 // (r + RHO_D0 + t)
    q = RHO_C5 // (RHO_C6 // (b + RHO_D6) + RHO_D5 + b)
    q = RHO_C3 // (RHO_C4 // (q + RHO_D4 + b) + b - RHO_D3)
    q = RHO_C1 // (RHO_C2 // (RHO_D2 - q + b) + b - RHO_D1)
    q = RHO_C0 // (q + RHO_D0 + b)
    e = m * (u - f) // (u + f)
    if x > y:
        return intrinsic + (e * (r - q) >> 80 + (h >> 80))
    return forward - (e * (r + q) >> 80 + (h >> 80))
