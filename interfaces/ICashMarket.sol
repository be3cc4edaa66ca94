// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Interest on cash
interface ICashMarket {
    /// @notice Indices (E15), totals and the insurance fund after an accrual.
    event InterestAccrued(
        uint40 time,
        uint64 supplyIndexE15,
        uint64 borrowIndexE15,
        uint128 supplyWad,
        uint128 borrowWad,
        int128 interestWad,
        uint128 insuranceWad
    );
    /// @notice Interest booked into the recorded cash of an account: > 0 earned, < 0 paid; and its new cash.
    event InterestBooked(uint168 indexed account, int256 interestWad, int256 cashWad);
}
