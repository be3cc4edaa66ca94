// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title Withdrawal rate limits: one leaky bucket an asset
/// @notice Twin: risk/exact/custody/withdraw_limits.py. A bucket holds what left lately and empties at cap/period a second, rounded
///         down, so no window of one period ever sees more than twice the cap leave, and a steady stream at most the cap.
library WithdrawLimits {
    /// @notice Counts `amountWad` of cash; WithdrawLimitExceeded(cash token, available, requested).
    function takeCash(VaultStorage.State storage $, uint256 amountWad) internal {
        if ($.riskParams == address(0)) return;
        Params p = RiskParamsBlob.load($);
        Tail t = ParamsTail.load($, p);
        uint256 cap = t.cashWithdrawCapWad();
        if (cap == 0 || t.withdrawPeriodSeconds() == 0) return;
        uint256 used = _used($.cashWithdrawnWad, $.cashWithdrawnTime, cap, t.withdrawPeriodSeconds());
        if (amountWad > cap - used) revert ICustody.WithdrawLimitExceeded($.cashToken, cap - used, amountWad);
        // forge-lint: disable-start(unsafe-typecast) used + amount <= cap, which has 112 bits; seconds fit 40 bits
        $.cashWithdrawnWad = uint112(used + amountWad);
        $.cashWithdrawnTime = uint40(block.timestamp);
        // forge-lint: disable-end(unsafe-typecast)
        emit ICustody.WithdrawalCounted($.cashToken, used + amountWad);
    }

    /// @notice Counts `amount` native units of collateral `j`; WithdrawLimitExceeded(token, available, requested).
    function takeCollateral(VaultStorage.State storage $, uint256 j, uint256 amount) internal {
        if ($.riskParams == address(0)) return;
        Params p = RiskParamsBlob.load($);
        if (j >= p.collateralCount()) return;
        Tail t = ParamsTail.load($, p);
        uint256 cap = t.withdrawCap(j);
        if (cap == 0 || t.withdrawPeriodSeconds() == 0) return;
        VaultStorage.CollateralData storage data = $.collaterals[j];
        uint256 used = _used(data.withdrawn, data.withdrawnTime, cap, t.withdrawPeriodSeconds());
        if (amount > cap - used) revert ICustody.WithdrawLimitExceeded(data.token, cap - used, amount);
        // forge-lint: disable-start(unsafe-typecast) used + amount <= cap, which has 128 bits; seconds fit 32 bits until 2106
        data.withdrawn = uint128(used + amount);
        data.withdrawnTime = uint32(block.timestamp);
        // forge-lint: disable-end(unsafe-typecast)
        emit ICustody.WithdrawalCounted(data.token, used + amount);
    }

    /// @dev max(0, withdrawn − ⌊cap·elapsed/period⌋), at most the cap (which may have been lowered)
    function _used(uint256 withdrawn, uint256 time, uint256 cap, uint256 period) private view returns (uint256) {
        uint256 gone = WadMath.mulDivDown(cap, block.timestamp - time, period);
        return withdrawn > gone ? WadMath.min(withdrawn - gone, cap) : 0;
    }
}
