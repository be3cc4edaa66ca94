"""Filling two orders: model and vault side by side."""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import pytest

from risk.chain.abi import functions
from risk.exact.errors import ModelRevert as Revert
from risk.exact.market.report_hash import domain_separator
from risk.exact.state import World
from risk.exact.trading.order_hash import Order
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, STRIKES, Market
from tests.support.vault_twin import ALICE, BOB, CAROL, FAR, USD, WAD, account, iid

A, B, C = account(ALICE), account(BOB), account(CAROL)
PERP = iid.encode(0, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, EXPIRIES[1], 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], STRIKES.index(3_000 * WAD))
PUT = iid.encode(0, iid.PUT, EXPIRIES[0], STRIKES.index(2_900 * WAD))
MAX_PRICE = 10**25


@pytest.fixture(autouse=True)
def funded(market: Market) -> None:
    for key in (ALICE, BOB, CAROL):
        market.do(key, "deposit", account(key), market.cash, 10**6 * USD)


def key_of(market: Market, order: Order) -> int:
    """The digest as the integer that errors carry."""
    return int.from_bytes(market.model.hash_order(order), "big")


# -------------------------------------------------------------------------------- execution


def test_option_is_paid_in_cash_and_the_wei_between_goes_to_insurance(market: Market) -> None:
    size, price = WAD + 1, 100 * WAD + 1
    assert market.trade(ALICE, BOB, CALL, size, price) is None
    paid = -(-size * price // WAD)
    assert market.read("accountState", A)[0] == 10**6 * WAD - paid
    assert market.read("accountState", B)[0] == 10**6 * WAD + paid - 1
    assert market.read("totals")[1] == 1
    assert market.read("accountState", A)[3] == [CALL << 96 | size]
    assert market.read("accountState", B)[3] == [CALL << 96 | (2**96 - size)]
    assert market.read("snapshot", 0)[0][3] == size
    assert not market.compare_margin(A).has_obligations
    assert market.compare_margin(B).has_obligations


def test_perp_books_quotes_rounded_against_both(market: Market) -> None:
    size, price = WAD + 1, 3_000 * WAD + 1
    assert market.trade(ALICE, BOB, PERP, size, price) is None
    paid = -(-size * price // WAD)
    (a,), (b,) = (market.read("accountState", x)[2] for x in (A, B))
    assert a == PERP << 224 | size << 128 | (2**128 - paid)
    assert b == PERP << 224 | (2**96 - size) << 128 | (paid - 1)
    assert market.read("accountState", A)[0] == 10**6 * WAD
    assert market.read("totals")[1] == 0


def test_crossing_through_zero_and_closing(market: Market) -> None:
    assert market.trade(ALICE, BOB, PERP, 2 * WAD, 3_000 * WAD) is None
    assert market.trade(BOB, ALICE, PERP, 5 * WAD, 3_010 * WAD) is None
    assert [x >> 224 for x in market.read("accountState", A)[2]] == [PERP]
    assert market.read("snapshot", 0)[0][3] == 3 * WAD
    # Alice closes with a loss, so Bob's credit is there to draw when he closes in the same fill
    assert market.trade(ALICE, BOB, PERP, 3 * WAD, 3_100 * WAD) is None
    assert market.read("accountState", A)[2] == []
    assert market.read("snapshot", 0)[0][3] == 0
    loss = 2 * 3_000 - 5 * 3_010 + 3 * 3_100
    assert market.read("accountState", A)[0] == (10**6 - loss) * WAD
    assert market.read("accountState", B)[0] == (10**6 + loss) * WAD
    assert market.read("pnlPool", 0) == [0]


@pytest.mark.parametrize("wei", [1, 2])
def test_a_position_closed_for_a_wei_is_realised(market: Market, wei: int) -> None:
    """A quote of one wei is a quote: nothing may stay behind of a position whose size is 0."""
    market.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD)
    assert market.trade(BOB, ALICE, PERP, WAD, 3_000 * WAD + wei) is None
    assert market.read("accountState", A)[2] == market.read("accountState", B)[2] == []
    assert market.read("accountState", A)[0] == 10**6 * WAD + wei
    assert market.read("accountState", B)[0] == 10**6 * WAD - wei
    assert market.read("pnlPool", 0) == [0]


def test_undrawn_credit_stays_a_claim_until_the_pool_has_it(market: Market) -> None:
    market.trade(ALICE, BOB, FUTURE, WAD, 3_030 * WAD)
    # Alice sells to Carol at a profit: nobody has realised a loss yet
    assert market.trade(CAROL, ALICE, FUTURE, WAD, 3_130 * WAD) is None
    (claim,) = market.read("accountState", A)[2]
    assert claim == FUTURE << 224 | 100 * WAD
    margin = market.compare_margin(A)
    assert margin.mark_equity == (10**6 + 100) * WAD and not margin.has_obligations
    market.do(CAROL, "realizePnl", C)
    market.do(CAROL, "realizePnl", A)
    assert market.read("accountState", A)[2] == []
    assert market.read("accountState", A)[0] == (10**6 + 100) * WAD


def test_option_that_nets_to_zero_disappears(market: Market) -> None:
    for instrument in (CALL, PUT):
        market.trade(ALICE, BOB, instrument, WAD, 50 * WAD)
    market.trade(BOB, ALICE, CALL, WAD, 50 * WAD)
    assert market.read("accountState", A)[3] == [PUT << 96 | WAD]
    assert market.read("accountState", B)[3] == [PUT << 96 | (2**96 - WAD)]


def test_initial_margin_of_both_sides(market: Market) -> None:
    market.put(A, cash=800 * WAD)
    refused = market.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD)
    assert refused.name == "InsufficientMargin" and refused.args[0] == A
    refused = market.trade(BOB, ALICE, PERP, WAD, 3_000 * WAD)
    assert refused.name == "InsufficientMargin" and refused.args[0] == A
    # the buyer is asked first where both fail
    market.put(B, cash=800 * WAD)
    assert market.trade(BOB, ALICE, PERP, WAD, 3_000 * WAD).args[0] == B
    # a paid-up long option needs no margin, the cash to pay for it does
    assert market.trade(ALICE, CAROL, CALL, WAD, 800 * WAD) is None
    assert not market.compare_margin(A).has_obligations
    # a loan to buy more is an obligation, carried here by the call
    assert market.trade(ALICE, CAROL, PUT, WAD, WAD) is None
    assert market.compare_margin(A).has_obligations
    assert market.trade(ALICE, CAROL, PUT, WAD, 900 * WAD).name == "InsufficientMargin"


