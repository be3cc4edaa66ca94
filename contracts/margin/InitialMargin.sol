// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {ISettlement} from "../../interfaces/ISettlement.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Funding} from "../market/Funding.sol";
import {Action, OracleMatrix} from "../market/OracleMatrix.sol";
import {Sequencer} from "../market/Sequencer.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {SettlementLib} from "../settlement/SettlementLib.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {Drift} from "./Drift.sol";
import {Groups} from "./Groups.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {MarginEngine} from "./MarginEngine.sol";

/// @title The check at the end of every action that may add risk: E ≥ IM at a price that is live
/// @notice Twin: risk/exact/margin/initial_margin.py. Nothing passes this check on a stale, wide or broken market: every
///         underlying that the account is exposed to must be in a state that OracleMatrix allows, every forward and volatility
///         slice it is valued with young, the snapshot is refreshed where the live price drifted by more than the account can
///         bear, and only then equity is compared with initial margin.
/// @dev Liquidations do not come here: no market's state blocks one.
library InitialMargin {
    /// @notice Requires E ≥ max(IM + gap, min_margin) of each of `accounts` (as they will be stored) that has obligations; may
    ///         take snapshots. Of an account that something is taken out of, unrealised profit counts up to its cap only.
    /// @dev In this order:
    ///      1. accounts without obligations are dropped; none left: done, nothing is read. Then SequencerDown,
    ///         SequencerGrace(until); for each of the others, SettleFirst(account, instrument) where it holds a position
    ///         whose price is final; for each of the others, MixedGroups(account, u, v) where its underlyings are of more
    ///         than one group.
    ///      2. for each underlying of the others, ascending: OracleNotUsable unless OracleMatrix allows WITHDRAW (where an
    ///         account that is exposed to it is withdrawing) and INCREASE (where another is); RateInvalid where the rate
    ///         of one of its collaterals that they hold cannot be read; funding is brought to now; a snapshot that is due,
    ///         or whose rate left the band, is taken. Then for each account, futures before options in storage order: SliceStale where the
    ///         report behind an unexpired one is older than `maxAge` of its underlying.
    ///      3. the margin of each account, in order (errors of MarginEngine); then for each in order, drift = Σ_u
    ///         ⌈|live − snap|·(N_u + collateral units)/1e18⌉ and the same of the collateral rates (Drift.bound): where
    ///         2·drift > IM − MM, every underlying of *that* account whose live price or rate differs from its
    ///         snapshot is taken.
    ///      4. if 3 took any: all margins again.
    ///      5. in order, InsufficientMargin(account, E', required) where E' < required = max(IM + gap, min_margin), gap of
    ///         SettlementLib: what the settlement of an expiry under observation can take. E' = E, while
    ///         withdrawing E − max(0, U − unrealised_cap) with U of `unrealisedProfit` (a cap of 0: no cap).
    /// @param p risk parameters, or 0 to load them where needed
    /// @param withdrawing bit i: accounts[i] takes something out
    function requireInitial(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account[] memory accounts,
        uint256 withdrawing
    ) internal {
        AccountLib.Account[] memory owing;
        (owing, withdrawing) = _withObligations(accounts, withdrawing);
        if (owing.length == 0) return;
        p = RiskParamsBlob.loadIfNeeded($, p);
        Tail t = ParamsTail.load($, p);
        Sequencer.requireLive($, t);
        _requireUnsettled($, owing);
        uint256[] memory masks = _requireOneGroup(p, owing);
        Drift.Live memory live;
        _freshen($, p, t, owing, masks, withdrawing, live);
        IMargin.Margin[] memory margins = _margins($, p, owing);
        bool taken = false;
        for (uint256 i = 0; i < owing.length; ++i) {
            if (_takeDrifted($, p, owing[i], masks[i], margins[i], live)) taken = true;
        }
        if (taken) margins = _margins($, p, owing);
        for (uint256 i = 0; i < owing.length; ++i) {
            _requireEquity($, t, owing[i], margins[i], (withdrawing >> i) & 1 != 0);
        }
    }

    /// @notice U = Σ over underlyings of max(0, Σ of value and quote of its perps and futures), each value rounded down: profit
    ///         that nobody has paid yet, or that no pool could pay
    function unrealisedProfit(VaultStorage.State storage $, AccountLib.Account memory a)
        internal
        view
        returns (uint256 profit)
    {
        int256[16] memory pnl;
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size, int256 quote) = AccountLib.linearAt(a, i);
            if (size != 0) quote += WadMath.floorWad(size * PnlLib.linearMark($, id));
            pnl[InstrumentId.underlying(id)] += quote;
        }
        for (uint256 u = 0; u < 16; ++u) {
            // forge-lint: disable-next-line(unsafe-typecast) the sign is tested in the same line
            if (pnl[u] > 0) profit += uint256(pnl[u]);
        }
    }

    /* ───────────────────────────── steps ──────────────────────────── */

    /// @dev Step 1; the bits of `withdrawing` move with the accounts.
    function _withObligations(AccountLib.Account[] memory accounts, uint256 withdrawing)
        private
        pure
        returns (AccountLib.Account[] memory owing, uint256 owingWithdrawing)
    {
        uint256 n = 0;
        assembly ("memory-safe") {
            // Room for all of them; the length follows.
            owing := mload(0x40)
            mstore(0x40, add(owing, add(0x20, shl(5, mload(accounts)))))
            mstore(owing, 0)
        }
        for (uint256 i = 0; i < accounts.length; ++i) {
            AccountLib.Account memory a = accounts[i];
            if (!AccountLib.hasObligations(a)) continue;
            owingWithdrawing |= ((withdrawing >> i) & 1) << n;
            ++n;
            assembly ("memory-safe") {
                mstore(owing, n)
                mstore(add(owing, shl(5, n)), a)
            }
        }
    }

    /// @dev Step 1, of the accounts that are left: nothing goes on with a position that `settle` would close.
    function _requireUnsettled(VaultStorage.State storage $, AccountLib.Account[] memory owing) private view {
        for (uint256 i = 0; i < owing.length; ++i) {
            uint256 id = SettlementLib.holdsSettled($, owing[i]);
            // forge-lint: disable-next-line(unsafe-typecast) id of a stored position, 32 bits
            if (id != SettlementLib.NONE) revert ISettlement.SettleFirst(owing[i].id, uint32(id));
        }
    }

    /// @dev Step 1, the last of it: MixedGroups. Returns the underlyings of each account.
    function _requireOneGroup(Params p, AccountLib.Account[] memory owing)
        private
        pure
        returns (uint256[] memory masks)
    {
        masks = new uint256[](owing.length);
        for (uint256 i = 0; i < owing.length; ++i) {
            masks[i] = Drift.underlyingMask(p, owing[i]);
            Groups.requireOne(p, owing[i].id, masks[i], 0);
        }
    }

    /// @dev Step 2. Reads every live price once; accrues funding; takes the snapshots that are due.
    function _freshen(
        VaultStorage.State storage $,
        Params p,
        Tail t,
        AccountLib.Account[] memory owing,
        uint256[] memory held,
        uint256 withdrawing,
        Drift.Live memory live
    ) private {
        uint256[2] memory masks; // underlyings of those that increase, and of those that withdraw
        uint256 collaterals = 0;
        for (uint256 i = 0; i < owing.length; ++i) {
            masks[(withdrawing >> i) & 1] |= held[i];
            collaterals |= owing[i].collateralMask;
        }
        uint256 mask = masks[0] | masks[1];
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
            if (
                ((masks[0] >> u) & 1 != 0 && !OracleMatrix.allowed(Action.INCREASE, state))
                    || ((masks[1] >> u) & 1 != 0 && !OracleMatrix.allowed(Action.WITHDRAW, state))
            ) {
                // forge-lint: disable-next-line(unsafe-typecast) u < 16 counts underlyings
                revert IMarket.OracleNotUsable(uint8(u), state);
            }
            Funding.accrueAt($, t, u);
            live.priceWad[u] = priceWad;
            live.updatedAt[u] = updatedAt;
            bool due = _requireRates($, p, u, collaterals, live);
            if (due || Snapshots.isDue($, p, u, priceWad)) Snapshots.take($, p, u, priceWad, updatedAt);
        }
        for (uint256 i = 0; i < owing.length; ++i) {
            _requireSlices($, p, owing[i]);
        }
    }

    /// @dev SliceStale unless every unexpired future and option is valued with a report not older than `maxAge`: a dead forward
    ///      or volatility would let two accounts of one owner trade against it and leave the loss to the vault. An
    ///      instrument that expired is valued at the snapshot, which `Snapshots.isDue` renewed after the expiry.
    function _requireSlices(VaultStorage.State storage $, Params p, AccountLib.Account memory a) private view {
        uint256 checked = type(uint256).max;
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
            if (size != 0 && InstrumentId.kind(id) != InstrumentId.PERP) checked = _requireSlice($, p, id, checked);
        }
        for (uint256 i = 0; i < a.optionCount; ++i) {
            (uint256 id,) = AccountLib.optionAt(a, i);
            checked = _requireSlice($, p, id, checked);
        }
    }

    /// @param checked bucket that was found young last; it is not read again
    function _requireSlice(VaultStorage.State storage $, Params p, uint256 id, uint256 checked)
        private
        view
        returns (uint256 key)
    {
        key = InstrumentId.bucketKey(id);
        if (key == checked || InstrumentId.expiry(id) <= block.timestamp) return key;
        uint256 u = InstrumentId.underlying(id);
        uint40 reportTime = $.buckets[key].reportTime;
        if (block.timestamp - reportTime > p.maxAge(u)) {
            // forge-lint: disable-next-line(unsafe-typecast) u < 16, and a day has 16 bits in an id
            revert IMarket.SliceStale(uint8(u), uint16(InstrumentId.expiryDay(id)), reportTime);
        }
    }

    /// @dev RateInvalid unless the rate of every collateral of `u` in the mask `collaterals` can be read; true where one
    ///      of them left the band of `u`. This is where a broken rate feed stops new risk, of its holders only.
    function _requireRates(
        VaultStorage.State storage $,
        Params p,
        uint256 u,
        uint256 collaterals,
        Drift.Live memory live
    ) private view returns (bool left) {
        for (uint256 j = 0; collaterals >> j != 0; ++j) {
            if ((collaterals >> j) & 1 == 0 || p.collateralUnderlying(j) != u || !p.hasRate(j)) continue;
            (uint256 rateWad, int256 answer,) = FeedReader.liveRate($, j);
            // forge-lint: disable-next-line(unsafe-typecast) j < 16 counts collaterals
            if (rateWad == 0) revert IMarket.RateInvalid(uint8(j), answer);
            live.rateWad[j] = rateWad;
            if (Snapshots.rateLeftBand($, p, u, j, rateWad)) left = true;
        }
    }

    /// @dev Steps 3 (first half) and 4
    function _margins(VaultStorage.State storage $, Params p, AccountLib.Account[] memory owing)
        private
        returns (IMargin.Margin[] memory margins)
    {
        margins = new IMargin.Margin[](owing.length);
        for (uint256 i = 0; i < owing.length; ++i) {
            margins[i] = MarginEngine.compute($, p, owing[i], true);
        }
    }

    /// @dev Step 5
    function _requireEquity(
        VaultStorage.State storage $,
        Tail t,
        AccountLib.Account memory a,
        IMargin.Margin memory m,
        bool withdrawing
    ) private view {
        int256 equity = m.equity;
        uint256 cap = t.unrealisedCapWad();
        if (withdrawing && cap != 0) {
            uint256 profit = unrealisedProfit($, a);
            // 128 positions of less than 2^190
            // forge-lint: disable-next-line(unsafe-typecast)
            if (profit > cap) equity -= int256(profit - cap);
        }
        uint256 required = WadMath.max(m.im + SettlementLib.gap($, t, a), t.minMarginWad());
        // IM < 2^255: MarginEngine adds it up from bounded terms.
        // forge-lint: disable-next-line(unsafe-typecast)
        if (equity < int256(required)) revert IMargin.InsufficientMargin(a.id, equity, required);
    }

    /// @dev Step 3 (second half), of one account: true where a snapshot was taken.
    function _takeDrifted(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        uint256 mask,
        IMargin.Margin memory m,
        Drift.Live memory live
    ) private returns (bool) {
        uint256 moved = Drift.movedMask($, p, a, mask, live);
        if (moved == 0) return false;
        uint256 drift = Drift.bound($, p, a, moved, live);
        // IM ≥ MM because OI_u ≥ N_u and φ ≥ 1; if they ever crossed, any drift is too much.
        // forge-lint: disable-next-line(unsafe-typecast) collateral < 2^252 (MarginEngine._run), drift at most twice that
        if (int256(2 * drift) <= int256(m.im) - int256(m.mm)) return false;
        for (uint256 u = 0; moved >> u != 0; ++u) {
            if ((moved >> u) & 1 != 0) Snapshots.take($, p, u, live.priceWad[u], live.updatedAt[u]);
        }
        return true;
    }
}
