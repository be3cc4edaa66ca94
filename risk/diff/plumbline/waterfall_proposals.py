"""Proposals about accounts with negative equity: auto-deleveraging and socialised loss."""

from __future__ import annotations

from functools import partial
from random import Random

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import STRANGER, positions
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.liquidation_proposals import LiquidationProposals
from risk.diff.plumbline.twin import twin_of
from risk.exact.accounts import account_lib
from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, margin_logic
from risk.exact.state import Account
from risk.exact.waterfall import bankruptcy, deleverage, insurance_lib, theta


class WaterfallProposals(LiquidationProposals):
    """What keepers do when the money is gone."""

    def after_ruin(self, account: int, rng: Random) -> VaultAction | None:
        """Liquidate it, deleverage it, or take its bare debt; whatever the state of the fund."""
        margin = self._margin(account)
        if margin is None or margin.mark_equity >= 0:
            return self._liquidate_failing(rng)
        held = self._held(account)
        if not held.linear and not held.options:
            return self.socialisation(account)
        if chance(rng, 25):
            self.then(partial(self.after_ruin, account))
            return self.liquidate(rng, False)
        self.then(partial(self.after_ruin, account))
        if chance(rng, 30):
            return self._wrong_level(rng, account)
        return self.deleverage_of(rng, account)

    def _wrong_level(self, rng: Random, account: int) -> VaultAction:
        """Everything fits but θ: too small, or far too large."""
        instrument = self._position(rng, account)
        others = self.other_side(account, instrument)
        level = self.level(account, instrument, others)
        wrong = rng.choice([level // 2, level * 2 + 10**18, max(0, level - 10**6)])
        return self.deleveraging(account, instrument, others, wrong)

    def deleverage(self, rng: Random, bad: bool) -> VaultAction:
        """Of a bankrupt account if there is one; bad: of anybody, with counterparties or θ that
        do not fit.
        """
        bankrupt = self._bankrupt()
        exposed = [n for n, a in self._state.accounts.items() if a.linear or a.options]
        if bad and chance(rng, 50):
            return self._bad_deleverage(rng, self._pick(rng, bankrupt or exposed, STRANGER << 8))
        if not bad and not bankrupt and chance(rng, 80):
            return self.ruin(rng, bad, deep=True)
        account = self._pick(rng, bankrupt or exposed, STRANGER << 8)
        return self.deleverage_of(rng, account)

    def deleverage_of(self, rng: Random, account: int) -> VaultAction:
        """One position against everybody on the other side."""
        instrument = self._position(rng, account)
        others = self.other_side(account, instrument)
        return self.deleveraging(
            account, instrument, others, self.level(account, instrument, others)
        )

    def _bad_deleverage(self, rng: Random, account: int) -> VaultAction:
        instrument = self._position(rng, account)
        others = self.other_side(account, instrument)
        level = self.level(account, instrument, others)
        kind = rng.randrange(6)
        if kind == 0:
            others = others[::-1] if len(others) > 1 else others * 2
        elif kind == 1:
            others = others[:-1]
        elif kind == 2:
            others = sorted({*others, account, STRANGER << 8})
        elif kind == 3:
            others = [(STRANGER << 8) + i for i in range(65)]
        elif kind == 4:
            instrument = rng.choice([instrument ^ 1 << 26, 0xFFFFFFFF, 0])
        else:
            level = rng.choice([0, level + 10**18, max(0, level - 10**9), 2**256 - 1])
        return self.deleveraging(account, instrument, others, level)

    def _position(self, rng: Random, account: int) -> int:
        held = self._held(account)
        ids = [x.instrument for x in held.linear if x.size_wad]
        ids += [x.instrument for x in held.options]
        return rng.choice(ids) if ids else 0

    def other_side(self, account: int, instrument: int) -> list[int]:
        """Accounts on the other side of the position, ascending."""
        size = _size(self._held(account), instrument)
        out = []
        for number in sorted(self._state.accounts):
            theirs = _size(self._held(number), instrument)
            if theirs and (theirs > 0) != (size > 0):
                out.append(number)
        return out[:64]

    def level(self, account: int, instrument: int, others: list[int]) -> int:
        """θ that the contract will accept, worked out on a copy of the vault; 0 where the account
        is not bankrupt.
        """
        twin = twin_of(self.session.vault)
        twin.world.timestamp += 1
        state, world, p = twin.state, twin.world, twin.state.params
        if p is None or not others:
            return 0
        try:
            interest_lib.accrue(state, world)
            a = account_lib.load(state, account)
            accounts = [account_lib.load(state, n) for n in others]
            mask = drift.underlying_mask(p, a).union(
                *(drift.underlying_mask(p, b) for b in accounts)
            )
            live = bankruptcy.poke(state, world, p, mask)
            deficit = bankruptcy.deficit(state, world, p, account, a, live)
            deficit -= min(deficit, insurance_lib.available(state, world, p))
            sizes = [abs(_size(b, instrument)) for b in accounts]
            size = abs(_size(a, instrument))
            if not deficit or sum(sizes) < size:
                return 0
            closed = deleverage.shares(sizes, sum(sizes), size)
            caps = [theta.cap_of(margin_logic.compute(state, n).equity) for n in others]
        except ModelRevert:
            return 0
        return theta.find(closed, caps, deficit)

    def deleveraging(
        self, account: int, instrument: int, others: list[int], level: int
    ) -> VaultAction:
        """The call itself."""
        args = (account, instrument, others, level)
        return self.make.vault(
            "autoDeleverage",
            f"{account:#x} in {instrument:#010x} against {len(others)}, θ {level}",
            STRANGER,
            "autoDeleverage",
            args,
            lambda v: v.auto_deleverage(STRANGER, *args),
        )

    def socialise(self, rng: Random, bad: bool) -> VaultAction:
        """Of a bare debt if there is one; bad: of anybody."""
        bare = [
            n
            for n, a in self._state.accounts.items()
            if a.cash_wad < 0 and not (a.linear or a.options)
        ]
        if not bad and not bare and chance(rng, 80):
            return self.ruin(rng, bad, deep=True)
        if bad or not bare:
            return self.socialisation(self._pick(rng, self._bankrupt(), self._account(rng)))
        return self.socialisation(rng.choice(sorted(bare)))

    def socialisation(self, account: int) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "socialise",
            f"{account:#x}",
            STRANGER,
            "socialise",
            (account,),
            lambda v: v.socialise(STRANGER, account),
        )


def _size(a: Account, instrument: int) -> int:
    return next((x.size_wad for x in positions(a) if x.instrument == instrument), 0)
