"""Who must be told that his margin is short: once for each time he crosses a line.

Lines: E < IM, the account is in the warning zone; E < MM, it can be liquidated. A call is made when
an account is seen below a line for the first time since it was last above it. An account whose
health is unknown keeps the line it was below: unknown is neither a recovery nor a fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from risk.keeper.types import Reading

QUIET_SECONDS = 900.0


class Line(IntEnum):
    """Which line an account is below; the higher, the worse."""

    NONE = 0
    WARNED = 1  # MM <= E < IM
    LIQUIDATABLE = 2  # E < MM

    @property
    def label(self) -> str:
        """As messages say it."""
        return self.name.lower()


@dataclass(frozen=True)
class MarginCall:
    """An account fell below a line. The amounts are the reading's, WAD of cash."""

    line: Line
    reading: Reading

    @property
    def id(self) -> str:
        """The same for every delivery of this call, so that a receiver can drop repetitions."""
        return f"{self.reading.account:042x}:{self.line.label}:{self.reading.block}"


@dataclass
class _Seen:
    """``called`` is the worst line told since the account was above; ``at`` when each was told."""

    called: Line = Line.NONE
    at: dict[Line, float] = field(default_factory=dict)

    def quiet_until(self, line: Line, seconds: float) -> float:
        return self.at.get(line, -math.inf) + seconds


class Crossings:
    """Turns one sweep after the other into calls.

    ``quiet_seconds``: an account that swings around a line is not called about that line again so
    soon; if it is still below when they have passed, it is. ``clock`` is monotonic, seconds.
    Memory: one entry for each account below a line now or told within ``quiet_seconds``.
    """

    def __init__(self, clock: Callable[[], float], quiet_seconds: float = QUIET_SECONDS) -> None:
        self._clock, self._quiet = clock, quiet_seconds
        self._seen: dict[int, _Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def prime(self, below: Iterable[tuple[int, Line]]) -> None:
        """Accounts that an earlier process has told already: no call until they fall further."""
        for account, line in below:
            self._seen.setdefault(account, _Seen()).called = line

    def observe(
        self,
        warned: Mapping[int, Reading],
        unhealthy: Mapping[int, Reading],
        unknown: Iterable[int] = (),
    ) -> list[MarginCall]:
        """The calls that a sweep makes, worst line first. The three are complete: who is in none of
        them is above both lines.
        """
        now = self._clock()
        calls = []
        for line, readings in ((Line.LIQUIDATABLE, unhealthy), (Line.WARNED, warned)):
            for account, reading in readings.items():
                seen = self._seen.setdefault(account, _Seen())
                if line < seen.called:
                    seen.called = line  # above the worse line again
                elif line > seen.called and now >= seen.quiet_until(line, self._quiet):
                    seen.called = line
                    seen.at[line] = now
                    calls.append(MarginCall(line, reading))
        self._recover({*warned, *unhealthy, *unknown}, now)
        return calls

    def _recover(self, below: set[int], now: float) -> None:
        for account in [a for a in self._seen if a not in below]:
            seen = self._seen[account]
            seen.called = Line.NONE
            if all(now >= seen.quiet_until(line, self._quiet) for line in seen.at):
                del self._seen[account]
