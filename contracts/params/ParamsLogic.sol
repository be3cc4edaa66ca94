// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {Funding} from "../market/Funding.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {ParamsTail, Tail} from "./ParamsTail.sol";
import {Params, RiskParamsBlob} from "./RiskParamsBlob.sol";

/// @title Validates and sets the risk parameters
/// @notice Twin: risk/exact/params/params_logic.py. Rules and their order: docs/margin.md §2. Every field of the blob is
///         checked here once, so that nothing has to be checked where it is read.
library ParamsLogic {
    uint256 private constant BPS = 1e4;
    uint256 private constant MAX_LANES = 64;
    /// @dev with at most 144 values an underlying, 144·unit < 1e6: docs/margin.md §8
    uint256 private constant MAX_PRICE_UNIT_E6 = 6944;

    /// @notice Validates `blob`, stores it as contract code and opens a new epoch of every underlying that has a snapshot.
    /// @dev Price, time and feed time of a snapshot stay; arrays of the old epoch are void, because the shocks may differ.
    function set(VaultStorage.State storage $, bytes calldata blob) external {
        bytes memory copy = blob;
        validate($, copy);
        // what happened until now happened at the old rates
        InterestLib.accrue($);
        Funding.closeAll($);
        address pointer = SSTORE2.write(copy);
        $.riskParams = pointer;
        emit IMarket.RiskParamsSet(pointer, keccak256(copy));
        for (uint256 u; u < $.underlyingCount; ++u) {
            VaultStorage.UnderlyingData storage data = $.underlyings[u];
            if (data.epoch == 0) continue;
            uint32 epoch = data.epoch + 1;
            data.epoch = epoch;
            emit IMarket.SnapshotRefreshed(uint8(u), epoch, data.priceWad, data.time, data.feedUpdatedAt);
        }
    }

    /// @notice Reverts `RiskParamsInvalid(field, index, value)` with the first rule that `blob` breaks.
    function validate(VaultStorage.State storage $, bytes memory blob) internal view {
        uint256 length = blob.length;
        if (length < 32 * RiskParamsBlob.HEADER_WORDS || length % 32 != 0) _invalid("length", 0, length);
        Params p = RiskParamsBlob.fromBytes(blob);
        uint256 k = p.scenarioCount();
        if (k == 0 || k > VaultStorage.MAX_SCENARIOS) _invalid("scenarios", 0, k);
        uint256 u = p.underlyingCount();
        if (u != $.underlyingCount) _invalid("underlyings", 0, u);
        uint256 c = p.collateralCount();
        if (c != $.collateralCount) _invalid("collaterals", 0, c);
        // the tail has 4 words, one an underlying and one a collateral
        if (length != 32 * (RiskParamsBlob.HEADER_WORDS + (RiskParamsBlob.UNDERLYING_WORDS + 1) * u + 2 * c + 4)) {
            _invalid("length", 0, length);
        }
        _validateHeader(p);
        for (uint256 i; i < u; ++i) {
            _validateUnderlying(p, i);
        }
        for (uint256 j; j < c; ++j) {
            _validateCollateral($, p, j);
        }
        _validateTail(p, ParamsTail.fromBytes(blob, u, c));
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _validateHeader(Params p) private pure {
        uint256 imFactor = p.imFactorBps();
        if (imFactor < BPS) _invalid("im_factor_bps", 0, imFactor);
        uint256 target = p.targetBps();
        if (target <= BPS || target > imFactor) _invalid("target_bps", 0, target);
        uint256 reward = p.rewardMaxBps();
        if (p.rewardBaseBps() > reward) _invalid("reward_base_bps", 0, p.rewardBaseBps());
        if (reward >= target) _invalid("reward_max_bps", 0, reward);
        _noStrayBits(p, 0, 104);
        uint256 scenarios = p.scenarioCount();
        for (uint256 k; k < MAX_LANES; ++k) {
            uint256 weight = p.weightBps(k);
            if (k < scenarios ? weight == 0 || weight > BPS : weight != 0) _invalid("weight", k, weight);
        }
    }

    function _validateUnderlying(Params p, uint256 u) private pure {
        if (p.depthWad(u) == 0) _invalid("depth_wad", u, 0);
        uint256 unit = p.priceUnitE6(u);
        if (unit == 0 || unit > MAX_PRICE_UNIT_E6) _invalid("price_unit_e6", u, unit);
        if (p.volUnitE6(u) == 0) _invalid("vol_unit_e6", u, 0);
        if (p.tenorCapWad(u) == 0) _invalid("tenor_cap_wad", u, 0);
        if (p.deviationBandBps(u) == 0) _invalid("deviation_band_bps", u, 0);
        if (p.maxAge(u) == 0) _invalid("max_age_seconds", u, 0);
        uint256 word = RiskParamsBlob.HEADER_WORDS + RiskParamsBlob.UNDERLYING_WORDS * u;
        _noStrayBits(p, word, 208);
        // price shock > −100 %: lane·unit > −1e6
        _validateLanes(p, word + 2, (1e6 + unit - 1) / unit, "price_lane", u);
        _validateLanes(p, word + 6, RiskParamsBlob.LANE_BIAS, "vol_lane", u);
    }

    /// @dev Four words of lanes: below K lane > −limit, from K on zero; the stored value is lane + 4096 and never 0.
    function _validateLanes(Params p, uint256 firstWord, uint256 limit, bytes32 field, uint256 u) private pure {
        uint256 scenarios = p.scenarioCount();
        for (uint256 k; k < MAX_LANES; ++k) {
            uint256 raw = (_word(p, firstWord + (k >> 4)) >> ((k & 15) * RiskParamsBlob.LANE_BITS)) & 0x1fff;
            bool ok = k < scenarios ? raw != 0 && raw + limit > RiskParamsBlob.LANE_BIAS : raw == RiskParamsBlob.LANE_BIAS;
            if (!ok) _invalid(field, (u << 8) | k, raw);
            if (k & 15 == 15) _noStrayBits(p, firstWord + (k >> 4), 208);
        }
    }

    function _validateCollateral(VaultStorage.State storage $, Params p, uint256 j) private view {
        VaultStorage.CollateralData storage data = $.collaterals[j];
        uint256 value = p.collateralUnderlying(j);
        if (value != data.underlying) _invalid("underlying", j, value);
        value = p.collateralDecimals(j);
        if (value != data.decimals) _invalid("decimals", j, value);
        value = p.haircutBps(j);
        if (value > BPS) _invalid("haircut_bps", j, value);
        bool hasRate = p.hasRate(j);
        if (hasRate != (data.rateFeed != address(0))) _invalid("has_rate", j, hasRate ? 1 : 0);
        _noStrayBits(p, RiskParamsBlob.HEADER_WORDS + RiskParamsBlob.UNDERLYING_WORDS * p.underlyingCount() + j, 161);
    }

    /// @dev A curve that rises and bends at a utilisation below 1, shares of at most 1, and no stray bits
    function _validateTail(Params p, Tail t) private pure {
        uint256 value = t.kinkUtilisationBps();
        if (value >= BPS) _invalid("kink_utilisation_bps", 0, value);
        value = t.kinkRateBps();
        if (value < t.baseRateBps()) _invalid("kink_rate_bps", 0, value);
        if (t.fullRateBps() < value) _invalid("full_rate_bps", 0, t.fullRateBps());
        if (t.reserveShareBps() > BPS) _invalid("reserve_share_bps", 0, t.reserveShareBps());
        if (t.tradeFeeE6() > 1e4) _invalid("trade_fee_e6", 0, t.tradeFeeE6());
        if (t.optionFeeCapBps() > BPS) _invalid("option_fee_cap_bps", 0, t.optionFeeCapBps());
        if (t.emergencyBps() > BPS) _invalid("emergency_bps", 0, t.emergencyBps());
        if (t.adlShareBps() > BPS) _invalid("adl_share_bps", 0, t.adlShareBps());
        uint256 first = RiskParamsBlob.HEADER_WORDS + RiskParamsBlob.UNDERLYING_WORDS * p.underlyingCount()
            + p.collateralCount();
        _noStrayBits(p, first, 240);
        _noStrayBits(p, first + 1, 248);
        _noStrayBits(p, first + 3, 168);
        first += 4;
        for (uint256 u; u < p.underlyingCount(); ++u) {
            if (t.maxFundingBps(u) > 1000) _invalid("max_funding_bps", u, t.maxFundingBps(u));
            if (t.maxFundingBps(u) != 0 && t.fundingPeriodSeconds() == 0) _invalid("funding_period_seconds", u, 0);
        }
        first += p.underlyingCount();
        for (uint256 j; j < p.collateralCount(); ++j) {
            _noStrayBits(p, first + j, 128);
        }
    }

    /// @dev Bits `from` … 255 of word `index` are zero.
    function _noStrayBits(Params p, uint256 index, uint256 from) private pure {
        uint256 stray = (_word(p, index) >> from) << from;
        if (stray != 0) _invalid("stray_bits", index, stray);
    }

    function _word(Params p, uint256 index) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(p, shl(5, index)))
        }
    }

    function _invalid(bytes32 field, uint256 index, uint256 value) private pure {
        revert IMargin.RiskParamsInvalid(field, index, value);
    }
}
