// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Ownable} from "solady/auth/Ownable.sol";
import {EIP712} from "solady/utils/EIP712.sol";
import {SSTORE2} from "solady/utils/SSTORE2.sol";
import {IVault} from "../interfaces/IVault.sol";
import {AccountLib} from "./accounts/AccountLib.sol";
import {CustodyLogic} from "./custody/CustodyLogic.sol";
import {InterestLib} from "./custody/InterestLib.sol";
import {FlagLogic} from "./liquidation/FlagLogic.sol";
import {LiquidationLogic} from "./liquidation/LiquidationLogic.sol";
import {ArrayLogic} from "./margin/ArrayLogic.sol";
import {ExplainLogic} from "./margin/ExplainLogic.sol";
import {MarginEngine} from "./margin/MarginEngine.sol";
import {FeedReader} from "./market/FeedReader.sol";
import {MarketLogic} from "./market/MarketLogic.sol";
import {ReportHash} from "./market/ReportHash.sol";
import {ParamsLogic} from "./params/ParamsLogic.sol";
import {Params, RiskParamsBlob} from "./params/RiskParamsBlob.sol";
import {OrderHash} from "./trading/OrderHash.sol";
import {TradeLogic} from "./trading/TradeLogic.sol";
import {VaultExtension} from "./VaultExtension.sol";
import {VaultLock} from "./VaultLock.sol";
import {VaultStorage} from "./VaultStorage.sol";

