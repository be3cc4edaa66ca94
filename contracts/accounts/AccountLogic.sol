// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";
import {IAccounts} from "../../interfaces/IAccounts.sol";
import {ICustody} from "../../interfaces/ICustody.sol";
import {CustodyLogic} from "../custody/CustodyLogic.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {Groups} from "../margin/Groups.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {AccountLib} from "./AccountLib.sol";
import {Rights} from "./Rights.sol";

/// @title Operators, transfers between own sub-accounts, batches
/// @notice Twin: risk/exact/accounts/account_logic.py. External library, called by delegatecall under the vault's lock (`batch` takes
///         it itself).
library AccountLogic {
    using AccountLib for AccountLib.Account;

    /* ──────────────────────────── operators ───────────────────────── */

    /// @notice See IVaultExtension.setOperator. NotAccountOwner, RightsInvalid. An operator cannot appoint or revoke anybody.
    function setOperator(VaultStorage.State storage $, uint168 account, address operator, uint256 rights) external {
        Rights.requireOwner(account);
        if (rights > Rights.ALL) revert IAccounts.RightsInvalid(rights);
        $.operators[account][operator] = rights;
        emit IAccounts.OperatorSet(account, operator, rights);
    }

    /// @notice See IVaultExtension.raiseMinNonce. NotAccountOwner, NonceNotHigher.
    function raiseMinNonce(VaultStorage.State storage $, uint168 account, uint64 minNonce) external {
        Rights.requireRight($, account, Rights.MANAGE);
        // forge-lint: disable-next-line(unsafe-typecast) only this function writes it, a uint64
        uint64 current = uint64($.minNonce[account]);
        if (minNonce <= current) revert IAccounts.NonceNotHigher(minNonce, current);
        $.minNonce[account] = minNonce;
        emit IAccounts.MinNonceRaised(account, minNonce);
    }

    /* ──────────────────────────── transfer ────────────────────────── */

    /// @notice See IVaultExtension.transfer. What the giver is left with answers to the rules of a withdrawal.
    /// @dev Order of refusals: NotAccountOwner (of `from`), OwnersDiffer, SameAccount, UnknownToken, ZeroAmount; collateral:
    ///      InsufficientCollateral, MixedGroups (of `to`); CashOutOfRange (from, to); those of `InitialMargin` of `from`.
    function transfer(VaultStorage.State storage $, uint168 from, uint168 to, address token, uint256 amount)
        external
        returns (uint256 moved)
    {
        Rights.requireRight($, from, Rights.WITHDRAW);
        if (from >> 8 != to >> 8) revert IAccounts.OwnersDiffer(from, to);
        if (from == to) revert IAccounts.SameAccount(from);
        uint256 index = $.tokenIndex[token];
        if (index == 0) revert ICustody.UnknownToken(token);
        InterestLib.accrue($);
        AccountLib.Account memory a = AccountLib.load($, from, 0);
        AccountLib.Account memory b = AccountLib.load($, to, 0);
        moved = index == CustodyLogic.CASH ? _moveCash($, a, b, amount) : _moveCollateral($, a, b, index - 1, amount);
        AccountLib.store($, a);
        AccountLib.store($, b);
        emit IAccounts.Transferred(from, to, token, moved);
        if (a.hasObligations()) {
            uint256[] memory ids = new uint256[](1);
            ids[0] = from | MarginLogic.WITHDRAWAL;
            MarginLogic.requireInitial($, ids);
        }
    }

    /// @dev The giver may end with a loan, like in a withdrawal; no token moves, so no liquidity is asked.
    function _moveCash(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        uint256 amount
    ) private returns (uint256) {
        uint256 scale = CustodyLogic.cashScale($);
        if (amount == type(uint256).max) amount = a.cashWad > 0 ? uint256(a.cashWad) / scale : 0;
        if (amount == 0) revert ICustody.ZeroAmount();
        uint256 amountWad = FixedPointMathLib.saturatingMul(amount, scale);
        // beyond int128 `store` refuses, and nothing here can wrap
        if (amountWad > uint128(type(int128).max)) revert ICustody.CashOutOfRange(a.id);
        // forge-lint: disable-start(unsafe-typecast) checked in the line above
        a.cashWad -= int256(amountWad);
        b.cashWad += int256(amountWad);
        // forge-lint: disable-end(unsafe-typecast)
        emit ICustody.CashChanged(a.id, a.cashWad);
        emit ICustody.CashChanged(b.id, b.cashWad);
        return amount;
    }

    /// @dev MixedGroups where it brings a taker with obligations a second group.
    function _moveCollateral(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        uint256 j,
        uint256 amount
    ) private returns (uint256) {
        uint256 balance = a.collateral[j];
        if (amount == type(uint256).max) amount = balance;
        if (amount == 0) revert ICustody.ZeroAmount();
        // forge-lint: disable-start(unsafe-typecast) j < 16 comes from the token table
        if (amount > balance) revert ICustody.InsufficientCollateral(uint8(j), balance, amount);
        if (b.collateral[j] == 0 && b.hasObligations()) Groups.requireCollateral(RiskParamsBlob.load($), b, j);
        a.setCollateral(j, balance - amount);
        b.setCollateral(j, b.collateral[j] + amount);
        emit ICustody.CollateralChanged(a.id, uint8(j), a.collateral[j]);
        emit ICustody.CollateralChanged(b.id, uint8(j), b.collateral[j]);
        // forge-lint: disable-end(unsafe-typecast)
        return amount;
    }

    /* ────────────────────────────── batch ─────────────────────────── */

    /// @notice See IVaultExtension.batch. Each call runs as the vault for the caller; what they owe in initial margin checks is
    ///         asked once, at the outermost exit, and nothing inside can take an account off that list.
    /// @dev BatchEmpty; Reentrancy; the error of the first call that fails; TooManyDeferred(16); then those of `InitialMargin`.
    ///      Between the calls no foreign code runs with the lock DEFERRING, except inside a callback, which is meant to act.
    function batch(VaultStorage.State storage $, bytes[] calldata calls) external returns (bytes[] memory results) {
        uint8 before = $.lock;
        if (before != VaultLock.OPEN && before != VaultLock.DEFERRING) revert ICustody.Reentrancy();
        if (calls.length == 0) revert IAccounts.BatchEmpty();
        $.lock = VaultLock.DEFERRING;
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, bytes memory answer) = address(this).delegatecall(calls[i]);
            if (!done) {
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
            results[i] = answer;
        }
        if (before == VaultLock.OPEN) {
            $.lock = VaultLock.ENTERED;
            MarginLogic.requireDeferred($);
        }
        $.lock = before;
    }
}
