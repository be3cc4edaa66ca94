// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {FeedReader} from "./FeedReader.sol";
import {Follow} from "./Follow.sol";

/// @title Taking a snapshot
/// @notice Twin: risk/exact/market/snapshots.py (`take`). An external library, because every action may take one and the code, with
///         all that follows the price, would otherwise stand in each of them.
library SnapshotLogic {
    /// @notice Takes the snapshot of `u`: price, epoch + 1, time = now, the feed's time, then the rates of the collaterals
    ///         of `u` in ascending order. What follows the price comes first (Follow). One write each of slots 0, 2, 3, 4.
    /// @dev `priceWad` and `updatedAt` come from `FeedReader.live` in this call: in (0, 1e25], ≤ now. Panics (0x11) after
    ///      2^32 − 1 epochs. Time is a uint32 until 2106.
    function take(VaultStorage.State storage $, uint256 u, uint256 priceWad, uint256 updatedAt) external {
        Params p = RiskParamsBlob.load($);
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        uint32 epoch = data.epoch + 1;
        // forge-lint: disable-start(unsafe-typecast) u < 16, the price is at most 1e25, the feed time is not past now
        uint32 time = uint32(block.timestamp);
        Follow.before($, p, u, priceWad);
        assembly ("memory-safe") {
            // funding(80) | gauge(24) | time(32) | epoch(32) | price(88)
            let word := shl(152, shr(152, sload(data.slot)))
            sstore(data.slot, or(or(word, priceWad), or(shl(88, epoch), shl(120, time))))
        }
        data.feedUpdatedAt = uint40(updatedAt);
        emit IMarket.SnapshotRefreshed(uint8(u), epoch, uint88(priceWad), time, uint40(updatedAt));
        // forge-lint: disable-end(unsafe-typecast)
        uint256 n = p.collateralCount();
        for (uint256 j = 0; j < n; ++j) {
            if (p.collateralUnderlying(j) == u && p.hasRate(j)) _takeRate($, j);
        }
    }

    /// @dev Writes the live rate of `j`, or keeps the last one where the feed cannot be used.
    function _takeRate(VaultStorage.State storage $, uint256 j) private {
        (uint256 rateWad, int256 answer, uint256 updatedAt) = FeedReader.liveRate($, j);
        VaultStorage.CollateralData storage data = $.collaterals[j];
        // forge-lint: disable-start(unsafe-typecast) j < 16; liveRate gives a rate of 96 bits and a time of the past
        if (rateWad == 0) {
            emit IMarket.RateKept(uint8(j), data.rateWad, answer);
        } else {
            if (rateWad != data.rateWad) data.rateWad = uint96(rateWad);
            if (updatedAt != data.rateUpdatedAt) data.rateUpdatedAt = uint40(updatedAt);
            emit IMarket.RateRefreshed(uint8(j), uint96(rateWad), uint40(updatedAt));
        }
        // forge-lint: disable-end(unsafe-typecast)
    }
}
