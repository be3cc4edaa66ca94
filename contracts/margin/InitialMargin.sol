// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {Drift} from "./Drift.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {MarginEngine} from "./MarginEngine.sol";

/// @title The check at the end of every action that may add risk: E ≥ IM at a price that is live
/// @notice Twin: risk/exact/margin/initial_margin.py. Nothing passes this check on a stale, wide or broken market: every
///         underlying that the account is exposed to must be FRESH, every forward and volatility slice it is valued with young,
///         the snapshot is refreshed where the live price drifted
///         by more than the account can bear, and only then equity is compared with initial margin.
/// @dev Liquidations do not come here: no market's state blocks one.
library InitialMargin {
    /// @notice Requires E ≥ IM of each of `accounts` (as they will be stored) that has obligations; may take snapshots.
    /// @dev In this order:
    ///      1. accounts without obligations are dropped; none left: done, nothing is read.
    ///      2. for each underlying of the others, ascending: OracleNotUsable unless FRESH; RateInvalid where the rate
    ///         of one of its collaterals that they hold cannot be read; a snapshot that is due, or whose rate left the
    ///         band, is taken. Then for each account, futures before options in storage order: SliceStale where the
    ///         report behind an unexpired one is older than `maxAge` of its underlying.
    ///      3. the margin of each account, in order (errors of MarginEngine); then for each in order, drift = Σ_u
    ///         ⌈|live − snap|·(N_u + collateral units)/1e18⌉ and the same of the collateral rates (Drift.bound): where
    ///         2·drift > IM − MM, every underlying of *that* account whose live price or rate differs from its
    ///         snapshot is taken.
    ///      4. if 3 took any: all margins again.
    ///      5. in order, InsufficientMargin(account, E, IM) where E < IM.
    /// @param p risk parameters, or 0 to load them where needed
    function requireInitial(VaultStorage.State storage $, Params p, AccountLib.Account[] memory accounts) internal {
        AccountLib.Account[] memory owing = _withObligations(accounts);
        if (owing.length == 0) return;
        p = RiskParamsBlob.loadIfNeeded($, p);
        Drift.Live memory live;
        _freshen($, p, owing, live);
        IMargin.Margin[] memory margins = _margins($, p, owing);
        bool taken = false;
        for (uint256 i = 0; i < owing.length; ++i) {
            if (_takeDrifted($, p, owing[i], margins[i], live)) taken = true;
        }
        if (taken) margins = _margins($, p, owing);
        for (uint256 i = 0; i < owing.length; ++i) {
            IMargin.Margin memory m = margins[i];
            // IM < 2^255: MarginEngine adds it up from bounded terms.
            // forge-lint: disable-next-line(unsafe-typecast)
            if (m.equity < int256(m.im)) revert IMargin.InsufficientMargin(owing[i].id, m.equity, m.im);
        }
    }

    /* ───────────────────────────── steps ──────────────────────────── */

    /// @dev Step 1
    function _withObligations(AccountLib.Account[] memory accounts)
        private
        pure
        returns (AccountLib.Account[] memory owing)
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
            ++n;
            assembly ("memory-safe") {
                mstore(owing, n)
                mstore(add(owing, shl(5, n)), a)
            }
        }
    }

    /// @dev Step 2. Reads every live price once; takes the snapshots that are due.
    function _freshen(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account[] memory owing,
        Drift.Live memory live
    ) private {
        uint256 mask = 0;
        uint256 collaterals = 0;
        for (uint256 i = 0; i < owing.length; ++i) {
            mask |= Drift.underlyingMask(p, owing[i]);
            collaterals |= owing[i].collateralMask;
        }
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
            // forge-lint: disable-next-line(unsafe-typecast)
            if (state != IMarket.OracleState.FRESH) revert IMarket.OracleNotUsable(uint8(u), state);
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
            // forge-lint: disable-next-line(unsafe-typecast)
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
            // forge-lint: disable-next-line(unsafe-typecast)
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

    /// @dev Step 3 (second half), of one account: true where a snapshot was taken.
    function _takeDrifted(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        IMargin.Margin memory m,
        Drift.Live memory live
    ) private returns (bool) {
        uint256 moved = Drift.movedMask($, p, a, live);
        if (moved == 0) return false;
        uint256 drift = Drift.bound($, p, a, moved, live);
        // IM ≥ MM because OI_u ≥ N_u and φ ≥ 1; if they ever crossed, any drift is too much.
        // forge-lint: disable-next-line(unsafe-typecast)
        if (int256(2 * drift) <= int256(m.im) - int256(m.mm)) return false;
        for (uint256 u = 0; moved >> u != 0; ++u) {
            if ((moved >> u) & 1 != 0) Snapshots.take($, p, u, live.priceWad[u], live.updatedAt[u]);
        }
        return true;
    }
}
