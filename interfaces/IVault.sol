// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IAccounts} from "./IAccounts.sol";
import {ICashMarket} from "./ICashMarket.sol";
import {ICustody} from "./ICustody.sol";
import {ILiquidation} from "./ILiquidation.sol";
import {IMargin} from "./IMargin.sol";
import {IMarket} from "./IMarket.sol";
import {ISettlement} from "./ISettlement.sol";
import {ITrading} from "./ITrading.sol";
import {IWaterfall} from "./IWaterfall.sol";

/// @title Plumbline vault
/// @notice Cross-margin vault: several collaterals, perps, dated futures and European options under one portfolio
///         margin. `account` = owner address << 8 | sub-account.
interface IVault is IMarket, IMargin, ICustody, IAccounts, ICashMarket, ITrading, ILiquidation, ISettlement, IWaterfall {
    /* ───────────────────────────── custody ───────────────────────────── */

    /// @notice Pulls exactly `amount` native units of `token` (cash or a collateral) from the caller, who must own
    ///         `account`. Cash is credited at 10^(18−decimals) WAD per native unit, exact. Collateral that would bring an
    ///         account with obligations a second group of underlyings is refused (MixedGroups, docs/margin.md §12).
    function deposit(uint168 account, address token, uint256 amount) external;

    /// @notice Sends `amount` native units of `token` to `to`; `type(uint256).max` means all there is (for cash: the
    ///         positive balance, rounded down to native units). Cash may go negative (a loan) while E ≥ IM.
    /// @return withdrawn native units sent
    function withdraw(uint168 account, address token, uint256 amount, address to) external returns (uint256 withdrawn);

    /// @notice Realises perp and future PnL of anybody into cash through the PnL pools.
    /// @return realizedWad signed change of cash
    function realizePnl(uint168 account) external returns (int256 realizedWad);

    /// @notice Adds native units of cash to the insurance fund.
    function fundInsurance(uint256 amount) external;

    /* ───────────────────────────── market ────────────────────────────── */

    /// @notice Takes a new snapshot of each underlying; reverts where none is due (`RefreshNotNeeded`).
    function refresh(uint8[] calldata underlyings) external;

    /// @notice Accepts a newer report signed by at least `threshold` signers and takes a new snapshot.
    function submitReport(VolReport calldata report, bytes[] calldata signatures) external;

    /// @notice Computes and caches scenario arrays that are not cached in this epoch. Permissionless.
    function computeArrays(uint32[] calldata instruments) external;

    /* ───────────────────────────── trading ───────────────────────────── */

    /// @notice Fills `sizeWad` of both orders at `priceWad`. Buyers pay rounded up, sellers receive rounded down.
    function fill(
        Order calldata buy,
        bytes calldata buySignature,
        Order calldata sell,
        bytes calldata sellSignature,
        uint128 sizeWad,
        uint128 priceWad
    ) external;

    /// @notice Cancels an order of an account of the caller.
    function cancel(Order calldata order) external;

    /* ─────────────────────────── liquidation ─────────────────────────── */

    /// @notice Takes min(`fractionWad`, f*) of everything `account` holds into `liquidator` (owned by the caller), which must end
    ///         with underlyings of one group, or with none that `account` did not hold (MixedGroups).
    /// @param maxPaymentWad the caller's bound on the payment; also negative values bound what insurance must pay
    /// @return fraction the fraction taken, @return paymentWad signed cash from liquidator to account
    function liquidate(uint168 account, uint168 liquidator, uint256 fractionWad, int256 maxPaymentWad)
        external
        returns (uint256 fraction, int256 paymentWad);

    /* ────────────────────────────── views ────────────────────────────── */

    function margin(uint168 account) external view returns (Margin memory);
    function explain(uint168 account) external view returns (Explanation memory);
    function liquidationQuote(uint168 account) external view returns (LiquidationQuote memory);

    /// @return cashWad signed cash
    /// @return collateral native balances, index = collateral, length = number of listed collaterals
    /// @return linear packed perps and futures: id(32) | size(96) | quote(128), in storage order
    /// @return options packed options: id(32) | size(96), in storage order
    function accountState(uint168 account)
        external
        view
        returns (int256 cashWad, uint256[] memory collateral, uint256[] memory linear, uint256[] memory options);

    function snapshot(uint8 underlying) external view returns (Snapshot memory);
    function oracleState(uint8 underlying) external view returns (OracleState state, uint256 livePriceWad);
    function slice(uint8 underlying, uint16 expiryDay) external view returns (Slice memory, uint40 reportTime);
    function strike(uint8 underlying, uint16 expiryDay, uint16 strikeIndex) external view returns (uint128 strikeWad);
    /// @notice The cached scenario array words; all zero where none is cached in this epoch.
    function scenarioArray(uint32 instrument) external view returns (uint256[4] memory words);
    function pnlPool(uint8 underlying) external view returns (uint256 poolWad);
    function orderStatus(bytes32 orderHash) external view returns (uint256 filledWad, bool cancelled);
    function hashOrder(Order calldata order) external view returns (bytes32);
    function hashReport(VolReport calldata report) external view returns (bytes32);
    /// @return cashHeldWad tokens of the cash currency the ledger accounts for; insuranceWad the insurance fund
    function totals() external view returns (uint256 cashHeldWad, uint256 insuranceWad);
    function collateralInfo(uint8 collateral)
        external
        view
        returns (address token, uint8 decimals, uint8 underlying, address rateFeed, uint256 rateWad, uint256 totalHeld);
    function riskParams() external view returns (address pointer, bytes memory blob);
    function listedCounts() external view returns (uint8 underlyings, uint8 collaterals);
    function reportStatus(uint8 underlying) external view returns (uint64 nonce, uint40 reportTime, uint16 confidenceBps);
    function signers() external view returns (address[] memory signers, uint8 threshold);
    function cashToken() external view returns (address token, uint8 decimals);

    /* ────────────────────────── administration ───────────────────────── */

    function listUnderlying(address feed) external returns (uint8 underlying);
    function listCollateral(address token, uint8 underlying, address rateFeed) external returns (uint8 collateral);
    function listExpiry(uint8 underlying, uint16 expiryDay, uint128[] calldata strikesWad) external;
    function setRiskParams(bytes calldata blob) external;
    function setSigners(address[] calldata signers, uint8 threshold) external;
}
