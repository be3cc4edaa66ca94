"""Next actions of the Morpho target, chosen from the model's state.

Three in four are meant to succeed: the sender may act, the market exists, the amount lies at or
beside a boundary of the position. The others take anybody and any amount.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from risk.diff.kit.adapter import Refused, Step, World
from risk.diff.kit.draw import Draw
from risk.targets.morpho.edges import Edges
from risk.targets.morpho.math import MAX_FEE, UINT128_MAX, UINT256_MAX, WAD
from risk.targets.morpho.model import (
    GOOD_SIGNATURES,
    MORPHO,
    ROBOT,
    SIGNERS,
    ZERO,
    MarketParams,
    Morpho,
)
from risk.targets.morpho.signing import SIGNATURES
from risk.targets.morpho.surroundings import (
    BROKEN,
    IRM_NAMES,
    MODES,
    NORMAL,
    NOWHERE,
    RETURNS_NOTHING,
)
from risk.targets.morpho.world import HOLDERS, LLTVS, ROLES, unit_of, usual_rate

WEIGHTS = {
    "supply": 10,
    "withdraw": 10,
    "borrow": 14,
    "repay": 8,
    "supplyCollateral": 9,
    "withdrawCollateral": 7,
    "liquidate": 8,
    "accrueInterest": 3,
    "createMarket": 3,
    "setFee": 3,
    "setFeeRecipient": 2,
    "enableIrm": 1,
    "enableLltv": 2,
    "setOwner": 1,
    "setAuthorization": 4,
    "setAuthorizationWithSig": 4,
    "flashLoan": 4,
    "setPrice": 10,
    "setRate": 2,
    "setMode": 2,
    "setBalance": 3,
    "approve": 2,
}
KINDS = tuple(WEIGHTS)
DRAWN = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
IN_CALLBACKS = (
    *("supply", "withdraw", "borrow", "borrow", "repay", "supplyCollateral", "withdrawCollateral"),
    *("liquidate", "flashLoan", "accrueInterest", "setAuthorization"),
)
MAX_DEPTH = 2  # callbacks inside callbacks
HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400


def propose(draw: Draw, model: Morpho, world: World) -> Step:
    """See ``Adapter.propose``."""
    wait = draw.choice((0, 0, 0, 1, 12, 12, HOUR, DAY, 30 * DAY, YEAR))
    if draw.chance(1):
        wait = 100 * YEAR
    return Proposer(draw, model, world, wait).step()


def _plain(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Markets as plain tuples: steps are written to files."""
    return tuple(_plain(tuple(a)) if isinstance(a, tuple) else a for a in arguments)


