// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {WadMath} from "../math/WadMath.sol";

/// @title How large a slice may be, and what it costs
/// @notice Twin: risk/exact/liquidation/slice_math.py. Formulas, derivation and bounds: docs/liquidation.md. Pure: everything
///         comes from one margin computation. Rounding: the fraction down (nobody loses more than the target asks for), the
///         price and the payment up (for the account), the legs towards zero (the account keeps the dust).
/// @dev Domain: |E|, |M| < 2^190 and MM < 2^190, which every account that ever met IM is far inside of; beyond it Panic(0x11).
library SliceMath {
    uint256 internal constant WAD = 1e18;

    /// @param unitsWad N_u of the account
    /// @param priceWad snapshot price S
    /// @param depthWad depth of the underlying, > 0
    /// @param liqBps λ
    struct LiqTerm {
        uint256 unitsWad;
        uint256 priceWad;
        uint256 depthWad;
        uint256 liqBps;
    }

    /* ──────────────────────────── reward ──────────────────────────── */

    /// @notice ρ = min(max, base + ⌊slope·shortfall⌋ + growth), shortfall = 1 − HF limited to [0, 1]; all WAD
    /// @param growthWad `growth` of the time since the flag
    function rewardWad(
        uint256 baseBps,
        uint256 slopeBps,
        uint256 maxBps,
        int256 healthFactor,
        uint256 growthWad
    ) internal pure returns (uint256) {
        uint256 shortfall = 0;
        if (healthFactor < int256(WAD)) shortfall = healthFactor < 0 ? WAD : WAD - uint256(healthFactor);
        return WadMath.min(maxBps * 1e14, baseBps * 1e14 + (slopeBps * 1e14 * shortfall) / WAD + growthWad);
    }

    /// @notice What ρ has grown by `elapsed` seconds after the flag: ⌊rate·elapsed/3600⌋, linear in seconds
    /// @param timeBps rate per hour
    function growth(uint256 timeBps, uint256 elapsed) internal pure returns (uint256) {
        return timeBps * 1e14 * elapsed / 1 hours;
    }

    /// @notice M − ⌊ρ·MM/WAD⌋, the signed price of the whole account, rounded up
    function fullPrice(int256 markEquity, uint256 reward, uint256 mm) internal pure returns (int256) {
        return markEquity - int256(WadMath.mulWadDown(reward, mm));
    }

    /* ─────────────────────────── fraction ─────────────────────────── */

    /// @notice f* where no underlying exceeds its depth: ⌊(t·MM − E) / ((t − ρ)·MM + M − E)⌋
    /// @dev Needs E < MM and M·WAD > ρ·MM. Then numerator and divisor are positive and f* < 1: the divisor exceeds the
    ///      numerator by M·WAD − ρ·MM. Both are exact in WAD·wei.
    function closedForm(int256 markEquity, int256 equity, uint256 mm, uint256 reward, uint256 target)
        internal
        pure
        returns (uint256)
    {
        int256 numerator = int256(target * mm) - equity * int256(WAD);
        int256 divisor = int256((target - reward) * mm) + (markEquity - equity) * int256(WAD);
        return WadMath.mulDivDown(uint256(numerator), WAD, uint256(divisor));
    }

    /// @notice f* = 1 − g with g the smallest WAD number in [0, 1] where E·g + (1 − g)·price ≤ t·MM(g),
    ///         MM(g) = g·(max(Scan, Floor) + Basis) + Σ_u Liq_u(g)
    /// @dev Liq_u(g) is the engine's own formula, roundings included, on ⌈g·N_u⌉ units; it is convex in g, so
    ///      h(g) = E·g + (1 − g)·price − t·MM(g) is concave. h(0) = price > 0 and h(1) = E − t·MM < 0: one crossing, found by
    ///      halving [0, 1e18] at most 60 times.
    /// @param price fullPrice, > 0
    /// @param mmWithoutLiq max(Scan, Floor) + Basis
    function bisect(int256 equity, int256 price, uint256 mmWithoutLiq, uint256 target, LiqTerm[] memory terms)
        internal
        pure
        returns (uint256)
    {
        uint256 lo = 0;
        uint256 hi = WAD;
        while (hi - lo > 1) {
            uint256 g = (lo + hi) >> 1;
            // both sides in WAD·wei; left ≤ right/WAD is left ≤ ⌊right/WAD⌋, so the comparison is exact
            int256 left = equity * int256(g) + price * int256(WAD - g);
            uint256 right = WadMath.mulWadDown(target, g * mmWithoutLiq + WAD * liqAt(terms, g));
            if (left <= int256(right)) hi = g;
            else lo = g;
        }
        return WAD - hi;
    }

    /// @notice Σ_u Liq_u on ⌈g·N_u⌉ units; rounded up as in docs/margin.md §5
    function liqAt(LiqTerm[] memory terms, uint256 g) internal pure returns (uint256 liq) {
        for (uint256 i = 0; i < terms.length; ++i) {
            LiqTerm memory term = terms[i];
            uint256 units = WadMath.mulWadUp(term.unitsWad, g);
            if (units <= term.depthWad) continue;
            liq += WadMath.mulDivUp(
                WadMath.mulWadUp(term.priceWad, units), (units - term.depthWad) * term.liqBps, term.depthWad * 1e4
            );
        }
    }

    /// @notice The fraction taken of what was asked for: min(asked, f*), and everything where f* would leave a requirement of
    ///         less than `minMargin` (the dust rule; 0: none). Who asks for less than f* gets what he asks for.
    /// @dev (1 − f)·MM bounds what is left, because MM is positively homogeneous but for Liq, which shrinks faster.
    function withDust(uint256 asked, uint256 maxFraction, uint256 mm, uint256 minMargin)
        internal
        pure
        returns (uint256)
    {
        if (asked < maxFraction) return asked;
        return mm * (WAD - maxFraction) < minMargin * WAD ? WAD : maxFraction;
    }

    /* ───────────────────────────── legs ───────────────────────────── */

    /// @notice The part of a signed leg that moves: x·f/WAD towards zero; everything where f = 1
    function leg(int256 x, uint256 fraction) internal pure returns (int256) {
        return (x * int256(fraction)) / int256(WAD);
    }

    /// @notice ⌈f·price⌉, signed
    function payment(int256 price, uint256 fraction) internal pure returns (int256) {
        return WadMath.mulDivCeil(price, fraction, WAD);
    }
}
