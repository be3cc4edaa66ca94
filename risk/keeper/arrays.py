"""Scenario arrays of prices that are gone.

The exact engine remembers the last 20 000 arrays, 2 KiB each, because a test or a report returns to
the same prices. A keeper does not: every answer of a feed makes new arrays for every option of its
underlying, and the old ones would fill 42 MiB within a day and stay. The same holds for the
volatility factors of the scenarios, which depend on the time of a snapshot: 1 024 of them, 3 MiB.
"""

from __future__ import annotations

from typing import Final

from risk.exact.margin import array_logic
from risk.exact.state import State

LEAST: Final = 1_000  # arrays, 2 MiB
SETS: Final = 8  # of all listed options


def limit(state: State) -> int:
    """Most arrays that are kept between heads: calls and puts of every listed strike, ``SETS``
    times.
    """
    options = 2 * sum(len(b.strikes_wad) for b in state.buckets.values())
    return max(LEAST, SETS * options)


def trim(state: State) -> bool:
    """Before a head is judged: forgets everything where there are more arrays than ``limit``;
    whether it did. The head then computes those of its own prices (0.2 ms each), no more than where
    every feed moves at once.
    """
    if array_logic.remembered() <= limit(state):
        return False
    array_logic.forget()
    return True
