// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FeedReader} from "../market/FeedReader.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Reads thousands of accounts of a vault in one call
/// @notice Never deployed: an `eth_call` to the vault whose state override puts this code in the place of the vault's runs it on the
///         vault's storage, as of any block. Reader: risk/keeper/book/lens.py.
/// @dev Raw words, because a view says what cash is now and a book needs what is recorded, and because half of what a call of
///      `accountState` costs is ABI. There is no selector: the first byte of the calldata says what is asked, packed items follow.
///
///      | byte | item                | answer to each item                                                              |
///      |------|---------------------|----------------------------------------------------------------------------------|
///      | 0    | account, 21 bytes   | header; per pair of collaterals with a bit in the mask one word, from the low    |
///      |      |                     | end; `linearCount` words; ⌈`optionCount` / 2⌉ words                              |
///      | 1    | slot, 32 bytes      | the word                                                                         |
///      | 2    | feed, 20 bytes      | answered (0 or 1), answer, updatedAt, startedAt: FeedReader's reading            |
contract VaultLens {
    /// @dev the vault's first variable too
    VaultStorage.State internal $;

    /// @notice The calldata does not consist of a known first byte and whole items.
    error RequestInvalid();

    // it answers packed words, which no declared function could
    // solhint-disable-next-line no-complex-fallback
    fallback() external {
        uint256 kind = msg.data.length == 0 ? type(uint256).max : uint8(msg.data[0]);
        if (kind == 0) _accounts(_count(21));
        if (kind == 1) _words(_count(32));
        if (kind == 2) _feeds(_count(20));
        revert RequestInvalid();
    }

    /* ───────────────────────────── private ────────────────────────── */

    function _count(uint256 size) private pure returns (uint256 items) {
        items = (msg.data.length - 1) / size;
        if (items * size + 1 != msg.data.length) revert RequestInvalid();
    }

    function _accounts(uint256 items) private view {
        uint256 start;
        uint256 out;
        assembly ("memory-safe") {
            start := mload(0x40)
            out := start
        }
        for (uint256 i; i < items; ++i) {
            uint256 id;
            assembly ("memory-safe") {
                id := shr(88, calldataload(add(1, mul(i, 21))))
            }
            VaultStorage.AccountData storage data = $.accounts[id];
            assembly ("memory-safe") {
                function copy(from, count, to) -> end {
                    end := add(to, shl(5, count))
                    for {} lt(to, end) { to := add(to, 32) } {
                        mstore(to, sload(from))
                        from := add(from, 1)
                    }
                }
                let header := sload(data.slot)
                mstore(out, header)
                out := add(out, 32)
                let from := add(data.slot, 1)
                for { let mask := and(shr(128, header), 0xffff) } mask { mask := shr(2, mask) } {
                    if and(mask, 3) { out := copy(from, 1, out) }
                    from := add(from, 1)
                }
                out := copy(add(data.slot, 9), and(shr(144, header), 0xff), out)
                out := copy(add(data.slot, 137), shr(1, add(and(shr(152, header), 0xff), 1)), out)
                mstore(0x40, out)
            }
        }
        assembly ("memory-safe") {
            return(start, sub(out, start))
        }
    }

    function _words(uint256 items) private view {
        assembly ("memory-safe") {
            let start := mload(0x40)
            let from := 1
            let end := add(start, shl(5, items))
            for { let to := start } lt(to, end) { to := add(to, 32) } {
                mstore(to, sload(calldataload(from)))
                from := add(from, 32)
            }
            return(start, sub(end, start))
        }
    }

    function _feeds(uint256 items) private view {
        uint256[] memory words = new uint256[](4 * items);
        for (uint256 i; i < items; ++i) {
            address feed;
            assembly ("memory-safe") {
                feed := shr(96, calldataload(add(1, mul(i, 20))))
            }
            (bool answered, int256 answer, uint256 updatedAt) = FeedReader.latest(feed);
            if (!answered) continue;
            (,, uint256 startedAt) = FeedReader.latestStatus(feed);
            words[4 * i] = 1;
            // forge-lint: disable-next-line(unsafe-typecast) the reader takes the word as two's complement
            words[4 * i + 1] = uint256(answer);
            words[4 * i + 2] = updatedAt;
            words[4 * i + 3] = startedAt;
        }
        assembly ("memory-safe") {
            return(add(words, 32), shl(5, mload(words)))
        }
    }
}
