// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {IWaterfall} from "../../interfaces/IWaterfall.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Drift} from "../margin/Drift.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Funding} from "../market/Funding.sol";
import {Snapshots} from "../market/Snapshots.sol";
import {Tail} from "../params/ParamsTail.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Whether an account is bankrupt: mark equity below zero at every price that could be the right one
/// @notice Twin: risk/exact/waterfall/bankruptcy.py. The same three tests as before a liquidation (docs/liquidation.md §1), of M
///         against 0 instead of E against MM. No market's state stops them.
library Bankruptcy {
    /// @notice Brings funding of each underlying of `mask` to now and takes each snapshot that is due, ascending, where the live
    ///         price is FRESH or UNCERTAIN; elsewhere the last snapshot counts. Returns the usable live prices.
    function poke(VaultStorage.State storage $, Params p, Tail t, uint256 mask)
        internal
        returns (Drift.Live memory live)
    {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 == 0) continue;
            Funding.accrueAt($, t, u);
            (IMarket.OracleState state, uint256 priceWad, uint256 updatedAt) = FeedReader.live($, p, u);
            if (state > IMarket.OracleState.UNCERTAIN) continue;
            (live.priceWad[u], live.updatedAt[u]) = (priceWad, updatedAt);
            if (Snapshots.isDue($, p, u, priceWad) || Snapshots.anyRateLeftBand($, p, u)) {
                Snapshots.take($, p, u, priceWad, updatedAt);
            }
        }
    }

    /// @notice −M of `a` as it is stored, > 0; rounded up, as M is rounded down.
    /// @dev Reverts `NotBankrupt(account, M)` unless M < 0 at the snapshots, at the usable live prices (taken, where they could
    ///      decide: M + favour + 2·drift ≥ 0) and with every market that has no usable price at its most favourable value within
    ///      its band (M + favour < 0). The favour decides, it does not lower the deficit. Errors of the margin come first.
    function deficit(VaultStorage.State storage $, Params p, AccountLib.Account memory a, Drift.Live memory live)
        internal
        returns (uint256 deficitWad)
    {
        int256 markEquity = MarginLogic.compute($, a.id).markEquity;
        if (markEquity >= 0) revert IWaterfall.NotBankrupt(a.id, markEquity);
        // forge-lint: disable-start(unsafe-typecast) favour and drift as in LiveLogic.slack; M < 0 at the end
        uint256 mask = Drift.underlyingMask(p, a);
        int256 favour = int256(Drift.favour($, p, a, _unusable(mask, live)));
        _readRates($, p, a, live);
        uint256 moved = Drift.movedMask($, p, a, mask, live);
        if (moved != 0 && markEquity + favour + 2 * int256(Drift.bound($, p, a, moved, live)) >= 0) {
            for (uint256 u = 0; moved >> u != 0; ++u) {
                if ((moved >> u) & 1 != 0) Snapshots.take($, p, u, live.priceWad[u], live.updatedAt[u]);
            }
            markEquity = MarginLogic.compute($, a.id).markEquity;
        }
        if (markEquity + favour >= 0) revert IWaterfall.NotBankrupt(a.id, markEquity);
        return uint256(-markEquity);
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @dev Those of `mask` that have no usable live price
    function _unusable(uint256 mask, Drift.Live memory live) private pure returns (uint256 without) {
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 != 0 && live.priceWad[u] == 0) without |= 1 << u;
        }
    }

    /// @dev Live rates of the collaterals of `a`; an unusable one stays 0 and the snapshot's counts.
    function _readRates(VaultStorage.State storage $, Params p, AccountLib.Account memory a, Drift.Live memory live)
        private
        view
    {
        for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 != 0 && p.hasRate(j)) (live.rateWad[j],,) = FeedReader.liveRate($, j);
        }
    }
}
