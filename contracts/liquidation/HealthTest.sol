// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ILiquidation} from "../../interfaces/ILiquidation.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {Drift} from "../margin/Drift.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {LiveLogic} from "./LiveLogic.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title The steps that slices, legs and flags share
/// @notice Twin: risk/exact/liquidation/health_test.py. Load and settle, take the snapshots that are due, test that the account
///         is unhealthy, grace and reward; at the end callback and check of the liquidator. Procedure: docs/liquidation.md.
/// @dev No market's state stops a liquidation. Snapshots that are due are taken where the live price is FRESH or UNCERTAIN;
///      elsewhere the last snapshot counts, and the account gets the benefit of its band in the health test. The
///      liquidator's E ≥ IM is asked at those same snapshots, because the check with live markets (`InitialMargin`) would
///      let one halted feed block every account that holds its underlying.
library HealthTest {
    using AccountLib for AccountLib.Account;

    uint256 private constant WAD = 1e18;
    uint256 private constant BPS = 1e4;

    /// @dev What is known of the account that is tested
    /// @param mask its underlyings
    /// @param allowed underlyings that the liquidator may hold together afterwards, whatever their groups; set by `poke`
    /// @param m its margin, unhealthy; set by `requireUnhealthy`
    /// @param favour what markets without a usable price could add to its equity at most
    /// @param outOfLine whether the liquidator's own check is for LiveLogic: one of the two held something whose expiry is over or
    ///        within the observation window when it was loaded (only then something can be settled, or the settlement price
    ///        differ from the snapshot: gap), or the liquidator holds an underlying already, and there is more than one group
    struct Case {
        Params p;
        Tail t;
        AccountLib.Account a;
        uint256 mask;
        uint256 allowed;
        Drift.Live live;
        IMargin.Margin m;
        int256 favour;
        bool outOfLine;
    }

    /* ────────────────────────────── begin ─────────────────────────── */

    /// @notice Parameters, interest to now, and the account with what can be settled settled.
    /// @dev Reverts, in this order: RiskParamsMissing, InitialMarginOwed(account), errors of the settlement.
    function open(VaultStorage.State storage $, uint168 account) internal returns (Case memory c) {
        c.p = RiskParamsBlob.load($);
        if (VaultLock.isDeferring($)) LiveLogic.requireNothingOwed($, account);
        c.t = ParamsTail.load($, c.p);
        InterestLib.accrue($);
        c.a = loadSettled($, c, account, 0);
        c.mask = maskOf(c.p, c.a);
    }

    /// @notice Loads `account`, with room for `extra` more entries; settles it first where it holds a position whose settlement
    ///         price is known.
    function loadSettled(VaultStorage.State storage $, Case memory c, uint168 account, uint256 extra)
        internal
        returns (AccountLib.Account memory a)
    {
        a = AccountLib.load($, account, extra);
        // without an expired position and outside a wind-down nothing can be settled
        if ($.mode == 0 && !AccountLib.anyExpiresBy(a, block.timestamp + c.t.settleWindowSeconds())) return a;
        c.outOfLine = true;
        if (LiveLogic.settle($, account)) a = AccountLib.load($, account, extra);
    }

    /// @notice Reverts SequencerDown or SequencerGrace(until): while users of the L2 cannot deposit nobody is liquidated.
    function requireSequencer(VaultStorage.State storage $) internal view {
        if ($.sequencerFeed != address(0)) LiveLogic.requireSequencer($);
    }

    /// @notice As Drift.underlyingMask
    function maskOf(Params p, AccountLib.Account memory a) internal pure returns (uint256 mask) {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 != 0) mask |= 1 << p.collateralUnderlying(j);
        }
        assembly ("memory-safe") {
            // linear: a size of zero has no price risk
            let from := add(mload(add(a, 0x80)), 0x20)
            for { let end := add(from, shl(5, mload(add(a, 0xa0)))) } lt(from, end) { from := add(from, 0x20) } {
                let entry := mload(from)
                if shl(160, shr(128, entry)) { mask := or(mask, shl(shr(252, entry), 1)) }
            }
            from := add(mload(add(a, 0xc0)), 0x20)
            for { let end := add(from, shl(5, mload(add(a, 0xe0)))) } lt(from, end) { from := add(from, 0x20) } {
                mask := or(mask, shl(and(shr(124, mload(from)), 0xf), 1))
            }
        }
    }

    /* ────────────────────────────── health ────────────────────────── */

    /// @notice For each of the account's underlyings and of `others`, ascending: brings the funding to now, whatever the state
    ///         of the market, and finds out whether a snapshot is due where the live price is usable. Those that are due are
    ///         taken then.
    /// @dev Finds out whether groups matter, too. A liquidator without a price risk of its own may take a book that is mixed; whoever
    ///      holds something may not, or a grain in an old book would let a large one in the other group be netted with it.
    ///      While the premium is 0 no funding runs, and the time up to which it counts stays: Funding.close moves it before
    ///      the premium changes.
    function poke(VaultStorage.State storage $, Case memory c, uint256 others) internal {
        (Params p, uint256 mask, uint256 due) = (c.p, c.mask | others, 0);
        unchecked {
            if (others == 0) c.allowed = c.mask;
            else if (p.hasGroups()) c.outOfLine = true;
            for (uint256 u = 0; mask >> u != 0; ++u) {
                if ((mask >> u) & 1 == 0) continue;
                if ($.underlyings[u].premiumE9 != 0) LiveLogic.accrueFunding($, u);
                (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
                if (state > IMarket.OracleState.UNCERTAIN) continue;
                (c.live.priceWad[u], c.live.updatedAt[u]) = (priceWad, updatedAt);
                if (Snapshots.isDue($, p, u, priceWad) || Snapshots.anyRateLeftBand($, p, u)) due |= 1 << u;
            }
        }
        if (due != 0) _takeSnapshots($, c, due);
    }

    function _takeSnapshots(VaultStorage.State storage $, Case memory c, uint256 mask) private {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 != 0) Snapshots.take($, c.p, u, c.live.priceWad[u], c.live.updatedAt[u]);
        }
    }

    /// @notice Reverts AccountHealthy(account, E, MM) unless the account is unhealthy at the snapshots, at the live prices, and
    ///         with every market that has no usable price at its most favourable value within its band. Where the live prices
    ///         could decide (E + favour + 2·drift ≥ MM), their snapshots are taken and the margin is computed again.
    function requireUnhealthy(VaultStorage.State storage $, Case memory c) internal {
        IMargin.Margin memory m = MarginEngine.compute($, c.p, c.a, true);
        // forge-lint: disable-start(unsafe-typecast) MM < 2^237, see MarginEngine._charge
        if (m.equity >= int256(m.mm)) revert ILiquidation.AccountHealthy(c.a.id, m.equity, m.mm);
        (uint256 unusable, uint256 moved) = _compareLive($, c);
        if (unusable | moved != 0) {
            int256 drift;
            (c.favour, drift) = LiveLogic.slack($, c.a.id, unusable, moved, c.live);
            if (moved != 0 && m.equity + c.favour + 2 * drift >= int256(m.mm)) {
                _takeSnapshots($, c, moved);
                m = MarginEngine.compute($, c.p, c.a, true);
            }
            if (m.equity + c.favour >= int256(m.mm)) revert ILiquidation.AccountHealthy(c.a.id, m.equity, m.mm);
        }
        // forge-lint: disable-end(unsafe-typecast)
        c.m = m;
    }

    /// @dev Reads the live rates of the account's collaterals; an unusable one stays 0 and the snapshot's counts.
    /// @return unusable underlyings without a usable price, @return moved those whose price or rate differs from the snapshot
    function _compareLive(VaultStorage.State storage $, Case memory c)
        private
        view
        returns (uint256 unusable, uint256 moved)
    {
        Drift.Live memory live = c.live;
        uint256 mask = c.mask;
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            uint256 priceWad = live.priceWad[u];
            if (priceWad == 0) unusable |= 1 << u;
            else if (priceWad != $.underlyings[u].priceWad) moved |= 1 << u;
        }
        mask = c.a.collateralMask;
        for (uint256 j = 0; mask >> j != 0; ++j) {
            if ((mask >> j) & 1 == 0 || !c.p.hasRate(j)) continue;
            (uint256 rateWad,,) = FeedReader.liveRate($, j);
            live.rateWad[j] = rateWad;
            uint256 bit = 1 << c.p.collateralUnderlying(j);
            if (rateWad != 0 && unusable & bit == 0 && rateWad != $.collaterals[j].rateWad) moved |= bit;
        }
    }

    /* ────────────────────────── grace, reward ─────────────────────── */

    /// @notice Where there is a grace: NotFlagged(account), or GracePeriod(account, until) while it lasts. None for an account
    ///         that is below MM·emergency even with the favour; an emergency level of 0 is E + favour < 0.
    function requireGrace(VaultStorage.State storage $, Case memory c) internal view {
        uint256 grace = c.t.graceSeconds();
        if (grace == 0) return;
        // forge-lint: disable-next-line(unsafe-typecast) MM < 2^237, emergency <= 1e4
        if ((c.m.equity + c.favour) * int256(BPS) < int256(c.m.mm * c.t.emergencyBps())) return;
        uint256 flaggedAt = $.accounts[c.a.id].flaggedAt;
        if (flaggedAt == 0) revert ILiquidation.NotFlagged(c.a.id);
        uint256 until = flaggedAt + grace;
        if (block.timestamp < until) revert ILiquidation.GracePeriod(c.a.id, until);
    }

    /// @notice ρ of `account` at health factor `healthFactor`; grows from the flag on, WAD
    function reward(VaultStorage.State storage $, Params p, Tail t, uint168 account, int256 healthFactor)
        internal
        view
        returns (uint256)
    {
        uint256 growthWad = 0;
        uint256 timeBps = t.rewardTimeBps();
        if (timeBps != 0) {
            uint256 flaggedAt = $.accounts[account].flaggedAt;
            if (flaggedAt != 0) growthWad = SliceMath.growth(timeBps, block.timestamp - flaggedAt);
        }
        return
            SliceMath.rewardWad(p.rewardBaseBps(), p.rewardSlopeBps(), p.rewardMaxBps(), healthFactor, growthWad);
    }

    /* ─────────────────────────────── end ──────────────────────────── */

    /// @notice Where there is `data`, calls the caller back; then the liquidator must hold underlyings of one group, or, where it
    ///         held none before, none that are not of the account as it was, and have E ≥ max(IM + gap, min_margin) at the
    ///         snapshots; then, unless a batch or another callback is around this one, everything that was deferred in the
    ///         callback is asked for. Until its own check nobody may liquidate the liquidator (MarginLogic.markLiquidating).
    /// @param b liquidator, as stored
    /// @dev TooManyDeferred; what the callback reverts with; MixedGroups(liquidator, u, v); errors of its margin;
    ///      InsufficientMargin(liquidator, E, required); errors of MarginLogic.requireDeferred.
    function finish(
        VaultStorage.State storage $,
        Case memory c,
        AccountLib.Account memory b,
        uint256 fraction,
        int256 paymentWad,
        bytes calldata data
    ) internal {
        if (data.length != 0) LiveLogic.callBack($, c.a.id, b.id, c.allowed, fraction, paymentWad, data);
        else if (c.outOfLine) LiveLogic.requireInitial($, b.id, c.allowed);
        else _requireInitial($, c, b);
    }

    /// @dev As LiveLogic.requireInitial, where no expiry is so near that it could have a gap, and `b` held nothing
    ///      before, or there are no groups
    function _requireInitial(VaultStorage.State storage $, Case memory c, AccountLib.Account memory b) private {
        IMargin.Margin memory m = MarginEngine.compute($, c.p, b, true);
        uint256 required = m.hasObligations ? WadMath.max(m.im, c.t.minMarginWad()) : 0;
        // forge-lint: disable-next-line(unsafe-typecast) a requirement is below 2^253, see MarginEngine._charge
        if (m.equity < int256(required)) revert IMargin.InsufficientMargin(b.id, m.equity, required);
    }

    /* ────────────────────────────── quote ─────────────────────────── */

    /// @notice ρ, M − ρ·MM and f* before the dust rule; f* = 0 where the account is healthy
    function quote(VaultStorage.State storage $, Params p, Tail t, uint168 account, IMargin.Margin memory m)
        internal
        view
        returns (ILiquidation.LiquidationQuote memory q)
    {
        q.rewardWad = reward($, p, t, account, m.healthFactor);
        q.fullPriceWad = SliceMath.fullPrice(m.markEquity, q.rewardWad, m.mm);
        // forge-lint: disable-next-line(unsafe-typecast) MM < 2^237, see MarginEngine._charge
        if (m.equity >= int256(m.mm)) return q;
        uint256 target = p.targetBps() * 1e14;
        if (q.fullPriceWad <= 0) {
            q.maxFractionWad = WAD;
        } else if (m.liq == 0) {
            q.maxFractionWad = SliceMath.closedForm(m.markEquity, m.equity, m.mm, q.rewardWad, target);
        } else {
            q.maxFractionWad = LiveLogic.bisect($, account, m.equity, q.fullPriceWad, m.mm - m.liq, target);
        }
    }
}
