// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Gauge} from "../market/Gauge.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {PnlLib} from "./PnlLib.sol";

/// @title Changing one position: entry, event, open interest
/// @notice Twin: risk/exact/custody/position_lib.py. Open interest of an underlying is Σ over its instruments of Σ long sizes.
library PositionLib {
    using AccountLib for AccountLib.Account;

    /// @notice Adds to a perp or future. A position whose size becomes zero is realised at once, so that an entry of size
    ///         zero is always an undrawn credit and never a debt.
    /// @return dLong change of the long side of this account
    function changeLinear(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        uint256 id,
        int256 dSize,
        int256 dQuote
    ) internal returns (int256 dLong) {
        (int256 oldSize, int256 newSize, int256 newQuote) = a.addLinear(id, dSize, dQuote);
        emit ICustody.PositionChanged(a.id, uint32(id), int96(newSize), int128(newQuote));
        if (newSize == 0 && newQuote != 0) PnlLib.realizeAt($, a, a.findLinear(id));
        return longDelta(oldSize, newSize);
    }

    /// @notice Adds to an option position.
    /// @return dLong change of the long side of this account
    function changeOption(AccountLib.Account memory a, uint256 id, int256 dSize) internal returns (int256 dLong) {
        (int256 oldSize, int256 newSize) = a.addOption(id, dSize);
        emit ICustody.PositionChanged(a.id, uint32(id), int96(newSize), 0);
        return longDelta(oldSize, newSize);
    }

    /// @notice max(newSize, 0) − max(oldSize, 0)
    function longDelta(int256 oldSize, int256 newSize) internal pure returns (int256) {
        return (newSize > 0 ? newSize : int256(0)) - (oldSize > 0 ? oldSize : int256(0));
    }

    /// @notice Writes the open interest of one instrument: it changes where a size passes between a long and a short.
    /// @dev Reverts `SizeOutOfRange(account, instrument)` where it would not fit uint104.
    function addInstrumentInterest(VaultStorage.State storage $, uint256 id, int256 dLong, uint168 account) internal {
        if (dLong == 0) return;
        int256 openInterest = int256($.openInterest[id]) + dLong;
        if (openInterest < 0 || openInterest > int256(uint256(type(uint104).max))) {
            revert ICustody.SizeOutOfRange(account, uint32(id));
        }
        $.openInterest[id] = uint256(openInterest);
        emit ICustody.InstrumentInterestChanged(uint32(id), uint104(uint256(openInterest)));
    }

    /// @notice Writes the open interest of underlying `u`, exact and as the margin check reads it.
    /// @dev Reverts `SizeOutOfRange(account, instrument)` where it would not fit uint104.
    function addOpenInterest(VaultStorage.State storage $, uint256 u, int256 dLong, uint168 account, uint256 id)
        internal
    {
        if (dLong == 0) return;
        int256 openInterest = int256(uint256($.underlyings[u].openInterestWad)) + dLong;
        if (openInterest < 0 || openInterest > int256(uint256(type(uint104).max))) {
            revert ICustody.SizeOutOfRange(account, uint32(id));
        }
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        data.openInterestWad = uint104(uint256(openInterest));
        data.gauge = Gauge.encode(uint256(openInterest), Gauge.stableApart(data.gauge));
        emit ICustody.OpenInterestChanged(uint8(u), uint104(uint256(openInterest)));
    }
}