class Proposer:
    """One proposal: the model as it will stand when the action comes, with interest accrued."""

    def __init__(self, draw: Draw, model: Morpho, world: World, wait: int) -> None:
        self.draw, self.world, self.wait = draw, world, wait
        self.model = copy.deepcopy(model)
        self.model.now += wait
        for market in list(self.model.markets):
            trial = copy.deepcopy(self.model)
            try:
                trial.accrue(market)
            except Refused:
                continue
            self.model = trial
        self.sensible = draw.chance(75)

    def step(self) -> Step:
        kind = self._kind()
        sender, arguments = self._proposal(kind)
        return Step(kind, sender, _plain(arguments), self.wait)

    def _kind(self) -> str:
        """Liquidations come first where a position can be liquidated, and prices come back to where
        something can happen; a sensible proposal is one that can succeed.
        """
        kind = self.draw.choice(DRAWN)
        unhealthy = self._unhealthy()
        if unhealthy and self.draw.chance(35):
            return "liquidate"
        if self._stuck_oracles() and self.draw.chance(25):
            return "setPrice"
        if not self.sensible:
            return kind
        positions = list(self.model.positions.values())
        if kind == "liquidate" and not unhealthy:
            kind = self.draw.choice(("setPrice", "borrow"))
        if kind == "repay" and not any(p.borrow_shares for p in positions):
            kind = "borrow"
        if kind == "borrow" and not self._able_to_borrow():
            kind = self.draw.choice(("supplyCollateral", "supply"))
        return kind

    def _able_to_borrow(self) -> list[MarketParams]:
        return [
            market
            for market in self.model.listed
            for who in HOLDERS
            if market in self.model.markets
            for e in [Edges(self.model, market, who)]
            if e.liquidity and e.max_borrow > e.borrowed
        ]

    def _stuck_oracles(self) -> list[int]:
        """Oracles at a price at which nothing goes any more."""
        return [
            i
            for i, (price, fair) in enumerate(
                zip(self.model.prices, self.world["prices"], strict=True)
            )
            if not fair // 10**4 <= price <= fair * 10**4
        ]

    def _proposal(self, kind: str) -> tuple[str, tuple[Any, ...]]:
        make: Callable[[str], tuple[str, tuple[Any, ...]]] = getattr(self, f"_{kind}")
        return make(self.draw.choice(ROLES))

    # ── choices ──────────────────────────────────────────────────────────────────────────────────

    def _market(self) -> MarketParams:
        created = [m for m in self.model.listed if m in self.model.markets]
        if created and (self.sensible or self.draw.chance(60)):
            return self.draw.choice(created)
        return self.draw.choice(self.model.listed)

    def _amount(self, edges: Sequence[int], token: int) -> int:
        """An amount of a token at an edge, or of its usual size; sometimes at a type's limit."""
        if not self.sensible and self.draw.chance(12):
            return self.draw.choice((0, UINT128_MAX, UINT128_MAX + 1, 2**128 * 10**6, UINT256_MAX))
        if self.sensible and edges and self.draw.chance(85):
            fair = [e for e in edges if e > 0] or edges
            edge = self.draw.choice(fair)
            return min(max(0, edge + self.draw.choice((0, 0, 0, 0, -1, 1))), UINT256_MAX)
        return self.draw.integer(0, 2 * unit_of(self.world, token), edges)

    def _one_of(self, assets: int, shares: int) -> tuple[int, int]:
        """Assets or shares; sometimes both or none."""
        if not self.sensible and self.draw.chance(8):
            return self.draw.choice(((0, 0), (assets or 1, shares or 1)))
        if self.sensible and not (assets and shares):
            return (assets, 0 if assets else shares or 1)
        return (assets, 0) if self.draw.chance(60) else (0, shares)

    def _anybody(self) -> str:
        return self.draw.choice(HOLDERS)

    def _receiver(self, sender: str) -> str:
        return sender if self.draw.chance(60) else self._anybody()

    def _holder(self, sender: str, has: Callable[[str], int]) -> str:
        """Somebody who has what the action takes and lets the sender act."""
        if not self.sensible:
            return self._anybody()
        able = [who for who in HOLDERS if has(who) and self._may(sender, who)]
        return self.draw.choice(able) if able else sender

    def _may(self, sender: str, who: str) -> bool:
        return sender == who or (who, sender) in self.model.authorized

    def _acting(self, sender: str, has: Callable[[str], int]) -> tuple[str, str]:
        """A sender and a holder: the pairs in which the holder has something, if there are any."""
        if self.sensible:
            pairs = [
                (by, who)
                for who in HOLDERS
                if has(who)
                for by in ROLES
                if self._may(by, who) and (sender != ROBOT or by == ROBOT)
            ]
            if pairs:
                return self.draw.choice(pairs)
        return sender, self._holder(sender, has)

    def _unhealthy(self) -> list[tuple[MarketParams, str]]:
        return [
            (market, who)
            for (market, who), position in list(self.model.positions.items())
            if position.borrow_shares
            and market in self.model.listed
            and not Edges(self.model, market, who).healthy
        ]

    def _funded(self, sender: str, token: int) -> list[int]:
        held = self.model.tokens[token]
        return [min(held.balance.get(sender, 0), held.allowance.get(sender, 0))]

    def _data(self, sender: str, depth: int = 0) -> tuple[Any, ...]:
        """A callback of the robot, seldom of somebody who cannot have one."""
        if sender != ROBOT:
            return ("nothing",) if self.draw.chance(3) else ()
        if self.draw.chance(25):
            return ()
        if self.draw.chance(20) or depth >= MAX_DEPTH:
            return ("nothing",)
        kind = self.draw.choice(IN_CALLBACKS)
        inner = getattr(self, f"_{kind}")
        self.depth = depth + 1
        _, arguments = inner(ROBOT)
        return (kind, *arguments)

    depth = 0  # of the callback that is being made up

    # ── supply and borrowing ─────────────────────────────────────────────────────────────────────

    def _supply(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market, who = self._market(), self._receiver(sender)
        state = Edges(self.model, market, who).state
        edges = [] if self.draw.chance(80) else self._funded(sender, market.loan_token)
        assets = self._amount(edges, market.loan_token)
        price = (state.total_supply_shares + 10**6, state.total_supply_assets + 1)
        shares = self._amount([e * price[0] // price[1] for e in (assets, 1)], market.loan_token)
        return sender, (market, *self._one_of(assets, shares), who, self._data(sender, self.depth))

    def _withdraw(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market = self._market()
        sender, who = self._acting(
            sender, lambda who: self.model.position(market, who).supply_shares
        )
        e = Edges(self.model, market, who)
        assets = self._amount(e.withdraw(), market.loan_token)
        shares = self._amount(e.withdraw_in_shares(), market.loan_token)
        return sender, (market, *self._one_of(assets, shares), who, self._receiver(sender))

    def _borrow(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        able = self._able_to_borrow()
        market = self.draw.choice(able) if able and self.sensible else self._market()
        sender, who = self._acting(sender, lambda who: self._room(Edges(self.model, market, who)))
        e = Edges(self.model, market, who)
        edges, in_shares = e.borrow(), e.borrow_in_shares()
        if self.draw.chance(50):  # within the liquidity
            edges, in_shares = edges[3:4], in_shares[3:4]
        assets = self._amount(edges, market.loan_token)
        shares = self._amount(in_shares, market.loan_token)
        return sender, (market, *self._one_of(assets, shares), who, self._receiver(sender))

    def _room(self, e: Edges) -> int:
        return max(0, e.max_borrow - e.borrowed)

    def _repay(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market, who = self._market(), self._anybody()
        debts = [k for k, p in self.model.positions.items() if p.borrow_shares]
        if debts and self.sensible:
            market, who = self.draw.choice(debts)
        e = Edges(self.model, market, who)
        assets = self._amount(e.repay(), market.loan_token)
        shares = self._amount(e.repay_in_shares(), market.loan_token)
        return sender, (market, *self._one_of(assets, shares), who, self._data(sender, self.depth))

    def _supplyCollateral(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market, who = self._market(), self._receiver(sender)
        edges = self._funded(sender, market.collateral_token) if self.draw.chance(20) else []
        assets = self._amount(edges, market.collateral_token)
        position = self.model.position(market, who)
        position.collateral = min(position.collateral + assets, UINT128_MAX)  # for its callback
        return sender, (market, assets, who, self._data(sender, self.depth))

    def _withdrawCollateral(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market = self._market()
        sender, who = self._acting(sender, lambda who: self.model.position(market, who).collateral)
        edges = Edges(self.model, market, who).withdraw_collateral()
        assets = self._amount(edges, market.collateral_token)
        return sender, (market, assets, who, self._receiver(sender))

    def _liquidate(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        found = self._unhealthy()
        if found and (self.sensible or self.draw.chance(60)):
            market, who = self.draw.choice(found)
        else:
            market, who = self._market(), self._anybody()
        e = Edges(self.model, market, who)
        seized = self._amount(e.seized(), market.collateral_token)
        shares = self._amount(e.repaid_shares(), market.loan_token)
        amounts = self._one_of(seized, shares)
        data = self._data(sender, self.depth)
        if data and self.draw.chance(25):  # what Morpho holds once the collateral is paid out
            token = market.collateral_token
            left = max(0, self.model.tokens[token].balance.get(MORPHO, 0) - amounts[0])
            data = ("flashLoan", token, left + self.draw.choice((0, 1)), ("nothing",))
        return sender, (market, who, *amounts, data)

    def _accrueInterest(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        return sender, (self._market(),)

    def _flashLoan(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        if self.sensible:
            sender = ROBOT
        numbers = list(self.model.tokens)
        token = self.draw.choice(numbers[:-1] if self.sensible else numbers)
        held = self.model.tokens[token].balance.get(MORPHO, 0)
        assets = self._amount([held, held // 2], token)
        return sender, (token, assets, self._data(sender, self.depth))

    # ── administration ───────────────────────────────────────────────────────────────────────────

    def _owner(self, sender: str) -> str:
        return self.model.owner if self.draw.chance(85) and self.model.owner in ROLES else sender

    def _createMarket(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        absent = [m for m in self.model.listed if m not in self.model.markets]
        ready = [m for m in absent if m.irm in self.model.irms and m.lltv in self.model.lltvs]
        pool = ready or absent if self.sensible else self.model.listed
        return sender, (self.draw.choice(pool or self.model.listed),)

    def _setFee(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        market = self._market()
        fee = (
            self.draw.integer(0, 2 * MAX_FEE, [MAX_FEE, self.model.markets[market].fee])
            if (market in self.model.markets)
            else MAX_FEE
        )
        return self._owner(sender), (market, fee)

    def _setFeeRecipient(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        return self._owner(sender), (self._anybody(),)

    def _enableIrm(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        return self._owner(sender), (self.draw.choice(range(len(IRM_NAMES))),)

    def _enableLltv(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        return self._owner(sender), (self.draw.choice(LLTVS),)

    def _setOwner(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        new = self.draw.choice(ROLES) if self.draw.chance(95) else self._anybody()
        return self._owner(sender), (new,)

    # ── authorisation ────────────────────────────────────────────────────────────────────────────

    def _setAuthorization(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        other = self.draw.choice(ROLES) if self.sensible else self._anybody()
        known = (sender, other) in self.model.authorized
        return sender, (other, self.draw.chance(50) if not self.sensible else not known)

    def _setAuthorizationWithSig(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        authorizer = self.draw.choice(SIGNERS)
        way = self.draw.choice(SIGNATURES)
        if self.sensible:
            way = self.draw.choice((GOOD_SIGNATURES[0], GOOD_SIGNATURES[0], GOOD_SIGNATURES[1]))
        elif self.draw.chance(10):
            authorizer, way = self.draw.choice(((ZERO, "bad_v"), ("alice", "other_signer")))
        nonce, now = self.model.nonces.get(authorizer, 0), self.model.now
        if not self.sensible and self.draw.chance(25):
            nonce = self.draw.integer(0, UINT256_MAX, [nonce])
        deadline = self.draw.choice((now, now + 1, now + DAY, UINT256_MAX))
        if not self.sensible and self.draw.chance(25):
            deadline = self.draw.choice((now - 1, 0))
        value = self.draw.chance(80)
        return sender, (authorizer, self.draw.choice(ROLES), value, nonce, deadline, way)

    # ── surroundings ─────────────────────────────────────────────────────────────────────────────

    def _setPrice(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        """At the health boundary of a position or just below, a fall, or any price at all."""
        stuck = self._stuck_oracles()
        oracle = self.draw.choice(stuck or range(len(self.model.prices)))
        now = self.model.prices[oracle]
        fair = self.world["prices"][oracle]
        if stuck or self.draw.chance(35):
            price = self.draw.choice((fair, fair * 2, fair // 2, now * 9 // 10, now * 3 // 4))
        elif self.draw.chance(12):
            price = self.draw.choice((0, 1, 10**36, 2**128, UINT256_MAX, UINT256_MAX // 10**18))
        else:
            price = self._boundary_price(oracle, now)
        return sender, (oracle, min(price, UINT256_MAX))

    def _boundary_price(self, oracle: int, now: int) -> int:
        prices = [
            boundary
            for market, who in list(self.model.positions)
            if market.oracle == oracle and market in self.model.markets
            for boundary in [Edges(self.model, market, who).boundary_price()]
            if boundary is not None
        ]
        if not prices:
            return now * 9 // 10
        price = self.draw.choice(prices)
        return self.draw.choice((price, price - 1, price - 1, price * 95 // 100, price // 2))

    def _setRate(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        usual = [usual_rate(percent) for percent in (1, 5, 30, 400)]
        if self.draw.chance(70):
            return sender, (self.draw.choice(usual),)
        return sender, (self.draw.choice((0, 1, WAD, 10**12, 2**128, BROKEN - 1, BROKEN)),)

    def _setMode(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        mode = self.model.tokens[0].mode
        if mode not in (NORMAL, RETURNS_NOTHING):  # back to work soon
            return sender, (self.draw.choice((NORMAL, RETURNS_NOTHING)),)
        return sender, (self.draw.choice(MODES),)

    def _setBalance(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        token = self.draw.choice([t for t in self.model.tokens if t != NOWHERE])
        who = self.draw.choice(HOLDERS)
        unit = unit_of(self.world, token)
        held = self.model.tokens[token].balance.get(who, 0)
        if who == MORPHO and self.draw.chance(70):
            amount = held + unit  # seldom less than it owes
        elif self.draw.chance(60):
            amount = 1000 * unit
        else:
            amount = self.draw.integer(0, 2000 * unit, [held, UINT128_MAX, UINT256_MAX])
        return sender, (token, who, amount)

    def _approve(self, sender: str) -> tuple[str, tuple[Any, ...]]:
        token = self.draw.choice([t for t in self.model.tokens if t != NOWHERE])
        unit = unit_of(self.world, token)
        edges = [self.model.tokens[token].balance.get(sender, 0)]
        amount = self.draw.integer(0, unit, edges) if self.draw.chance(40) else UINT256_MAX
        return sender, (token, amount)