@pytest.mark.parametrize("seed", range(3))
def test_A7_fill_and_reverse_fill_is_never_profitable(market: Market, seed: int) -> None:
    rng = random.Random(seed)
    for instrument in (PERP, FUTURE, CALL):
        size, price = rng.randrange(1, 3 * WAD), rng.randrange(1, 4_000 * WAD)
        start = [market.model.margin(x).mark_equity for x in (A, B)]
        first = market.trade(ALICE, BOB, instrument, size, price)
        assert first is None
        assert market.trade(BOB, ALICE, instrument, size, price) is None
        end = [market.model.margin(x).mark_equity for x in (A, B)]
        assert all(e <= s for s, e in zip(start, end, strict=True))
        assert sum(start) - sum(end) <= 2


def test_B14_own_sub_accounts_on_both_sides_create_no_value(market: Market) -> None:
    other = account(ALICE, 1)
    market.put(A, cash=10**5 * WAD)
    market.put(other, cash=10**5 * WAD)
    buy = market.order(ALICE, PERP, WAD, 2_000 * WAD)
    sell = market.order(ALICE, PERP, -WAD, 2_000 * WAD, sub=1)
    assert market.fill(buy, sell, WAD, 2_000 * WAD) is None
    assert sum(market.compare_margin(x).mark_equity for x in (A, other)) <= 2 * 10**5 * WAD


