// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";

/// @title Exponential, logarithm and square root of WAD numbers
/// @notice Twin: risk/exact/math/exp_ln.py, bit for bit. The algorithms are Solady's (Remco Bloemen's rational
///         approximations, github.com/Vectorized/solady, src/utils/FixedPointMathLib.sol, v0.1.26).
/// @dev Stated error bounds, result − exact (docs/math.md): lnWad in [−1.1, 0.1] units, expWad in
///      [−1.1 units − 2e−20·exact, 0.1 units + 2e−20·exact]; sqrtWad in (−1, 0] units.
library ExpLn {
    /// @notice e**x·WAD does not fit an int256: x ≥ 135305999368893231589
    error ExpOverflow();
    /// @notice the argument of the logarithm is ≤ 0
    error LnWadUndefined();

    /// @notice e**x, rounded down after the approximation; x and the result WAD
    /// @dev Zero for x ≤ −41446531673892822313 (the result would be below half a unit). Monotone.
    function expWad(int256 x) internal pure returns (int256) {
        return FixedPointMathLib.expWad(x);
    }

    /// @notice ln(x), rounded down after the approximation; x > 0 and the result WAD
    /// @dev |result| ≤ 135305999368893231589 for every int256 > 0; at least −41446531673892822313. Monotone.
    function lnWad(int256 x) internal pure returns (int256) {
        return FixedPointMathLib.lnWad(x);
    }

    /// @notice ⌊√(x·WAD)⌋: the square root of a WAD number as a WAD number, exact for every uint256
    function sqrtWad(uint256 x) internal pure returns (uint256) {
        return FixedPointMathLib.sqrtWad(x);
    }
}
