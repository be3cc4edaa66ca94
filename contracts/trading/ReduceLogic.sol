// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {MarginEngine} from "../margin/MarginEngine.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {SettlementLib} from "../settlement/SettlementLib.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {ReduceLib} from "./ReduceLib.sol";

/// @title Judging a reduction by the margins before and after it
/// @notice Twin: risk/exact/trading/reduce_logic.py.
/// @dev External library of its own for the room that the margin engine takes. It is asked only where initial margin is not
///      there or not to be had, so most fills never pay for it.
library ReduceLogic {
    /// @notice Whether the side that held `a` before the fill, and is stored as it is now, passes as a reduction
    ///         (ReduceLib.isAccepted), both at the present snapshots and open interest, IM with the
    ///         gap of SettlementLib. Caches the arrays that were missing.
    ///         Never with a position that could be settled: its price is final, and the margins below would not know it.
    /// @dev Errors of MarginEngine, of the margin before first.
    function accepts(VaultStorage.State storage $, AccountLib.Account memory a) external returns (bool) {
        if (SettlementLib.holdsSettled($, a) != SettlementLib.NONE) return false;
        Params p = RiskParamsBlob.load($);
        AccountLib.Account memory left = AccountLib.load($, a.id, 0);
        IMargin.Margin memory m = MarginEngine.compute($, p, a, true);
        IMargin.Margin memory n = MarginEngine.compute($, p, left, true);
        Tail t = ParamsTail.load($, p);
        m.im += SettlementLib.gap($, t, a);
        n.im += SettlementLib.gap($, t, left);
        return ReduceLib.isAccepted(m, n);
    }
}
