// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Liquidation, flags and margin calls
/// @notice A slice: the liquidator takes the same fraction f ≤ f* of *everything* an account holds for f·(M − ρ·MM). By legs: it
///         takes positions that it names for their mark less the reward. Procedure and formulas: docs/liquidation.md.
interface ILiquidation {
    /// @param maxFractionWad f*, rounded down, or 1e18 where the dust rule takes everything; 0 where the account is healthy
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

    /// @param legs how many, @param paymentWad signed cash from liquidator to account
    event LegsLiquidated(
        uint168 indexed account, uint168 indexed liquidator, uint256 legs, int256 paymentWad, uint256 rewardWad
    );
    event Flagged(uint168 indexed account, uint32 time, int256 equity, uint256 mm);
    event FlagCleared(uint168 indexed account, int256 equity, uint256 im);
    /// @notice The owner is asked for margin: E fell below MM·warning.
    event MarginCalled(uint168 indexed account, int256 equity, uint256 mm, uint256 warningBps);
    event MarginCallCleared(uint168 indexed account, int256 equity, uint256 mm, uint256 warningBps);

    error AccountHealthy(uint168 account, int256 equity, uint256 mm);
    error AlreadyFlagged(uint168 account, uint32 since);
    error NotFlagged(uint168 account);
    /// @notice Flagged, and may be liquidated from `until` on.
    error GracePeriod(uint168 account, uint256 until);
    /// @notice A flag clears at E ≥ IM only.
    error NotRecovered(uint168 account, int256 equity, uint256 im);
    /// @notice The account owes an initial margin check to the batch or callback under way: until that has run, nobody knows
    ///         whether what it did in there stands.
    error InitialMarginOwed(uint168 account);
    /// @notice Not ascending, not held, of the other sign or zero. A leg of more than is held takes what is held.
    error LegInvalid(uint32 instrument);
    /// @notice M < 0: legs are not sold, the waterfall or a slice takes it.
    error LegsBankrupt(uint168 account, int256 markEquity);
    /// @notice Legs must lower the maintenance margin.
    error LegsKeepRequirement(uint168 account, uint256 mmBefore, uint256 mmAfter);
    /// @notice Legs must raise E − MM.
    error LegsKeepShortfall(uint168 account, int256 excessBefore, int256 excessAfter);
    /// @notice Legs must raise the health factor of an account with E > 0.
    error LegsKeepHealth(uint168 account, int256 healthFactorBefore, int256 healthFactorAfter);
    /// @notice Legs must not lift the health factor above the target by more than 1e-6.
    error LegsAboveTarget(uint168 account, int256 healthFactorAfter, int256 limit);
    /// @notice A slice must not lower the health factor of the account it is taken from (beyond rounding,
    ///         docs/liquidation.md).
    error SliceLoweredHealth(uint168 account, int256 healthFactorBefore, int256 healthFactorAfter);
    error SelfLiquidation(uint168 account);
    error FractionInvalid(uint256 fractionWad);
    error PaymentAboveLimit(int256 paymentWad, int256 maxPaymentWad);
}
