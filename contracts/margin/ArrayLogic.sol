// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {Black76} from "../math/Black76.sol";
import {ExpLn} from "../math/ExpLn.sol";
import {Svi, SviParams} from "../math/Svi.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {ScenarioArray} from "./ScenarioArray.sol";

/// @title Computes scenario arrays: Black-76 on K scenarios per option
/// @notice Twin: risk/exact/margin/array_logic.py. Formulas: docs/margin.md §3 and §4. An external library, so that the
///         pricing code exists once; the margin engine calls it once per computation, for all arrays that are not cached.
/// @dev Shared inside a call: ln(1 + x_k) by all instruments of an underlying; forward, discount, slice and the table of
///      (F_k, ln(1 + x_k), vol factor) by all instruments of an expiry, as long as no other expiry takes its place in a
///      cache of 16. What an instrument pays itself: one strike slot, two logarithms, one SVI evaluation and K times the
///      Black-76 kernel.
library ArrayLogic {
    uint256 private constant WAD = 1e18;
    uint256 private constant TENOR_UNIT = 30 days;
    /// @dev e^3 > 2^64/1e18 ≥ any tenor_cap
    int256 private constant TENOR_EXPONENT_LIMIT = 3e18;

    uint256 private constant CACHE_SIZE = 16;

    /* ──────────────────────────── types ───────────────────────────── */

    /// @dev One underlying: its snapshot and the price shocks
    struct Market {
        uint256 price;
        uint256 epoch; // of the snapshot
        uint256 time;
        uint256[] shocks; // K records of three words: 1 + x_k, ln(1 + x_k), v_k; empty: not loaded yet
    }

    /// @dev One (underlying, expiry)
    struct Bucket {
        uint256 key; // bucketKey + 1; 0: free
        uint256 forward; // F
        uint256 discount; // D
        bool expired; // at the snapshot: F = S, sd = 0
        SviParams svi;
        uint256[] table; // 64 records of four words: F_k, ln(1 + x_k), max(0, 1 + v_k·g), and ΔV_k of the option at hand
    }

    struct Work {
        Params p;
        uint256 scenarios;
        Market[16] markets;
        Bucket[16] buckets;
    }

    /// @dev One option at the snapshot
    struct Option {
        uint256 strike;
        uint256 isPut; // 0 or 1
        int256 logMoneyness; // ln(F/K)
        uint256 stdDev; // σ√T
        uint256 value; // V
    }

    /* ───────────────────────── external ───────────────────────────── */

    /// @notice Arrays of `ids`, four words each (words 2 and 3 zero for K ≤ 32), in the order given.
    /// @param persist also writes them to their slots and emits `ArrayComputed`; false: no state changes, usable in views
    /// @dev In the order of `ids`: `UnknownInstrument(id)` where it is no listed option, `SliceMissing(u, expiryDay)`, the
    ///      errors of Black76.logMoneyness and Svi.stdDev, `ArrayOutOfRange(id)`. `RiskParamsMissing` before all.
    function compute(VaultStorage.State storage $, uint256[] memory ids, bool persist)
        external
        returns (uint256[] memory words)
    {
        return _compute($, ids, persist);
    }

    /// @notice The cached array of `instrument`; four zeros where none is cached in this epoch.
    function cached(VaultStorage.State storage $, uint32 instrument) external view returns (uint256[4] memory words) {
        uint256 epoch = $.underlyings[InstrumentId.underlying(instrument)].epoch;
        if (ScenarioArray.isCached(instrument, epoch)) words = ScenarioArray.read(instrument, epoch);
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _compute(VaultStorage.State storage $, uint256[] memory ids, bool persist)
        private
        returns (uint256[] memory words)
    {
        Work memory w;
        w.p = RiskParamsBlob.load($);
        w.scenarios = w.p.scenarioCount();
        words = new uint256[](ids.length * 4);
        uint256 wordCount = ScenarioArray.wordCount(w.scenarios);
        for (uint256 i; i < ids.length; ++i) {
            uint256 to;
            assembly ("memory-safe") {
                to := add(add(words, 0x20), shl(7, i))
            }
            uint256 epoch = _instrument($, w, ids[i], to, wordCount);
            if (persist) {
                ScenarioArray.write(ids[i], epoch, to, wordCount);
                emit IMarket.ArrayComputed(uint32(ids[i]), uint32(epoch));
            }
        }
    }

    /// @dev Writes the words of one instrument to memory at `to`; returns the epoch they belong to.
    function _instrument(VaultStorage.State storage $, Work memory w, uint256 id, uint256 to, uint256 wordCount)
        private
        view
        returns (uint256 epoch)
    {
        Option memory o;
        o.strike = $.strikes[InstrumentId.strikeKey(id)];
        if (InstrumentId.kind(id) < InstrumentId.CALL || o.strike == 0) revert IMarket.UnknownInstrument(uint32(id));
        o.isPut = InstrumentId.kind(id) & 1;
        Market memory market = _market($, w, InstrumentId.underlying(id));
        Bucket memory bucket = _bucket($, w, market, id);
        o.logMoneyness = Black76.logMoneyness(bucket.forward, o.strike);
        uint256 deltaCode;
        unchecked {
            if (!bucket.expired) o.stdDev = Svi.stdDev(bucket.svi, -o.logMoneyness);
            if (o.stdDev != 0) {
                deltaCode = Black76.deltaFromLog(o.logMoneyness, o.stdDev) * ScenarioArray.DELTA_ONE / WAD;
            } else if (bucket.forward > o.strike) {
                deltaCode = ScenarioArray.DELTA_ONE;
            }
        }
        o.value = _value(bucket, o);
        uint256 largest = _reprice(w.scenarios, bucket, o);
        ScenarioArray.packLanes(to, wordCount, id, _changes(bucket), largest);
        ScenarioArray.packSpare(to, market.epoch, o.value, deltaCode);
        return market.epoch;
    }

    /// @dev V = ⌊D·B(F, K, sd)/1e18⌋
    function _value(Bucket memory bucket, Option memory o) private pure returns (uint256 value) {
        unchecked {
            value = Black76.callFromLog(o.logMoneyness, bucket.forward, o.strike, o.stdDev);
            value += o.isPut * (o.strike - bucket.forward);
            value = bucket.discount * value / WAD;
        }
    }

    /// @dev The hot loop: ΔV_k of every scenario into the table; returns max_k |ΔV_k|. Ranges: F_k < 2^93, K ≤ 1e30,
    ///      sd_k < 2^78, D < 2^61, so nothing overflows and the preconditions of the kernel hold.
    function _reprice(uint256 scenarios, Bucket memory bucket, Option memory o)
        private
        pure
        returns (uint256 largest)
    {
        uint256 discount = bucket.discount;
        uint256 isPut = o.isPut;
        uint256 strike = o.strike;
        uint256 stdDev = o.stdDev;
        int256 logMoneyness = o.logMoneyness;
        uint256 value = o.value;
        uint256 record;
        uint256 end;
        assembly ("memory-safe") {
            record := add(mload(add(bucket, 0xa0)), 0x20)
            end := add(record, shl(7, scenarios))
        }
        while (record < end) {
            uint256 forwardK;
            int256 logK;
            uint256 stdDevK;
            assembly ("memory-safe") {
                forwardK := mload(record)
                logK := add(logMoneyness, mload(add(record, 0x20)))
                stdDevK := div(mul(stdDev, mload(add(record, 0x40))), WAD)
            }
            uint256 change = Black76.callFromLog(logK, forwardK, strike, stdDevK);
            assembly ("memory-safe") {
                change := sub(div(mul(add(change, mul(isPut, sub(strike, forwardK))), discount), WAD), value)
                mstore(add(record, 0x60), change)
                record := add(record, 0x80)
                if slt(change, 0) { change := sub(0, change) }
                if gt(change, largest) { largest := change }
            }
        }
    }

    /// @dev Pointer to ΔV_0 in the table; the next ones follow at steps of 128 bytes, zero from K on.
    function _changes(Bucket memory bucket) private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := add(mload(add(bucket, 0xa0)), 0x80)
        }
    }

    /// @dev Snapshot and price shocks of underlying `u`, loaded once a call
    function _market(VaultStorage.State storage $, Work memory w, uint256 u) private view returns (Market memory m) {
        m = w.markets[u];
        if (m.shocks.length != 0) return m;
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        (m.price, m.epoch, m.time) = (data.priceWad, data.epoch, data.time);
        m.shocks = new uint256[](3 * w.scenarios);
        unchecked {
            uint256 priceStep = w.p.priceUnitE6(u) * 1e12;
            uint256 volStep = w.p.volUnitE6(u) * 1e12;
            for (uint256 k; k < w.scenarios; ++k) {
                // lanes are stored + 4096; 1 + x_k > 0 was checked when the parameters were set
                uint256 growth = WAD + (w.p.priceLane(u, k) - RiskParamsBlob.LANE_BIAS) * priceStep;
                m.shocks[3 * k] = growth;
                m.shocks[3 * k + 1] = uint256(ExpLn.lnWad(int256(growth)));
                m.shocks[3 * k + 2] = (w.p.volLane(u, k) - RiskParamsBlob.LANE_BIAS) * volStep;
            }
        }
    }

    /// @dev Forward, discount, slice and table of the expiry of `id`, kept until another one takes its place
    function _bucket(VaultStorage.State storage $, Work memory w, Market memory m, uint256 id)
        private
        view
        returns (Bucket memory b)
    {
        uint256 u = InstrumentId.underlying(id);
        uint256 day = InstrumentId.expiryDay(id);
        uint256 key = InstrumentId.bucketKey(id);
        unchecked {
            b = w.buckets[(day + 5 * u) % CACHE_SIZE];
            if (b.key == key + 1) return b;
            b.key = key + 1;
        }
        uint256 expiry = InstrumentId.expiry(id);
        b.expired = expiry <= m.time;
        if (b.table.length == 0) b.table = new uint256[](4 * VaultStorage.MAX_SCENARIOS);
        if (b.expired) {
            (b.forward, b.discount) = (m.price, WAD);
        } else {
            VaultStorage.BucketData storage data = $.buckets[key];
            uint256 ratio = data.forwardRatioWad;
            if (ratio == 0) revert IMarket.SliceMissing(uint8(u), uint16(day));
            unchecked {
                b.forward = m.price * ratio / WAD;
                b.discount = data.discountWad;
                b.svi.a = int256(data.aE9) * 1e9;
                b.svi.b = uint256(data.bE9) * 1e9;
                b.svi.rho = int256(data.rhoE9) * 1e9;
                b.svi.m = int256(data.mE9) * 1e9;
                b.svi.sigma = uint256(data.sigmaE9) * 1e9;
            }
        }
        _fillTable(w, m, b, u, b.expired ? 0 : expiry - m.time);
    }

    /// @dev F_k, ln(1 + x_k) and max(0, 1 + ⌊v_k·g⌋) of every scenario, g the tenor factor of `tenor` seconds
    function _fillTable(Work memory w, Market memory m, Bucket memory b, uint256 u, uint256 tenor) private pure {
        uint256 forward = b.forward;
        uint256 g = b.expired ? 0 : tenorFactor(w.p, u, tenor);
        assembly ("memory-safe") {
            let record := add(mload(add(b, 0xa0)), 0x20)
            let shock := mload(add(m, 0x60))
            // + 2^134 makes |v·g/1e18| < 2^133 positive, so that the division floors it
            let bias := shl(134, 1)
            let scaledBias := mul(WAD, bias)
            bias := sub(bias, WAD)
            for { let end := add(shock, shl(5, mload(shock))) } lt(shock, end) {} {
                mstore(record, div(mul(forward, mload(add(shock, 0x20))), WAD))
                mstore(add(record, 0x20), mload(add(shock, 0x40)))
                shock := add(shock, 0x60)
                let factor := sub(div(add(mul(mload(shock), g), scaledBias), WAD), bias)
                mstore(add(record, 0x40), mul(factor, sgt(factor, 0)))
                record := add(record, 0x80)
            }
        }
    }

    /// @notice g = min(tenor_cap, exp(p·ln(30 d/max(T, tenor_floor)))), WAD; a tenor floor of 0 counts as 1 s
    function tenorFactor(Params p, uint256 u, uint256 tenor) internal pure returns (uint256) {
        unchecked {
            uint256 atLeast = p.tenorFloorSeconds(u);
            if (tenor < atLeast) tenor = atLeast;
            if (tenor == 0) tenor = 1;
            int256 ln = ExpLn.lnWad(int256(TENOR_UNIT * WAD / tenor));
            // floor: |p·ln| < 2^64·2^67
            int256 product = ln * int256(p.tenorPowerWad(u));
            int256 exponent = (product - (product < 0 ? int256(WAD) - 1 : int256(0))) / int256(WAD);
            uint256 limit = p.tenorCapWad(u);
            if (exponent >= TENOR_EXPONENT_LIMIT) return limit;
            uint256 g = uint256(ExpLn.expWad(exponent));
            return g < limit ? g : limit;
        }
    }
}
