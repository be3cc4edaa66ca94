"""Random choices of an adapter, biased to boundaries.

An adapter draws through this interface only, so the same adapter runs from a seed (``SeededDraw``,
the runner) and inside hypothesis (``strategies.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

T = TypeVar("T")
UINT_MAX = {bits: 2**bits - 1 for bits in range(8, 257, 8)}


class Draw(Protocol):
    """A source of choices."""

    def integer(self, low: int, high: int, edges: Sequence[int] = ()) -> int:
        """An integer in [low, high]; often at an end, at an edge or one beside it, at a power of
        ten or two; else uniform in size or in value.
        """
        ...

    def choice(self, items: Sequence[T]) -> T:
        """One of the items, the first being the simplest."""
        ...

    def chance(self, percent: int) -> bool:
        """True in ``percent`` of 100 draws."""
        ...


class SeededDraw:
    """Draws from a seeded generator."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def integer(self, low: int, high: int, edges: Sequence[int] = ()) -> int:
        kind = self.rng.random()
        if edges and kind < 0.45:
            value = self.rng.choice(edges) + self.rng.choice((-1, 0, 0, 1))
        elif kind < 0.55:
            value = self.rng.choice((low, low + 1, high - 1, high))
        elif kind < 0.60:
            value = 10 ** self.rng.randint(0, len(str(max(abs(high), 1))))
        elif kind < 0.64:
            value = 2 ** self.rng.randint(0, max(abs(high), 1).bit_length()) - self.rng.randint(
                0, 1
            )
        elif kind < 0.85:
            value = low + self.rng.getrandbits(self.rng.randint(1, max(high - low, 1).bit_length()))
        else:
            value = self.rng.randint(low, high)
        return min(max(value, low), high)

    def choice(self, items: Sequence[T]) -> T:
        return self.rng.choice(items)

    def chance(self, percent: int) -> bool:
        return self.rng.random() * 100 < percent
