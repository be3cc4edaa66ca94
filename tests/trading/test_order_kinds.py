"""Reduce-only, triggers, nonces, validity, operators: model and vault side by side."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import pytest

from risk.chain.abi import functions
from risk.exact.errors import ModelRevert as Revert
from risk.exact.trading.order_hash import ORDER_TYPE, Order
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, WAD, account
from tests.trading.ids import (
    ABOVE,
    BELOW,
    CALL,
    FUTURE,
    PERP,
    REDUCE_ONLY,
    A,
    B,
    C,
    key_of,
)

PRICE = 3_000 * WAD


@pytest.fixture(autouse=True)
def _funded(funded: Market) -> None:
    """Everybody has a million."""


def snapshots(market: Market, previous: int, present: int, *, age: int = 60) -> None:
    """The last two snapshots of ETH: prices in USD, ``age`` and 2·``age`` seconds old."""
    data, now = market.state.underlyings[0], market.world.timestamp
    data.previous_price_wad, data.previous_time = previous * WAD, now - 2 * age
    data.price_wad, data.time = present * WAD, now - age
    market.write_state()
    market.set_price(0, present)


def test_hash_covers_every_field(market: Market) -> None:
    plain = market.order(ALICE, PERP, WAD, PRICE)
    changed = [
        replace(plain, **{name: getattr(plain, name) ^ 1}) for name in plain.__dataclass_fields__
    ]
    hashes = {market.model.hash_order(o) for o in (plain, *changed)}
    assert len(hashes) == 11
    for order in (plain, *changed):
        assert market.read("hashOrder", astuple(order)) == [key_of(market, order)]
    assert ORDER_TYPE.count(",") == 9


# ------------------------------------------------------------------------------ flags, validity


@pytest.mark.parametrize("flags", [6, 7, 8, 9, 16, 128, 255])
def test_invalid_flags(market: Market, flags: int) -> None:
    bad = market.order(ALICE, PERP, WAD, PRICE, flags=flags)
    good = market.order(BOB, PERP, -WAD, PRICE)
    assert market.fill(bad, good, WAD, PRICE) == Revert(
        "FlagsInvalid", (key_of(market, bad), flags)
    )
    bad = market.order(BOB, PERP, -WAD, PRICE, flags=flags)
    good = market.order(ALICE, PERP, WAD, PRICE)
    assert market.fill(good, bad, WAD, PRICE) == Revert(
        "FlagsInvalid", (key_of(market, bad), flags)
    )


def test_an_order_of_the_future_waits(market: Market) -> None:
    start = market.world.timestamp + 2
    buy = market.order(ALICE, PERP, WAD, PRICE, created_at=start)
    sell = market.order(BOB, PERP, -WAD, PRICE, created_at=start)
    plain = market.order(BOB, PERP, -WAD, PRICE)
    assert market.fill(buy, plain, 1, PRICE) == Revert(
        "OrderNotYetValid", (key_of(market, buy), start)
    )
    also = replace(plain, size_wad=WAD, account=A)
    assert market.fill(also, sell, 1, PRICE) == Revert(
        "OrderNotYetValid", (key_of(market, sell), start)
    )
    assert market.world.timestamp == start
    assert market.fill(buy, sell, 1, PRICE) is None


def test_new_refusals_come_in_the_stated_order(market: Market) -> None:
    """Flags before validity before expiry; cancelled before nonce before overfill."""
    now = market.world.timestamp
    sell = market.order(BOB, PERP, -WAD, PRICE)
    buy = market.order(ALICE, PERP, WAD, PRICE, flags=8, created_at=now + 99, expiry=0, nonce=1)
    market.do(ALICE, "raiseMinNonce", A, 2)
    market.do(ALICE, "cancel", buy, chain=(astuple(buy),))
    names = []
    for changes in (
        {},
        {"flags": 0},
        {"created_at": 0},
        {"expiry": 2**40 - 1},
    ):
        buy = replace(buy, **changes)
        names.append(market.fill(buy, sell, 2 * WAD, PRICE).name)
    assert names == ["FlagsInvalid", "OrderNotYetValid", "OrderExpired", "NonceTooLow"]
    market.do(ALICE, "cancel", buy, chain=(astuple(buy),))
    assert market.fill(buy, sell, 2 * WAD, PRICE).name == "OrderIsCancelled"
    buy = replace(buy, nonce=2)
    assert market.fill(buy, sell, 2 * WAD, PRICE).name == "OrderOverfilled"


# ---------------------------------------------------------------------------------- reduce-only


@pytest.mark.parametrize("instrument", [PERP, FUTURE, CALL])
def test_reduce_only_closes_and_never_opens_enlarges_or_flips(
    market: Market, instrument: int
) -> None:
    price = 3_000 * WAD if instrument != CALL else 100 * WAD

    def sell_reduce_only(size: int) -> Any:
        order = market.order(ALICE, instrument, -4 * WAD, price, flags=REDUCE_ONLY)
        return market.fill(market.order(CAROL, instrument, size, price), order, size, price), order

    refused, order = sell_reduce_only(WAD)  # nothing to reduce
    assert refused == Revert("WouldNotReduce", (key_of(market, order),))
    assert market.trade(ALICE, BOB, instrument, 2 * WAD, price) is None
    refused, order = sell_reduce_only(2 * WAD + 1)  # beyond zero
    assert refused == Revert("WouldNotReduce", (key_of(market, order),))
    assert sell_reduce_only(WAD)[0] is None
    assert sell_reduce_only(WAD)[0] is None  # to zero exactly
    more = market.order(BOB, instrument, -WAD, price, flags=REDUCE_ONLY)  # a short would grow
    assert market.fill(market.order(ALICE, instrument, WAD, price), more, WAD, price) == Revert(
        "WouldNotReduce", (key_of(market, more),)
    )
    back = market.order(BOB, instrument, 3 * WAD, price, flags=REDUCE_ONLY)
    sell = market.order(CAROL, instrument, -3 * WAD, price)
    assert market.fill(back, sell, 2 * WAD, price) is None
    assert market.fill(back, sell, 1, price) == Revert("WouldNotReduce", (key_of(market, back),))


# ------------------------------------------------------------------------------------- triggers


def stop(market: Market, flags: int, trigger: int, **changes: int) -> Order:
    """A sell of Alice that waits for the index."""
    fields = {"created_at": market.world.timestamp - 200, "slippage_bps": 100}
    return market.order(
        ALICE,
        changes.pop("instrument", PERP),
        -WAD,
        1,
        flags=flags,
        trigger_price_wad=trigger * WAD,
        **{**fields, **changes},
    )


def take(market: Market, order: Order, price: int) -> Any:
    """Bob buys it at ``price``: None, or the error's name where it is the order's."""
    buy = market.order(BOB, order.instrument, WAD, 10**25)
    result = market.fill(buy, order, WAD, price)
    if isinstance(result, Revert) and result.args[0] == key_of(market, order):
        return result.name
    return result


@pytest.mark.parametrize(
    ("flags", "previous", "present", "hit"),
    [
        (BELOW, 2_800, 2_800, True),  # at the trigger counts
        (BELOW, 2_700, 2_600, True),
        (BELOW, 2_801, 2_800, False),  # one snapshot alone does not
        (BELOW, 2_800, 2_801, False),
        (BELOW, 2_900, 2_900, False),
        (ABOVE, 2_800, 2_800, True),
        (ABOVE, 2_900, 3_000, True),
        (ABOVE, 2_799, 2_800, False),
        (ABOVE, 2_800, 2_799, False),
    ],
)
def test_trigger_needs_two_consecutive_hits(
    market: Market, flags: int, previous: int, present: int, hit: bool
) -> None:
    snapshots(market, previous, present)
    outcome = take(market, stop(market, flags, 2_800), present * WAD)
    assert outcome == (None if hit else "TriggerNotHit")


def test_trigger_counts_only_snapshots_later_than_the_order(market: Market) -> None:
    snapshots(market, 2_700, 2_700)
    data = market.state.underlyings[0]
    for created_at in (data.time, data.time - 1, data.previous_time):
        order = stop(market, BELOW, 2_800, created_at=created_at)
        assert take(market, order, 2_700 * WAD) == "TriggerNotHit"
    order = stop(market, BELOW, 2_800, created_at=data.previous_time - 1)
    assert take(market, order, 2_700 * WAD) is None


def test_two_snapshots_of_one_second_are_one_hit(market: Market) -> None:
    snapshots(market, 2_700, 2_700)
    data = market.state.underlyings[0]
    data.previous_time = data.time
    market.write_state()
    assert take(market, stop(market, BELOW, 2_800), 2_700 * WAD) == "TriggerNotHit"


def test_trigger_before_the_second_snapshot_ever(market: Market) -> None:
    data = market.state.underlyings[0]
    data.previous_price_wad = data.previous_time = 0
    market.write_state()
    order = stop(market, BELOW, 10**6, created_at=0, slippage_bps=10**4)
    assert take(market, order, PRICE) == "TriggerNotHit"


def test_slippage_is_measured_from_the_snapshot(market: Market) -> None:
    snapshots(market, 2_700, 2_800)
    mark = 2_800 * WAD
    order = stop(market, BELOW, 2_900, slippage_bps=50)
    edge = mark * 50 // 10_000
    for price in (mark - edge - 1, mark + edge + 1):
        buy = market.order(BOB, PERP, WAD, 10**25)
        assert market.fill(buy, order, WAD, price) == Revert(
            "SlippageExceeded", (key_of(market, order), price, mark)
        )
    assert take(market, order, mark - edge) is None
    assert take(market, stop(market, BELOW, 2_900, slippage_bps=50), mark + edge) is None
    exact = stop(market, BELOW, 2_900, slippage_bps=0)
    assert take(market, exact, mark + 1) == "SlippageExceeded"
    assert take(market, exact, mark) is None


def test_slippage_of_a_future_is_measured_from_its_forward(market: Market) -> None:
    snapshots(market, 2_800, 2_800)
    bucket = market.state.buckets[FUTURE >> 28 << 16 | FUTURE >> 10 & 0xFFFF]
    mark = 2_800 * WAD * bucket.forward_ratio_wad // WAD
    assert mark != 2_800 * WAD
    order = stop(market, BELOW, 2_900, slippage_bps=0, instrument=FUTURE)
    assert take(market, order, 2_800 * WAD) == "SlippageExceeded"
    assert take(market, order, mark) is None


def test_an_option_with_a_trigger_is_bounded_by_its_limit_alone(market: Market) -> None:
    snapshots(market, 2_800, 2_800)
    order = stop(market, BELOW, 2_900, slippage_bps=0, instrument=CALL)
    assert take(market, order, 0) == "PriceOutOfBounds"  # limit 1
    assert take(market, order, 77 * WAD) is None


def test_trigger_of_the_buy_is_asked_first_and_without_trigger_the_fields_are_free(
    market: Market,
) -> None:
    snapshots(market, 2_800, 2_800)
    fields = {"trigger_price_wad": 2_900 * WAD, "slippage_bps": 0}
    buy = market.order(BOB, PERP, WAD, PRICE, flags=ABOVE, **fields)
    sell = market.order(ALICE, PERP, -WAD, 0, flags=ABOVE, **fields)
    assert market.fill(buy, sell, WAD, 2_800 * WAD) == Revert(
        "TriggerNotHit", (key_of(market, buy),)
    )
    buy = replace(buy, flags=0)
    assert market.fill(buy, sell, WAD, 2_800 * WAD) == Revert(
        "TriggerNotHit", (key_of(market, sell),)
    )
    sell = replace(sell, flags=0)
    assert market.fill(buy, sell, WAD, 2_800 * WAD) is None


def test_stop_loss_with_reduce_only_end_to_end(market: Market) -> None:
    """Two refreshes below the trigger; before the second the stop waits."""
    assert market.trade(ALICE, BOB, PERP, WAD, PRICE) is None
    order = stop(
        market, BELOW | REDUCE_ONLY, 2_900, slippage_bps=200, created_at=market.world.timestamp
    )
    market.world.timestamp += 10
    assert take(market, order, 2_999 * WAD) == "TriggerNotHit"
    for price, outcome in ((2_850, "TriggerNotHit"), (2_800, None)):
        market.world.timestamp += 10
        market.set_price(0, price)
        assert market.do(BOB, "refresh", [0]) is None
        assert take(market, order, price * WAD) == outcome
    assert market.state.accounts[A].linear == []


# ----------------------------------------------------------------------------- nonces, operators


def test_bulk_cancel_by_nonce(market: Market) -> None:
    sell = market.order(BOB, PERP, -WAD, PRICE)
    old, new = (market.order(ALICE, PERP, WAD, PRICE, nonce=n) for n in (99, 100))
    other = replace(old, account=account(ALICE, 1))
    market.put(account(ALICE, 1), cash=10**5 * WAD)
    assert market.do(ALICE, "raiseMinNonce", A, 100) is None
    assert market.fill(old, sell, 1, PRICE) == Revert("NonceTooLow", (key_of(market, old),))
    assert market.fill(new, sell, 1, PRICE) is None
    assert market.fill(other, sell, 1, PRICE) is None  # another sub-account
    assert market.do(ALICE, "raiseMinNonce", A, 2**64 - 1) is None
    assert market.fill(new, sell, 1, PRICE) == Revert("NonceTooLow", (key_of(market, new),))
    buy = market.order(CAROL, PERP, WAD, PRICE)
    low = market.order(ALICE, PERP, -WAD, PRICE)
    assert market.fill(buy, low, 1, PRICE) == Revert("NonceTooLow", (key_of(market, low),))


def test_operator_with_trade_signs_orders(market: Market) -> None:
    buy = market.order(ALICE, PERP, WAD, PRICE)
    sell = market.order(BOB, PERP, -WAD, PRICE)
    refused = Revert("InvalidSignature", (key_of(market, buy),))
    assert market.fill(buy, sell, 1, PRICE, buyer=DAVE) == refused
    for bits, outcome in ((6, refused), (1, None), (7, None), (0, refused)):
        market.do(ALICE, "setOperator", A, key_address(DAVE), bits)
        assert market.fill(buy, sell, 1, PRICE, buyer=DAVE) == outcome
        # the owner's own signature never stops working
        assert market.fill(buy, sell, 1, PRICE, buyer=ALICE) is None


def test_F50_operator_of_one_account_is_nobody_in_another(market: Market) -> None:
    market.do(ALICE, "setOperator", A, key_address(DAVE), 1)
    market.put(account(ALICE, 1), cash=10**5 * WAD)
    sell = market.order(BOB, PERP, -WAD, PRICE)
    for other in (account(ALICE, 1), C):
        buy = replace(market.order(ALICE, PERP, WAD, PRICE), account=other)
        assert market.fill(buy, sell, 1, PRICE, buyer=DAVE) == Revert(
            "InvalidSignature", (key_of(market, buy),)
        )


def test_F50_what_a_revoked_operator_signed_is_dead_at_once(market: Market) -> None:
    market.do(ALICE, "setOperator", A, key_address(DAVE), 1)
    buy = market.order(ALICE, PERP, WAD, PRICE)
    sell = market.order(BOB, PERP, -WAD, PRICE)
    signed = (key_address(DAVE), market.sign(buy, DAVE))
    assert market.fill(buy, sell, 1, PRICE, buyer=signed) is None
    market.do(ALICE, "setOperator", A, key_address(DAVE), 0)
    assert market.fill(buy, sell, 1, PRICE, buyer=signed) == Revert(
        "InvalidSignature", (key_of(market, buy),)
    )


def test_F48_signatures_of_operators_are_held_to_the_same_form(market: Market) -> None:
    market.do(ALICE, "setOperator", A, key_address(DAVE), 1)
    buy = market.order(ALICE, PERP, WAD, PRICE)
    sell = market.order(BOB, PERP, -WAD, PRICE)
    good = market.sign(buy, DAVE)
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = int.from_bytes(good[32:64], "big")
    high = good[:32] + (n - s).to_bytes(32, "big") + bytes([55 - good[64]])
    short = good[:32] + (s | (good[64] - 27) << 255).to_bytes(32, "big")
    for bad in (high, good[:64] + b"\x00", good + b"\x00", good[:63], bytes(65), b""):
        assert market.fill(buy, sell, 1, PRICE, buyer=(0, bad)) == Revert(
            "InvalidSignature", (key_of(market, buy),)
        )
    for accepted in (good, short):
        assert market.fill(buy, sell, 1, PRICE, buyer=(key_address(DAVE), accepted)) is None


def test_operator_of_a_contract_wallet(market: Market) -> None:
    wallet = market.deploy("MockWallet")
    execute = functions(market.artifacts["MockWallet"].abi)["approve"]
    mine = account(wallet)
    market.put(mine, cash=10**5 * WAD)
    buy = replace(market.order(ALICE, PERP, WAD, PRICE), account=mine)
    sell = market.order(BOB, PERP, -WAD, PRICE)
    assert market.fill(buy, sell, 1, PRICE, buyer=DAVE) == Revert(
        "InvalidSignature", (key_of(market, buy),)
    )
    market.do(wallet, "setOperator", mine, key_address(DAVE), 1)
    assert market.fill(buy, sell, 1, PRICE, buyer=DAVE) is None
    market._from(wallet, wallet, execute.encode(market.model.hash_order(buy), True))
    assert market.fill(buy, sell, 1, PRICE, buyer=(wallet, b"")) is None


def test_cancel_by_owner_or_operator_with_trade(market: Market) -> None:
    def cancel(who: Any, order: Order) -> Any:
        return market.do(who, "cancel", order, chain=(astuple(order),))

    order = market.order(ALICE, PERP, WAD, PRICE)
    refused = Revert("NotAccountOwner", (A, key_address(DAVE)))
    assert cancel(DAVE, order) == refused
    market.do(ALICE, "setOperator", A, key_address(DAVE), 6)
    assert cancel(DAVE, order) == refused
    market.do(ALICE, "setOperator", A, key_address(DAVE), 1)
    assert cancel(DAVE, order) is None
    assert market.read("orderStatus", market.model.hash_order(order)) == [0, True]
    assert cancel(DAVE, replace(order, account=B)) == Revert(
        "NotAccountOwner", (B, key_address(DAVE))
    )


def test_orders_of_the_old_form_still_construct() -> None:
    order = Order(A, PERP, WAD, PRICE, 1, 2)
    assert astuple(order)[6:] == (0, 0, 0, 0)
