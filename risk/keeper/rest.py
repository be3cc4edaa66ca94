"""Accounts that are left alone for some heads, so that they do not cost gas or others' places.

*Lost race.* A transaction of ours that reverted because somebody else took the account first has
cost gas for nothing, and the winner usually comes again. For ``retry_blocks`` heads the account is
left out of the plan, unless nobody else is left to plan for.

*Refused.* What the model would do and the chain refuses must not hold the places of everybody else
for ever: after ``PATIENCE`` refusals in a row, while others waited, the account rests for a number
of heads that doubles up to ``LONGEST``.

*Pool.* Where the node executes its pending block, an account that a transaction there takes is left
at one head. Still unhealthy at a later one, it is planned for whatever the pool says: a transaction
that is never mined must not protect anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from risk.keeper.types import Reading

PATIENCE = 3
LONGEST = 8  # heads


@dataclass
class Refusals:
    """Of one account, one after the other: how many, the last head of them, and the head from which
    it is planned for again.
    """

    count: int = 0
    at: int = 0
    until: int = 0


class Rests:
    """Who rests, in heads of the chain. ``retry_blocks`` 0: nobody rests after a lost race."""

    def __init__(self, retry_blocks: int = 3) -> None:
        self._blocks = retry_blocks
        self._until: dict[int, int] = {}
        self._refused: dict[int, Refusals] = {}
        self._left: dict[int, int] = {}  # height at which the pool held somebody's transaction

    # ── lost races ───────────────────────────────────────────────────────────────────────────────

    def lost(self, account: int, number: int) -> None:
        """Somebody else was first, as is known at head ``number``."""
        if self._blocks:
            self._until[account] = number + self._blocks

    def resting(self, unhealthy: Mapping[int, Reading], number: int) -> dict[int, int]:
        """Accounts that rest at head ``number``, with the head from which they do not. A head so
        far below the loss that the rest would be longer than configured (a reorganisation) ends it.
        """
        self._until = {a: n for a, n in self._until.items() if 0 < n - number <= self._blocks}
        return {a: n for a, n in self._until.items() if a in unhealthy}

    # ── refusals of the chain ────────────────────────────────────────────────────────────────────

    def refused(self, account: int, number: int) -> None:
        """The chain refuses what was planned at head ``number``; counts once a head."""
        found = self._refused.setdefault(account, Refusals())
        if found.count and found.at == number:
            return
        found.count, found.at = found.count + 1, number
        if found.count >= PATIENCE:
            found.until = number + 1 + min(LONGEST, 2 ** (found.count - PATIENCE))

    def accepted(self, account: int) -> None:
        """It did not, this time."""
        self._refused.pop(account, None)

    def refusing(self, unhealthy: Mapping[int, Reading], number: int) -> dict[int, Refusals]:
        """Accounts that rest at head ``number`` because the chain refused too often. Who is healthy
        in between begins anew.
        """
        self._refused = {a: r for a, r in self._refused.items() if a in unhealthy}
        return {a: r for a, r in self._refused.items() if r.at <= number < r.until}

    # ── the pool ─────────────────────────────────────────────────────────────────────────────────

    def trusts(self, account: int, unhealthy: Mapping[int, Reading], number: int) -> bool:
        """Whether the pool's word counts for the account at head ``number``."""
        self._left = {a: n for a, n in self._left.items() if a in unhealthy}
        return self._left.get(account, number) == number

    def left(self, account: int, number: int) -> None:
        """The account was left to a transaction in the pool at head ``number``."""
        self._left.setdefault(account, number)
