// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A price source of AaveOracle whose answer anybody can set. The package's own MockAggregator is
/// fixed at construction.
contract PriceFeed {
    int256 public latestAnswer;

    constructor(int256 answer) {
        latestAnswer = answer;
    }

    function set(int256 answer) external {
        latestAnswer = answer;
    }
}
