"""Deposit, withdraw, insurance: model and vault side by side.  ``market.do`` compares outcome,
state and balances.
"""

from __future__ import annotations

import pytest

from risk.chain.abi import functions
from risk.exact.errors import ModelRevert as Revert
from tests.market.market_twin import address, key_address
from tests.support.vault_fixtures import CAPS, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    MAX,
    USD,
    WAD,
    account,
    iid,
)

A, B, C = account(ALICE), account(BOB), account(CAROL)
ALICE_ADDRESS = key_address(ALICE)
PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)

NO_RETURN, RETURNS_FALSE, REVERTS, DENY_LIST, CALLBACK = 1, 2, 4, 8, 16


# ----------------------------------------------------------------------------------- deposit


def test_cash_is_credited_in_wad(market: Market) -> None:
    market.do(ALICE, "deposit", A, market.cash, 123_456_789)
    assert market.read("accountState", A)[0] == 123_456_789 * 10**12
    assert market.read("totals") == [123_456_789 * 10**12, 0]


@pytest.mark.parametrize("j, decimals", [(0, 18), (1, 8), (2, 6)])
def test_collateral_stays_in_native_units(market: Market, j: int, decimals: int) -> None:
    token = market.state.collaterals[j].token
    for amount in (3 * 10**decimals, 1):
        assert market.do(ALICE, "deposit", account(ALICE, 7), token, amount) is None
    cash, collateral, linear, options = market.read("accountState", account(ALICE, 7))
    assert collateral[j] == 3 * 10**decimals + 1
    assert (cash, linear, options) == (0, [], [])
    assert market.read("collateralInfo", j)[5] == 3 * 10**decimals + 1


def test_collaterals_of_one_word_do_not_touch_each_other(market: Market) -> None:
    market.do(ALICE, "deposit", A, market.weth, 5 * WAD)
    market.do(ALICE, "deposit", A, market.wbtc, 7)
    market.do(ALICE, "withdraw", A, market.weth, MAX, key_address(ALICE))
    assert market.read("accountState", A)[1] == [0, 7, 0]


def test_deposit_refusals_come_in_order(market: Market) -> None:
    unknown = 0xDEAD
    assert market.do(BOB, "deposit", A, unknown, 0) == Revert(
        "NotAccountOwner", (A, key_address(BOB))
    )
    assert market.do(ALICE, "deposit", A, unknown, 0) == Revert("UnknownToken", (unknown,))
    for token in (market.cash, market.weth):
        assert market.do(ALICE, "deposit", A, token, 0) == Revert("ZeroAmount")
    assert market.do(ALICE, "deposit", A, market.weth, CAPS[0] + 1) == Revert(
        "CapExceeded", (0, CAPS[0], CAPS[0] + 1)
    )
    assert market.do(ALICE, "deposit", A, market.weth, MAX) == Revert(
        "CapExceeded", (0, CAPS[0], MAX)
    )
    assert market.do(ALICE, "deposit", A, market.weth, CAPS[0]) == Revert("TransferFromFailed")
    assert market.do(ALICE, "deposit", A, market.cash, 10**30) == Revert("CashOutOfRange", (A,))
    assert market.do(ALICE, "deposit", A, market.cash, MAX) == Revert("CashOutOfRange", (A,))
    assert market.do(ALICE, "deposit", A, market.cash, 10**14) == Revert("TransferFromFailed")


def test_cap_counts_what_everybody_holds(market: Market) -> None:
    cap = CAPS[1]
    market.do(ALICE, "deposit", A, market.wbtc, cap - 5)
    assert market.do(BOB, "deposit", B, market.wbtc, 6) == Revert("CapExceeded", (1, cap, cap + 1))
    assert market.do(BOB, "deposit", B, market.wbtc, 5) is None
    market.do(ALICE, "withdraw", A, market.wbtc, 1, key_address(ALICE))
    assert market.do(BOB, "deposit", B, market.wbtc, 1) is None


