// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title What happens where an account's equity is negative: insurance → auto-deleveraging → socialised loss
/// @notice Procedure, formulas and bounds: docs/waterfall.md. All amounts are WAD of the settlement currency.
interface IWaterfall {
    /// @notice The insurance fund paid for `account`.
    /// @param insuranceWad what is left in the fund
    /// @param periodWad what counts against the cap of the rolling period as of `time`
    event InsurancePaid(
        uint168 indexed account, uint256 paidWad, uint128 insuranceWad, uint128 periodWad, uint40 time
    );
    /// @notice The position of `account` in `instrument` was closed at mark against others.
    /// @param deficitWad what the account lacked after the insurance fund paid
    /// @param paidWad Σ haircuts: deficitWad, or less where every counterparty paid all it could
    event AutoDeleveraged(
        uint168 indexed account, uint32 indexed instrument, uint256 deficitWad, uint256 paidWad, uint256 thetaWad
    );
    /// @notice `closedWad` (> 0 long, < 0 short) of the counterparty's position were closed, and it paid `haircutWad`.
    event Deleveraged(uint168 indexed counterparty, uint32 indexed instrument, int96 closedWad, uint256 haircutWad);
    /// @notice `lossWad` of the debt of `account` fell on all positive cash; totals in the ICashMarket.InterestAccrued before it.
    event LossSocialised(uint168 indexed account, uint256 lossWad, uint64 supplyIndexE15);

    /// @notice The account is not bankrupt at the snapshots, or not beyond what live prices and bands could change.
    error NotBankrupt(uint168 account, int256 markEquity);
    /// @notice The insurance fund can pay the whole deficit: liquidate (docs/waterfall.md §2).
    error InsuranceNotExhausted(uint256 availableWad);
    error TooManyCounterparties(uint256 limit);
    /// @notice Counterparties ascend without repetition.
    error CounterpartiesNotAscending(uint168 previous, uint168 current);
    /// @notice `account` has no position in the instrument (the bankrupt one), or none on the other side of it.
    error CounterpartyOnWrongSide(uint168 account, uint32 instrument);
    error AdlShareTooSmall(uint256 coveredWad, uint256 requiredWad);
    /// @notice θ is too large (haircuts above 1.01·deficit) or too small (below, although not every cap binds).
    error AdlHaircutMismatch(uint256 haircutsWad, uint256 deficitWad);
    /// @notice A loss is socialised only where no position and no undrawn claim is left.
    error PositionsOpen(uint168 account);
    /// @notice No positive cash is left that could bear the loss.
    error NoLenders(uint256 lossWad);
}
