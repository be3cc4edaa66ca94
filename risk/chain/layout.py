"""Storage layout of ``contracts/VaultStorage.sol``, written down a second time: model state ->
named fields of storage words.

The runner uses it in both directions that matter: account-level cases are written straight into the
chain's storage by a state override, and after every action the fields read from the chain are
compared with those of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from risk.chain.keccak import keccak, mapping_slot
from risk.exact.market import gauge
from risk.exact.state import (
    Account,
    Bucket,
    Collateral,
    Feed,
    Settlement,
    State,
    Underlying,
)

STATE_SLOT = 0  # `VaultStorage.State internal $` is the first variable of the vault
UNDERLYINGS = 8
UNDERLYING_SLOTS = 5
COLLATERALS = UNDERLYINGS + UNDERLYING_SLOTS * 16
ACCOUNTS = COLLATERALS + 3 * 16
BUCKETS = ACCOUNTS + 1
STRIKES = ACCOUNTS + 2
TOKEN_INDEX = ACCOUNTS + 3
ORDERS = ACCOUNTS + 4
IS_SIGNER = ACCOUNTS + 5
SIGNER_LIST = ACCOUNTS + 6
OPEN_INTEREST = ACCOUNTS + 7
SETTLEMENTS = ACCOUNTS + 8
OPERATORS = ACCOUNTS + 9
MIN_NONCE = ACCOUNTS + 10
DEFERRED = ACCOUNTS + 11

ARRAYS_SLOT = (int.from_bytes(keccak(b"plumbline.scenario.arrays"), "big") >> 160) << 160
TAG_PERIOD = 2**24 - 1
LOCK_OPEN = 1
UINT256_MAX = 2**256 - 1

Words = dict[int, int]


class Field(NamedTuple):
    """``bits`` bits of the word at ``slot`` from bit ``shift`` hold ``value`` (negative: two's
    complement).
    """

    name: str
    slot: int
    shift: int
    bits: int
    signed: bool
    value: int


def pack(*fields: tuple[int, int]) -> int:
    """(value, bits) from the low end; signed values in two's complement; ``ValueError`` where one
    does not fit.
    """
    word, shift = 0, 0
    for value, bits in fields:
        if not -(1 << (bits - 1)) <= value < (1 << bits):
            raise ValueError(f"{value} does not fit {bits} bits")
        word |= (value & ((1 << bits) - 1)) << shift
        shift += bits
    if shift > 256:
        raise ValueError(f"{shift} bits in one word")
    return word


def to_words(fields: Iterable[Field]) -> Words:
    """Whole words from fields; bits that no field covers are zero.  ``ValueError`` where a value
    does not fit.
    """
    words: Words = {}
    for f in fields:
        low, high = (-(1 << (f.bits - 1)), 1 << (f.bits - 1)) if f.signed else (0, 1 << f.bits)
        if not low <= f.value < high:
            raise ValueError(f"{f.name} = {f.value} does not fit {f.bits} bits")
        words[f.slot] = words.get(f.slot, 0) | (f.value & ((1 << f.bits) - 1)) << f.shift
    return words


def _record(prefix: str, slot: int, *parts: tuple[str, int, int]) -> Iterator[Field]:
    """Fields of one word from the low end: (name, bits, value); a minus sign in front of the bits
    means signed.
    """
    shift = 0
    for name, bits, value in parts:
        yield Field(f"{prefix}.{name}", slot, shift, abs(bits), bits < 0, value)
        shift += abs(bits)


def state_fields(state: State) -> list[Field]:
    """Every field of ``state``, but not the pointer of the risk parameters, which is the chain's
    own.
    """
    out = list(
        _record(
            "vault",
            STATE_SLOT,
            ("", 160, 0),
            ("lock", 8, LOCK_OPEN),
            ("underlyingCount", 8, len(state.underlyings)),
            ("collateralCount", 8, len(state.collaterals)),
            ("mode", 8, int(state.winding_down)),
            ("supplyIndexE15", 64, state.supply_index_e15),
        )
    )[1:]
    out += _record(
        "vault",
        STATE_SLOT + 1,
        ("cashHeldWad", 128, state.cash_held_wad),
        ("insuranceWad", 128, state.insurance_wad),
    )
    out += _record(
        "vault",
        STATE_SLOT + 2,
        ("cashToken", 160, state.cash_token),
        ("cashDecimals", 8, state.cash_decimals),
        ("signerThreshold", 8, state.signer_threshold),
    )
    out += cash_market_fields(state)
    out += _record(
        "tokenIndex(cash)", mapping_slot(state.cash_token, TOKEN_INDEX), ("index", 256, UINT256_MAX)
    )
    for u, underlying in enumerate(state.underlyings):
        out += underlying_fields(f"underlying[{u}]", underlying, UNDERLYINGS + UNDERLYING_SLOTS * u)
    for j, collateral in enumerate(state.collaterals):
        out += collateral_fields(f"collateral[{j}]", collateral, COLLATERALS + 3 * j)
        out += _record(
            f"tokenIndex({j})", mapping_slot(collateral.token, TOKEN_INDEX), ("index", 256, j + 1)
        )
    for account_id, account in state.accounts.items():
        out += account_fields(
            f"account[{account_id:#x}]", account, mapping_slot(account_id, ACCOUNTS)
        )
    for key, bucket in state.buckets.items():
        out += bucket_fields(f"bucket[{key:#x}]", bucket, mapping_slot(key, BUCKETS))
        for i, strike in enumerate(bucket.strikes_wad):
            out += _record(
                f"strike[{key:#x}][{i}]", mapping_slot(key << 10 | i, STRIKES), ("wad", 256, strike)
            )
    for order in state.filled_wad.keys() | state.cancelled:
        slot = mapping_slot(int.from_bytes(order, "big"), ORDERS)
        out += _record(
            f"order[{order.hex()}]",
            slot,
            ("filledWad", 255, state.filled_wad.get(order, 0)),
            ("cancelled", 1, int(order in state.cancelled)),
        )
    for instrument, open_interest in state.open_interest.items():
        slot = mapping_slot(instrument, OPEN_INTEREST)
        out += _record(f"openInterest[{instrument:#010x}]", slot, ("wad", 256, open_interest))
    for key, settlement in state.settlements.items():
        slot = mapping_slot(key, SETTLEMENTS)
        out += settlement_fields(f"settlement[{key:#x}]", settlement, slot)
    for (account_id, operator), rights in state.operators.items():
        slot = mapping_slot(operator, mapping_slot(account_id, OPERATORS))
        out += _record(f"operator[{account_id:#x}][{operator:#x}]", slot, ("rights", 256, rights))
    for account_id, nonce in state.min_nonce.items():
        slot = mapping_slot(account_id, MIN_NONCE)
        out += _record(f"minNonce[{account_id:#x}]", slot, ("nonce", 256, nonce))
    out += _record("deferred", DEFERRED, ("length", 256, len(state.deferred)))
    return out + list(signer_fields(state.signers))


def cash_market_fields(state: State) -> Iterator[Field]:
    """Slots 3 to 7 of the vault."""
    yield from _record(
        "vault",
        STATE_SLOT + 3,
        ("borrowIndexE15", 64, state.borrow_index_e15),
        ("interestTime", 40, state.interest_time),
        ("windDownTime", 40, state.wind_down_time),
        ("cashWithdrawnWad", 112, state.cash_withdrawn_wad),
    )
    yield from _record(
        "vault",
        STATE_SLOT + 4,
        ("supplyWad", 128, state.supply_wad),
        ("borrowWad", 128, state.borrow_wad),
    )
    yield from _record(
        "vault",
        STATE_SLOT + 5,
        ("interestWad", -128, state.interest_wad),
        ("cashWithdrawnTime", 40, state.cash_withdrawn_time),
    )
    yield from _record(
        "vault",
        STATE_SLOT + 6,
        ("insurancePaidWad", 128, state.insurance_paid_wad),
        ("insurancePaidTime", 40, state.insurance_paid_time),
    )
    yield from _record("vault", STATE_SLOT + 7, ("sequencerFeed", 160, state.sequencer_feed))


def settlement_fields(name: str, item: Settlement, slot: int) -> Iterator[Field]:
    """One word."""
    yield from _record(
        name,
        slot,
        ("priceWad", 88, item.price_wad),
        ("observations", 16, item.observations),
        ("lastTime", 32, item.last_time),
        ("weight", 24, item.weight),
        ("meanWad", 88, item.mean_wad),
        ("settled", 8, int(item.settled)),
    )


def underlying_fields(name: str, item: Underlying, slot: int) -> Iterator[Field]:
    """Five words."""
    word = gauge.encode(item.open_interest_wad, item.stable_apart)
    yield from _record(
        name,
        slot,
        ("priceWad", 88, item.price_wad),
        ("epoch", 32, item.epoch),
        ("time", 32, item.time),
        ("gauge", 24, word),
        ("fundingE12", -80, item.funding_e12),
    )
    yield from _record(
        name,
        slot + 1,
        ("feed", 160, item.feed),
        ("feedDecimals", 8, item.feed_decimals),
        ("confidenceBps", 16, item.confidence_bps),
        ("reportNonce", 64, item.report_nonce),
    )
    yield from _record(
        name,
        slot + 2,
        ("feedUpdatedAt", 40, item.feed_updated_at),
        ("reportTime", 40, item.report_time),
        ("pnlPoolWad", 128, item.pnl_pool_wad),
    )
    yield from _record(
        name,
        slot + 3,
        ("openInterestWad", 104, item.open_interest_wad),
        ("stablePriceWad", 88, item.stable_price_wad),
        ("premiumE9", -32, item.premium_e9),
        ("fundingTime", 32, item.funding_time),
    )
    yield from _record(
        name,
        slot + 4,
        ("previousPriceWad", 88, item.previous_price_wad),
        ("previousTime", 32, item.previous_time),
        ("reduceOnlyUntil", 32, item.reduce_only_until),
    )


def collateral_fields(name: str, item: Collateral, slot: int) -> Iterator[Field]:
    """Three words."""
    yield from _record(
        name,
        slot,
        ("token", 160, item.token),
        ("decimals", 8, item.decimals),
        ("underlying", 8, item.underlying),
        ("rateFeedDecimals", 8, item.rate_feed_decimals),
        ("rateUpdatedAt", 40, item.rate_updated_at),
        ("withdrawnTime", 32, item.withdrawn_time),
    )
    yield from _record(
        name, slot + 1, ("rateFeed", 160, item.rate_feed), ("rateWad", 96, item.rate_wad)
    )
    yield from _record(
        name, slot + 2, ("totalHeld", 128, item.total_held), ("withdrawn", 128, item.withdrawn)
    )


def bucket_fields(name: str, item: Bucket, slot: int) -> Iterator[Field]:
    """Two words."""
    yield from _record(
        name,
        slot,
        ("forwardRatioWad", 64, item.forward_ratio_wad),
        ("discountWad", 64, item.discount_wad),
        ("reportTime", 40, item.report_time),
        ("listed", 8, int(item.listed)),
        ("strikeCount", 16, len(item.strikes_wad)),
    )
    yield from _record(
        name,
        slot + 1,
        ("aE9", -40, item.a_e9),
        ("bE9", 40, item.b_e9),
        ("rhoE9", -32, item.rho_e9),
        ("mE9", -40, item.m_e9),
        ("sigmaE9", 40, item.sigma_e9),
    )


def account_fields(name: str, item: Account, slot: int) -> Iterator[Field]:
    """Header, collateral, and the entries in use of both position lists (what lies beyond the
    counts is stale).
    """
    mask = sum(1 << j for j, amount in enumerate(item.collateral) if amount)
    yield from _record(
        name,
        slot,
        ("cashWad", -128, item.cash_wad),
        ("collateralMask", 16, mask),
        ("linearCount", 8, len(item.linear)),
        ("optionCount", 8, len(item.options)),
        ("interestIndexE15", 63, item.interest_index),
        ("marginCall", 1, int(item.margin_call)),
        ("flaggedAt", 32, item.flagged_at),
    )
    for j, amount in enumerate(item.collateral):
        yield Field(f"{name}.collateral[{j}]", slot + 1 + j // 2, 128 * (j % 2), 128, False, amount)
    for i, p in enumerate(item.linear):
        yield from _record(
            f"{name}.linear[{i}]",
            slot + 9 + i,
            ("quoteWad", -128, p.quote_wad),
            ("sizeWad", -96, p.size_wad),
            ("instrument", 32, p.instrument),
        )
    for i, o in enumerate(item.options):
        at, shift = slot + 137 + i // 2, 128 * (i % 2)
        yield Field(f"{name}.options[{i}].sizeWad", at, shift, 96, True, o.size_wad)
        yield Field(f"{name}.options[{i}].instrument", at, shift + 96, 32, False, o.instrument)


def signer_fields(signers: list[int]) -> Iterator[Field]:
    """Length, list and membership."""
    yield from _record("signers", SIGNER_LIST, ("length", 256, len(signers)))
    first = int.from_bytes(keccak(SIGNER_LIST.to_bytes(32, "big")), "big")
    for i, signer in enumerate(signers):
        yield from _record(f"signers[{i}]", first + i, ("address", 160, signer))
        yield from _record(f"signers[{i}]", mapping_slot(signer, IS_SIGNER), ("isSigner", 8, 1))


def feed_words(feed: Feed) -> Words:
    """Storage of contracts/test/MockFeed.sol; a feed that reverts does so in the plainest way."""
    return {
        0: feed.answer & UINT256_MAX,
        1: feed.updated_at,
        2: feed.decimals,
        3: 1 if feed.reverts else 0,
    }


def array_slots(instrument: int, epoch: int) -> list[int]:
    """The four slots of the scenario array of an instrument in an epoch."""
    first = ARRAYS_SLOT + (epoch // TAG_PERIOD << 40) + (instrument << 2)
    return [first + i for i in range(4)]


def array_tag(epoch: int) -> int:
    """Tag of an array computed in this epoch."""
    return epoch % TAG_PERIOD + 1
