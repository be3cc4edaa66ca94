"""Moves of liquidators, and the parameters of auctions."""

from __future__ import annotations

from risk.targets.yield_v2.choices import Choices, Proposal
from risk.targets.yield_v2.fixed import UINT32_MAX, UINT128_MAX, UINT256_MAX, WAD
from risk.targets.yield_v2.names import USERS


class AuctionMoves(Choices):
    """Actions on the Witch."""

    def auction(self) -> Proposal:
        auctions = self.model.witch.auctions
        name = self.pick(lambda v: v not in auctions and self.sick(v))
        return self.user(), (name, self.anyone())

    def bid(self, in_base: bool) -> Proposal:
        name = self.pick(lambda v: v in self.model.witch.auctions)
        auction = self.model.witch.auctions.get(self.model.vault(name))
        sender, to = self.user(), self.anyone()
        if auction is None:
            return sender, (name, to, 0, 10**18)
        debt = self.model.cauldron.debts(auction.base, auction.ilk)
        dusty = auction.art - debt.min * 10**debt.dec
        edges = (auction.art, auction.art, max(dusty, 0), 0, 1)
        most = self.draw.choice((auction.art, 2 * auction.art, UINT128_MAX))
        amount = self.draw.integer(0, most, edges)
        least = self.draw.choice((0, 0, 0, 0, 0, self.draw.integer(0, auction.ink)))
        token = auction.base if in_base else auction.series
        if self.held(token, sender) < amount <= auction.art and self.draw.chance(80):
            sender = max(USERS, key=lambda user: self.held(token, user))
        return sender, (name, to, least, min(amount, UINT128_MAX))

    def auctioned(self) -> Proposal:
        auctions = self.model.witch.auctions

        def well(vault: int) -> bool:
            return vault in auctions and not self.sick(vault)

        def any_of_them(vault: int) -> bool:
            return vault in auctions

        return self.user(), (self.pick(well if self.draw.chance(60) else any_of_them),)

    def cleared(self) -> Proposal:
        def lost(vault: int) -> bool:
            taken = vault in self.model.witch.auctions
            return taken and self.model.cauldron.vault(vault).owner != "witch"

        return self.user(), (self.pick(lost if self.draw.chance(60) else self.offered),)

    def payout(self) -> Proposal:
        name = self.pick(lambda v: self.offered(v) or self.sick(v))
        _, has, _ = self.look(name)
        return self.user(), (name, self.anyone(), self.draw.integer(0, UINT256_MAX, (has.art, 1)))

    def seize(self) -> Proposal:
        name = self.pick(self.offered)
        if self.draw.chance(15):
            name = self.draw.choice(("V99", "cache"))
        return self.governor(), (name, self.user())

    def set_line(self) -> Proposal:
        base, ilk = self.pair()
        duration = self.draw.integer(0, UINT32_MAX, (3600, UINT32_MAX))
        most_share = WAD if self.draw.chance(65) else 2**64 - 1
        least_share = WAD // 100 if self.draw.chance(70) else 0
        edges = (WAD, WAD // 100, WAD // 2, least_share, most_share)
        part = self.draw.integer(least_share, most_share, edges)
        start = self.draw.integer(least_share, most_share, edges)
        sold = self.model.witch.limits[ilk, base].sum
        limit = self.draw.choice((10**30, 1, sold, max(sold - 1, 0), self.draw.integer(0, 10**23)))
        return self.governor(), (base, ilk, duration, part, start, limit)

    def set_reward(self) -> Proposal:
        reward = self.draw.integer(0, 2 * WAD, (WAD, WAD, 0, WAD // 100))
        return self.governor(), (reward,)

    def set_protected(self) -> Proposal:
        return self.governor(), (self.user(), self.draw.chance(30))
