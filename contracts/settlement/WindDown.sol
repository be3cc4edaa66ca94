// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {ISettlement} from "../../interfaces/ISettlement.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Funding} from "../market/Funding.sol";
import {Action, OracleMatrix} from "../market/OracleMatrix.sol";
import {Sequencer} from "../market/Sequencer.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {Black76} from "../math/Black76.sol";
import {Svi, SviParams} from "../math/Svi.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {SettlementLib} from "./SettlementLib.sol";

/// @title At which price the wind-down closes a position
/// @notice Twin: risk/exact/settlement/wind_down.py. After the notice, the first settlement of anything of an underlying
///         freezes its index, its funding and its time in the record of its perp; all its instruments are valued at that
///         moment, each recorded when it is first used, so that longs and shorts close at one price and a hedge closes on both
///         legs at one index.
/// @dev Records stand in `settlements[1 << 32 | instrument]`; of a perp: priceWad = index, lastTime = time of the snapshot,
///      meanWad = funding as a two's complement of 80 bits.
library WindDown {
    uint256 private constant WAD = 1e18;
    /// @notice So long after the notice a market without a usable price is frozen at its last snapshot: nobody stays locked in
    ///         because a feed died.
    uint256 internal constant FALLBACK = 7 days;

    /* ─────────────────────────── unit value ───────────────────────── */

    /// @notice What one unit of `id` is closed at in the wind-down after its notice; records it where it is not recorded yet.
    /// @return known false while the market of the underlying has no usable price: the position stays
    /// @return valueWad perp: S − F, may be negative; future and option: their mark at the frozen index, ≥ 0
    function unitValue(VaultStorage.State storage $, uint256 id) internal returns (bool known, int256 valueWad) {
        uint256 perp = id & ~uint256(0xfffffff);
        VaultStorage.SettlementData storage frozen = $.settlements[SettlementLib.WIND_DOWN | perp];
        if (!frozen.settled && !_freeze($, frozen, perp)) return (false, 0);
        uint256 priceWad = frozen.priceWad;
        if (id == perp) {
            int256 fundingE12 = int80(uint80(frozen.meanWad));
            // forge-lint: disable-next-line(unsafe-typecast) an index is below 2^88
            return (true, int256(priceWad) - fundingE12 * PnlLib.FUNDING_UNIT);
        }
        VaultStorage.SettlementData storage data = $.settlements[SettlementLib.WIND_DOWN | id];
        if (!data.settled) {
            uint256 mark = _mark($, id, priceWad, frozen.lastTime);
            // forge-lint: disable-next-line(unsafe-typecast) mark <= 2.2e25, below 2^88
            (data.priceWad, data.settled) = (uint88(mark), true);
            // forge-lint: disable-next-line(unsafe-typecast) id of a stored position; mark ≤ 2.2e25
            emit ISettlement.WindDownPriceRecorded(uint32(id), uint88(mark), 0, 0);
        }
        return (true, int256(uint256(data.priceWad)));
    }

    /* ───────────────────────────── freeze ─────────────────────────── */

    /// @dev Keeps index, funding and time of the underlying of `perp` as they are now; false while they cannot be known.
    function _freeze(VaultStorage.State storage $, VaultStorage.SettlementData storage frozen, uint256 perp)
        private
        returns (bool)
    {
        Params p = RiskParamsBlob.load($);
        uint256 u = InstrumentId.underlying(perp);
        if (!_toNow($, p, ParamsTail.load($, p), u)) return false;
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        frozen.priceWad = data.priceWad;
        frozen.lastTime = data.time;
        frozen.meanWad = uint80(data.fundingE12);
        frozen.settled = true;
        // forge-lint: disable-next-line(unsafe-typecast) id of a perp: u << 28, u < 16
        emit ISettlement.WindDownPriceRecorded(uint32(perp), data.priceWad, data.fundingE12, data.time);
        return true;
    }

    /// @dev Brings funding and, where it is due, the snapshot of `u` to now; false where the live price is not usable
    ///      (OracleMatrix, SETTLE) or the sequencer just came back, and the fallback is not reached.
    function _toNow(VaultStorage.State storage $, Params p, Tail t, uint256 u) private returns (bool) {
        (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
        bool usable = OracleMatrix.allowed(Action.SETTLE, state) && !Sequencer.holdsLiquidations($, t);
        if (!usable && block.timestamp < $.windDownTime + t.windDownNoticeSeconds() + FALLBACK) return false;
        Funding.accrueAt($, t, u);
        if (usable && Snapshots.isDue($, p, u, priceWad)) Snapshots.take($, p, u, priceWad, updatedAt);
        return true;
    }

    /* ────────────────────────────── marks ─────────────────────────── */

    /// @dev Mark of a future or option at index `priceWad` and `time`, rounded down, as docs/margin.md §3 says (an option's
    ///      before it is quantised into its array); an expiry that was never reported counts like one that is over.
    function _mark(VaultStorage.State storage $, uint256 id, uint256 priceWad, uint256 time)
        private
        view
        returns (uint256)
    {
        VaultStorage.BucketData storage bucket = $.buckets[InstrumentId.bucketKey(id)];
        uint256 forward = bucket.forwardRatioWad;
        if (InstrumentId.expiry(id) <= time || forward == 0) return SettlementLib.payoff($, id, priceWad);
        unchecked {
            forward = priceWad * forward / WAD;
        }
        if (InstrumentId.kind(id) == InstrumentId.FUTURE) return forward;
        uint256 strike = $.strikes[InstrumentId.strikeKey(id)];
        int256 logMoneyness = Black76.logMoneyness(forward, strike);
        uint256 stdDev = Svi.stdDev(_svi(bucket), -logMoneyness);
        uint256 value = Black76.callFromLog(logMoneyness, forward, strike, stdDev);
        unchecked {
            // call ≥ F − K, so the put is not negative
            if (InstrumentId.kind(id) == InstrumentId.PUT) value += strike - forward;
            return bucket.discountWad * value / WAD;
        }
    }

    function _svi(VaultStorage.BucketData storage bucket) private view returns (SviParams memory) {
        return SviParams({
            a: int256(bucket.aE9) * 1e9,
            b: uint256(bucket.bE9) * 1e9,
            rho: int256(bucket.rhoE9) * 1e9,
            m: int256(bucket.mE9) * 1e9,
            sigma: uint256(bucket.sigmaE9) * 1e9
        });
    }
}
