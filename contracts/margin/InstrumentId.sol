// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Instrument identifiers
/// @notice uint32: underlying(4) | kind(2) | expiryDay(16) | strikeIndex(10), high to low. The identifier says all that
///         the margin check needs except the strike, so no slot is read to interpret a position.
library InstrumentId {
    uint256 internal constant PERP = 0;
    uint256 internal constant FUTURE = 1;
    uint256 internal constant CALL = 2;
    uint256 internal constant PUT = 3;

    /// @dev 08:00 UTC
    uint256 internal constant EXPIRY_TIME_OF_DAY = 8 hours;

    function underlying(uint256 id) internal pure returns (uint256) {
        return (id >> 28) & 0xf;
    }

    function kind(uint256 id) internal pure returns (uint256) {
        return (id >> 26) & 0x3;
    }

    function expiryDay(uint256 id) internal pure returns (uint256) {
        return (id >> 10) & 0xffff;
    }

    function strikeIndex(uint256 id) internal pure returns (uint256) {
        return id & 0x3ff;
    }

    /// @notice underlying << 16 | expiryDay: key of the (underlying, expiry) bucket
    function bucketKey(uint256 id) internal pure returns (uint256) {
        return ((id >> 28) << 16) | ((id >> 10) & 0xffff);
    }

    /// @notice underlying << 26 | expiryDay << 10 | strikeIndex: key of the strike, the same for call and put
    function strikeKey(uint256 id) internal pure returns (uint256) {
        return ((id >> 28) << 26) | (id & 0x3ffffff);
    }

    /// @notice unix time of the expiry
    function expiry(uint256 id) internal pure returns (uint256) {
        return expiryDay(id) * 1 days + EXPIRY_TIME_OF_DAY;
    }

    function encode(uint256 underlying_, uint256 kind_, uint256 expiryDay_, uint256 strikeIndex_)
        internal
        pure
        returns (uint256)
    {
        return (underlying_ << 28) | (kind_ << 26) | (expiryDay_ << 10) | strikeIndex_;
    }
}