def test_B17_position_limit(market: Market) -> None:
    full = [(iid.encode(0, iid.CALL + i // 64, EXPIRIES[0], i % 64), WAD) for i in range(128)]
    market.put(A, cash=10**5 * WAD, options=full, mirror=C)
    market.state.accounts[C].cash_wad = 10**8 * WAD
    market.settle_totals()
    market.write_state()
    assert market.trade(ALICE, BOB, CALL, WAD, WAD) == Revert("TooManyPositions", (A, 128))
    assert market.trade(BOB, ALICE, CALL, WAD, WAD) == Revert("TooManyPositions", (A, 128))
    assert market.trade(BOB, ALICE, full[5][0], WAD, WAD) is None  # closes one
    assert market.trade(ALICE, BOB, CALL, WAD, WAD) is None
    assert len(market.read("accountState", A)[3]) == 128


# --------------------------------------------------------------------------- orders, in parts


def test_partial_fills_status_and_overfill(market: Market) -> None:
    buy = market.order(ALICE, PERP, 10 * WAD, 3_100 * WAD)
    sell = market.order(BOB, PERP, -4 * WAD, 2_900 * WAD)
    key = market.model.hash_order(buy)
    assert market.read("hashOrder", astuple(buy)) == [key_of(market, buy)]
    assert market.fill(buy, sell, 3 * WAD, 3_000 * WAD) is None
    assert market.read("orderStatus", key) == [3 * WAD, False]
    assert market.fill(buy, sell, WAD + 1, 3_000 * WAD) == Revert(
        "OrderOverfilled", (key_of(market, sell), 4 * WAD + 1, 4 * WAD)
    )
    assert market.fill(buy, sell, WAD, 3_000 * WAD) is None
    sell = market.order(CAROL, PERP, -20 * WAD, 2_900 * WAD)
    assert market.fill(buy, sell, 6 * WAD + 1, 3_000 * WAD) == Revert(
        "OrderOverfilled", (key_of(market, buy), 10 * WAD + 1, 10 * WAD)
    )
    assert market.fill(buy, sell, 6 * WAD, 3_000 * WAD) is None
    assert market.read("orderStatus", key) == [10 * WAD, False]
    # a whole order is spent: the same signature again is an overfill
    assert market.fill(buy, sell, 1, 3_000 * WAD).name == "OrderOverfilled"


def test_cancel(market: Market) -> None:
    buy = market.order(ALICE, PERP, WAD, 3_000 * WAD)
    sell = market.order(BOB, PERP, -WAD, 3_000 * WAD)
    assert market.do(BOB, "cancel", buy, chain=(astuple(buy),)) == Revert(
        "NotAccountOwner", (A, key_address(BOB))
    )
    for _ in range(2):  # idempotent
        assert market.do(ALICE, "cancel", buy, chain=(astuple(buy),)) is None
    assert market.read("orderStatus", market.model.hash_order(buy)) == [0, True]
    assert market.fill(buy, sell, WAD, 3_000 * WAD) == Revert(
        "OrderIsCancelled", (key_of(market, buy),)
    )
    again = replace(buy, nonce=10**6)
    assert market.fill(again, sell, WAD, 3_000 * WAD) is None


def test_refusals_come_in_the_stated_order(market: Market) -> None:
    """Each order is wrong in every way that comes later."""
    past = market.world.timestamp - 1
    strange = iid.encode(9, iid.PERP, 0, 5)
    buy = market.order(ALICE, strange, -5, 10, expiry=past)
    sell = market.order(ALICE, CALL, 5, 30, expiry=past)
    nobody = (0, b"")

    def fill(size: int, price: int) -> Revert:
        outcome = market.fill(buy, sell, size, price, buyer=nobody, seller=nobody)
        assert isinstance(outcome, Revert)
        return outcome

    assert fill(0, 20) == Revert("FillSizeInvalid", (0,))
    assert fill(9, 20) == Revert("InstrumentMismatch", (strange, CALL))
    sell = replace(sell, instrument=strange)
    assert fill(9, 20) == Revert("OrderSideInvalid", (key_of(market, buy),))
    buy = replace(buy, size_wad=0)
    assert fill(9, 20) == Revert("OrderSideInvalid", (key_of(market, buy),))
    buy = replace(buy, size_wad=5)
    assert fill(9, 20) == Revert("OrderSideInvalid", (key_of(market, sell),))
    sell = replace(sell, size_wad=-5)
    assert fill(9, 20) == Revert("SelfTrade", (A,))
    sell = replace(sell, account=B)
    assert fill(9, 20) == Revert("OrderExpired", (key_of(market, buy), past))
    buy = replace(buy, expiry=FAR)
    assert fill(9, 20) == Revert("OrderExpired", (key_of(market, sell), past))
    sell = replace(sell, expiry=FAR)
    for order, owner in ((sell, BOB), (buy, ALICE)):
        market.do(owner, "cancel", order, chain=(astuple(order),))
    assert fill(9, 20) == Revert("OrderIsCancelled", (key_of(market, buy),))
    buy = replace(buy, nonce=777)
    assert fill(9, 20) == Revert("OrderIsCancelled", (key_of(market, sell),))
    sell = replace(sell, nonce=777)
    assert fill(9, 20) == Revert("OrderOverfilled", (key_of(market, buy), 9, 5))
    buy = replace(buy, size_wad=9)
    assert fill(9, 20) == Revert("OrderOverfilled", (key_of(market, sell), 9, 5))
    assert fill(5, 20) == Revert("PriceOutOfBounds", (key_of(market, buy), 20, 10))
    buy = replace(buy, limit_price_wad=2 * MAX_PRICE)
    assert fill(5, 20) == Revert("PriceOutOfBounds", (key_of(market, sell), 20, 30))
    price = MAX_PRICE + 1
    assert fill(5, price) == Revert("InvalidSignature", (key_of(market, buy),))

    def signed(price: int) -> Revert:
        outcome = market.fill(buy, sell, 5, price)
        assert isinstance(outcome, Revert)
        return outcome

    outcome = market.fill(buy, sell, 5, price, seller=nobody)
    assert outcome == Revert("InvalidSignature", (key_of(market, sell),))
    assert signed(price) == Revert("UnknownInstrument", (strange,))
    buy, sell = replace(buy, instrument=PERP), replace(sell, instrument=PERP)
    assert signed(price) == Revert("PriceOutOfBounds", (key_of(market, buy), price, MAX_PRICE))
    sell = replace(sell, limit_price_wad=0)
    assert signed(0) == Revert("PriceOutOfBounds", (key_of(market, sell), 0, 1))
    market.warp(3_601)
    assert signed(MAX_PRICE) == Revert("OracleNotUsable", (0, 2))


def test_only_an_option_may_be_free(market: Market) -> None:
    assert market.trade(ALICE, BOB, PUT, WAD, 0) is None
    assert market.trade(ALICE, BOB, FUTURE, WAD, 0).name == "PriceOutOfBounds"


@pytest.mark.parametrize(
    "instrument",
    [
        iid.encode(0, iid.PERP, 0, 1),
        iid.encode(0, iid.PERP, EXPIRIES[0], 0),
        iid.encode(2, iid.PERP, 0, 0),
        iid.encode(15, iid.CALL, EXPIRIES[0], 0),
        iid.encode(0, iid.FUTURE, EXPIRIES[0], 1),
        iid.encode(0, iid.FUTURE, EXPIRIES[0] + 1, 0),
        iid.encode(0, iid.CALL, EXPIRIES[0], len(STRIKES)),
        iid.encode(1, iid.PUT, EXPIRIES[0], 3),
        iid.encode(0, iid.PUT, EXPIRIES[0] - 1, 0),
        2**32 - 1,
    ],
)
def test_unknown_instruments(market: Market, instrument: int) -> None:
    assert market.trade(ALICE, BOB, instrument, WAD, WAD) == Revert(
        "UnknownInstrument", (instrument,)
    )


def test_G56_before_at_and_after_expiry(market: Market) -> None:
    expiry = iid.expiry(PUT)
    market.world.timestamp = expiry - 9
    market.set_price(0, 3_000)
    market.report(0)
    market.world.timestamp = expiry - 1
    assert market.trade(ALICE, BOB, PUT, WAD, WAD) is None
    market.world.timestamp = expiry
    market.set_price(0, 3_000)
    assert market.trade(ALICE, BOB, PUT, WAD, WAD) == Revert(
        "InstrumentExpired", (PUT, expiry, expiry)
    )
    market.compare_margin(B)  # still valued, at its intrinsic value


def test_an_order_fills_until_its_last_second(market: Market) -> None:
    buy = market.order(ALICE, PERP, WAD, 3_000 * WAD, expiry=market.world.timestamp)
    sell = market.order(BOB, PERP, -2 * WAD, 3_000 * WAD)
    assert market.fill(buy, sell, 1, 3_000 * WAD) is None
    assert market.fill(buy, sell, 1, 3_000 * WAD) == Revert(
        "OrderExpired", (key_of(market, buy), buy.expiry)
    )


def test_sizes_at_the_limit_of_their_type(market: Market) -> None:
    top = 2**95 - 1
    market.put(A, cash=0, linear=[(PERP, top, 0)], mirror=B)
    assert market.trade(ALICE, CAROL, PERP, 1, 1) == Revert("SizeOutOfRange", (A, PERP))
    assert market.trade(CAROL, BOB, PERP, 2, 1) == Revert("SizeOutOfRange", (B, PERP))
    market.put(A, options=[(CALL, top)], mirror=B)
    assert market.trade(ALICE, CAROL, CALL, 1, 0) == Revert("SizeOutOfRange", (A, CALL))


# -------------------------------------------------------------------------------- signatures


def signatures(market: Market) -> tuple[Order, Order, bytes]:
    buy = market.order(ALICE, PERP, WAD, 3_000 * WAD)
    sell = market.order(BOB, PERP, -WAD, 3_000 * WAD)
    return buy, sell, market.sign(buy, ALICE)


def refused(market: Market, buy: Order, sell: Order, signature: bytes, signer: int = 0) -> None:
    outcome = market.fill(buy, sell, WAD, 3_000 * WAD, buyer=(signer, signature))
    assert outcome == Revert("InvalidSignature", (key_of(market, buy),))


def test_F48_malformed_signatures(market: Market) -> None:
    buy, sell, good = signatures(market)
    for bad in (
        b"",
        good[:64] + b"\x00",
        good[:-1] + b"\x02",
        bytes(65),
        good + b"\x00",
        good[:63],
    ):
        refused(market, buy, sell, bad)
    refused(market, buy, sell, market.sign(buy, CAROL), key_address(CAROL))


def test_F48_malleable_signature(market: Market) -> None:
    buy, sell, good = signatures(market)
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = n - int.from_bytes(good[32:64], "big")
    high = good[:32] + s.to_bytes(32, "big") + bytes([55 - good[64]])
    refused(market, buy, sell, high)
    assert market.fill(buy, sell, WAD, 3_000 * WAD, buyer=(key_address(ALICE), good)) is None


def test_F48_short_signature_of_EIP_2098_is_accepted(market: Market) -> None:
    buy, sell, good = signatures(market)
    s = int.from_bytes(good[32:64], "big") | (good[64] - 27) << 255
    short = good[:32] + s.to_bytes(32, "big")
    assert market.fill(buy, sell, WAD, 3_000 * WAD, buyer=(key_address(ALICE), short)) is None


def test_F48_other_chain_and_other_vault(market: Market) -> None:
    buy, sell, _ = signatures(market)
    here = market.world
    for world in (
        World(chain_id=here.chain_id + 1, vault=here.vault),
        World(chain_id=here.chain_id, vault=here.vault + 1),
    ):
        refused(market, buy, sell, market.sign(buy, ALICE, domain_separator(world)))


def test_F48_changed_order(market: Market) -> None:
    buy, sell, good = signatures(market)
    for changes in ({"size_wad": 2 * WAD}, {"limit_price_wad": 4_000 * WAD}, {"nonce": 10**9}):
        refused(market, replace(buy, **changes), sell, good)
    other = replace(buy, account=account(ALICE, 1))
    refused(market, other, sell, good)


def test_F48_account_of_the_zero_address(market: Market) -> None:
    buy, sell, _ = signatures(market)
    refused(market, replace(buy, account=7), sell, bytes(65))
    refused(market, replace(buy, account=0), sell, b"")


def test_F48_contract_wallet_ERC_1271(market: Market) -> None:
    wallet = market.deploy("MockWallet")
    approve = functions(market.artifacts["MockWallet"].abi)["approve"]
    mine = account(wallet, 3)
    market.put(mine, cash=10**5 * WAD)
    buy = replace(market.order(ALICE, PERP, WAD, 3_000 * WAD), account=mine)
    sell = market.order(BOB, PERP, -WAD, 3_000 * WAD)
    refused(market, buy, sell, b"anything")
    refused(market, buy, sell, market.sign(buy, ALICE), key_address(ALICE))
    market._from(wallet, wallet, approve.encode(market.model.hash_order(buy), True))
    # neither length nor high s matter to a wallet with its own rules
    half = buy.size_wad // 2
    assert market.fill(buy, sell, half, 3_000 * WAD, buyer=(wallet, b"")) is None
    assert market.fill(buy, sell, half, 3_000 * WAD, buyer=(wallet, b"\xff" * 65)) is None
    market._from(wallet, wallet, approve.encode(market.model.hash_order(buy), False))
    more = market.order(BOB, PERP, -WAD, 3_000 * WAD)
    again = market.fill(buy, more, 1, 3_000 * WAD, buyer=(0, b""))
    assert again == Revert("OrderOverfilled", (key_of(market, buy), WAD + 1, WAD))
