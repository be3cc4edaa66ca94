// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Params} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {ScenarioArray} from "./ScenarioArray.sol";

/// @title Working memory of one margin computation
/// @notice Twin: risk/exact/margin/portfolio.py. What an account holds, summed by underlying (factor) and by expiry
///         (bucket), and the rows of the scenario scan. Nothing here rounds.
/// @dev Laid out by hand, because the loop over the options (OptionRows) works on it in assembly.
///
///      Factor: a record of FACTOR_BYTES made on first use, found through a table of 16 pointers and chained.
///      Bucket: one word of a hash table with linear probing,
///
///          key(22) << 200 | X_b + 2^150        key = underlying << 18 | 1 << 17 | expiryDay, X_b in units × 511
///
///      |X_b| < 2^112, so adding to the word changes X_b only. The places in use are listed, so no empty place is visited.
///      Before the table lie two words: the end of that list and the table's size in bytes − 32.
///
///      Rows lie column by column: first the signed exposures s, then one column for each word of lanes. Column c of row i
///      is at rows + c·columnBytes + 32·i; column 0 is s, column 1 + c is lane word c.
library Portfolio {
    struct Work {
        Params p; // 0x00
        uint256 scenarios; // 0x20, K
        uint256 factors; // 0x40, table of 16 pointers
        uint256 firstFactor; // 0x60
        uint256 buckets; // 0x80, hash table
        uint256 bucketList; // 0xa0, pointers to the words in use
        uint256 rows; // 0xc0, column 0
        uint256 rowCount; // 0xe0
        uint256 columnBytes; // 0x100
        uint256 sumAbs; // 0x120, Σ |s|
        int256 sumSigned; // 0x140, Σ s
        uint256 deductions; // 0x160
        int256 optionValue; // 0x180, Σ o·mark, WAD²
        uint256 apart; // 0x1a0, not 0: the stable price of some underlying is out of its band
    }

    uint256 internal constant BUCKET_EXPOSURE_BITS = 200;
    uint256 internal constant BUCKET_BIAS = 1 << 150;
    uint256 private constant BUCKET_UNDERLYING_SHIFT = 18;
    uint256 private constant FACTOR_BYTES = 0x180;
    /// @dev as in ScenarioArray; assembly takes only constants of its own file
    uint256 private constant TAG_CYCLE = 0xffffff;
    // fields of a factor
    uint256 private constant UNITS = 0x00; // N_u in the low 128 bits, Σ |o| of its short options above
    uint256 private constant TAG = 0x20; // of the snapshot's epoch
    uint256 private constant ARRAYS = 0x40; // base slot of its arrays
    uint256 private constant PRICE = 0x60; // S
    uint256 private constant TIME = 0x80; // of the snapshot
    uint256 private constant OPEN_INTEREST = 0xa0; // OI_u
    uint256 private constant INDEX = 0xc0; // u
    uint256 private constant LINEAR_VALUE = 0xe0; // D_u
    uint256 private constant HAS_LINEAR = 0x100; // 1: there is an underlying row
    uint256 private constant NEXT = 0x120; // the factor made before this one, 0 at the end
    uint256 private constant FUNDING = 0x140; // cumulative funding of a unit long, E12
    uint256 private constant APART = 0x160; // 1: the stable price is out of its band

    /* ───────────────────────────── open ───────────────────────────── */

    /// @notice Prepares `w` for an account with `linearCount` perps and futures and `optionCount` options.
    function open(Work memory w, Params p, uint256 linearCount, uint256 optionCount) internal pure {
        assembly ("memory-safe") {
            let header := mload(p)
            let scenarios := and(header, 0xff)
            mstore(w, p)
            mstore(add(w, 0x20), scenarios)
            // one row an option and at most one an underlying; one more, because the scan takes rows in pairs
            let columnBytes := shl(5, add(add(optionCount, and(shr(8, header), 0xff)), 1))
            let held := add(linearCount, optionCount)
            // hash table: a power of two, at least twice as many words as there can be expiries
            let tableBytes := 0x40
            for {} lt(tableBytes, shl(6, held)) {} { tableBytes := shl(1, tableBytes) }

            let free := mload(0x40)
            mstore(add(w, 0x40), free)
            let table := add(free, 0x240)
            mstore(add(w, 0x80), table)
            // both tables start empty: reading calldata beyond its end gives zeros
            calldatacopy(free, calldatasize(), add(0x240, tableBytes))
            free := add(table, tableBytes)
            mstore(add(w, 0xa0), free)
            mstore(sub(table, 0x40), free)
            mstore(sub(table, 0x20), sub(tableBytes, 0x20))
            free := add(free, shl(5, held))
            mstore(add(w, 0xc0), free)
            mstore(add(w, 0x100), columnBytes)
            // s and two words of lanes, four for K > 32
            mstore(0x40, add(free, mul(add(3, shl(1, gt(scenarios, 32))), columnBytes)))
        }
    }

    /* ─────────────────────────── underlyings ──────────────────────── */

    /// @notice The record of underlying `u`; the first use reads its one storage slot.
    function factor(VaultStorage.State storage $, Work memory w, uint256 u) internal view returns (uint256 f) {
        f = factorOf(w, u);
        if (f == 0) f = _loadFactor($, w, u);
    }

    /// @notice The record of underlying `u`, 0 where none was made.
    function factorOf(Work memory w, uint256 u) internal pure returns (uint256 f) {
        assembly ("memory-safe") {
            f := mload(add(mload(add(w, 0x40)), shl(5, u)))
        }
    }

    /// @notice Adds the value and the units of a collateral or linear position; the underlying then has a row.
    function addLinearValue(uint256 f, int256 value, uint256 units_) internal pure {
        assembly ("memory-safe") {
            mstore(add(f, UNITS), add(mload(add(f, UNITS)), units_))
            mstore(add(f, LINEAR_VALUE), add(mload(add(f, LINEAR_VALUE)), value))
            mstore(add(f, HAS_LINEAR), 1)
        }
    }

    /// @notice N_u
    function units(uint256 f) internal pure returns (uint256) {
        return uint128(_word(f, UNITS));
    }

    /// @notice Σ |o| of short options
    function shortUnits(uint256 f) internal pure returns (uint256) {
        return _word(f, UNITS) >> 128;
    }

    function price(uint256 f) internal pure returns (uint256) {
        return _word(f, PRICE);
    }

    function time(uint256 f) internal pure returns (uint256) {
        return _word(f, TIME);
    }

    function openInterest(uint256 f) internal pure returns (uint256) {
        return _word(f, OPEN_INTEREST);
    }

    /// @notice Cumulative funding of one unit long, 1e-12 of the settlement currency
    function fundingE12(uint256 f) internal pure returns (int256) {
        return int256(_word(f, FUNDING));
    }

    /// @notice Whether initial margin must look at the stable price
    function stableApart(uint256 f) internal pure returns (bool) {
        return _word(f, APART) != 0;
    }

    function index(uint256 f) internal pure returns (uint256) {
        return _word(f, INDEX);
    }

    /// @notice D_u
    function linearValue(uint256 f) internal pure returns (int256) {
        return int256(_word(f, LINEAR_VALUE));
    }

    function hasLinear(uint256 f) internal pure returns (bool) {
        return _word(f, HAS_LINEAR) != 0;
    }

    function nextFactor(uint256 f) internal pure returns (uint256) {
        return _word(f, NEXT);
    }

    /// @notice Whether the array of instrument `id` of the underlying of `f` is cached in this epoch
    function isCached(uint256 f, uint256 id) internal view returns (bool yes) {
        assembly ("memory-safe") {
            let word := sload(add(mload(add(f, ARRAYS)), shl(2, id)))
            yes := eq(and(shr(208, word), 0xffffff), mload(add(f, TAG)))
        }
    }

    function _loadFactor(VaultStorage.State storage $, Work memory w, uint256 u) private view returns (uint256 f) {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        uint256 word;
        assembly ("memory-safe") {
            word := sload(data.slot)
        }
        uint256 arrays = ScenarioArray.baseOf(uint32(word >> 88));
        assembly ("memory-safe") {
            f := mload(0x40)
            mstore(0x40, add(f, FACTOR_BYTES))
            mstore(add(f, UNITS), 0)
            mstore(add(f, TAG), add(mod(and(shr(88, word), 0xffffffff), TAG_CYCLE), 1))
            mstore(add(f, ARRAYS), arrays)
            mstore(add(f, PRICE), and(word, 0xffffffffffffffffffffff))
            mstore(add(f, TIME), and(shr(120, word), 0xffffffff))
            // see Gauge: exponent(7) | mantissa(16) | apart(1)
            let gauge := shr(152, word)
            mstore(add(f, OPEN_INTEREST), shl(and(shr(17, gauge), 0x7f), and(shr(1, gauge), 0xffff)))
            let apart := and(gauge, 1)
            mstore(add(f, APART), apart)
            mstore(add(w, 0x1a0), or(mload(add(w, 0x1a0)), apart))
            mstore(add(f, FUNDING), sar(176, word))
            mstore(add(f, INDEX), u)
            mstore(add(f, LINEAR_VALUE), 0)
            mstore(add(f, HAS_LINEAR), 0)
            mstore(add(f, NEXT), mload(add(w, 0x60)))
            mstore(add(w, 0x60), f)
            mstore(add(mload(add(w, 0x40)), shl(5, u)), f)
        }
    }

    /* ───────────────────────────── expiries ───────────────────────── */

    /// @notice Adds `amount` (units × 511) to the exposure of the bucket of instrument `id`.
    function addToBucket(Work memory w, uint256 id, int256 amount) internal pure {
        uint256 u = InstrumentId.underlying(id);
        uint256 key = (u << BUCKET_UNDERLYING_SHIFT) | (1 << 17) | InstrumentId.expiryDay(id);
        assembly ("memory-safe") {
            let table := mload(add(w, 0x80))
            let mask := mload(sub(table, 0x20))
            let hash := shl(5, add(key, shr(14, key)))
            let place := add(table, and(hash, mask))
            for {} iszero(eq(shr(BUCKET_EXPOSURE_BITS, mload(place)), key)) {} {
                if iszero(mload(place)) {
                    mstore(place, add(shl(BUCKET_EXPOSURE_BITS, key), BUCKET_BIAS))
                    let end := mload(sub(table, 0x40))
                    mstore(end, place)
                    mstore(sub(table, 0x40), add(end, 0x20))
                    break
                }
                hash := add(hash, 0x20)
                place := add(table, and(hash, mask))
            }
            mstore(place, add(mload(place), amount))
        }
    }

    /// @notice First and end of the list of buckets, for `bucket`; steps of 32
    function bucketRange(Work memory w) internal pure returns (uint256 first, uint256 end) {
        first = w.bucketList;
        end = _word(w.buckets - 0x40, 0);
    }

    /// @notice Underlying, expiry day and exposure X_b (units × 511) of the bucket listed at `item`
    function bucket(uint256 item) internal pure returns (uint256 u, uint256 day, int256 exposure) {
        uint256 word = _word(_word(item, 0), 0);
        unchecked {
            exposure = int256(word & ((1 << BUCKET_EXPOSURE_BITS) - 1)) - int256(BUCKET_BIAS);
        }
        word >>= BUCKET_EXPOSURE_BITS;
        u = word >> BUCKET_UNDERLYING_SHIFT;
        day = uint16(word);
    }

    /* ─────────────────────────────── rows ─────────────────────────── */

    /// @notice Appends a row with signed exposure `s` and the lane words at `lanes` in memory.
    function addRow(Work memory w, int256 s, uint256 lanes, uint256 deduction) internal pure {
        assembly ("memory-safe") {
            let column := mload(add(w, 0x100))
            let count := mload(add(w, 0xe0))
            let to := add(mload(add(w, 0xc0)), shl(5, count))
            mstore(add(w, 0xe0), add(count, 1))
            mstore(to, s)
            // two words of lanes, four for K > 32
            for { let end := add(lanes, shl(6, add(1, gt(mload(add(w, 0x20)), 32)))) } lt(lanes, end) {} {
                to := add(to, column)
                mstore(to, mload(lanes))
                lanes := add(lanes, 0x20)
            }
            mstore(add(w, 0x140), add(mload(add(w, 0x140)), s))
            if slt(s, 0) { s := sub(0, s) }
            mstore(add(w, 0x120), add(mload(add(w, 0x120)), s))
            mstore(add(w, 0x160), add(mload(add(w, 0x160)), deduction))
        }
    }

    /// @notice Cell of column `column` (0: s, 1 + c: lane word c) and row `row`
    function cell(Work memory w, uint256 column, uint256 row) internal pure returns (uint256) {
        unchecked {
            return _word(w.rows + column * w.columnBytes, row << 5);
        }
    }

    function _word(uint256 pointer, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(pointer, offset))
        }
    }
}
