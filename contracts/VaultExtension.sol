// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Ownable} from "solady/auth/Ownable.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {AccountLogic} from "./accounts/AccountLogic.sol";
import {InterestLib} from "./custody/InterestLib.sol";
import {FlagLogic} from "./liquidation/FlagLogic.sol";
import {LegsLogic} from "./liquidation/LegsLogic.sol";
import {LiquidationLogic} from "./liquidation/LiquidationLogic.sol";
import {MarketLogic} from "./market/MarketLogic.sol";
import {SettlementLogic} from "./settlement/SettlementLogic.sol";
import {VaultLock} from "./VaultLock.sol";
import {VaultStorage} from "./VaultStorage.sol";
import {WaterfallLogic} from "./waterfall/WaterfallLogic.sol";

/// @title The functions of the vault that do not fit into its code
/// @notice Twin: risk/exact/vault.py. Interface and NatSpec: IVaultExtension. The vault's fallback delegates here, so every
///         function works on the vault's storage, as the vault, for the vault's caller.
/// @dev A library, because linking then fixes its address in the vault's code: there is no pointer that anybody could change. A
///      direct call of a function that writes reverts (Solidity's call protection of libraries), and this code has no storage.
library VaultExtension {
    /// @dev Solady Ownable's slot; the vault's owner is asked here too.
    bytes32 private constant OWNER_SLOT = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffff74873927;

    modifier locked() {
        VaultStorage.State storage $ = _storage();
        uint8 before = VaultLock.enter($);
        _;
        VaultLock.exit($, before);
    }

    modifier onlyOwner() {
        bytes32 owner;
        assembly ("memory-safe") {
            owner := sload(OWNER_SLOT)
        }
        if (msg.sender != address(uint160(uint256(owner)))) revert Ownable.Unauthorized();
        _;
    }

    /* ───────────────────────────── accounts ───────────────────────── */

    function setOperator(uint168 account, address operator, uint256 rights) external locked {
        AccountLogic.setOperator(_storage(), account, operator, rights);
    }

    function raiseMinNonce(uint168 account, uint64 minNonce_) external locked {
        AccountLogic.raiseMinNonce(_storage(), account, minNonce_);
    }

    function transfer(uint168 from, uint168 to, address token, uint256 amount)
        external
        locked
        returns (uint256 moved)
    {
        return AccountLogic.transfer(_storage(), from, to, token, amount);
    }

    /// @dev Takes the lock itself: its calls take it again.
    function batch(bytes[] calldata calls) external returns (bytes[] memory results) {
        return AccountLogic.batch(_storage(), calls);
    }

    /* ──────────────────────────── cash market ─────────────────────── */

    function accrue() external locked {
        InterestLib.accrue(_storage());
    }

    /* ──────────────────────────── settlement ──────────────────────── */

    function observe(uint8 underlying, uint16 expiryDay) external locked {
        SettlementLogic.observe(_storage(), underlying, expiryDay);
    }

    function settle(uint168[] calldata accounts) external locked {
        SettlementLogic.settle(_storage(), accounts);
    }

    /* ──────────────────────────── liquidation ─────────────────────── */

    function flag(uint168 account) external locked {
        FlagLogic.flag(_storage(), account);
    }

    function unflag(uint168 account) external locked {
        FlagLogic.unflag(_storage(), account);
    }

    function callMargin(uint168 account) external locked returns (bool standing) {
        return FlagLogic.callMargin(_storage(), account);
    }

    function liquidateFlash(
        uint168 account,
        uint168 liquidator,
        uint256 fractionWad,
        int256 maxPaymentWad,
        bytes calldata data
    ) external locked returns (uint256 fraction, int256 paymentWad) {
        return LiquidationLogic.liquidate(
            _storage(), LiquidationLogic.Slice(account, liquidator, fractionWad, maxPaymentWad, data)
        );
    }

    function liquidateLegs(
        uint168 account,
        uint168 liquidator,
        uint256[] calldata legs,
        int256 maxPaymentWad,
        bytes calldata data
    ) external locked returns (int256 paymentWad) {
        return LegsLogic.liquidateLegs(
            _storage(), LegsLogic.Legs(account, liquidator, legs, maxPaymentWad, data)
        );
    }

    /* ───────────────────────────── waterfall ──────────────────────── */

    function autoDeleverage(uint168 account, uint32 instrument, uint168[] calldata counterparties, uint256 thetaWad)
        external
        locked
        returns (uint256 paidWad)
    {
        return WaterfallLogic.autoDeleverage(_storage(), account, instrument, counterparties, thetaWad);
    }

    function socialise(uint168 account) external locked returns (uint256 lossWad) {
        return WaterfallLogic.socialise(_storage(), account);
    }

    /* ────────────────────────── administration ────────────────────── */

    function startWindDown() external onlyOwner locked {
        SettlementLogic.startWindDown(_storage());
    }

    function setSequencerFeed(address feed) external onlyOwner locked {
        MarketLogic.setSequencerFeed(_storage(), feed);
    }

    /* ─────────────────────────────── views ────────────────────────── */

    function interestState() external view returns (uint64, uint64, uint40, uint128, uint128, int128) {
        VaultStorage.State storage $ = _open();
        return ($.supplyIndexE15, $.borrowIndexE15, $.interestTime, $.supplyWad, $.borrowWad, $.interestWad);
    }

    function underlyingState(uint8 underlying)
        external
        view
        returns (int80, uint32, int32, uint88, uint88, uint32, uint32)
    {
        VaultStorage.State storage $ = _open();
        if (underlying >= $.underlyingCount) revert IMarket.UnknownUnderlying(underlying);
        VaultStorage.UnderlyingData storage data = $.underlyings[underlying];
        return (
            data.fundingE12,
            data.fundingTime,
            data.premiumE9,
            data.stablePriceWad,
            data.previousPriceWad,
            data.previousTime,
            data.reduceOnlyUntil
        );
    }

    function settlement(uint8 underlying, uint16 expiryDay)
        external
        view
        returns (uint88, uint16, uint32, uint88, bool)
    {
        VaultStorage.SettlementData storage data =
            _open().settlements[(uint256(underlying) << 16) | expiryDay];
        return (data.priceWad, data.observations, data.lastTime, data.meanWad, data.settled);
    }

    function instrumentInterest(uint32 instrument) external view returns (uint256) {
        return _open().openInterest[instrument];
    }

    function operatorRights(uint168 account, address operator) external view returns (uint256) {
        return _open().operators[account][operator];
    }

    function minNonce(uint168 account) external view returns (uint64) {
        // forge-lint: disable-next-line(unsafe-typecast) raiseMinNonce stores a uint64
        return uint64(_open().minNonce[account]);
    }

    function accountFlags(uint168 account) external view returns (uint32, bool, uint64) {
        VaultStorage.AccountData storage data = _open().accounts[account];
        uint64 interest = data.interest;
        return (data.flaggedAt, interest & InterestLib.CALL_STANDING != 0, interest & ~InterestLib.CALL_STANDING);
    }

    function vaultMode() external view returns (address, uint40) {
        VaultStorage.State storage $ = _open();
        return ($.sequencerFeed, $.windDownTime);
    }

    /* ────────────────────────────── private ───────────────────────── */

    /// @dev `State internal $` is the vault's first variable.
    function _storage() private pure returns (VaultStorage.State storage $) {
        assembly ("memory-safe") {
            $.slot := 0
        }
    }

    function _open() private view returns (VaultStorage.State storage $) {
        $ = _storage();
        VaultLock.requireOpen($);
    }
}
