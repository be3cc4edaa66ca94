// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";

/// @notice What somebody may want to do while a market is in some state
enum Action {
    DEPOSIT, // give the vault something
    WITHDRAW, // take something out of an account that has obligations afterwards
    INCREASE, // anything else that needs initial margin
    REDUCE, // a fill that only shrinks: no sign flips, MM does not rise, E − MM does not fall
    LIQUIDATE,
    SETTLE // observe the settlement price of an expiry
}

/// @title The one table of what is allowed in which state of the oracle
/// @notice Twin: risk/exact/market/oracle_matrix.py. The same table stands in docs/market.md §2; a test compares the three cell
///         by cell. The state is that of an underlying that the account is exposed to (or whose expiry is observed).
///
///         | action    | FRESH | UNCERTAIN | STALE | HALTED |
///         |-----------|-------|-----------|-------|--------|
///         | DEPOSIT   |  yes  |    yes    |  yes  |  yes   |
///         | WITHDRAW  |  yes  |    no     |  no   |  no    |
///         | INCREASE  |  yes  |    no     |  no   |  no    |
///         | REDUCE    |  yes  |    yes    |  yes  |  yes   |
///         | LIQUIDATE |  yes  |    yes    |  yes  |  yes   |
///         | SETTLE    |  yes  |    yes    |  no   |  no    |
library OracleMatrix {
    /// @dev One hexadecimal digit an action, DEPOSIT lowest; in each, bit 0 FRESH … bit 3 HALTED.
    uint256 internal constant TABLE = 0x3ff11f;

    /// @notice Whether `a` is allowed while the market is in state `s`
    function allowed(Action a, IMarket.OracleState s) internal pure returns (bool) {
        return (TABLE >> (4 * uint256(a) + uint256(s))) & 1 != 0;
    }
}
