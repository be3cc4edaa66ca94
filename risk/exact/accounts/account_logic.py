"""Operators, transfers between own sub-accounts, batches.  Twin:
``contracts/accounts/AccountLogic.sol`` (``batch`` is ``Vault.batch``).
"""

from __future__ import annotations

from risk.exact.accounts import account_lib, rights
from risk.exact.custody import custody_logic, interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import groups, margin_logic
from risk.exact.market.feed_reader import load_params
from risk.exact.math.wad_math import UINT256_MAX
from risk.exact.state import Account, State, World


def set_operator(state: State, sender: int, account_id: int, operator: int, bits: int) -> None:
    """``IVaultExtension.setOperator``: NotAccountOwner, RightsInvalid."""
    rights.require_owner(account_id, sender)
    if bits > rights.ALL:
        raise ModelRevert("RightsInvalid", (bits,))
    state.operators[account_id, operator] = bits


def raise_min_nonce(state: State, sender: int, account_id: int, min_nonce: int) -> None:
    """``IVaultExtension.raiseMinNonce``: NotAccountOwner, NonceNotHigher."""
    rights.require_right(state, account_id, sender, rights.MANAGE)
    current = state.min_nonce.get(account_id, 0)
    if min_nonce <= current:
        raise ModelRevert("NonceNotHigher", (min_nonce, current))
    state.min_nonce[account_id] = min_nonce


def transfer(
    state: State, world: World, sender: int, source: int, target: int, token: int, amount: int
) -> int:
    """``IVaultExtension.transfer``; returns the native units moved.

    Order of refusals: NotAccountOwner (of ``source``), OwnersDiffer, SameAccount, UnknownToken,
    ZeroAmount; collateral: InsufficientCollateral, MixedGroups (of ``target``); CashOutOfRange;
    those of ``initial_margin`` of ``source``, which answers to the rules of a withdrawal.
    """
    rights.require_right(state, source, sender, rights.WITHDRAW)
    if source >> 8 != target >> 8:
        raise ModelRevert("OwnersDiffer", (source, target))
    if source == target:
        raise ModelRevert("SameAccount", (source,))
    j = custody_logic.token_index(state, token)
    interest_lib.accrue(state, world)
    a, b = account_lib.load(state, source), account_lib.load(state, target)
    if j is None:
        moved = _move_cash(state, source, a, b, amount)
    else:
        moved = _move_collateral(state, target, a, b, j, amount)
    account_lib.store(state, source, a)
    account_lib.store(state, target, b)
    if account_lib.has_obligations(a):
        margin_logic.require_initial(state, world, [source | margin_logic.WITHDRAWAL])
    return moved


def _move_cash(state: State, source: int, a: Account, b: Account, amount: int) -> int:
    scale = custody_logic.cash_scale(state)
    if amount == UINT256_MAX:
        amount = max(0, a.cash_wad) // scale
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    amount_wad = amount * scale
    if amount_wad > account_lib.INT128_MAX:
        raise ModelRevert("CashOutOfRange", (source,))
    a.cash_wad -= amount_wad
    b.cash_wad += amount_wad
    return amount


def _move_collateral(state: State, target: int, a: Account, b: Account, j: int, amount: int) -> int:
    balance = a.collateral[j]
    if amount == UINT256_MAX:
        amount = balance
    if amount == 0:
        raise ModelRevert("ZeroAmount")
    if amount > balance:
        raise ModelRevert("InsufficientCollateral", (j, balance, amount))
    if b.collateral[j] == 0 and account_lib.has_obligations(b):
        groups.require_collateral(load_params(state), target, b, j)
    a.collateral[j] -= amount
    b.collateral[j] += amount
    return amount
