"""Seeded draws for the generators: plain ``random.Random``, integers only, biased towards
boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def log_int(rng: Random, low: int, high: int) -> int:
    """An integer of [low, high], spread evenly over the orders of magnitude."""
    bits = rng.randint(low.bit_length(), high.bit_length())
    value = rng.getrandbits(bits) | (1 << bits >> 1)
    return min(max(value, low), high)


def chance(rng: Random, percent: int) -> bool:
    """True in ``percent`` of 100."""
    return rng.randrange(100) < percent


def weighted(rng: Random, choices: Sequence[tuple[T, int]]) -> T:
    """One of the choices, with integer weights."""
    pick = rng.randrange(sum(w for _, w in choices))
    for value, weight in choices:
        pick -= weight
        if pick < 0:
            return value
    raise AssertionError("unreachable")


def near(rng: Random, value: int, ppm: int) -> int:
    """``value`` moved by at most ``ppm`` parts per million."""
    return value + value * rng.randint(-ppm, ppm) // 1_000_000


def sign(rng: Random) -> int:
    """+1 or −1."""
    return 1 if rng.getrandbits(1) else -1
