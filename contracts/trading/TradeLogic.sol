// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {ISettlement} from "../../interfaces/ISettlement.sol";
import {ITrading} from "../../interfaces/ITrading.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Rights} from "../accounts/Rights.sol";
import {WorkLoad} from "../accounts/WorkLoad.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {Drift} from "../margin/Drift.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {Breaker} from "../market/Breaker.sol";
import {Funding} from "../market/Funding.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {OrderChecks} from "./OrderChecks.sol";
import {OrderHash} from "./OrderHash.sol";
import {ReduceLib} from "./ReduceLib.sol";
import {ReduceLogic} from "./ReduceLogic.sol";

/// @title Filling two signed orders against each other
/// @notice Twin: risk/exact/trading/trade_logic.py. The order of the checks is part of the interface, because a model must raise
///         the same error; it is listed at `fill`.
/// @dev External library, called by delegatecall under the vault's lock. Contract wallets are asked by staticcall before any
///      state changes.
library TradeLogic {
    using AccountLib for AccountLib.Account;

    /// @dev bit of an order's status word
    uint256 internal constant CANCELLED = OrderChecks.CANCELLED;

    /// @param orderHash digest of the order behind it
    /// @param change of the position, signed: > 0 for the buyer
    /// @param reduceOnly the order's flag
    /// @param reduces |size| falls and does not change its sign
    /// @param judged it reduces and had obligations before, so it may pass as a reduction
    /// @param held what the fill may change of the account, before it
    // In memory a field takes a word whatever its place.
    // solhint-disable-next-line gas-struct-packing
    struct Side {
        uint168 account;
        bytes32 orderHash;
        int256 change;
        bool reduceOnly;
        bool reduces;
        bool judged;
        ReduceLib.Held held;
    }

    /// @param size units bought and sold, > 0
    /// @param price per unit
    struct Fill {
        Side buy;
        Side sell;
        uint32 instrument;
        uint128 size;
        uint128 price;
    }

    /* ────────────────────────────── fill ──────────────────────────── */

    /// @notice See IVault.fill. Refusals, in this order, buy before sell wherever both are asked:
    ///         orders: FillSizeInvalid, InstrumentMismatch, OrderSideInvalid, SelfTrade, FlagsInvalid, OrderNotYetValid,
    ///         OrderExpired, OrderIsCancelled, NonceTooLow, OrderOverfilled (with what would be filled), PriceOutOfBounds (the
    ///         orders' limits), InvalidSignature;
    ///         instrument: RiskParamsMissing, UnknownInstrument, InstrumentExpired, PriceOutOfBounds (buy hash with MAX_PRICE_WAD
    ///         above it; sell hash with 1 where a perp or future is priced 0: only an option may be free);
    ///         triggers, all of the buy first: TriggerNotHit, SlippageExceeded;
    ///         sides: WouldNotReduce; where one increases: WindingDown, ReduceOnly;
    ///         execution: SizeOutOfRange, PositionCapExceeded, OpenInterestCapExceeded, TooManyPositions and CashOutOfRange
    ///         (buyer, then seller), AccountTooHeavy;
    ///         margin: those of `InitialMargin`, of the sides that do not pass as a reduction; before these, where initial margin
    ///         of both fails, errors of the margins of the sides that reduce.
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
        Fill memory f;
        (f.instrument, f.size, f.price) = (buy.instrument, sizeWad, priceWad);
        _setSide(f.buy, buy, OrderHash.digest(domainSeparator, buy), int256(uint256(sizeWad)));
        _setSide(f.sell, sell, OrderHash.digest(domainSeparator, sell), -int256(uint256(sizeWad)));
        OrderChecks.requireMatch($, buy, f.buy.orderHash, sell, f.sell.orderHash, sizeWad, priceWad);
        OrderChecks.requireSignature($, buy.account, f.buy.orderHash, buySignature);
        OrderChecks.requireSignature($, sell.account, f.sell.orderHash, sellSignature);

        Params p = RiskParamsBlob.load($);
        OrderChecks.requireInstrument($, p, buy.instrument);
        if (priceWad > VaultStorage.MAX_PRICE_WAD) {
            revert ITrading.PriceOutOfBounds(f.buy.orderHash, priceWad, uint128(VaultStorage.MAX_PRICE_WAD));
        }
        if (priceWad == 0 && InstrumentId.kind(buy.instrument) < InstrumentId.CALL) {
            revert ITrading.PriceOutOfBounds(f.sell.orderHash, 0, 1);
        }
        OrderChecks.requireTrigger($, buy, f.buy.orderHash, priceWad);
        OrderChecks.requireTrigger($, sell, f.sell.orderHash, priceWad);

        // cannot overflow into the flag: checked against the signed size
        $.orders[f.buy.orderHash] += sizeWad;
        $.orders[f.sell.orderHash] += sizeWad;
        emit ITrading.OrderFilled(
            f.buy.orderHash, f.sell.orderHash, f.instrument, f.buy.account, f.sell.account, sizeWad, priceWad
        );
        _execute($, p, f);
    }

    /// @notice See IVault.cancel. By the owner or an operator with TRADE. Idempotent; a filled order may be cancelled too.
    function cancel(VaultStorage.State storage $, bytes32 domainSeparator, ITrading.Order calldata order) external {
        Rights.requireRight($, order.account, Rights.TRADE);
        bytes32 orderHash = OrderHash.digest(domainSeparator, order);
        $.orders[orderHash] |= CANCELLED;
        emit ITrading.OrderCancelled(orderHash, order.account);
    }

    function _setSide(Side memory side, ITrading.Order calldata order, bytes32 orderHash, int256 change) private pure {
        (side.account, side.orderHash, side.change) = (order.account, orderHash, change);
        side.reduceOnly = order.flags & OrderChecks.REDUCE_ONLY != 0;
    }

    /* ──────────────────────────── execution ───────────────────────── */

    /// @dev Moves positions and money, stores both accounts, then asks for margin.
    function _execute(VaultStorage.State storage $, Params p, Fill memory f) private {
        Tail t = ParamsTail.load($, p);
        InterestLib.accrue($);
        if (InstrumentId.kind(f.instrument) == InstrumentId.PERP) {
            Funding.accrueAt($, t, InstrumentId.underlying(f.instrument));
        }
        AccountLib.Account memory buyer = AccountLib.load($, f.buy.account, 1);
        AccountLib.Account memory seller = AccountLib.load($, f.sell.account, 1);
        _classify(f.buy, buyer, f.instrument);
        _classify(f.sell, seller, f.instrument);
        if (!f.buy.reduces || !f.sell.reduces) _requireIncreaseAllowed($, f.instrument);

        uint256 buyerCount = AccountLib.positionCount(buyer);
        uint256 sellerCount = AccountLib.positionCount(seller);
        int256 dLong = _exchange($, t, f, buyer, seller);
        _requireCaps($, t, f, buyer, seller, dLong);
        AccountLib.store($, buyer);
        AccountLib.store($, seller);
        WorkLoad.requireIfGrown(p, buyer, buyerCount, WorkLoad.LIMIT);
        WorkLoad.requireIfGrown(p, seller, sellerCount, WorkLoad.LIMIT);
        _requireMargin($, f, buyer, seller);
    }

    /// @dev Fills in what depends on the account; WouldNotReduce where the order asks for it.
    function _classify(Side memory side, AccountLib.Account memory a, uint32 id) private pure {
        int256 size;
        (side.held, size) = ReduceLib.hold(a, id, InstrumentId.kind(id) >= InstrumentId.CALL);
        side.reduces = ReduceLib.reduces(size, side.change);
        if (side.reduceOnly && !side.reduces) revert ITrading.WouldNotReduce(side.orderHash);
        side.judged = side.reduces && a.hasObligations();
    }

    /// @dev WindingDown, then ReduceOnly while the circuit breaker of the underlying stands
    function _requireIncreaseAllowed(VaultStorage.State storage $, uint32 id) private view {
        if ($.mode != 0) revert ISettlement.WindingDown();
        uint256 u = InstrumentId.underlying(id);
        // forge-lint: disable-next-line(unsafe-typecast) u < 16 counts underlyings
        if (Breaker.active($, u)) revert IMarket.ReduceOnly(uint8(u), $.underlyings[u].reduceOnlyUntil);
    }

    /// @dev Initial margin of both sides. Where that fails, or must wait for the end of a batch, a side that reduces may pass as
    ///      a reduction instead, at once; of the others initial margin is asked again, and its error is the one that counts.
    function _requireMargin(
        VaultStorage.State storage $,
        Fill memory f,
        AccountLib.Account memory buyer,
        AccountLib.Account memory seller
    ) private {
        uint256[] memory ids = new uint256[](2);
        (ids[0], ids[1]) = (f.buy.account, f.sell.account);
        if (f.buy.judged || f.sell.judged) {
            if (!VaultLock.isDeferring($) && _hasInitial($, ids)) return;
            bool buy = !_passes($, f.buy, buyer, f.instrument);
            bool sell = !_passes($, f.sell, seller, f.instrument);
            if (!buy && !sell) return;
            if (!buy) ids[0] = ids[1];
            if (!buy || !sell) {
                assembly ("memory-safe") {
                    mstore(ids, 1)
                }
            }
        }
        MarginLogic.requireInitial($, ids);
    }

    /// @dev As MarginLogic.requireInitial, but false instead of an error, and then nothing of it stays. A caller who starves it
    ///      of gas gains nothing: what follows decides without it.
    function _hasInitial(VaultStorage.State storage $, uint256[] memory ids) private returns (bool ok) {
        uint256 slot;
        assembly ("memory-safe") {
            slot := $.slot
        }
        (ok,) = address(MarginLogic).delegatecall(
            abi.encodeWithSelector(MarginLogic.requireInitial.selector, slot, ids)
        );
    }

    function _passes(VaultStorage.State storage $, Side memory side, AccountLib.Account memory a, uint32 id)
        private
        returns (bool)
    {
        if (!side.judged) return false;
        ReduceLib.restore(a, side.held, InstrumentId.kind(id) >= InstrumentId.CALL);
        return ReduceLogic.accepts($, a);
    }

    /* ────────────────────────── money, positions ──────────────────── */

    /// @dev The buyer pays ⌈size·price⌉, the seller gets ⌊size·price⌋. Options are paid in cash, and the wei between the two goes
    ///      to the insurance fund, which keeps the token identity exact. Perps and futures book it into the quotes. Then the
    ///      fees.
    /// @return dLong change of the open interest
    function _exchange(
        VaultStorage.State storage $,
        Tail t,
        Fill memory f,
        AccountLib.Account memory buyer,
        AccountLib.Account memory seller
    ) private returns (int256 dLong) {
        (int256 buyerCash, int256 sellerCash) = (buyer.cashWad, seller.cashWad);
        uint256 toInsurance = 0;
        if (InstrumentId.kind(f.instrument) < InstrumentId.CALL) {
            dLong = _exchangeLinear($, f, buyer, seller);
        } else {
            (int256 paid, int256 received) = _prices(f.buy.change, int256(uint256(f.price)));
            dLong = PositionLib.changeOption(buyer, f.instrument, f.buy.change);
            dLong += PositionLib.changeOption(seller, f.instrument, f.sell.change);
            buyer.cashWad -= paid;
            seller.cashWad += received;
            // forge-lint: disable-next-line(unsafe-typecast) a product rounded up minus it rounded down: 0 or 1
            toInsurance = uint256(paid - received);
        }
        uint256 fee = _fee($, t, f);
        if (fee != 0) {
            // forge-lint: disable-next-line(unsafe-typecast) < 2^124, see `_fee`
            int256 signed = int256(fee);
            buyer.cashWad -= signed;
            seller.cashWad -= signed;
            toInsurance += 2 * fee;
            emit ITrading.FeePaid(f.buy.account, f.instrument, fee);
            emit ITrading.FeePaid(f.sell.account, f.instrument, fee);
        }
        if (buyer.cashWad != buyerCash) emit ICustody.CashChanged(f.buy.account, buyer.cashWad);
        if (seller.cashWad != sellerCash) emit ICustody.CashChanged(f.sell.account, seller.cashWad);
        if (toInsurance != 0) {
            toInsurance += $.insuranceWad;
            if (toInsurance > type(uint128).max) revert ICustody.CashOutOfRange(0);
            // forge-lint: disable-next-line(unsafe-typecast) checked in the line above
            $.insuranceWad = uint128(toInsurance);
            emit ICustody.InsuranceChanged(toInsurance);
        }
        PositionLib.addOpenInterest($, InstrumentId.underlying(f.instrument), dLong, f.buy.account, f.instrument);
        PositionLib.addInstrumentInterest($, f.instrument, dLong, f.buy.account);
    }

    /// @dev A perp is marked at index − cumulative funding, so it is booked at price − cumulative funding.
    function _exchangeLinear(
        VaultStorage.State storage $,
        Fill memory f,
        AccountLib.Account memory buyer,
        AccountLib.Account memory seller
    ) private returns (int256 dLong) {
        int256 price = int256(uint256(f.price));
        if (InstrumentId.kind(f.instrument) == InstrumentId.PERP) {
            price -= int256($.underlyings[InstrumentId.underlying(f.instrument)].fundingE12) * PnlLib.FUNDING_UNIT;
        }
        (int256 paid, int256 received) = _prices(f.buy.change, price);
        dLong = PositionLib.changeLinear($, buyer, f.instrument, f.buy.change, -paid);
        dLong += PositionLib.changeLinear($, seller, f.instrument, f.sell.change, received);
    }

    /// @return paid ⌈size·price⌉, @return received ⌊size·price⌋
    function _prices(int256 size, int256 price) private pure returns (int256 paid, int256 received) {
        return (-WadMath.floorWad(-size * price), WadMath.floorWad(size * price));
    }

    /// @dev Fee of each side: ⌈size·S·fee/1e6⌉ at the snapshot; of an option at most ⌈premium·cap/1e4⌉ where the cap is not 0.
    ///      Rounded up, so splitting a fill never lowers what is paid.
    function _fee(VaultStorage.State storage $, Tail t, Fill memory f) private view returns (uint256 fee) {
        fee = t.tradeFeeE6();
        if (fee == 0) return 0;
        uint256 size = f.size;
        // size < 2^95, prices < 2^84, rates < 2^24
        fee = WadMath.mulDivUp(size * $.underlyings[InstrumentId.underlying(f.instrument)].priceWad, fee, 1e24);
        uint256 capBps = t.optionFeeCapBps();
        if (capBps != 0 && InstrumentId.kind(f.instrument) >= InstrumentId.CALL) {
            fee = WadMath.min(fee, WadMath.mulDivUp(size * f.price, capBps, 1e22));
        }
    }

    /* ────────────────────────────── caps ──────────────────────────── */

    /// @dev PositionCapExceeded of each side that increases, then OpenInterestCapExceeded where open interest grew
    function _requireCaps(
        VaultStorage.State storage $,
        Tail t,
        Fill memory f,
        AccountLib.Account memory buyer,
        AccountLib.Account memory seller,
        int256 dLong
    ) private view {
        uint256 u = InstrumentId.underlying(f.instrument);
        uint256 cap = t.positionCapWad(u);
        if (cap != 0) {
            if (!f.buy.reduces) _requireUnits(buyer, u, cap);
            if (!f.sell.reduces) _requireUnits(seller, u, cap);
        }
        cap = t.oiCapWad(u);
        if (cap == 0 || dLong <= 0) return;
        uint256 openInterest = $.underlyings[u].openInterestWad;
        // forge-lint: disable-next-line(unsafe-typecast) u < 16 counts underlyings
        if (openInterest > cap) revert ITrading.OpenInterestCapExceeded(uint8(u), openInterest, cap);
    }

    function _requireUnits(AccountLib.Account memory a, uint256 u, uint256 cap) private pure {
        uint256 units = Drift.positionUnits(a)[u];
        // forge-lint: disable-next-line(unsafe-typecast) u < 16 counts underlyings
        if (units > cap) revert ITrading.PositionCapExceeded(a.id, uint8(u), units, cap);
    }
}
