// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRiskGovernor} from "../../interfaces/IRiskGovernor.sol";

/// @notice An entry of a table of ParamLayout.
type Field is uint256;

using ParamLayout for Field global;

/// @title Every field of a parameter blob: where it stands, which way it tightens, how it may move
/// @notice Twin: risk/exact/governance/param_layout.py, where the fields have names. A blob is 5 + 10U + C words that margin
///         reads and 4 + U + C words of tail (docs/margin.md §2). The tables are the one classification that ParamDiff,
///         ParamRamp and StewardCheck work from; docs/governance.md §2 gives the reasons.
/// @dev An entry of a table has five bytes: shift, bits, flags (rule in the low two bits), cap of a step (two bytes).
library ParamLayout {
    /* ───────────────────────────── fields ─────────────────────────── */

    uint256 internal constant UP = 0;
    uint256 internal constant DOWN = 1;
    /// @dev 0 means "no limit", so 0 is the loosest value
    uint256 internal constant DOWN_ZERO_IS_NONE = 2;
    /// @dev no order: some account is better off either way
    uint256 internal constant BOTH = 3;

    uint256 internal constant RAMP_TIGHTER = 4;
    uint256 internal constant RAMP_LOOSER = 8;
    /// @dev the cap of a step is in bps of the larger end
    uint256 internal constant RELATIVE = 16;
    /// @dev the cap of a step is a shock in 1e-6; the field is a lane
    uint256 internal constant LANE = 32;
    /// @dev the cap of a step follows from the shocks of the scenario
    uint256 internal constant WEIGHT = 64;

    /* ────────────────────────────── words ─────────────────────────── */

    uint256 internal constant HEADER = 0;
    uint256 internal constant WEIGHTS = 1;
    uint256 internal constant CHARGES = 2;
    uint256 internal constant PRICE_LANES = 4;
    uint256 internal constant VOL_LANES = 5;
    uint256 internal constant COLLATERAL = 6;
    uint256 internal constant TAIL = 7;
    uint256 internal constant TAIL_UNDERLYING = 11;
    uint256 internal constant TAIL_COLLATERAL = 12;

    uint256 internal constant HEADER_WORDS = 5;
    uint256 internal constant UNDERLYING_WORDS = 10;
    uint256 internal constant TAIL_WORDS = 4;
    uint256 internal constant LANE_BIAS = 4096;

    /// @notice Where a word stands.
    /// @param kind one of the constants above
    /// @param number of its underlying or collateral
    /// @param first scenario of a word of weights or lanes
    struct Place {
        uint256 kind;
        uint256 number;
        uint256 first;
    }

    /// @notice The table of a kind of word.
    function table(uint256 kind) internal pure returns (bytes memory) {
        if (kind == PRICE_LANES) {
            return hex"000d2f27100d0d2f27101a0d2f2710270d2f2710340d2f2710410d2f27104e0d2f27105b0d2f2710"
                hex"680d2f2710750d2f2710820d2f27108f0d2f27109c0d2f2710a90d2f2710b60d2f2710c30d2f2710";
        }
        if (kind == VOL_LANES) {
            return hex"000d2fc3500d0d2fc3501a0d2fc350270d2fc350340d2fc350410d2fc3504e0d2fc3505b0d2fc350"
                hex"680d2fc350750d2fc350820d2fc3508f0d2fc3509c0d2fc350a90d2fc350b60d2fc350c30d2fc350";
        }
        if (kind == WEIGHTS) {
            return hex"00104400001010440000201044000030104400004010440000501044000060104400007010440000"
                hex"80104400009010440000a010440000b010440000c010440000d010440000e010440000f010440000";
        }
        if (kind == HEADER) return hex"00080000000808030000100803000018100c00fa28100f006438100f003248100f00fa58100f0032";
        if (kind == CHARGES) return hex"00681501f46810040032781004006488100400149810040032a8100f0002b8100f000cc808030000";
        if (kind == CHARGES + 1) return hex"00401f01f440281f01f468401f01f4a8100f000ab820030000d810010000e818030000";
        if (kind == COLLATERAL) return hex"000803000008080300001010040032208019015ea001030000";
        if (kind == TAIL) {
            return hex"001003000010100300002010030000301803000048100300005818030000701003000080100000009060030000";
        }
        if (kind == TAIL + 1) return hex"00180300001810030000281003000038600200009860020000";
        if (kind == TAIL + 2) return hex"002000000020100300003070020000a020000000c040020000";
        if (kind == TAIL + 3) return hex"0018030000181003000028100300003818000000501803000068200300008820030000";
        if (kind == TAIL_UNDERLYING) return hex"00680200006810030000781003000088100300009810020000a858020000";
        return hex"0080020000";
    }

    /// @notice Number of entries of a table.
    function entries(bytes memory t) internal pure returns (uint256) {
        return t.length / 5;
    }

    /// @notice Entry `i` of a table.
    function entry(bytes memory t, uint256 i) internal pure returns (Field f) {
        assembly ("memory-safe") {
            f := shr(216, mload(add(add(t, 0x20), mul(5, i))))
        }
    }

    /// @notice Position of the lowest bit of the field.
    function shift(Field f) internal pure returns (uint256) {
        return Field.unwrap(f) >> 32;
    }

    /// @notice Mask of the field, not shifted.
    function mask(Field f) internal pure returns (uint256) {
        unchecked {
            // forge-lint: disable-next-line(incorrect-shift) 2^bits - 1 is what is meant
            return (1 << ((Field.unwrap(f) >> 24) & 0xff)) - 1;
        }
    }

    function flags(Field f) internal pure returns (uint256) {
        return (Field.unwrap(f) >> 16) & 0xff;
    }

    function cap(Field f) internal pure returns (uint256) {
        return Field.unwrap(f) & 0xffff;
    }

    /// @notice The value of the field in `w`.
    function get(Field f, uint256 w) internal pure returns (uint256) {
        return (w >> shift(f)) & mask(f);
    }

    /// @notice `w` with the value replaced.
    function put(Field f, uint256 w, uint256 value) internal pure returns (uint256) {
        return (w & ~(mask(f) << shift(f))) | (value << shift(f));
    }

    /* ───────────────────────────── memory ─────────────────────────── */

    /// @notice The free memory pointer. A loop whose turns leave nothing behind gives its memory back with `release`: a large
    ///         blob has two thousand fields, and memory costs its square.
    function mark() internal pure returns (uint256 free) {
        assembly ("memory-safe") {
            free := mload(0x40)
        }
    }

    /// @notice Frees what was allocated since `mark`.
    function release(uint256 free) internal pure {
        assembly ("memory-safe") {
            mstore(0x40, free)
        }
    }

    /// @notice Where word `index` of a blob with `u` underlyings and `c` collaterals stands.
    function locate(uint256 index, uint256 u, uint256 c) internal pure returns (Place memory p) {
        unchecked {
            if (index == 0) return p;
            if (index < HEADER_WORDS) return Place(WEIGHTS, index - 1, 16 * (index - 1));
            index -= HEADER_WORDS;
            if (index < UNDERLYING_WORDS * u) {
                p.number = index / UNDERLYING_WORDS;
                index %= UNDERLYING_WORDS;
                if (index < 2) p.kind = CHARGES + index;
                else (p.kind, p.first) = index < 6 ? (PRICE_LANES, 16 * (index - 2)) : (VOL_LANES, 16 * (index - 6));
                return p;
            }
            index -= UNDERLYING_WORDS * u;
            if (index < c) return Place(COLLATERAL, index, 0);
            index -= c;
            if (index < TAIL_WORDS) return Place(TAIL + index, 0, 0);
            index -= TAIL_WORDS;
            return index < u ? Place(TAIL_UNDERLYING, index, 0) : Place(TAIL_COLLATERAL, index - u, 0);
        }
    }

    /// @notice Whether `kind` is a word of price or vol lanes.
    function isLane(uint256 kind) internal pure returns (bool) {
        return kind == PRICE_LANES || kind == VOL_LANES;
    }

    /* ────────────────────────────── blobs ─────────────────────────── */

    /// @notice Word `index` of `blob` (no check).
    function word(bytes memory blob, uint256 index) internal pure returns (uint256 w) {
        assembly ("memory-safe") {
            w := mload(add(add(blob, 0x20), shl(5, index)))
        }
    }

    /// @notice Replaces word `index` (no check).
    function setWord(bytes memory blob, uint256 index, uint256 w) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(blob, 0x20), shl(5, index)), w)
        }
    }

    /// @notice K, U and C of word 0.
    function counts(bytes memory blob) internal pure returns (uint256 k, uint256 u, uint256 c) {
        uint256 w = word(blob, 0);
        return (w & 0xff, (w >> 8) & 0xff, (w >> 16) & 0xff);
    }

    /// @notice The unit of the lanes of `kind` of underlying `u`, 1e-6.
    function unitOf(bytes memory blob, uint256 kind, uint256 u) internal pure returns (uint256) {
        return (word(blob, HEADER_WORDS + UNDERLYING_WORDS * u) >> (kind == PRICE_LANES ? 168 : 184)) & 0xffff;
    }

    /// @notice |a − b|
    function distance(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            return a > b ? a - b : b - a;
        }
    }

    /// @notice A proposal has the counts of the blob that it replaces: `BlobLength(given, wanted)`, `BlobCounts(given, wanted)`.
    function requireShape(bytes memory base, bytes memory blob) internal pure {
        if (blob.length != base.length) revert IRiskGovernor.BlobLength(blob.length, base.length);
        (uint256 given, uint256 wanted) = ((word(blob, 0) >> 8) & 0xffff, (word(base, 0) >> 8) & 0xffff);
        if (given != wanted) revert IRiskGovernor.BlobCounts(given, wanted);
    }

    /* ───────────────────────────── listing ────────────────────────── */

    /// @notice `blob` with one underlying more: `added` is its ten words and its word of the tail (`BlobLength` otherwise).
    function withUnderlying(bytes memory blob, bytes memory added) internal pure returns (bytes memory out) {
        uint256 wanted = 32 * (UNDERLYING_WORDS + 1);
        if (added.length != wanted) revert IRiskGovernor.BlobLength(added.length, wanted);
        (, uint256 u, uint256 c) = counts(blob);
        uint256 first = HEADER_WORDS + UNDERLYING_WORDS * u;
        uint256 tail = first + c + TAIL_WORDS + u;
        uint256 n = blob.length / 32;
        out = new bytes(blob.length + added.length);
        for (uint256 i = 0; i < n; ++i) {
            uint256 shifted = i < first ? i : i < tail ? i + UNDERLYING_WORDS : i + UNDERLYING_WORDS + 1;
            setWord(out, shifted, word(blob, i));
        }
        for (uint256 i = 0; i < UNDERLYING_WORDS; ++i) {
            setWord(out, first + i, word(added, i));
        }
        setWord(out, tail + UNDERLYING_WORDS, word(added, UNDERLYING_WORDS));
        setWord(out, 0, word(out, 0) + (1 << 8));
    }

    /// @notice `blob` with one collateral more.
    function withCollateral(bytes memory blob, uint256 added, uint256 tailWord)
        internal
        pure
        returns (bytes memory out)
    {
        (, uint256 u, uint256 c) = counts(blob);
        uint256 first = HEADER_WORDS + UNDERLYING_WORDS * u + c;
        uint256 n = blob.length / 32;
        out = new bytes(blob.length + 64);
        for (uint256 i = 0; i < n; ++i) {
            setWord(out, i < first ? i : i + 1, word(blob, i));
        }
        setWord(out, first, added);
        setWord(out, n + 1, tailWord);
        setWord(out, 0, word(out, 0) + (1 << 16));
    }
}
