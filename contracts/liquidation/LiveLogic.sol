// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {ILiquidationCallback} from "../../interfaces/ILiquidationCallback.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Drift} from "../margin/Drift.sol";
import {Groups} from "../margin/Groups.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {Breaker} from "../market/Breaker.sol";
import {Funding} from "../market/Funding.sol";
import {Sequencer} from "../market/Sequencer.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {SettlementLib} from "../settlement/SettlementLib.sol";
import {SettlementLogic} from "../settlement/SettlementLogic.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InsuranceLib} from "../waterfall/InsuranceLib.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title What a liquidation needs only sometimes
/// @notice Twins: risk/exact/liquidation/health_test.py and liquidation_logic.py, where these steps stand in line. Here they are
///         out of line: the three libraries that liquidate have no room for them, and most liquidations never come here.
/// @dev External library, called by delegatecall. Accounts are read from storage, where the caller has settled them.
library LiveLogic {
    using AccountLib for AccountLib.Account;

    /* ────────────────────────────── before ────────────────────────── */

    /// @notice Settles `account` where it holds a position whose settlement price is known; true where it did.
    function settle(VaultStorage.State storage $, uint168 account) external returns (bool) {
        return _settle($, account);
    }

    function _settle(VaultStorage.State storage $, uint168 account) private returns (bool) {
        if (SettlementLib.holdsSettled($, AccountLib.load($, account, 0)) == SettlementLib.NONE) return false;
        return SettlementLogic.settleOne($, account);
    }

    /// @notice Reverts InitialMarginOwed(account) where its initial margin waits for the end of the batch or callback under way.
    /// @dev Without this rule somebody could fill a standing order beyond the margin of its owner, liquidate him in the same
    ///      batch, and leave nothing that the check at the end could refuse.
    function requireNothingOwed(VaultStorage.State storage $, uint168 account) external view {
        if (InsuranceLib.isDeferred($, account)) revert ILiquidation.InitialMarginOwed(account);
    }

    /* ─────────────────────────────── end ──────────────────────────── */

    /// @notice The end of a liquidation with a callback, see HealthTest.finish. Calls msg.sender with the checks deferred; until
    ///         its own check nobody may liquidate the liquidator.
    /// @param allowed see `requireInitial`
    function callBack(
        VaultStorage.State storage $,
        uint168 account,
        uint168 liquidator,
        uint256 allowed,
        uint256 fraction,
        int256 paymentWad,
        bytes calldata data
    ) external {
        uint8 before = $.lock;
        $.lock = VaultLock.DEFERRING;
        MarginLogic.markLiquidating($, liquidator);
        ILiquidationCallback(msg.sender).onLiquidation(account, liquidator, fraction, paymentWad, data);
        $.lock = before;
        // the callback may have changed anything, also the parameters
        _settle($, liquidator);
        _requireInitial($, liquidator, allowed);
        if (before == VaultLock.ENTERED) MarginLogic.requireDeferred($);
    }

    /// @notice Where `account` has obligations: MixedGroups(account, u, v) unless its underlyings are of one group, or all of them
    ///         in `allowed`: a book that is mixed already can be taken over by whoever held nothing (HealthTest.poke). Then, with the
    ///         errors of the margin before it, InsufficientMargin(account, E, required) where E < required =
    ///         max(IM + gap, min_margin), 0 without obligations; at the snapshots. IM and gap are rounded up, E down.
    function requireInitial(VaultStorage.State storage $, uint168 account, uint256 allowed) external {
        _requireInitial($, account, allowed);
    }

    function _requireInitial(VaultStorage.State storage $, uint168 account, uint256 allowed) private {
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        Params p = RiskParamsBlob.load($);
        if (a.hasObligations()) Groups.requireOne(p, account, Drift.underlyingMask(p, a), allowed);
        IMargin.Margin memory m = MarginLogic.compute($, account);
        uint256 required = 0;
        if (m.hasObligations) {
            Tail t = ParamsTail.load($, p);
            required = WadMath.max(m.im + SettlementLib.gap($, t, a), t.minMarginWad());
        }
        // forge-lint: disable-next-line(unsafe-typecast) a requirement is below 2^253, see MarginEngine._charge
        if (m.equity < int256(required)) revert IMargin.InsufficientMargin(account, m.equity, required);
    }

    /* ────────────────────────────── market ────────────────────────── */

    /// @notice Brings the funding of `u` to now.
    function accrueFunding(VaultStorage.State storage $, uint256 u) external {
        Funding.accrue($, RiskParamsBlob.load($), u);
    }

    /// @notice Favour of the underlyings in `unusable` and drift of those in `moved` (Drift), of `account` as it is stored
    function slack(
        VaultStorage.State storage $,
        uint168 account,
        uint256 unusable,
        uint256 moved,
        Drift.Live memory live
    ) external view returns (int256 favour, int256 drift) {
        Params p = RiskParamsBlob.load($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        // forge-lint: disable-start(unsafe-typecast) collateral is worth < 2^252 (MarginEngine._run), a band is below 7
        favour = int256(Drift.favour($, p, a, unusable));
        if (moved != 0) drift = int256(Drift.bound($, p, a, moved, live));
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @notice Reverts SequencerDown or SequencerGrace(until) where the sequencer of the L2 holds liquidations.
    function requireSequencer(VaultStorage.State storage $) external view {
        Tail t = ParamsTail.load($, RiskParamsBlob.load($));
        if (Sequencer.holdsLiquidations($, t)) Sequencer.requireLive($, t);
    }

    /* ────────────────────────────── slices ────────────────────────── */

    /// @notice SliceMath.bisect over the underlyings of which `account`, as it is stored, holds more than the depth
    function bisect(
        VaultStorage.State storage $,
        uint168 account,
        int256 equity,
        int256 price,
        uint256 mmWithoutLiq,
        uint256 target
    ) external view returns (uint256) {
        Params p = RiskParamsBlob.load($);
        uint256[16] memory units = Drift.positionUnits(AccountLib.load($, account, 0));
        uint256 n = p.underlyingCount();
        uint256 count = 0;
        SliceMath.LiqTerm[] memory terms = new SliceMath.LiqTerm[](n);
        for (uint256 u = 0; u < n; ++u) {
            uint256 depth = p.depthWad(u);
            if (units[u] <= depth) continue;
            terms[count++] = SliceMath.LiqTerm(units[u], $.underlyings[u].priceWad, depth, p.liqBps(u));
        }
        assembly ("memory-safe") {
            mstore(terms, count)
        }
        return SliceMath.bisect(equity, price, mmWithoutLiq, target, terms);
    }

    /// @notice Value of one native unit of each collateral that `account`, as it is stored, holds, rounded up: so much more of it
    ///         than g may stay behind
    function collateralGrain(VaultStorage.State storage $, uint168 account) external view returns (uint256 grain) {
        Params p = RiskParamsBlob.load($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 == 0) continue;
            uint256 unit = 10 ** (18 - p.collateralDecimals(j));
            if (p.hasRate(j)) unit = WadMath.mulWadUp(unit, $.collaterals[j].rateWad);
            grain += WadMath.mulWadUp(unit, $.underlyings[p.collateralUnderlying(j)].priceWad);
        }
    }

    /// @notice What the insurance fund pays of `wantedWad` for `account`. Where it pays, the breaker of every underlying in
    ///         `mask` trips. The caller credits the liquidator.
    function drawInsurance(VaultStorage.State storage $, uint168 account, uint256 wantedWad, uint256 mask)
        external
        returns (uint256 paidWad)
    {
        Tail t = ParamsTail.load($, RiskParamsBlob.load($));
        paidWad = InsuranceLib.pay($, t, account, wantedWad);
        // a draw of dust must not close markets: at least a thousandth of what the fund held
        if (paidWad == 0 || paidWad * 1000 < paidWad + $.insuranceWad) return paidWad;
        uint256 seconds_ = t.breakerSeconds();
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 != 0) Breaker.trip($, u, seconds_);
        }
    }
}
