// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICashMarket} from "../../interfaces/ICashMarket.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Accruing interest: the utilisation curve and the two indices
/// @notice Twin: risk/exact/custody/interest_logic.py. Every action that changes cash comes here first (InterestLib.accrue), so a
///         change of rates, too, is preceded by an accrual at the old ones.
library InterestLogic {
    uint256 private constant WAD = 1e18;
    uint256 private constant YEAR = 31_536_000;
    /// @dev 63 bits: where an index arrives here it stays, so that idleness can never brick the vault (9 223 times the start)
    uint256 internal constant MAX_INDEX = type(uint64).max >> 1;
    /// @dev growth of one accrual is at most e^4: a vault that slept for years wakes up with a bounded step
    uint256 internal constant MAX_EXPONENT_WAD = 4e18;

    /* ───────────────────────────── accrue ─────────────────────────── */

    /// @notice Brings both indices and both totals to now. Nothing happens twice in a second.
    /// @dev Debt rounds up, credit down; the protocol's share of the interest goes to the insurance fund, all of it where
    ///      nobody lends.
    function accrue(VaultStorage.State storage $) external {
        uint256 elapsed = block.timestamp - $.interestTime;
        if (elapsed == 0) return;
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits for 34,000 years
        $.interestTime = uint40(block.timestamp);
        uint256 borrow = $.borrowWad;
        if (borrow == 0 || $.riskParams == address(0)) return;
        Params p = RiskParamsBlob.load($);
        Tail t = ParamsTail.load($, p);
        uint256 supply = $.supplyWad;
        uint256 growth = growthWad(rateWad(t, utilisationWad(supply, borrow)), elapsed);
        uint256 oldIndex = $.borrowIndexE15;
        uint256 newIndex = WadMath.min(oldIndex + WadMath.mulWadUp(oldIndex, growth), MAX_INDEX);
        if (newIndex == oldIndex) return;
        uint256 interest = WadMath.mulDivUp(borrow, newIndex, oldIndex) - borrow;
        interest = WadMath.min(interest, type(uint128).max - borrow);
        // forge-lint: disable-start(unsafe-typecast) limited to MAX_INDEX and to uint128 in the lines above
        $.borrowIndexE15 = uint64(newIndex);
        $.borrowWad = uint128(borrow + interest);
        _credit($, t, supply, borrow, interest);
        // forge-lint: disable-end(unsafe-typecast)
        _announce($);
    }

    function _announce(VaultStorage.State storage $) private {
        emit ICashMarket.InterestAccrued(
            $.interestTime, $.supplyIndexE15, $.borrowIndexE15, $.supplyWad, $.borrowWad, $.interestWad, $.insuranceWad
        );
    }

    /// @dev Splits `interest` between the insurance fund (share rounded up) and the lenders (index rounded down). Lenders get at
    ///      most what is due on as much as they lend: where debt exceeds supply (the money lies in a pool) the rest is the
    ///      fund's, or a supply of next to nothing would push the index to its bound.
    /// @param borrow before this accrual
    function _credit(VaultStorage.State storage $, Tail t, uint256 supply, uint256 borrow, uint256 interest) private {
        uint256 reserve = interest;
        uint256 index = $.supplyIndexE15;
        if (supply != 0) {
            reserve = WadMath.max(
                WadMath.mulDivUp(interest, t.reserveShareBps(), 1e4),
                interest - WadMath.mulDivDown(interest, WadMath.min(supply, borrow), borrow)
            );
            uint256 next = WadMath.min(index + WadMath.mulDivDown(index, interest - reserve, supply), MAX_INDEX);
            uint256 grown = WadMath.min(WadMath.mulDivDown(supply, next, index), type(uint128).max);
            // limited by min(); interest of 2^127 would be 1.7e20 of the currency, out of reach
            // forge-lint: disable-start(unsafe-typecast)
            $.supplyIndexE15 = uint64(next);
            $.supplyWad = uint128(grown);
        }
        reserve = WadMath.min(reserve, type(uint128).max - uint256($.insuranceWad));
        $.insuranceWad += uint128(reserve);
        $.interestWad -= int128(int256(reserve));
        // forge-lint: disable-end(unsafe-typecast)
    }

    /* ────────────────────────────── rate ──────────────────────────── */

    /// @notice borrow / supply in WAD, rounded up, at most 1; 1 where there is debt and no supply, 0 where there is no debt
    function utilisationWad(uint256 supply, uint256 borrow) internal pure returns (uint256) {
        if (borrow == 0) return 0;
        return borrow >= supply ? WAD : WadMath.mulDivUp(borrow, WAD, supply);
    }

    /// @notice Annual rate of borrowers at `utilisation`, WAD, rounded up: linear from base to the kink, and from there to full
    function rateWad(Tail t, uint256 utilisation) internal pure returns (uint256) {
        uint256 base = t.baseRateBps() * 1e14;
        uint256 kink = t.kinkUtilisationBps() * 1e14;
        uint256 atKink = t.kinkRateBps() * 1e14;
        if (utilisation <= kink) {
            // a curve that falls is refused by ParamsLogic
            return kink == 0 ? atKink : base + WadMath.mulDivUp(atKink - base, utilisation, kink);
        }
        return atKink + WadMath.mulDivUp(t.fullRateBps() * 1e14 - atKink, utilisation - kink, WAD - kink);
    }

    /// @notice e^x − 1 to the third order, x = rate·elapsed/year capped at MAX_EXPONENT_WAD, WAD, rounded up
    function growthWad(uint256 rate, uint256 elapsed) internal pure returns (uint256) {
        uint256 x = WadMath.min(WadMath.mulDivUp(rate, elapsed, YEAR), MAX_EXPONENT_WAD);
        uint256 second = WadMath.mulDivUp(x, x, 2 * WAD);
        return x + second + WadMath.mulDivUp(second, x, 3 * WAD);
    }
}
