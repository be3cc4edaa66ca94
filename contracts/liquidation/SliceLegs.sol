// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {SliceMath} from "./SliceMath.sol";

/// @title Moving the same fraction of everything from one account to another
/// @notice Twin: risk/exact/liquidation/slice_legs.py. Every amount x (cash, each collateral, each size, each quote) moves
///         x·f towards zero; f = 1 moves exactly everything. Nothing is created: what one account loses the other gains.
/// @dev An entry of the giver never vanishes in between (a remainder below 1 of a non-zero integer is not zero), so its lists
///      keep their order; f = 1 empties them. The receiver's entry is looked up with a cursor: an account that holds the
///      same instruments in the same order (a mirror), or none of them, costs O(1) an entry. Entries received in this call
///      are never searched, because the giver holds every instrument once.
library SliceLegs {
    using AccountLib for AccountLib.Account;

    uint256 private constant WAD = 1e18;

    /// @dev One pass over the positions of the giver.
    /// @param fraction f
    /// @param known how many of the receiver's entries were there before; only these are searched
    /// @param cursor where the next entry is expected among them
    /// @param dLong change of the long sides of both accounts, by underlying
    /// @param dInstrument the same of the instrument at hand; not zero only where the receiver held the other side
    struct Walk {
        uint256 fraction;
        uint256 known;
        uint256 cursor;
        int256[] dLong;
        int256 dInstrument; // of the instrument at hand
    }

    /// @notice Moves cash, collateral and positions, and updates the open interest; the accounts stay in memory.
    /// @param from giver, loaded
    /// @param to receiver, loaded with room for all positions of `from`
    /// @param fraction f, WAD, in [0, 1e18]
    function take(
        VaultStorage.State storage $,
        AccountLib.Account memory from,
        AccountLib.Account memory to,
        uint256 fraction
    ) internal {
        int256 cash = SliceMath.leg(from.cashWad, fraction);
        from.cashWad -= cash;
        to.cashWad += cash;
        _takeCollateral(from, to, fraction);
        Walk memory walk;
        walk.fraction = fraction;
        walk.dLong = new int256[](VaultStorage.MAX_UNDERLYINGS);
        _takeLinear($, from, to, walk);
        _takeOptions($, from, to, walk);
        if (fraction == WAD) {
            from.linearCount = 0;
            from.optionCount = 0;
        }
        uint256 listed = $.underlyingCount;
        for (uint256 u = 0; u < listed; ++u) {
            // never grows in a slice, so it stays in range
            PositionLib.addOpenInterest($, u, walk.dLong[u], to.id, u << 28);
        }
    }

    /// @notice Emits what both accounts hold now: cash, and all positions in one event.
    function announce(AccountLib.Account memory from, AccountLib.Account memory to) internal {
        emit ICustody.CashChanged(from.id, from.cashWad);
        emit ICustody.CashChanged(to.id, to.cashWad);
        _announcePositions(from);
        _announcePositions(to);
    }

    /* ─────────────────────────── collateral ───────────────────────── */

    function _takeCollateral(AccountLib.Account memory from, AccountLib.Account memory to, uint256 fraction) private {
        uint256 mask = from.collateralMask;
        for (uint256 j = 0; mask >> j != 0; ++j) {
            if ((mask >> j) & 1 == 0) continue;
            uint256 amount = from.collateral[j];
            uint256 moved = amount * fraction / WAD;
            if (moved == 0) continue;
            from.setCollateral(j, amount - moved);
            to.setCollateral(j, to.collateral[j] + moved);
            emit ICustody.CollateralChanged(from.id, uint8(j), from.collateral[j]);
            emit ICustody.CollateralChanged(to.id, uint8(j), to.collateral[j]);
        }
    }

    /* ──────────────────────────── positions ───────────────────────── */

    function _takeLinear(
        VaultStorage.State storage $,
        AccountLib.Account memory from,
        AccountLib.Account memory to,
        Walk memory walk
    ) private {
        uint256 n = from.linearCount;
        (walk.known, walk.cursor) = (to.linearCount, 0);
        for (uint256 i = 0; i < n; ++i) {
            (uint256 id, int256 size, int256 quote) = from.linearAt(i);
            int256 dSize = SliceMath.leg(size, walk.fraction);
            int256 dQuote = SliceMath.leg(quote, walk.fraction);
            if (dSize == 0 && dQuote == 0) continue;
            from.setLinear(i, id, size - dSize, quote - dQuote);
            uint256 at = _place(to.linear, walk, to.linearCount, id, 224);
            _addLong(walk, id, size, size - dSize);
            _receiveLinear($, to, walk, at, id, dSize, dQuote);
            if (walk.known > to.linearCount) walk.known = to.linearCount;
            _flushInterest($, to, walk, id);
        }
    }

    /// @dev Adds to entry `at`, or appends where `at` is the count; realises where the size becomes zero.
    function _receiveLinear(
        VaultStorage.State storage $,
        AccountLib.Account memory to,
        Walk memory walk,
        uint256 at,
        uint256 id,
        int256 size,
        int256 quote
    ) private {
        int256 oldSize;
        if (at == to.linearCount) {
            to.linearCount = at + 1;
        } else {
            int256 oldQuote;
            (, oldSize, oldQuote) = to.linearAt(at);
            size += oldSize;
            quote += oldQuote;
        }
        to.setLinear(at, id, size, quote);
        _addLong(walk, id, oldSize, size);
        if (size != 0) return;
        if (quote == 0) to.removeLinear(at);
        else PnlLib.realizeAt($, to, at);
    }

    /// @dev The hot loop of a liquidation: up to 128 entries. An option that the receiver does not hold yet moves as it is and
    ///      leaves the open interest as it is.
    function _takeOptions(
        VaultStorage.State storage $,
        AccountLib.Account memory from,
        AccountLib.Account memory to,
        Walk memory walk
    ) private {
        uint256[] memory source = from.options;
        uint256[] memory target = to.options;
        uint256 n = from.optionCount;
        uint256 fraction = walk.fraction;
        (walk.known, walk.cursor) = (to.optionCount, 0);
        for (uint256 i = 0; i < n;) {
            uint256 entry;
            int256 size;
            int256 dSize;
            assembly ("memory-safe") {
                i := add(i, 1)
                let p := add(source, shl(5, i))
                entry := mload(p)
                size := signextend(11, entry)
                // towards zero; |size| < 2^96 and f ≤ 1e18, so nothing overflows and what stays fits
                dSize := sdiv(mul(size, fraction), WAD)
                entry := xor(entry, and(entry, 0xffffffffffffffffffffffff))
                mstore(p, or(entry, and(sub(size, dSize), 0xffffffffffffffffffffffff)))
                entry := or(entry, and(dSize, 0xffffffffffffffffffffffff))
            }
            if (dSize == 0) continue;
            uint256 count = to.optionCount;
            uint256 at = walk.known == 0 ? count : _place(target, walk, count, entry >> 96, 96);
            if (at == count) {
                assembly ("memory-safe") {
                    mstore(add(target, shl(5, add(at, 1))), entry)
                }
                to.optionCount = at + 1;
            } else {
                _addLong(walk, entry >> 96, size, size - dSize);
                _receiveOption(to, walk, at, entry >> 96, dSize);
                _flushInterest($, to, walk, entry >> 96);
            }
        }
    }

    /// @dev Adds to entry `at`; removes it where the size becomes zero.
    function _receiveOption(
        AccountLib.Account memory to,
        Walk memory walk,
        uint256 at,
        uint256 id,
        int256 dSize
    ) private pure {
        (, int256 oldSize) = to.optionAt(at);
        int256 newSize = oldSize + dSize;
        to.setOption(at, id, newSize);
        _addLong(walk, id, oldSize, newSize);
        if (newSize != 0) return;
        to.removeOption(at);
        if (walk.known > to.optionCount) walk.known = to.optionCount;
    }

    function _addLong(Walk memory walk, uint256 id, int256 oldSize, int256 newSize) private pure {
        int256 change = PositionLib.longDelta(oldSize, newSize);
        walk.dLong[InstrumentId.underlying(id)] += change;
        walk.dInstrument += change;
    }

    function _flushInterest(
        VaultStorage.State storage $,
        AccountLib.Account memory to,
        Walk memory walk,
        uint256 id
    ) private {
        if (walk.dInstrument == 0) return;
        PositionLib.addInstrumentInterest($, id, walk.dInstrument, to.id);
        walk.dInstrument = 0;
    }

    /// @dev Index of the receiver's entry of `id` (entry >> shift), tried at the cursor first; `count` where it has none
    function _place(uint256[] memory entries, Walk memory walk, uint256 count, uint256 id, uint256 shift)
        private
        pure
        returns (uint256 i)
    {
        uint256 known = walk.known;
        i = walk.cursor;
        assembly ("memory-safe") {
            let p := add(add(entries, 0x20), shl(5, i))
            if or(iszero(lt(i, known)), iszero(eq(shr(shift, mload(p)), id))) {
                i := 0
                p := add(entries, 0x20)
                for {} lt(i, known) { i := add(i, 1) } {
                    if eq(shr(shift, mload(p)), id) { break }
                    p := add(p, 0x20)
                }
            }
        }
        if (i == known) return count;
        walk.cursor = i + 1;
    }

    /// @dev `emit PositionsReplaced(a.id, linear, options)`, the arrays cut to what is in use, encoded by hand: a word costs a
    ///      third of what the compiler's encoder pays, and there may be 128 of them.
    function _announcePositions(AccountLib.Account memory a) private {
        bytes32 topic = ICustody.PositionsReplaced.selector;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, 0x40)
            let to := add(data, 0x40)
            for { let list := 0x80 } lt(list, 0x100) { list := add(list, 0x40) } {
                // linear at 0x80 with its count at 0xa0, options at 0xc0 with theirs at 0xe0
                let from := mload(add(a, list))
                let n := mload(add(add(a, list), 0x20))
                if eq(list, 0xc0) { mstore(add(data, 0x20), sub(to, data)) }
                mstore(to, n)
                to := add(to, 0x20)
                for { let end := add(to, shl(5, n)) } lt(to, end) { to := add(to, 0x20) } {
                    from := add(from, 0x20)
                    mstore(to, mload(from))
                }
            }
            log2(data, sub(to, data), topic, mload(a))
        }
    }
}
