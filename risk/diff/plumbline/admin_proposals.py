"""Proposals of the owner of the vault, and of those who would like to be."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from risk.diff.plumbline.action import VaultAction
from risk.diff.plumbline.base import Base
from risk.diff.plumbline.chain import ADMIN
from risk.diff.plumbline.draw import chance
from risk.diff.plumbline.params_blob import CollateralParams
from risk.diff.plumbline.tails import draw_groups, draw_underlying_tail, make_tail
from risk.diff.plumbline.world import (
    DAY,
    BucketSpec,
    CollateralSpec,
    UnderlyingSpec,
    make_underlying_params,
)
from risk.exact.state import MAX_PRICE_WAD

CAPLESS = 10**30


class AdminProposals(Base):
    """Parameters, signers, listings."""

    def admin(self, rng: Random, bad: bool) -> VaultAction:
        """New risk parameters; bad: by a stranger, or malformed."""
        self.adopt(rng)
        d = self._d
        spec = d.spec
        params = spec.params
        if chance(rng, 50):
            u = rng.randrange(len(spec.underlyings))
            common = list(params.underlyings[u].price_lanes)
            price = spec.underlyings[u].price_wad
            params.underlyings[u] = make_underlying_params(rng, params.scenarios, price, common)
            draw_underlying_tail(rng, params, u, price)
        if chance(rng, 40):
            params.tail = make_tail(rng)
            for u, item in enumerate(spec.underlyings):
                draw_underlying_tail(rng, params, u, item.price_wad)
        params.im_factor_bps = rng.randint(params.target_bps, 20_000)
        draw_groups(params, spec.now, self.session.now)  # also over accounts that hold two of them
        blob, sender = params.blob(), ADMIN
        if bad:
            if chance(rng, 25):
                sender = self._intruder(rng, 0)
            else:
                broken = bytearray(blob)
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
                blob = rng.choice([bytes(broken), blob[:-32], blob + bytes(32), b"", blob[:31]])
        return self.params_of(sender, blob)

    def params_of(self, sender: int, blob: bytes) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "setRiskParams",
            f"{len(blob)} bytes",
            sender,
            "setRiskParams",
            (blob,),
            lambda v: v.set_risk_params(sender, blob),
        )

    def signers(self, rng: Random, bad: bool) -> VaultAction:
        """The same signers with another threshold; bad: by a stranger, unordered, too many, a
        threshold that cannot be met.
        """
        d = self._d
        addresses, threshold = [s.address for s in d.signers], rng.randint(1, len(d.signers))
        sender = ADMIN
        if bad:
            kind = rng.randrange(4)
            if kind == 0:
                sender = self._intruder(rng, 0)
            elif kind == 1:
                threshold = rng.choice([0, len(addresses) + 1])
            elif kind == 2:
                addresses, threshold = [*addresses, addresses[-1]], 1
            else:
                addresses = list(range(1, 18))
        elif self._state.signers == addresses:
            d.threshold = threshold
        args = (addresses, threshold)
        return self.make.vault(
            "setSigners",
            f"{threshold} of {len(addresses)}",
            sender,
            "setSigners",
            args,
            lambda v: v.set_signers(sender, *args),
        )

    # ── listing ──────────────────────────────────────────────────────────────────────────────────

    def listing(self, rng: Random, bad: bool) -> VaultAction:
        """An expiry with strikes mostly; rarely an underlying or a collateral."""
        self.adopt(rng)
        if chance(rng, 70):
            return self.expiry(rng, bad)
        if chance(rng, 50):
            return self.collateral(rng, bad)
        feed = self._d.spare_feeds[0]
        if bad:
            feed = rng.choice([self._d.spare_feeds[1], 0, 0xDEAD, self._d.users[0].address])
        elif len(self._state.underlyings) > 9:
            return self.expiry(rng, bad)
        return self.underlying(feed, self._intruder(rng, 0) if bad and chance(rng, 20) else ADMIN)

    def underlying(self, feed: int, sender: int = ADMIN) -> VaultAction:
        """The call itself."""
        return self.make.vault(
            "list",
            f"underlying of feed {feed:#x}",
            sender,
            "listUnderlying",
            (feed,),
            lambda v: v.list_underlying(sender, feed),
        )

    def collateral(self, rng: Random, bad: bool) -> VaultAction:
        """A plain token; bad: listed, no token, too many decimals, rate feeds that do not work."""
        d = self._d
        token, u, rate = d.spare_tokens[0], rng.randrange(len(d.feeds)), 0
        if bad:
            kind = rng.randrange(6)
            if kind == 0:
                token = rng.choice([d.cash, *d.tokens])
            elif kind == 1:
                u = 99
            elif kind == 2:
                token = d.spare_tokens[1]
            elif kind == 3:
                token = d.users[0].address
            else:
                rate = rng.choice([d.sequencer, d.spare_feeds[1], d.users[0].address])
        known = {d.spare_tokens[0]: 6, d.spare_tokens[1]: 19, d.cash: d.spec.cash_decimals}
        known |= {t: c.decimals for t, c in zip(d.tokens, d.spec.collaterals, strict=False)}
        decimals_or_none = known.get(token)
        args = (token, u, rate)
        return self.make.vault(
            "list",
            f"collateral {token:#x} of {u}, rate feed {rate:#x}",
            ADMIN,
            "listCollateral",
            args,
            lambda v: v.list_collateral(ADMIN, *args, decimals_or_none),
        )

    def expiry(self, rng: Random, bad: bool) -> VaultAction:
        """A new expiry, or more strikes of an old one; bad: over, unordered, listed, too high, too
        many, unknown underlying.
        """
        d, today = self._d, self.session.now // DAY
        u = rng.randrange(len(d.feeds))
        price = max(1, self._state.underlyings[u].price_wad)
        days = [key & 0xFFFF for key in self._state.buckets if key >> 16 == u]
        alive = [day for day in days if day > today]
        day = rng.choice(alive) if alive and chance(rng, 40) else today + rng.randint(1, 40)
        old = self._strikes(u, day)
        drawn = {max(1, price * rng.randint(600, 1500) // 1000 + rng.randrange(9)) for _ in "ab"}
        strikes = sorted(drawn - set(old))
        if bad:
            kind = rng.randrange(6)
            if kind == 0:
                day = today - rng.choice([1, 100])
            elif kind == 1:
                strikes = rng.choice([[*strikes, 1], [5, 5], [0]])
            elif kind == 2 and old:
                strikes = sorted({*strikes, rng.choice(old)})
            elif kind == 3:
                strikes = [MAX_PRICE_WAD + 1]
            elif kind == 4:
                strikes = list(range(1, 1026 - len(old)))
            else:
                u = 99
        return self.expiry_of(u, day, strikes)

    def expiry_of(self, u: int, day: int, strikes: list[int]) -> VaultAction:
        """The call itself."""
        args = (u, day, strikes)
        return self.make.vault(
            "list",
            f"expiry {day} of {u}, {len(strikes)} strikes",
            ADMIN,
            "listExpiry",
            args,
            lambda v: v.list_expiry(ADMIN, *args),
        )

    def _strikes(self, u: int, day: int) -> list[int]:
        bucket = self._state.buckets.get(u << 16 | day)
        return list(bucket.strikes_wad) if bucket is not None else []

    def adopt(self, rng: Random) -> None:
        """Take what was listed meanwhile into the spec, so that parameters, reports and deposits
        know of it.
        """
        d, state = self._d, self._state
        spec = d.spec
        while len(spec.underlyings) < len(state.underlyings):
            item = state.underlyings[len(spec.underlyings)]
            answer = self.session.vault.world.feeds[item.feed].answer
            new = UnderlyingSpec(item.feed_decimals, answer, ())
            common = list(spec.params.underlyings[0].price_lanes)
            made = make_underlying_params(rng, spec.params.scenarios, new.price_wad, common)
            spec.params.underlyings.append(made)
            spec = replace(spec, underlyings=(*spec.underlyings, new))
            d.feeds.append(item.feed)
        while len(spec.collaterals) < len(state.collaterals):
            c = state.collaterals[len(spec.collaterals)]
            spec.params.collaterals.append(
                CollateralParams(c.underlying, c.decimals, 1_000, CAPLESS, c.rate_feed != 0)
            )
            added = CollateralSpec(c.decimals, c.underlying, 0, 0)
            spec = replace(spec, collaterals=(*spec.collaterals, added))
            d.tokens.append(c.token)
        for key, bucket in state.buckets.items():
            u, day = key >> 16, key & 0xFFFF
            known = spec.underlyings[u]
            if any(b.expiry_day == day for b in known.buckets):
                continue
            svi = known.buckets[0].svi_e9 if known.buckets else (10**7, 10**7, 0, 0, 10**8)
            fresh = BucketSpec(day, 10**18, 97 * 10**16, svi, tuple(bucket.strikes_wad))
            buckets = tuple(sorted((*known.buckets, fresh), key=lambda b: b.expiry_day))
            changed = list(spec.underlyings)
            changed[u] = replace(known, buckets=buckets)
            spec = replace(spec, underlyings=tuple(changed))
        d.spec = spec
