// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Perp funding: the cumulative payment of one unit long
/// @notice Twin: risk/exact/market/funding.py. The signers report the premium (perp mark − index)/index; clamped, it is paid once
///         per funding period, continuously: longs pay shorts while it is positive.
///
///             F += S · clamp(premium, ±max_funding) · elapsed / period        in 1e-12 of the settlement currency, towards zero
///
///         S is the snapshot price that held meanwhile. F enters the mark of a perp (S − F), and Σ sizes of a perp is 0: what the
///         longs pay is what the shorts get, to the unit, whatever F is and however it was rounded.
/// @dev An increment that rounds to 0 leaves the time as it was, so that a low price or premium does not lose it to frequent
///      calls; any other loses less than one unit, 1e-12 per unit of the underlying. F stops at the bounds of int80 (6·10^11 a
///      unit) instead of reverting, as an underlying whose funding reverts could neither be refreshed nor liquidated.
library Funding {
    /// @dev premium (1e-9)·price (1e-18) → 1e-12
    int256 private constant SCALE = 1e15;
    /// @dev 1e-9 in one basis point
    int256 private constant BPS_TO_E9 = 1e5;

    /// @notice Brings the funding of `u` to now, at the snapshot price and the last premium.
    function accrue(VaultStorage.State storage $, Params p, uint256 u) internal {
        accrueAt($, ParamsTail.load($, p), u);
    }

    /// @notice As `accrue`, with the tail of the parameters at hand
    function accrueAt(VaultStorage.State storage $, Tail t, uint256 u) internal {
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        // fundingTime ≤ now: only this library writes it
        uint256 elapsed = block.timestamp - data.fundingTime;
        if (elapsed == 0) return;
        (int256 numerator, uint256 period) = _rate(data, t, u);
        int256 fundingE12 = data.fundingE12;
        if (numerator != 0) {
            // |numerator| < 2^84·2^27, elapsed < 2^32
            // forge-lint: disable-next-line(unsafe-typecast)
            int256 change = numerator * int256(elapsed) / (SCALE * int256(period));
            if (change == 0) return;
            fundingE12 = WadMath.clamp(fundingE12 + change, type(int80).min, type(int80).max);
            // forge-lint: disable-next-line(unsafe-typecast) clamped in the line above
            data.fundingE12 = int80(fundingE12);
        }
        _setTime(data, u, fundingE12);
    }

    /// @notice As `accrueAt`, and what rounded to nothing is dropped: before the premium or the parameters change, so that no
    ///         time before the change is paid for at the new rate.
    function close(VaultStorage.State storage $, Tail t, uint256 u) internal {
        accrueAt($, t, u);
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        if (data.fundingTime != block.timestamp) _setTime(data, u, data.fundingE12);
    }

    /// @notice `close` of every underlying that has a snapshot: before the parameters change. Nothing to do before the first
    ///         ones.
    function closeAll(VaultStorage.State storage $) internal {
        if ($.riskParams == address(0)) return;
        Tail t = ParamsTail.load($, RiskParamsBlob.load($));
        for (uint256 u = 0; u < $.underlyingCount; ++u) {
            // with a snapshot it has parameters
            if ($.underlyings[u].epoch != 0) close($, t, u);
        }
    }

    /// @dev S·clamped premium, and the period it is paid in; (0, 0) where funding is off
    function _rate(VaultStorage.UnderlyingData storage data, Tail t, uint256 u)
        private
        view
        returns (int256 numerator, uint256 period)
    {
        // forge-lint: disable-next-line(unsafe-typecast) 16 bits times 1e5
        int256 limit = int256(t.maxFundingBps(u)) * BPS_TO_E9;
        period = t.fundingPeriodSeconds();
        if (limit == 0 || period == 0) return (0, 0);
        numerator = int256(uint256(data.priceWad)) * WadMath.clamp(data.premiumE9, -limit, limit);
    }

    function _setTime(VaultStorage.UnderlyingData storage data, uint256 u, int256 fundingE12) private {
        // seconds fit 32 bits until 2106; the funding was read from an int80 or clamped to it; u < 16
        // forge-lint: disable-start(unsafe-typecast)
        data.fundingTime = uint32(block.timestamp);
        emit IMarket.FundingAccrued(uint8(u), int80(fundingE12), uint32(block.timestamp));
        // forge-lint: disable-end(unsafe-typecast)
    }
}
