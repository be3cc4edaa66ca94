"""Storage words of a chain -> a ``State`` of the reference model's own classes, so that both can be
compared field by field.
"""

from __future__ import annotations

from collections.abc import Mapping

from risk.chain import layout
from risk.chain.keccak import keccak, mapping_slot
from risk.exact.market import gauge
from risk.exact.state import (
    Account,
    Bucket,
    Collateral,
    Linear,
    Option,
    Settlement,
    State,
    Underlying,
)


class WordReader:
    """Takes fields of one word from the low end; a word that was not read counts as zero."""

    def __init__(self, words: Mapping[int, int], slot: int) -> None:
        self.word = words.get(slot, 0)

    def take(self, bits: int) -> int:
        """The next unsigned field."""
        value = self.word & ((1 << bits) - 1)
        self.word >>= bits
        return value

    def take_signed(self, bits: int) -> int:
        """The next two's-complement field."""
        value = self.take(bits)
        return value - (1 << bits) if value >> (bits - 1) else value


def decode_state(template: State, words: Mapping[int, int]) -> State:
    """The chain's state in the shape of ``template``: same accounts, buckets, orders and signers
    looked at.
    """
    r = WordReader(words, layout.STATE_SLOT)
    r.take(168)
    underlyings, collaterals, mode, supply_index = r.take(8), r.take(8), r.take(8), r.take(64)
    totals = WordReader(words, layout.STATE_SLOT + 1)
    cash = WordReader(words, layout.STATE_SLOT + 2)
    state = State(
        owner=template.owner,
        cash_token=cash.take(160),
        cash_decimals=cash.take(8),
        params=template.params,
    )
    state.cash_held_wad, state.insurance_wad = totals.take(128), totals.take(128)
    state.signer_threshold = cash.take(8)
    state.winding_down, state.supply_index_e15 = bool(mode), supply_index
    _cash_market(state, words)
    state.underlyings = [
        _underlying(words, layout.UNDERLYINGS + layout.UNDERLYING_SLOTS * u)
        for u in range(underlyings)
    ]
    state.collaterals = [_collateral(words, layout.COLLATERALS + 3 * j) for j in range(collaterals)]
    state.accounts = {
        i: decode_account(words, mapping_slot(i, layout.ACCOUNTS)) for i in template.accounts
    }
    for key in template.buckets:
        state.buckets[key] = _bucket(words, key)
    for order in template.filled_wad.keys() | template.cancelled:
        r = WordReader(words, mapping_slot(int.from_bytes(order, "big"), layout.ORDERS))
        filled = r.take(255)
        if filled or order in template.filled_wad:
            state.filled_wad[order] = filled
        if r.take(1):
            state.cancelled.add(order)
    for instrument in template.open_interest:
        slot = mapping_slot(instrument, layout.OPEN_INTEREST)
        state.open_interest[instrument] = words.get(slot, 0)
    for key in template.settlements:
        state.settlements[key] = _settlement(words, mapping_slot(key, layout.SETTLEMENTS))
    for account_id, operator in template.operators:
        slot = mapping_slot(operator, mapping_slot(account_id, layout.OPERATORS))
        state.operators[account_id, operator] = words.get(slot, 0)
    for account_id in template.min_nonce:
        state.min_nonce[account_id] = words.get(mapping_slot(account_id, layout.MIN_NONCE), 0)
    state.deferred = [0] * min(words.get(layout.DEFERRED, 0), 256)
    count = words.get(layout.SIGNER_LIST, 0)
    first = int.from_bytes(keccak(layout.SIGNER_LIST.to_bytes(32, "big")), "big")
    state.signers = [words.get(first + i, 0) for i in range(min(count, 256))]
    return state


def _cash_market(state: State, words: Mapping[int, int]) -> None:
    r = WordReader(words, layout.STATE_SLOT + 3)
    state.borrow_index_e15, state.interest_time = r.take(64), r.take(40)
    state.wind_down_time, state.cash_withdrawn_wad = r.take(40), r.take(112)
    r = WordReader(words, layout.STATE_SLOT + 4)
    state.supply_wad, state.borrow_wad = r.take(128), r.take(128)
    r = WordReader(words, layout.STATE_SLOT + 5)
    state.interest_wad, state.cash_withdrawn_time = r.take_signed(128), r.take(40)
    r = WordReader(words, layout.STATE_SLOT + 6)
    state.insurance_paid_wad, state.insurance_paid_time = r.take(128), r.take(40)
    state.sequencer_feed = WordReader(words, layout.STATE_SLOT + 7).take(160)


