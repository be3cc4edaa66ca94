// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRiskGovernor} from "../../interfaces/IRiskGovernor.sol";
import {Field, ParamLayout} from "./ParamLayout.sol";

/// @title What changes between two blobs, and in which direction
/// @notice Twin: risk/exact/governance/param_diff.py. Every bit of a blob belongs to a field of ParamLayout or counts as
///         unclassified, which is both tightening and loosening: nothing can slip through.
library ParamDiff {
    /// @dev some account may need more
    uint256 internal constant TIGHTENS = 1;
    /// @dev the vault may stand behind less
    uint256 internal constant LOOSENS = 2;
    /// @dev as shift of a change: bits of no field
    uint256 internal constant UNCLASSIFIED = 0xff;

    /// @notice The direction of one field: 0, TIGHTENS, LOOSENS or both bits.
    function classify(uint256 flags, uint256 old, uint256 given) internal pure returns (uint256) {
        if (old == given) return 0;
        uint256 rule = flags & 3;
        if (rule == ParamLayout.BOTH) return TIGHTENS | LOOSENS;
        if (rule == ParamLayout.DOWN_ZERO_IS_NONE && (old == 0 || given == 0)) return old == 0 ? TIGHTENS : LOOSENS;
        return (given > old) == (rule == ParamLayout.UP) ? TIGHTENS : LOOSENS;
    }

    /// @notice Every changed field as word << 16 | shift << 8 | direction, ascending. Reverts as ParamLayout.requireShape.
    /// @dev Lanes of a scenario that only one of the two has are part of that scenario: its weight speaks for it.
    function diff(bytes memory old, bytes memory given) internal pure returns (uint256[] memory changes) {
        ParamLayout.requireShape(old, given);
        (uint256 common, uint256 u, uint256 c) = ParamLayout.counts(old);
        {
            (uint256 k,,) = ParamLayout.counts(given);
            if (k < common) common = k;
        }
        uint256 words = old.length / 32;
        // seventeen a word at most: sixteen fields and the bits of none
        changes = new uint256[](17 * words);
        uint256 n = 0;
        for (uint256 i = 0; i < words; ++i) {
            (uint256 x, uint256 y) = (ParamLayout.word(old, i), ParamLayout.word(given, i));
            if (x == y) continue;
            uint256 free = ParamLayout.mark();
            n = _diffWord(changes, n, x, y, i, ParamLayout.locate(i, u, c), common);
            ParamLayout.release(free);
        }
        assembly ("memory-safe") {
            mstore(changes, n)
        }
    }

    /// @notice Reverts `Loosens(word, shift)` of the first field that loosens.
    function requireTightening(bytes memory base, bytes memory blob) internal pure {
        uint256[] memory changes = diff(base, blob);
        for (uint256 i = 0; i < changes.length; ++i) {
            uint256 change = changes[i];
            if (change & LOOSENS != 0) revert IRiskGovernor.Loosens(change >> 16, (change >> 8) & 0xff);
        }
    }

    /// @notice Shift of the first field of a word of `kind` that has a bit in `changed`, UNCLASSIFIED where none has.
    function firstChange(uint256 kind, uint256 changed) internal pure returns (uint256) {
        bytes memory t = ParamLayout.table(kind);
        uint256 count = ParamLayout.entries(t);
        for (uint256 e = 0; e < count; ++e) {
            Field f = ParamLayout.entry(t, e);
            if (f.get(changed) != 0) return f.shift();
        }
        return UNCLASSIFIED;
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _diffWord(
        uint256[] memory changes,
        uint256 n,
        uint256 x,
        uint256 y,
        uint256 index,
        ParamLayout.Place memory place,
        uint256 common
    ) private pure returns (uint256) {
        bytes memory t = ParamLayout.table(place.kind);
        uint256 count = ParamLayout.entries(t);
        uint256 rest = x ^ y;
        for (uint256 e = 0; e < count; ++e) {
            Field f = ParamLayout.entry(t, e);
            if (f.get(x ^ y) == 0) continue;
            rest = f.put(rest, 0);
            if (ParamLayout.isLane(place.kind) && place.first + e >= common) continue;
            changes[n++] = (index << 16) | (f.shift() << 8) | classify(f.flags(), f.get(x), f.get(y));
        }
        if (rest != 0) changes[n++] = (index << 16) | (UNCLASSIFIED << 8) | TIGHTENS | LOOSENS;
        return n;
    }
}
