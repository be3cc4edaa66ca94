// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICashMarket} from "../../interfaces/ICashMarket.sol";
import {ICustody} from "../../interfaces/ICustody.sol";
import {WadMath} from "../math/WadMath.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InterestLogic} from "./InterestLogic.sol";

/// @title Interest on cash: one index for lenders, one for borrowers
/// @notice Twin: risk/exact/custody/interest_lib.py. Cash is recorded as of an index, which stands in the account's header; what it
///         is now is ⌊cash·index/recorded⌋ for a lender and −⌈|cash|·index/recorded⌉ for a borrower. Both indices are E15, start at
///         1e15 and are compounded by `accrue`, which every action that changes cash calls first.
/// @dev Token identity, to the wei: cashHeldWad = Σ recorded cash + Σ pools + insuranceWad + interestWad. `interestWad` takes what
///      is booked from borrowers and gives what is booked to lenders and to the insurance fund; every rounding leaves a dust there
///      and never with a user.
library InterestLib {
    uint256 internal constant INDEX_ONE = 1e15;
    uint64 internal constant CALL_STANDING = 1 << 63;

    /// @notice Brings the indices and totals to now, once a second.
    function accrue(VaultStorage.State storage $) internal {
        if ($.interestTime == block.timestamp) return;
        // without a debt there is no interest, and only the time moves
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits for 34,000 years
        if ($.borrowWad == 0) $.interestTime = uint40(block.timestamp);
        else InterestLogic.accrue($);
    }

    /* ───────────────────────────── accounts ───────────────────────── */

    /// @notice What `cash`, recorded at `recorded`, is at the present indices; rounded against the account
    function touched(VaultStorage.State storage $, int256 cash, uint256 recorded) internal view returns (int256) {
        if (cash == 0 || recorded == 0) return cash;
        if (cash > 0) return int256(WadMath.mulDivDown(uint256(cash), $.supplyIndexE15, recorded));
        return -int256(WadMath.mulDivUp(uint256(-cash), $.borrowIndexE15, recorded));
    }

    /// @notice Books the interest of an account whose recorded cash was `oldCash` at `recorded`, and its new cash, into the totals.
    /// @dev The index moves only where cash or interest moved, so that an interest below one wei is not lost.
    /// @return next the index that stands for `newCash`
    function book(VaultStorage.State storage $, uint168 account, int256 oldCash, uint256 recorded, int256 newCash)
        internal
        returns (uint256 next)
    {
        int256 now_ = touched($, oldCash, recorded);
        if (now_ == oldCash && newCash == oldCash) return recorded;
        // interest of 2^127 would be 1.7e20 of the currency, out of reach; signs and totals are tested
        // forge-lint: disable-start(unsafe-typecast)
        if (now_ != oldCash) {
            $.interestWad -= int128(now_ - oldCash);
            emit ICashMarket.InterestBooked(account, now_ - oldCash, newCash);
        }
        (uint256 supply, uint256 borrow) = ($.supplyWad, $.borrowWad);
        // the totals round the other way than the accounts, so taking an account out never goes below zero by more than dust
        if (now_ > 0) supply = supply > uint256(now_) ? supply - uint256(now_) : 0;
        else borrow = borrow > uint256(-now_) ? borrow - uint256(-now_) : 0;
        if (newCash > 0) supply += uint256(newCash);
        else borrow += uint256(-newCash);
        if (supply > type(uint128).max || borrow > type(uint128).max) revert ICustody.CashOutOfRange(account);
        ($.supplyWad, $.borrowWad) = (uint128(supply), uint128(borrow));
        // forge-lint: disable-end(unsafe-typecast)
        return newCash == 0 ? 0 : newCash > 0 ? $.supplyIndexE15 : $.borrowIndexE15;
    }
}
