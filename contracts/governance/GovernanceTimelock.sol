// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title Timelock: what loosens risk waits here
/// @notice OpenZeppelin's TimelockController, administered by itself from the start, with a delay that its own proposals can move
///         only between two fixed bounds: a proposal cannot abolish the waiting.
contract GovernanceTimelock is TimelockController {
    uint256 public constant MIN_DELAY = 1 days;
    /// @notice RiskGovernor makes every ramp last at least this long, so that the timelock can answer it
    uint256 public immutable MAX_DELAY;

    error DelayOutOfRange(uint256 given, uint256 min, uint256 max);

    /// @param proposers may schedule and cancel
    /// @param executors may execute what is ready; address(0) among them: anybody
    /// @param cancellers may cancel only
    constructor(
        uint256 delay,
        uint256 maxDelay,
        address[] memory proposers,
        address[] memory executors,
        address[] memory cancellers
    ) TimelockController(delay, proposers, executors, address(0)) {
        if (delay < MIN_DELAY || delay > maxDelay) revert DelayOutOfRange(delay, MIN_DELAY, maxDelay);
        MAX_DELAY = maxDelay;
        for (uint256 i = 0; i < cancellers.length; ++i) {
            _grantRole(CANCELLER_ROLE, cancellers[i]);
        }
    }

    /// @inheritdoc TimelockController
    /// @dev Reverts `TimelockUnauthorizedCaller` unless the timelock itself calls; then `DelayOutOfRange`.
    function updateDelay(uint256 newDelay) public override {
        if (msg.sender == address(this) && (newDelay < MIN_DELAY || newDelay > MAX_DELAY)) {
            revert DelayOutOfRange(newDelay, MIN_DELAY, MAX_DELAY);
        }
        super.updateDelay(newDelay);
    }
}
