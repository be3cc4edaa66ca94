// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Many read calls in one, each with its outcome
contract BatchReader {
    struct Answer {
        bool ok;
        bytes data;
    }

    /// @notice Calls `target` with each of `calls`; a revert is an answer too.
    function read(address target, bytes[] calldata calls) external view returns (Answer[] memory answers) {
        answers = new Answer[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            (answers[i].ok, answers[i].data) = target.staticcall(calls[i]);
        }
    }
}
