// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Many independent cases in one call
/// @notice Evaluates calls on the present state, each with storage words of its own laid over it; nothing is kept, and no case
///         sees another. Driven by risk/diff/kit/batch.py, which puts this code, for one call, at the address of the sender and
///         at every contract whose storage a case overlays.
/// @dev At the sender: BATCH calls RUN on itself for every case; RUN has the words written, calls the target, and always
///      reverts with the outcome, which undoes all of it. So the target sees its own sender, value and address.
///      At a contract: WRITE stores words; everything else goes to the contract's own code, which for this one call lies
///      elsewhere (MOVED), by DELEGATECALL: proxies, linked libraries, fallbacks and calls to itself work as ever.
///
///      BATCH: tag, then for each case: length of its record in bytes, record.
///      Record (RUN): tag, target, value, gas, length of the calldata, number of contracts; for each contract: address, number
///      of words, (slot, word)…; then the calldata.
///      WRITE: tag, (slot, word)…
///      Answer: for each case one word, status << 248 | length, then the data. Status 0: reverted, 1: returned, 2: could not
///      be decided here (too little gas, or nearly all of its gas used), ask for it alone.
contract CaseHarness {
    /// @dev keccak256("plumbline.cases.batch"), ".run", ".write": no calldata of a target begins like this
    uint256 private constant BATCH = 0x3ca948b5ad9e0f0dbfdebcea35b2e1dcbc431f281e41ac6fad8f7ff6821f58e4;
    uint256 private constant RUN = 0x275179812603c293a47e333527e9b527c54aba50420a2b08ad9ee7b34a2970f5;
    uint256 private constant WRITE = 0x2fafdc83d7af2580675290807e2879a8df38a3189919a756c94a8cdd3e216b5b;
    /// @dev stands for the address of the contract's own code: the engine puts it in, another one for each contract, because
    ///      under a proxy's DELEGATECALL this code cannot tell where it lies
    uint256 private constant MOVED = 0x00c0dec0dec0dec0dec0dec0dec0dec0dec0dec0de;

    // solhint-disable-next-line no-complex-fallback, payable-fallback
    fallback() external payable {
        assembly {
            // memory from 0 is the scratch space of this frame; Solidity's own pointers are never used again
            function batch() {
                let out := 0x80
                let at := 0x20
                for {} lt(at, calldatasize()) {} {
                    let size := calldataload(at)
                    at := add(at, 0x20)
                    calldatacopy(add(out, 0x20), at, size)
                    at := add(at, size)
                    pop(call(gas(), address(), 0, add(out, 0x20), size, 0, 0))
                    switch lt(returndatasize(), 0x20)
                    case 1 {
                        mstore(out, shl(249, 1)) // RUN itself had too little gas
                        out := add(out, 0x20)
                    }
                    default {
                        returndatacopy(out, 0, returndatasize())
                        out := add(out, returndatasize())
                    }
                }
                return(0x80, sub(out, 0x80))
            }

            function run() {
                let limit := calldataload(0x60)
                let size := calldataload(0x80)
                let groups := calldataload(0xa0)
                let at := 0xc0
                mstore(0, WRITE)
                for {} groups { groups := sub(groups, 1) } {
                    let where := calldataload(at)
                    let bytesOfWords := shl(6, calldataload(add(at, 0x20)))
                    at := add(at, 0x40)
                    calldatacopy(0x20, at, bytesOfWords)
                    at := add(at, bytesOfWords)
                    if iszero(call(gas(), where, 0, 0, add(bytesOfWords, 0x20), 0, 0)) { undecided() }
                }
                calldatacopy(0, at, size)
                // DELEGATECALL behind the call keeps 1/64 of the gas, the call itself another one
                let given := add(limit, div(limit, 32))
                if lt(gas(), add(given, add(div(given, 32), 100000))) { undecided() }
                let before := gas()
                let ok := call(given, calldataload(0x20), calldataload(0x40), 0, size, 0, 0)
                if gt(sub(before, gas()), sub(limit, div(limit, 16))) { undecided() }
                mstore(0, or(shl(248, ok), returndatasize()))
                returndatacopy(0x20, 0, returndatasize())
                revert(0, add(returndatasize(), 0x20))
            }

            function undecided() {
                mstore(0, shl(249, 1))
                revert(0, 0x20)
            }

            function write() {
                for { let at := 0x20 } lt(at, calldatasize()) { at := add(at, 0x40) } {
                    sstore(calldataload(at), calldataload(add(at, 0x20)))
                }
                stop()
            }

            if gt(calldatasize(), 0x1f) {
                let tag := calldataload(0)
                if eq(tag, BATCH) { batch() }
                if eq(tag, RUN) { run() }
                if eq(tag, WRITE) { write() }
            }
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), MOVED, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if ok { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}
