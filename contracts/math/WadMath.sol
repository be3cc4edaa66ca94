// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

/// @title Integer arithmetic with named rounding
/// @notice Twin: risk/exact/math/wad_math.py. Fixed point is WAD = 1e18. Every product keeps its full 512 bits, so the
///         result is the exact quotient rounded once, in the direction that the function name says:
///         Down = towards zero (unsigned), Up = away from zero (unsigned), Floor = towards −∞, Ceil = towards +∞.
/// @dev Errors, on both sides and in this order: `DivisionByZero` where the divisor is zero, `MulDivOverflow` where the
///      rounded result does not fit the return type.
library WadMath {
    /// @notice ⌊x/1e18⌋ towards −∞; exact for every x
    function floorWad(int256 x) internal pure returns (int256 q) {
        unchecked {
            q = x / int256(1e18);
            if (q * int256(1e18) > x) --q;
        }
    }

    uint256 internal constant WAD = 1e18;

    /// @notice the divisor is zero
    error DivisionByZero();
    /// @notice the rounded quotient does not fit the return type
    error MulDivOverflow();

    /// @notice ⌊x·y / d⌋
    function mulDivDown(uint256 x, uint256 y, uint256 d) internal pure returns (uint256 z) {
        unchecked {
            z = x * y;
            // The short way: x·y < 2**256, and d ≠ 0.
            assembly ("memory-safe") {
                if iszero(mul(or(iszero(x), eq(div(z, x), y)), d)) { z := not(0) }
            }
            if (z != type(uint256).max) return z / d;
        }
        return _mulDivLong(x, y, d);
    }

    /// @notice ⌈x·y / d⌉
    function mulDivUp(uint256 x, uint256 y, uint256 d) internal pure returns (uint256 z) {
        z = mulDivDown(x, y, d);
        if (mulmod(x, y, d) != 0) {
            if (z == type(uint256).max) revert MulDivOverflow();
            unchecked {
                ++z;
            }
        }
    }

    /// @notice ⌊x·y / WAD⌋
    function mulWadDown(uint256 x, uint256 y) internal pure returns (uint256) {
        return mulDivDown(x, y, WAD);
    }

    /// @notice ⌈x·y / WAD⌉
    function mulWadUp(uint256 x, uint256 y) internal pure returns (uint256) {
        return mulDivUp(x, y, WAD);
    }

    /// @notice ⌊x·WAD / y⌋
    function divWadDown(uint256 x, uint256 y) internal pure returns (uint256) {
        return mulDivDown(x, WAD, y);
    }

    /// @notice ⌈x·WAD / y⌉
    function divWadUp(uint256 x, uint256 y) internal pure returns (uint256) {
        return mulDivUp(x, WAD, y);
    }

    /// @notice ⌊x·y / d⌋ towards −∞
    function mulDivFloor(int256 x, uint256 y, uint256 d) internal pure returns (int256) {
        return x < 0 ? _negative(mulDivUp(abs(x), y, d)) : _positive(mulDivDown(abs(x), y, d));
    }

    /// @notice ⌈x·y / d⌉ towards +∞
    function mulDivCeil(int256 x, uint256 y, uint256 d) internal pure returns (int256) {
        return x < 0 ? _negative(mulDivDown(abs(x), y, d)) : _positive(mulDivUp(abs(x), y, d));
    }

    /// @notice |x|; exact for every int256, type(int256).min included
    function abs(int256 x) internal pure returns (uint256 z) {
        assembly ("memory-safe") {
            let s := sar(255, x)
            z := sub(xor(x, s), s)
        }
    }

    function min(uint256 x, uint256 y) internal pure returns (uint256) {
        return x < y ? x : y;
    }

    function max(uint256 x, uint256 y) internal pure returns (uint256) {
        return x > y ? x : y;
    }

    function min(int256 x, int256 y) internal pure returns (int256) {
        return x < y ? x : y;
    }

    function max(int256 x, int256 y) internal pure returns (int256) {
        return x > y ? x : y;
    }

    /// @notice x limited to [lo, hi]; the upper limit wins where lo > hi
    function clamp(uint256 x, uint256 lo, uint256 hi) internal pure returns (uint256) {
        return min(max(x, lo), hi);
    }

    /// @notice x limited to [lo, hi]; the upper limit wins where lo > hi
    function clamp(int256 x, int256 lo, int256 hi) internal pure returns (int256) {
        return min(max(x, lo), hi);
    }

    /// @notice ⌊√x⌋, exact for every uint256
    function sqrt(uint256 x) internal pure returns (uint256) {
        return FixedPointMathLib.sqrt(x);
    }

    /// @dev +magnitude as int256
    function _positive(uint256 magnitude) private pure returns (int256) {
        if (magnitude > uint256(type(int256).max)) revert MulDivOverflow();
        return int256(magnitude);
    }

    /// @dev −magnitude as int256; 2**255 is allowed
    function _negative(uint256 magnitude) private pure returns (int256) {
        if (magnitude > 1 << 255) revert MulDivOverflow();
        unchecked {
            return int256(0 - magnitude);
        }
    }

    /// @dev ⌊x·y / d⌋ where the short way does not serve
    function _mulDivLong(uint256 x, uint256 y, uint256 d) private pure returns (uint256) {
        if (d == 0) revert DivisionByZero();
        // High word of x·y (Remco Bloemen: product modulo 2**256 − 1 minus product modulo 2**256).
        uint256 high;
        assembly ("memory-safe") {
            let low := mul(x, y)
            let mm := mulmod(x, y, not(0))
            high := sub(sub(mm, low), lt(mm, low))
        }
        if (high >= d) revert MulDivOverflow();
        return FixedPointMathLib.fullMulDiv(x, y, d);
    }
}
