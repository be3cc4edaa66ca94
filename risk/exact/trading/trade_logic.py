"""Filling two signed orders against each other.  Twin: ``contracts/trading/TradeLogic.sol``.

The order of the checks is part of the interface; it is listed at ``fill``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from risk.exact.accounts import account_lib, rights, work_load
from risk.exact.custody import interest_lib, pnl_lib, position_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, instrument_id, margin_logic
from risk.exact.market import breaker, funding
from risk.exact.market.feed_reader import load_params
from risk.exact.market.report_hash import domain_separator
from risk.exact.math.wad_math import WAD, mul_div_up
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_PRICE_WAD, Account, State, World
from risk.exact.trading import order_checks, order_hash, reduce_lib, reduce_logic
from risk.exact.trading.order_checks import as_int
from risk.exact.trading.order_hash import Order

_UINT128_MAX: Final = 2**128 - 1


@dataclass
class Side:
    """One side of a fill: ``change`` of its position is signed; ``held`` is the account before the
    fill where the side reduces and had obligations, so that it may pass as a reduction.
    """

    account: int
    order_hash: bytes
    change: int
    reduce_only: bool
    reduces: bool = False
    held: Account | None = None


@dataclass
class Fill:
    """``size`` > 0 units bought and sold at ``price`` each."""

    buy: Side
    sell: Side
    instrument: int
    size: int
    price: int

    @property
    def underlying(self) -> int:
        """Of the instrument."""
        return instrument_id.underlying(self.instrument)

    @property
    def kind(self) -> int:
        """Of the instrument."""
        return instrument_id.kind(self.instrument)


def fill(
    state: State,
    world: World,
    buy: Order,
    buy_signer: int,
    sell: Order,
    sell_signer: int,
    size_wad: int,
    price_wad: int,
) -> None:
    """``IVault.fill``; ``*_signer`` is the address the signature recovers to (0: none; a contract
    wallet that accepts: its own address).

    Refusals, in this order, buy before sell wherever both are asked.  Orders: FillSizeInvalid,
    InstrumentMismatch, OrderSideInvalid, SelfTrade, FlagsInvalid, OrderNotYetValid, OrderExpired,
    OrderIsCancelled, NonceTooLow, OrderOverfilled, PriceOutOfBounds (limits), InvalidSignature.
    Instrument: RiskParamsMissing, UnknownInstrument, InstrumentExpired, PriceOutOfBounds
    (MAX_PRICE_WAD; a perp or future priced 0).  Triggers, all of the buy first: TriggerNotHit,
    SlippageExceeded.  Sides: WouldNotReduce; where one increases: WindingDown, ReduceOnly.
    Execution: SizeOutOfRange, PositionCapExceeded, OpenInterestCapExceeded, TooManyPositions and
    CashOutOfRange (buyer, then seller), AccountTooHeavy.  Margin: those of ``initial_margin``, of
    the sides that do not pass as a reduction; before these, where initial margin of both fails,
    errors of the margins of the sides that reduce.
    """
    domain = domain_separator(world)
    f = Fill(
        _side(buy, order_hash.digest(domain, buy), size_wad),
        _side(sell, order_hash.digest(domain, sell), -size_wad),
        buy.instrument,
        size_wad,
        price_wad,
    )
    buy_hash, sell_hash = f.buy.order_hash, f.sell.order_hash
    order_checks.require_match(state, world, buy, buy_hash, sell, sell_hash, size_wad, price_wad)
    order_checks.require_signature(state, buy.account, buy_hash, buy_signer)
    order_checks.require_signature(state, sell.account, sell_hash, sell_signer)

    p = load_params(state)
    order_checks.require_instrument(state, world, p, buy.instrument)
    if price_wad > MAX_PRICE_WAD:
        raise ModelRevert("PriceOutOfBounds", (as_int(buy_hash), price_wad, MAX_PRICE_WAD))
    if price_wad == 0 and f.kind < instrument_id.CALL:
        raise ModelRevert("PriceOutOfBounds", (as_int(sell_hash), 0, 1))
    order_checks.require_trigger(state, buy, buy_hash, price_wad)
    order_checks.require_trigger(state, sell, sell_hash, price_wad)

    for key in (buy_hash, sell_hash):
        state.filled_wad[key] = state.filled_wad.get(key, 0) + size_wad
    _execute(state, world, p, f)


def cancel(state: State, world: World, sender: int, order: Order) -> None:
    """``IVault.cancel``, by the owner or an operator with TRADE; idempotent.
    ``NotAccountOwner``.
    """
    rights.require_right(state, order.account, sender, rights.TRADE)
    state.cancelled.add(order_hash.digest(domain_separator(world), order))


def _side(order: Order, key: bytes, change: int) -> Side:
    return Side(order.account, key, change, bool(order.flags & order_checks.REDUCE_ONLY))


# ------------------------------------------------------------------------------------- execution


def _execute(state: State, world: World, p: RiskParams, f: Fill) -> None:
    """Move positions and money, store both accounts, then ask for margin."""
    interest_lib.accrue(state, world)
    if f.kind == instrument_id.PERP:
        funding.accrue(state, world, p, f.underlying)
    buyer = account_lib.load(state, f.buy.account)
    seller = account_lib.load(state, f.sell.account)
    _classify(state, f, f.buy, buyer)
    _classify(state, f, f.sell, seller)
    if not f.buy.reduces or not f.sell.reduces:
        _require_increase_allowed(state, world, f.underlying)

    counts = account_lib.position_count(buyer), account_lib.position_count(seller)
    d_long = _exchange(state, p, f, buyer, seller)
    _require_caps(state, p, f, buyer, seller, d_long)
    account_lib.store(state, f.buy.account, buyer)
    account_lib.store(state, f.sell.account, seller)
    work_load.require_if_grown(p, f.buy.account, buyer, counts[0], work_load.LIMIT)
    work_load.require_if_grown(p, f.sell.account, seller, counts[1], work_load.LIMIT)
    _require_margin(state, world, f)


def _classify(state: State, f: Fill, side: Side, a: Account) -> None:
    """Fill in what depends on the account; ``WouldNotReduce`` where the order asks for it."""
    size = reduce_lib.size_of(a, f.instrument, f.kind >= instrument_id.CALL)
    side.reduces = reduce_lib.reduces(size, side.change)
    if side.reduce_only and not side.reduces:
        raise ModelRevert("WouldNotReduce", (as_int(side.order_hash),))
    if side.reduces and account_lib.has_obligations(a):
        side.held = account_lib.load(state, side.account)


def _require_increase_allowed(state: State, world: World, u: int) -> None:
    """``WindingDown``, then ``ReduceOnly`` while the circuit breaker of ``u`` stands."""
    if state.winding_down:
        raise ModelRevert("WindingDown")
    if breaker.active(state, world, u):
        raise ModelRevert("ReduceOnly", (u, state.underlyings[u].reduce_only_until))


def _require_margin(state: State, world: World, f: Fill) -> None:
    """Initial margin of both sides.  Where that fails, or must wait for the end of a batch, a side
    that reduces may pass as a reduction instead, at once; of the others initial margin is asked
    again, and its error is the one that counts.
    """
    ids = [f.buy.account, f.sell.account]
    if f.buy.held is not None or f.sell.held is not None:
        if not state.deferring and _has_initial(state, world, ids):
            return
        ids = [side.account for side in (f.buy, f.sell) if not _passes(state, world, side)]
        if not ids:
            return
    margin_logic.require_initial(state, world, ids)


def _has_initial(state: State, world: World, ids: list[int]) -> bool:
    """As ``margin_logic.require_initial``, but False instead of an error, and then nothing of it
    stays.
    """
    saved = _saved(state)
    try:
        margin_logic.require_initial(state, world, ids)
    except ModelRevert:
        state.__dict__.update(saved)
        return False
    return True


def _saved(state: State) -> dict[str, Any]:
    """The fields of the state, their entries copied where a margin check could change them in
    place; accounts are only ever replaced.
    """
    fields = dict(vars(state))
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = [copy.copy(x) for x in value]
        elif isinstance(value, dict):
            keep = name in ("accounts", "filled_wad", "operators", "min_nonce", "open_interest")
            fields[name] = dict(value) if keep else {k: copy.copy(v) for k, v in value.items()}
    return fields


def _passes(state: State, world: World, side: Side) -> bool:
    return side.held is not None and reduce_logic.accepts(state, world, side.account, side.held)


# ------------------------------------------------------------------------------ money, positions


def _exchange(state: State, p: RiskParams, f: Fill, buyer: Account, seller: Account) -> int:
    """The buyer pays ⌈size·price⌉, the seller gets ⌊size·price⌋; of an option the wei between
    goes to the insurance fund.  Then the fees.  Returns the change of the open interest.
    """
    to_insurance = 0
    if f.kind < instrument_id.CALL:
        d_long = _exchange_linear(state, f, buyer, seller)
    else:
        paid, received = _prices(f.size, f.price)
        d_long = position_lib.change_option(f.buy.account, buyer, f.instrument, f.buy.change)
        d_long += position_lib.change_option(f.sell.account, seller, f.instrument, f.sell.change)
        buyer.cash_wad -= paid
        seller.cash_wad += received
        to_insurance = paid - received
    fee = _fee(state, p, f)
    buyer.cash_wad -= fee
    seller.cash_wad -= fee
    state.insurance_wad += to_insurance + 2 * fee
    if state.insurance_wad > _UINT128_MAX:
        raise ModelRevert("CashOutOfRange", (0,))
    position_lib.add_open_interest(state, f.underlying, d_long, f.buy.account, f.instrument)
    position_lib.add_instrument_interest(state, f.instrument, d_long, f.buy.account)
    return d_long


def _exchange_linear(state: State, f: Fill, buyer: Account, seller: Account) -> int:
    """A perp is marked at index − cumulative funding, so booked at price − cumulative funding."""
    price = f.price
    if f.kind == instrument_id.PERP:
        price -= state.underlyings[f.underlying].funding_e12 * pnl_lib.FUNDING_UNIT
    paid, received = _prices(f.size, price)
    d_long = position_lib.change_linear(
        state, f.buy.account, buyer, f.instrument, f.buy.change, -paid
    )
    d_long += position_lib.change_linear(
        state, f.sell.account, seller, f.instrument, f.sell.change, received
    )
    return d_long


def _prices(size: int, price: int) -> tuple[int, int]:
    """(⌈size·price⌉, ⌊size·price⌋)"""
    return -(-size * price // WAD), size * price // WAD


def _fee(state: State, p: RiskParams, f: Fill) -> int:
    """Fee of each side: ⌈size·S·fee/1e6⌉ at the snapshot; of an option at most ⌈premium·cap/1e4⌉
    where the cap is not 0.  Rounded up, so splitting a fill never lowers what is paid.
    """
    if p.trade_fee_e6 == 0:
        return 0
    fee = mul_div_up(f.size * state.underlyings[f.underlying].price_wad, p.trade_fee_e6, 10**24)
    if p.option_fee_cap_bps != 0 and f.kind >= instrument_id.CALL:
        fee = min(fee, mul_div_up(f.size * f.price, p.option_fee_cap_bps, 10**22))
    return fee


# ------------------------------------------------------------------------------------------ caps


def _require_caps(
    state: State, p: RiskParams, f: Fill, buyer: Account, seller: Account, d_long: int
) -> None:
    """``PositionCapExceeded`` of each side that increases, then ``OpenInterestCapExceeded`` where
    open interest grew.
    """
    u = f.underlying
    cap = p.underlyings[u].position_cap_wad
    for side, a in ((f.buy, buyer), (f.sell, seller)):
        if cap == 0 or side.reduces:
            continue
        units = drift.position_units(a).get(u, 0)
        if units > cap:
            raise ModelRevert("PositionCapExceeded", (side.account, u, units, cap))
    cap = p.underlyings[u].oi_cap_wad
    open_interest = state.underlyings[u].open_interest_wad
    if cap != 0 and d_long > 0 and open_interest > cap:
        raise ModelRevert("OpenInterestCapExceeded", (u, open_interest, cap))
