// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {WorkLoad} from "../accounts/WorkLoad.sol";
import {Drift} from "../margin/Drift.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {SliceLegs} from "./SliceLegs.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title Slice liquidation
/// @notice Twin: risk/exact/liquidation/liquidation_logic.py. Procedure, formulas and bounds: docs/liquidation.md. The liquidator
///         takes the fraction f ≤ f* of everything the account holds for ⌈f·(M − ρ·MM)⌉; where that is negative the
///         insurance fund pays, as far as it reaches.
/// @dev No market's state stops a liquidation. Snapshots that are due are taken where the live price is FRESH or UNCERTAIN;
///      elsewhere the last snapshot counts, and the account gets the benefit of its band in the health test. The
///      liquidator's E ≥ IM is asked at those same snapshots, because the check with live markets (`InitialMargin`) would
///      let one halted feed block every account that holds its underlying.
library LiquidationLogic {
    using AccountLib for AccountLib.Account;

    uint256 private constant WAD = 1e18;
    /// @dev Rounding the legs may lower HF by this much, and by the grain of the collateral …
    int256 private constant HEALTH_TOLERANCE = 1e12;
    /// @dev … and where the remaining requirement is below one unit of cash, by anything
    uint256 private constant DUST_MM = 1e18;

    /* ──────────────────────────── liquidate ───────────────────────── */

    /// @notice See IVault.liquidate. Refusals, in this order: NotAccountOwner(liquidator), SelfLiquidation, FractionInvalid,
    ///         RiskParamsMissing, errors of the margin of the account, AccountHealthy, PaymentAboveLimit, SizeOutOfRange of
    ///         the liquidator (perps and futures, then options, in storage order), CashOutOfRange (account),
    ///         TooManyPositions, CashOutOfRange and AccountTooHeavy (liquidator), SliceLoweredHealth, errors of the margin of the
    ///         liquidator, InsufficientMargin(liquidator).
    function liquidate(
        VaultStorage.State storage $,
        uint168 account,
        uint168 liquidator,
        uint256 fractionWad,
        int256 maxPaymentWad
    ) external returns (uint256 fraction, int256 paymentWad) {
        if (msg.sender != address(uint160(liquidator >> 8))) {
            revert ICustody.NotAccountOwner(liquidator, msg.sender);
        }
        if (account == liquidator) revert ILiquidation.SelfLiquidation(account);
        if (fractionWad == 0 || fractionWad > WAD) revert ILiquidation.FractionInvalid(fractionWad);

        Params p = RiskParamsBlob.load($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        AccountLib.Account memory b =
            AccountLib.load($, liquidator, WadMath.max(a.linearCount, a.optionCount));
        IMargin.Margin memory m =
            _requireUnhealthy($, p, a, _poke($, p, Drift.underlyingMask(p, a) | Drift.underlyingMask(p, b)));
        (fraction, paymentWad) = _price($, _quote($, p, a, m), fractionWad, maxPaymentWad, a.id, b.id);
        _move($, p, a, b, fraction, paymentWad);
        _checkHealth($, p, a, m.healthFactor);
        m = MarginEngine.compute($, p, b, true);
        // forge-lint: disable-next-line(unsafe-typecast)
        if (m.equity < int256(m.im)) revert IMargin.InsufficientMargin(liquidator, m.equity, m.im);
    }

    /// @notice See IVault.liquidationQuote; at the snapshots as they are.
    function quote(VaultStorage.State storage $, uint168 account)
        external
        view
        returns (ILiquidation.LiquidationQuote memory)
    {
        Params p = RiskParamsBlob.load($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        return _quote($, p, a, MarginEngine.computeView($, p, a));
    }

    /* ────────────────────────────── steps ─────────────────────────── */

    /// @dev Takes each snapshot of `mask` that is due, ascending, where the live price is usable; goes on where it is not.
    function _poke(VaultStorage.State storage $, Params p, uint256 mask) private returns (Drift.Live memory live) {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
            if (state > IMarket.OracleState.UNCERTAIN) continue;
            (live.priceWad[u], live.updatedAt[u]) = (priceWad, updatedAt);
            if (Snapshots.isDue($, p, u, priceWad) || Snapshots.anyRateLeftBand($, p, u)) {
                Snapshots.take($, p, u, priceWad, updatedAt);
            }
        }
    }

    /// @dev Margin of `a`, which must be unhealthy at the snapshots, at the live prices, and with every market that has no
    ///      usable price at its most favourable value within its band. Where the live prices could decide (E + 2·drift ≥
    ///      MM), their snapshots are taken and the margin is computed again.
    function _requireUnhealthy(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        Drift.Live memory live
    ) private returns (IMargin.Margin memory m) {
        m = MarginEngine.compute($, p, a, true);
        // forge-lint: disable-start(unsafe-typecast)
        if (m.equity >= int256(m.mm)) revert ILiquidation.AccountHealthy(a.id, m.equity, m.mm);
        int256 favour = int256(Drift.favour($, p, a, _unusable(Drift.underlyingMask(p, a), live)));
        _readRates($, p, a, live);
        uint256 moved = Drift.movedMask($, p, a, live);
        if (moved != 0 && m.equity + favour + 2 * int256(Drift.bound($, p, a, moved, live)) >= int256(m.mm)) {
            for (uint256 u = 0; moved >> u != 0; ++u) {
                if ((moved >> u) & 1 != 0) Snapshots.take($, p, u, live.priceWad[u], live.updatedAt[u]);
            }
            m = MarginEngine.compute($, p, a, true);
        }
        if (m.equity + favour >= int256(m.mm)) revert ILiquidation.AccountHealthy(a.id, m.equity, m.mm);
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @dev Those of `mask` that have no usable live price
    function _unusable(uint256 mask, Drift.Live memory live) private pure returns (uint256 without) {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 != 0 && live.priceWad[u] == 0) without |= 1 << u;
        }
    }

    /// @dev Live rates of the collaterals of `a`; an unusable one stays 0 and the snapshot's counts.
    function _readRates(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        Drift.Live memory live
    ) private view {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 != 0 && p.hasRate(j)) (live.rateWad[j],,) = FeedReader.liveRate($, j);
        }
    }

    /// @dev ρ, M − ρ·MM and f*; f* = 0 where the account is healthy
    function _quote(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        IMargin.Margin memory m
    ) private view returns (ILiquidation.LiquidationQuote memory q) {
        q.rewardWad =
            SliceMath.rewardWad(p.rewardBaseBps(), p.rewardSlopeBps(), p.rewardMaxBps(), m.healthFactor);
        q.fullPriceWad = SliceMath.fullPrice(m.markEquity, q.rewardWad, m.mm);
        // forge-lint: disable-next-line(unsafe-typecast)
        if (m.equity >= int256(m.mm)) return q;
        uint256 target = p.targetBps() * 1e14;
        if (q.fullPriceWad <= 0) {
            q.maxFractionWad = WAD;
        } else if (m.liq == 0) {
            q.maxFractionWad = SliceMath.closedForm(m.markEquity, m.equity, m.mm, q.rewardWad, target);
        } else {
            q.maxFractionWad =
                SliceMath.bisect(m.equity, q.fullPriceWad, m.mm - m.liq, target, _liqTerms($, p, a));
        }
    }

    /// @dev The underlyings of which the account holds more than the depth
    function _liqTerms(VaultStorage.State storage $, Params p, AccountLib.Account memory a)
        private
        view
        returns (SliceMath.LiqTerm[] memory terms)
    {
        uint256[16] memory units = Drift.positionUnits(a);
        uint256 n = p.underlyingCount();
        uint256 count = 0;
        terms = new SliceMath.LiqTerm[](n);
        for (uint256 u = 0; u < n; ++u) {
            uint256 depth = p.depthWad(u);
            if (units[u] <= depth) continue;
            terms[count++] = SliceMath.LiqTerm(units[u], $.underlyings[u].priceWad, depth, p.liqBps(u));
        }
        assembly ("memory-safe") {
            mstore(terms, count)
        }
    }

    /// @dev The fraction that is taken and what it costs. What the insurance fund pays is limited to what it holds, and the
    ///      caller's limit applies to what is really paid.
    function _price(
        VaultStorage.State storage $,
        ILiquidation.LiquidationQuote memory q,
        uint256 fractionWad,
        int256 maxPaymentWad,
        uint168 account,
        uint168 liquidator
    ) private returns (uint256 fraction, int256 paymentWad) {
        fraction = WadMath.min(fractionWad, q.maxFractionWad);
        paymentWad = SliceMath.payment(q.fullPriceWad, fraction);
        if (paymentWad < 0) paymentWad = -int256(WadMath.min(uint256(-paymentWad), $.insuranceWad));
        if (paymentWad > maxPaymentWad) revert ILiquidation.PaymentAboveLimit(paymentWad, maxPaymentWad);
        emit ILiquidation.Liquidated(account, liquidator, fraction, paymentWad, q.rewardWad);
    }

    /// @dev Moves the slice and the payment and stores both accounts.
    function _move(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        uint256 fraction,
        int256 paymentWad
    ) private {
        uint256 positions = b.positionCount();
        uint256 allowed = WorkLoad.allowance(p, a);
        SliceLegs.take($, a, b, fraction);
        _pay($, a, b, paymentWad);
        AccountLib.store($, a);
        AccountLib.store($, b);
        WorkLoad.requireIfGrown(p, b, positions, allowed);
        SliceLegs.announce(a, b);
    }

    /// @dev ≥ 0: liquidator to account. < 0: insurance fund to liquidator, already limited to what the fund holds.
    function _pay(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        AccountLib.Account memory b,
        int256 paymentWad
    ) private {
        b.cashWad -= paymentWad;
        if (paymentWad >= 0) {
            a.cashWad += paymentWad;
        } else {
            uint128 insuranceWad = $.insuranceWad - uint128(uint256(-paymentWad));
            $.insuranceWad = insuranceWad;
            emit ICustody.InsuranceChanged(insuranceWad);
        }
    }

    /// @dev SliceLoweredHealth where HF, from 0 on, fell by more than rounding explains. Below 0 the quotient says nothing: a
    ///      slice shrinks the shortfall, and with Liq the requirement by more.
    function _checkHealth(VaultStorage.State storage $, Params p, AccountLib.Account memory a, int256 before)
        private
    {
        if (before < 0) return;
        IMargin.Margin memory m = MarginEngine.compute($, p, a, true);
        if (m.mm < DUST_MM || m.healthFactor >= before - HEALTH_TOLERANCE) return;
        int256 tolerance = HEALTH_TOLERANCE + int256(WadMath.divWadUp(_collateralGrain($, p, a), m.mm));
        if (m.healthFactor < before - tolerance) {
            revert ILiquidation.SliceLoweredHealth(a.id, before, m.healthFactor);
        }
    }

    /// @dev Value of one native unit of each collateral held, rounded up: so much more of it than g may stay behind
    function _collateralGrain(VaultStorage.State storage $, Params p, AccountLib.Account memory a)
        private
        view
        returns (uint256 grain)
    {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 == 0) continue;
            uint256 unit = 10 ** (18 - p.collateralDecimals(j));
            if (p.hasRate(j)) unit = WadMath.mulWadUp(unit, $.collaterals[j].rateWad);
            grain += WadMath.mulWadUp(unit, $.underlyings[p.collateralUnderlying(j)].priceWad);
        }
    }
}
