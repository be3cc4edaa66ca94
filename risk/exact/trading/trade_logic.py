"""Filling two signed orders against each other.  Twin: ``contracts/trading/TradeLogic.sol``.

The order of the checks is part of the interface; it is listed at ``fill``.
"""

from __future__ import annotations

from risk.exact.accounts import account_lib, work_load
from risk.exact.custody import position_lib
from risk.exact.custody.custody_logic import require_owner
from risk.exact.errors import ModelRevert
from risk.exact.margin import initial_margin, instrument_id
from risk.exact.market.feed_reader import load_params
from risk.exact.market.report_hash import domain_separator
from risk.exact.math import wad_math
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import MAX_PRICE_WAD, Account, State, World
from risk.exact.trading import order_hash
from risk.exact.trading.order_hash import Order


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

    Refusals, in this order, buy before sell wherever both are asked: FillSizeInvalid,
    InstrumentMismatch, OrderSideInvalid, SelfTrade, OrderExpired, OrderIsCancelled,
    OrderOverfilled, PriceOutOfBounds (limits), InvalidSignature, RiskParamsMissing,
    UnknownInstrument, InstrumentExpired, PriceOutOfBounds (MAX_PRICE_WAD; a perp or future priced
    0), SizeOutOfRange, CashOutOfRange, TooManyPositions and CashOutOfRange (buyer, then seller),
    those of ``initial_margin``.
    """
    domain = domain_separator(world)
    buy_hash, sell_hash = order_hash.digest(domain, buy), order_hash.digest(domain, sell)
    _check_orders(state, world, buy, buy_hash, sell, sell_hash, size_wad, price_wad)
    _check_signature(buy.account, buy_hash, buy_signer)
    _check_signature(sell.account, sell_hash, sell_signer)

    p = load_params(state)
    _check_instrument(state, world, p, buy.instrument)
    if price_wad > MAX_PRICE_WAD:
        raise ModelRevert("PriceOutOfBounds", (_int(buy_hash), price_wad, MAX_PRICE_WAD))
    if price_wad == 0 and instrument_id.kind(buy.instrument) < instrument_id.CALL:
        raise ModelRevert("PriceOutOfBounds", (_int(sell_hash), 0, 1))

    for key in (buy_hash, sell_hash):
        state.filled_wad[key] = state.filled_wad.get(key, 0) + size_wad
    _execute(state, world, buy.account, sell.account, buy.instrument, size_wad, price_wad)


def cancel(state: State, world: World, sender: int, order: Order) -> None:
    """``IVault.cancel``; idempotent.  ``NotAccountOwner``."""
    require_owner(order.account, sender)
    state.cancelled.add(order_hash.digest(domain_separator(world), order))


# ---------------------------------------------------------------------------------------- checks


def _check_orders(
    state: State,
    world: World,
    buy: Order,
    buy_hash: bytes,
    sell: Order,
    sell_hash: bytes,
    size_wad: int,
    price_wad: int,
) -> None:
    both = ((buy, buy_hash), (sell, sell_hash))
    if size_wad == 0:
        raise ModelRevert("FillSizeInvalid", (size_wad,))
    if buy.instrument != sell.instrument:
        raise ModelRevert("InstrumentMismatch", (buy.instrument, sell.instrument))
    if buy.size_wad <= 0:
        raise ModelRevert("OrderSideInvalid", (_int(buy_hash),))
    if sell.size_wad >= 0:
        raise ModelRevert("OrderSideInvalid", (_int(sell_hash),))
    if buy.account == sell.account:
        raise ModelRevert("SelfTrade", (buy.account,))
    for order, key in both:
        if world.timestamp > order.expiry:
            raise ModelRevert("OrderExpired", (_int(key), order.expiry))
    for _, key in both:
        if key in state.cancelled:
            raise ModelRevert("OrderIsCancelled", (_int(key),))
    for order, key in both:
        filled = state.filled_wad.get(key, 0) + size_wad
        if filled > abs(order.size_wad):
            raise ModelRevert("OrderOverfilled", (_int(key), filled, abs(order.size_wad)))
    if price_wad > buy.limit_price_wad:
        raise ModelRevert("PriceOutOfBounds", (_int(buy_hash), price_wad, buy.limit_price_wad))
    if price_wad < sell.limit_price_wad:
        raise ModelRevert("PriceOutOfBounds", (_int(sell_hash), price_wad, sell.limit_price_wad))


def _check_signature(account_id: int, key: bytes, signer: int) -> None:
    owner = account_id >> 8
    if owner == 0 or signer != owner:
        raise ModelRevert("InvalidSignature", (_int(key),))


def _check_instrument(state: State, world: World, p: RiskParams, instrument: int) -> None:
    """Listed, canonical, with parameters and a snapshot (UnknownInstrument), and not expired
    (InstrumentExpired).
    """
    u = instrument_id.underlying(instrument)
    known = (
        u < len(state.underlyings) and u < len(p.underlyings) and state.underlyings[u].epoch != 0
    )
    kind, index = instrument_id.kind(instrument), instrument_id.strike_index(instrument)
    if kind == instrument_id.PERP:
        if not known or instrument & 0x3FFFFFF:
            raise ModelRevert("UnknownInstrument", (instrument,))
        return
    bucket = state.buckets.get(instrument_id.bucket_key(instrument))
    if bucket is None or not bucket.listed:
        known = False
    elif kind == instrument_id.FUTURE:
        known = known and index == 0
    else:
        known = known and index < len(bucket.strikes_wad)
    if not known:
        raise ModelRevert("UnknownInstrument", (instrument,))
    expiry = instrument_id.expiry(instrument)
    if expiry <= world.timestamp:
        raise ModelRevert("InstrumentExpired", (instrument, expiry, world.timestamp))


# ------------------------------------------------------------------------------------- execution


def _execute(
    state: State,
    world: World,
    buyer_id: int,
    seller_id: int,
    instrument: int,
    size: int,
    price: int,
) -> None:
    """Move positions and money, store both accounts, then ask both for initial margin."""
    buyer = account_lib.load(state, buyer_id)
    seller = account_lib.load(state, seller_id)
    counts = account_lib.position_count(buyer), account_lib.position_count(seller)
    _exchange(state, buyer_id, buyer, seller_id, seller, instrument, size, price)
    account_lib.store(state, buyer_id, buyer)
    account_lib.store(state, seller_id, seller)
    p = load_params(state)
    work_load.require_if_grown(p, buyer_id, buyer, counts[0], work_load.LIMIT)
    work_load.require_if_grown(p, seller_id, seller, counts[1], work_load.LIMIT)
    initial_margin.require_initial(state, world, [(buyer_id, buyer), (seller_id, seller)])


def _exchange(
    state: State,
    buyer_id: int,
    buyer: Account,
    seller_id: int,
    seller: Account,
    instrument: int,
    size: int,
    price: int,
) -> None:
    """The buyer pays ⌈size·price⌉, the seller gets ⌊size·price⌋; of an option the wei between
    goes to the insurance fund.
    """
    paid, received = wad_math.mul_wad_up(size, price), wad_math.mul_wad_down(size, price)
    if instrument_id.kind(instrument) < instrument_id.CALL:
        d_long = position_lib.change_linear(state, buyer_id, buyer, instrument, size, -paid)
        d_long += position_lib.change_linear(state, seller_id, seller, instrument, -size, received)
    else:
        d_long = position_lib.change_option(buyer_id, buyer, instrument, size)
        d_long += position_lib.change_option(seller_id, seller, instrument, -size)
        buyer.cash_wad -= paid
        seller.cash_wad += received
        state.insurance_wad += paid - received
    u = instrument_id.underlying(instrument)
    position_lib.add_open_interest(state, u, d_long, buyer_id, instrument)


def _int(key: bytes) -> int:
    return int.from_bytes(key, "big")
