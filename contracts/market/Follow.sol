// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {Breaker} from "./Breaker.sol";
import {Funding} from "./Funding.sol";
import {Gauge} from "./Gauge.sol";

/// @title What follows the snapshot price at its own pace: funding, stable price, previous snapshot, circuit breaker
/// @notice Twin: risk/exact/market/follow.py. Formulas: docs/market.md §8.
/// @dev Two more writes a snapshot: slot 3 (stable price, funding time) and slot 4 (previous snapshot, breaker).
library Follow {
    /// @dev days in seconds, bps in units
    uint256 private constant DAY_BPS = 86_400 * 1e4;
    uint256 private constant BPS = 1e4;

    /// @notice Called before the snapshot of `u` takes `priceWad`: the old price held since the last snapshot.
    /// @dev In this order: funding to now at the old price; the stable price, and whether it is out of its band around the new
    ///      price; the old snapshot becomes the previous one, unless it was taken in this same second (two consecutive
    ///      snapshots are two times); a jump trips the breaker. A new epoch without a new snapshot (new parameters) does not
    ///      come here.
    function before(VaultStorage.State storage $, Params p, uint256 u, uint256 priceWad) internal {
        Tail t = ParamsTail.load($, p);
        Funding.accrueAt($, t, u);
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        uint256 oldPrice = data.priceWad;
        _moveStable(data, t, u, oldPrice, priceWad);
        if (oldPrice == 0) {
            // no snapshot before this one: its price at time 0, so that no later snapshot pays for a new slot
            // forge-lint: disable-next-line(unsafe-typecast) a live price is at most 1e25
            data.previousPriceWad = uint88(priceWad);
            return;
        }
        if (data.time != block.timestamp) {
            // forge-lint: disable-next-line(unsafe-typecast) read from a uint88 above
            (data.previousPriceWad, data.previousTime) = (uint88(oldPrice), data.time);
        }
        uint256 jumpBps = t.jumpBps(u);
        if (jumpBps != 0 && _distance(priceWad, oldPrice) * BPS >= jumpBps * oldPrice) {
            Breaker.trip($, u, t.breakerSeconds());
        }
    }

    /// @dev The stable price moves towards the price that held since the last snapshot, by at most ⌊stable·rate·elapsed⌋: what a
    ///      single snapshot says moves it only as long as it stands. Where it is off (no band or no rate) and at the first
    ///      snapshot it is the new price. It is apart, and counts in initial margin, where |stable − price| ≥ band·price.
    function _moveStable(
        VaultStorage.UnderlyingData storage data,
        Tail t,
        uint256 u,
        uint256 oldPrice,
        uint256 priceWad
    ) private {
        uint256 stable = data.stablePriceWad;
        (uint256 next, uint256 band) = (priceWad, t.stableBandBps(u));
        uint256 rate = t.stableRateBpsPerDay(u);
        if (stable != 0 && band != 0 && rate != 0) {
            // stable < 2^88, rate < 2^16, elapsed < 2^32
            uint256 step = stable * rate * (block.timestamp - data.time) / DAY_BPS;
            if (_distance(stable, oldPrice) <= step) next = oldPrice;
            else next = oldPrice > stable ? stable + step : stable - step;
        }
        bool apart = band != 0 && _distance(next, priceWad) * BPS >= band * priceWad;
        uint24 gauge = data.gauge;
        bool wasApart = Gauge.stableApart(gauge);
        if (apart != wasApart) data.gauge = gauge ^ 1;
        if (next == stable && apart == wasApart) return;
        // forge-lint: disable-start(unsafe-typecast) one of two uint88 prices, or between them; u < 16
        data.stablePriceWad = uint88(next);
        emit IMarket.StablePriceMoved(uint8(u), uint88(next), apart);
        // forge-lint: disable-end(unsafe-typecast)
    }

    function _distance(uint256 x, uint256 y) private pure returns (uint256) {
        return x > y ? x - y : y - x;
    }
}
