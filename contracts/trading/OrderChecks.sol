// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {ITrading} from "../../interfaces/ITrading.sol";
import {Rights} from "../accounts/Rights.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title What an order must satisfy before a fill of it may touch an account
/// @notice Twin: risk/exact/trading/order_checks.py. Nothing here changes state. Contract wallets are asked by staticcall.
library OrderChecks {
    /// @dev bit of an order's status word
    uint256 internal constant CANCELLED = 1 << 255;
    /// @dev flags of an order
    uint8 internal constant REDUCE_ONLY = 1;
    uint8 internal constant TRIGGER_ABOVE = 2;
    uint8 internal constant TRIGGER_BELOW = 4;
    uint8 internal constant TRIGGER = TRIGGER_ABOVE | TRIGGER_BELOW;
    /// @dev half the order of secp256k1: the larger of the two `s` of a signature is refused
    uint256 private constant MAX_S = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /* ───────────────────────────── orders ─────────────────────────── */

    /// @notice That the two orders match each other, `sizeWad` and `priceWad`; errors in the order of `TradeLogic.fill`, from
    ///         FillSizeInvalid to PriceOutOfBounds of the limits.
    function requireMatch(
        VaultStorage.State storage $,
        ITrading.Order calldata buy,
        bytes32 buyHash,
        ITrading.Order calldata sell,
        bytes32 sellHash,
        uint128 sizeWad,
        uint128 priceWad
    ) internal view {
        if (sizeWad == 0) revert ITrading.FillSizeInvalid(sizeWad);
        if (buy.instrument != sell.instrument) revert ITrading.InstrumentMismatch(buy.instrument, sell.instrument);
        if (buy.sizeWad <= 0) revert ITrading.OrderSideInvalid(buyHash);
        if (sell.sizeWad >= 0) revert ITrading.OrderSideInvalid(sellHash);
        if (buy.account == sell.account) revert ITrading.SelfTrade(buy.account);
        _requireFlags(buy.flags, buyHash);
        _requireFlags(sell.flags, sellHash);
        if (block.timestamp < buy.createdAt) revert ITrading.OrderNotYetValid(buyHash, buy.createdAt);
        if (block.timestamp < sell.createdAt) revert ITrading.OrderNotYetValid(sellHash, sell.createdAt);
        if (block.timestamp > buy.expiry) revert ITrading.OrderExpired(buyHash, buy.expiry);
        if (block.timestamp > sell.expiry) revert ITrading.OrderExpired(sellHash, sell.expiry);
        uint256 buyStatus = $.orders[buyHash];
        uint256 sellStatus = $.orders[sellHash];
        if (buyStatus & CANCELLED != 0) revert ITrading.OrderIsCancelled(buyHash);
        if (sellStatus & CANCELLED != 0) revert ITrading.OrderIsCancelled(sellHash);
        if (buy.nonce < $.minNonce[buy.account]) revert ITrading.NonceTooLow(buyHash);
        if (sell.nonce < $.minNonce[sell.account]) revert ITrading.NonceTooLow(sellHash);
        _requireUnfilled(buyHash, buyStatus + sizeWad, int256(buy.sizeWad));
        _requireUnfilled(sellHash, sellStatus + sizeWad, -int256(sell.sizeWad));
        if (priceWad > buy.limitPriceWad) {
            revert ITrading.PriceOutOfBounds(buyHash, priceWad, buy.limitPriceWad);
        }
        if (priceWad < sell.limitPriceWad) {
            revert ITrading.PriceOutOfBounds(sellHash, priceWad, sell.limitPriceWad);
        }
    }

    /// @dev FlagsInvalid where both triggers or an unknown bit are set
    function _requireFlags(uint8 flags, bytes32 orderHash) private pure {
        if (flags > (REDUCE_ONLY | TRIGGER_BELOW) || flags & TRIGGER == TRIGGER) {
            revert ITrading.FlagsInvalid(orderHash, flags);
        }
    }

    /// @param filled what would be filled after this fill, @param size of the order, > 0
    function _requireUnfilled(bytes32 orderHash, uint256 filled, int256 size) private pure {
        // forge-lint: disable-next-line(unsafe-typecast) the sides were tested before: size > 0
        if (filled > uint256(size)) revert ITrading.OrderOverfilled(orderHash, filled, uint256(size));
    }

    /* ──────────────────────────── signature ───────────────────────── */

    /// @notice The owner signed, or an operator that holds TRADE now; `InvalidSignature` otherwise.
    /// @dev 65-byte (r, s, v) and 64-byte EIP-2098 signatures, `s` in the lower half, of the key of the owner or of an operator;
    ///      ERC-1271 of an owner that has code. The right is read at the fill, so what a revoked operator signed is dead.
    function requireSignature(VaultStorage.State storage $, uint168 account, bytes32 orderHash, bytes calldata signature)
        internal
        view
    {
        // forge-lint: disable-next-line(unsafe-typecast) an account is owner << 8 with a sub-account below, 168 bits
        address owner = address(uint160(account >> 8));
        address signer = _recover(orderHash, signature);
        if (signer != address(0) && (signer == owner || $.operators[account][signer] & Rights.TRADE != 0)) return;
        if (owner.code.length != 0) {
            if (SignatureCheckerLib.isValidERC1271SignatureNowCalldata(owner, orderHash, signature)) return;
        }
        revert ITrading.InvalidSignature(orderHash);
    }

    /// @dev The plain address that signed, 0 where there is none: (r, s, v), or (r, vs) with the parity in the top bit of s
    function _recover(bytes32 orderHash, bytes calldata signature) private pure returns (address) {
        if (signature.length != 64 && signature.length != 65) return address(0);
        uint256 s = uint256(bytes32(signature[32:64]));
        uint8 v;
        if (signature.length == 65) {
            v = uint8(signature[64]);
        } else {
            // forge-lint: disable-next-line(unsafe-typecast) 27 plus the top bit of s
            v = uint8(27 + (s >> 255));
            s &= type(uint256).max >> 1;
        }
        if (s > MAX_S) return address(0);
        return ecrecover(orderHash, v, bytes32(signature[:32]), bytes32(s));
    }

    /* ──────────────────────────── instrument ──────────────────────── */

    /// @notice Listed, in canonical form, with parameters and a snapshot (UnknownInstrument), and not expired (InstrumentExpired)
    function requireInstrument(VaultStorage.State storage $, Params p, uint32 id) internal view {
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

    /* ───────────────────────────── trigger ────────────────────────── */

    /// @notice Of an order with a trigger: the last two snapshots of the underlying, taken at different times, are both later
    ///         than the order and at or beyond the trigger price (`TriggerNotHit`), and in a perp or future the price is within
    ///         the slippage of the present snapshot, |price − mark|·10^4 ≤ slippage·mark (`SlippageExceeded`; `SliceMissing` of
    ///         a future).
    function requireTrigger(
        VaultStorage.State storage $,
        ITrading.Order calldata order,
        bytes32 orderHash,
        uint128 priceWad
    ) internal view {
        uint256 flags = order.flags;
        if (flags & TRIGGER == 0) return;
        VaultStorage.UnderlyingData storage data = $.underlyings[InstrumentId.underlying(order.instrument)];
        (uint256 price, uint256 previous) = (data.priceWad, data.previousPriceWad);
        uint256 trigger = order.triggerPriceWad;
        bool hit = flags & TRIGGER_ABOVE != 0
            ? price >= trigger && previous >= trigger
            : price <= trigger && previous <= trigger;
        uint256 previousTime = data.previousTime;
        if (!hit || previousTime <= order.createdAt || data.time <= previousTime) {
            revert ITrading.TriggerNotHit(orderHash);
        }
        uint256 kind = InstrumentId.kind(order.instrument);
        if (kind >= InstrumentId.CALL) return;
        if (kind == InstrumentId.FUTURE) price = uint256(PnlLib.linearMark($, order.instrument));
        uint256 distance = priceWad > price ? priceWad - price : price - priceWad;
        if (distance * 1e4 > order.slippageBps * price) {
            revert ITrading.SlippageExceeded(orderHash, priceWad, price);
        }
    }
}
