"""Float option prices: Black-76 and generalised Black-Scholes, vectorised.

For scenarios and Monte Carlo only. The exact world has its own integer Black-76; a test holds the
two together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.quant.errors import QuantError

Floats = NDArray[np.float64]


def black76(forward: ArrayLike, strike: ArrayLike, sd: ArrayLike, is_call: ArrayLike) -> Floats:
    """Undiscounted Black-76 value; `sd` = σ·sqrt(T). All arguments broadcast together.

    Forwards and strikes in quote currency, positive; sd >= 0, where 0 is the intrinsic value.
    Values come from the out-of-the-money side, so that they keep their digits deep in the money.
    """
    from scipy.special import ndtr

    f, k, s, call = np.broadcast_arrays(
        np.asarray(forward, dtype=np.float64),
        np.asarray(strike, dtype=np.float64),
        np.asarray(sd, dtype=np.float64),
        np.asarray(is_call, dtype=np.bool_),
    )
    if not ((f > 0.0).all() and (k > 0.0).all() and (s >= 0.0).all()):
        raise QuantError("Black-76 needs forward > 0, strike > 0 and sd >= 0")
    moneyness = np.log(f / k)
    safe = np.where(s > 0.0, s, 1.0)
    d1 = moneyness / safe + safe / 2.0
    d2 = d1 - safe
    # sign +1 values the call, -1 the put; the other side follows from parity.
    sign = np.where(f <= k, 1.0, -1.0)
    value = np.maximum(sign * (f * ndtr(sign * d1) - k * ndtr(sign * d2)), 0.0)
    value = np.where(s > 0.0, value, 0.0)
    intrinsic = np.where(call, np.maximum(f - k, 0.0), np.maximum(k - f, 0.0))
    return np.asarray(value + intrinsic)


def black_scholes(
    spot: ArrayLike,
    strike: ArrayLike,
    carry: ArrayLike,
    rate: ArrayLike,
    years: ArrayLike,
    sigma: ArrayLike,
    is_call: ArrayLike,
) -> Floats:
    """Discounted value of a European option, dividend yield `carry` and interest `rate`, both
    continuously compounded per year; `sigma` per square root of a year."""
    time = np.asarray(years, dtype=np.float64)
    forward = np.asarray(spot) * np.exp((np.asarray(rate) - np.asarray(carry)) * time)
    value = black76(forward, strike, np.asarray(sigma) * np.sqrt(time), is_call)
    return np.asarray(np.exp(-np.asarray(rate) * time) * value)
