// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title Counter that counts right: the base of the bad targets
contract Counter {
    uint256 public count;

    function add(uint256 amount) external virtual {
        count += amount;
    }
}

/// @notice Its constructor reverts with a reason.
contract Stillborn is Counter {
    error WrongChain(uint256 chainId);

    constructor() {
        revert WrongChain(block.chainid);
    }
}

/// @notice Its constructor never ends.
contract EndlessConstructor is Counter {
    constructor() {
        while (true) count++;
    }
}

/// @notice An action never ends.
contract Endless is Counter {
    function add(uint256) external override {
        while (true) count++;
    }
}

/// @notice Reads the block time.
contract Clock is Counter {
    function add(uint256 amount) external override {
        count += amount + (block.timestamp % 1000);
    }
}

/// @notice The same name of a function with other arguments, and an answer of another type.
contract OtherAbi {
    function count() external pure {}

    function add(uint256 amount, address to) external {}
}

/// @notice Nothing in its ABI.
contract Empty {}
