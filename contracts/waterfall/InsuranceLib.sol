// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IWaterfall} from "../../interfaces/IWaterfall.sol";
import {WadMath} from "../math/WadMath.sol";
import {Tail} from "../params/ParamsTail.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title What the insurance fund may pay, and paying it
/// @notice Twin: risk/exact/waterfall/insurance_lib.py. Three limits, all WAD: the fund itself, a cap an event, and a cap a
///         rolling period, which is a leaky bucket: it fills by what is paid and runs dry evenly in one period. Cap 0: no cap.
/// @dev The bucket is never above its cap, so at most cap·(1 + t/period) leaves in any time t: at once the cap, in any one period
///      twice the cap. What ran out is rounded down. A period of 0 with a cap: what is paid never runs out. Too little in the
///      fund never reverts anything: the caller gets what there is and goes on to the next step (docs/waterfall.md).
library InsuranceLib {
    /* ───────────────────────────── available ──────────────────────── */

    /// @notice What one event may take now: min(fund, event cap, period cap − what counts against it); rounded down
    function available(VaultStorage.State storage $, Tail t) internal view returns (uint256 wad) {
        wad = $.insuranceWad;
        uint256 eventCap = t.insuranceEventCapWad();
        if (eventCap != 0) wad = WadMath.min(wad, eventCap);
        uint256 periodCap = t.insurancePeriodCapWad();
        if (periodCap != 0) {
            uint256 counted = counts($, t);
            // a cap that was lowered may stand below what counts
            wad = counted < periodCap ? WadMath.min(wad, periodCap - counted) : 0;
        }
    }

    /// @notice What counts against the period cap now: what was paid, less what ran out since, cap·elapsed/period; rounded up
    function counts(VaultStorage.State storage $, Tail t) internal view returns (uint256 wad) {
        wad = $.insurancePaidWad;
        uint256 period = t.insurancePeriodSeconds();
        if (wad == 0 || period == 0) return wad;
        uint256 elapsed = block.timestamp - $.insurancePaidTime;
        uint256 leaked = WadMath.mulDivDown(t.insurancePeriodCapWad(), elapsed, period);
        return leaked < wad ? wad - leaked : 0;
    }

    /* ─────────────────────────────── pay ──────────────────────────── */

    /// @notice Takes min(wanted, available) from the fund and counts it; nothing where initial margin of `account` is still owed
    ///         (batch, callback): it may have been emptied a moment ago in the same transaction.
    /// @dev The caller credits somebody's cash with `paidWad`, all of it: the token identity holds only then.
    function pay(VaultStorage.State storage $, Tail t, uint168 account, uint256 wantedWad)
        internal
        returns (uint256 paidWad)
    {
        if (isDeferred($, account)) return 0;
        paidWad = WadMath.min(wantedWad, available($, t));
        if (paidWad == 0) return 0;
        // forge-lint: disable-start(unsafe-typecast) paid <= the fund; what counts <= the cap of 96 bits
        uint128 insuranceWad = $.insuranceWad - uint128(paidWad);
        $.insuranceWad = insuranceWad;
        uint128 periodWad = $.insurancePaidWad;
        if (t.insurancePeriodCapWad() != 0) {
            periodWad = uint128(counts($, t) + paidWad);
            ($.insurancePaidWad, $.insurancePaidTime) = (periodWad, uint40(block.timestamp));
        }
        emit IWaterfall.InsurancePaid(account, paidWad, insuranceWad, periodWad, $.insurancePaidTime);
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @notice Whether the initial margin of `account` waits for the end of the batch or callback under way
    function isDeferred(VaultStorage.State storage $, uint168 account) internal view returns (bool) {
        if (!VaultLock.isDeferring($)) return false;
        uint256 n = $.deferred.length;
        for (uint256 i = 0; i < n; ++i) {
            // forge-lint: disable-next-line(unsafe-typecast) drops the bit WITHDRAWAL, which is above the account
            if (uint168($.deferred[i]) == account) return true;
        }
        return false;
    }
}
