// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {WadMath} from "../math/WadMath.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Realising PnL of perps and futures through the PnL pools
/// @notice Twin: risk/exact/custody/pnl_lib.py. A linear position is worth ⌊size·mark/WAD⌋ + quote. Realising moves value between
///         quote and cash and never changes their sum, so M and E stay as they are, to the wei. Debits fill the pool of the
///         underlying, credits draw from it as far as it reaches; what a pool cannot pay stays in the quote as a claim.
/// @dev Σ quotes of an underlying − its pool is constant under realising, and every fill lowers it or leaves it: the claims
///      never exceed the pools, and a pool never goes negative.
library PnlLib {
    using AccountLib for AccountLib.Account;

    /// @dev WAD in one unit of UnderlyingData.fundingE12
    int256 internal constant FUNDING_UNIT = 1e6;

    /// @notice Snapshot mark of a perp (S − cumulative funding, may be negative) or future (⌊S·R/WAD⌋, S from its expiry on),
    ///         docs/margin.md §3
    /// @dev Reverts `SliceMissing(underlying, expiryDay)` where a future's forward was never reported.
    function linearMark(VaultStorage.State storage $, uint256 id) internal view returns (int256 markWad) {
        VaultStorage.UnderlyingData storage data = $.underlyings[InstrumentId.underlying(id)];
        markWad = int256(uint256(data.priceWad));
        if (InstrumentId.kind(id) == InstrumentId.PERP) {
            markWad -= int256(data.fundingE12) * FUNDING_UNIT;
        } else if (InstrumentId.expiry(id) > data.time) {
            uint256 ratio = $.buckets[InstrumentId.bucketKey(id)].forwardRatioWad;
            if (ratio == 0) {
                revert IMarket.SliceMissing(uint8(InstrumentId.underlying(id)), uint16(InstrumentId.expiryDay(id)));
            }
            markWad = int256(WadMath.mulWadDown(uint256(markWad), ratio));
        }
    }

    /// @notice Realises entry `i`: as much of its PnL as the pool allows moves into cash. An entry that ends with size and
    ///         quote zero is removed (the last one takes its place). Emits everything but the cash.
    /// @dev Reverts `CashOutOfRange(account)` where the pool would not fit uint128.
    /// @return realizedWad signed change of cash
    /// @return removed whether the entry is gone
    function realizeAt(VaultStorage.State storage $, AccountLib.Account memory a, uint256 i)
        internal
        returns (int256 realizedWad, bool removed)
    {
        (uint256 id, int256 size, int256 quote) = a.linearAt(i);
        realizedWad = quote;
        if (size != 0) realizedWad += WadMath.floorWad(size * linearMark($, id));
        if (realizedWad == 0) return (0, false);

        VaultStorage.UnderlyingData storage data = $.underlyings[InstrumentId.underlying(id)];
        uint256 pool = data.pnlPoolWad;
        if (realizedWad > 0) {
            realizedWad = int256(WadMath.min(uint256(realizedWad), pool));
            if (realizedWad == 0) return (0, false);
            pool -= uint256(realizedWad);
        } else {
            pool += uint256(-realizedWad);
            if (pool > type(uint128).max) revert ICustody.CashOutOfRange(a.id);
        }
        data.pnlPoolWad = uint128(pool);
        a.cashWad += realizedWad;
        quote -= realizedWad;
        removed = size == 0 && quote == 0;
        if (removed) a.removeLinear(i);
        else a.setLinear(i, id, size, quote);

        emit ICustody.PnlRealized(a.id, uint32(id), realizedWad);
        emit ICustody.PnlPoolChanged(uint8(InstrumentId.underlying(id)), uint128(pool));
        emit ICustody.PositionChanged(a.id, uint32(id), int96(size), int128(quote));
    }

    /// @notice Realises every linear position in storage order; the entry that replaces a removed one comes next.
    /// @return realizedWad signed change of cash
    function realizeAll(VaultStorage.State storage $, AccountLib.Account memory a)
        internal
        returns (int256 realizedWad)
    {
        uint256 i = 0;
        while (i < a.linearCount) {
            (int256 part, bool removed) = realizeAt($, a, i);
            realizedWad += part;
            if (!removed) ++i;
        }
    }
}
