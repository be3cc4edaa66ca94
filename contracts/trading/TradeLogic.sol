// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";
import {ICustody} from "../../interfaces/ICustody.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {ITrading} from "../../interfaces/ITrading.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {WorkLoad} from "../accounts/WorkLoad.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {InitialMargin} from "../margin/InitialMargin.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {OrderHash} from "./OrderHash.sol";

/// @title Filling two signed orders against each other
/// @notice Twin: risk/exact/trading/trade_logic.py. The order of the checks is part of the interface, because a model must raise
///         the same error; it is listed at `fill`.
/// @dev External library, called by delegatecall under the vault's lock. Contract wallets are asked by staticcall before any
///      state changes.
library TradeLogic {
    using AccountLib for AccountLib.Account;

    /// @dev bit of an order's status word
    uint256 internal constant CANCELLED = 1 << 255;
    /// @dev half the order of secp256k1: the larger of the two `s` of a signature is refused
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @param size units bought and sold, > 0
    /// @param price per unit
    struct Fill {
        uint168 buyer;
        uint168 seller;
        uint32 instrument;
        uint128 size;
        uint128 price;
    }

    /* ────────────────────────────── fill ──────────────────────────── */

    /// @notice See IVault.fill. Refusals, in this order, buy before sell wherever both are asked:
    ///         FillSizeInvalid, InstrumentMismatch, OrderSideInvalid, SelfTrade, OrderExpired, OrderIsCancelled, OrderOverfilled
    ///         (with what would be filled), PriceOutOfBounds (the orders' limits), InvalidSignature, RiskParamsMissing,
    ///         UnknownInstrument, InstrumentExpired, PriceOutOfBounds (buy hash with MAX_PRICE_WAD above it; sell hash with 1 where
    ///         a perp or future is priced 0: only an option may be free), SizeOutOfRange, CashOutOfRange and TooManyPositions
    ///         (buyer, then seller), and those of `InitialMargin`.
    function fill(
        VaultStorage.State storage $,
        bytes32 domainSeparator,
        ITrading.Order calldata buy,
        bytes calldata buySignature,
        ITrading.Order calldata sell,
        bytes calldata sellSignature,
        uint128 sizeWad,
        uint128 priceWad
    ) external {
        bytes32 buyHash = OrderHash.digest(domainSeparator, buy);
        bytes32 sellHash = OrderHash.digest(domainSeparator, sell);
        _checkOrders($, buy, buyHash, sell, sellHash, sizeWad, priceWad);
        _checkSignature(buy.account, buyHash, buySignature);
        _checkSignature(sell.account, sellHash, sellSignature);

        Params p = RiskParamsBlob.load($);
        _checkInstrument($, p, buy.instrument);
        if (priceWad > VaultStorage.MAX_PRICE_WAD) {
            revert ITrading.PriceOutOfBounds(buyHash, priceWad, uint128(VaultStorage.MAX_PRICE_WAD));
        }
        if (priceWad == 0 && InstrumentId.kind(buy.instrument) < InstrumentId.CALL) {
            revert ITrading.PriceOutOfBounds(sellHash, 0, 1);
        }

        // cannot overflow into the flag: checked against the signed size
        $.orders[buyHash] += sizeWad;
        $.orders[sellHash] += sizeWad;
        emit ITrading.OrderFilled(
            buyHash, sellHash, buy.instrument, buy.account, sell.account, sizeWad, priceWad
        );
        _execute($, p, Fill(buy.account, sell.account, buy.instrument, sizeWad, priceWad));
    }

    /// @notice See IVault.cancel. Idempotent; a filled order may be cancelled too.
    function cancel(VaultStorage.State storage $, bytes32 domainSeparator, ITrading.Order calldata order) external {
        if (msg.sender != address(uint160(order.account >> 8))) {
            revert ICustody.NotAccountOwner(order.account, msg.sender);
        }
        bytes32 orderHash = OrderHash.digest(domainSeparator, order);
        $.orders[orderHash] |= CANCELLED;
        emit ITrading.OrderCancelled(orderHash, order.account);
    }

    /* ───────────────────────────── checks ─────────────────────────── */

    function _checkOrders(
        VaultStorage.State storage $,
        ITrading.Order calldata buy,
        bytes32 buyHash,
        ITrading.Order calldata sell,
        bytes32 sellHash,
        uint128 sizeWad,
        uint128 priceWad
    ) private view {
        if (sizeWad == 0) revert ITrading.FillSizeInvalid(sizeWad);
        if (buy.instrument != sell.instrument) revert ITrading.InstrumentMismatch(buy.instrument, sell.instrument);
        if (buy.sizeWad <= 0) revert ITrading.OrderSideInvalid(buyHash);
        if (sell.sizeWad >= 0) revert ITrading.OrderSideInvalid(sellHash);
        if (buy.account == sell.account) revert ITrading.SelfTrade(buy.account);
        if (block.timestamp > buy.expiry) revert ITrading.OrderExpired(buyHash, buy.expiry);
        if (block.timestamp > sell.expiry) revert ITrading.OrderExpired(sellHash, sell.expiry);
        uint256 buyStatus = $.orders[buyHash];
        uint256 sellStatus = $.orders[sellHash];
        if (buyStatus & CANCELLED != 0) revert ITrading.OrderIsCancelled(buyHash);
        if (sellStatus & CANCELLED != 0) revert ITrading.OrderIsCancelled(sellHash);
        _checkFilled(buyHash, buyStatus + sizeWad, int256(buy.sizeWad));
        _checkFilled(sellHash, sellStatus + sizeWad, -int256(sell.sizeWad));
        if (priceWad > buy.limitPriceWad) {
            revert ITrading.PriceOutOfBounds(buyHash, priceWad, buy.limitPriceWad);
        }
        if (priceWad < sell.limitPriceWad) {
            revert ITrading.PriceOutOfBounds(sellHash, priceWad, sell.limitPriceWad);
        }
    }

    /// @param filled what would be filled after this fill, @param size of the order, > 0
    function _checkFilled(bytes32 orderHash, uint256 filled, int256 size) private pure {
        if (filled > uint256(size)) revert ITrading.OrderOverfilled(orderHash, filled, uint256(size));
    }

    /// @dev 65-byte (r, s, v) and 64-byte EIP-2098 signatures of plain addresses, `s` in the lower half; ERC-1271 of contracts
    function _checkSignature(uint168 account, bytes32 orderHash, bytes calldata signature) private view {
        address owner = address(uint160(account >> 8));
        if (owner.code.length == 0 && signature.length >= 64) {
            uint256 s = uint256(bytes32(signature[32:64]));
            if (signature.length == 64) s &= ~CANCELLED; // EIP-2098: the top bit is the parity
            if (s > MAX_S) revert ITrading.InvalidSignature(orderHash);
        }
        if (!SignatureCheckerLib.isValidSignatureNowCalldata(owner, orderHash, signature)) {
            revert ITrading.InvalidSignature(orderHash);
        }
    }

    /// @dev listed, in canonical form, with parameters and a snapshot (UnknownInstrument), and not expired (InstrumentExpired)
    function _checkInstrument(VaultStorage.State storage $, Params p, uint32 id) private view {
        uint256 u = InstrumentId.underlying(id);
        bool known = u < $.underlyingCount && u < p.underlyingCount() && $.underlyings[u].epoch != 0;
        uint256 kind = InstrumentId.kind(id);
        if (kind == InstrumentId.PERP) {
            if (!known || id & 0x3ffffff != 0) revert IMarket.UnknownInstrument(id);
            return;
        }
        known = known && $.buckets[InstrumentId.bucketKey(id)].listed;
        known = known
            && (kind == InstrumentId.FUTURE
                    ? InstrumentId.strikeIndex(id) == 0
                    : $.strikes[InstrumentId.strikeKey(id)] != 0);
        if (!known) revert IMarket.UnknownInstrument(id);
        uint256 expiry = InstrumentId.expiry(id);
        if (expiry <= block.timestamp) revert IMarket.InstrumentExpired(id, expiry, block.timestamp);
    }

    /* ──────────────────────────── execution ───────────────────────── */

    /// @dev Moves positions and money, stores both accounts, then asks both for initial margin.
    function _execute(VaultStorage.State storage $, Params p, Fill memory f) private {
        AccountLib.Account[] memory accounts = new AccountLib.Account[](2);
        accounts[0] = AccountLib.load($, f.buyer, 1);
        accounts[1] = AccountLib.load($, f.seller, 1);
        uint256 buyerCount = AccountLib.positionCount(accounts[0]);
        uint256 sellerCount = AccountLib.positionCount(accounts[1]);
        _exchange($, f, accounts[0], accounts[1]);
        AccountLib.store($, accounts[0]);
        AccountLib.store($, accounts[1]);
        WorkLoad.requireIfGrown(p, accounts[0], buyerCount, WorkLoad.LIMIT);
        WorkLoad.requireIfGrown(p, accounts[1], sellerCount, WorkLoad.LIMIT);
        InitialMargin.requireInitial($, p, accounts);
    }

    /// @dev The buyer pays ⌈size·price⌉, the seller gets ⌊size·price⌋. Options are paid in cash, and the wei between the two goes
    ///      to the insurance fund, which keeps the token identity exact. Perps and futures book it into the quotes.
    function _exchange(
        VaultStorage.State storage $,
        Fill memory f,
        AccountLib.Account memory buyer,
        AccountLib.Account memory seller
    ) private {
        int256 size = int256(uint256(f.size));
        int256 paid = int256(WadMath.mulWadUp(f.size, f.price));
        int256 received = int256(WadMath.mulWadDown(f.size, f.price));
        int256 buyerCash = buyer.cashWad;
        int256 sellerCash = seller.cashWad;
        int256 dLong;
        if (InstrumentId.kind(f.instrument) < InstrumentId.CALL) {
            dLong = PositionLib.changeLinear($, buyer, f.instrument, size, -paid);
            dLong += PositionLib.changeLinear($, seller, f.instrument, -size, received);
        } else {
            dLong = PositionLib.changeOption(buyer, f.instrument, size);
            dLong += PositionLib.changeOption(seller, f.instrument, -size);
            buyer.cashWad -= paid;
            seller.cashWad += received;
            if (paid != received) {
                uint128 insuranceWad = $.insuranceWad + 1;
                $.insuranceWad = insuranceWad;
                emit ICustody.InsuranceChanged(insuranceWad);
            }
        }
        if (buyer.cashWad != buyerCash) emit ICustody.CashChanged(f.buyer, buyer.cashWad);
        if (seller.cashWad != sellerCash) emit ICustody.CashChanged(f.seller, seller.cashWad);
        PositionLib.addOpenInterest($, InstrumentId.underlying(f.instrument), dLong, f.buyer, f.instrument);
    }
}
