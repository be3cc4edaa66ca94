// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title A feed that misbehaves on demand
/// @notice For tests of what a hostile or broken feed can do to the vault. Anybody may set it.
/// @dev Answers `AggregatorV3Interface` without inheriting it, because there the functions are views.
contract MockFeed {
    enum Mode {
        WORKS,
        REVERTS, // with a reason
        REVERTS_BIG, // with 200 000 bytes of revert data, within the gas it is given
        EMPTY, // returns nothing
        SHORT, // returns 159 bytes, one less than the answer needs
        BIG, // a valid answer followed by as much data as the gas allows
        BURNS_GAS, // never ends
        PANICS, // invalid opcode: takes all the gas it was given
        GUZZLES, // a valid answer after 60 000 gas of work
        WRITES // tries to change state: a static call forbids it
    }

    int256 public answer;
    uint256 public updatedAt;
    /// @dev a whole word, so that `decimals()` can answer nonsense
    uint256 private _decimals;
    Mode public mode;
    Mode public decimalsMode;

    constructor(uint256 decimals_, int256 answer_, uint256 updatedAt_) {
        _decimals = decimals_;
        answer = answer_;
        updatedAt = updatedAt_;
    }

    function set(int256 answer_, uint256 updatedAt_) external {
        answer = answer_;
        updatedAt = updatedAt_;
    }

    function setDecimals(uint256 decimals_) external {
        _decimals = decimals_;
    }

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function setDecimalsMode(Mode mode_) external {
        decimalsMode = mode_;
    }

    function decimals() external returns (uint8) {
        _misbehave(decimalsMode);
        uint256 word = _decimals;
        assembly ("memory-safe") {
            mstore(0x00, word)
            return(0x00, 0x20)
        }
    }

    function latestRoundData() external returns (uint80, int256, uint256, uint256, uint80) {
        _misbehave(mode);
        return (type(uint80).max, answer, updatedAt, updatedAt, 0);
    }

    /// @dev Ends the call in every mode but WORKS and GUZZLES.
    function _misbehave(Mode m) private {
        if (m == Mode.WORKS) return;
        if (m == Mode.REVERTS) revert("feed is down");
        if (m == Mode.PANICS) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (m == Mode.BURNS_GAS) _burn(0);
        else if (m == Mode.GUZZLES) _burn(gasleft() > 60_000 ? gasleft() - 60_000 : 0);
        else _answer(m);
    }

    function _answer(Mode m) private {
        int256 value = answer;
        uint256 time = updatedAt;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(add(p, 0x20), value)
            mstore(add(p, 0x60), time)
            switch m
            case 2 { revert(0, 200000) }
            case 3 { return(0, 0) }
            case 4 { return(p, 159) }
            case 5 { return(p, 100000) }
            default { sstore(0, 1) }
        }
    }

    function _burn(uint256 untilGas) private view {
        uint256 x;
        while (gasleft() > untilGas) {
            assembly ("memory-safe") {
                x := keccak256(0x00, 0x40)
            }
        }
    }
}
