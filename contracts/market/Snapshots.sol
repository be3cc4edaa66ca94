// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {InstrumentId} from "../margin/InstrumentId.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {FeedReader} from "./FeedReader.sol";
import {SnapshotLogic} from "./SnapshotLogic.sol";

/// @title Snapshots: when one is due, and taking it
/// @notice Twin: risk/exact/market/snapshots.py. The snapshot of an underlying (index price, and the rates of the
///         collaterals that belong to it) is the only price margin knows. Taking one opens a new epoch, which invalidates
///         every cached scenario array of the underlying; so it is taken only when due.
/// @dev A rate feed that cannot be used never stops a snapshot, or a broken wstETH rate would freeze ETH for everybody:
///      the last rate stays in force (`RateKept`), and only what needs initial margin is refused to accounts that hold
///      that collateral (InitialMargin). Liquidations go on.
library Snapshots {
    /* ─────────────────────────────── due ──────────────────────────── */

    /// @notice Whether the snapshot of `u` may be replaced by the live price: never taken, older than `maxAge`, taken before
    ///         the last 08:00 UTC (what expired then is still valued with its forward), or the live price left the
    ///         deviation band, |live − snap|·10^4 ≥ band·snap.
    function isDue(VaultStorage.State storage $, Params p, uint256 u, uint256 livePriceWad)
        internal
        view
        returns (bool)
    {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        if (data.epoch == 0) return true;
        unchecked {
            // The snapshot was taken in the past. Prices ≤ 1e25, so no product comes near 2^256.
            if (block.timestamp - data.time > p.maxAge(u)) return true;
            if (_expiryDay(block.timestamp) != _expiryDay(data.time)) return true;
        }
        return leftBand(livePriceWad, data.priceWad, p.deviationBandBps(u));
    }

    /// @notice Whether the live rate of a collateral of `u` left the deviation band of `u`. A rate is part of the snapshot,
    ///         so this makes a refresh due as well. An unusable rate does not count.
    function anyRateLeftBand(VaultStorage.State storage $, Params p, uint256 u)
        internal
        view
        returns (bool)
    {
        uint256 n = p.collateralCount();
        for (uint256 j = 0; j < n; ++j) {
            if (p.collateralUnderlying(j) != u || !p.hasRate(j)) continue;
            (uint256 rateWad,,) = FeedReader.liveRate($, j);
            if (rateWad != 0 && rateLeftBand($, p, u, j, rateWad)) return true;
        }
        return false;
    }

    /// @notice As `anyRateLeftBand`, of one collateral `j` of `u` whose live rate is given
    function rateLeftBand(
        VaultStorage.State storage $,
        Params p,
        uint256 u,
        uint256 j,
        uint256 rateWad
    ) internal view returns (bool) {
        return leftBand(rateWad, $.collaterals[j].rateWad, p.deviationBandBps(u));
    }

    /// @notice |value − reference|·10^4 ≥ bandBps·reference; exact, both below 2^96
    function leftBand(uint256 value, uint256 ref, uint256 bandBps) internal pure returns (bool) {
        unchecked {
            uint256 distance = value > ref ? value - ref : ref - value;
            return distance * 1e4 >= bandBps * ref;
        }
    }

    /// @dev Number of the last 08:00 UTC at or before `time`
    function _expiryDay(uint256 time) private pure returns (uint256) {
        return (time - InstrumentId.EXPIRY_TIME_OF_DAY) / 1 days;
    }

    /* ────────────────────────────── taking ────────────────────────── */

    /// @notice Takes the snapshot of `u`, see SnapshotLogic.take.
    /// @dev `priceWad` and `updatedAt` come from `FeedReader.live` in this call.
    function take(VaultStorage.State storage $, Params, uint256 u, uint256 priceWad, uint256 updatedAt) internal {
        SnapshotLogic.take($, u, priceWad, updatedAt);
    }
}
