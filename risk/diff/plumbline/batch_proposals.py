"""Batches: a few actions of one sender, nested ones too, now and then with one that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from risk.diff.plumbline.account_proposals import AccountProposals
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.draw import chance, weighted

# functions that do the same whoever calls them
ANYBODY = frozenset({"fill", "accrue", "realizePnl", "settle", "flag", "refresh"})

Make = Callable[[Random, bool], VaultAction | None]


class BatchProposals(AccountProposals):
    """What users put together."""

    def batch(self, rng: Random, bad: bool) -> VaultAction:
        """Two to four actions; bad: one of them is wrong, or there is none."""
        if bad and chance(rng, 8):
            return self.batch_of(rng.choice(self._d.users).address, [])
        user = rng.choice(self._d.users).address
        return self.batch_of(user, self._inner(rng, user, bad, depth=0))

    def _inner(self, rng: Random, user: int, bad: bool, depth: int) -> list[VaultAction]:
        makers: list[tuple[Make, int]] = [
            (self.deposit, 5),
            (self.withdraw, 5),
            (self.transfer, 5),
            (self.trade, 7),
            (self.operator, 2),
            (self.cancel, 2),
            (self.min_nonce, 1),
            (self.accrue, 1),
            (self.realize, 2),
            (self.liquidate_for, 2),
            (self.settle, 1),
            (self.flag, 1),
        ]
        count = rng.randint(2, 4)
        wrong = rng.randrange(count) if bad else -1
        out: list[VaultAction] = []
        saved = list(self.next)
        self.only = user
        try:
            for n in range(count):
                if depth < 2 and chance(rng, 12):
                    out.append(self.batch_of(user, self._inner(rng, user, n == wrong, depth + 1)))
                    continue
                item = weighted(rng, makers)(rng, n == wrong)
                if item is None or item.contract:
                    continue
                if item.function.name in ANYBODY or item.sender == user:
                    out.append(item)
        finally:
            self.only, self.next = 0, saved
        return out

    def liquidate_for(self, rng: Random, bad: bool) -> VaultAction | None:
        """Somebody who fails, into an account of the sender."""
        failing = [n for n in self._failing() if n >> 8 != self.only]
        if not failing:
            return None
        target = self.only << 8
        limit = -(2**255) if bad else 2**255 - 1
        return self.slice_of("liquidate", self.only, rng.choice(failing), target, 10**18, limit)

    def batch_of(self, sender: int, inner: Sequence[VaultAction]) -> VaultAction:
        """The call itself.  Inner actions run as ``sender``, whatever theirs is."""
        items = tuple(inner)

        def on_model(vault: Any) -> Any:
            calls = [lambda v, item=item: item.output(item.on_model(v)) for item in items]
            return vault.batch(sender, calls)

        text = "; ".join(item.describe() for item in items)
        made = self.make.vault(
            "batch",
            f"[{text}]",
            sender,
            "batch",
            lambda: ([item.calldata() for item in items],),
            on_model,
        )
        return VaultAction(**{**vars(made), "inner": items})
