// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ExpLn} from "./ExpLn.sol";
import {
    NormalCdf,
    RHO_C0,
    RHO_C1,
    RHO_C2,
    RHO_C3,
    RHO_C4,
    RHO_C5,
    RHO_C6,
    RHO_D0,
    RHO_D1,
    RHO_D2,
    RHO_D3,
    RHO_D4,
    RHO_D5,
    RHO_D6,
    EXP2_E0,
    EXP2_E1,
    EXP2_E2,
    EXP2_F1,
    EXP2_F2,
    KAPPA_Q80,
    HALF_KAPPA_Q180_WAD
} from "./NormalCdf.sol";

/// @title Undiscounted Black-76
/// @notice Twin: risk/exact/math/black76.py, bit for bit. Prices, strikes, values, deltas, stdDev = σ√T and
///         logMoneyness = ln(F/K) are WAD; the caller multiplies by the discount factor.
/// @dev One algorithm, symmetric in F and K. With m = min(F, K), M = max(F, K), ℓ = |ln(F/K)|, s = stdDev:
///
///          a = s/2 − ℓ/s,   b = s/2 + ℓ/s,   m·φ(a) = M·φ(b)        (so one exponential serves both normals)
///          out-of-the-money value = m·N(a) − M·N(−b) = m·e**(−a²/2)·(ρ(|a|) − ρ(b))           for a < 0
///                                                    = m − m·e**(−a²/2)·(ρ(|a|) + ρ(b))       for a ≥ 0
///          call = value + max(F − K, 0),   put = value + max(K − F, 0)
///
///      with ρ and 2**(−z) of NormalCdf.sol. Hence, by construction and not only up to rounding: call − put = F − K,
///      max(F − K, 0) ≤ call ≤ F, max(K − F, 0) ≤ put ≤ K, and stdDev = 0 gives the intrinsic value.
///      Stated error (docs/math.md): |call − exact| ≤ 2.3e−16·min(F, K) + 6.5e−18·max(F, K) + 2 units, the same for the
///      put. Where the exact value rises (call in F, put in K, both in s), the computed one falls by no more than
///      3e−18·min(F, K) + 2 units.
library Black76 {
    uint256 private constant WAD = 1e18;

    /// @notice largest forward and strike that `price` and `logMoneyness` admit: 1e12, WAD
    uint256 internal constant MAX_PRICE = 1e30;
    /// @notice bound (exclusive) of forward and strike in the kernel: 1.4e51, far above any shocked MAX_PRICE
    uint256 internal constant KERNEL_PRICE_BOUND = 1 << 170;
    /// @notice largest stdDev that `price` admits: 100, WAD (the value is min(F, K) to the last unit long before)
    uint256 internal constant MAX_STD_DEV = 100e18;

    /// @notice the forward is zero or above MAX_PRICE
    error Black76ForwardOutOfRange(uint256 forward);
    /// @notice the strike is zero or above MAX_PRICE
    error Black76StrikeOutOfRange(uint256 strike);
    /// @notice stdDev is above MAX_STD_DEV
    error Black76StdDevOutOfRange(uint256 stdDev);

    /// @notice ln(F/K), WAD, error ≤ 2 units; antisymmetric, monotone in both arguments
    /// @dev Reverts `Black76ForwardOutOfRange`, then `Black76StrikeOutOfRange`.
    function logMoneyness(uint256 forward, uint256 strike) internal pure returns (int256) {
        if (forward == 0 || forward > MAX_PRICE) revert Black76ForwardOutOfRange(forward);
        if (strike == 0 || strike > MAX_PRICE) revert Black76StrikeOutOfRange(strike);
        unchecked {
            return ExpLn.lnWad(int256(forward)) - ExpLn.lnWad(int256(strike));
        }
    }

    /// @notice Undiscounted values of call and put; call + K = put + F exactly
    /// @dev Reverts `Black76ForwardOutOfRange`, `Black76StrikeOutOfRange`, `Black76StdDevOutOfRange`, in this order.
    function price(uint256 forward, uint256 strike, uint256 stdDev)
        internal
        pure
        returns (uint256 callWad, uint256 putWad)
    {
        int256 ln = logMoneyness(forward, strike);
        if (stdDev > MAX_STD_DEV) revert Black76StdDevOutOfRange(stdDev);
        callWad = callFromLog(ln, forward, strike, stdDev);
        unchecked {
            putWad = callWad + strike - forward;
        }
    }

    /// @notice As `price`, with the forward delta of the call, N(d1); the forward delta of the put is that − WAD
    function priceAndDelta(uint256 forward, uint256 strike, uint256 stdDev)
        internal
        pure
        returns (uint256 callWad, uint256 putWad, uint256 callDelta)
    {
        int256 ln = logMoneyness(forward, strike);
        if (stdDev > MAX_STD_DEV) revert Black76StdDevOutOfRange(stdDev);
        callWad = callFromLog(ln, forward, strike, stdDev);
        unchecked {
            putWad = callWad + strike - forward;
        }
        callDelta = deltaFromLog(ln, stdDev);
    }

    /// @notice N(d1), d1 = ln(F/K)/s + s/2: the forward delta of the call, WAD, to nearest; in [0, WAD]
    /// @dev stdDev = 0: WAD, WAD/2 or 0 as ln(F/K) is positive, zero or negative. Error ≤ 1.1e−16 + 1e−18·(1 + 1/s).
    ///      Precondition: |logMoneyness_| < 2**128, stdDev < 2**128. d1 is rounded towards zero in ln(F/K)/s.
    function deltaFromLog(int256 logMoneyness_, uint256 stdDev) internal pure returns (uint256) {
        if (stdDev == 0) return logMoneyness_ > 0 ? WAD : logMoneyness_ < 0 ? 0 : WAD / 2;
        unchecked {
            return
                NormalCdf.cdf((logMoneyness_ * int256(WAD)) / int256(stdDev) + int256(stdDev / 2));
        }
    }

    /// @notice HOT KERNEL. Undiscounted value of the call; the put is value + strike − forward, exactly and never < 0
    /// @param logMoneyness_ ln(forward/strike), WAD: the caller adds ln(1 + shock) to a logarithm taken once
    /// @param forward, strike WAD; stdDev WAD, 0 allowed
    /// @dev Does not check and does not revert. Preconditions: forward, strike < KERNEL_PRICE_BOUND = 2**170,
    ///      |logMoneyness_| < 2**128, stdDev < 2**128. The sign of logMoneyness_ is not used; which side is out of the
    ///      money follows from forward and strike. Proof of ranges in the comments below.
    function callFromLog(int256 logMoneyness_, uint256 forward, uint256 strike, uint256 stdDev)
        internal
        pure
        returns (uint256 value)
    {
        // Below, "Q80" is value·2**80, a quotient in a comment is rounded down, κ = √(log2(e)/2).
        // One expression per step: nesting avoids a SWAP and a POP each.
        assembly ("memory-safe") {
            // m = min(F, K)
            let m := sub(forward, mul(gt(forward, strike), sub(forward, strike)))
            // y = κ·s/2 and x = κ·ℓ/s, Q80. s < 2**128: s·2**119 fits. ℓ < 2**128: ℓ·2**80 fits. Division by s = 0
            // gives x = 0, then d = 0 and t = b = 0, Q = m·(½ + ½) = m and value = F − m: the intrinsic value.
            let y := shr(100, mul(stdDev, HALF_KAPPA_Q180_WAD))
            let k := sar(255, logMoneyness_)
            let x := div(mul(sub(xor(logMoneyness_, k), k), KAPPA_Q80), stdDev)
            let b := add(x, y)
            let d := sub(y, x)
            k := sar(255, d) // all ones where a < 0, else 0
            let sg := or(1, k) // −1 where a < 0, else 1
            let t := mul(d, sg) // κ·|a|
            // z = t² = n + f with n = round(z), f in [−½, ½), Q80. Where t ≥ 16 the factor lt() below makes Q = 0
            // whatever a wrapped square left here; below, t² < 2**168, and shifting by 80 + n ≥ 256 gives 0.
            let z := shr(80, mul(t, t))
            let f := signextend(9, z)
            // u = G(f²) in [2.88·2**80, 2.92·2**80]: both denominators and u ± f are positive.
            let u := shr(80, mul(f, f))
            u := sub(EXP2_E0, div(EXP2_E1, sub(add(u, EXP2_F1), div(EXP2_E2, add(u, EXP2_F2)))))
            // E = m·(u − f)/(u + f) = m·2**(n − z) ≤ √2·m: m < 2**170, u − f < 2**82, no overflow.
            // Q = E·(ρ(t) ± ρ(b)) / 2**(80 + n), with ρ ≤ 2**79 and E < 2**171: no overflow.
            //   a ≥ 0: E ≤ m·2**n and ρ + ρ ≤ 2**80, so Q ≤ m and F − m ≤ value ≤ F.
            //   a < 0: b − t = 2·y > 1e6 (x > y implies s ≥ 1), which separates ρ(t) from ρ(b) by > 1 000 units at
            //          every t < 16, while rounding moves each by < 32 units; so 0 ≤ ρ(t) − ρ(b) ≤ 2**79,
            //          Q ≤ m and F − m ≤ value ≤ F.
            // value = F − Q for a ≥ 0, F − m + Q for a < 0.
            // forgefmt: disable-next-item
            value := sub(forward, add(and(m, k), mul(sg, shr(
                add(80, shr(80, sub(z, f))),
                mul(
                    mul(div(mul(m, sub(u, f)), add(u, f)), lt(t, 0x1000000000000000000000)),
                    add(
                        div(RHO_C0, add(add(t, RHO_D0), div(RHO_C1, add(sub(t, RHO_D1),
                        div(RHO_C2, sub(add(t, RHO_D2), div(RHO_C3, add(sub(t, RHO_D3),
                        div(RHO_C4, add(add(t, RHO_D4), div(RHO_C5, add(add(t, RHO_D5),
                        div(RHO_C6, add(t, RHO_D6)))))))))))))),
                        mul(sg,
                        div(RHO_C0, add(add(b, RHO_D0), div(RHO_C1, add(sub(b, RHO_D1),
                        div(RHO_C2, sub(add(b, RHO_D2), div(RHO_C3, add(sub(b, RHO_D3),
                        div(RHO_C4, add(add(b, RHO_D4), div(RHO_C5, add(add(b, RHO_D5),
                        div(RHO_C6, add(b, RHO_D6)))))))))))))))
                    )
                )
            ))))
        }
    }
}
