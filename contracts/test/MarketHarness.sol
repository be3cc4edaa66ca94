// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {EIP712} from "solady/utils/EIP712.sol";
import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InitialMargin} from "../margin/InitialMargin.sol";
import {ScenarioArray} from "../margin/ScenarioArray.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {MarketLogic} from "../market/MarketLogic.sol";
import {ReportHash} from "../market/ReportHash.sol";
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

    /// @notice The initial margin check of stored accounts.
    function requireInitial(uint168[] calldata ids) external {
        AccountLib.Account[] memory accounts = new AccountLib.Account[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            accounts[i] = AccountLib.load($, ids[i], 0);
        }
        InitialMargin.requireInitial($, Params.wrap(0), accounts);
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
        $.underlyings[u].openInterestWad = units;
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

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("Plumbline", "1");
    }
}
