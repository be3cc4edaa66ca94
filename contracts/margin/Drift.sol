// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AccountLib} from "../accounts/AccountLib.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InstrumentId} from "./InstrumentId.sol";

/// @title How far the live markets are from the snapshot, in the money of one account
/// @notice Twin: risk/exact/margin/drift.py. A bound that needs no repricing: a perp moves by |ΔS|, a future by R·|ΔS|, an option
///         by at most D·R·|ΔS| a unit. Its users compare twice the drift, which covers every R·D ≤ 2
///         (MAX_FORWARD_RATIO) and, for R ≈ 1, the change of the requirement itself.
library Drift {
    /// @dev Of the underlyings and collaterals at hand: live price (0: not usable, or not in any mask), the feed's time, and
    ///      live rate (0: not usable, not held or no rate)
    struct Live {
        uint256[16] priceWad;
        uint256[16] updatedAt;
        uint256[16] rateWad;
    }

    /// @notice Underlyings that the account is exposed to, bit u: of its collaterals, of perps and futures with size ≠ 0
    ///         (an undrawn claim has no price risk) and of options
    function underlyingMask(Params p, AccountLib.Account memory a) internal pure returns (uint256 mask) {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 != 0) mask |= 1 << p.collateralUnderlying(j);
        }
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
            if (size != 0) mask |= 1 << InstrumentId.underlying(id);
        }
        for (uint256 i = 0; i < a.optionCount; ++i) {
            (uint256 id,) = AccountLib.optionAt(a, i);
            mask |= 1 << InstrumentId.underlying(id);
        }
    }

    /// @notice Those of the account's underlyings whose usable live price, or the usable live rate of a collateral of it
    ///         that the account holds, differs from the snapshot
    /// @param mask its `underlyingMask`
    function movedMask(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        uint256 mask,
        Live memory live
    ) internal view returns (uint256 moved) {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0 || live.priceWad[u] == 0) continue;
            if ($.underlyings[u].priceWad != live.priceWad[u]) moved |= 1 << u;
        }
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 == 0 || live.rateWad[j] == 0) continue;
            uint256 u = p.collateralUnderlying(j);
            if (live.priceWad[u] != 0 && $.collaterals[j].rateWad != live.rateWad[j]) moved |= 1 << u;
        }
    }

    /// @notice Σ_u ⌈|live − snap|·(N_u + collateral units)/1e18⌉ + Σ_j ⌈|live units − units|·live price/1e18⌉ over the underlyings
    ///         in `moved`; rounded up
    function bound(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        uint256 moved,
        Live memory live
    ) internal view returns (uint256 drift) {
        uint256[16] memory units = positionUnits(a);
        drift = _addCollateral($, p, a, moved, live, units);
        for (uint256 u = 0; moved >> u != 0; ++u) {
            if ((moved >> u) & 1 == 0) continue;
            uint256 snap = $.underlyings[u].priceWad;
            drift += WadMath.mulWadUp(_distance(live.priceWad[u], snap), units[u]);
        }
    }

    /// @notice What the most favourable prices within the deviation bands of the underlyings in `mask` could add to equity at
    ///         most: Σ_u ⌈⌈snap·(|net_u| + Σ |options|)/1e18⌉·band_bps/1e4⌉, net_u = perps + futures·R + collateral units, with
    ///         their signs: one price moves them together. Options gross, as each may gain. R·size is rounded away from zero.
    /// @dev The haircut of the collateral and the requirement move with the price, too, and are left out.
    function favour(VaultStorage.State storage $, Params p, AccountLib.Account memory a, uint256 mask)
        internal
        view
        returns (uint256 most)
    {
        if (mask == 0) return 0;
        uint256[16] memory held;
        Live memory none;
        _addCollateral($, p, a, 0, none, held);
        (int256[16] memory net, uint256[16] memory options) = _exposures($, a);
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            // forge-lint: disable-next-line(unsafe-typecast) a margin was computed: collateral is worth < 2^252
            uint256 units = WadMath.abs(net[u] + int256(held[u])) + options[u];
            uint256 notional = WadMath.mulWadUp($.underlyings[u].priceWad, units);
            most += WadMath.mulDivUp(notional, p.deviationBandBps(u), 1e4);
        }
    }

    /// @dev Of every underlying: Σ of the perps and futures in units of the underlying, signed, and Σ |size| of the options
    function _exposures(VaultStorage.State storage $, AccountLib.Account memory a)
        private
        view
        returns (int256[16] memory net, uint256[16] memory options)
    {
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
            uint256 u = InstrumentId.underlying(id);
            if (InstrumentId.kind(id) == InstrumentId.FUTURE && InstrumentId.expiry(id) > $.underlyings[u].time) {
                uint256 ratio = $.buckets[InstrumentId.bucketKey(id)].forwardRatioWad;
                // forge-lint: disable-next-line(unsafe-typecast) |size| < 2^95, ratio < 2^64
                int256 units = int256(WadMath.mulWadUp(WadMath.abs(size), ratio));
                size = size < 0 ? -units : units;
            }
            net[u] += size;
        }
        for (uint256 i = 0; i < a.optionCount; ++i) {
            (uint256 id, int256 size) = AccountLib.optionAt(a, i);
            options[InstrumentId.underlying(id)] += WadMath.abs(size);
        }
    }

    /// @notice N_u of every underlying: Σ |size| of its perps, futures and options
    function positionUnits(AccountLib.Account memory a) internal pure returns (uint256[16] memory units) {
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
            units[InstrumentId.underlying(id)] += WadMath.abs(size);
        }
        for (uint256 i = 0; i < a.optionCount; ++i) {
            (uint256 id, int256 size) = AccountLib.optionAt(a, i);
            units[InstrumentId.underlying(id)] += WadMath.abs(size);
        }
    }

    /// @dev Adds to `units` the collateral in units of its underlying at the snapshot's rate, rounded down as in
    ///      docs/margin.md §5; returns the drift of the rates of the underlyings in `moved`.
    function _addCollateral(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        uint256 moved,
        Live memory live,
        uint256[16] memory units
    ) private view returns (uint256 drift) {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 == 0) continue;
            uint256 u = p.collateralUnderlying(j);
            uint256 held = a.collateral[j] * 10 ** (18 - p.collateralDecimals(j));
            if (!p.hasRate(j)) {
                units[u] += held;
                continue;
            }
            uint256 snapUnits = WadMath.mulWadDown(held, $.collaterals[j].rateWad);
            units[u] += snapUnits;
            if ((moved >> u) & 1 == 0 || live.rateWad[j] == 0) continue;
            uint256 liveUnits = WadMath.mulWadDown(held, live.rateWad[j]);
            drift += WadMath.mulWadUp(_distance(liveUnits, snapUnits), live.priceWad[u]);
        }
    }

    function _distance(uint256 x, uint256 y) private pure returns (uint256) {
        return x > y ? x - y : y - x;
    }
}
