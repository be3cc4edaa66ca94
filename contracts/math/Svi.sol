// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ExpLn} from "./ExpLn.sol";
import {WadMath} from "./WadMath.sol";

/// @notice Raw SVI slice, all WAD: total variance w(k) = a + b·(ρ·(k − m) + √((k − m)² + σ²)), k = ln(K/F)
struct SviParams {
    int256 a;
    uint256 b;
    int256 rho;
    int256 m;
    uint256 sigma;
}

/// @title Raw SVI total variance
/// @notice Twin: risk/exact/math/svi.py, bit for bit. Gatheral (2004); Gatheral and Jacquier, "Arbitrage-free SVI
///         volatility surfaces", Quantitative Finance 14 (2014), equation (3.1).
/// @dev One rounding rule: floor. The square root, the product with b and the final standard deviation are each rounded
///      down, so w is at most b·1e−18 + 1 unit below its exact value and never above it; and w ≥ 0.
library Svi {
    int256 private constant WAD = 1e18;

    /// @notice |a| ≤ 100: total variance 100 is σ√T = 10
    int256 internal constant MAX_A = 100e18;
    /// @notice 1e−6 ≤ σ ≤ 100
    uint256 internal constant MIN_SIGMA = 1e12;
    uint256 internal constant MAX_SIGMA = 100e18;
    /// @notice |m| ≤ 100
    int256 internal constant MAX_M = 100e18;
    /// @notice b·(1 + |ρ|) ≤ 2: the slope of total variance in |k| → ∞ (Lee, "The moment formula for implied volatility
    ///         at extreme strikes", Mathematical Finance 14 (2004)). The bound 4 that is also quoted limits the slope at
    ///         finite k (Rogers and Tehranchi 2010), and 4/T belongs to SVI written for variance per year (Gatheral 2004).
    uint256 internal constant MAX_WING_SLOPE = 2e18;
    /// @notice |k| ≤ 180: wider than ln of the ratio of any two admitted prices
    int256 internal constant MAX_LOG_STRIKE = 180e18;

    error SviAOutOfRange(int256 a);
    error SviRhoOutOfRange(int256 rho);
    error SviMOutOfRange(int256 m);
    error SviSigmaOutOfRange(uint256 sigma);
    error SviWingTooSteep(uint256 b, int256 rho);
    error SviNegativeVariance(int256 minimumVariance);
    error SviLogStrikeOutOfRange(int256 k);

    /// @notice Reverts unless the slice is admissible; the first failing check in this order names the error:
    ///         |a| ≤ MAX_A, |ρ| < 1, |m| ≤ MAX_M, MIN_SIGMA ≤ σ ≤ MAX_SIGMA, b(1 + |ρ|) ≤ 2 (both wings),
    ///         minimum a + b·σ·√(1 − ρ²) ≥ 0 (its second term rounded down, against the slice). b ≥ 0 by its type.
    /// @dev Necessary, not sufficient, for absence of butterfly arbitrage: the quant world checks g(k) ≥ 0 before it
    ///      proposes a slice.
    function validate(SviParams memory p) internal pure {
        if (p.a > MAX_A || p.a < -MAX_A) revert SviAOutOfRange(p.a);
        if (p.rho >= WAD || p.rho <= -WAD) revert SviRhoOutOfRange(p.rho);
        if (p.m > MAX_M || p.m < -MAX_M) revert SviMOutOfRange(p.m);
        if (p.sigma < MIN_SIGMA || p.sigma > MAX_SIGMA) revert SviSigmaOutOfRange(p.sigma);
        unchecked {
            // b ≤ 2e18 first, so that the product cannot overflow.
            uint256 slope = 1e18 + WadMath.abs(p.rho);
            if (p.b > MAX_WING_SLOPE || p.b * slope > MAX_WING_SLOPE * 1e18) {
                revert SviWingTooSteep(p.b, p.rho);
            }
            uint256 root = WadMath.sqrt(uint256(WAD * WAD - p.rho * p.rho));
            int256 minimum = p.a + int256(p.b * p.sigma * root / 1e36);
            if (minimum < 0) revert SviNegativeVariance(minimum);
        }
    }

    /// @notice Total variance at log strike k = ln(K/F) = −ln(F/K), WAD, rounded down
    /// @dev Precondition: `validate(p)` passes. Reverts `SviLogStrikeOutOfRange` only. Then |k − m| ≤ 280e18, every
    ///      product stays below 2**200 and the result below 2**70.
    function totalVariance(SviParams memory p, int256 k) internal pure returns (uint256) {
        if (k > MAX_LOG_STRIKE || k < -MAX_LOG_STRIKE) revert SviLogStrikeOutOfRange(k);
        unchecked {
            int256 x = k - p.m;
            int256 root = int256(WadMath.sqrt(uint256(x * x) + p.sigma * p.sigma));
            // ≥ 0 because root ≥ |x| and |ρ| < 1
            uint256 inner = uint256(p.rho * x + WAD * root);
            int256 w = p.a + int256(p.b * inner / 1e36);
            return w > 0 ? uint256(w) : 0;
        }
    }

    /// @notice σ√T at log strike k: ⌊√w⌋, WAD, of `totalVariance`
    function stdDev(SviParams memory p, int256 k) internal pure returns (uint256) {
        return ExpLn.sqrtWad(totalVariance(p, k));
    }
}
