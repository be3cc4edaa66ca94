// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";

/// @title Reducing: what a side of a fill may do without initial margin and without a live price
/// @notice Twin: risk/exact/trading/reduce_lib.py. A side reduces where |size| in the instrument falls and does not change its
///         sign. It is accepted on what it leaves behind, both margins at the same snapshots (docs/vault.md, Reducing).
library ReduceLib {
    int256 private constant ONE = 1e18;

    /// @dev What a fill may change of an account in memory: cash and one position, at `index` of `count`
    struct Held {
        int256 cashWad;
        uint256 index;
        uint256 count;
        uint256 entry;
    }

    /// @notice What the account has before a fill of `id`, and the size it holds, 0 for none
    function hold(AccountLib.Account memory a, uint256 id, bool option)
        internal
        pure
        returns (Held memory h, int256 size)
    {
        h.cashWad = a.cashWad;
        if (option) {
            (h.index, h.count) = (AccountLib.findOption(a, id), a.optionCount);
            if (h.index == h.count) return (h, 0);
            h.entry = a.options[h.index];
            (, size) = AccountLib.optionAt(a, h.index);
        } else {
            (h.index, h.count) = (AccountLib.findLinear(a, id), a.linearCount);
            if (h.index == h.count) return (h, 0);
            h.entry = a.linear[h.index];
            (, size,) = AccountLib.linearAt(a, h.index);
        }
    }

    /// @notice Takes the fill back in memory, of a position that was there before (`index` < `count`).
    /// @dev Where the position was removed, the last entry took its place and still stands behind the others as well.
    function restore(AccountLib.Account memory a, Held memory h, bool option) internal pure {
        a.cashWad = h.cashWad;
        if (option) (a.options[h.index], a.optionCount) = (h.entry, h.count);
        else (a.linear[h.index], a.linearCount) = (h.entry, h.count);
    }

    /// @notice Whether `change` ≠ 0 takes `size` towards zero, to zero at most
    function reduces(int256 size, int256 change) internal pure returns (bool) {
        return size > 0 ? change < 0 && size + change >= 0 : size < 0 && change > 0 && size + change <= 0;
    }

    /// @notice Whether a reducing side needs no initial margin, `m` before and `n` after it:
    ///         1. MM does not rise and E − MM does not fall;
    ///         2. where E ≥ IM before, E ≥ IM after: nobody leaves initial margin by his own action;
    ///         3. where E < MM before: HF does not fall while E > 0, E does not fall otherwise. Without this an account below MM
    ///            could pay away the requirement that it frees, to an account of the same owner, and leave a debt.
    ///         Never from M < 0: a bankrupt account belongs to the waterfall. Could it close against the winner of its own owner,
    ///         no counterparty would be left to deleverage, and the lenders would pay. `im` includes the gap (ReduceLogic).
    function isAccepted(IMargin.Margin memory m, IMargin.Margin memory n) internal pure returns (bool) {
        if (m.markEquity < 0) return false;
        if (n.mm > m.mm) return false;
        // forge-lint: disable-start(unsafe-typecast) requirements are below 2^255 (MarginEngine)
        if (n.equity - int256(n.mm) < m.equity - int256(m.mm)) return false;
        if (m.equity >= int256(m.im)) return n.equity >= int256(n.im);
        // forge-lint: disable-end(unsafe-typecast)
        if (m.healthFactor >= ONE) return true;
        return m.equity > 0 ? n.healthFactor >= m.healthFactor : n.equity >= m.equity;
    }
}
