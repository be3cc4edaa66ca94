// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {VaultStorage} from "../VaultStorage.sol";
import {Params} from "./RiskParamsBlob.sol";

/// @notice The tail of the risk parameters in memory: a pointer to its first word.
type Tail is uint256;

using ParamsTail for Tail global;

/// @title Risk parameters that the margin check does not need: rates, fees, limits, waterfall, settlement
/// @notice Twin: risk/exact/params/risk_params.py. The words after the collaterals in the blob (layout: docs/margin.md §2). Only
///         actions that change state read them, so they cost the margin check nothing. A field that is 0 is a feature that is off.
/// @dev The number of underlyings stands before the first word, so that accessors of collaterals find theirs.
library ParamsTail {
    uint256 internal constant GLOBAL_WORDS = 4;

    /* ───────────────────────────── load ───────────────────────────── */

    /// @notice Reads the tail that belongs to `p`, which is loaded.
    function load(VaultStorage.State storage $, Params p) internal view returns (Tail t) {
        address pointer = $.riskParams;
        (uint256 u, uint256 c) = (p.underlyingCount(), p.collateralCount());
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, u)
            t := add(free, 0x20)
            // 5 + 10·U + C words before it, and the STOP byte of SSTORE2
            let size := shl(5, add(4, add(u, c)))
            extcodecopy(pointer, t, add(1, shl(5, add(add(5, mul(10, u)), c))), size)
            mstore(0x40, add(t, size))
        }
    }

    /// @notice The tail of a whole blob in memory whose counts are `u` and `c` (no check); the word before it is overwritten.
    function fromBytes(bytes memory blob, uint256 u, uint256 c) internal pure returns (Tail t) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, add(4, add(u, c)))
            mstore(free, u)
            t := add(free, 0x20)
            let from := add(add(blob, 0x20), shl(5, add(add(5, mul(10, u)), c)))
            for { let i := 0 } lt(i, size) { i := add(i, 0x20) } { mstore(add(t, i), mload(add(from, i))) }
            mstore(0x40, add(t, size))
        }
    }

    /* ────────────────────── cash market and fees ──────────────────── */

    /// @notice Annual rate at utilisation 0
    function baseRateBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 0, 0xffff);
    }

    function kinkUtilisationBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 16, 0xffff);
    }

    function kinkRateBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 32, 0xffff);
    }

    /// @notice Annual rate at utilisation 1
    function fullRateBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 48, 0xffffff);
    }

    /// @notice Share of the interest that goes to the insurance fund
    function reserveShareBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 72, 0xffff);
    }

    /// @notice Fee of each side of a fill, 1e-6 of the notional
    function tradeFeeE6(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 88, 0xffffff);
    }

    /// @notice Largest fee of an option, of its premium
    function optionFeeCapBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 112, 0xffff);
    }

    /// @notice Margin call while E < MM·warning
    function warningBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 128, 0xffff);
    }

    /// @notice Least initial margin of an account with obligations; what a liquidation would leave below it is taken too
    function minMarginWad(Tail t) internal pure returns (uint256) {
        return _field(t, 0, 144, type(uint96).max);
    }

    /* ─────────────────── liquidation and insurance ────────────────── */

    /// @notice Seconds between flag and liquidation
    function graceSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x20, 0, 0xffffff);
    }

    /// @notice ρ grows by this per hour since the flag
    function rewardTimeBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0x20, 24, 0xffff);
    }

    /// @notice No grace while E < MM·emergency
    function emergencyBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0x20, 40, 0xffff);
    }

    function insuranceEventCapWad(Tail t) internal pure returns (uint256) {
        return _field(t, 0x20, 56, type(uint96).max);
    }

    function insurancePeriodCapWad(Tail t) internal pure returns (uint256) {
        return _field(t, 0x20, 152, type(uint96).max);
    }

    function insurancePeriodSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x40, 0, type(uint32).max);
    }

    /// @notice Share of the opposite open interest that an auto-deleveraging must cover
    function adlShareBps(Tail t) internal pure returns (uint256) {
        return _field(t, 0x40, 32, 0xffff);
    }

    /* ───────────────────────────── limits ─────────────────────────── */

    /// @notice Cash that may leave in `withdrawPeriodSeconds`
    function cashWithdrawCapWad(Tail t) internal pure returns (uint256) {
        return _field(t, 0x40, 48, type(uint112).max);
    }

    function withdrawPeriodSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x40, 160, type(uint32).max);
    }

    /// @notice Unrealised profit above this does not count towards a withdrawal, WAD
    function unrealisedCapWad(Tail t) internal pure returns (uint256) {
        return _field(t, 0x40, 192, type(uint64).max) * 1e18;
    }

    /* ─────────────────── settlement and circuit breakers ──────────── */

    function settleWindowSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 0, 0xffffff);
    }

    function settleMinObservations(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 24, 0xffff);
    }

    function settleMinSpacingSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 40, 0xffff);
    }

    /// @notice How long an automatic REDUCE_ONLY lasts
    function breakerSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 56, 0xffffff);
    }

    function sequencerGraceSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 80, 0xffffff);
    }

    function windDownNoticeSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 104, type(uint32).max);
    }

    /// @notice Time in which the premium is paid once
    function fundingPeriodSeconds(Tail t) internal pure returns (uint256) {
        return _field(t, 0x60, 136, type(uint32).max);
    }

    /* ────────────────────── per underlying, collateral ────────────── */

    function oiCapWad(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 0, type(uint104).max);
    }

    /// @notice Largest premium, either sign, that funding charges per period
    function maxFundingBps(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 104, 0xffff);
    }

    function stableRateBpsPerDay(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 120, 0xffff);
    }

    /// @notice Distance from which the stable price counts; 0: never
    function stableBandBps(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 136, 0xffff);
    }

    /// @notice Price jump of one snapshot that triggers REDUCE_ONLY
    function jumpBps(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 152, 0xffff);
    }

    /// @notice Largest N_u of an account after an increase
    function positionCapWad(Tail t, uint256 u) internal pure returns (uint256) {
        return _field(t, _underlying(u), 168, type(uint88).max);
    }

    /// @notice Native units of collateral `j` that may leave in `withdrawPeriodSeconds`
    function withdrawCap(Tail t, uint256 j) internal pure returns (uint256 cap) {
        assembly ("memory-safe") {
            cap := and(mload(add(t, shl(5, add(add(4, mload(sub(t, 0x20))), j)))), 0xffffffffffffffffffffffffffffffff)
        }
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _underlying(uint256 u) private pure returns (uint256) {
        unchecked {
            return (GLOBAL_WORDS + u) << 5;
        }
    }

    function _field(Tail t, uint256 offset, uint256 shift, uint256 mask) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := and(shr(shift, mload(add(t, offset))), mask)
        }
    }
}
