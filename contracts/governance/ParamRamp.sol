// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IRiskGovernor} from "../../interfaces/IRiskGovernor.sol";
import {ParamDiff} from "./ParamDiff.sol";
import {Field, ParamLayout} from "./ParamLayout.sol";

/// @title From one blob to another in bounded steps
/// @notice Twin: risk/exact/governance/param_ramp.py. A ramp has a number of equal steps such that no field moves in one step by
///         more than its cap (docs/governance.md §3). At step i of n every field stands at old + ⌊(new − old)·i/n⌋: one rounding
///         (down) for all fields, so every inequality between two fields that holds at both ends holds at every step.
library ParamRamp {
    uint256 private constant BPS = 1e4;
    /// @dev bps · 1e-6: a weight may move a loss by 1 % of the notional a step
    uint256 private constant WEIGHT_STEP = 1e8;
    /// @dev a vol shock counts as a fifth of a price shock
    uint256 private constant VOL_SHARE = 5;

    struct Plan {
        bytes current;
        bytes target;
        bytes start;
        uint256 steps;
        uint256 common; // scenarios that both blobs have
        uint256 scenarios; // of the current blob
        bool jumpLooser;
    }

    /// @notice Where the ramp from `current` to `target` starts, and its number of steps (0: `target` is taken at once). The
    ///         blobs have the same shape.
    /// @dev What need not ramp takes its new value at the start. A scenario that is new starts with weight 1 bps. With
    ///      `jumpLooser` the fields that only loosen jump (they have waited in the timelock), without it every loosening ramps.
    ///      Reverts `UnitAndLanes(underlying)` where a unit and lanes in it change together: their product would overshoot on
    ///      the way.
    function plan(bytes memory current, bytes memory target, bool jumpLooser, uint256 minSteps)
        internal
        pure
        returns (bytes memory start, uint256 steps)
    {
        Plan memory p;
        (p.current, p.target, p.start, p.jumpLooser) = (current, target, bytes.concat(target), jumpLooser);
        uint256 u;
        uint256 c;
        (p.scenarios, u, c) = ParamLayout.counts(current);
        (p.common,,) = ParamLayout.counts(target);
        if (p.scenarios < p.common) p.common = p.scenarios;
        uint256 words = current.length / 32;
        for (uint256 i = 0; i < words; ++i) {
            if (ParamLayout.word(current, i) != ParamLayout.word(target, i)) {
                uint256 free = ParamLayout.mark();
                ParamLayout.Place memory place = ParamLayout.locate(i, u, c);
                if (ParamLayout.isLane(place.kind)) _planLanes(p, i, place);
                else _planWord(p, i, place);
                ParamLayout.release(free);
            }
        }
        if (p.steps != 0 && p.steps < minSteps) p.steps = minSteps;
        return (p.start, p.steps);
    }

    /// @notice The blob at `step` of `steps`, 0 ≤ step ≤ steps, steps > 0; fields rounded down.
    function interpolate(bytes memory start, bytes memory target, uint256 step, uint256 steps)
        internal
        pure
        returns (bytes memory out)
    {
        out = bytes.concat(target);
        (, uint256 u, uint256 c) = ParamLayout.counts(target);
        uint256 words = target.length / 32;
        for (uint256 i = 0; i < words; ++i) {
            (uint256 x, uint256 y) = (ParamLayout.word(start, i), ParamLayout.word(target, i));
            if (x == y) continue;
            uint256 free = ParamLayout.mark();
            y = _wordBetween(ParamLayout.table(ParamLayout.locate(i, u, c).kind), x, y, step, steps);
            ParamLayout.setWord(out, i, y);
            ParamLayout.release(free);
        }
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _planWord(Plan memory p, uint256 index, ParamLayout.Place memory place) private pure {
        bytes memory t = ParamLayout.table(place.kind);
        for (uint256 e = 0; e < ParamLayout.entries(t); ++e) {
            Field f = ParamLayout.entry(t, e);
            uint256 old = f.get(ParamLayout.word(p.current, index));
            uint256 given = f.get(ParamLayout.word(p.target, index));
            if (old == given || !_ramps(p, f, old, given)) continue;
            // a new scenario
            if (f.flags() & ParamLayout.WEIGHT != 0 && place.first + e >= p.scenarios) old = given == 0 ? 0 : 1;
            ParamLayout.setWord(p.start, index, f.put(ParamLayout.word(p.start, index), old));
            uint256 cap = _stepCap(p, f, place.first + e, old > given ? old : given);
            _atLeast(p, ParamLayout.distance(old, given), cap);
        }
    }

    /// @dev A word of lanes: all that change ramp, in both directions, with one cap.
    function _planLanes(Plan memory p, uint256 index, ParamLayout.Place memory place) private pure {
        (uint256 x, uint256 y) = (ParamLayout.word(p.current, index), ParamLayout.word(p.target, index));
        uint256 start = y;
        uint256 largest = 0;
        for (uint256 shift = 0; shift < 208; shift += 13) {
            uint256 old = (x >> shift) & 0x1fff;
            uint256 given = (y >> shift) & 0x1fff;
            if (old == given || place.first + shift / 13 >= p.common) continue;
            // forge-lint: disable-next-line(incorrect-shift) mask of the lane at a computed place
            start = (start & ~(0x1fff << shift)) | (old << shift);
            uint256 move = ParamLayout.distance(old, given);
            if (move > largest) largest = move;
        }
        if (largest == 0) return;
        uint256 unit = ParamLayout.unitOf(p.target, place.kind, place.number);
        if (unit != ParamLayout.unitOf(p.current, place.kind, place.number)) {
            revert IRiskGovernor.UnitAndLanes(place.number);
        }
        ParamLayout.setWord(p.start, index, start);
        uint256 cap = ParamLayout.entry(ParamLayout.table(place.kind), 0).cap();
        // the vault refuses a unit of 0 later
        if (unit != 0) cap /= unit;
        _atLeast(p, largest, cap == 0 ? 1 : cap);
    }

    /// @dev A move of `distance` needs ⌈distance/cap⌉ steps.
    function _atLeast(Plan memory p, uint256 distance, uint256 cap) private pure {
        uint256 steps = (distance + cap - 1) / cap;
        if (steps > p.steps) p.steps = steps;
    }

    function _ramps(Plan memory p, Field f, uint256 old, uint256 given) private pure returns (bool) {
        uint256 found = ParamDiff.classify(f.flags(), old, given);
        if (found & ParamDiff.TIGHTENS != 0 && f.flags() & ParamLayout.RAMP_TIGHTER != 0) return true;
        if (found & ParamDiff.LOOSENS == 0) return false;
        if (f.flags() & ParamLayout.RAMP_LOOSER != 0) return true;
        return !p.jumpLooser && (f.cap() != 0 || f.flags() & ParamLayout.WEIGHT != 0);
    }

    /// @dev Largest move of the field in one step, at least 1; rounded down.
    function _stepCap(Plan memory p, Field f, uint256 k, uint256 larger) private pure returns (uint256 cap) {
        cap = f.cap();
        if (f.flags() & ParamLayout.RELATIVE != 0) {
            cap = larger * cap / BPS;
        } else if (f.flags() & ParamLayout.WEIGHT != 0) {
            uint256 shock = _shockE6(p.current, k);
            uint256 other = _shockE6(p.target, k);
            if (other > shock) shock = other;
            cap = shock == 0 ? BPS : WEIGHT_STEP / shock;
        }
        if (cap == 0) cap = 1;
    }

    /// @dev The largest shock of scenario k (< 64) over the underlyings, price plus a fifth of vol, 1e-6.
    function _shockE6(bytes memory blob, uint256 k) private pure returns (uint256 largest) {
        unchecked {
            (, uint256 u,) = ParamLayout.counts(blob);
            uint256 shift = 13 * (k & 15);
            uint256 index = ParamLayout.HEADER_WORDS;
            for (uint256 i = 0; i < u; ++i) {
                uint256 charges = ParamLayout.word(blob, index);
                uint256 price = (ParamLayout.word(blob, index + 2 + (k >> 4)) >> shift) & 0x1fff;
                uint256 vol = (ParamLayout.word(blob, index + 6 + (k >> 4)) >> shift) & 0x1fff;
                price = ParamLayout.distance(price, ParamLayout.LANE_BIAS) * ((charges >> 168) & 0xffff);
                vol = ParamLayout.distance(vol, ParamLayout.LANE_BIAS) * ((charges >> 184) & 0xffff);
                uint256 shock = price + vol / VOL_SHARE;
                if (shock > largest) largest = shock;
                index += ParamLayout.UNDERLYING_WORDS;
            }
        }
    }

    /// @dev The word on its way from `x` to `y`.
    function _wordBetween(bytes memory t, uint256 x, uint256 y, uint256 step, uint256 steps)
        private
        pure
        returns (uint256 out)
    {
        out = y;
        uint256 count = ParamLayout.entries(t);
        for (uint256 e = 0; e < count; ++e) {
            Field f = ParamLayout.entry(t, e);
            (uint256 old, uint256 given) = (f.get(x), f.get(y));
            if (old != given) out = f.put(out, _between(old, given, step, steps));
        }
    }

    /// @dev old + ⌊(given − old)·step/steps⌋
    function _between(uint256 old, uint256 given, uint256 step, uint256 steps) private pure returns (uint256) {
        if (given >= old) return old + (given - old) * step / steps;
        return old - ((old - given) * step + steps - 1) / steps;
    }
}
