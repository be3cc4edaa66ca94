// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {HealthTest} from "./HealthTest.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title Flags and margin calls
/// @notice Twin: risk/exact/liquidation/flag_logic.py. A flag starts the grace of an unhealthy account and the growth of ρ; it
///         clears at E ≥ IM and nowhere else. A margin call only says that E is near MM: nothing else depends on it.
library FlagLogic {
    /* ────────────────────────────── flags ─────────────────────────── */

    /// @notice See IVaultExtension.flag. Refusals, in this order: AlreadyFlagged, SequencerDown, SequencerGrace (no grace runs
    ///         while nobody can deposit), RiskParamsMissing, InitialMarginOwed, errors of settling and of the margin,
    ///         AccountHealthy.
    function flag(VaultStorage.State storage $, uint168 account) external {
        VaultStorage.AccountData storage data = $.accounts[account];
        uint32 since = data.flaggedAt;
        if (since != 0) revert ILiquidation.AlreadyFlagged(account, since);
        HealthTest.requireSequencer($);
        HealthTest.Case memory c = HealthTest.open($, account);
        HealthTest.poke($, c, 0);
        HealthTest.requireUnhealthy($, c);
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 32 bits until 2106
        uint32 time = uint32(block.timestamp);
        data.flaggedAt = time;
        emit ILiquidation.Flagged(account, time, c.m.equity, c.m.mm);
    }

    /// @notice See IVaultExtension.unflag. Refusals, in this order: NotFlagged, RiskParamsMissing, InitialMarginOwed, errors of
    ///         settling and of the margin, NotRecovered(account, E, IM).
    function unflag(VaultStorage.State storage $, uint168 account) external {
        VaultStorage.AccountData storage data = $.accounts[account];
        if (data.flaggedAt == 0) revert ILiquidation.NotFlagged(account);
        HealthTest.Case memory c = HealthTest.open($, account);
        HealthTest.poke($, c, 0);
        IMargin.Margin memory m = MarginEngine.compute($, c.p, c.a, true);
        // forge-lint: disable-next-line(unsafe-typecast) a requirement is below 2^253, see MarginEngine._charge
        if (m.equity < int256(m.im)) revert ILiquidation.NotRecovered(account, m.equity, m.im);
        data.flaggedAt = 0;
        emit ILiquidation.FlagCleared(account, m.equity, m.im);
    }

    /* ─────────────────────────── margin call ──────────────────────── */

    /// @notice See IVaultExtension.callMargin. A call stands while the account has obligations and E·1e4 < MM·warning, at the
    ///         snapshots and the interest as they are; with a warning level of 0 never. RiskParamsMissing, errors of the margin.
    function callMargin(VaultStorage.State storage $, uint168 account) external returns (bool standing) {
        Params p = RiskParamsBlob.load($);
        uint256 warning = ParamsTail.load($, p).warningBps();
        IMargin.Margin memory m = MarginEngine.compute($, p, AccountLib.load($, account, 0), true);
        // forge-lint: disable-next-line(unsafe-typecast) MM < 2^237, warning < 2^16
        standing = warning != 0 && m.hasObligations && m.equity * 1e4 < int256(m.mm * warning);
        VaultStorage.AccountData storage data = $.accounts[account];
        uint64 interest = data.interest;
        if (standing == (interest & InterestLib.CALL_STANDING != 0)) return standing;
        data.interest = interest ^ InterestLib.CALL_STANDING;
        if (standing) emit ILiquidation.MarginCalled(account, m.equity, m.mm, warning);
        else emit ILiquidation.MarginCallCleared(account, m.equity, m.mm, warning);
    }

    /* ────────────────────────────── quote ─────────────────────────── */

    /// @notice See IVault.liquidationQuote; at the snapshots as they are. Its twin stands in
    ///         risk/exact/liquidation/liquidation_logic.py: LiquidationLogic has no room for it.
    function quote(VaultStorage.State storage $, uint168 account)
        external
        view
        returns (ILiquidation.LiquidationQuote memory q)
    {
        Params p = RiskParamsBlob.load($);
        Tail t = ParamsTail.load($, p);
        IMargin.Margin memory m = MarginEngine.computeView($, p, AccountLib.load($, account, 0));
        q = HealthTest.quote($, p, t, account, m);
        // forge-lint: disable-next-line(unsafe-typecast) MM < 2^237, see MarginEngine._charge
        if (m.equity < int256(m.mm)) {
            q.maxFractionWad = SliceMath.withDust(1e18, q.maxFractionWad, m.mm, t.minMarginWad());
        }
    }
}
