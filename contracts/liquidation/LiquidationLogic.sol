// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Rights} from "../accounts/Rights.sol";
import {WorkLoad} from "../accounts/WorkLoad.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {HealthTest} from "./HealthTest.sol";
import {LiveLogic} from "./LiveLogic.sol";
import {SliceLegs} from "./SliceLegs.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title Slice liquidation
/// @notice Twin: risk/exact/liquidation/liquidation_logic.py. Procedure, formulas and bounds: docs/liquidation.md. The liquidator
///         takes the fraction f ≤ f* of everything the account holds for ⌈f·(M − ρ·MM)⌉; where that is negative the
///         insurance fund pays, as far as it reaches.
library LiquidationLogic {
    using AccountLib for AccountLib.Account;

    uint256 private constant WAD = 1e18;
    /// @dev Rounding the legs may lower HF by this much, and by the grain of the collateral …
    int256 private constant HEALTH_TOLERANCE = 1e12;
    /// @dev … and where the remaining requirement is below one unit of cash, by anything
    uint256 private constant DUST_MM = 1e18;

    /// @param data not empty: callback before the liquidator is checked
    struct Slice {
        uint168 account;
        uint168 liquidator;
        uint256 fractionWad;
        int256 maxPaymentWad;
        bytes data;
    }

    /* ──────────────────────────── liquidate ───────────────────────── */

    /// @notice See IVault.liquidate, IVaultExtension.liquidateFlash. Refusals, in this order: NotAccountOwner(liquidator; the
    ///         owner or an operator with TRADE), SelfLiquidation, FractionInvalid, SequencerDown, SequencerGrace,
    ///         RiskParamsMissing, InitialMarginOwed(account), errors of settling, errors of the margin of the account,
    ///         AccountHealthy, NotFlagged, GracePeriod, PaymentAboveLimit, SizeOutOfRange of the liquidator (perps and futures,
    ///         then options, in storage order), CashOutOfRange (account), TooManyPositions, CashOutOfRange and AccountTooHeavy
    ///         (liquidator), SliceLoweredHealth, TooManyDeferred,
    ///         what the callback reverts with, MixedGroups(liquidator), errors of the margin of the liquidator,
    ///         InsufficientMargin(liquidator); with a callback at last those of the deferred checks.
    function liquidate(VaultStorage.State storage $, Slice calldata s)
        external
        returns (uint256 fraction, int256 paymentWad)
    {
        Rights.requireRight($, s.liquidator, Rights.TRADE);
        if (s.account == s.liquidator) revert ILiquidation.SelfLiquidation(s.account);
        if (s.fractionWad == 0 || s.fractionWad > WAD) revert ILiquidation.FractionInvalid(s.fractionWad);
        HealthTest.requireSequencer($);
        HealthTest.Case memory c = HealthTest.open($, s.account);
        AccountLib.Account memory b =
            HealthTest.loadSettled($, c, s.liquidator, WadMath.max(c.a.linearCount, c.a.optionCount));
        HealthTest.poke($, c, HealthTest.maskOf(c.p, b));
        HealthTest.requireUnhealthy($, c);
        HealthTest.requireGrace($, c);
        (fraction, paymentWad) = _price($, c, s);
        _move($, c, b, fraction, paymentWad);
        _checkHealth($, c.p, c.a, c.m.healthFactor);
        HealthTest.finish($, c, b, fraction, paymentWad, s.data);
    }

    /* ────────────────────────────── steps ─────────────────────────── */

    /// @dev The fraction that is taken and what it costs. A negative payment is what the insurance fund has paid, and the
    ///      caller's limit applies to what is really paid.
    function _price(VaultStorage.State storage $, HealthTest.Case memory c, Slice calldata s)
        private
        returns (uint256 fraction, int256 paymentWad)
    {
        ILiquidation.LiquidationQuote memory q = HealthTest.quote($, c.p, c.t, s.account, c.m);
        fraction = SliceMath.withDust(s.fractionWad, q.maxFractionWad, c.m.mm, c.t.minMarginWad());
        paymentWad = SliceMath.payment(q.fullPriceWad, fraction);
        if (paymentWad < 0) {
            // forge-lint: disable-next-line(unsafe-typecast) the sign was tested; paid <= the fund, a uint128
            paymentWad = -int256(LiveLogic.drawInsurance($, s.account, uint256(-paymentWad), c.mask));
        }
        if (paymentWad > s.maxPaymentWad) revert ILiquidation.PaymentAboveLimit(paymentWad, s.maxPaymentWad);
        emit ILiquidation.Liquidated(s.account, s.liquidator, fraction, paymentWad, q.rewardWad);
    }

    /// @dev Moves the slice and the payment (≥ 0: liquidator to account; < 0: insurance fund to liquidator, paid before) and
    ///      stores both accounts.
    function _move(
        VaultStorage.State storage $,
        HealthTest.Case memory c,
        AccountLib.Account memory b,
        uint256 fraction,
        int256 paymentWad
    ) private {
        AccountLib.Account memory a = c.a;
        uint256 positions = b.positionCount();
        uint256 allowed = WorkLoad.allowance(c.p, a);
        SliceLegs.take($, a, b, fraction);
        b.cashWad -= paymentWad;
        if (paymentWad > 0) a.cashWad += paymentWad;
        AccountLib.store($, a);
        AccountLib.store($, b);
        WorkLoad.requireIfGrown(c.p, b, positions, allowed);
        SliceLegs.announce(a, b);
    }

    /// @dev SliceLoweredHealth where HF, from 0 on, fell by more than rounding explains. Below 0 the quotient says nothing: a
    ///      slice shrinks the shortfall, and with Liq the requirement by more. Compares before the callback: what the owner does
    ///      in there is not the slice's doing, and answers to the deferred checks.
    function _checkHealth(VaultStorage.State storage $, Params p, AccountLib.Account memory a, int256 before)
        private
    {
        if (before < 0) return;
        IMargin.Margin memory m = MarginEngine.compute($, p, a, true);
        if (m.mm < DUST_MM || m.healthFactor >= before - HEALTH_TOLERANCE) return;
        int256 tolerance = HEALTH_TOLERANCE + int256(WadMath.divWadUp(LiveLogic.collateralGrain($, a.id), m.mm));
        if (m.healthFactor < before - tolerance) {
            revert ILiquidation.SliceLoweredHealth(a.id, before, m.healthFactor);
        }
    }
}
