// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Charges beside the scan: short-option floor, basis, size
/// @notice Twin: risk/exact/margin/charges.py. Formulas: docs/margin.md §5. All charges WAD of the settlement currency, all
///         rounded up. Units, prices and rates WAD unless said.
/// @dev Ranges, so that nothing overflows: units < 2^104, price ≤ 1e25 < 2^84, |X_b| < 2^112, bps < 2^16.
library Charges {
    uint256 private constant WAD = 1e18;
    uint256 private constant BPS = 1e4;
    uint256 private constant BPS_TO_WAD = 1e14;
    uint256 private constant YEAR = 31_536_000;
    /// @dev δ is in units of 1/511
    uint256 private constant DELTA_ONE = 511;

    /// @notice ⌈⌈units·price⌉·bps⌉: minimum charge of `shortUnits` of short options
    function floorCharge(uint256 shortUnits, uint256 price, uint256 bps) internal pure returns (uint256) {
        unchecked {
            return _up(_up(shortUnits * price, WAD) * bps, BPS);
        }
    }

    /// @notice base + slope·T per year, rounded up, WAD; `tenor` in seconds, 0 from the expiry on
    function basisRate(uint256 baseBps, uint256 slopeBps, uint256 tenor) internal pure returns (uint256) {
        unchecked {
            return baseBps * BPS_TO_WAD + _up(slopeBps * BPS_TO_WAD * tenor, YEAR);
        }
    }

    /// @notice ⌈⌈|X_b|·S/511⌉·rate⌉: charge of one expiry whose exposure is X_b (units × 511)
    function basisCharge(int256 exposure, uint256 price, uint256 rate) internal pure returns (uint256) {
        unchecked {
            uint256 size = uint256(exposure < 0 ? -exposure : exposure);
            return _up(_up(size * price, DELTA_ONE * WAD) * rate, WAD);
        }
    }

    /// @notice ⌈A·max(0, measure/depth − 1)·λ⌉ with A = ⌈S·N⌉, `units` N; `measure` is N for MM and the open interest for IM
    function sizeCharge(uint256 units, uint256 price, uint256 measure, uint256 depth, uint256 bps)
        internal
        pure
        returns (uint256)
    {
        unchecked {
            return measure > depth ? _up(_up(units * price, WAD) * (measure - depth) * bps, depth * BPS) : 0;
        }
    }

    /// @dev ⌈x / d⌉, x + d < 2^256
    function _up(uint256 x, uint256 d) private pure returns (uint256) {
        unchecked {
            return (x + d - 1) / d;
        }
    }
}
