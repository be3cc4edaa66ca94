"""Moves of token holders: transfers, redemption, conversion."""

from __future__ import annotations

from risk.targets.yield_v2.choices import Choices, Proposal
from risk.targets.yield_v2.fixed import UINT128_MAX, UINT256_MAX, WAD
from risk.targets.yield_v2.names import BASES, JOINED, SERIES, USERS


class TokenMoves(Choices):
    """Actions on tokens, joins and accumulators."""

    def ladle_redeem(self) -> Proposal:
        series = self.ripe()
        held = self.held(series, "ladle")
        if self.draw.chance(12):
            series = "S9"
        return self.user(), (series, self.user(), self.draw.integer(0, held + 1, (0, held)))

    def ladle_transfer(self) -> Proposal:
        sender, (token, _, amount) = self.transfer()
        to = self.draw.choice(("ladle", "ladle", self.anyone()))
        assert isinstance(amount, int)
        return sender, (token, to, min(amount, UINT128_MAX))

    def retrieve(self) -> Proposal:
        return self.user(), (self.any_token(), self.anyone())

    def vault_only(self) -> Proposal:
        return self.user(), (self.any_vault(),)

    def series_only(self) -> Proposal:
        return self.user(), (self.ripe() if self.draw.chance(70) else self.a_series(),)

    def any_series(self) -> Proposal:
        """A series of the Cauldron, which can be one that nobody knows."""
        return self.user(), ("S9",) if self.draw.chance(8) else self.series_only()[1]

    def amount_of(self) -> Proposal:
        amount = self.draw.integer(0, UINT128_MAX, (1, WAD))
        return self.user(), (self.ripe() if self.draw.chance(70) else self.a_series(), amount)

    def redeem(self) -> Proposal:
        sender, series = self.user(), self.ripe()
        held = self.held(series, sender)
        return sender, (series, self.anyone(), self.draw.integer(0, held + 1, (held, 0)))

    def redeem_for(self) -> Proposal:
        sender, series = self.user(), self.ripe()
        holder = sender if self.draw.chance(60) else self.user()
        held = self.held(series, holder)
        allowed = self.model.fy_tokens[series].allowance(holder, sender)
        edges = (held, 0, min(held, allowed))
        return sender, (series, self.draw.integer(0, held + 1, edges), self.anyone(), holder)

    def mint_with_underlying(self) -> Proposal:
        sender, series = self.user(), self.a_series()
        edges = (0, self.held(SERIES[series], sender), UINT128_MAX, 10**20)
        most = UINT256_MAX if self.draw.chance(15) else 10**22
        return sender, (series, self.anyone(), self.draw.integer(0, most, edges))

    def transfer(self) -> Proposal:
        sender, token = self.user(), self.any_token()
        to = self.draw.choice(("ladle", "ladle", f"fy {self.a_series()}", self.anyone()))
        held = self.held(token, sender)
        edges = (held, 10**18, 10**19, 10**20)
        amount = self.draw.integer(0, min(held + 1, 10**21 + 1), edges)
        return sender, (token, to, amount)

    def approve(self) -> Proposal:
        sender = self.user()
        if self.draw.chance(60):
            token = self.a_series()
            spender = self.draw.choice((*USERS, *USERS, "ladle", "witch"))
        else:
            token = self.draw.choice(JOINED)
            spender = self.draw.choice(("ladle", f"join {token}"))
        amount = self.draw.choice((UINT256_MAX, UINT256_MAX, 10**19, 0))
        return sender, (token, spender, amount)

    def poke(self) -> Proposal:
        return self.user(), (self.draw.choice(BASES), self.draw.choice(("RATE", "CHI")))

    def stop(self) -> Proposal:
        return self.user(), (self.draw.choice(JOINED), self.user(), self.draw.chance(40))
