// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {SSTORE2} from "solady/utils/SSTORE2.sol";

/// @title The governor's storage: the ramp, the steward's period, the lister's budgets
/// @notice Twin: `Store` in risk/exact/governance/risk_governor.py. Blobs are code (SSTORE2), address 0 means none.
library GovernorStore {
    struct State {
        // slot 0: the ramp
        address start; // blob at step 0
        uint32 step; // taken
        uint32 steps;
        uint8 origin; // who started it, IRiskGovernor.Origin
        // slot 1
        address target; // 0: no ramp
        uint40 lastStep; // time of the last step of any ramp
        // slot 2: the steward's period
        address anchor; // blob at its start; 0: the next steering starts one
        uint40 anchorTime;
        mapping(uint256 => Budget) strikes; // key: underlying
    }

    struct Budget {
        uint32 day;
        uint32 used;
    }

    function save(bytes memory blob) internal returns (address) {
        return SSTORE2.write(blob);
    }

    /// @notice The blob at `pointer`; empty for 0.
    function load(address pointer) internal view returns (bytes memory blob) {
        if (pointer != address(0)) blob = SSTORE2.read(pointer);
    }

    /// @notice No ramp; the time of the last step stays.
    function end(State storage $) internal {
        ($.start, $.step, $.steps, $.origin, $.target) = (address(0), 0, 0, 0, address(0));
    }
}
