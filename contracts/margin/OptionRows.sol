// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {VaultStorage} from "../VaultStorage.sol";
import {ArrayLogic} from "./ArrayLogic.sol";
import {Portfolio} from "./Portfolio.sol";

/// @title Options of an account: from cached scenario arrays to rows of the scan
/// @notice Twin: risk/exact/margin/option_rows.py. Reads two (K > 32: four) words an option; the arrays that are not cached
///         in this epoch are computed all together in one call of ArrayLogic.
/// @dev Of one option with size o and an array as in docs/margin.md §4: s = o·U/1e18 towards zero; deduction 8192, and
///      |s| + 1 more where o < 0; mark rounded down for o > 0, up for o < 0; N_u += |o|; X_b += o·δ.
library OptionRows {
    uint256 private constant WAD = 1e18;
    uint256 private constant ROW_DEDUCTION = 8192;
    uint256 private constant MARK_MASK = 0x1ffffffffff; // 41 bits
    uint256 private constant KEY_MASK = 0x3effff; // of entry >> 106: underlying, the upper bit of the kind (1), expiry day
    // `shorts` of the loop: Σ |s| of short options (< 2^180), their number from bit 200, arrays not cached from bit 216
    uint256 private constant ONE_SHORT = 0x100000000000000000000000000000000000000000000000000;
    uint256 private constant ONE_MISSING = 0x1000000000000000000000000000000000000000000000000000000;
    /// @dev the loop adds o to the units; for o < 0 this, times −o, makes it |o| in both halves of the word
    uint256 private constant SHORT_UNITS = 0x100000000000000000000000000000002;

    /// @notice Adds the options of an account to the empty rows of `w`: row i belongs to option i.
    /// @param options packed entries id(32) | size(96); the first `count` count
    /// @param persist leave newly computed arrays cached
    function add(
        VaultStorage.State storage $,
        Portfolio.Work memory w,
        uint256[] memory options,
        uint256 count,
        bool persist
    ) internal {
        unchecked {
            uint256 entry;
            assembly ("memory-safe") {
                entry := add(options, 0x20)
            }
            uint256 end = entry + (count << 5);
            // entry + toWords: its first word of lanes
            uint256 toWords = w.rows + w.columnBytes - entry;
            uint256 missing;
            while (true) {
                uint256 notCached;
                (entry, notCached) = _decode(w, end, toWords, false, entry);
                missing += notCached;
                if (entry == end) break;
                // stopped at the first option of an underlying
                Portfolio.factor($, w, _load(entry) >> 124);
            }
            w.rowCount = count;
            w.deductions += ROW_DEDUCTION * count;
            if (w.scenarios > 32) _addUpperWords(w, end - (count << 5), end, toWords);
            if (missing != 0) _addMissing($, w, end - (count << 5), end, toWords, missing, persist);
        }
    }

    /// @dev The hot loop, over the entries in [entry, end): words of the array to the row, everything else to the sums. Where
    ///      the array is not cached it is counted and left out, or, if `computed`, taken from the row in memory. Stops at an
    ///      entry whose underlying has no record yet. Returns where it stopped and how many arrays were left out.
    function _decode(Portfolio.Work memory w, uint256 end, uint256 toWords, bool computed, uint256 entry)
        private
        view
        returns (uint256, uint256 missing)
    {
        assembly ("memory-safe") {
            let column := mload(add(w, 0x100))
            let factors := mload(add(w, 0x40))
            let buckets := mload(add(w, 0x80))
            mstore(0x00, mload(sub(buckets, 0x20))) // mask of the table, in scratch memory
            let signed := 0
            let shorts := 0
            let value := 0
            for {} lt(entry, end) { entry := add(entry, 0x20) } {
                let o := mload(entry)
                let f := mload(add(factors, shl(5, shr(124, o))))
                if iszero(f) { break }

                // the two words
                let to := add(entry, toWords)
                let second := add(mload(add(f, 0x40)), shl(2, shr(96, o)))
                let first := sload(second)
                switch eq(and(shr(208, first), 0xffffff), mload(add(f, 0x20)))
                case 1 {
                    second := sload(add(second, 1))
                    mstore(to, first)
                    mstore(add(to, column), second)
                }
                default {
                    if iszero(computed) {
                        shorts := add(shorts, ONE_MISSING)
                        continue
                    }
                    first := mload(to)
                    second := mload(add(to, column))
                }

                // bucket: += o·δ, δ = c for a call, c − 511 for a put
                {
                    let key := and(shr(106, o), KEY_MASK)
                    let hash := shl(5, add(key, shr(14, key)))
                    let place := add(buckets, and(hash, mload(0x00)))
                    for {} iszero(eq(shr(200, mload(place)), key)) {} {
                        if iszero(mload(place)) {
                            mstore(place, add(shl(200, key), shl(150, 1)))
                            let last := mload(sub(buckets, 0x40))
                            mstore(last, place)
                            mstore(sub(buckets, 0x40), add(last, 0x20))
                            break
                        }
                        hash := add(hash, 0x20)
                        place := add(buckets, and(hash, mload(0x00)))
                    }
                    key := sub(shr(247, first), mul(511, and(shr(122, o), 1)))
                    o := signextend(11, o)
                    mstore(place, add(mload(place), mul(o, key)))
                }

                // exposure s
                first := sdiv(mul(o, shl(and(shr(240, first), 0x7f), and(shr(232, first), 0xff))), WAD)
                mstore(sub(to, column), first)
                signed := add(signed, first)

                // mark and units
                let mark := and(shr(208, second), MARK_MASK)
                mstore(f, add(mload(f), o))
                if slt(o, 0) {
                    mark := add(mark, iszero(iszero(shr(249, second))))
                    mstore(f, sub(mload(f), mul(o, SHORT_UNITS)))
                    shorts := add(shorts, sub(ONE_SHORT, first))
                }
                value := add(value, mul(o, shl(shr(249, second), mark)))
            }
            missing := shr(216, shorts)
            shorts := and(shorts, sub(ONE_MISSING, 1))
            // Σ|s| = Σs + 2·Σ|s| of the short ones; their deduction |s| + 1
            end := and(shorts, sub(ONE_SHORT, 1))
            mstore(add(w, 0x120), add(mload(add(w, 0x120)), add(signed, shl(1, end))))
            mstore(add(w, 0x140), add(mload(add(w, 0x140)), signed))
            mstore(add(w, 0x160), add(mload(add(w, 0x160)), add(end, shr(200, shorts))))
            mstore(add(w, 0x180), add(mload(add(w, 0x180)), value))
        }
        return (entry, missing);
    }

    /// @dev K > 32: the third and fourth word of the options in [entry, end); where not cached, what they hold is not used.
    function _addUpperWords(Portfolio.Work memory w, uint256 entry, uint256 end, uint256 toWords) private view {
        assembly ("memory-safe") {
            let column := mload(add(w, 0x100))
            let factors := mload(add(w, 0x40))
            for {} lt(entry, end) { entry := add(entry, 0x20) } {
                let o := mload(entry)
                let f := mload(add(factors, shl(5, shr(124, o))))
                let slot := add(mload(add(f, 0x40)), shl(2, shr(96, o)))
                let to := add(entry, toWords)
                if eq(and(shr(208, sload(slot)), 0xffffff), mload(add(f, 0x20))) {
                    mstore(add(to, shl(1, column)), sload(add(slot, 2)))
                    mstore(add(to, mul(3, column)), sload(add(slot, 3)))
                }
            }
        }
    }

    /// @dev Computes the arrays of the options in [first, end) that are not cached, and adds these options.
    function _addMissing(
        VaultStorage.State storage $,
        Portfolio.Work memory w,
        uint256 first,
        uint256 end,
        uint256 toWords,
        uint256 missing,
        bool persist
    ) private {
        uint256[] memory ids = new uint256[](missing);
        uint256[] memory entries = new uint256[](missing);
        missing = 0;
        for (; first != end; first += 0x20) {
            uint256 id = _load(first) >> 96;
            uint256 f = Portfolio.factorOf(w, id >> 28);
            if (Portfolio.isCached(f, id)) continue;
            entries[missing] = first;
            ids[missing++] = id;
        }
        uint256[] memory words = ArrayLogic.compute($, ids, persist);
        for (uint256 i = 0; i < missing; ++i) {
            uint256 entry = entries[i];
            _copyWords(w, words, i, entry + toWords);
            _decode(w, entry + 0x20, toWords, true, entry);
        }
    }

    /// @dev Words 4·i … of `words` to the row whose first word is at `to`.
    function _copyWords(Portfolio.Work memory w, uint256[] memory words, uint256 i, uint256 to) private pure {
        assembly ("memory-safe") {
            let from := add(add(words, 0x20), shl(7, i))
            let column := mload(add(w, 0x100))
            let end := add(from, shl(6, add(1, gt(mload(add(w, 0x20)), 32))))
            for {} lt(from, end) { from := add(from, 0x20) } {
                mstore(to, mload(from))
                to := add(to, column)
            }
        }
    }

    function _load(uint256 pointer) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(pointer)
        }
    }
}
