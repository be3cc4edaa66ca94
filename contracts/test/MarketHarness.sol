// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {EIP712} from "solady/utils/EIP712.sol";
import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {ScenarioArray} from "../margin/ScenarioArray.sol";
import {StableCharge} from "../margin/StableCharge.sol";
import {Breaker} from "../market/Breaker.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Funding} from "../market/Funding.sol";
import {Gauge} from "../market/Gauge.sol";
import {MarketLogic} from "../market/MarketLogic.sol";
import {Action, OracleMatrix} from "../market/OracleMatrix.sol";
import {ReportHash} from "../market/ReportHash.sol";
import {Sequencer} from "../market/Sequencer.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title The market libraries over a storage of their own
/// @notice For tests of market data without the rest of the vault: no owner, no lock, and doors that the vault does not
///         have (parameters without validation, an epoch or an account set by hand).
contract MarketHarness is EIP712 {
    using AccountLib for AccountLib.Account;

    VaultStorage.State internal $;

    constructor(address cashToken) {
        $.lock = 1;
        ($.supplyIndexE15, $.borrowIndexE15) = (1e15, 1e15);
        $.cashToken = cashToken;
        $.cashDecimals = 6;
        $.tokenIndex[cashToken] = type(uint256).max;
    }

    /* ───────────────────────────── market ─────────────────────────── */

    function refresh(uint8[] calldata underlyings) external {
        MarketLogic.refresh($, underlyings);
    }

    function submitReport(IMarket.VolReport calldata report, bytes[] calldata signatures) external {
        MarketLogic.submitReport($, _domainSeparator(), report, signatures);
    }

    function computeArrays(uint32[] calldata ids) external {
        MarketLogic.computeArrays($, ids);
    }

    function listUnderlying(address feed) external returns (uint8) {
        return MarketLogic.listUnderlying($, feed);
    }

    function listCollateral(address token, uint8 underlying, address rateFeed) external returns (uint8) {
        return MarketLogic.listCollateral($, token, underlying, rateFeed);
    }

    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad) external {
        MarketLogic.listExpiry($, underlying, expiryDay, strikesWad);
    }

    function setSigners(address[] calldata signers, uint8 threshold) external {
        MarketLogic.setSigners($, signers, threshold);
    }

    /* ───────────────────────────── margin ─────────────────────────── */

    /// @notice The initial margin check of stored accounts; ids as MarginLogic takes them (account, or account | WITHDRAWAL).
    function requireInitial(uint256[] calldata ids) external {
        MarginLogic.requireInitial($, ids);
    }

    /// @notice Equity, MM and IM of a stored account
    function margin(uint168 id) external returns (int256, uint256, uint256) {
        IMargin.Margin memory m = MarginLogic.compute($, id);
        return (m.equity, m.mm, m.im);
    }

    /// @notice The charge of a stable price out of its band, of one underlying
    function stableCharge(int256 move, int256 price, int256 linearValue, int256 optionDelta, int256 short)
        external
        pure
        returns (uint256)
    {
        return StableCharge.charge(move, price, linearValue, optionDelta, short);
    }

    /* ─────────────────────── what follows the price ───────────────── */

    function accrueFunding(uint256 u) external {
        Funding.accrue($, RiskParamsBlob.load($), u);
    }

    function closeFunding(uint256 u) external {
        Funding.close($, _tail(), u);
    }

    function trip(uint256 u, uint256 seconds_) external {
        Breaker.trip($, u, seconds_);
    }

    function breakerActive(uint256 u) external view returns (bool) {
        return Breaker.active($, u);
    }

    function setSequencerFeed(address feed) external {
        MarketLogic.setSequencerFeed($, feed);
    }

    function requireSequencer() external view {
        Sequencer.requireLive($, _tail());
    }

    function sequencer() external view returns (bool live, bool holdsLiquidations) {
        Tail t = _tail();
        return (Sequencer.isLive($, t), Sequencer.holdsLiquidations($, t));
    }

    function allowed(Action action, IMarket.OracleState state) external pure returns (bool) {
        return OracleMatrix.allowed(action, state);
    }

    /* ────────────────────────────── views ─────────────────────────── */

    function oracleState(uint8 u) external view returns (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) {
        Params p = RiskParamsBlob.load($);
        FeedReader.requireKnown($, p, u);
        return FeedReader.live($, p, u);
    }

    function hashReport(IMarket.VolReport calldata report) external view returns (bytes32) {
        return ReportHash.digest(_domainSeparator(), report);
    }

    function underlyingData(uint256 u) external view returns (VaultStorage.UnderlyingData memory) {
        return $.underlyings[u];
    }

    function collateralData(uint256 j) external view returns (VaultStorage.CollateralData memory) {
        return $.collaterals[j];
    }

    function bucketData(uint256 key) external view returns (VaultStorage.BucketData memory) {
        return $.buckets[key];
    }

    function strikeWad(uint256 key) external view returns (uint256) {
        return $.strikes[key];
    }

    function tokenIndex(address token) external view returns (uint256) {
        return $.tokenIndex[token];
    }

    function signerSet() external view returns (address[] memory, uint8 threshold) {
        return ($.signerList, $.signerThreshold);
    }

    function isSigner(address who) external view returns (bool) {
        return $.isSigner[who];
    }

    function counts() external view returns (uint8 underlyings, uint8 collaterals) {
        return ($.underlyingCount, $.collateralCount);
    }

    function arrayWords(uint32 id, uint256 epoch) external view returns (uint256[4] memory) {
        return ScenarioArray.read(id, epoch);
    }

    /* ──────────────────────────── back doors ──────────────────────── */

    /// @notice Sets risk parameters without validation or new epochs.
    function setParams(bytes calldata blob) external {
        $.riskParams = SSTORE2.write(blob);
    }

    function setEpoch(uint256 u, uint32 epoch) external {
        $.underlyings[u].epoch = epoch;
    }

    function setOpenInterest(uint256 u, uint104 units) external {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        data.openInterestWad = units;
        data.gauge = Gauge.encode(units, Gauge.stableApart(data.gauge));
    }

    function setFunding(uint256 u, int80 fundingE12, uint32 time, int32 premiumE9) external {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        (data.fundingE12, data.fundingTime, data.premiumE9) = (fundingE12, time, premiumE9);
    }

    function setStable(uint256 u, uint88 stablePriceWad, bool apart) external {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        data.stablePriceWad = stablePriceWad;
        data.gauge = Gauge.encode(data.openInterestWad, apart);
    }

    /// @param linear id(32) | size(96) | quote(128)
    /// @param options id(32) | size(96)
    function setAccount(
        uint168 id,
        int256 cashWad,
        uint256[16] calldata amounts,
        uint256[] calldata linear,
        uint256[] calldata options
    ) external {
        AccountLib.Account memory a = AccountLib.load($, id, 0);
        a.cashWad = cashWad;
        for (uint256 j = 0; j < 16; ++j) {
            AccountLib.setCollateral(a, j, amounts[j]);
        }
        (a.linear, a.linearCount) = (linear, linear.length);
        (a.options, a.optionCount) = (options, options.length);
        AccountLib.store($, a);
    }

    function _tail() private view returns (Tail) {
        return ParamsTail.load($, RiskParamsBlob.load($));
    }

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("Plumbline", "1");
    }
}
