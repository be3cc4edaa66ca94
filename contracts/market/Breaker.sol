// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMarket} from "../../interfaces/IMarket.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title The circuit breaker of an underlying: for a bounded time positions in it may only shrink
/// @notice Twin: risk/exact/market/breaker.py. Tripped by a jump of the snapshot price (Follow) and by a draw on the insurance
///         fund.
/// @dev Bounded in time: a trip never reaches beyond now + `seconds_`, which is a risk parameter of at most 2^24 − 1 seconds, and
///      never shortens what stands. Nothing but time ends it; liquidations, reductions, settlement and withdrawals (at E ≥ IM)
///      go on.
library Breaker {
    /// @notice REDUCE_ONLY in `u` until max(what stands, now + `seconds_`); 0 seconds: off, nothing happens.
    function trip(VaultStorage.State storage $, uint256 u, uint256 seconds_) internal {
        if (seconds_ == 0) return;
        uint256 until = block.timestamp + seconds_;
        if (until > type(uint32).max) until = type(uint32).max;
        VaultStorage.UnderlyingData storage data = $.underlyings[u];
        if (until <= data.reduceOnlyUntil) return;
        // forge-lint: disable-start(unsafe-typecast) limited to 32 bits above; u < 16
        data.reduceOnlyUntil = uint32(until);
        emit IMarket.ReduceOnlySet(uint8(u), uint32(until));
        // forge-lint: disable-end(unsafe-typecast)
    }

    /// @notice Whether positions in `u` may only shrink now
    function active(VaultStorage.State storage $, uint256 u) internal view returns (bool) {
        return block.timestamp < $.underlyings[u].reduceOnlyUntil;
    }
}
