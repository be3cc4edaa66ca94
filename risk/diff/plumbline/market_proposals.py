"""Proposals about the market: feed moves, outages, refreshes, reports, arrays, time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import STRANGER, Base, Step, positions
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance, near, weighted
from risk.diff.plumbline.setup import slice_of
from risk.diff.plumbline.world import DAY, E9, YEAR, BucketSpec, make_svi
from risk.exact.market.report_hash import Slice

WAD = 10**18


class MarketProposals(Base):
    """What anybody may do about prices."""

    def price(self, rng: Random, bad: bool) -> VaultAction:
        """A move of an index feed, small or large; bad: an absurd answer.  A rate feed
        sometimes.
        """
        d = self._d
        if d.rate_feeds and chance(rng, 12):
            return self._rate(rng, bad)
        u = rng.randrange(len(d.feeds))
        feed = self.session.vault.world.feeds[d.feeds[u]]
        if feed.reverts:
            return self.make.outage(d.feeds[u], False)
        if bad and chance(rng, 20):
            self.then(self.anything, self.anything, lambda r: self.make.outage(d.feeds[u], False))
            return self.make.outage(d.feeds[u], True)
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
        wait = weighted(rng, [(1, 3), (rng.randint(2, 600), 2)])
        age = rng.choice([-5, 100, 4_000, 10**6]) if bad and chance(rng, 30) else 0
        return self.make.feed(u, answer, wait, age=age)

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
        d = self._d
        j = rng.choice(sorted(d.rate_feeds))
        answer = (
            0 if bad and chance(rng, 50) else near(rng, d.spec.collaterals[j].rate_answer, 30_000)
        )
        return self.make.any_feed("rate", f"collateral {j} = {answer}", d.rate_feeds[j], answer)

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
        confidence = 10 if chance(rng, 95) else 501
        premium = rng.choice([0, rng.randint(-(10**8), 10**8), rng.choice([-1, 1]) * (2**31 - 1)])
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
        return self.make.report(
            u, nonce, slices, signers, time=stamp, confidence=confidence, premium=premium
        )

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
        options = self.session.instruments(options=True)
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
        other feeds and the reports follow.
        """
        steps = self.fresh_steps(rng)
        self.then(*(step for step in steps if not bad or chance(rng, 50)))
        return self._same_price(0, rng.choice([300, 3_600, DAY, 3 * DAY, 10 * DAY]))

    def fresh_steps(self, rng: Random) -> list[Step]:
        """Every feed answers anew and every market that somebody holds gets a report."""
        del rng
        steps: list[Step] = [partial(self._follow, u) for u in range(len(self._d.feeds))]
        return steps + [partial(self._report_if_stale, u) for u in range(len(self._d.feeds))]

    def _follow(self, u: int, rng: Random) -> VaultAction | None:
        """Only where the feed is older than half of what is accepted."""
        feed = self.session.vault.world.feeds[self._d.feeds[u]]
        p = self._params
        limit = p.underlyings[u].max_age_seconds if p and u < len(p.underlyings) else 600
        skew = p.underlyings[u].max_skew_seconds if p and u < len(p.underlyings) else 600
        if self.session.now - feed.updated_at < min(limit // 2, max(1, skew - 3)):
            return None
        del rng
        return self._same_price(u)

    def _report_if_stale(self, u: int, rng: Random) -> VaultAction | None:
        """Only where somebody holds futures or options of it whose slice is old."""
        p, now = self._params, self.session.now
        if p is None or u >= len(p.underlyings):
            return None
        held = {
            x.instrument >> 28 << 16 | x.instrument >> 10 & 0xFFFF
            for a in self._state.accounts.values()
            for x in positions(a)
            if x.instrument >> 26 & 3 and x.instrument >> 28 == u
        }
        limit = p.underlyings[u].max_age_seconds // 2
        stale = [k for k in held if now - self._state.buckets[k].report_time > limit]
        alive = [k for k in stale if (k & 0xFFFF) * DAY + 28_800 > now]
        return self.full_report(rng, u) if alive else None

    def full_report(self, rng: Random, u: int, **changes: int) -> VaultAction:
        """A good report of every expiry that is still alive."""
        d, now = self._d, self.session.now
        last = self._state.underlyings[u]
        alive = [b for b in d.spec.underlyings[u].buckets if b.expiry > now + 1]
        slices = [self._new_slice(rng, b, now) for b in alive]
        premium = changes.get("premium", rng.randint(-(10**7), 10**7))
        stamp = changes.get("time", max(now, last.report_time + 1))
        signers = d.signers[: d.threshold]
        return self.make.report(
            u, last.report_nonce + 1, slices, signers, time=stamp, premium=premium
        )

    def sequencer(self, rng: Random, bad: bool) -> VaultAction:
        """The uptime feed: in use or not, down, back."""
        d, state = self._d, self._state
        if not state.sequencer_feed and chance(rng, 70):
            return self.use_sequencer(d.sequencer)
        feed = self.session.vault.world.feeds[d.sequencer]
        if bad:
            if chance(rng, 50):
                return self.use_sequencer(rng.choice([0, STRANGER, d.sequencer]), STRANGER)
            return self.make.outage(d.sequencer, not feed.reverts)
        if feed.reverts:
            return self.make.outage(d.sequencer, False)
        up = rng.choice([0, 0, 1])
        age = rng.choice([0, 100, 4_000, 10**6])
        text = "down" if up else f"up since {age} s"
        return self.make.any_feed("sequencer", text, d.sequencer, up, age=age)

    def use_sequencer(self, feed: int, sender: int = ADMIN) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "setSequencerFeed",
            f"{feed:#x}",
            sender,
            "setSequencerFeed",
            (feed,),
            lambda v: v.set_sequencer_feed(sender, feed),
        )

    def _same_price(self, u: int, wait: int = 1) -> VaultAction:
        d = self._d
        answer = self.session.vault.world.feeds[d.feeds[u]].answer
        return self.make.feed(
            u, answer if 0 < answer < 2**200 else d.spec.underlyings[u].answer, wait
        )
