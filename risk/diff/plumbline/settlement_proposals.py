"""Proposals about expiries and the wind-down: time to the expiry and past it, observations,
settlement.
"""

from __future__ import annotations

from functools import partial
from random import Random

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import STRANGER, Step, positions
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.market_proposals import MarketProposals
from risk.exact.settlement import settlement_lib

DAY = 86_400
EIGHT = 28_800
FAR = 30 * DAY


class SettlementProposals(MarketProposals):
    """What keepers do around 08:00 UTC."""

    def _expiries(self, *, held: bool = True) -> list[tuple[int, int]]:
        """(underlying, expiry day) of what is listed, or of what somebody holds."""
        if not held:
            return sorted((key >> 16, key & 0xFFFF) for key in self._state.buckets)
        days = set()
        for account in self._state.accounts.values():
            for p in positions(account):
                if p.instrument >> 26 & 3:
                    days.add((p.instrument >> 28, p.instrument >> 10 & 0xFFFF))
        return sorted(days)

    def expire(self, rng: Random, bad: bool) -> VaultAction | None:
        """Time moves to an expiry that somebody holds (a second before, at it, after it), then
        observations and settlement.
        """
        choices = [
            (day, u)
            for u, day in self._expiries()
            if 0 < day * DAY + EIGHT - self.session.now < FAR
        ]
        if not choices:
            return self.wait(rng, bad)
        day, u = min(choices) if chance(rng, 60) else rng.choice(choices)
        expiry = day * DAY + EIGHT
        at = expiry + rng.choice([-1, 0, 1, -600, -30, 300])
        if bad:
            at = expiry - rng.choice([DAY, 7_200])
        wait = max(1, at - self.session.now)
        observing = [partial(self._observe_one, u, day, s) for s in self._spacings(rng)]
        if chance(rng, 40):  # too soon, or settled already
            observing.insert(rng.randint(1, len(observing)), partial(self._observe_one, u, day, 1))
        if chance(rng, 25):
            observing.append(partial(self._observe_one, u, day, 1))
        self.then(
            *observing,
            partial(self._settle_holders, u, day),
            *self.fresh_steps(rng),
        )
        return self._same_price(u, wait)

    def _spacings(self, rng: Random) -> list[int]:
        p = self._params
        space = max(1, p.settle_min_spacing_seconds) if p is not None else 1
        count = max(1, p.settle_min_observations) if p is not None else 1
        out = [1] + [space] * (count - 1)
        if chance(rng, 70):  # the last one after the expiry
            out[-1] = max(out[-1], 700)
        return out

    def _observe_one(self, u: int, day: int, wait: int, rng: Random) -> VaultAction:
        del rng
        return self.observation(u, day, wait)

    def observation(self, u: int, day: int, wait: int = 1) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "observe",
            f"underlying {u} day {day}",
            STRANGER,
            "observe",
            (u, day),
            lambda v: v.observe(STRANGER, u, day),
            wait,
        )

    def observe(self, rng: Random, bad: bool) -> VaultAction:
        """Of an expiry at hand; wrong: far away, unknown, settled."""
        now = self.session.now
        listed = self._expiries(held=False)
        if not listed:
            return self.observation(0, now // DAY)
        near = [(u, d) for u, d in listed if abs(d * DAY + EIGHT - now) < 2 * 3_600]
        u, day = rng.choice(near if near and not bad else listed)
        if bad and chance(rng, 40):
            u, day = rng.choice([(255, day), (u, 3), (len(self._d.feeds), day)])
        return self.observation(u, day, rng.choice([1, 1, 30, 121]))

    def _holders(self, u: int, day: int) -> list[int]:
        key = u << 16 | day
        return [
            n
            for n, a in self._state.accounts.items()
            if any(
                p.instrument >> 26 & 3
                and (p.instrument >> 28 << 16 | p.instrument >> 10 & 0xFFFF) == key
                for p in positions(a)
            )
        ]

    def _settle_holders(self, u: int, day: int, rng: Random) -> VaultAction:
        holders = self._holders(u, day)
        rng.shuffle(holders)
        if chance(rng, 40):
            holders = holders[: max(1, len(holders) // 2)]
        return self.settlement(holders)

    def settlement(self, accounts: list[int]) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "settle",
            f"{len(accounts)} accounts",
            STRANGER,
            "settle",
            (accounts,),
            lambda v: v.settle(STRANGER, accounts),
        )

    def settle(self, rng: Random, bad: bool) -> VaultAction:
        """Whoever holds something that has its price, or anybody; also twice, also nobody."""
        state, world = self._state, self.session.vault.world
        due = [
            n
            for n, a in state.accounts.items()
            if settlement_lib.holds_settled(state, world, a) is not None
        ]
        accounts = due or [self._account(rng) for _ in range(rng.randrange(4))]
        if bad:
            accounts = [*accounts, *accounts[:1], STRANGER << 8]
        return self.settlement(rng.sample(accounts, len(accounts)))

    def wind_down(self, rng: Random, bad: bool) -> VaultAction:
        """From now on positions only shrink; wrong: by somebody else, or twice.  Then time passes
        the notice and everybody is settled.
        """
        sender = self._intruder(rng, 0) if bad and chance(rng, 50) else ADMIN
        if not bad:
            p = self._params
            notice = p.wind_down_notice_seconds if p is not None else 0
            steps: list[Step] = [
                lambda r: self.trade(r, False),
                lambda r: self.accrual(rng.choice([max(1, notice - 1), max(1, notice), 10])),
                *self.fresh_steps(rng),
                lambda r: self.settlement(sorted(self._exposed())),
            ]
            self.then(*steps)
        return self.make.vault(
            "startWindDown", "", sender, "startWindDown", (), lambda v: v.start_wind_down(sender)
        )