def test_collateral_that_the_parameters_do_not_name_has_no_cap_and_cash_needs_no_parameters(
    market: Market,
) -> None:
    token = market.new_token(18)
    assert market.do(0, "listCollateral", token, 0, 0, 18, chain=(token, 0, 0)) == Revert(
        "Unauthorized"
    )
    owner = market.state.owner
    assert market.do(owner, "listCollateral", token, 0, 0, 18, chain=(token, 0, 0)) == 3
    market.give(token, ALICE, 100)
    assert market.do(ALICE, "deposit", A, token, 1) == Revert("CapExceeded", (3, 0, 1))
    market.state.params = None
    vault = address(market.world.vault)
    word = int(market.rpc.call("eth_getStorageAt", vault, "0x0", "latest"), 16) >> 160 << 160
    market.rpc.call("anvil_setStorageAt", vault, "0x0", f"0x{word:064x}")
    assert market.do(ALICE, "deposit", A, token, 1) == Revert("RiskParamsMissing")
    assert market.do(ALICE, "deposit", A, market.cash, 5) is None
    assert market.do(ALICE, "withdraw", A, market.cash, 5, key_address(ALICE)) == 5


# ---------------------------------------------------------------------------------- withdraw


def test_withdraw_refusals_come_in_order(market: Market) -> None:
    vault, me = market.world.vault, key_address(ALICE)
    assert market.do(BOB, "withdraw", A, 0xDEAD, 0, 0) == Revert(
        "NotAccountOwner", (A, key_address(BOB))
    )
    for to in (0, vault):
        assert market.do(ALICE, "withdraw", A, 0xDEAD, 0, to) == Revert("InvalidRecipient", (to,))
    assert market.do(ALICE, "withdraw", A, 0xDEAD, 0, me) == Revert("UnknownToken", (0xDEAD,))
    for amount in (0, MAX):  # all of nothing is nothing
        for token in (market.cash, market.weth):
            assert market.do(ALICE, "withdraw", A, token, amount, me) == Revert("ZeroAmount")
    market.do(ALICE, "deposit", A, market.weth, 10)
    assert market.do(ALICE, "withdraw", A, market.weth, 11, me) == Revert(
        "InsufficientCollateral", (0, 10, 11)
    )
    assert market.do(ALICE, "withdraw", A, market.cash, 1, me) == Revert(
        "InsufficientLiquidity", (0, 10**12)
    )
    assert market.do(ALICE, "withdraw", A, market.cash, MAX - 1, me) == Revert(
        "InsufficientLiquidity", (0, MAX)
    )


def test_max_sends_whole_native_units_and_keeps_the_dust(market: Market) -> None:
    market.put(A, cash=7 * 10**12 + 123)
    assert market.do(ALICE, "withdraw", A, market.cash, MAX, key_address(BOB)) == 7
    assert market.read("accountState", A)[0] == 123
    assert market.do(ALICE, "withdraw", A, market.cash, MAX, key_address(BOB)) == Revert(
        "ZeroAmount"
    )


def test_loan_against_collateral_up_to_initial_margin(market: Market) -> None:
    market.do(BOB, "deposit", B, market.cash, 10**6 * USD)
    market.do(ALICE, "deposit", A, market.weth, 10 * WAD)
    me = key_address(ALICE)
    assert market.do(ALICE, "withdraw", A, market.cash, 10_000 * USD, me) == 10_000 * USD
    margin = market.compare_margin(A)
    assert margin.has_obligations and margin.equity >= margin.im > 0
    refused = market.do(ALICE, "withdraw", A, market.cash, 15_000 * USD, me)
    assert refused.name == "InsufficientMargin" and refused.args[0] == A
    assert market.do(ALICE, "withdraw", A, market.weth, 9 * WAD, me).name == "InsufficientMargin"
    # to the last native unit: binary search for the largest loan, then one more is refused
    low, high = 0, 15_000 * USD
    while high - low > 1:
        middle = (low + high) // 2
        market.state.accounts[A].cash_wad -= middle * 10**12
        fits = (m := market.model.margin(A)).equity >= m.im
        market.state.accounts[A].cash_wad += middle * 10**12
        low, high = (middle, high) if fits else (low, middle)
    assert market.do(ALICE, "withdraw", A, market.cash, low + 1, me).name == "InsufficientMargin"
    assert market.do(ALICE, "withdraw", A, market.cash, low, me) == low


