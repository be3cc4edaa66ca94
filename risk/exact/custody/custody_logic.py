"""Tokens in and out, PnL into cash.  Twin: ``contracts/custody/CustodyLogic.sol``.

Tokens of the model are honest: a transfer moves exactly its amount or, where the balance is short,
fails (``TransferFromFailed``, ``TransferFailed``); allowances are not modelled.  Always, to the
wei, cash held = Σ recorded cash + Σ pools + insurance + interest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from risk.exact.accounts import account_lib, rights
from risk.exact.custody import interest_lib, pnl_lib, withdraw_limits
from risk.exact.errors import ModelRevert
from risk.exact.margin import groups, margin_logic
from risk.exact.market.feed_reader import load_params
from risk.exact.math.wad_math import UINT256_MAX
from risk.exact.state import Account, State, World

_UINT128_MAX: Final = 2**128 - 1


def deposit(
    state: State, world: World, sender: int, account_id: int, token: int, amount: int
) -> None:
    """``IVault.deposit``.

    Order of refusals: NotAccountOwner, UnknownToken, ZeroAmount; collateral: RiskParamsMissing,
    CapExceeded, MixedGroups; cash: CashOutOfRange; TransferFromFailed.
    """
    rights.require_owner(account_id, sender)
    j = token_index(state, token)
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    if j is None:
        interest_lib.accrue(state, world)
    a = account_lib.load(state, account_id)
    if j is None:
        a.cash_wad += _take_cash(state, account_id, amount)
    else:
        p = load_params(state)
        cap = p.collaterals[j].cap if j < len(p.collaterals) else 0
        total = min(state.collaterals[j].total_held + amount, UINT256_MAX)
        if total > cap:
            raise ModelRevert("CapExceeded", (j, cap, total))
        state.collaterals[j].total_held = total
        if a.collateral[j] == 0 and account_lib.has_obligations(a):
            groups.require_collateral(p, account_id, a, j)
        a.collateral[j] += amount
    if j is None:
        account_lib.store(state, account_id, a)
    else:  # a deposit of collateral leaves recorded cash alone
        old = state.accounts.get(account_id, Account())
        state.accounts[account_id] = replace(old, collateral=a.collateral)
    _transfer(world, token, sender, world.vault, amount, "TransferFromFailed")


def fund_insurance(state: State, world: World, sender: int, amount: int) -> None:
    """``IVault.fundInsurance``.  ZeroAmount, CashOutOfRange(0), TransferFromFailed."""
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    state.insurance_wad += _take_cash(state, 0, amount)
    _transfer(world, state.cash_token, sender, world.vault, amount, "TransferFromFailed")


def withdraw(
    state: State, world: World, sender: int, account_id: int, token: int, amount: int, to: int
) -> int:
    """``IVault.withdraw``; returns the native units sent.

    An amount of cash above the recorded cash first realises the account's PnL; UINT256_MAX never
    does.  Order of refusals: NotAccountOwner, InvalidRecipient, UnknownToken, ZeroAmount; cash:
    InsufficientLiquidity; collateral: InsufficientCollateral; WithdrawLimitExceeded;
    CashOutOfRange; those of ``initial_margin``; TransferFailed.
    """
    rights.require_right(state, account_id, sender, rights.WITHDRAW)
    if to in (0, world.vault):
        raise ModelRevert("InvalidRecipient", (to,))
    j = token_index(state, token)
    interest_lib.accrue(state, world)
    a = account_lib.load(state, account_id)
    if j is None:
        withdrawn = _withdraw_cash(state, world, account_id, a, amount)
    else:
        withdrawn = _withdraw_collateral(state, world, a, j, amount)
    account_lib.store(state, account_id, a)
    if account_lib.has_obligations(a):
        margin_logic.require_initial(state, world, [account_id | margin_logic.WITHDRAWAL])
    _transfer(world, token, world.vault, to, withdrawn, "TransferFailed")
    return withdrawn


def realize_pnl(state: State, world: World, account_id: int) -> int:
    """``IVault.realizePnl``: anyone, any account, no oracle; returns the signed change of cash."""
    interest_lib.accrue(state, world)
    a = account_lib.load(state, account_id)
    realized = pnl_lib.realize_all(state, account_id, a)
    account_lib.store(state, account_id, a)
    return realized


def liquidity(state: State) -> int:
    """Cash that may leave: held, minus what the pools and the insurance fund own; never
    negative.
    """
    owned = state.insurance_wad + sum(u.pnl_pool_wad for u in state.underlyings)
    return max(0, state.cash_held_wad - owned)


def token_index(state: State, token: int) -> int | None:
    """Collateral index of ``token``, None for cash; ``UnknownToken``."""
    if token == state.cash_token:
        return None
    for j, c in enumerate(state.collaterals):
        if c.token == token:
            return j
    raise ModelRevert("UnknownToken", (token,))


def _take_cash(state: State, account_id: int, amount: int) -> int:
    """Book ``amount`` native units as held; ``CashOutOfRange`` beyond uint128.  Returns WAD."""
    amount_wad = amount * cash_scale(state)
    if state.cash_held_wad + amount_wad > _UINT128_MAX:
        raise ModelRevert("CashOutOfRange", (account_id,))
    state.cash_held_wad += amount_wad
    return amount_wad


def _withdraw_cash(state: State, world: World, account_id: int, a: Account, amount: int) -> int:
    scale = cash_scale(state)
    if amount == UINT256_MAX:
        amount = max(0, a.cash_wad) // scale
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    amount_wad = min(amount * scale, UINT256_MAX)
    if amount_wad > a.cash_wad:
        pnl_lib.realize_all(state, account_id, a)
    available = liquidity(state)
    if amount_wad > available:
        raise ModelRevert("InsufficientLiquidity", (available, amount_wad))
    withdraw_limits.take_cash(state, world, amount_wad)
    state.cash_held_wad -= amount_wad
    a.cash_wad -= amount_wad
    return amount


def _withdraw_collateral(state: State, world: World, a: Account, j: int, amount: int) -> int:
    balance = a.collateral[j]
    if amount == UINT256_MAX:
        amount = balance
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    if amount > balance:
        raise ModelRevert("InsufficientCollateral", (j, balance, amount))
    withdraw_limits.take_collateral(state, world, j, amount)
    a.collateral[j] -= amount
    state.collaterals[j].total_held -= amount
    return amount


def _transfer(world: World, token: int, source: int, target: int, amount: int, error: str) -> None:
    """Move ``amount`` native units, or raise ``error`` where the balance is short."""
    balances = world.balances.setdefault(token, {})
    if balances.get(source, 0) < amount:
        raise ModelRevert(error)
    balances[source] = balances.get(source, 0) - amount
    balances[target] = balances.get(target, 0) + amount


def cash_scale(state: State) -> int:
    """WAD per native unit of cash."""
    scale: int = 10 ** (18 - state.cash_decimals)
    return scale
