"""Two signed orders meet; prices move; somebody is liquidated."""

import brownie
import pytest
from conftest import CALL, PERP, PUT, USDC, WAD, account_of


@pytest.fixture
def funded(system, traders):
    """Alice, Bob and the liquidator with 20 000, 200 000 and 500 000 in cash."""
    for trader, amount in zip(traders, (20_000, 200_000, 500_000), strict=True):
        system.deposit(trader, system.cash, amount * USDC)
    return traders


def test_perp_trade_is_zero_sum(system, funded):
    alice, bob, _ = funded
    perp = system.instrument(0, PERP)
    tx = system.trade(alice, bob, perp, 10 * WAD, 3_000 * WAD)
    filled = tx.events["OrderFilled"]
    assert (filled["instrument"], filled["sizeWad"], filled["priceWad"]) == (
        perp,
        10 * WAD,
        3_000 * WAD,
    )
    assert filled["buyer"] == account_of(alice) and filled["seller"] == account_of(bob)
    assert system.positions(account_of(alice)) == {perp: 10 * WAD}
    assert system.positions(account_of(bob)) == {perp: -10 * WAD}
    assert system.vault.snapshot(0)[3] == 10 * WAD  # open interest
    assert system.margin(account_of(alice))["mm"] >= 4_500 * WAD  # 15 % of 30 000 at least


def test_partial_fill_cancel_and_overfill(system, funded):
    alice, bob, relayer = funded
    call = system.instrument(0, CALL, expiry=1, strike=6)
    buy, buy_signature = system.order(alice, call, 5 * WAD, 300 * WAD)
    sell, sell_signature = system.order(bob, call, -5 * WAD, 200 * WAD)
    fill = (buy, buy_signature, sell, sell_signature)
    system.vault.fill(*fill, 2 * WAD, 250 * WAD, {"from": relayer})
    assert tuple(system.vault.orderStatus(system.vault.hashOrder(buy))) == (2 * WAD, False)
    with brownie.reverts(revert_pattern="OrderOverfilled: .*"):
        system.vault.fill(*fill, 4 * WAD, 250 * WAD, {"from": relayer})
    with brownie.reverts(revert_pattern="PriceOutOfBounds: .*"):
        system.vault.fill(*fill, 1 * WAD, 301 * WAD, {"from": relayer})
    system.vault.cancel(sell, {"from": bob})
    with brownie.reverts(revert_pattern="OrderIsCancelled: .*"):
        system.vault.fill(*fill, 1 * WAD, 250 * WAD, {"from": relayer})
    assert system.positions(account_of(alice)) == {call: 2 * WAD}


def test_forged_signature_is_refused(system, funded):
    alice, bob, relayer = funded
    perp = system.instrument(1, PERP)
    buy, _ = system.order(alice, perp, WAD, 100_000 * WAD)
    sell, sell_signature = system.order(bob, perp, -WAD, 100_000 * WAD)
    with brownie.reverts(revert_pattern="InvalidSignature: .*"):
        system.vault.fill(
            buy, sell_signature, sell, sell_signature, WAD, 100_000 * WAD, {"from": relayer}
        )


def test_explanation_adds_up(system, funded):
    alice, bob, _ = funded
    system.trade(alice, bob, system.instrument(0, PERP), 2 * WAD, 3_000 * WAD)
    system.trade(bob, alice, system.instrument(0, PUT, expiry=1, strike=4), 3 * WAD, 150 * WAD)
    system.trade(alice, bob, system.instrument(0, CALL, expiry=2, strike=7), 4 * WAD, 180 * WAD)
    margin, rows, to_im, to_mm, _ = system.vault.explain(account_of(bob))
    assert tuple(margin) == tuple(system.vault.margin(account_of(bob)))
    assert len(rows) == 3
    assert sum(row[3] for row in rows) == margin[2]  # Euler contributions sum to the scan
    assert (to_im, to_mm) == (margin[1] - margin[8], margin[1] - margin[7])


def test_slice_liquidation(system, funded):
    alice, bob, liquidator = funded
    perp = system.instrument(0, PERP)
    system.trade(alice, bob, perp, 30 * WAD, 3_000 * WAD)
    victim, taker = account_of(alice), account_of(liquidator)
    with brownie.reverts(revert_pattern="AccountHealthy: .*"):
        system.vault.liquidate(victim, taker, WAD, 2**255 - 1, {"from": liquidator})
    system.move_price(0, 2_600 * WAD)
    before = system.margin(victim)
    assert 0 < before["healthFactor"] < WAD
    fraction, _, price = system.vault.liquidationQuote(victim)
    assert 0 < fraction < WAD
    tx = system.vault.liquidate(victim, taker, WAD, 2**255 - 1, {"from": liquidator})
    event = tx.events["Liquidated"]
    assert event["fractionWad"] == fraction
    assert event["paymentWad"] == -(-price * fraction // WAD)
    after = system.margin(victim)
    assert 109 * WAD // 100 < after["healthFactor"] <= 11 * WAD // 10 + 10**6  # t = 1.1
    mine, rest = system.positions(taker)[perp], system.positions(victim)[perp]
    assert mine + rest == 30 * WAD and mine == 30 * WAD * fraction // WAD
    assert system.vault.snapshot(0)[3] == 30 * WAD