def test_liquidity_excludes_pools_and_insurance(market: Market) -> None:
    market.state.insurance_wad = 50 * WAD
    market.state.underlyings[1].pnl_pool_wad = 30 * WAD
    market.put(A, cash=-20 * WAD, collateral={0: 100 * WAD})
    market.put(B, cash=100 * WAD)
    assert market.do(BOB, "withdraw", B, market.cash, 81 * USD, key_address(BOB)) == Revert(
        "InsufficientLiquidity", (80 * WAD, 81 * WAD)
    )
    assert market.do(BOB, "withdraw", B, market.cash, MAX, key_address(BOB)) == Revert(
        "InsufficientLiquidity", (80 * WAD, 100 * WAD)
    )
    assert market.do(BOB, "withdraw", B, market.cash, 80 * USD, key_address(BOB)) == 80 * USD


def test_account_without_obligations_needs_no_market(market: Market) -> None:
    market.do(ALICE, "deposit", A, market.weth, WAD)
    market.do(ALICE, "deposit", A, market.cash, USD)
    feed = market.state.underlyings[0].feed
    market.set_feed(feed, 0, mode=1)  # REVERTS
    assert market.do(ALICE, "withdraw", A, market.weth, MAX, key_address(ALICE)) == WAD
    assert market.do(ALICE, "withdraw", A, market.cash, MAX, key_address(ALICE)) == USD


def test_withdrawal_with_obligations_needs_a_fresh_market(market: Market) -> None:
    market.put(A, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    market.warp(3_601)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, key_address(ALICE)) == Revert(
        "OracleNotUsable", (0, 2)
    )
    market.set_price(0, 3_000)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, key_address(ALICE)) == 1


