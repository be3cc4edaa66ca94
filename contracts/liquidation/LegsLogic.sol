// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Rights} from "../accounts/Rights.sol";
import {WorkLoad} from "../accounts/WorkLoad.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {WadMath} from "../math/WadMath.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {HealthTest} from "./HealthTest.sol";

/// @title Liquidation by legs
/// @notice Twin: risk/exact/liquidation/legs_logic.py. The liquidator names positions and takes them at mark less the reward;
///         conditions and what they are good for: docs/liquidation.md §7.
library LegsLogic {
    using AccountLib for AccountLib.Account;

    uint256 private constant WAD = 1e18;
    /// @dev HF may end above the target by this much: sizes are whole numbers
    int256 private constant TARGET_TOLERANCE = 1e12;

    struct Legs {
        uint168 account;
        uint168 liquidator;
        uint256[] legs; // instrument(32) << 96 | size(96)
        int256 maxPaymentWad;
        bytes data;
    }

    /* ──────────────────────────── liquidate ───────────────────────── */

    /// @notice See IVaultExtension.liquidateLegs. Refusals, in this order: NotAccountOwner(liquidator; the owner or an operator
    ///         with TRADE), SelfLiquidation, SequencerDown, SequencerGrace, RiskParamsMissing, InitialMarginOwed, errors of
    ///         settling and of the margin of the account, AccountHealthy, NotFlagged, GracePeriod; leg by leg LegInvalid and
    ///         SizeOutOfRange (liquidator); LegsBankrupt, errors of the margin, LegsKeepRequirement, PaymentAboveLimit,
    ///         LegsKeepShortfall, LegsKeepHealth, LegsAboveTarget; CashOutOfRange (account), TooManyPositions, CashOutOfRange
    ///         and AccountTooHeavy (liquidator); the rest as in a slice.
    function liquidateLegs(VaultStorage.State storage $, Legs calldata given) external returns (int256 paymentWad) {
        Rights.requireRight($, given.liquidator, Rights.TRADE);
        if (given.account == given.liquidator) revert ILiquidation.SelfLiquidation(given.account);
        HealthTest.requireSequencer($);
        HealthTest.Case memory c = HealthTest.open($, given.account);
        AccountLib.Account memory b = HealthTest.loadSettled($, c, given.liquidator, given.legs.length);
        HealthTest.poke($, c, HealthTest.maskOf(c.p, b));
        HealthTest.requireUnhealthy($, c);
        HealthTest.requireGrace($, c);
        uint256 positions = b.positionCount();
        uint256 allowed = WorkLoad.allowance(c.p, c.a);
        _take($, c.a, b, given.legs);
        paymentWad = _settle($, c, given);
        b.cashWad -= paymentWad;
        AccountLib.store($, c.a);
        AccountLib.store($, b);
        WorkLoad.requireIfGrown(c.p, b, positions, allowed);
        emit ICustody.CashChanged(given.account, c.a.cashWad);
        emit ICustody.CashChanged(given.liquidator, b.cashWad);
        HealthTest.finish($, c, b, 0, paymentWad, given.data);
    }

    /* ────────────────────────────── steps ─────────────────────────── */

    /// @dev Moves every leg from `a` to `b`, with open interest and events. `legs` ascend strictly by instrument.
    function _take(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        uint256[] calldata legs
    ) private {
        uint256 next = 0;
        for (uint256 i = 0; i < legs.length; ++i) {
            // the bits above instrument and size are not read
            uint256 id = uint32(legs[i] >> 96);
            int256 size = int96(uint96(legs[i]));
            if (id < next) revert ILiquidation.LegInvalid(uint32(id));
            next = id + 1;
            int256 dLong = InstrumentId.kind(id) < InstrumentId.CALL
                ? _takeLinear($, a, b, id, size)
                : _takeOption(a, b, id, size);
            PositionLib.addInstrumentInterest($, id, dLong, b.id);
            PositionLib.addOpenInterest($, InstrumentId.underlying(id), dLong, b.id, id);
        }
    }

    /// @dev The same fraction of the quote as of the size, towards zero; all of it with all of the size
    function _takeLinear(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        uint256 id,
        int256 size
    ) private returns (int256 dLong) {
        uint256 i = a.findLinear(id);
        if (i == a.linearCount) revert ILiquidation.LegInvalid(uint32(id));
        (, int256 held, int256 quote) = a.linearAt(i);
        size = _part(id, size, held);
        // |quote| < 2^127, |size| < 2^95
        int256 dQuote = quote * size / held;
        dLong = PositionLib.changeLinear($, a, id, -size, -dQuote);
        dLong += PositionLib.changeLinear($, b, id, size, dQuote);
    }

    function _takeOption(AccountLib.Account memory a, AccountLib.Account memory b, uint256 id, int256 size)
        private
        returns (int256 dLong)
    {
        uint256 i = a.findOption(id);
        if (i == a.optionCount) revert ILiquidation.LegInvalid(uint32(id));
        (, int256 held) = a.optionAt(i);
        size = _part(id, size, held);
        dLong = PositionLib.changeOption(a, id, -size) + PositionLib.changeOption(b, id, size);
    }

    /// @dev What is taken of `held`: `size`, which has its sign and is not zero, and no more than there is. Somebody may have
    ///      taken a little a moment before.
    function _part(uint256 id, int256 size, int256 held) private pure returns (int256) {
        // an entry of size zero is a claim, of which no leg can be taken
        if (size == 0 || held == 0 || (size < 0) != (held < 0)) revert ILiquidation.LegInvalid(uint32(id));
        return WadMath.abs(size) > WadMath.abs(held) ? held : size;
    }

    /// @dev What the legs cost, paid into `a`, and whether it is better off. The legs' value at mark is what M fell by when they
    ///      left, to the wei. The reward is ρ per unit of requirement taken over, rounded down, and no more than M was: what an
    ///      account does not have cannot be a reward.
    function _settle(VaultStorage.State storage $, HealthTest.Case memory c, Legs calldata given)
        private
        returns (int256 paymentWad)
    {
        AccountLib.Account memory a = c.a;
        IMargin.Margin memory before = c.m;
        // its positions are for the waterfall: a holder of the other side could take them and escape his haircut
        if (before.markEquity < 0) revert ILiquidation.LegsBankrupt(a.id, before.markEquity);
        IMargin.Margin memory left = MarginEngine.compute($, c.p, a, true);
        if (left.mm >= before.mm) revert ILiquidation.LegsKeepRequirement(a.id, before.mm, left.mm);
        uint256 rewardWad = HealthTest.reward($, c.p, c.t, a.id, before.healthFactor);
        // forge-lint: disable-start(unsafe-typecast) MM < 2^237, and a reward is below 7
        paymentWad = before.markEquity - left.markEquity
            - WadMath.min(int256(WadMath.mulWadDown(rewardWad, before.mm - left.mm)), before.markEquity);
        // forge-lint: disable-end(unsafe-typecast)
        if (paymentWad > given.maxPaymentWad) revert ILiquidation.PaymentAboveLimit(paymentWad, given.maxPaymentWad);
        emit ILiquidation.LegsLiquidated(a.id, given.liquidator, given.legs.length, paymentWad, rewardWad);
        a.cashWad += paymentWad;
        _requireBetter($, c, left, paymentWad);
    }

    /// @dev The conditions on E − MM and HF, after the payment. MM depends on cash only through the question whether there are
    ///      obligations, so it is computed again only where the payment changed the answer.
    function _requireBetter(
        VaultStorage.State storage $,
        HealthTest.Case memory c,
        IMargin.Margin memory left,
        int256 paymentWad
    ) private {
        AccountLib.Account memory a = c.a;
        IMargin.Margin memory before = c.m;
        left.equity += paymentWad;
        // forge-lint: disable-start(unsafe-typecast) MM < 2^237; the target has 16 bits of bps
        if (a.hasObligations() != left.hasObligations) {
            left = MarginEngine.compute($, c.p, a, true);
            if (left.mm >= before.mm) revert ILiquidation.LegsKeepRequirement(a.id, before.mm, left.mm);
        }
        (int256 shortBefore, int256 shortAfter) =
            (before.equity - int256(before.mm), left.equity - int256(left.mm));
        if (shortAfter <= shortBefore) revert ILiquidation.LegsKeepShortfall(a.id, shortBefore, shortAfter);
        int256 healthFactor = left.mm == 0
            ? (left.equity > 0 ? type(int256).max : int256(0))
            : WadMath.mulDivFloor(left.equity, WAD, left.mm);
        if (before.equity > 0 && healthFactor <= before.healthFactor) {
            revert ILiquidation.LegsKeepHealth(a.id, before.healthFactor, healthFactor);
        }
        int256 limit = int256(c.p.targetBps() * 1e14) + TARGET_TOLERANCE;
        if (healthFactor > limit) revert ILiquidation.LegsAboveTarget(a.id, healthFactor, limit);
        // forge-lint: disable-end(unsafe-typecast)
    }
}
