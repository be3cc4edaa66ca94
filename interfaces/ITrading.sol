// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Bilateral trading by two EIP-712 signed orders
interface ITrading {
    /// @param account the trader's account; its owner signs, or an operator that holds TRADE when the order is filled
    /// @param instrument instrument id
    /// @param sizeWad signed total size: > 0 buys, < 0 sells
    /// @param limitPriceWad per unit: a buy fills at or below, a sell at or above
    /// @param nonce makes orders distinct; below the account's `minNonce` an order is dead
    /// @param expiry last second at which the order may fill (unix)
    /// @param flags bit 0 REDUCE_ONLY: a fill must lower |size| and not flip it; bit 1 TRIGGER_ABOVE, bit 2 TRIGGER_BELOW: wait
    ///        for the index. At most one trigger, no other bit.
    /// @param triggerPriceWad index price of the underlying at or beyond which a trigger counts as hit
    /// @param createdAt from when on the order may fill; a trigger counts only snapshots later than this
    /// @param slippageBps of a triggered order in a perp or future: largest distance of the price from the snapshot's mark
    ///        (the index of a perp, the forward of a future); an option is bounded by the limit alone
    struct Order {
        uint168 account;
        uint32 instrument;
        int96 sizeWad;
        uint128 limitPriceWad;
        uint64 nonce;
        uint40 expiry;
        uint8 flags;
        uint128 triggerPriceWad;
        uint40 createdAt;
        uint16 slippageBps;
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
    /// @notice Paid by one side of a fill to the insurance fund; CashChanged and InsuranceChanged say what is there afterwards.
    event FeePaid(uint168 indexed account, uint32 indexed instrument, uint256 feeWad);

    error FillSizeInvalid(uint128 sizeWad);
    error InstrumentMismatch(uint32 buy, uint32 sell);
    error OrderSideInvalid(bytes32 orderHash);
    error SelfTrade(uint168 account);
    error FlagsInvalid(bytes32 orderHash, uint8 flags);
    error OrderNotYetValid(bytes32 orderHash, uint40 createdAt);
    error OrderExpired(bytes32 orderHash, uint40 expiry);
    error OrderIsCancelled(bytes32 orderHash);
    error NonceTooLow(bytes32 orderHash);
    error OrderOverfilled(bytes32 orderHash, uint256 filled, uint256 size);
    error PriceOutOfBounds(bytes32 orderHash, uint128 priceWad, uint128 limitPriceWad);
    error InvalidSignature(bytes32 orderHash);
    /// @notice Not both of the last two snapshots are later than the order and at or beyond its trigger price.
    error TriggerNotHit(bytes32 orderHash);
    error SlippageExceeded(bytes32 orderHash, uint128 priceWad, uint256 markWad);
    /// @notice A reduce-only order would open, enlarge or flip the position.
    error WouldNotReduce(bytes32 orderHash);
    /// @notice N_u of an account after it grew would be above the cap.
    error PositionCapExceeded(uint168 account, uint8 underlying, uint256 unitsWad, uint256 capWad);
    /// @notice Open interest of an underlying after it grew would be above the cap.
    error OpenInterestCapExceeded(uint8 underlying, uint256 openInterestWad, uint256 capWad);
}
