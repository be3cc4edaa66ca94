// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AccountLib} from "../accounts/AccountLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";

/// @title What can be settled now
/// @notice Twin: risk/exact/settlement/settlement_lib.py. Asked by everything that must not go on with a position whose price
///         is final: initial margin refuses such an account (`SettleFirst`), a liquidation settles it first
///         (SettlementLogic.settleOne).
library SettlementLib {
    /// @dev `holdsSettled`: nothing to settle
    uint256 internal constant NONE = type(uint256).max;
    /// @dev bit of a key of `settlements`: the price of one instrument in the wind-down
    uint256 internal constant WIND_DOWN = 1 << 32;

    /// @notice The first position of `a` with size ≠ 0 (perps and futures, then options, in storage order) that `settle` would
    ///         close: its expiry has a settlement price, or is over with enough observations for one (`isComplete`), or the wind-down
    ///         is past its notice; `NONE` where there is none.
    /// @dev An undrawn claim (size 0) is not asked: its worth is in its quote and no price moves it. After the notice the
    ///      position is named also where its underlying has no usable price yet and `settle` passes it over.
    function holdsSettled(VaultStorage.State storage $, AccountLib.Account memory a) internal view returns (uint256) {
        bool all = isClosing($);
        // by hand, as every check of initial margin comes here: what expires after `today` costs no slot
        uint256 today = _lastExpiryDay();
        uint256 open = NONE; // bucket that was found without a price last; it is not read again
        uint256 needed = 0; // observations that make a price; 0: not read yet
        bool final_;
        unchecked {
            for (uint256 i = 0; i < a.linearCount; ++i) {
                uint256 entry = a.linear[i];
                // id(32) | size(96) | quote(128)
                if ((entry << 32) >> 160 == 0) continue;
                uint256 id = entry >> 224;
                if (all) return id;
                if (InstrumentId.kind(id) == InstrumentId.PERP || InstrumentId.expiryDay(id) > today) continue;
                uint256 key = InstrumentId.bucketKey(id);
                if (key == open) continue;
                (final_, needed) = _isFinal($, key, needed);
                if (final_) return id;
                open = key;
            }
            for (uint256 i = 0; i < a.optionCount; ++i) {
                uint256 id = a.options[i] >> 96;
                if (all) return id;
                if (InstrumentId.expiryDay(id) > today) continue;
                uint256 key = InstrumentId.bucketKey(id);
                if (key == open) continue;
                (final_, needed) = _isFinal($, key, needed);
                if (final_) return id;
                open = key;
            }
        }
        return NONE;
    }

    /// @dev Unix day of the last 08:00 UTC: what expires on it or before is over
    function _lastExpiryDay() private view returns (uint256) {
        return (block.timestamp - InstrumentId.EXPIRY_TIME_OF_DAY) / 1 days;
    }

    /// @dev Of the bucket `key` of an expiry that is over: whether its price is recorded, or its observations are enough for it.
    ///      `needed` is read where it is asked for first and handed on.
    function _isFinal(VaultStorage.State storage $, uint256 key, uint256 needed) private view returns (bool, uint256) {
        VaultStorage.SettlementData storage data = $.settlements[key];
        if (data.settled) return (true, needed);
        uint256 observations = data.observations;
        if (observations == 0) return (false, needed);
        if (needed == 0) needed = WadMath.max(ParamsTail.load($, RiskParamsBlob.load($)).settleMinObservations(), 1);
        return (observations >= needed, needed);
    }

    /// @notice Whether the expiry of the future or option `id` is over without a recorded price, but with enough observations:
    ///         its price is their mean, and the next call of anybody that needs it records it.
    function isComplete(VaultStorage.State storage $, uint256 id) internal view returns (bool complete) {
        if (InstrumentId.expiry(id) > block.timestamp) return false;
        uint256 key = InstrumentId.bucketKey(id);
        if ($.settlements[key].settled) return false;
        (complete,) = _isFinal($, key, 0);
    }

    /// @notice Whether the expiry of the future or option `id` has its settlement price; no slot is read before the expiry.
    function hasPrice(VaultStorage.State storage $, uint256 id) internal view returns (bool) {
        return InstrumentId.expiry(id) <= block.timestamp && $.settlements[InstrumentId.bucketKey(id)].settled;
    }

    /// @notice Whether the wind-down is past its notice, so that every position can be closed
    function isClosing(VaultStorage.State storage $) internal view returns (bool) {
        // without parameters nobody ever held a position
        if ($.mode == 0 || $.riskParams == address(0)) return false;
        Params p = RiskParamsBlob.load($);
        return block.timestamp >= $.windDownTime + ParamsTail.load($, p).windDownNoticeSeconds();
    }

    /// @notice What one unit of the future or option `id` is worth at the settlement price of its expiry: P, max(0, P − K) or
    ///         max(0, K − P); exact
    function payoff(VaultStorage.State storage $, uint256 id, uint256 priceWad) internal view returns (uint256) {
        uint256 kind = InstrumentId.kind(id);
        if (kind == InstrumentId.FUTURE) return priceWad;
        uint256 strike = $.strikes[InstrumentId.strikeKey(id)];
        if (kind == InstrumentId.CALL) return priceWad > strike ? priceWad - strike : 0;
        return strike > priceWad ? strike - priceWad : 0;
    }

    /* ────────────────────────────── gap ───────────────────────────── */

    /// @notice What the settlement of expiries whose observation has begun can take from `a` at an unchanged index, beyond what
    ///         its mark says: P will lie between the mean so far and S. Σ over futures and options of such expiries
    ///         ⌈|size|·width/1e18⌉, width = max − min of S, that mean and, of a future, its mark; rounded up, against the
    ///         account.
    /// @dev Begun: not settled, an observation, and the last one not before the window of the present parameters. An expiry
    ///      further away than the window costs no slot. Reverts SliceMissing where a future has no mark (MarginEngine before).
    function gap(VaultStorage.State storage $, Tail t, AccountLib.Account memory a) internal view returns (uint256 sum) {
        uint256 window = t.settleWindowSeconds();
        // as a rule no expiry is near, and nothing else is looked at
        if (!AccountLib.anyExpiresBy(a, block.timestamp + window)) return 0;
        uint256[2] memory last = [NONE, 0]; // bucket that was asked last, and its mean
        for (uint256 i = 0; i < a.linearCount; ++i) {
            (uint256 id, int256 size,) = AccountLib.linearAt(a, i);
            if (size == 0 || InstrumentId.kind(id) == InstrumentId.PERP) continue;
            uint256 mean = _begun($, id, window, last);
            // forge-lint: disable-next-line(unsafe-typecast) the mark of a future is not negative
            if (mean != 0) sum += _width($, id, size, mean, uint256(PnlLib.linearMark($, id)));
        }
        for (uint256 i = 0; i < a.optionCount; ++i) {
            (uint256 id, int256 size) = AccountLib.optionAt(a, i);
            uint256 mean = _begun($, id, window, last);
            if (mean != 0) sum += _width($, id, size, mean, mean);
        }
    }

    /// @dev Mean so far where the observation of the expiry of `id` has begun and is not settled, otherwise 0; prices are > 0
    function _begun(VaultStorage.State storage $, uint256 id, uint256 window, uint256[2] memory last)
        private
        view
        returns (uint256)
    {
        uint256 expiry = InstrumentId.expiry(id);
        if (block.timestamp + window < expiry) return 0;
        uint256 key = InstrumentId.bucketKey(id);
        if (key == last[0]) return last[1];
        VaultStorage.SettlementData memory data = $.settlements[key];
        bool begun = data.observations != 0 && !data.settled && data.lastTime + window >= expiry;
        (last[0], last[1]) = (key, begun ? data.meanWad : 0);
        return last[1];
    }

    /// @dev ⌈|size|·(max − min of S, x, y)/1e18⌉
    function _width(VaultStorage.State storage $, uint256 id, int256 size, uint256 x, uint256 y)
        private
        view
        returns (uint256)
    {
        uint256 s = $.underlyings[InstrumentId.underlying(id)].priceWad;
        uint256 width = WadMath.max(s, WadMath.max(x, y)) - WadMath.min(s, WadMath.min(x, y));
        return WadMath.mulWadUp(WadMath.abs(size), width);
    }
}
