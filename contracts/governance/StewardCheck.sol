// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRiskGovernor} from "../../interfaces/IRiskGovernor.sol";
import {ParamDiff} from "./ParamDiff.sol";
import {ParamLayout} from "./ParamLayout.sol";

/// @title What a risk steward may propose
/// @notice Twin: risk/exact/governance/steward_check.py.
library StewardCheck {
    uint256 private constant BPS = 1e4;

    /// @dev One word of weights or lanes
    struct Line {
        uint256 index;
        uint256 anchor;
        uint256 base;
        uint256 given;
        uint256 bits;
        uint256 zero; // stored value that means zero
        uint256 limitBps;
    }

    /// @notice Only weights and lanes of existing scenarios change from `base`, and each changed one stays within `limitBps`
    ///         of its size in `anchor` (the start of the period: cumulative) and in `base`, in both directions. The allowance
    ///         is rounded down, so a lane of 0 stays 0.
    /// @dev Reverts as ParamLayout.requireShape; then per change, in order: `StewardField(word, shift)`; `StewardLimit(word,
    ///      shift, given, from, allowed)` of the anchor, then of the base; values as stored.
    function requireWithin(bytes memory anchor, bytes memory base, bytes memory blob, uint256 limitBps) internal pure {
        ParamLayout.requireShape(base, blob);
        (uint256 k, uint256 u, uint256 c) = ParamLayout.counts(base);
        uint256 words = base.length / 32;
        Line memory line;
        line.limitBps = limitBps;
        for (uint256 i = 0; i < words; ++i) {
            (line.base, line.given) = (ParamLayout.word(base, i), ParamLayout.word(blob, i));
            if (line.base == line.given) continue;
            (line.index, line.anchor) = (i, ParamLayout.word(anchor, i));
            uint256 free = ParamLayout.mark();
            _requireLine(line, ParamLayout.locate(i, u, c), k);
            ParamLayout.release(free);
        }
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _requireLine(Line memory line, ParamLayout.Place memory place, uint256 k) private pure {
        bool lane = ParamLayout.isLane(place.kind);
        if (!lane && place.kind != ParamLayout.WEIGHTS) {
            revert IRiskGovernor.StewardField(line.index, ParamDiff.firstChange(place.kind, line.base ^ line.given));
        }
        (line.bits, line.zero) = lane ? (13, ParamLayout.LANE_BIAS) : (16, 0);
        // forge-lint: disable-next-line(incorrect-shift) 2^bits - 1 is what is meant
        uint256 mask = (1 << line.bits) - 1;
        uint256 changed = line.base ^ line.given;
        for (uint256 e = 0; e < 16; ++e) {
            uint256 shift = e * line.bits;
            if ((changed >> shift) & mask == 0) continue;
            if (place.first + e >= k) {
                // lanes of no scenario: the vault fixes them
                if (lane) continue;
                revert IRiskGovernor.StewardField(line.index, shift);
            }
            _requireLimit(line, line.anchor, shift, mask);
            _requireLimit(line, line.base, shift, mask);
        }
        if (lane && changed >> 208 != 0) revert IRiskGovernor.StewardField(line.index, ParamDiff.UNCLASSIFIED);
    }

    function _requireLimit(Line memory line, uint256 word, uint256 shift, uint256 mask) private pure {
        uint256 given = (line.given >> shift) & mask;
        uint256 from = (word >> shift) & mask;
        uint256 allowed = ParamLayout.distance(from, line.zero) * line.limitBps / BPS;
        if (ParamLayout.distance(given, from) > allowed) {
            revert IRiskGovernor.StewardLimit(line.index, shift, given, from, allowed);
        }
    }
}
