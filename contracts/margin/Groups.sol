// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {Drift} from "./Drift.sol";

/// @title Which underlyings may be margined together
/// @notice Twin: risk/exact/margin/groups.py. K scenarios span a few underlyings well and many badly, so the parameters put each
///         underlying into a group, and an account with obligations may not come to hold underlyings of two groups. Who
///         asks for it and who does not: docs/margin.md §12. With one group for all the rule says nothing.
library Groups {
    /// @notice Reverts MixedGroups(account, u, v) where the underlyings in `mask` are of more than one group, u being the lowest
    ///         of them and v the lowest one of another group.
    /// @param allowed underlyings that may be together whatever their groups: nothing is refused where `mask` adds none to them
    function requireOne(Params p, uint168 account, uint256 mask, uint256 allowed) internal pure {
        if (mask & ~allowed == 0 || mask & (mask - 1) == 0) return;
        uint256 lowest = 0;
        while ((mask >> lowest) & 1 == 0) {
            ++lowest;
        }
        uint256 group = p.group(lowest);
        for (uint256 v = lowest + 1; mask >> v != 0; ++v) {
            if ((mask >> v) & 1 == 0 || p.group(v) == group) continue;
            // forge-lint: disable-next-line(unsafe-typecast) both count underlyings, of which there are 16
            revert IMargin.MixedGroups(account, uint8(lowest), uint8(v));
        }
    }

    /// @notice Reverts MixedGroups where collateral `j`, which `a` does not hold, would bring it an underlying of another group. For
    ///         an account with obligations; at once, also inside a batch: it is no margin check that could wait.
    function requireCollateral(Params p, AccountLib.Account memory a, uint256 j) internal pure {
        uint256 mask = Drift.underlyingMask(p, a);
        requireOne(p, a.id, mask | (1 << p.collateralUnderlying(j)), mask);
    }
}
