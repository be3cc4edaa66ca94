"""When traces of one kind of request are no use.

Traps that go off show something new, but not always something that a trace then finds: a request
may read its own gas, or end otherwise by chance.  When ``PATIENCE`` traces of one kind (the key)
were in vain, only every second is made, then every fourth … up to ``WIDEST``.  Something new halves
the gap.  The filter can only hide what ran, never invent it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

PATIENCE = 6
WIDEST = 256
GAS_A_WEIGHT = 500_000


@dataclass
class _Kind:
    barren: float = 0.0
    skip: int = 0


class Filter:
    """Decides by kind: ``patience`` fruitless ones double the gap, up to ``widest``."""

    def __init__(self, patience: float = PATIENCE, widest: int = WIDEST) -> None:
        self.patience = patience
        self.widest = widest
        self._kinds: dict[Hashable, _Kind] = {}

    def wants(self, key: Hashable) -> bool:
        """True if the next request of this kind should be traced."""
        kind = self._kinds.setdefault(key, _Kind())
        if kind.skip:
            kind.skip -= 1
            return False
        return True

    def learn(self, key: Hashable, new: bool, gas: int) -> None:
        """What the trace of a request that used ``gas`` brought."""
        kind = self._kinds.setdefault(key, _Kind())
        if new:
            kind.barren /= 2
        else:
            kind.barren += 1 + gas / GAS_A_WEIGHT
        kind.skip = min(self.widest, 2 ** min(20, int(kind.barren / self.patience))) - 1
