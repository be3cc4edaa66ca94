"""Reference model of Morpho Blue 1.0.0: supply, borrowing, collateral, liquidation, interest.

Written from the Morpho Blue whitepaper and the documentation of IMorpho; names are Morpho's, in
snake case. All amounts are exact integers in units of their token, shares and WADs.

Actors are names (``alice``, ``robot``, ``morpho``, ``zero``), tokens, oracles and interest rate
models are numbers, a market is its five parameters. A refusal leaves a half-changed model behind:
who applies an action keeps a copy (the kit does). Checks stand in the order in which the contract
makes them, because the first one that fails decides the revert data.

``data`` of a callback is ``()`` for none, else the call that the sender makes in it:
``("nothing",)`` or a kind and its arguments. Only ``robot`` is a contract; the callback of anybody
else ends in a revert without data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from risk.diff.kit.adapter import Refused
from risk.targets.morpho import surroundings
from risk.targets.morpho.math import (
    MAX_FEE,
    ORACLE_PRICE_SCALE,
    WAD,
    half_word,
    liquidation_incentive_factor,
    mul_div_down,
    mul_div_up,
    to_assets_down,
    to_assets_up,
    to_shares_down,
    to_shares_up,
    to_uint128,
    w_div_up,
    w_mul_down,
    w_taylor_compounded,
    word,
)
from risk.targets.morpho.surroundings import NO_IRM, NOWHERE, Token

MORPHO, ZERO, ROBOT = "morpho", "zero", "robot"
SIGNERS = ("sally", "simon")  # have a key of their own and send no transactions
GOOD_SIGNATURES = ("good", "high_s")  # Morpho takes the other root of a signature as well


class MarketParams(NamedTuple):
    """What a market is, and therefore its name. ``NOWHERE`` stands for an address without code."""

    loan_token: int
    collateral_token: int
    oracle: int
    irm: int
    lltv: int  # WAD


@dataclass
class Market:
    """Totals of one market that was created."""

    total_supply_assets: int = 0
    total_supply_shares: int = 0
    total_borrow_assets: int = 0
    total_borrow_shares: int = 0
    last_update: int = 0
    fee: int = 0  # WAD


@dataclass
class Position:
    """What one holder has in one market."""

    supply_shares: int = 0
    borrow_shares: int = 0
    collateral: int = 0


@dataclass
class Morpho:
    """The whole state, and every entry point as a method named like the function."""

    listed: tuple[MarketParams, ...]  # the markets that are observed
    tokens: dict[int, Token]
    prices: list[int]  # by oracle, quoted with 36 decimals
    now: int
    owner: str = "owner"
    fee_recipient: str = ZERO
    rate: int = 0  # of RateIrm, WAD per second
    markets: dict[MarketParams, Market] = field(default_factory=dict)
    positions: dict[tuple[MarketParams, str], Position] = field(default_factory=dict)
    irms: set[int] = field(default_factory=set)
    lltvs: set[int] = field(default_factory=set)
    authorized: set[tuple[str, str]] = field(default_factory=set)  # (authorizer, authorized)
    nonces: dict[str, int] = field(default_factory=dict)
    gifts: dict[int, int] = field(default_factory=dict)  # by token, to Morpho by setBalance
    notes: list[str] = field(default_factory=list)  # intermediate quantities of the last action
    events: list[str] = field(default_factory=list)  # what is counted of the last action

    def __deepcopy__(self, _memo: Any) -> Morpho:
        return replace(
            self,
            tokens={i: token.copy() for i, token in self.tokens.items()},
            prices=list(self.prices),
            markets={key: Market(**vars(m)) for key, m in self.markets.items()},
            positions={key: Position(**vars(p)) for key, p in self.positions.items()},
            irms=set(self.irms),
            lltvs=set(self.lltvs),
            authorized=set(self.authorized),
            nonces=dict(self.nonces),
            gifts=dict(self.gifts),
            notes=[],
            events=[],
        )

    def position(self, market: MarketParams, who: str) -> Position:
        """The position, made where there is none."""
        return self.positions.setdefault((market, who), Position())

    # ── only owner ───────────────────────────────────────────────────────────────────────────────

    def setOwner(self, sender: str, new_owner: str) -> tuple[()]:
        self._check_owner(sender)
        _require(new_owner != self.owner, "already set")
        self.owner = new_owner
        return ()

    def enableIrm(self, sender: str, irm: int) -> tuple[()]:
        self._check_owner(sender)
        _require(irm not in self.irms, "already set")
        self.irms.add(irm)
        return ()

    def enableLltv(self, sender: str, lltv: int) -> tuple[()]:
        self._check_owner(sender)
        _require(lltv not in self.lltvs, "already set")
        _require(lltv < WAD, "max LLTV exceeded")
        self.lltvs.add(lltv)
        return ()

    def setFee(self, sender: str, market: MarketParams, new_fee: int) -> tuple[()]:
        self._check_owner(sender)
        state = self._created(market)
        _require(new_fee != state.fee, "already set")
        _require(new_fee <= MAX_FEE, "max fee exceeded")
        self.accrue(market)  # with the fee so far
        state.fee = new_fee
        return ()

    def setFeeRecipient(self, sender: str, new_recipient: str) -> tuple[()]:
        self._check_owner(sender)
        _require(new_recipient != self.fee_recipient, "already set")
        self.fee_recipient = new_recipient
        return ()

    # ── markets ──────────────────────────────────────────────────────────────────────────────────

    def createMarket(self, sender: str, market: MarketParams) -> tuple[()]:
        _require(market.irm in self.irms, "IRM not enabled")
        _require(market.lltv in self.lltvs, "LLTV not enabled")
        _require(market not in self.markets, "market already created")
        self.markets[market] = Market(last_update=self.now)
        if market.irm != NO_IRM:  # asked once, in case it keeps a state
            self._borrow_rate(market)
        return ()

    def accrueInterest(self, sender: str, market: MarketParams) -> tuple[()]:
        self._created(market)
        self.accrue(market)
        return ()

    # ── supply ───────────────────────────────────────────────────────────────────────────────────

    def supply(
        self, sender: str, market: MarketParams, assets: int, shares: int, on_behalf: str, data: Any
    ) -> tuple[int, int]:
        """Assets and shares supplied; shares are rounded down, assets up."""
        state = self._created(market)
        _require_one_zero(assets, shares)
        _require(on_behalf != ZERO, "zero address")
        self.accrue(market)
        if assets > 0:
            shares = to_shares_down(assets, state.total_supply_assets, state.total_supply_shares)
        else:
            assets = to_assets_up(shares, state.total_supply_assets, state.total_supply_shares)
        position = self.position(market, on_behalf)
        position.supply_shares = word(position.supply_shares + shares)
        state.total_supply_shares = half_word(state.total_supply_shares + to_uint128(shares))
        state.total_supply_assets = half_word(state.total_supply_assets + to_uint128(assets))
        self._note("supply", assets=assets, shares=shares)
        self._call_back(sender, data)
        self._pull(market.loan_token, sender, assets)
        return assets, shares

    def withdraw(
        self,
        sender: str,
        market: MarketParams,
        assets: int,
        shares: int,
        on_behalf: str,
        receiver: str,
    ) -> tuple[int, int]:
        """Assets and shares withdrawn; shares are rounded up, assets down."""
        state = self._created(market)
        _require_one_zero(assets, shares)
        _require(receiver != ZERO, "zero address")
        self._check_authorized(sender, on_behalf)
        self.accrue(market)
        if assets > 0:
            shares = to_shares_up(assets, state.total_supply_assets, state.total_supply_shares)
        else:
            assets = to_assets_down(shares, state.total_supply_assets, state.total_supply_shares)
        position = self.position(market, on_behalf)
        position.supply_shares = word(position.supply_shares - shares)
        state.total_supply_shares = half_word(state.total_supply_shares - to_uint128(shares))
        state.total_supply_assets = half_word(state.total_supply_assets - to_uint128(assets))
        self._note("withdraw", assets=assets, shares=shares)
        self._check_liquidity(state)
        self._push(market.loan_token, receiver, assets)
        return assets, shares

    # ── borrowing ────────────────────────────────────────────────────────────────────────────────

    def borrow(
        self,
        sender: str,
        market: MarketParams,
        assets: int,
        shares: int,
        on_behalf: str,
        receiver: str,
    ) -> tuple[int, int]:
        """Assets and shares borrowed; shares are rounded up, assets down."""
        state = self._created(market)
        _require_one_zero(assets, shares)
        _require(receiver != ZERO, "zero address")
        self._check_authorized(sender, on_behalf)
        self.accrue(market)
        if assets > 0:
            shares = to_shares_up(assets, state.total_borrow_assets, state.total_borrow_shares)
        else:
            assets = to_assets_down(shares, state.total_borrow_assets, state.total_borrow_shares)
        position = self.position(market, on_behalf)
        position.borrow_shares = half_word(position.borrow_shares + to_uint128(shares))
        state.total_borrow_shares = half_word(state.total_borrow_shares + to_uint128(shares))
        state.total_borrow_assets = half_word(state.total_borrow_assets + to_uint128(assets))
        self._note("borrow", assets=assets, shares=shares)
        self._check_healthy(market, on_behalf)
        self._check_liquidity(state)
        self._push(market.loan_token, receiver, assets)
        return assets, shares

    def repay(
        self, sender: str, market: MarketParams, assets: int, shares: int, on_behalf: str, data: Any
    ) -> tuple[int, int]:
        """Assets and shares repaid; shares are rounded down, assets up.

        The assets may exceed the market's debt by 1, which then ends at 0.
        """
        state = self._created(market)
        _require_one_zero(assets, shares)
        _require(on_behalf != ZERO, "zero address")
        self.accrue(market)
        if assets > 0:
            shares = to_shares_down(assets, state.total_borrow_assets, state.total_borrow_shares)
        else:
            assets = to_assets_up(shares, state.total_borrow_assets, state.total_borrow_shares)
        self._note("repay", assets=assets, shares=shares)
        self._reduce_debt(market, on_behalf, assets, shares)
        self._call_back(sender, data)
        self._pull(market.loan_token, sender, assets)
        return assets, shares

    # ── collateral ───────────────────────────────────────────────────────────────────────────────

    def supplyCollateral(
        self, sender: str, market: MarketParams, assets: int, on_behalf: str, data: Any
    ) -> tuple[()]:
        """Interest is not accrued."""
        self._created(market)
        _require(assets != 0, "zero assets")
        _require(on_behalf != ZERO, "zero address")
        position = self.position(market, on_behalf)
        position.collateral = half_word(position.collateral + to_uint128(assets))
        self._call_back(sender, data)
        self._pull(market.collateral_token, sender, assets)
        return ()

    def withdrawCollateral(
        self, sender: str, market: MarketParams, assets: int, on_behalf: str, receiver: str
    ) -> tuple[()]:
        self._created(market)
        _require(assets != 0, "zero assets")
        _require(receiver != ZERO, "zero address")
        self._check_authorized(sender, on_behalf)
        self.accrue(market)
        position = self.position(market, on_behalf)
        position.collateral = half_word(position.collateral - to_uint128(assets))
        self._check_healthy(market, on_behalf)
        self._push(market.collateral_token, receiver, assets)
        return ()

    # ── liquidation ──────────────────────────────────────────────────────────────────────────────

    def liquidate(
        self,
        sender: str,
        market: MarketParams,
        borrower: str,
        seized: int,
        repaid_shares: int,
        data: Any,
    ) -> tuple[int, int]:
        """Collateral seized and assets repaid.

        Given the collateral, the debt to repay is rounded up at each of its three steps; given the
        shares, the collateral is rounded down at each. Debt that is left without collateral is
        bad: it leaves the market's debt and, with it, what suppliers own.
        """
        state = self._created(market)
        _require_one_zero(seized, repaid_shares)
        self.accrue(market)
        price = self._price(market)
        _require(not self.is_healthy_at(market, borrower, price), "position is healthy")
        factor = liquidation_incentive_factor(market.lltv)
        if seized > 0:
            quoted = mul_div_up(seized, price, ORACLE_PRICE_SCALE)
            repaid_shares = to_shares_up(
                w_div_up(quoted, factor), state.total_borrow_assets, state.total_borrow_shares
            )
        else:
            assets = to_assets_down(
                repaid_shares, state.total_borrow_assets, state.total_borrow_shares
            )
            seized = mul_div_down(w_mul_down(assets, factor), ORACLE_PRICE_SCALE, price)
        repaid = to_assets_up(repaid_shares, state.total_borrow_assets, state.total_borrow_shares)
        self._note(
            "liquidate", incentive=factor, seized=seized, repaid=repaid, repaid_shares=repaid_shares
        )
        self._reduce_debt(market, borrower, repaid, repaid_shares)
        position = self.position(market, borrower)
        position.collateral = half_word(position.collateral - to_uint128(seized))
        self.events.append("liquidation")
        if position.collateral == 0:
            self._socialise(state, position)
        self._push(market.collateral_token, sender, seized)
        self._call_back(sender, data)
        self._pull(market.loan_token, sender, repaid)
        return seized, repaid

    def _socialise(self, state: Market, position: Position) -> None:
        """Take the debt that is left of a position out of the market; assets are rounded up."""
        shares = position.borrow_shares
        assets = min(
            state.total_borrow_assets,
            to_assets_up(shares, state.total_borrow_assets, state.total_borrow_shares),
        )
        self._note("bad debt", assets=assets, shares=shares)
        state.total_borrow_assets = half_word(state.total_borrow_assets - to_uint128(assets))
        state.total_supply_assets = half_word(state.total_supply_assets - to_uint128(assets))
        state.total_borrow_shares = half_word(state.total_borrow_shares - to_uint128(shares))
        position.borrow_shares = 0
        if shares:
            self.events.append("bad debt")

    # ── flash loans ──────────────────────────────────────────────────────────────────────────────

    def flashLoan(self, sender: str, token: int, assets: int, data: Any) -> tuple[()]:
        """The callback is made in any case, so that nobody without code can borrow."""
        _require(assets != 0, "zero assets")
        self._push(token, sender, assets)
        self._call_back(sender, data or ("nothing",))
        self._pull(token, sender, assets)
        return ()

    # ── authorisation ────────────────────────────────────────────────────────────────────────────

    def setAuthorization(self, sender: str, authorized: str, new_value: bool) -> tuple[()]:
        _require(bool(new_value) != ((sender, authorized) in self.authorized), "already set")
        self._authorize(sender, authorized, new_value)
        return ()

    def setAuthorizationWithSig(
        self,
        sender: str,
        authorizer: str,
        authorized: str,
        new_value: bool,
        nonce: int,
        deadline: int,
        signature: str,
    ) -> tuple[()]:
        """``signature`` names how it was made (``signing.py``). A value that is set already is no
        error: the nonce moves on.
        """
        _require(self.now <= deadline, "signature expired")
        expected = self.nonces.get(authorizer, 0)
        _require(nonce == expected, "invalid nonce")
        self.nonces[authorizer] = expected + 1
        signed = authorizer in SIGNERS and signature in GOOD_SIGNATURES
        _require(signed, "invalid signature")
        self._authorize(authorizer, authorized, new_value)
        return ()

    def _authorize(self, authorizer: str, authorized: str, new_value: bool) -> None:
        if new_value:
            self.authorized.add((authorizer, authorized))
        else:
            self.authorized.discard((authorizer, authorized))

    # ── interest ─────────────────────────────────────────────────────────────────────────────────

    def accrue(self, market: MarketParams) -> None:
        """Interest since the last update, rounded down, on debt and supply; the fee's share of it
        becomes supply shares of the fee recipient, rounded down.
        """
        state = self.markets[market]
        elapsed = self.now - state.last_update
        if elapsed == 0:
            return
        if market.irm != NO_IRM:
            rate = self._borrow_rate(market)
            interest = w_mul_down(state.total_borrow_assets, w_taylor_compounded(rate, elapsed))
            state.total_borrow_assets = half_word(state.total_borrow_assets + to_uint128(interest))
            state.total_supply_assets = half_word(state.total_supply_assets + to_uint128(interest))
            fee_shares = 0
            if state.fee != 0:
                fee_shares = self._take_fee(market, w_mul_down(interest, state.fee))
            self._note("interest", rate=rate, interest=interest, fee_shares=fee_shares)
            if interest:
                self.events.append("interest")
        state.last_update = self.now

    def _take_fee(self, market: MarketParams, amount: int) -> int:
        """Shares worth ``amount`` at the price of a supply that does not hold it yet."""
        state = self.markets[market]
        shares = to_shares_down(
            amount, state.total_supply_assets - amount, state.total_supply_shares
        )
        recipient = self.position(market, self.fee_recipient)
        recipient.supply_shares = word(recipient.supply_shares + shares)
        state.total_supply_shares = half_word(state.total_supply_shares + to_uint128(shares))
        if shares:
            self.events.append("fee")
        return shares

    def _borrow_rate(self, market: MarketParams) -> int:
        state = self.markets[market]
        return surroundings.borrow_rate(
            market.irm,
            state.total_supply_assets,
            state.total_borrow_assets,
            self.rate,
        )

    # ── health ───────────────────────────────────────────────────────────────────────────────────

    def is_healthy_at(self, market: MarketParams, who: str, price: int) -> bool:
        """Whether the collateral, times the LLTV and rounded down, covers the debt rounded up."""
        position, state = self.position(market, who), self.markets[market]
        borrowed = to_assets_up(
            position.borrow_shares, state.total_borrow_assets, state.total_borrow_shares
        )
        value = mul_div_down(position.collateral, price, ORACLE_PRICE_SCALE)
        max_borrow = w_mul_down(value, market.lltv)
        self._note("health", price=price, max_borrow=max_borrow, borrowed=borrowed)
        return max_borrow >= borrowed

    def _check_healthy(self, market: MarketParams, who: str) -> None:
        if self.position(market, who).borrow_shares == 0:
            return  # the oracle is not asked
        _require(self.is_healthy_at(market, who, self._price(market)), "insufficient collateral")

    def _price(self, market: MarketParams) -> int:
        if market.oracle == NOWHERE:
            raise Refused()
        return self.prices[market.oracle]

    # ── parts ────────────────────────────────────────────────────────────────────────────────────

    def _created(self, market: MarketParams) -> Market:
        _require(market in self.markets, "market not created")
        return self.markets[market]

    def _check_owner(self, sender: str) -> None:
        _require(sender == self.owner, "not owner")

    def _check_authorized(self, sender: str, on_behalf: str) -> None:
        known = sender == on_behalf or (on_behalf, sender) in self.authorized
        _require(known, "unauthorized")

    def _check_liquidity(self, state: Market) -> None:
        _require(state.total_borrow_assets <= state.total_supply_assets, "insufficient liquidity")

    def _reduce_debt(self, market: MarketParams, who: str, assets: int, shares: int) -> None:
        """Shares leave the position and the market; assets the market, down to 0 at most."""
        position, state = self.position(market, who), self.markets[market]
        position.borrow_shares = half_word(position.borrow_shares - to_uint128(shares))
        state.total_borrow_shares = half_word(state.total_borrow_shares - to_uint128(shares))
        state.total_borrow_assets = to_uint128(max(0, state.total_borrow_assets - assets))

    def _call_back(self, sender: str, data: Sequence[Any]) -> None:
        if not data:
            return
        if sender != ROBOT:
            raise Refused()  # Solidity finds no code there
        self.events.append("callback")
        kind, *arguments = data
        if kind != "nothing":
            getattr(self, kind)(ROBOT, *arguments)

    def _pull(self, token: int, sender: str, assets: int) -> None:
        self.tokens[token].safe_transfer_from(sender, MORPHO, assets)

    def _push(self, token: int, receiver: str, assets: int) -> None:
        self.tokens[token].safe_transfer(MORPHO, receiver, assets)

    def _note(self, what: str, **values: int) -> None:
        self.notes.append(f"{what}: " + ", ".join(f"{k} = {v}" for k, v in values.items()))

    # ── surroundings ─────────────────────────────────────────────────────────────────────────────

    def setPrice(self, sender: str, oracle: int, price: int) -> tuple[()]:
        self.prices[oracle] = price
        return ()

    def setRate(self, sender: str, rate: int) -> tuple[()]:
        self.rate = rate
        return ()

    def setMode(self, sender: str, mode: int) -> tuple[()]:
        self.tokens[surroundings.ODD_TOKEN].mode = mode
        return ()

    def setBalance(self, sender: str, token: int, who: str, amount: int) -> tuple[()]:
        if who == MORPHO:
            gift = amount - self.tokens[token].balance.get(MORPHO, 0)
            self.gifts[token] = self.gifts.get(token, 0) + gift
        self.tokens[token].set_balance(who, amount)
        return ()

    def approve(self, sender: str, token: int, amount: int) -> tuple[int]:
        """To Morpho."""
        self.tokens[token].allowance[sender] = amount
        return (1,)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused("Error", reason)


def _require_one_zero(first: int, second: int) -> None:
    _require((first == 0) != (second == 0), "inconsistent input")
