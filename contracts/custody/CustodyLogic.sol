// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {ICustody} from "../../interfaces/ICustody.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Rights} from "../accounts/Rights.sol";
import {Groups} from "../margin/Groups.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InterestLib} from "./InterestLib.sol";
import {PnlLib} from "./PnlLib.sol";
import {WithdrawLimits} from "./WithdrawLimits.sol";

/// @title Tokens in and out, PnL into cash
/// @notice Twin: risk/exact/custody/custody_logic.py. The ledger counts what it was given (`cashHeldWad`, `totalHeld`), never the
///         balance of a token: a raw transfer to the vault changes nothing for anybody. Always, to the wei,
///         cashHeldWad = Σ recorded cash + Σ pools + insuranceWad + interestWad.
/// @dev External library, called by delegatecall under the vault's lock. State changes come before every token call.
library CustodyLogic {
    using AccountLib for AccountLib.Account;

    /// @dev `tokenIndex` of the cash token; collaterals have their index + 1
    uint256 internal constant CASH = type(uint256).max;

    /* ──────────────────────────── deposit ─────────────────────────── */

    /// @notice See IVault.deposit. Touches the header or one collateral word only, whatever the account holds; only where there
    ///         are groups, and it did not hold this collateral, is it read.
    /// @dev Order of refusals: NotAccountOwner, UnknownToken, ZeroAmount; collateral: RiskParamsMissing, CapExceeded (a collateral
    ///      that the parameters do not name has cap 0), MixedGroups; cash: CashOutOfRange; TransferFromFailed, TransferAmountMismatch.
    function deposit(VaultStorage.State storage $, uint168 account, address token, uint256 amount) external {
        Rights.requireOwner(account);
        uint256 index = $.tokenIndex[token];
        if (index == 0) revert ICustody.UnknownToken(token);
        if (amount == 0) revert ICustody.ZeroAmount();
        if (index == CASH) {
            InterestLib.accrue($);
            int256 cashWad = AccountLib.addCash($, account, int256(_takeCash($, account, amount)));
            emit ICustody.CashDeposited(account, amount, cashWad);
        } else {
            _depositCollateral($, account, index - 1, amount);
        }
        _pull(token, amount);
    }

    /// @notice See IVault.fundInsurance.
    /// @dev Order of refusals: ZeroAmount, CashOutOfRange(0), TransferFromFailed, TransferAmountMismatch.
    function fundInsurance(VaultStorage.State storage $, uint256 amount) external {
        if (amount == 0) revert ICustody.ZeroAmount();
        // insurance ≤ cash held, which `_takeCash` keeps in range
        uint128 insuranceWad = uint128($.insuranceWad + _takeCash($, 0, amount));
        $.insuranceWad = insuranceWad;
        emit ICustody.InsuranceChanged(insuranceWad);
        _pull($.cashToken, amount);
    }

    /* ──────────────────────────── withdraw ────────────────────────── */

    /// @notice See IVault.withdraw. An amount of cash above the recorded cash first realises the account's PnL, so that nobody
    ///         takes a loan while credits of his lie in the pools; `type(uint256).max` never realises.
    /// @dev Order of refusals: NotAccountOwner, InvalidRecipient, UnknownToken, ZeroAmount; cash: InsufficientLiquidity;
    ///      collateral: InsufficientCollateral; WithdrawLimitExceeded; CashOutOfRange; those of `InitialMargin`; TransferFailed.
    function withdraw(VaultStorage.State storage $, uint168 account, address token, uint256 amount, address to)
        external
        returns (uint256 withdrawn)
    {
        Rights.requireRight($, account, Rights.WITHDRAW);
        if (to == address(0) || to == address(this)) revert ICustody.InvalidRecipient(to);
        uint256 index = $.tokenIndex[token];
        if (index == 0) revert ICustody.UnknownToken(token);
        InterestLib.accrue($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        withdrawn = index == CASH ? _withdrawCash($, a, amount, to) : _withdrawCollateral($, a, index - 1, amount, to);
        AccountLib.store($, a);
        if (a.hasObligations()) {
            uint256[] memory ids = new uint256[](1);
            ids[0] = account | MarginLogic.WITHDRAWAL;
            MarginLogic.requireInitial($, ids);
        }
        SafeTransferLib.safeTransfer(token, to, withdrawn);
    }

    /* ────────────────────────── realise PnL ───────────────────────── */

    /// @notice See IVault.realizePnl. Anyone, any account, no oracle: value only moves between quote and cash at the snapshot.
    function realizePnl(VaultStorage.State storage $, uint168 account) external returns (int256 realizedWad) {
        InterestLib.accrue($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        realizedWad = PnlLib.realizeAll($, a);
        AccountLib.store($, a);
        if (realizedWad != 0) emit ICustody.CashChanged(account, a.cashWad);
    }

    /* ──────────────────────────── shared ──────────────────────────── */

    /// @notice Cash that may leave: what is held, minus what the pools and the insurance fund own; never negative.
    function liquidity(VaultStorage.State storage $) internal view returns (uint256) {
        uint256 owned = $.insuranceWad;
        uint256 n = $.underlyingCount;
        for (uint256 u = 0; u < n; ++u) {
            owned += $.underlyings[u].pnlPoolWad;
        }
        return FixedPointMathLib.zeroFloorSub($.cashHeldWad, owned);
    }

    /* ──────────────────────────── private ─────────────────────────── */

    /// @dev Books `amount` native units of cash as held; reverts `CashOutOfRange(account)` beyond uint128. Returns WAD.
    function _takeCash(VaultStorage.State storage $, uint168 account, uint256 amount)
        private
        returns (uint256 amountWad)
    {
        amountWad = FixedPointMathLib.saturatingMul(amount, cashScale($));
        uint256 held = FixedPointMathLib.saturatingAdd($.cashHeldWad, amountWad);
        if (held > type(uint128).max) revert ICustody.CashOutOfRange(account);
        $.cashHeldWad = uint128(held);
    }

    function _depositCollateral(VaultStorage.State storage $, uint168 account, uint256 j, uint256 amount) private {
        Params p = RiskParamsBlob.load($);
        uint256 cap = j < p.collateralCount() ? p.cap(j) : 0;
        uint256 total = FixedPointMathLib.saturatingAdd($.collaterals[j].totalHeld, amount);
        if (total > cap) revert ICustody.CapExceeded(uint8(j), cap, total);
        $.collaterals[j].totalHeld = uint128(total);

        VaultStorage.AccountData storage data = $.accounts[account];
        if ((data.collateralMask >> j) & 1 == 0 && p.hasGroups()) _requireOneGroup($, p, account, j);
        uint256 shift = (j & 1) << 7;
        // the balance stays below 2^128 because the total does
        uint256 word = data.collateral[j >> 1] + (amount << shift);
        data.collateral[j >> 1] = word;
        data.collateralMask |= uint16(1 << j);
        emit ICustody.CollateralDeposited(account, uint8(j), amount, uint128(word >> shift));
    }

    /// @dev MixedGroups where collateral `j` would bring an account with obligations, as it is stored, a second group.
    function _requireOneGroup(VaultStorage.State storage $, Params p, uint168 account, uint256 j) private view {
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        if (a.hasObligations()) Groups.requireCollateral(p, a, j);
    }

    function _withdrawCash(VaultStorage.State storage $, AccountLib.Account memory a, uint256 amount, address to)
        private
        returns (uint256)
    {
        uint256 scale = cashScale($);
        if (amount == type(uint256).max) amount = a.cashWad > 0 ? uint256(a.cashWad) / scale : 0;
        if (amount == 0) revert ICustody.ZeroAmount();
        uint256 amountWad = FixedPointMathLib.saturatingMul(amount, scale);
        if (a.cashWad < 0 || amountWad > uint256(a.cashWad)) PnlLib.realizeAll($, a);
        uint256 available = liquidity($);
        if (amountWad > available) revert ICustody.InsufficientLiquidity(available, amountWad);
        WithdrawLimits.takeCash($, amountWad);
        $.cashHeldWad -= uint128(amountWad);
        a.cashWad -= int256(amountWad);
        emit ICustody.CashWithdrawn(a.id, to, amount, a.cashWad);
        return amount;
    }

    function _withdrawCollateral(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        uint256 j,
        uint256 amount,
        address to
    ) private returns (uint256) {
        uint256 balance = a.collateral[j];
        if (amount == type(uint256).max) amount = balance;
        if (amount == 0) revert ICustody.ZeroAmount();
        if (amount > balance) revert ICustody.InsufficientCollateral(uint8(j), balance, amount);
        WithdrawLimits.takeCollateral($, j, amount);
        a.setCollateral(j, balance - amount);
        $.collaterals[j].totalHeld -= uint128(amount);
        emit ICustody.CollateralWithdrawn(a.id, uint8(j), to, amount, balance - amount);
        return amount;
    }

    /// @dev Pulls exactly `amount` from the caller; a token that delivers another amount (a fee) is refused.
    function _pull(address token, uint256 amount) private {
        uint256 before = SafeTransferLib.balanceOf(token, address(this));
        SafeTransferLib.safeTransferFrom(token, msg.sender, address(this), amount);
        // a balance that falls cannot underflow here: it shows as received = 0
        uint256 received = FixedPointMathLib.zeroFloorSub(SafeTransferLib.balanceOf(token, address(this)), before);
        if (received != amount) revert ICustody.TransferAmountMismatch(token, amount, received);
    }

    /// @notice WAD per native unit of cash
    function cashScale(VaultStorage.State storage $) internal view returns (uint256) {
        return 10 ** (18 - $.cashDecimals);
    }
}
