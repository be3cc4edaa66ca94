// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The 24-bit gauge of an underlying: open interest rounded up, and whether the stable price is apart
/// @notice Twin: risk/exact/market/gauge.py. Layout, high to low: exponent 7 | mantissa 16 | apart 1. The margin check reads open
///         interest for the size charge of initial margin only; a float that rounds up by less than 2⁻¹⁵ keeps IM ≥ MM and
///         leaves the word room for funding. The exact number stands in slot 3 of the underlying.
library Gauge {
    /// @notice Smallest representable number ≥ `openInterestWad` (< 2^104), and the flag
    function encode(uint256 openInterestWad, bool apart) internal pure returns (uint24 gauge) {
        uint256 exponent = 0;
        uint256 mantissa = openInterestWad;
        unchecked {
            // rounding up in steps is rounding up once: ⌈⌈x/256⌉/2⌉ = ⌈x/512⌉
            for (; mantissa > 0xffffff; exponent += 8) {
                mantissa = (mantissa + 0xff) >> 8;
            }
            for (; mantissa > 0xffff; ++exponent) {
                mantissa = (mantissa + 1) >> 1;
            }
        }
        // forge-lint: disable-next-line(unsafe-typecast) exponent <= 89 has 7 bits, the mantissa 16
        return uint24((exponent << 17) | (mantissa << 1) | (apart ? 1 : 0));
    }

    /// @notice Open interest rounded up, WAD
    function openInterest(uint256 gauge) internal pure returns (uint256) {
        unchecked {
            return ((gauge >> 1) & 0xffff) << (gauge >> 17);
        }
    }

    /// @notice Whether the stable price is out of its band around the index
    function stableApart(uint256 gauge) internal pure returns (bool) {
        return gauge & 1 != 0;
    }
}
