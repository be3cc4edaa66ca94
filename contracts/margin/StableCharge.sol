// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AccountLib} from "../accounts/AccountLib.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {Portfolio} from "./Portfolio.sol";
import {ScenarioArray} from "./ScenarioArray.sol";

/// @title What an account would lose if the price went back to the stable price
/// @notice Twin: risk/exact/margin/stable_charge.py. Formula: docs/margin.md §11. Added to initial margin (never to MM), for every
///         underlying whose stable price S' is out of its band around the index S, so that nobody opens risk or withdraws on a
///         price that was pushed a moment ago. Rounds up.
///
///             ΔS = S' − S
///             charge = ⌈max(0, short·|ΔS| − (D/S + X)·ΔS)⌉
///
///         D: value of collaterals, perps and futures; X: Σ of the forward deltas of the options, units; short: Σ |o| of short
///         options. A long option is convex, so its delta never understates what it keeps. A short one loses at most |ΔS|
///         more than its delta says. The charge is the positive part of a linear function, hence sub-additive: splitting an
///         account does not lower Σ IM.
library StableCharge {
    int256 private constant WAD = 1e18;

    /// @notice Σ of the charges of all underlyings of `w`; after the exposure check, so |D| < 2^110
    function total(VaultStorage.State storage $, Portfolio.Work memory w, AccountLib.Account memory a)
        internal
        view
        returns (uint256 sum)
    {
        unchecked {
            for (uint256 f = w.firstFactor; f != 0; f = Portfolio.nextFactor(f)) {
                if (!Portfolio.stableApart(f)) continue;
                uint256 u = Portfolio.index(f);
                int256 move = int256(uint256($.underlyings[u].stablePriceWad)) - int256(Portfolio.price(f));
                sum += charge(
                    move,
                    int256(Portfolio.price(f)),
                    Portfolio.linearValue(f),
                    _optionDelta(w, a, u),
                    int256(Portfolio.shortUnits(f))
                );
            }
        }
    }

    /// @notice −⌊D·ΔS/S⌋ − ⌊(X·ΔS − 511·short·|ΔS|)/(511·1e18)⌋ where that is positive, otherwise 0: two roundings, both up
    /// @param move ΔS, @param price S, @param linearValue D, @param optionDelta X in units × 511, @param short units
    function charge(int256 move, int256 price, int256 linearValue, int256 optionDelta, int256 short)
        internal
        pure
        returns (uint256)
    {
        // |ΔS|, S < 2^88; |D| < 2^110; |X| < 2^112; short < 2^104
        unchecked {
            int256 one = int256(ScenarioArray.DELTA_ONE);
            int256 worst = short * one * (move < 0 ? -move : move);
            int256 gain = _floorDiv(linearValue * move, price) + _floorDiv(optionDelta * move - worst, one * WAD);
            return gain < 0 ? uint256(-gain) : 0;
        }
    }

    /// @dev Σ of X_b of the expiries of `u`, without its futures, which D contains; units × 511
    function _optionDelta(Portfolio.Work memory w, AccountLib.Account memory a, uint256 u)
        private
        pure
        returns (int256 sum)
    {
        unchecked {
            (uint256 item, uint256 end) = Portfolio.bucketRange(w);
            for (; item != end; item += 0x20) {
                (uint256 v,, int256 exposure) = Portfolio.bucket(item);
                if (v == u) sum += exposure;
            }
            for (uint256 i = 0; i < a.linearCount; ++i) {
                (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
                if (InstrumentId.underlying(id) != u || InstrumentId.kind(id) != InstrumentId.FUTURE) continue;
                sum -= size * int256(ScenarioArray.DELTA_ONE);
            }
        }
    }

    /// @dev ⌊x / d⌋ towards −∞, d > 0
    function _floorDiv(int256 x, int256 d) private pure returns (int256 q) {
        unchecked {
            q = x / d;
            if (q * d > x) --q;
        }
    }
}
