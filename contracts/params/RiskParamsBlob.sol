// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @notice Risk parameters in memory: a pointer to the first word of the blob; 0 means "not loaded".
type Params is uint256;

using RiskParamsBlob for Params global;

/// @title Risk parameters: one immutable code blob, read with one EXTCODECOPY
/// @notice Twin: risk/exact/params/risk_params.py. Layout of the words: docs/margin.md §2. The blob was validated when it
///         was set (ParamsLogic), so no accessor checks anything.
/// @dev The margin check takes `Params.wrap(0)` as "load if you need them": cash alone needs no parameters.
library RiskParamsBlob {
    /* ──────────────────────────── layout ──────────────────────────── */

    uint256 internal constant HEADER_WORDS = 5;
    uint256 internal constant UNDERLYING_WORDS = 10;
    uint256 internal constant LANES_PER_WORD = 16;
    uint256 internal constant LANE_BITS = 13;
    uint256 internal constant LANE_BIAS = 4096;

    uint256 private constant HEADER_BYTES = 0xa0;
    uint256 private constant UNDERLYING_BYTES = 0x140;

    /* ───────────────────────────── load ───────────────────────────── */

    /// @notice Reads the blob into memory; reverts `RiskParamsMissing` where none was set.
    function load(VaultStorage.State storage $) internal view returns (Params p) {
        address pointer = $.riskParams;
        if (pointer == address(0)) revert IMargin.RiskParamsMissing();
        assembly ("memory-safe") {
            // SSTORE2: the data starts behind one STOP byte. The counts in word 0 give the length.
            p := mload(0x40)
            extcodecopy(pointer, p, 1, 0x20)
            let word := mload(p)
            let size := add(HEADER_BYTES, mul(UNDERLYING_BYTES, and(shr(8, word), 0xff)))
            size := add(size, shl(5, and(shr(16, word), 0xff)))
            extcodecopy(pointer, p, 1, size)
            mstore(0x40, add(p, size))
        }
    }

    /// @notice `p` where it is loaded, the loaded parameters otherwise
    function loadIfNeeded(VaultStorage.State storage $, Params p) internal view returns (Params) {
        return Params.unwrap(p) == 0 ? load($) : p;
    }

    /// @notice The parameters of a blob in memory, as `load` would give them (no check).
    function fromBytes(bytes memory blob) internal pure returns (Params p) {
        assembly ("memory-safe") {
            p := add(blob, 0x20)
        }
    }

    /* ──────────────────────────── header ──────────────────────────── */

    /// @notice K
    function scenarioCount(Params p) internal pure returns (uint256) {
        return _field(p, 0, 0, 0xff);
    }

    function underlyingCount(Params p) internal pure returns (uint256) {
        return _field(p, 0, 8, 0xff);
    }

    function collateralCount(Params p) internal pure returns (uint256) {
        return _field(p, 0, 16, 0xff);
    }

    /// @notice φ
    function imFactorBps(Params p) internal pure returns (uint256) {
        return _field(p, 0, 24, 0xffff);
    }

    /// @notice t
    function targetBps(Params p) internal pure returns (uint256) {
        return _field(p, 0, 40, 0xffff);
    }

    function rewardBaseBps(Params p) internal pure returns (uint256) {
        return _field(p, 0, 56, 0xffff);
    }

    function rewardSlopeBps(Params p) internal pure returns (uint256) {
        return _field(p, 0, 72, 0xffff);
    }

    function rewardMaxBps(Params p) internal pure returns (uint256) {
        return _field(p, 0, 88, 0xffff);
    }

    /// @notice w_k in bps
    function weightBps(Params p, uint256 k) internal pure returns (uint256) {
        unchecked {
            return _field(p, 0x20 + ((k >> 4) << 5), (k & 15) << 4, 0xffff);
        }
    }

    /* ────────────────────────── underlyings ───────────────────────── */

    function depthWad(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 0, type(uint104).max);
    }

    function somBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 104, 0xffff);
    }

    /// @notice λ
    function liqBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 120, 0xffff);
    }

    function basisBaseBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 136, 0xffff);
    }

    /// @notice per year
    function basisSlopeBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 152, 0xffff);
    }

    /// @notice price shock of one lane step, 1e-6
    function priceUnitE6(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 168, 0xffff);
    }

    /// @notice vol shock of one lane step, 1e-6
    function volUnitE6(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 184, 0xffff);
    }

    /// @notice Underlyings of one group may be margined together (Groups).
    function group(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _underlying(u), 200, 0xff);
    }

    /// @notice Whether the underlyings are of more than one group
    function hasGroups(Params p) internal pure returns (bool yes) {
        assembly ("memory-safe") {
            let from := add(p, HEADER_BYTES)
            let first := shr(200, mload(from))
            for { let end := add(from, mul(UNDERLYING_BYTES, and(shr(8, mload(p)), 0xff))) } lt(from, end) {
                from := add(from, UNDERLYING_BYTES)
            } {
                // nothing stands above the group
                yes := or(yes, xor(shr(200, mload(from)), first))
            }
            yes := gt(yes, 0)
        }
    }

    function tenorPowerWad(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 0, type(uint64).max);
    }

    function tenorFloorSeconds(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 64, type(uint40).max);
    }

    function tenorCapWad(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 104, type(uint64).max);
    }

    function deviationBandBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 168, 0xffff);
    }

    /// @notice seconds
    function maxAge(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 184, type(uint32).max);
    }

    function maxConfidenceBps(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 216, 0xffff);
    }

    /// @notice seconds
    function maxSkew(Params p, uint256 u) internal pure returns (uint256) {
        return _field(p, _limits(u), 232, type(uint24).max);
    }

    /// @notice Price shock lane of scenario k, value + 4096
    function priceLane(Params p, uint256 u, uint256 k) internal pure returns (uint256) {
        unchecked {
            return _field(p, _underlying(u) + 0x40 + ((k >> 4) << 5), (k & 15) * LANE_BITS, 0x1fff);
        }
    }

    /// @notice Vol shock lane of scenario k, value + 4096
    function volLane(Params p, uint256 u, uint256 k) internal pure returns (uint256) {
        unchecked {
            return _field(p, _underlying(u) + 0xc0 + ((k >> 4) << 5), (k & 15) * LANE_BITS, 0x1fff);
        }
    }

    /// @notice Memory pointer to the four words of price lanes
    function priceLanes(Params p, uint256 u) internal pure returns (uint256) {
        unchecked {
            return Params.unwrap(p) + _underlying(u) + 0x40;
        }
    }

    /// @notice Memory pointer to the four words of vol lanes
    function volLanes(Params p, uint256 u) internal pure returns (uint256) {
        unchecked {
            return Params.unwrap(p) + _underlying(u) + 0xc0;
        }
    }

    /* ────────────────────────── collaterals ───────────────────────── */

    function collateralUnderlying(Params p, uint256 j) internal pure returns (uint256) {
        return _field(p, _collateral(p, j), 0, 0xff);
    }

    function collateralDecimals(Params p, uint256 j) internal pure returns (uint256) {
        return _field(p, _collateral(p, j), 8, 0xff);
    }

    function haircutBps(Params p, uint256 j) internal pure returns (uint256) {
        return _field(p, _collateral(p, j), 16, 0xffff);
    }

    /// @notice largest total held, native units
    function cap(Params p, uint256 j) internal pure returns (uint256) {
        return _field(p, _collateral(p, j), 32, type(uint128).max);
    }

    /// @notice whether a rate feed multiplies the amount (wstETH)
    function hasRate(Params p, uint256 j) internal pure returns (bool) {
        return _field(p, _collateral(p, j), 160, 1) != 0;
    }

    /* ─────────────────────────── private ──────────────────────────── */

    /// @dev byte offset of the words of underlying u
    function _underlying(uint256 u) private pure returns (uint256) {
        unchecked {
            return HEADER_BYTES + u * UNDERLYING_BYTES;
        }
    }

    /// @dev byte offset of the second word of underlying u
    function _limits(uint256 u) private pure returns (uint256) {
        unchecked {
            return HEADER_BYTES + 0x20 + u * UNDERLYING_BYTES;
        }
    }

    /// @dev byte offset of the word of collateral j
    function _collateral(Params p, uint256 j) private pure returns (uint256) {
        unchecked {
            return HEADER_BYTES + underlyingCount(p) * UNDERLYING_BYTES + (j << 5);
        }
    }

    function _field(Params p, uint256 offset, uint256 shift, uint256 mask) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := and(shr(shift, mload(add(p, offset))), mask)
        }
    }
}
