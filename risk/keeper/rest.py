"""Races that were lost: the account rests for some heads, and what the pool already holds.

*Rest.* A transaction of ours that reverted because somebody else took the account first has cost
gas for nothing, and the winner usually comes again. For ``retry_blocks`` heads the account is left
out of the plan, unless nobody else is left to plan for.

*Pool.* Where the node executes its pending block, an account that a transaction there takes is left
at one head. Still unhealthy at a later one, it is planned for whatever the pool says: a transaction
that is never mined must not protect anybody.
"""

from __future__ import annotations

from collections.abc import Mapping

from risk.keeper.types import Reading


class Rests:
    """Who rests, in heads of the chain. ``retry_blocks`` 0: nobody."""

    def __init__(self, retry_blocks: int = 3) -> None:
        self._blocks = retry_blocks
        self._until: dict[int, int] = {}
        self._left: dict[int, int] = {}  # height at which the pool held somebody's transaction

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

    def trusts(self, account: int, unhealthy: Mapping[int, Reading], number: int) -> bool:
        """Whether the pool's word counts for the account at head ``number``."""
        self._left = {a: n for a, n in self._left.items() if a in unhealthy}
        return self._left.get(account, number) == number

    def left(self, account: int, number: int) -> None:
        """The account was left to a transaction in the pool at head ``number``."""
        self._left.setdefault(account, number)
