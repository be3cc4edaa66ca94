// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../interfaces/ICustody.sol";
import {VaultStorage} from "./VaultStorage.sol";

/// @title The lock of the vault, and when margin checks may wait
/// @notice Twin: the states are no part of the model; `deferred` is. OPEN → ENTERED for one action. A batch, or the callback of a
///         flash liquidation, is DEFERRING between its actions: each enters (ENTERED_DEFERRING), puts the accounts whose initial
///         margin it owes on `deferred`, and the outermost exit asks for all of them (AccountLogic.settleDeferred).
library VaultLock {
    uint8 internal constant OPEN = 1;
    uint8 internal constant ENTERED = 2;
    uint8 internal constant DEFERRING = 3;
    uint8 internal constant ENTERED_DEFERRING = 4;

    /// @notice Takes the lock; `Reentrancy` where an action is under way. Returns what `exit` restores.
    function enter(VaultStorage.State storage $) internal returns (uint8 before) {
        before = $.lock;
        if (before == OPEN) $.lock = ENTERED;
        else if (before == DEFERRING) $.lock = ENTERED_DEFERRING;
        else revert ICustody.Reentrancy();
    }

    function exit(VaultStorage.State storage $, uint8 before) internal {
        $.lock = before;
    }

    /// @notice Views of the ledger answer only while nothing is under way.
    function requireOpen(VaultStorage.State storage $) internal view {
        if ($.lock != OPEN) revert ICustody.Reentrancy();
    }

    /// @notice Whether an action under way must leave its margin checks to the outermost exit
    function isDeferring(VaultStorage.State storage $) internal view returns (bool) {
        return $.lock == ENTERED_DEFERRING;
    }
}
