// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title What the caller of a liquidation with data has to implement
/// @notice The vault calls it after what was liquidated has moved and before the liquidator is checked, so that the cash can be
///         raised within the call: deposit, withdraw, transfer, fill, liquidate and batch work in it. Every initial margin check
///         they owe waits for the outermost exit and runs there; views of the ledger do not answer (`Reentrancy`).
interface ILiquidationCallback {
    /// @param fractionWad of a slice; 0 in a liquidation by legs
    /// @param paymentWad signed cash that went from liquidator to account
    /// @param data as the caller passed it
    function onLiquidation(
        uint168 account,
        uint168 liquidator,
        uint256 fractionWad,
        int256 paymentWad,
        bytes calldata data
    ) external;
}