def _settlement(words: Mapping[int, int], slot: int) -> Settlement:
    r = WordReader(words, slot)
    return Settlement(
        r.take(88), r.take(16), r.take(32), r.take(24), r.take(88), settled=bool(r.take(8))
    )


def _underlying(words: Mapping[int, int], slot: int) -> Underlying:
    a, b, c, d, e = (WordReader(words, slot + i) for i in range(5))
    item = Underlying(feed=b.take(160), feed_decimals=b.take(8))
    item.price_wad, item.epoch, item.time, word = a.take(88), a.take(32), a.take(32), a.take(24)
    item.stable_apart, item.funding_e12 = gauge.stable_apart(word), a.take_signed(80)
    item.open_interest_wad, item.stable_price_wad = d.take(104), d.take(88)
    item.premium_e9, item.funding_time = d.take_signed(32), d.take(32)
    item.previous_price_wad, item.previous_time = e.take(88), e.take(32)
    item.reduce_only_until = e.take(32)
    if word != gauge.encode(item.open_interest_wad, item.stable_apart):
        item.open_interest_wad = -1 - item.open_interest_wad  # the gauge contradicts: must show
    item.confidence_bps, item.report_nonce = b.take(16), b.take(64)
    item.feed_updated_at, item.report_time, item.pnl_pool_wad = c.take(40), c.take(40), c.take(128)
    return item


def _collateral(words: Mapping[int, int], slot: int) -> Collateral:
    a, b, c = (WordReader(words, slot + i) for i in range(3))
    item = Collateral(token=a.take(160), decimals=a.take(8), underlying=a.take(8))
    item.rate_feed_decimals, item.rate_updated_at = a.take(8), a.take(40)
    item.withdrawn_time = a.take(32)
    item.rate_feed, item.rate_wad = b.take(160), b.take(96)
    item.total_held, item.withdrawn = c.take(128), c.take(128)
    return item


def _bucket(words: Mapping[int, int], key: int) -> Bucket:
    slot = mapping_slot(key, layout.BUCKETS)
    a, b = WordReader(words, slot), WordReader(words, slot + 1)
    item = Bucket(a.take(64), a.take(64), a.take(40), bool(a.take(8)))
    count = a.take(16)
    item.strikes_wad = [
        words.get(mapping_slot(key << 10 | i, layout.STRIKES), 0) for i in range(count)
    ]
    item.a_e9, item.b_e9, item.rho_e9 = b.take_signed(40), b.take(40), b.take_signed(32)
    item.m_e9, item.sigma_e9 = b.take_signed(40), b.take(40)
    return item


def decode_account(words: Mapping[int, int], slot: int) -> Account:
    """One account; a collateral mask that contradicts the amounts shows as a negative amount."""
    r = WordReader(words, slot)
    item = Account(cash_wad=r.take_signed(128))
    mask, linear, options = r.take(16), r.take(8), r.take(8)
    item.interest_index, item.margin_call = r.take(63), bool(r.take(1))
    item.flagged_at = r.take(32)
    for j in range(8):
        pair = WordReader(words, slot + 1 + j)
        item.collateral[2 * j], item.collateral[2 * j + 1] = pair.take(128), pair.take(128)
    for j, amount in enumerate(item.collateral):
        if (mask >> j & 1) != (amount != 0):
            item.collateral[j] = -1 - amount
    for i in range(linear):
        r = WordReader(words, slot + 9 + i)
        quote, size = r.take_signed(128), r.take_signed(96)
        item.linear.append(Linear(r.take(32), size, quote))
    for i in range(options):
        r = WordReader(words, slot + 137 + i // 2)
        r.take(128 * (i % 2))
        size = r.take_signed(96)
        item.options.append(Option(r.take(32), size))
    return item


def state_slots(state: State) -> list[int]:
    """Every slot that holds something of ``state``."""
    return sorted({f.slot for f in layout.state_fields(state)} | {layout.STATE_SLOT})


def all_account_slots(account_id: int) -> list[int]:
    """Every slot an account can use."""
    first = mapping_slot(account_id, layout.ACCOUNTS)
    return [first + i for i in range(9 + 128 + 64)]