def test_realises_only_where_recorded_cash_is_short(market: Market) -> None:
    me = key_address(ALICE)
    market.state.underlyings[0].pnl_pool_wad = 500 * WAD
    market.put(A, cash=1_000 * WAD, linear=[(PERP, WAD // 10, 200 * WAD)], mirror=B)
    market.put(C, cash=10**5 * WAD)
    assert market.do(ALICE, "withdraw", A, market.cash, 400 * USD, me) == 400 * USD
    assert market.do(ALICE, "withdraw", A, market.cash, MAX, me) == 600 * USD
    assert market.read("pnlPool", 0) == [500 * WAD]
    # the credit of 300 + 200 is there to draw before a loan is taken
    assert market.do(ALICE, "withdraw", A, market.cash, 100 * USD, me) == 100 * USD
    assert market.read("pnlPool", 0) == [0]
    assert market.read("accountState", A)[0] == 400 * WAD
    refused = market.do(ALICE, "withdraw", A, market.cash, 401 * USD, me)
    assert refused.name == "InsufficientMargin"


# ------------------------------------------------------------------------- attacks on custody


def test_A1_donation_changes_nothing(market: Market) -> None:
    market.put(A, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    before = [market.read("margin", A), market.read("totals"), market.read("collateralInfo", 0)]
    vault = market.world.vault
    for token in (market.cash, market.weth):
        market.token(token, "transfer", vault, 10**6, sender=key_address(CAROL))
        balances = market.world.balances[token]
        balances[key_address(CAROL)] -= 10**6
        balances[vault] = balances.get(vault, 0) + 10**6
    after = [market.read("margin", A), market.read("totals"), market.read("collateralInfo", 0)]
    assert before == after
    market.compare_balances()
    # nor can anybody take it out
    market.do(CAROL, "deposit", C, market.weth, 5)
    assert market.do(CAROL, "withdraw", C, market.weth, 6, key_address(CAROL)) == Revert(
        "InsufficientCollateral", (0, 5, 6)
    )


def test_A3_many_small_withdrawals_take_exactly_what_is_debited(market: Market) -> None:
    market.put(A, cash=5 * 10**12 + 999_999_999_999)
    before = market.balance(market.cash, key_address(ALICE))
    for _ in range(5):
        assert market.do(ALICE, "withdraw", A, market.cash, 1, key_address(ALICE)) == 1
    assert market.balance(market.cash, key_address(ALICE)) == before + 5
    assert market.read("accountState", A)[0] == 999_999_999_999


def test_A7_deposit_and_withdraw_is_a_round_trip(market: Market) -> None:
    for token, amount in ((market.cash, 123_457), (market.weth, WAD + 1), (market.wbtc, 99)):
        before = market.balance(token, key_address(ALICE))
        market.do(ALICE, "deposit", A, token, amount)
        assert market.do(ALICE, "withdraw", A, token, MAX, key_address(ALICE)) == amount
        assert market.balance(token, key_address(ALICE)) == before


def test_D40_fee_on_transfer_is_refused(market: Market) -> None:
    market.token(market.weth, "setFeeBps", 100)
    data = market.chain_only(ALICE, "deposit", A, market.weth, 1_000)
    expected = market.errors.encode("TransferAmountMismatch", (market.weth, 1_000, 990))
    assert data == expected, market.error(data)
    market.token(market.cash, "setFeeBps", 100)
    for name, args in (("deposit", (A, market.cash, 1_000)), ("fundInsurance", (1_000,))):
        data = market.chain_only(ALICE, name, *args)
        assert data == market.errors.encode("TransferAmountMismatch", (market.cash, 1_000, 990)), (
            market.error(data)
        )
    market.compare_state()


def test_D40_token_without_return_value_works(market: Market) -> None:
    market.token(market.weth, "setFlags", NO_RETURN)
    assert market.do(ALICE, "deposit", A, market.weth, WAD) is None
    assert market.do(ALICE, "withdraw", A, market.weth, MAX, key_address(BOB)) == WAD


@pytest.mark.parametrize("flags", [RETURNS_FALSE, REVERTS])
def test_D40_failing_token_fails_alone(market: Market, flags: int) -> None:
    market.do(ALICE, "deposit", A, market.weth, WAD)
    market.do(ALICE, "deposit", A, market.wbtc, 10)
    market.token(market.weth, "setFlags", flags)
    deposit = market.chain_only(ALICE, "deposit", A, market.weth, 1)
    withdraw = market.chain_only(ALICE, "withdraw", A, market.weth, 1, key_address(ALICE))
    assert deposit == market.errors.encode("TransferFromFailed", ())
    assert withdraw == market.errors.encode("TransferFailed", ())
    market.compare_state()
    assert market.do(ALICE, "withdraw", A, market.wbtc, MAX, key_address(ALICE)) == 10


def test_D40_deny_listed_owner_can_send_elsewhere(market: Market) -> None:
    market.do(ALICE, "deposit", A, market.coin, 10**6)
    market.token(market.coin, "setFlags", DENY_LIST)
    market.token(market.coin, "setDenied", key_address(ALICE), True)
    data = market.chain_only(ALICE, "withdraw", A, market.coin, MAX, key_address(ALICE))
    assert data == market.errors.encode("TransferFailed", ())
    assert market.do(ALICE, "withdraw", A, market.coin, MAX, key_address(BOB)) == 10**6


def test_reentrancy_from_a_token_finds_every_door_shut(market: Market) -> None:
    hook = market.deploy("MockReenterer")
    mine = account(hook)
    market.give(market.coin, hook, 10**6)
    f = market.functions
    order = (mine, PERP, 1, 1, 1, 1, 0, 0, 0, 0)
    locked = [
        f["deposit"].encode(mine, market.coin, 1),
        f["withdraw"].encode(mine, market.coin, 1, hook),
        f["realizePnl"].encode(A),
        f["fundInsurance"].encode(1),
        f["refresh"].encode([0]),
        f["computeArrays"].encode([]),
        f["fill"].encode(order, b"", order, b"", 1, 1),
        f["cancel"].encode(order),
        f["liquidate"].encode(A, mine, WAD, 0),
        f["margin"].encode(A),
        f["explain"].encode(A),
        f["liquidationQuote"].encode(A),
        f["accountState"].encode(A),
        f["totals"].encode(),
        f["pnlPool"].encode(0),
        f["collateralInfo"].encode(0),
        f["orderStatus"].encode(bytes(32)),
    ]
    open_ = [f["snapshot"].encode(0), f["listedCounts"].encode(), f["cashToken"].encode()]
    g = functions(market.artifacts["MockReenterer"].abi)
    market._from(ALICE_ADDRESS, hook, g["arm"].encode(market.world.vault, locked + open_))
    deposit = f["deposit"].encode(mine, market.coin, 100)
    market._from(ALICE_ADDRESS, hook, g["execute"].encode(market.world.vault, deposit))
    market.token(market.coin, "setFlags", CALLBACK)  # calls who receives
    withdraw = f["withdraw"].encode(mine, market.coin, 40, hook)
    market._from(ALICE_ADDRESS, hook, g["execute"].encode(market.world.vault, withdraw))
    count = g["outcomeCount"].decode(
        market.rpc.eth_call(address(hook), g["outcomeCount"].encode())
    )[0]
    assert count == len(locked) + len(open_)
    refused = market.errors.encode("Reentrancy", ())
    for i in range(count):
        data = g["outcomes"].decode(market.rpc.eth_call(address(hook), g["outcomes"].encode(i)))[0]
        assert data == (refused if i < len(locked) else b"ok"), i
    assert market.read("accountState", mine)[1] == [0, 0, 60]


# --------------------------------------------------------------------------------- insurance


def test_anybody_may_fund_the_insurance(market: Market) -> None:
    assert market.do(CAROL, "fundInsurance", 0) == Revert("ZeroAmount")
    assert market.do(CAROL, "fundInsurance", 5 * USD) is None
    assert market.read("totals") == [5 * WAD, 5 * WAD]
    assert market.do(CAROL, "fundInsurance", 10**30) == Revert("CashOutOfRange", (0,))
    assert market.do(CAROL, "fundInsurance", 10**15) == Revert("TransferFromFailed")


# ------------------------------------------------------------------------------ realising PnL


def test_realising_is_neutral_and_limited_by_the_pool(market: Market) -> None:
    market.put(A, cash=0, linear=[(PERP, 2 * WAD, -5_000 * WAD)], mirror=B)
    market.state.accounts[B].cash_wad = 10**5 * WAD
    market.settle_totals()
    market.write_state()
    before = [market.compare_margin(x) for x in (A, B)]
    assert market.do(CAROL, "realizePnl", A) == 0  # the pool is empty: the credit stays a claim
    assert market.do(CAROL, "realizePnl", B) == -1_000 * WAD
    assert market.read("pnlPool", 0) == [1_000 * WAD]
    assert market.do(CAROL, "realizePnl", A) == 1_000 * WAD
    assert market.do(CAROL, "realizePnl", A) == 0
    after = [market.compare_margin(x) for x in (A, B)]
    assert [m.mark_equity for m in before] == [m.mark_equity for m in after]
    assert [m.equity for m in before] == [m.equity for m in after]
    assert [m.mm for m in before] == [m.mm for m in after]


def test_claims_are_drawn_and_vanish_while_iterating(market: Market) -> None:
    future = iid.encode(0, iid.FUTURE, market_day(market), 0)
    market.state.underlyings[0].pnl_pool_wad = 70 * WAD
    market.state.underlyings[1].pnl_pool_wad = 5 * WAD
    market.put(
        A,
        cash=10**5 * WAD,
        linear=[(PERP, 0, 50 * WAD), (BTC_PERP, 0, 8 * WAD), (future, 0, 30 * WAD)],
    )
    # entry 0 goes, the future takes its place and is drawn next, then BTC as far as it goes
    assert market.do(CAROL, "realizePnl", A) == 75 * WAD
    linear = market.read("accountState", A)[2]
    assert [(x >> 224, x & (2**128 - 1)) for x in linear] == [
        (future, 10 * WAD),
        (BTC_PERP, 3 * WAD),
    ]
    assert not market.compare_margin(A).has_obligations
    market.state.underlyings[0].pnl_pool_wad = 10 * WAD
    market.state.underlyings[1].pnl_pool_wad = 3 * WAD
    market.settle_totals()
    market.write_state()
    assert market.do(CAROL, "realizePnl", A) == 13 * WAD
    assert market.read("accountState", A)[2] == []


def test_opposite_realisations_that_cancel_are_stored(market: Market) -> None:
    market.put(
        A,
        cash=WAD,
        linear=[(PERP, WAD, -3_010 * WAD), (BTC_PERP, WAD, -59_990 * WAD)],
        mirror=B,
    )
    market.state.underlyings[1].pnl_pool_wad = 10 * WAD
    market.settle_totals()
    market.write_state()
    assert market.do(CAROL, "realizePnl", A) == 0
    assert market.read("pnlPool", 0) == [10 * WAD] and market.read("pnlPool", 1) == [0]


def market_day(market: Market) -> int:
    """The second listed expiry of ETH."""
    return max(key & 0xFFFF for key in market.state.buckets if key >> 16 == 0)


def test_parameters_of_the_fixture_are_valid(market: Market) -> None:
    assert market.state.params == params()
