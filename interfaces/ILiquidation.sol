// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Slice liquidation
/// @notice The liquidator takes the same fraction f ≤ f* of *everything* an account holds for f·(M − ρ·MM).
interface ILiquidation {
    /// @param maxFractionWad f*, rounded down; 0 where the account is healthy
    /// @param rewardWad ρ
    /// @param fullPriceWad M − ρ·MM, the signed price of the whole account, rounded up (paid by the liquidator)
    struct LiquidationQuote {
        uint256 maxFractionWad;
        uint256 rewardWad;
        int256 fullPriceWad;
    }

    /// @param paymentWad cash from liquidator to account; negative: paid by the insurance fund to the liquidator
    event Liquidated(
        uint168 indexed account, uint168 indexed liquidator, uint256 fractionWad, int256 paymentWad, uint256 rewardWad
    );

    error AccountHealthy(uint168 account, int256 equity, uint256 mm);
    /// @notice A slice must not lower the health factor of the account it is taken from (beyond rounding,
    ///         docs/liquidation.md).
    error SliceLoweredHealth(uint168 account, int256 healthFactorBefore, int256 healthFactorAfter);
    error SelfLiquidation(uint168 account);
    error FractionInvalid(uint256 fractionWad);
    error PaymentAboveLimit(int256 paymentWad, int256 maxPaymentWad);
}