/// @title Plumbline vault
/// @notice Twin: risk/exact/vault.py. Thin external functions over one storage; what they do lives in the linked libraries (see
///         docs/architecture.md): ArrayLogic first, then CustodyLogic, MarketLogic, TradeLogic, LiquidationLogic, ExplainLogic and
///         ParamsLogic, then the vault.
/// @dev Every function that changes state holds the lock (`Reentrancy` otherwise), and no view of the ledger answers while it is
///      held, so nobody reads a balance that is credited but not yet paid. Views of configuration (listings, parameters, signers,
///      hashes) and of market data never change around a token call and stay open.
contract Vault is IVault, Ownable, EIP712 {
    using AccountLib for AccountLib.Account;

    VaultStorage.State internal $;

    /* ──────────────────────────── lifecycle ───────────────────────── */

    /// @param owner_ may list, set risk parameters and signers; hands over in two steps (Solady Ownable)
    /// @param cashToken_ settlement currency; `TokenInvalid` without `decimals()`, `DecimalsOutOfRange` above 18
    constructor(address owner_, address cashToken_) {
        (bool answered, uint256 decimals) = FeedReader.decimalsOf(cashToken_);
        if (!answered) revert TokenInvalid(cashToken_);
        if (decimals > 18) revert DecimalsOutOfRange(cashToken_, decimals, 18);
        _initializeOwner(owner_);
        $.lock = VaultLock.OPEN;
        $.supplyIndexE15 = uint64(InterestLib.INDEX_ONE);
        $.borrowIndexE15 = uint64(InterestLib.INDEX_ONE);
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits for 34,000 years
        $.interestTime = uint40(block.timestamp);
        $.cashToken = cashToken_;
        // forge-lint: disable-next-line(unsafe-typecast) at most 18, see above
        $.cashDecimals = uint8(decimals);
        $.tokenIndex[cashToken_] = CustodyLogic.CASH;
    }

    modifier locked() {
        uint8 before = VaultLock.enter($);
        _;
        VaultLock.exit($, before);
    }

    modifier whenOpen() {
        VaultLock.requireOpen($);
        _;
    }

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("Plumbline", "1");
    }

    /* ───────────────────────────── custody ────────────────────────── */

    /// @inheritdoc IVault
    function deposit(uint168 account, address token, uint256 amount) external locked {
        CustodyLogic.deposit($, account, token, amount);
    }

    /// @inheritdoc IVault
    function withdraw(uint168 account, address token, uint256 amount, address to)
        external
        locked
        returns (uint256 withdrawn)
    {
        return CustodyLogic.withdraw($, account, token, amount, to);
    }

    /// @inheritdoc IVault
    function realizePnl(uint168 account) external locked returns (int256 realizedWad) {
        return CustodyLogic.realizePnl($, account);
    }

    /// @inheritdoc IVault
    function fundInsurance(uint256 amount) external locked {
        CustodyLogic.fundInsurance($, amount);
    }

    /* ────────────────────────────── market ────────────────────────── */

    /// @inheritdoc IVault
    function refresh(uint8[] calldata underlyings) external locked {
        MarketLogic.refresh($, underlyings);
    }

    /// @inheritdoc IVault
    function submitReport(VolReport calldata report, bytes[] calldata signatures) external locked {
        MarketLogic.submitReport($, _domainSeparator(), report, signatures);
    }

    /// @inheritdoc IVault
    function computeArrays(uint32[] calldata instruments) external locked {
        MarketLogic.computeArrays($, instruments);
    }

    /* ───────────────────────────── trading ────────────────────────── */

    /// @inheritdoc IVault
    function fill(
        Order calldata buy,
        bytes calldata buySignature,
        Order calldata sell,
        bytes calldata sellSignature,
        uint128 sizeWad,
        uint128 priceWad
    ) external locked {
        TradeLogic.fill($, _domainSeparator(), buy, buySignature, sell, sellSignature, sizeWad, priceWad);
    }

    /// @inheritdoc IVault
    function cancel(Order calldata order) external locked {
        TradeLogic.cancel($, _domainSeparator(), order);
    }

    /* ─────────────────────────── liquidation ──────────────────────── */

    /// @inheritdoc IVault
    function liquidate(uint168 account, uint168 liquidator, uint256 fractionWad, int256 maxPaymentWad)
        external
        locked
        returns (uint256 fraction, int256 paymentWad)
    {
        return LiquidationLogic.liquidate(
            $, LiquidationLogic.Slice(account, liquidator, fractionWad, maxPaymentWad, "")
        );
    }

    /* ──────────────────────── views of the ledger ─────────────────── */

    /// @inheritdoc IVault
    function margin(uint168 account) external view whenOpen returns (Margin memory m) {
        m = MarginEngine.computeView($, Params.wrap(0), AccountLib.load($, account, 0));
        // Twelve words, static: in memory as the ABI wants them, so the copy that the encoder makes is saved.
        assembly ("memory-safe") {
            return(m, 0x180)
        }
    }

    /// @inheritdoc IVault
    function explain(uint168 account) external view whenOpen returns (Explanation memory) {
        return ExplainLogic.explain($, account);
    }

    /// @inheritdoc IVault
    function liquidationQuote(uint168 account) external view whenOpen returns (LiquidationQuote memory) {
        return FlagLogic.quote($, account);
    }

    /// @inheritdoc IVault
    function accountState(uint168 account)
        external
        view
        whenOpen
        returns (int256 cashWad, uint256[] memory collateral, uint256[] memory linear, uint256[] memory options)
    {
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        uint256 n = $.collateralCount;
        collateral = a.collateral;
        assembly ("memory-safe") {
            mstore(collateral, n)
        }
        return (a.cashWad, collateral, a.linear, a.options);
    }

    /// @inheritdoc IVault
    function pnlPool(uint8 underlying) external view whenOpen returns (uint256 poolWad) {
        _requireListed(underlying);
        return $.underlyings[underlying].pnlPoolWad;
    }

    /// @inheritdoc IVault
    function orderStatus(bytes32 orderHash) external view whenOpen returns (uint256 filledWad, bool cancelled) {
        uint256 status = $.orders[orderHash];
        return (status & ~TradeLogic.CANCELLED, status & TradeLogic.CANCELLED != 0);
    }

    /// @inheritdoc IVault
    function totals() external view whenOpen returns (uint256 cashHeldWad, uint256 insuranceWad) {
        return ($.cashHeldWad, $.insuranceWad);
    }

    /// @inheritdoc IVault
    function collateralInfo(uint8 collateral)
        external
        view
        whenOpen
        returns (address token, uint8 decimals, uint8 underlying, address rateFeed, uint256 rateWad, uint256 totalHeld)
    {
        if (collateral >= $.collateralCount) revert UnknownToken(address(0));
        VaultStorage.CollateralData storage data = $.collaterals[collateral];
        return (data.token, data.decimals, data.underlying, data.rateFeed, data.rateWad, data.totalHeld);
    }

    /* ──────────────────────── views of the market ─────────────────── */

    /// @inheritdoc IVault
    function snapshot(uint8 underlying) external view returns (Snapshot memory) {
        _requireListed(underlying);
        VaultStorage.UnderlyingData storage data = $.underlyings[underlying];
        return Snapshot(data.priceWad, data.epoch, data.time, data.openInterestWad);
    }

    /// @inheritdoc IVault
    function oracleState(uint8 underlying) external view returns (OracleState state, uint256 livePriceWad) {
        Params p = RiskParamsBlob.load($);
        FeedReader.requireKnown($, p, underlying);
        (state, livePriceWad,) = FeedReader.live($, p, underlying);
    }

    /// @inheritdoc IVault
    function slice(uint8 underlying, uint16 expiryDay) external view returns (Slice memory, uint40 reportTime) {
        VaultStorage.BucketData storage data = $.buckets[(uint256(underlying) << 16) | expiryDay];
        return (
            Slice(
                expiryDay,
                data.forwardRatioWad,
                data.discountWad,
                data.aE9,
                data.bE9,
                data.rhoE9,
                data.mE9,
                data.sigmaE9
            ),
            data.reportTime
        );
    }

    /// @inheritdoc IVault
    function strike(uint8 underlying, uint16 expiryDay, uint16 strikeIndex) external view returns (uint128 strikeWad) {
        uint256 key = (uint256(underlying) << 26) | (uint256(expiryDay) << 10) | strikeIndex;
        // beyond 10 bits the index would spill into the day
        return strikeIndex < 1024 ? uint128($.strikes[key]) : 0;
    }

    /// @inheritdoc IVault
    function scenarioArray(uint32 instrument) external view returns (uint256[4] memory words) {
        return ArrayLogic.cached($, instrument);
    }

    /// @inheritdoc IVault
    function reportStatus(uint8 underlying)
        external
        view
        returns (uint64 nonce, uint40 reportTime, uint16 confidenceBps)
    {
        _requireListed(underlying);
        VaultStorage.UnderlyingData storage data = $.underlyings[underlying];
        return (data.reportNonce, data.reportTime, data.confidenceBps);
    }

    function _requireListed(uint8 underlying) private view {
        if (underlying >= $.underlyingCount) revert UnknownUnderlying(underlying);
    }

    /* ───────────────────── views of the configuration ─────────────── */

    /// @inheritdoc IVault
    function hashOrder(Order calldata order) external view returns (bytes32) {
        return OrderHash.digest(_domainSeparator(), order);
    }

    /// @inheritdoc IVault
    function hashReport(VolReport calldata report) external view returns (bytes32) {
        return ReportHash.digest(_domainSeparator(), report);
    }

    /// @inheritdoc IVault
    function riskParams() external view returns (address pointer, bytes memory blob) {
        pointer = $.riskParams;
        if (pointer != address(0)) blob = SSTORE2.read(pointer);
    }

    /// @inheritdoc IVault
    function listedCounts() external view returns (uint8 underlyings, uint8 collaterals) {
        return ($.underlyingCount, $.collateralCount);
    }

    /// @inheritdoc IVault
    function signers() external view returns (address[] memory signers_, uint8 threshold) {
        return ($.signerList, $.signerThreshold);
    }

    /// @inheritdoc IVault
    function cashToken() external view returns (address token, uint8 decimals) {
        return ($.cashToken, $.cashDecimals);
    }

    /* ────────────────────────── administration ────────────────────── */

    /// @inheritdoc IVault
    function listUnderlying(address feed) external onlyOwner locked returns (uint8 underlying) {
        return MarketLogic.listUnderlying($, feed);
    }

    /// @inheritdoc IVault
    function listCollateral(address token, uint8 underlying, address rateFeed)
        external
        onlyOwner
        locked
        returns (uint8 collateral)
    {
        return MarketLogic.listCollateral($, token, underlying, rateFeed);
    }

    /// @inheritdoc IVault
    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad)
        external
        onlyOwner
        locked
    {
        MarketLogic.listExpiry($, underlying, expiryDay, strikesWad);
    }

    /// @inheritdoc IVault
    function setRiskParams(bytes calldata blob) external onlyOwner locked {
        ParamsLogic.set($, blob);
    }

    /// @inheritdoc IVault
    function setSigners(address[] calldata newSigners, uint8 threshold) external onlyOwner locked {
        MarketLogic.setSigners($, newSigners, threshold);
    }

    /* ───────────────────────────── extension ──────────────────────── */

    /// @notice Everything in IVaultExtension: one delegatecall to the linked library.
    // It only delegates, and hands on what comes back.
    // solhint-disable-next-line no-complex-fallback
    fallback() external {
        address extension = address(VaultExtension);
        assembly ("memory-safe") {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), extension, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if done { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}
