"""Cash and collateral in and out, as a Brownie user does it."""

import brownie
from brownie import ZERO_ADDRESS, accounts
from conftest import USDC, WAD, account_of


def test_cash_round_trip(system, traders):
    alice = traders[0]
    account = system.deposit(alice, system.cash, 1_000 * USDC)
    assert system.vault.accountState(account)[0] == 1_000 * WAD
    tx = system.vault.withdraw(account, system.cash, 2**256 - 1, alice, {"from": alice})
    assert tx.return_value == 1_000 * USDC
    assert tx.events["CashWithdrawn"]["amount"] == 1_000 * USDC
    assert system.cash.balanceOf(alice) == 1_000 * USDC
    assert tuple(system.vault.totals()) == (0, 0)


def test_collateral_of_three_kinds(system, traders):
    alice = traders[0]
    amounts = [3 * 10**18, 2 * 10**8, 500 * 10**18]  # WETH, WBTC, LINK
    for token, amount in zip(system.collaterals, amounts, strict=True):
        account = system.deposit(alice, token, amount)
    cash, balances, linear, options = system.vault.accountState(account)
    assert (cash, list(balances), list(linear), list(options)) == (0, amounts, [], [])
    margin = system.margin(account)
    # 3 ETH at 3000, 2 BTC at 100000, 500 LINK at 20; haircuts 8, 8 and 15 %
    assert margin["markEquity"] == 219_000 * WAD
    assert margin["equity"] == (8_280 + 184_000 + 8_500) * WAD
    assert not margin["hasObligations"]


def test_borrowing_against_collateral_stops_at_initial_margin(system, traders):
    lender, alice = traders[:2]
    system.deposit(lender, system.cash, 100_000 * USDC)
    account = system.deposit(alice, system.collaterals[0], 10 * 10**18)
    system.vault.withdraw(account, system.cash, 15_000 * USDC, alice, {"from": alice})
    assert system.vault.accountState(account)[0] == -15_000 * WAD
    margin = system.margin(account)
    assert margin["hasObligations"] and margin["equity"] > margin["im"] > margin["mm"] > 0
    with brownie.reverts(revert_pattern="InsufficientMargin: .*"):
        system.vault.withdraw(account, system.cash, 15_000 * USDC, alice, {"from": alice})


def test_refusals_name_their_reason(system, traders):
    alice, bob = traders[:2]
    account = system.deposit(alice, system.cash, 10 * USDC)
    with brownie.reverts(revert_pattern="NotAccountOwner: .*"):
        system.vault.withdraw(account, system.cash, 1, bob, {"from": bob})
    with brownie.reverts(revert_pattern=f"UnknownToken: {ZERO_ADDRESS}"):
        system.vault.deposit(account_of(alice), ZERO_ADDRESS, 1, {"from": alice})
    with brownie.reverts("ZeroAmount: "):
        system.vault.deposit(account_of(alice), system.cash, 0, {"from": alice})
    with brownie.reverts("Unauthorized: "):
        system.vault.setSigners([bob], 1, {"from": bob})
    assert accounts[0] == system.vault.owner()
