// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Accounts, custody of cash and collateral, PnL pools, insurance fund
interface ICustody {
    event CashDeposited(uint168 indexed account, uint256 amount, int256 cashWad);
    event CashWithdrawn(uint168 indexed account, address indexed to, uint256 amount, int256 cashWad);
    event CollateralDeposited(uint168 indexed account, uint8 indexed collateral, uint256 amount, uint256 balance);
    event CollateralWithdrawn(
        uint168 indexed account, uint8 indexed collateral, address indexed to, uint256 amount, uint256 balance
    );
    /// @notice Every change of cash that is not a deposit or a withdrawal ends in this event (new balance).
    event CashChanged(uint168 indexed account, int256 cashWad);
    /// @notice New state of one collateral balance after a slice moved it.
    event CollateralChanged(uint168 indexed account, uint8 indexed collateral, uint256 balance);
    /// @notice New state of one position; `quoteWad` is 0 for options. size 0 and quote 0: the position is gone.
    event PositionChanged(uint168 indexed account, uint32 indexed instrument, int96 sizeWad, int128 quoteWad);
    /// @notice All positions of an account anew, in storage order, after a slice moved some of each; formats of
    ///         IVault.accountState. It replaces whatever PositionChanged said before. One event instead of 128.
    event PositionsReplaced(uint168 indexed account, uint256[] linear, uint256[] options);
    event OpenInterestChanged(uint8 indexed underlying, uint104 openInterestWad);
    event InstrumentInterestChanged(uint32 indexed instrument, uint104 openInterestWad);
    event PnlRealized(uint168 indexed account, uint32 indexed instrument, int256 realizedWad);
    event PnlPoolChanged(uint8 indexed underlying, uint128 poolWad);
    /// @notice Level of the asset's leaky bucket of withdrawals after this one; WAD for cash, native units for collateral.
    event WithdrawalCounted(address indexed token, uint256 withdrawn);
    event InsuranceChanged(uint256 insuranceWad);

    error NotAccountOwner(uint168 account, address caller);
    /// @notice Tokens are never sent to the zero address or to the vault itself.
    error InvalidRecipient(address to);
    error UnknownToken(address token);
    error ZeroAmount();
    error TransferAmountMismatch(address token, uint256 expected, uint256 received);
    error CapExceeded(uint8 collateral, uint256 cap, uint256 total);
    error InsufficientCollateral(uint8 collateral, uint256 available, uint256 requested);
    error InsufficientLiquidity(uint256 availableWad, uint256 requestedWad);
    /// @notice The withdrawal rate limit of the asset; WAD for cash, native units for collateral.
    error WithdrawLimitExceeded(address token, uint256 available, uint256 requested);
    error TooManyPositions(uint168 account, uint256 limit);
    /// @notice One more position would make the account too much work to liquidate in one transaction (docs/liquidation.md §6).
    error AccountTooHeavy(uint168 account, uint256 load, uint256 limit);
    error SizeOutOfRange(uint168 account, uint32 instrument);
    error CashOutOfRange(uint168 account);
    error Reentrancy();
}
