// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ITrading} from "../../interfaces/ITrading.sol";

/// @title EIP-712 hash of an order
/// @notice Twin: risk/exact/trading/order_hash.py. The digest (domain included) is the key of an order everywhere: in storage,
///         in events and in errors. So an order signed for another chain or another vault is simply another order.
library OrderHash {
    /// @dev keccak256 of the EIP-712 type; the field names are those of ITrading.Order
    bytes32 internal constant ORDER_TYPEHASH = keccak256(
        "Order(uint168 account,uint32 instrument,int96 sizeWad,uint128 limitPriceWad,uint64 nonce,uint40 expiry,"
        "uint8 flags,uint128 triggerPriceWad,uint40 createdAt,uint16 slippageBps)"
    );

    /// @notice keccak256(typehash ‖ fields)
    function structHash(ITrading.Order calldata order) internal pure returns (bytes32) {
        // a static struct is encoded in place: one word a field, in order
        return keccak256(abi.encode(ORDER_TYPEHASH, order));
    }

    /// @notice keccak256(0x19 0x01 ‖ domainSeparator ‖ structHash)
    function digest(bytes32 domainSeparator, ITrading.Order calldata order) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator, structHash(order)));
    }
}
