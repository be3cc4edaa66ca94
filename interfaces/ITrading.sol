// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Bilateral trading by two EIP-712 signed orders
interface ITrading {
    /// @param account the trader's account; its owner signs
    /// @param instrument instrument id
    /// @param sizeWad signed total size: > 0 buys, < 0 sells
    /// @param limitPriceWad per unit: a buy fills at or below, a sell at or above
    /// @param nonce makes orders distinct
    /// @param expiry last second at which the order may fill (unix)
    struct Order {
        uint168 account;
        uint32 instrument;
        int96 sizeWad;
        uint128 limitPriceWad;
        uint64 nonce;
        uint40 expiry;
    }

    event OrderFilled(
        bytes32 indexed buyHash,
        bytes32 indexed sellHash,
        uint32 indexed instrument,
        uint168 buyer,
        uint168 seller,
        uint128 sizeWad,
        uint128 priceWad
    );
    event OrderCancelled(bytes32 indexed orderHash, uint168 indexed account);

    error FillSizeInvalid(uint128 sizeWad);
    error InstrumentMismatch(uint32 buy, uint32 sell);
    error OrderSideInvalid(bytes32 orderHash);
    error SelfTrade(uint168 account);
    error OrderExpired(bytes32 orderHash, uint40 expiry);
    error OrderIsCancelled(bytes32 orderHash);
    error OrderOverfilled(bytes32 orderHash, uint256 filled, uint256 size);
    error PriceOutOfBounds(bytes32 orderHash, uint128 priceWad, uint128 limitPriceWad);
    error InvalidSignature(bytes32 orderHash);
}
