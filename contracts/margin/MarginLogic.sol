// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IAccounts} from "../../interfaces/IAccounts.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InitialMargin} from "./InitialMargin.sol";
import {MarginEngine} from "./MarginEngine.sol";

/// @title The margin engine for libraries that have no room for it
/// @notice Twin: risk/exact/margin/margin_logic.py. Accounts are read from storage, where the caller has stored them.
library MarginLogic {
    /// @dev bit of an entry of `deferred`: the check of a withdrawal
    uint256 internal constant WITHDRAWAL = 1 << 168;
    /// @dev bit of an entry of `deferred`: a liquidator during its callback. Its own check comes after the callback, at the
    ///      snapshots; nobody may liquidate it before. An action of the account in the callback turns the entry into a plain one.
    uint256 internal constant LIQUIDATING = 1 << 169;
    uint256 internal constant MAX_DEFERRED = 16;

    /// @notice Requires initial margin of `ids` (account, or account | WITHDRAWAL), in order: now, or at the outermost exit where
    ///         the action is part of a batch or runs in a callback.
    /// @dev Errors of `InitialMargin`; TooManyDeferred(16).
    function requireInitial(VaultStorage.State storage $, uint256[] memory ids) external {
        if (VaultLock.isDeferring($)) {
            for (uint256 i = 0; i < ids.length; ++i) {
                _defer($, ids[i]);
            }
        } else {
            _require($, ids);
        }
    }

    /// @notice At the outermost exit: everything that was deferred, and the list is empty again.
    function requireDeferred(VaultStorage.State storage $) external {
        uint256[] memory ids = $.deferred;
        if (ids.length == 0) return;
        delete $.deferred;
        uint256 n = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            if (ids[i] & LIQUIDATING == 0) ids[n++] = ids[i];
        }
        assembly ("memory-safe") {
            mstore(ids, n)
        }
        if (n == 0) return;
        _require($, ids);
    }

    /// @notice Puts the liquidator on the list for the time of its callback, see `LIQUIDATING`; TooManyDeferred(16).
    function markLiquidating(VaultStorage.State storage $, uint168 account) external {
        _defer($, account | LIQUIDATING);
    }

    /// @notice Margin of an account as it is stored; caches the scenario arrays that were missing.
    function compute(VaultStorage.State storage $, uint168 account) external returns (IMargin.Margin memory) {
        return MarginEngine.compute($, Params.wrap(0), AccountLib.load($, account, 0), true);
    }

    function _require(VaultStorage.State storage $, uint256[] memory ids) private {
        AccountLib.Account[] memory accounts = new AccountLib.Account[](ids.length);
        uint256 withdrawing = 0;
        for (uint256 i = 0; i < ids.length; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast) drops the bit WITHDRAWAL, which is above the account
            accounts[i] = AccountLib.load($, uint168(ids[i]), 0);
            if (ids[i] & WITHDRAWAL != 0) withdrawing |= 1 << i;
        }
        InitialMargin.requireInitial($, Params.wrap(0), accounts, withdrawing);
    }

    /// @dev An account stands on the list once; nothing takes it off but the outermost exit.
    function _defer(VaultStorage.State storage $, uint256 id) private {
        uint256 n = $.deferred.length;
        for (uint256 i = 0; i < n; ++i) {
            uint256 entry = $.deferred[i];
            // forge-lint: disable-next-line(unsafe-typecast) compares the accounts, without the bits above them
            if (uint168(entry) == uint168(id)) {
                if (id & LIQUIDATING == 0) $.deferred[i] = (entry | id) & ~LIQUIDATING;
                return;
            }
        }
        if (n == MAX_DEFERRED) revert IAccounts.TooManyDeferred(MAX_DEFERRED);
        $.deferred.push(id);
    }
}
