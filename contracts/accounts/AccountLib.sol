// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Accounts in memory: load, change, store
/// @notice Twin: risk/exact/accounts/account_lib.py. An account is read into memory once per call, changed there, and
///         written back word by word where a word differs. A function that reverts here says for which account.
/// @dev Storage keeps what it needs to be read cheaply: a header word with the counts (docs/architecture.md), options two
///      to a word. Words beyond the counts are stale and never read: a slot once used is cheap to use again.
library AccountLib {
    /* ──────────────────────────── types ───────────────────────────── */

    /// @param id owner << 8 | sub-account
    /// @param cashWad signed cash
    /// @param collateralMask bit j set iff collateral[j] is non-zero; `store` derives it anew
    /// @param collateral native amounts, length MAX_COLLATERALS
    /// @param linear id(32) | size(96) | quote(128), high to low, both two's complement; the first `linearCount` count
    /// @param options id(32) | size(96) in the low 128 bits; the first `optionCount` count
    struct Account {
        uint168 id;
        int256 cashWad;
        uint256 collateralMask;
        uint256[] collateral;
        uint256[] linear;
        uint256 linearCount;
        uint256[] options;
        uint256 optionCount;
    }

    uint256 private constant INDEX_MASK = type(uint64).max >> 1;

    /* ────────────────────────── load, store ───────────────────────── */

    /// @notice Reads the account `id`, its cash with interest up to the last accrual; `linear` and `options` get room for `extra`
    ///         more entries each (not cleared).
    /// @dev The interest is InterestLib.touched, by hand: the supply index shares the slot that every call has read.
    function load(VaultStorage.State storage $, uint168 id, uint256 extra) internal view returns (Account memory a) {
        VaultStorage.AccountData storage data = $.accounts[id];
        assembly ("memory-safe") {
            let header := sload(data.slot)
            let free := mload(0x40)
            mstore(a, id)
            let cash := signextend(15, header)
            if cash {
                let recorded := and(shr(160, header), 0x7fffffffffffffff)
                let index
                switch slt(cash, 0)
                case 0 { index := shr(192, sload($.slot)) }
                default { index := and(sload(add($.slot, 3)), 0xffffffffffffffff) }
                if and(iszero(eq(index, recorded)), gt(recorded, 0)) {
                    // |cash| < 2^127, indices < 2^63; ⌊…⌋ of a credit, −⌈…⌉ of a debt: towards −∞ both
                    let product := mul(cash, index)
                    cash := sub(sdiv(product, recorded), slt(smod(product, recorded), 0))
                }
            }
            mstore(add(a, 0x20), cash)

            let mask := and(shr(128, header), 0xffff)
            mstore(add(a, 0x40), mask)
            mstore(add(a, 0x60), free)
            mstore(free, 16)
            calldatacopy(add(free, 0x20), calldatasize(), 0x200) // zeros
            let to := add(free, 0x20)
            let from := add(data.slot, 1)
            free := add(free, 0x220)
            for {} mask { mask := shr(2, mask) } {
                if and(mask, 3) {
                    let word := sload(from)
                    mstore(to, shr(128, shl(128, word)))
                    mstore(add(to, 0x20), shr(128, word))
                }
                to := add(to, 0x40)
                from := add(from, 1)
            }

            let count := and(shr(144, header), 0xff)
            mstore(add(a, 0x80), free)
            mstore(add(a, 0xa0), count)
            mstore(free, add(count, extra))
            to := add(free, 0x20)
            from := add(data.slot, 9)
            free := add(to, shl(5, add(count, extra)))
            for { let end := add(from, count) } lt(from, end) { from := add(from, 1) } {
                mstore(to, sload(from))
                to := add(to, 0x20)
            }

            count := and(shr(152, header), 0xff)
            mstore(add(a, 0xc0), free)
            mstore(add(a, 0xe0), count)
            mstore(free, add(count, extra))
            to := add(free, 0x20)
            from := add(data.slot, 137)
            // one more, so that the second half of the last word has a place
            mstore(0x40, add(to, shl(5, add(add(count, extra), 1))))
            for { let end := add(to, shl(5, count)) } lt(to, end) { to := add(to, 0x40) } {
                let word := sload(from)
                mstore(to, shr(128, shl(128, word)))
                mstore(add(to, 0x20), shr(128, word))
                from := add(from, 1)
            }
        }
    }

    /// @notice Writes `a` back: only the words that changed.
    /// @dev Reverts `TooManyPositions(account, 128)`, then `CashOutOfRange(account)` where cash does not fit int128.
    function store(VaultStorage.State storage $, Account memory a) internal {
        if (a.linearCount + a.optionCount > VaultStorage.MAX_POSITIONS) {
            revert ICustody.TooManyPositions(a.id, VaultStorage.MAX_POSITIONS);
        }
        if (a.cashWad != int128(a.cashWad)) revert ICustody.CashOutOfRange(a.id);
        VaultStorage.AccountData storage data = $.accounts[a.id];
        uint256 header;
        assembly ("memory-safe") {
            header := sload(data.slot)
        }
        _storeCollateral(data, a, uint16(header >> 128));
        uint256 index = InterestLib.book($, a.id, int128(uint128(header)), (header >> 160) & INDEX_MASK, a.cashWad);
        assembly ("memory-safe") {
            // flaggedAt(32) | margin call(1) | index(63) | optionCount(8) | linearCount(8) | collateralMask(16) | cash(128)
            let next := or(shl(223, shr(223, header)), and(mload(add(a, 0x20)), 0xffffffffffffffffffffffffffffffff))
            next := or(next, shl(160, index))
            next := or(next, shl(128, mload(add(a, 0x40))))
            next := or(next, or(shl(144, mload(add(a, 0xa0))), shl(152, mload(add(a, 0xe0)))))
            if iszero(eq(next, header)) { sstore(data.slot, next) }

            // linear: one entry a word
            let from := add(mload(add(a, 0x80)), 0x20)
            let to := add(data.slot, 9)
            for { let end := add(to, mload(add(a, 0xa0))) } lt(to, end) { to := add(to, 1) } {
                let word := mload(from)
                if iszero(eq(sload(to), word)) { sstore(to, word) }
                from := add(from, 0x20)
            }

            // options: two entries a word, the even index in the low half
            from := add(mload(add(a, 0xc0)), 0x20)
            to := add(data.slot, 137)
            let n := mload(add(a, 0xe0))
            for { let last := add(from, shl(5, n)) } lt(from, last) { from := add(from, 0x40) } {
                let word := mload(from)
                let old := sload(to)
                switch lt(add(from, 0x20), last)
                case 1 { word := or(word, shl(128, mload(add(from, 0x20)))) }
                // the high half is not an entry: keep what is there
                default { word := or(word, shl(128, shr(128, old))) }
                if iszero(eq(old, word)) { sstore(to, word) }
                to := add(to, 1)
            }
        }
    }

    /// @notice Adds `change` to the cash of `id` without reading its positions; interest first.
    /// @dev Reverts `CashOutOfRange(account)`. The caller has accrued, and emits what happened.
    /// @return cashWad the new cash
    function addCash(VaultStorage.State storage $, uint168 id, int256 change) internal returns (int256 cashWad) {
        VaultStorage.AccountData storage data = $.accounts[id];
        (int256 old, uint256 recorded) = (data.cashWad, data.interest & INDEX_MASK);
        cashWad = InterestLib.touched($, old, recorded) + change;
        if (cashWad != int128(cashWad)) revert ICustody.CashOutOfRange(id);
        uint256 index = InterestLib.book($, id, old, recorded, cashWad);
        // forge-lint: disable-start(unsafe-typecast) checked two lines above; an index has 63 bits
        data.cashWad = int128(cashWad);
        data.interest = uint64(index) | (data.interest & InterestLib.CALL_STANDING);
        // forge-lint: disable-end(unsafe-typecast)
    }

    /* ─────────────────────────── collateral ───────────────────────── */

    /// @notice Sets the native amount of collateral `j` and its bit of the mask.
    function setCollateral(Account memory a, uint256 j, uint256 amount) internal pure {
        a.collateral[j] = amount;
        uint256 bit = 1 << j;
        a.collateralMask = amount == 0 ? a.collateralMask & ~bit : a.collateralMask | bit;
    }

    /* ───────────────────────────── linear ─────────────────────────── */

    /// @notice Entry `i`: instrument, signed size, signed quote
    function linearAt(Account memory a, uint256 i) internal pure returns (uint256 id, int256 size, int256 quote) {
        uint256 entry = a.linear[i];
        id = entry >> 224;
        size = int96(uint96(entry >> 128));
        quote = int128(uint128(entry));
    }

    /// @notice Overwrites entry `i`; it stays even where size and quote are zero (see `removeLinear`).
    /// @dev Reverts `SizeOutOfRange(account, id)` where the size does not fit int96 or the quote int128.
    function setLinear(Account memory a, uint256 i, uint256 id, int256 size, int256 quote) internal pure {
        if (size != int96(size) || quote != int128(quote)) revert ICustody.SizeOutOfRange(a.id, uint32(id));
        // forge-lint: disable-next-line(unsafe-typecast) both were checked in the line above
        a.linear[i] = (id << 224) | (uint256(uint96(int96(size))) << 128) | uint128(int128(quote));
    }

    /// @notice Removes entry `i`; the last entry takes its place.
    function removeLinear(Account memory a, uint256 i) internal pure {
        uint256 last = a.linearCount - 1;
        a.linear[i] = a.linear[last];
        a.linearCount = last;
    }

    /// @notice Adds `dSize` and `dQuote` to the position in `id`: appends it where there is none, removes it where size
    ///         and quote are both zero afterwards.
    /// @dev Reverts as `setLinear`. Needs one spare entry (`load` with extra ≥ 1) to append.
    /// @return oldSize before, @return newSize after, @return newQuote after
    function addLinear(Account memory a, uint256 id, int256 dSize, int256 dQuote)
        internal
        pure
        returns (int256 oldSize, int256 newSize, int256 newQuote)
    {
        uint256 i = findLinear(a, id);
        if (i < a.linearCount) (, oldSize, newQuote) = linearAt(a, i);
        newSize = oldSize + dSize;
        newQuote += dQuote;
        if (newSize == 0 && newQuote == 0) {
            if (i < a.linearCount) removeLinear(a, i);
        } else {
            setLinear(a, i, id, newSize, newQuote);
            if (i == a.linearCount) a.linearCount = i + 1;
        }
    }

    /// @notice Index of the position in `id`, `linearCount` where there is none
    function findLinear(Account memory a, uint256 id) internal pure returns (uint256 i) {
        return _find(a.linear, a.linearCount, id, 224);
    }

    /* ───────────────────────────── options ────────────────────────── */

    /// @notice Entry `i`: instrument and signed size
    function optionAt(Account memory a, uint256 i) internal pure returns (uint256 id, int256 size) {
        uint256 entry = a.options[i];
        id = entry >> 96;
        size = int96(uint96(entry));
    }

    /// @notice Overwrites entry `i`; it stays even where the size is zero (see `removeOption`).
    /// @dev Reverts `SizeOutOfRange(account, id)` where the size does not fit int96.
    function setOption(Account memory a, uint256 i, uint256 id, int256 size) internal pure {
        if (size != int96(size)) revert ICustody.SizeOutOfRange(a.id, uint32(id));
        // forge-lint: disable-next-line(unsafe-typecast) the size was checked in the line above
        a.options[i] = (id << 96) | uint96(int96(size));
    }

    /// @notice Removes entry `i`; the last entry takes its place.
    function removeOption(Account memory a, uint256 i) internal pure {
        uint256 last = a.optionCount - 1;
        a.options[i] = a.options[last];
        a.optionCount = last;
    }

    /// @notice Adds `dSize` to the position in `id`: appends it where there is none, removes it where it becomes zero.
    /// @dev Reverts as `setOption`. Needs one spare entry (`load` with extra ≥ 1) to append.
    /// @return oldSize before, @return newSize after
    function addOption(Account memory a, uint256 id, int256 dSize)
        internal
        pure
        returns (int256 oldSize, int256 newSize)
    {
        uint256 i = findOption(a, id);
        if (i < a.optionCount) (, oldSize) = optionAt(a, i);
        newSize = oldSize + dSize;
        if (newSize == 0) {
            if (i < a.optionCount) removeOption(a, i);
        } else {
            setOption(a, i, id, newSize);
            if (i == a.optionCount) a.optionCount = i + 1;
        }
    }

    /// @notice Index of the position in `id`, `optionCount` where there is none
    function findOption(Account memory a, uint256 id) internal pure returns (uint256 i) {
        return _find(a.options, a.optionCount, id, 96);
    }

    /* ─────────────────────────── obligations ──────────────────────── */

    /// @notice Perps, futures and options
    function positionCount(Account memory a) internal pure returns (uint256) {
        return a.linearCount + a.optionCount;
    }

    /// @notice cash < 0, or a perp or future with size ≠ 0, or a short option (docs/margin.md §5)
    function hasObligations(Account memory a) internal pure returns (bool yes) {
        if (a.cashWad < 0) return true;
        assembly ("memory-safe") {
            let p := mload(add(a, 0x80))
            for { let end := add(p, shl(5, mload(add(a, 0xa0)))) } lt(p, end) {} {
                p := add(p, 0x20)
                if shl(160, shr(128, mload(p))) {
                    yes := 1
                    break
                }
            }
            p := mload(add(a, 0xc0))
            for { let end := add(p, mul(shl(5, mload(add(a, 0xe0))), iszero(yes))) } lt(p, end) {} {
                p := add(p, 0x20)
                if and(shr(95, mload(p)), 1) {
                    yes := 1
                    break
                }
            }
        }
    }

    /* ──────────────────────────── expiries ────────────────────────── */

    /// @notice Whether the 08:00 UTC of the expiry day of a future or option of `a` is at `time` or before
    function anyExpiresBy(Account memory a, uint256 time) internal pure returns (bool expired) {
        // the last expiry day that is over at `time`
        uint256 day = (time - InstrumentId.EXPIRY_TIME_OF_DAY) / 1 days;
        assembly ("memory-safe") {
            // linear: id(32) at bit 224, options: at bit 96; day(16) at bit 10 of the id, 0 for a perp
            let from := add(mload(add(a, 0x80)), 0x20)
            for { let end := add(from, shl(5, mload(add(a, 0xa0)))) } lt(from, end) { from := add(from, 0x20) } {
                let d := and(shr(234, mload(from)), 0xffff)
                expired := or(expired, and(iszero(gt(d, day)), gt(d, 0)))
            }
            from := add(mload(add(a, 0xc0)), 0x20)
            for { let end := add(from, shl(5, mload(add(a, 0xe0)))) } lt(from, end) { from := add(from, 0x20) } {
                expired := or(expired, iszero(gt(and(shr(106, mload(from)), 0xffff), day)))
            }
        }
    }

    /* ─────────────────────────── private ──────────────────────────── */

    /// @dev index of the first of `count` entries whose id (entry >> shift) is `id`; `count` where there is none
    function _find(uint256[] memory entries, uint256 count, uint256 id, uint256 shift) private pure returns (uint256 i) {
        assembly ("memory-safe") {
            let p := add(entries, 0x20)
            for {} lt(i, count) { i := add(i, 1) } {
                if eq(shr(shift, mload(p)), id) { break }
                p := add(p, 0x20)
            }
        }
    }

    function _storeCollateral(VaultStorage.AccountData storage data, Account memory a, uint256 oldMask) private {
        uint256[] memory collateral = a.collateral;
        uint256 newMask;
        assembly ("memory-safe") {
            let from := add(collateral, 0x20)
            let to := add(data.slot, 1)
            for { let j := 0 } lt(j, 16) { j := add(j, 2) } {
                let low := mload(from)
                let high := mload(add(from, 0x20))
                newMask := or(newMask, shl(j, or(iszero(iszero(low)), shl(1, iszero(iszero(high))))))
                if and(or(shr(j, oldMask), shr(j, newMask)), 3) {
                    let word := or(low, shl(128, high))
                    if iszero(eq(sload(to), word)) { sstore(to, word) }
                }
                from := add(from, 0x40)
                to := add(to, 1)
            }
        }
        a.collateralMask = newMask;
    }
}
