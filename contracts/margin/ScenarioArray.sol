// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {LibBit} from "solady/utils/LibBit.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Scenario array of one instrument: quantisation, packing, tag, place
/// @notice Twin: risk/exact/margin/scenario_array.py. Formulas: docs/margin.md §4. An array holds, for one unit of an
///         instrument, the value change in every scenario (13-bit lanes times one unit), the mark and the delta, and in
///         its spare bits the tag of the epoch it belongs to.
library ScenarioArray {
    /// @dev largest lane: ΔV_k = lane·U, lane in [−4095, 4095], stored + 4096
    uint256 internal constant MAX_LANE = 4095;
    /// @dev tags run 1 … 2^24 − 1; 0 is never valid
    uint256 internal constant TAG_CYCLE = 0xffffff;
    uint256 internal constant UNIT_MANTISSA_BITS = 8;
    uint256 internal constant MARK_MANTISSA_BITS = 41;
    uint256 internal constant MAX_EXPONENT = 127;
    /// @dev δ is stored in units of 1/511
    uint256 internal constant DELTA_ONE = 511;

    /* ─────────────────────────── tag, place ───────────────────────── */

    /// @notice epoch mod (2^24 − 1) + 1
    function tagOf(uint256 epoch) internal pure returns (uint256) {
        unchecked {
            return epoch % TAG_CYCLE + 1;
        }
    }

    /// @notice Slot 0 of the generation of `epoch`; the array of `id` starts at this + (id << 2).
    /// @dev The generation counts how often the tag has wrapped. It is part of the place, so a wrapped tag meets an empty
    ///      slot and not an old array.
    function baseOf(uint256 epoch) internal pure returns (uint256) {
        unchecked {
            return VaultStorage.ARRAYS_SLOT + ((epoch / TAG_CYCLE) << 40);
        }
    }

    /// @notice Words that K scenarios use: 2 for K ≤ 32, else 4
    function wordCount(uint256 scenarios) internal pure returns (uint256) {
        return scenarios > 32 ? 4 : 2;
    }

    /// @notice Whether the array of `id` is cached in `epoch`
    function isCached(uint256 id, uint256 epoch) internal view returns (bool yes) {
        uint256 slot = baseOf(epoch) + (id << 2);
        uint256 tag = tagOf(epoch);
        assembly ("memory-safe") {
            yes := eq(and(shr(208, sload(slot)), 0xffffff), tag)
        }
    }

    /// @notice The four stored words of `id` in the generation of `epoch`, whatever their tag
    function read(uint256 id, uint256 epoch) internal view returns (uint256[4] memory words) {
        uint256 slot = baseOf(epoch) + (id << 2);
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 4) { i := add(i, 1) } { mstore(add(words, shl(5, i)), sload(add(slot, i))) }
        }
    }

    /// @notice Writes 1 into the four words of the first generation: tag 0, never valid, but no longer a fresh slot.
    function prepare(uint256 id) internal {
        uint256 slot = VaultStorage.ARRAYS_SLOT + (id << 2);
        assembly ("memory-safe") {
            for { let end := add(slot, 4) } lt(slot, end) { slot := add(slot, 1) } {
                if iszero(sload(slot)) { sstore(slot, 1) }
            }
        }
    }

    /// @notice Writes `count` words from memory at `from` as the array of `id` in `epoch`.
    function write(uint256 id, uint256 epoch, uint256 from, uint256 count) internal {
        uint256 slot = baseOf(epoch) + (id << 2);
        assembly ("memory-safe") {
            for { let end := add(slot, count) } lt(slot, end) { slot := add(slot, 1) } {
                sstore(slot, mload(from))
                from := add(from, 0x20)
            }
        }
    }

    /* ────────────────────────── quantisation ──────────────────────── */

    /// @notice The smallest unit m·2^e ≥ max(1, ⌈largest/4095⌉) with an 8-bit mantissa
    /// @dev Reverts `ArrayOutOfRange(id)` where e > 127; `largest` < 2^139 never does.
    function unitFor(uint256 id, uint256 largest) internal pure returns (uint256 mantissa, uint256 exponent) {
        unchecked {
            // ⌈x/4095⌉ = ⌊(x + 4094)/4095⌋
            uint256 need = (largest + (MAX_LANE - 1)) / MAX_LANE;
            if (need == 0) need = 1;
            uint256 bits = LibBit.fls(need) + 1;
            if (bits > UNIT_MANTISSA_BITS) exponent = bits - UNIT_MANTISSA_BITS;
            mantissa = (need + (1 << exponent) - 1) >> exponent;
            if (mantissa == 256) {
                mantissa = 128;
                ++exponent;
            }
            if (exponent > MAX_EXPONENT) revert IMargin.ArrayOutOfRange(uint32(id));
        }
    }

    /// @notice value = [m', m' + 1)·2^e' with a 41-bit mantissa; exact where e' = 0
    function markFor(uint256 value) internal pure returns (uint256 mantissa, uint256 exponent) {
        unchecked {
            if (value >> MARK_MANTISSA_BITS != 0) exponent = LibBit.fls(value) + 1 - MARK_MANTISSA_BITS;
            mantissa = value >> exponent;
        }
    }

    /// @notice Packs ΔV_k into `words` words of memory at `to`, with the unit in the spare bits of the first.
    /// @param changes pointer to ΔV_0, WAD; ΔV_k 128·k bytes on; zero from K on. Lanes are their quotient with the unit,
    ///        floored: against the long side, and the row deduction of the margin engine covers the short side.
    /// @param largest max_k |ΔV_k|
    /// @dev Reverts `ArrayOutOfRange(id)`. ⌊ΔV/U⌋ + 4096 = ⌊(ΔV + 4096·U)/U⌋, and ΔV ≥ −4095·U: one unsigned division a
    ///      lane. From the last lane of a word to the first, four at a time.
    function packLanes(uint256 to, uint256 words, uint256 id, uint256 changes, uint256 largest) internal pure {
        (uint256 mantissa, uint256 exponent) = unitFor(id, largest);
        assembly ("memory-safe") {
            let unit := shl(exponent, mantissa)
            let bias := shl(12, unit)
            let word := 0
            for { let end := add(to, shl(5, words)) } lt(to, end) { to := add(to, 0x20) } {
                for { let from := add(changes, 0x800) } gt(from, changes) {} {
                    word := or(shl(13, word), div(add(mload(sub(from, 0x80)), bias), unit))
                    word := or(shl(13, word), div(add(mload(sub(from, 0x100)), bias), unit))
                    word := or(shl(13, word), div(add(mload(sub(from, 0x180)), bias), unit))
                    from := sub(from, 0x200)
                    word := or(shl(13, word), div(add(mload(from), bias), unit))
                }
                mstore(to, word)
                word := 0
                changes := add(changes, 0x800)
            }
            to := sub(to, shl(5, words))
            mstore(to, or(mload(to), shl(232, or(shl(8, exponent), mantissa))))
        }
    }

    /// @notice Adds tag, delta code c (0 … 511) and the mark V = `value` to the spare bits of the words at `to`.
    function packSpare(uint256 to, uint256 epoch, uint256 value, uint256 deltaCode) internal pure {
        uint256 tag = tagOf(epoch);
        (uint256 mantissa, uint256 exponent) = markFor(value);
        assembly ("memory-safe") {
            mstore(to, or(mload(to), shl(208, or(shl(39, deltaCode), tag))))
            to := add(to, 0x20)
            mstore(to, or(mload(to), shl(208, or(shl(41, exponent), mantissa))))
        }
    }
}
