// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Operators, transfers between own sub-accounts, batches
/// @notice Rights are bits: TRADE 1 (fill, cancel), WITHDRAW 2 (withdraw, transfer out), MANAGE 4 (raise the nonce; a manager cannot
///         appoint operators: only the owner can). The owner has every right and cannot lose it.
interface IAccounts {
    event OperatorSet(uint168 indexed account, address indexed operator, uint256 rights);
    event Transferred(uint168 indexed from, uint168 indexed to, address indexed token, uint256 amount);
    event MinNonceRaised(uint168 indexed account, uint64 minNonce);

    error RightsInvalid(uint256 rights);
    error OwnersDiffer(uint168 from, uint168 to);
    error SameAccount(uint168 account);
    error NonceNotHigher(uint64 given, uint64 current);
    error TooManyDeferred(uint256 limit);
    error BatchEmpty();
}
