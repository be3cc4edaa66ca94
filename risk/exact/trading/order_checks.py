"""What an order must satisfy before a fill of it may touch an account.  Twin:
``contracts/trading/OrderChecks.sol``.
"""

from __future__ import annotations

from typing import Final

from risk.exact.accounts import rights
from risk.exact.custody import pnl_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World
from risk.exact.trading.order_hash import Order

REDUCE_ONLY: Final = 1
TRIGGER_ABOVE: Final = 2
TRIGGER_BELOW: Final = 4
TRIGGER: Final = TRIGGER_ABOVE | TRIGGER_BELOW


def require_match(
    state: State,
    world: World,
    buy: Order,
    buy_hash: bytes,
    sell: Order,
    sell_hash: bytes,
    size_wad: int,
    price_wad: int,
) -> None:
    """That the two orders match each other, the size and the price; errors in the order of
    ``trade_logic.fill``, from FillSizeInvalid to PriceOutOfBounds of the limits.
    """
    both = ((buy, buy_hash), (sell, sell_hash))
    if size_wad == 0:
        raise ModelRevert("FillSizeInvalid", (size_wad,))
    if buy.instrument != sell.instrument:
        raise ModelRevert("InstrumentMismatch", (buy.instrument, sell.instrument))
    if buy.size_wad <= 0:
        raise ModelRevert("OrderSideInvalid", (as_int(buy_hash),))
    if sell.size_wad >= 0:
        raise ModelRevert("OrderSideInvalid", (as_int(sell_hash),))
    if buy.account == sell.account:
        raise ModelRevert("SelfTrade", (buy.account,))
    for order, key in both:
        if order.flags > REDUCE_ONLY | TRIGGER_BELOW or order.flags & TRIGGER == TRIGGER:
            raise ModelRevert("FlagsInvalid", (as_int(key), order.flags))
    for order, key in both:
        if world.timestamp < order.created_at:
            raise ModelRevert("OrderNotYetValid", (as_int(key), order.created_at))
    for order, key in both:
        if world.timestamp > order.expiry:
            raise ModelRevert("OrderExpired", (as_int(key), order.expiry))
    for _, key in both:
        if key in state.cancelled:
            raise ModelRevert("OrderIsCancelled", (as_int(key),))
    for order, key in both:
        if order.nonce < state.min_nonce.get(order.account, 0):
            raise ModelRevert("NonceTooLow", (as_int(key),))
    for order, key in both:
        filled = state.filled_wad.get(key, 0) + size_wad
        if filled > abs(order.size_wad):
            raise ModelRevert("OrderOverfilled", (as_int(key), filled, abs(order.size_wad)))
    if price_wad > buy.limit_price_wad:
        raise ModelRevert("PriceOutOfBounds", (as_int(buy_hash), price_wad, buy.limit_price_wad))
    if price_wad < sell.limit_price_wad:
        raise ModelRevert("PriceOutOfBounds", (as_int(sell_hash), price_wad, sell.limit_price_wad))


def require_signature(state: State, account_id: int, key: bytes, signer: int) -> None:
    """``signer`` (0: none) is the owner, or an operator that holds TRADE now.
    ``InvalidSignature``.
    """
    if signer != 0 and signer == account_id >> 8:
        return
    if signer == 0 or not state.operators.get((account_id, signer), 0) & rights.TRADE:
        raise ModelRevert("InvalidSignature", (as_int(key),))


def require_instrument(state: State, world: World, p: RiskParams, instrument: int) -> None:
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


def require_trigger(state: State, order: Order, key: bytes, price_wad: int) -> None:
    """Of an order with a trigger: the last two snapshots, taken at different times, are both later
    than the order and at or beyond the trigger price (``TriggerNotHit``), and in a perp or future
    |price − mark|·10^4 ≤ slippage·mark (``SlippageExceeded``; ``SliceMissing`` of a future).
    """
    if not order.flags & TRIGGER:
        return
    data = state.underlyings[instrument_id.underlying(order.instrument)]
    price, previous, trigger = data.price_wad, data.previous_price_wad, order.trigger_price_wad
    if order.flags & TRIGGER_ABOVE:
        hit = price >= trigger and previous >= trigger
    else:
        hit = price <= trigger and previous <= trigger
    if not hit or data.previous_time <= order.created_at or data.time <= data.previous_time:
        raise ModelRevert("TriggerNotHit", (as_int(key),))
    kind = instrument_id.kind(order.instrument)
    if kind >= instrument_id.CALL:
        return
    if kind == instrument_id.FUTURE:
        price = pnl_lib.linear_mark(state, order.instrument)
    if abs(price_wad - price) * 10_000 > order.slippage_bps * price:
        raise ModelRevert("SlippageExceeded", (as_int(key), price_wad, price))


def as_int(key: bytes) -> int:
    """A digest as errors carry it."""
    return int.from_bytes(key, "big")
