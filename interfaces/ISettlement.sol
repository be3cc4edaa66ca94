// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Settlement of expiries from a time-weighted window, and the wind-down
/// @dev Rules, bounds and the matrix of what is possible when: docs/settlement.md.
interface ISettlement {
    /// @notice One observation of the index for an expiry.
    /// @param priceWad observed
    /// @param observations so far, this one included
    /// @param time of this observation
    /// @param weight Σ of the weights so far, seconds
    /// @param meanWad weighted mean so far
    event Observed(
        uint8 indexed underlying,
        uint16 indexed expiryDay,
        uint88 priceWad,
        uint16 observations,
        uint32 time,
        uint24 weight,
        uint88 meanWad
    );
    /// @notice The settlement price of an expiry, for good.
    event SettlementRecorded(uint8 indexed underlying, uint16 indexed expiryDay, uint88 priceWad);
    /// @notice The price at which every position in `instrument` is closed in the wind-down, for good.
    /// @param priceWad of one unit; of a perp the index at which everything of its underlying is valued, and one unit of it is
    ///        closed at priceWad − fundingE12·10^6
    /// @param fundingE12 of a perp: its cumulative funding at that moment; else 0
    /// @param time of a perp: time of the snapshot that the index comes from; else 0
    event WindDownPriceRecorded(uint32 indexed instrument, uint88 priceWad, int80 fundingE12, uint32 time);
    /// @notice The account's whole position in `instrument` is closed. A future or option is gone (no PositionChanged says so;
    ///         the last entry of its list takes its place), and PositionChanged of the perp of its underlying follows.
    /// @param sizeWad that was closed; 0 for a claim of a future, which moves to the perp
    /// @param valueWad what it adds to the quote of the perp: ⌊size·price⌋, of a future with its own quote
    event PositionSettled(uint168 indexed account, uint32 indexed instrument, int96 sizeWad, int256 valueWad);
    event WindDownStarted(uint40 time);

    error ObservationOutsideWindow(uint8 underlying, uint16 expiryDay, uint256 timestamp);
    error ObservationTooSoon(uint8 underlying, uint16 expiryDay, uint256 next);
    error AlreadySettled(uint8 underlying, uint16 expiryDay);
    /// @notice The account holds a position that `settle` closes: settle it before anything that needs initial margin.
    error SettleFirst(uint168 account, uint32 instrument);
    /// @notice Positions only shrink in a wind-down, and it starts once.
    error WindingDown();
}
