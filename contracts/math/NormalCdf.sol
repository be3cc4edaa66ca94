// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

// One rational approximation serves the CDF and Black-76. With κ = √(log2(e)/2) the Gaussian factor is a power of two,
// e**(−x²/2) = 2**(−t²) for t = κ·x, and
//
//     N(−x) = 2**(−t²)·ρ(t),    ρ(t) = ½·erfcx(x/√2)  (½ of the scaled complementary error function)    for t ≥ 0.
//
// ρ is a minimax rational function of degree 6/7 (Remez, weight min(1, 10**1.25·2**(−t²)), ρ(0) = ½ imposed) in the form
// of a continued fraction, which costs seven divisions (5 gas each) and no shift:
//
//     ρ(t) = C0/(t+D0 + C1/(t+D1 + C2/(t+D2 + C3/(t+D3 + C4/(t+D4 + C5/(t+D5 + C6/(t+D6)))))))
//
// with C3, D1, D3 negative (their absolute values below). Every denominator is positive for every t ≥ 0
// (proved with interval arithmetic in tests/math/test_normal_cdf.py), so unsigned division serves, for all t < 2**255.
// t, ρ and the D are Q80 (value·2**80), the C are Q160.
uint256 constant RHO_C0 = 495207840287756821074467382681117410567886209024;
uint256 constant RHO_C1 = 1026425972751771815803430540143762224608448610304;
uint256 constant RHO_C2 = 11714595329448167491985648938676239911921957994496;
uint256 constant RHO_C3 = 3546036633271146327129178610569930765944173363200;
uint256 constant RHO_C4 = 2033410193247416847502549793629113276354733004554240;
uint256 constant RHO_C5 = 472693219959391955470504843555666221786422312960;
uint256 constant RHO_C6 = 21457019441425106458855048171880481094022243287040;
uint256 constant RHO_D0 = 868227677852685753454;
uint256 constant RHO_D1 = 578333580304316066154142;
uint256 constant RHO_D2 = 11107697206964434001900014;
uint256 constant RHO_D3 = 41968980494371808174609393;
uint256 constant RHO_D4 = 47581922470702328440030442;
uint256 constant RHO_D5 = 3185333084602846450517083;
uint256 constant RHO_D6 = 784706537275929258307957;

// 2**(−z) = 2**(−n)·(G(f²) − f)/(G(f²) + f), n = round(z), f = z − n in [−½, ½), where G(u) = √u·coth(√u·ln2/2) is
// approximated by E0 − E1/(u+F1 − E2/(u+F2)): minimax, then E0 raised by 7e−18 so that the power does not rise where n
// changes. Relative error of the power ≤ 1.7e−18, exactly 1 at z = 0. f, u, E0 and the F are Q80, E1 and E2 are Q160.
uint256 constant EXP2_E0 = 52349497661272090237266976;
uint256 constant EXP2_E1 = 40605695043239804225377873624468290783592059380957184;
uint256 constant EXP2_E2 = 12824552198772942396902806996062265684802356671152128;
uint256 constant EXP2_F1 = 942278439506153186989942579;
uint256 constant EXP2_F2 = 115289299134664203621390029;

// κ·2**80, and κ/2·2**180/1e18 (the 180 bits make a product with a WAD number, shifted right by 100, Q80)
uint256 constant KAPPA_Q80 = 1026767053529765814280678;
uint256 constant HALF_KAPPA_Q180_WAD = 650790935850789091218010688785786889;

/// @title Standard normal distribution function
/// @notice Twin: risk/exact/math/normal_cdf.py, bit for bit.
library NormalCdf {
    /// @dev N(x) is 0 or 1 to the last unit from |x| = 2**64/1e18 = 18.4 on
    uint256 private constant CUT_WAD = 0x10000000000000000;

    /// @notice N(x); x and the result WAD, rounded to nearest
    /// @dev Error ≤ 1.07e−16 (107 units). cdf(x) + cdf(−x) = WAD exactly, cdf(0) = WAD/2, monotone. Never reverts.
    function cdf(int256 x) internal pure returns (uint256 p) {
        assembly ("memory-safe") {
            let s := sar(255, x)
            let t := sub(xor(x, s), s) // |x|, at most 2**255
            if lt(t, CUT_WAD) {
                t := div(mul(t, KAPPA_Q80), 1000000000000000000) // κ·|x| < 16, Q80
                // 2**(−t²) = m·2**(−96−n), m < 2**97
                let z := shr(80, mul(t, t)) // < 2**88
                let f := signextend(9, z)
                let m := shr(80, mul(f, f))
                m := sub(EXP2_E0, div(EXP2_E1, sub(add(m, EXP2_F1), div(EXP2_E2, add(m, EXP2_F2)))))
                m := div(shl(96, sub(m, f)), add(m, f))
                z := add(175, shr(80, sub(z, f)))
                // ρ(t) ≤ 2**79
                let r := div(RHO_C6, add(t, RHO_D6))
                r := div(RHO_C5, add(add(t, RHO_D5), r))
                r := div(RHO_C4, add(add(t, RHO_D4), r))
                r := div(RHO_C3, add(sub(t, RHO_D3), r))
                r := div(RHO_C2, sub(add(t, RHO_D2), r))
                r := div(RHO_C1, add(sub(t, RHO_D1), r))
                r := div(RHO_C0, add(add(t, RHO_D0), r))
                // Tail WAD·m·ρ/2**(176+n) to nearest: the product is below 2**(60+97+79); a shift by ≥ 256 gives 0.
                p := shr(1, add(shr(z, mul(mul(m, r), 1000000000000000000)), 1))
            }
            // x ≥ 0: 1 − tail
            if iszero(s) { p := sub(1000000000000000000, p) }
        }
    }
}
