// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ILiquidationCallback} from "../../interfaces/ILiquidationCallback.sol";

/// @title A liquidator's contract: in the callback it makes the calls it was armed with
contract LiquidationCallbackMock is ILiquidationCallback {
    address[] private targets;
    bytes[] private calls;
    /// @notice What the last callback was given
    bytes public seen;
    bytes[] public answers;

    /// @notice The calls of the next callbacks, in order; one that reverts takes the callback with it.
    function arm(address[] calldata targets_, bytes[] calldata calls_) external {
        targets = targets_;
        delete calls;
        for (uint256 i = 0; i < calls_.length; ++i) {
            calls.push(calls_[i]);
        }
    }

    function onLiquidation(
        uint168 account,
        uint168 liquidator,
        uint256 fractionWad,
        int256 paymentWad,
        bytes calldata data
    ) external {
        seen = abi.encode(account, liquidator, fractionWad, paymentWad, data);
        (address[] memory to, bytes[] memory todo) = (targets, calls);
        // a nested liquidation calls back again, with nothing left to do
        delete calls;
        for (uint256 i = 0; i < todo.length; ++i) {
            (bool ok, bytes memory answer) = to[i].call(todo[i]);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
            answers.push(answer);
        }
    }
}
