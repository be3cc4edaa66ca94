"""Proposals about the market: feed moves, refreshes, reports, arrays, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, near, weighted
from risk.diff.plumbline.setup import ActionMaker, Deployment, slice_of
from risk.diff.plumbline.world import DAY, E9, YEAR, BucketSpec, make_svi
from risk.exact.market.report_hash import Slice

if TYPE_CHECKING:
    from risk.diff.plumbline.session import VaultAction, VaultSession

WAD = 10**18
STRANGER = 0x57A46E2


class MarketProposals:
    """What anybody may do about prices; ``next`` holds what a proposal wants to follow."""

    def __init__(self, session: VaultSession) -> None:
        self.session = session
        self.make = ActionMaker(session)
        self.next: list[Callable[[Random], VaultAction]] = []

    @property
    def _d(self) -> Deployment:
        return self.session.deployment

    def price(self, rng: Random, bad: bool) -> VaultAction:
        """A move of an index feed, small or large; bad: an absurd answer.  A rate feed
        sometimes.
        """
        d = self._d
        if d.rate_feeds and chance(rng, 12):
            return self._rate(rng, bad)
        u = rng.randrange(len(d.feeds))
        feed = self.session.vault.world.feeds[d.feeds[u]]
        base = d.spec.underlyings[u].answer
        permille = weighted(
            rng, [(rng.randint(-5, 5), 3), (rng.randint(-60, 60), 4), (rng.randint(-450, 600), 3)]
        )
        answer = max(
            1, min(feed.answer if feed.answer > 0 else base, 50 * base) * (1000 + permille) // 1000
        )
        if bad and chance(rng, 25):
            answer = rng.choice([0, -1, -(2**255), 2**255 - 1])
        elif feed.answer <= 0 or feed.answer > 50 * base:
            answer = base
        return self.make.feed(u, answer, weighted(rng, [(1, 3), (rng.randint(2, 600), 2)]))

    def refresh_of(self, chosen: list[int]) -> VaultAction:
        return self.make.vault(
            "refresh",
            str(chosen),
            STRANGER,
            "refresh",
            (chosen,),
            lambda v: v.refresh(STRANGER, chosen),
        )

    def _rate(self, rng: Random, bad: bool) -> VaultAction:
        from risk.diff.plumbline.session import VaultAction

        d = self._d
        j = rng.choice(sorted(d.rate_feeds))
        feed, time = d.rate_feeds[j], self.session.now + 1
        answer = (
            0 if bad and chance(rng, 50) else near(rng, d.spec.collaterals[j].rate_answer, 30_000)
        )

        def on_model(vault: Any) -> None:
            vault.world.feeds[feed].answer = answer
            vault.world.feeds[feed].updated_at = time

        return VaultAction(
            "rate",
            f"collateral {j} = {answer}",
            ADMIN,
            time,
            d.feed_functions["set"],
            (answer, time),
            on_model,
            feed,
        )

    def refresh(self, rng: Random, bad: bool) -> VaultAction:
        """Some or all underlyings, due or not; bad: an unknown one, or one twice."""
        count = len(self._d.feeds)
        chosen = rng.sample(range(count), rng.randint(1, count))
        if bad:
            chosen += rng.choice([[count], [255], [chosen[0]]])
        return self.refresh_of(chosen)

    def report(self, rng: Random, bad: bool) -> VaultAction:
        """New forwards and volatilities, signed by exactly the threshold or by all; many ways to be
        wrong.
        """
        d, now = self._d, self.session.now
        u = rng.randrange(len(d.feeds))
        last = self.session.state.underlyings[u]
        nonce, stamp = last.report_nonce + rng.choice([1, 1, 7]), max(now, last.report_time + 1)
        alive = [b for b in d.spec.underlyings[u].buckets if b.expiry > now + 1]
        slices = [self._new_slice(rng, b, now) for b in alive if chance(rng, 80)]
        signers = d.signers[: d.threshold] if chance(rng, 70) else list(d.signers)
        confidence = 10 if chance(rng, 93) else 501
        if bad:
            kind = rng.randrange(9)
            if kind == 0:
                nonce = rng.choice([last.report_nonce, 0])
            elif kind == 1:
                stamp = rng.choice([now + 100, last.report_time, max(0, now - 10**6)])
            elif kind == 2:
                signers = signers[:-1]
            elif kind == 3:
                signers = [*signers[:-1], d.users[0]]
            elif kind == 4:
                signers = [*signers, signers[-1]]
            elif kind == 5:
                slices = slices[::-1] + slices[:1]
            elif kind == 6:
                u, nonce = len(d.feeds), 10**6
            elif slices:
                slices[-1] = self._bad_slice(rng, slices[-1])
        return self.make.report(u, nonce, slices, signers, time=stamp, confidence=confidence)

    def _new_slice(self, rng: Random, bucket: BucketSpec, now: int) -> Slice:
        old = slice_of(bucket)
        vol_bps = rng.randint(1_500, 15_000)
        a, b, rho, m, sigma = make_svi(
            rng, vol_bps * vol_bps * max(0, bucket.expiry - now) * 10 // YEAR
        )
        return replace(
            old,
            forward_ratio_wad=near(rng, WAD, 60_000),
            a_e9=a,
            b_e9=b,
            rho_e9=rho,
            m_e9=m,
            sigma_e9=sigma,
        )

    def _bad_slice(self, rng: Random, old: Slice) -> Slice:
        return replace(
            old,
            **rng.choice(
                [
                    {"forward_ratio_wad": WAD // 4 - 1},
                    {"forward_ratio_wad": 2 * WAD + 1},
                    {"discount_wad": 0},
                    {"discount_wad": 11 * WAD // 10 + 1},
                    {"rho_e9": E9},
                    {"a_e9": -(2**39)},
                    {"sigma_e9": 0},
                    {"m_e9": 101 * E9},
                    {"b_e9": 3 * E9},
                    {"expiry_day": 3},
                    {"expiry_day": old.expiry_day + 1},
                ]
            ),
        )

    def arrays(self, rng: Random, bad: bool) -> VaultAction:
        """Arrays of some options; bad: something that is no listed option."""
        options = [i for i in self._d.spec.instruments() if i >> 26 & 3 >= 2]
        ids = rng.sample(options, min(len(options), rng.randint(1, 12)))
        if bad:
            ids.insert(
                rng.randrange(len(ids) + 1),
                rng.choice([0, 0xFFFFFFFF, ids[0] | 0x3FF, ids[0] & ~(3 << 26)]),
            )
        return self.make.vault(
            "computeArrays",
            f"{len(ids)} ids",
            STRANGER,
            "computeArrays",
            (ids,),
            lambda v: v.compute_arrays(STRANGER, ids),
        )

    def wait(self, rng: Random, bad: bool) -> VaultAction:
        """Time passes: minutes to days, across expiries (a feed update carries the block); then the
        other feeds follow.
        """
        self.next = [
            partial(self._follow, u) for u in range(1, len(self._d.feeds)) if chance(rng, 70)
        ]
        return self._same_price(0, rng.choice([300, 3_600, DAY, 3 * DAY, 10 * DAY]))

    def _follow(self, u: int, rng: Random) -> VaultAction:
        return self._same_price(u)

    def _same_price(self, u: int, wait: int = 1) -> VaultAction:
        d = self._d
        answer = self.session.vault.world.feeds[d.feeds[u]].answer
        return self.make.feed(
            u, answer if 0 < answer < 2**200 else d.spec.underlyings[u].answer, wait
        )
