"""High-precision references (mpmath) and sample points for the tests of the exact maths."""

from __future__ import annotations

import random
from collections.abc import Iterator

import mpmath as mp

WAD = 10**18
MP = mp.mp.clone()
MP.dps = 50


def exact_cdf(x: int) -> mp.mpf:
    """N(x)·WAD of a WAD argument."""
    return MP.ncdf(MP.mpf(x) / WAD) * WAD


def _mean(d: mp.mpf) -> mp.mpf:
    """N(d), accurate in both tails."""
    return MP.erfc(-d / MP.sqrt(2)) / 2


def exact_call(forward: int, strike: int, std_dev: int) -> mp.mpf:
    """Undiscounted Black-76 call in WAD units, by the textbook formula out of the money."""
    if std_dev == 0:
        return MP.mpf(max(forward - strike, 0))
    s = MP.mpf(std_dev) / WAD
    log = MP.log(MP.mpf(forward) / strike)
    d1, d2 = log / s + s / 2, log / s - s / 2
    if forward <= strike:
        return forward * _mean(d1) - strike * _mean(d2)
    return strike * _mean(-d2) - forward * _mean(-d1) + forward - strike


def exact_svi(a: int, b: int, rho: int, m: int, sigma: int, k: int) -> mp.mpf:
    """Raw SVI total variance in WAD units."""
    x = MP.mpf(k - m) / WAD
    return a + b * (MP.mpf(rho) / WAD * x + MP.sqrt(x * x + (MP.mpf(sigma) / WAD) ** 2))


def log_space(low: float, high: float, count: int) -> list[mp.mpf]:
    """count points from low to high, equidistant in the logarithm."""
    step = MP.log(MP.mpf(high) / MP.mpf(low)) / (count - 1)
    return [MP.mpf(low) * MP.exp(step * i) for i in range(count)]


def black76_grid(moneyness: int = 61, deviations: int = 51) -> Iterator[tuple[int, int, int]]:
    """(forward, strike, std_dev): K/F in [1e-3, 1e3], σ√T in [1e-4, 10]; forwards from 1 to 1e5."""
    forwards = (WAD, 2_345 * WAD + 678, 97_531 * WAD + 1)
    for i, ratio in enumerate(log_space(1e-3, 1e3, moneyness)):
        for j, s in enumerate(log_space(1e-4, 10, deviations)):
            forward = forwards[(i + j) % 3]
            yield forward, int(forward * ratio), int(s * WAD)


def black76_random(count: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Random points of the same box; half of them within five standard deviations of the money."""
    rng = random.Random(seed)
    for i in range(count):
        forward = int(10 ** rng.uniform(16, 24))
        s = 10 ** rng.uniform(-4, 1)
        width = min(6.9, 5 * s) if i % 2 else 6.9
        strike = int(forward * MP.exp(rng.uniform(-width, width)))
        yield forward, max(strike, 1), int(s * WAD)
