"""What a sequence does next: mostly sensible actions, about a quarter that must be refused, and
some that aim at one error.  Looks at the model only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from risk.diff.plumbline import group_seekers, seekers
from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.admin_proposals import AdminProposals
from risk.diff.plumbline.batch_proposals import BatchProposals
from risk.diff.plumbline.draw import chance, weighted
from risk.diff.plumbline.settlement_proposals import SettlementProposals
from risk.diff.plumbline.trades import Trades
from risk.diff.plumbline.waterfall_proposals import WaterfallProposals

WIND_DOWN_FROM = 40  # actions
BAD_PERCENT = 22
SEEK_PERCENT = 22
GROUP_PERCENT = 25  # where there is more than one group


class Proposer(BatchProposals, SettlementProposals, WaterfallProposals, AdminProposals):
    """Chooses actions for one session."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.trades = Trades(session)
        self.count = 0
        self.winding = False
        self._early: Iterator[VaultAction] = iter(())

    def propose(self, rng: Random) -> VaultAction:
        """The next action, dated a second or more after the last block."""
        self.count += 1
        action = self._choose(rng)
        if action.time <= self.session.now:
            action = replace(action, time=self.session.now + 1)
        return action

    def begin_early(self, first: VaultAction, rest: Iterator[VaultAction]) -> None:
        """The sequence begins before ``first``: probes, then the rest of the set-up in between."""

        def steps() -> Iterator[VaultAction]:
            yield first
            yield from rest

        self._early = steps()

    def _choose(self, rng: Random) -> VaultAction:
        early = self._early_step(rng)
        if early is not None:
            return early
        while self.next:
            if not chance(rng, 88):
                self.next.clear()
                break
            action = self.next.pop(0)(rng)
            if action is not None:
                return action
        if self.count <= 6:  # positions first
            return self.trade(rng, chance(rng, 8))
        if chance(rng, 12):
            for step in self.fresh_steps(rng):
                action = step(rng)
                if action is not None:
                    return action
        if self._params is not None and self._params.has_groups and chance(rng, GROUP_PERCENT):
            action = group_seekers.seek(self, rng)
            if action is not None:
                return action
        if chance(rng, SEEK_PERCENT):
            action = seekers.seek(self, rng)
            if action is not None:
                return action
        return self.anything(rng)

    def _early_step(self, rng: Random) -> VaultAction | None:
        """While the set-up is not complete: its next step, or a probe of what is missing."""
        missing = self.session.state.params is None
        if (missing and self.count <= 5 and chance(rng, 80)) or chance(rng, 10):
            action = seekers.probe(self, rng) if self._unfinished() else None
            if action is not None:
                return action
        return next(self._early, None)

    def _unfinished(self) -> bool:
        """Whether the set-up has a step left."""
        step = next(self._early, None)
        if step is None:
            return False
        rest = self._early

        def again() -> Iterator[VaultAction]:
            yield replace(step, time=self.session.now + 1)
            yield from rest

        self._early = again()
        return True

    def anything(self, rng: Random) -> VaultAction:
        """Any kind, by its weight."""
        bad = chance(rng, BAD_PERCENT)
        if not bad and chance(rng, 30) and self._failing():
            return self.liquidate(rng, bad)
        kind = weighted(
            rng,
            [
                (self.trade, 300),
                (self.batch, 60),
                (self.deposit, 50),
                (self.withdraw, 75),
                (self.transfer, 45),
                (self.operator, 25),
                (self.min_nonce, 12),
                (self.accrue, 20),
                (self.realize, 25),
                (self.insure, 10),
                (self.price, 80),
                (self.crash, 18),
                (self.ruin, 40),
                (self.refresh, 22),
                (self.report, 45),
                (self.arrays, 18),
                (self.sequencer, 18),
                (self.cancel, 22),
                (self.wait, 14),
                (self.expire, 16),
                (self.observe, 10),
                (self.settle, 14),
                (self.flag, 18),
                (self.unflag, 14),
                (self.call_margin, 18),
                (self.liquidate, 25),
                (self.legs, 30),
                (self.flash, 14),
                (self.deleverage, 14),
                (self.socialise, 14),
                (self.admin, 18),
                (self.signers, 10),
                (self.listing, 18),
                (self.close, 8),
            ],
        )
        return kind(rng, bad) or self.trade(rng, bad)

    def close(self, rng: Random, bad: bool) -> VaultAction:
        """The wind-down, late in a sequence and not in every one."""
        if not bad and self.count < WIND_DOWN_FROM:
            return self.trade(rng, bad)
        return self.wind_down(rng, bad)

    def trade(self, rng: Random, bad: bool) -> VaultAction:
        """See ``trades.py``."""
        return self.trades.fill(rng, bad)

    def cancel(self, rng: Random, bad: bool) -> VaultAction:
        """See ``trades.py``."""
        self.trades.only = self.only
        try:
            return self.trades.cancel(rng, bad)
        finally:
            self.trades.only = 0
