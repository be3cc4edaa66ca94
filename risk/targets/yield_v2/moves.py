"""Next actions, chosen from the model's state: amounts at the borders of what is accepted."""

from __future__ import annotations

from collections.abc import Callable

from risk.diff.kit.adapter import Step
from risk.targets.yield_v2.choices import Proposal
from risk.targets.yield_v2.moves_auctions import AuctionMoves
from risk.targets.yield_v2.moves_terms import TermMoves
from risk.targets.yield_v2.moves_tokens import TokenMoves
from risk.targets.yield_v2.moves_vaults import VaultMoves

#: how often each kind is drawn
WEIGHTS = {
    "pour": 24,
    "auction": 10,
    "pay_base": 14,
    "pay_fy_token": 12,
    "close": 6,
    "set_price": 6,
    "stir": 5,
    "build": 3,
    "batch": 4,
    "tweak": 3,
    "give": 2,
    "destroy": 1,
    "repay_from_ladle": 3,
    "close_from_ladle": 3,
    "ladle_redeem": 2,
    "ladle_transfer": 3,
    "retrieve": 2,
    "level": 2,
    "mature": 2,
    "accrual": 2,
    "debt_from_base": 1,
    "debt_to_base": 1,
    "fy_mature": 2,
    "fy_accrual": 1,
    "to_underlying": 1,
    "to_principal": 1,
    "redeem": 3,
    "redeem_for": 3,
    "withdraw": 3,
    "mint_with_underlying": 3,
    "cancel": 4,
    "clear": 3,
    "payout": 2,
    "transfer": 5,
    "approve": 3,
    "poke": 2,
    "stop": 2,
    "set_rate": 2,
    "set_debt_limits": 3,
    "set_reward": 1,
    "set_protected": 1,
    "set_fee": 1,
    "seize": 2,
    "roll": 3,
    "set_ratio": 2,
    "set_line": 2,
    "intrude": 1,
}
_OF_AUCTIONS = ("auction", "pay_base", "pay_fy_token", "cancel", "clear", "seize", "payout")
_BAG = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]


class Moves(VaultMoves, AuctionMoves, TokenMoves, TermMoves):
    """One choice among all kinds of actions."""

    def step(self) -> Step:
        """An action with its sender and the time before it."""
        kind = self._instead(self.draw.choice(_BAG))
        sender, arguments = self.proposal(kind)
        return Step(kind, sender, arguments, self._wait(kind))

    def proposal(self, kind: str) -> Proposal:
        return _ARGUMENTS[kind](self)

    def _instead(self, kind: str) -> str:
        """A step on the way where the state has nothing for ``kind``: first debt, then a price at
        which a vault can be auctioned, then the auction, then bids. Mostly.
        """
        if kind not in _OF_AUCTIONS or self.draw.chance(10):
            return kind
        if kind != "auction" and self.model.witch.auctions:
            return kind
        if any(v not in self.model.witch.auctions and self.sick(v) for v in self.model.built):
            return "auction"
        owing = any(self.model.cauldron.balance(v).art for v in self.model.built)
        return "set_price" if owing else "pour"

    def _wait(self, kind: str) -> int:
        if kind == "set_rate" and self.draw.chance(85):
            return 0
        if self.world["late"] and self.draw.chance(7):
            return 2**32
        if self.draw.chance(80):
            return self.draw.choice((0, 0, 1, 12, 600))
        if self.draw.chance(60):
            edges = []
            for auction in self.model.witch.auctions.values():
                line = self.model.witch.lines[auction.ilk, auction.base]
                edges.append(max(auction.start + line.duration - self.now, 0))
            return self.draw.integer(0, 86_400, edges)
        left = [t.maturity - self.now for t in self.model.fy_tokens.values()]
        near = min((wait for wait in left if wait > 0), default=86_400)
        return self.draw.integer(0, near + 86_400, (near, near, near // 2))


_ARGUMENTS: dict[str, Callable[[Moves], Proposal]] = {
    **{kind: getattr(Moves, kind) for kind in WEIGHTS if hasattr(Moves, kind)},
    "repay_from_ladle": Moves.from_ladle,
    "close_from_ladle": Moves.from_ladle,
    "level": Moves.vault_only,
    "cancel": Moves.auctioned,
    "clear": Moves.cleared,
    "mature": Moves.any_series,
    "accrual": Moves.any_series,
    "fy_mature": Moves.series_only,
    "fy_accrual": Moves.series_only,
    "debt_from_base": Moves.amount_of,
    "debt_to_base": Moves.amount_of,
    "to_underlying": Moves.amount_of,
    "to_principal": Moves.amount_of,
    "withdraw": Moves.redeem_for,
    "pay_base": lambda moves: moves.bid(True),
    "pay_fy_token": lambda moves: moves.bid(False),
}
