// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;


/// @title Contract wallet that signs by saying yes (ERC-1271)
contract MockWallet {
    /// @notice digest → accepted
    mapping(bytes32 => bool) public approved;

    function approve(bytes32 digest, bool yes) external {
        approved[digest] = yes;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return approved[digest] ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

/// @title A receiver that tries to use the vault from inside a token transfer
/// @notice Records what each attempt returned; never reverts itself, so the outer call shows whether the vault held.
contract MockReenterer {
    bytes[] public attempts;
    bytes[] public outcomes;
    address public target;

    function arm(address target_, bytes[] calldata attempts_) external {
        target = target_;
        delete attempts;
        delete outcomes;
        for (uint256 i = 0; i < attempts_.length; ++i) {
            attempts.push(attempts_[i]);
        }
    }

    /// @dev MockToken's callback
    function tokensReceived(address, address, uint256) external {
        for (uint256 i = 0; i < attempts.length; ++i) {
            (bool ok, bytes memory data) = target.call(attempts[i]);
            outcomes.push(ok ? bytes("ok") : data);
        }
    }

    function outcomeCount() external view returns (uint256) {
        return outcomes.length;
    }

    /// @notice Any call, as this contract.
    function execute(address to, bytes calldata data) external returns (bytes memory) {
        (bool ok, bytes memory answer) = to.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 0x20), mload(answer))
            }
        }
        return answer;
    }
}
