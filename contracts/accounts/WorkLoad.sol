// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params} from "../params/RiskParamsBlob.sol";
import {AccountLib} from "./AccountLib.sol";

/// @title How much work one account may be: its liquidation with nothing cached fits one transaction
/// @notice Twin: risk/exact/accounts/work_load.py. A bound on the gas of liquidating the account when every snapshot is due
///         and no scenario array is cached, in units of 1 250 gas, fitted to measurements (docs/liquidation.md §6):
///
///             load = options·(K + 35) + buckets·(10 + K/6) + underlyings·(70 + K/2) + linear·35     quotients rounded down
///
///         with `buckets` the distinct (underlying, expiry) of its options and `underlyings` the distinct underlyings of its
///         options. An action that adds a position is refused where the load exceeds LIMIT; what an account holds already
///         can always be reduced.
library WorkLoad {
    /// @dev 16.1 million gas of the 16 777 216 that a transaction may use
    uint256 internal constant LIMIT = 12_900;

    /// @notice What a liquidator of `a` may end with: LIMIT, or the load of `a` where that is higher. An account that became too
    ///         heavy because K was raised must stay liquidatable, and a slice brings all its positions along.
    function allowance(Params p, AccountLib.Account memory a) internal pure returns (uint256) {
        return WadMath.max(LIMIT, _loadAbove(p, a));
    }

    /// @notice AccountTooHeavy(account, load, allowed) where the account has more positions than `before` and a load above
    ///         `allowed` ≥ LIMIT
    function requireIfGrown(Params p, AccountLib.Account memory a, uint256 before, uint256 allowed) internal pure {
        if (AccountLib.positionCount(a) <= before) return;
        uint256 load = _loadAbove(p, a);
        if (load > allowed) revert ICustody.AccountTooHeavy(a.id, load, allowed);
    }

    /// @dev The load, or 0 where it cannot exceed LIMIT: 128 options of 128 expiries of 16 underlyings fit for K ≤ 38, and
    ///      then nothing is counted.
    function _loadAbove(Params p, AccountLib.Account memory a) private pure returns (uint256) {
        uint256 scenarios = p.scenarioCount();
        if (_load(scenarios, a.optionCount, a.optionCount, 16, a.linearCount) <= LIMIT) return 0;
        (uint256 buckets, uint256 underlyings) = _distinct(a);
        return _load(scenarios, a.optionCount, buckets, underlyings, a.linearCount);
    }

    function _load(uint256 scenarios, uint256 options, uint256 buckets, uint256 underlyings, uint256 linear)
        private
        pure
        returns (uint256)
    {
        return options * (scenarios + 35) + buckets * (10 + scenarios / 6) + underlyings * (70 + scenarios / 2)
            + linear * 35;
    }

    /// @dev Distinct (underlying, expiry) and underlyings of the options, through a hash table at most half full
    function _distinct(AccountLib.Account memory a) private pure returns (uint256 buckets, uint256 underlyings) {
        uint256 mask = 0;
        uint256[] memory options = a.options;
        uint256 count = a.optionCount;
        assembly ("memory-safe") {
            // 256 places beyond the free memory pointer, zeroed, not kept
            let table := mload(0x40)
            calldatacopy(table, calldatasize(), 0x2000)
            let i := add(options, 0x20)
            for { let end := add(i, shl(5, count)) } lt(i, end) { i := add(i, 0x20) } {
                // underlying << 18 | kind, dropped | expiryDay, and 1 above them: never 0
                let key := or(and(shr(106, mload(i)), 0x3cffff), 0x400000)
                mask := or(mask, shl(and(shr(18, key), 0xf), 1))
                for { let hash := add(key, shr(14, key)) } 1 { hash := add(hash, 1) } {
                    let place := add(table, shl(5, and(hash, 0xff)))
                    let held := mload(place)
                    if eq(held, key) { break }
                    if iszero(held) {
                        mstore(place, key)
                        buckets := add(buckets, 1)
                        break
                    }
                }
            }
        }
        for (; mask != 0; mask &= mask - 1) {
            ++underlyings;
        }
    }
}
