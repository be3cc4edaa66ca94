"""Moves of governance and of the market: prices, rates, limits."""

from __future__ import annotations

from risk.targets.yield_v2.calls import INTRUSIONS
from risk.targets.yield_v2.choices import Choices, Proposal
from risk.targets.yield_v2.fixed import UINT32_MAX, UINT256_MAX, WAD


class TermMoves(Choices):
    """Actions that change the terms."""

    def set_rate(self) -> Proposal:
        sources = self.model.rates.sources
        fresh = [key for key, source in sources.items() if source.updated == self.now]
        base, kind = self.draw.choice(fresh or tuple(sources))
        usual = WAD + self.draw.integer(0, 4 * 10**11)
        rare = self.draw.choice((0, WAD - 10**13, 2**128, 2 * WAD))
        per_second = rare if self.draw.chance(6) else usual
        return self.governor(), (base, kind, per_second)

    def set_price(self) -> Proposal:
        base, ilk = self.pair()
        fair = [self._fair(v) for v in self.model.built if self.is_of(v, base, ilk)]
        price = self.model.spot.prices[ilk, base]
        if self.draw.chance(15):
            return self.user(), (base, ilk, self.draw.integer(0, 10**24, fair))
        aims = [price * 9 // 10, price * 3 // 2]
        for aim in fair:
            aims += [max(aim - 1, 0), aim, aim + 1, aim * 9 // 10, aim * 2 // 3, aim * 3 // 2]
        return self.user(), (base, ilk, min(self.draw.choice(aims), 10**30))

    def _fair(self, vault: int) -> int:
        """The price at which the vault's level is about 0."""
        entry, has = self.model.cauldron.vault(vault), self.model.cauldron.balance(vault)
        base = self.model.cauldron.series_of(entry.series).base
        ratio = self.model.cauldron.ratios.get((base, entry.ilk), 0)
        return has.art * ratio * 10**12 // has.ink if has.ink else WAD

    def set_ratio(self) -> Proposal:
        base, ilk = self.pair()
        most = 5_000_000 if self.draw.chance(90) else UINT32_MAX
        ratio = self.draw.integer(0, most, (1_000_000, 1_500_000))
        return self.governor(), (base, ilk, ratio)

    def set_debt_limits(self) -> Proposal:
        base, ilk = self.pair()
        dec = self.draw.choice((18, 18, 18, 15, 0, 38, 39, 78))
        most, least = self.draw.choice((10**8, 10**8, 2**96 - 1, 0)), self.draw.choice((0, 1, 100))
        if dec > 18 and self.draw.chance(70):
            dec = 18
        return self.governor(), (base, ilk, most, least, dec)

    def set_fee(self) -> Proposal:
        most = 10**12 if self.draw.chance(90) else UINT256_MAX
        return self.governor(), (self.draw.integer(0, most, (0, 10**8)),)

    def intrude(self) -> Proposal:
        return self.user(), (self.draw.choice(INTRUSIONS),)
