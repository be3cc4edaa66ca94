// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IWaterfall} from "../../interfaces/IWaterfall.sol";
import {WadMath} from "../math/WadMath.sol";

/// @title Arithmetic of an auto-deleveraging: who closes how much, and who pays how much
/// @notice Twin: risk/exact/waterfall/deleverage.py. Pure integers; derivation and bounds: docs/waterfall.md §3.
library Deleverage {
    uint256 private constant WAD = 1e18;
    /// @dev Largest θ that counts: beyond, every haircut is its cap anyway, and θ·size stays below 2^255
    uint256 private constant MAX_THETA = type(uint160).max;
    /// @dev The haircuts may exceed the deficit by this part of it before they are given back: one hundredth
    uint256 private constant SLACK = 100;

    /// @notice Splits `total` over `sizes` in proportion: ⌊total·size_i/covered⌋, and the wei left over one each from the first
    ///         on. Σ closed = total, closed_i ≤ size_i.
    /// @dev Needs Σ sizes = covered ≥ total. Where covered = total nothing is left over; else ⌊…⌋ < size_i, so there is room.
    function shares(uint256[] memory sizes, uint256 covered, uint256 total)
        internal
        pure
        returns (uint256[] memory closed)
    {
        closed = new uint256[](sizes.length);
        uint256 left = total;
        for (uint256 i = 0; i < sizes.length; ++i) {
            closed[i] = WadMath.mulDivDown(total, sizes[i], covered);
            left -= closed[i];
        }
        for (uint256 i = 0; left != 0; ++i) {
            ++closed[i];
            --left;
        }
    }

    /// @notice haircut_i = min(⌈θ·closed_i⌉, cap_i), and what they exceed the deficit by given back in proportion: Σ = deficit,
    ///         or every haircut is its cap and Σ ≤ deficit.
    /// @dev Reverts `AdlHaircutMismatch(Σ before giving back, deficit)` where Σ > 1.01·deficit + n + ⌊total/1e18⌋, or where Σ <
    ///      deficit although one that closes something pays less than its cap. The smallest θ that is enough always passes (one
    ///      wei of θ moves Σ by at most n + total/1e18); the hundredth is room for a deficit that moves before inclusion.
    /// @param caps what each can pay: max(0, E_i − 1)
    /// @param total Σ closed
    function haircuts(
        uint256[] memory closed,
        uint256[] memory caps,
        uint256 total,
        uint256 thetaWad,
        uint256 deficitWad
    ) internal pure returns (uint256[] memory paid, uint256 paidWad) {
        uint256 n = closed.length;
        paid = new uint256[](n);
        thetaWad = WadMath.min(thetaWad, MAX_THETA);
        bool allBind = true;
        for (uint256 i = 0; i < n; ++i) {
            paid[i] = WadMath.min(WadMath.mulDivUp(thetaWad, closed[i], WAD), caps[i]);
            paidWad += paid[i];
            if (closed[i] != 0 && paid[i] != caps[i]) allBind = false;
        }
        if (paidWad > deficitWad + deficitWad / SLACK + n + total / WAD || (paidWad < deficitWad && !allBind)) {
            revert IWaterfall.AdlHaircutMismatch(paidWad, deficitWad);
        }
        if (paidWad > deficitWad) paidWad = _giveBack(paid, paidWad, paidWad - deficitWad);
    }

    /// @dev Takes ⌊excess·paid_i/Σ⌋ off each, and the wei left over from the first on. Returns the new Σ.
    function _giveBack(uint256[] memory paid, uint256 sum, uint256 excess) private pure returns (uint256) {
        uint256 left = excess;
        for (uint256 i = 0; i < paid.length; ++i) {
            uint256 back = WadMath.mulDivDown(excess, paid[i], sum);
            paid[i] -= back;
            left -= back;
        }
        for (uint256 i = 0; left != 0; ++i) {
            uint256 back = WadMath.min(paid[i], left);
            paid[i] -= back;
            left -= back;
        }
        return sum - excess;
    }
}
