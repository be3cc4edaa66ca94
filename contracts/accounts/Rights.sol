// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Who may act for an account
/// @notice Twin: risk/exact/accounts/rights.py. The owner may do everything; an operator what its bits say, for one account, until
///         the owner takes them away.
library Rights {
    uint256 internal constant TRADE = 1;
    uint256 internal constant WITHDRAW = 2;
    uint256 internal constant MANAGE = 4;
    uint256 internal constant ALL = 7;

    /// @notice Reverts `NotAccountOwner(account, caller)` unless the caller owns `account` or holds `right` over it.
    function requireRight(VaultStorage.State storage $, uint168 account, uint256 right) internal view {
        if (msg.sender == address(uint160(account >> 8))) return;
        if ($.operators[account][msg.sender] & right == 0) revert ICustody.NotAccountOwner(account, msg.sender);
    }

    /// @notice Reverts `NotAccountOwner(account, caller)` unless the caller owns `account`.
    function requireOwner(uint168 account) internal view {
        if (msg.sender != address(uint160(account >> 8))) revert ICustody.NotAccountOwner(account, msg.sender);
    }
}
