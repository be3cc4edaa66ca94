"""A comparison of every account that takes as many turns as it needs.

It is pinned to the block at which it began: the accounts as they were there (the ledger replaces
accounts and never changes one, so remembering them costs a dictionary), asked for by that block's
hash. After ``PINNED`` blocks, before nodes forget the state, or where the block is not known any
more, it goes on with the accounts that are left as of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from risk.exact.state import Account
from risk.keeper.source import NodeRefused, NotFound
from risk.keeper.types import Head

PINNED = 96  # blocks; nodes without an archive keep the state of 128


@dataclass(frozen=True)
class Part:
    """``done`` of ``total`` accounts were found equal, the last ones as of ``block``."""

    block: int
    done: int
    total: int

    @property
    def finished(self) -> bool:
        """All of them."""
        return self.done >= self.total


class Audit:
    """See the module. ``compare(numbers, accounts, head)`` raises where an account of ``numbers``
    differs from ``accounts`` as of ``head``, or cannot be read.
    """

    def __init__(
        self,
        accounts: Mapping[int, Account],
        head: Head,
        compare: Callable[[Sequence[int], Mapping[int, Account], Head], None],
    ) -> None:
        self._compare = compare
        self._left = sorted(accounts, reverse=True)
        self._total = len(self._left)
        self._pin(accounts, head)

    def _pin(self, accounts: Mapping[int, Account], head: Head) -> None:
        self._head = head
        self._accounts = {n: accounts[n] for n in self._left if n in accounts}
        self._left = [n for n in self._left if n in accounts]

    def take(self, count: int, accounts: Mapping[int, Account], head: Head) -> Part:
        """Compares the next ``count``; ``accounts`` and ``head`` are the book's as of now. What
        could not be read is taken again by the next call.
        """
        if not 0 <= head.number - self._head.number < PINNED:
            self._pin(accounts, head)
        part = self._left[-count:]
        try:
            self._compare(part[::-1], self._accounts, self._head)
        except (NotFound, NodeRefused):
            if self._head.hash == head.hash:
                raise
            self._pin(accounts, head)
            part = self._left[-count:]
            self._compare(part[::-1], self._accounts, self._head)
        del self._left[len(self._left) - len(part) :]
        for number in part:
            self._accounts.pop(number, None)
        return Part(self._head.number, self._total - len(self._left), self._total)
