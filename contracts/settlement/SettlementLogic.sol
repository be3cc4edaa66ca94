// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICustody} from "../../interfaces/ICustody.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {ISettlement} from "../../interfaces/ISettlement.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {FeedReader} from "../market/FeedReader.sol";
import {Action, OracleMatrix} from "../market/OracleMatrix.sol";
import {Sequencer} from "../market/Sequencer.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {SettlementLib} from "./SettlementLib.sol";
import {WindDown} from "./WindDown.sol";

/// @title Settlement: observing a price, settling accounts, starting the wind-down
/// @notice Twin: risk/exact/settlement/settlement_logic.py. Rules and bounds: docs/settlement.md.
/// @dev External library, called by delegatecall under the vault's lock; linked into LiquidationLogic and its like as well, which
///      settle an account before they look at it.
library SettlementLogic {
    using AccountLib for AccountLib.Account;

    /// @dev distinct underlyings, so at most so many perp entries are new in one settlement
    uint256 private constant UNDERLYINGS = 16;

    /// @dev What one account's settlement adds up, by underlying
    struct Sums {
        bool closing; // wind-down after its notice
        bool changed; // something was settled
        uint256 mask; // underlyings whose perp entry changes
        uint256 dead; // underlyings found without a usable price: a feed that burns its gas is read once an account
        int256[16] quote; // to add to the quote of the perp
        int256[16] perpSize; // of the perp that is closed
        int256[16] dLong; // change of the open interest of the underlying
    }

    /* ───────────────────────────── observe ────────────────────────── */

    /// @notice See IVaultExtension.observe. From the expiry on, a call that finds enough observations adds none: it fixes their
    ///         mean, whatever the feed says by then. One that completes them after the expiry fixes the mean at once.
    /// @dev Order of refusals: RiskParamsMissing, UnknownUnderlying, UnknownInstrument(future) unless the expiry is listed,
    ///      AlreadySettled, ObservationOutsideWindow; unless it only fixes: ObservationTooSoon, SequencerDown or SequencerGrace
    ///      (as far as they hold liquidations), OracleNotUsable (OracleMatrix, SETTLE).
    function observe(VaultStorage.State storage $, uint8 underlying, uint16 expiryDay) external {
        Params p = RiskParamsBlob.load($);
        FeedReader.requireKnown($, p, underlying);
        Tail t = ParamsTail.load($, p);
        uint256 id = InstrumentId.encode(underlying, InstrumentId.FUTURE, expiryDay, 0);
        // forge-lint: disable-next-line(unsafe-typecast) the future of a listed underlying: 32 bits
        if (!$.buckets[InstrumentId.bucketKey(id)].listed) revert IMarket.UnknownInstrument(uint32(id));
        VaultStorage.SettlementData memory data = $.settlements[InstrumentId.bucketKey(id)];
        if (data.settled) revert ISettlement.AlreadySettled(underlying, expiryDay);
        uint256 expiry = InstrumentId.expiry(id);
        if (block.timestamp + t.settleWindowSeconds() < expiry) {
            revert ISettlement.ObservationOutsideWindow(underlying, expiryDay, block.timestamp);
        }
        uint256 needed = WadMath.max(t.settleMinObservations(), 1);
        if (block.timestamp < expiry || data.observations < needed) {
            _add(data, t, id, _observed($, p, t, data, id));
            emit ISettlement.Observed(
                underlying, expiryDay, data.priceWad, data.observations, data.lastTime, data.weight, data.meanWad
            );
        }
        if (block.timestamp >= expiry && data.observations >= needed) {
            (data.priceWad, data.settled) = (data.meanWad, true);
            emit ISettlement.SettlementRecorded(underlying, expiryDay, data.meanWad);
        }
        $.settlements[InstrumentId.bucketKey(id)] = data;
    }

    /// @dev The live price, after the checks that an observation has to pass
    function _observed(
        VaultStorage.State storage $,
        Params p,
        Tail t,
        VaultStorage.SettlementData memory data,
        uint256 id
    ) private view returns (uint256) {
        uint256 u = InstrumentId.underlying(id);
        uint256 next = data.lastTime + _spacing(t);
        // forge-lint: disable-start(unsafe-typecast) u < 16, the day 16 bits by its encoding
        if (data.observations != 0 && block.timestamp < next) {
            revert ISettlement.ObservationTooSoon(uint8(u), uint16(InstrumentId.expiryDay(id)), next);
        }
        if (Sequencer.holdsLiquidations($, t)) Sequencer.requireLive($, t);
        (IMarket.OracleState state, uint256 priceWad,) = FeedReader.live($, p, u);
        if (!OracleMatrix.allowed(Action.SETTLE, state)) revert IMarket.OracleNotUsable(uint8(u), state);
        // forge-lint: disable-end(unsafe-typecast)
        return priceWad;
    }

    /// @dev Adds an observation. Its weight is the time since the one before, at most twice the spacing; of the first the time
    ///      since the window opened, at least 1 and at most the spacing. The mean is rounded down, so N observations end at
    ///      most N units of 1e-18 below the exact mean and never above it. Σ weights stops at 2^24 − 1.
    function _add(VaultStorage.SettlementData memory data, Tail t, uint256 id, uint256 priceWad) private view {
        uint256 spacing = _spacing(t);
        uint256 weight;
        if (data.observations == 0) {
            uint256 start = InstrumentId.expiry(id) - WadMath.min(t.settleWindowSeconds(), InstrumentId.expiry(id));
            weight = WadMath.clamp(block.timestamp - start, 1, spacing);
        } else {
            weight = WadMath.min(block.timestamp - data.lastTime, 2 * spacing);
        }
        uint256 total = data.weight + weight;
        // prices < 2^88 and the mean between them; seconds until 2106
        // forge-lint: disable-start(unsafe-typecast)
        data.meanWad = uint88((data.meanWad * uint256(data.weight) + priceWad * weight) / total);
        data.weight = uint24(WadMath.min(total, type(uint24).max));
        data.priceWad = uint88(priceWad);
        data.lastTime = uint32(block.timestamp);
        if (data.observations != type(uint16).max) ++data.observations;
        // forge-lint: disable-end(unsafe-typecast)
    }

    function _spacing(Tail t) private pure returns (uint256) {
        return WadMath.max(t.settleMinSpacingSeconds(), 1);
    }

    /* ───────────────────────────── settle ─────────────────────────── */

    /// @notice See IVaultExtension.settle. No oracle, nobody's consent and no margin check: the value of a position moves into
    ///         the quote of the perp of its underlying, rounded down, and from there into cash as far as the pool reaches.
    ///         Account by account in the order given; a second mention finds nothing.
    /// @dev Reverts SizeOutOfRange(account, perp) where a quote would not fit int128, CashOutOfRange(account) where cash does
    ///      not fit int128 or a pool uint128. A position without a price is passed over.
    function settle(VaultStorage.State storage $, uint168[] calldata accounts) external {
        InterestLib.accrue($);
        bool closing = SettlementLib.isClosing($);
        for (uint256 i = 0; i < accounts.length; ++i) {
            _settle($, accounts[i], closing);
        }
    }

    /// @notice As `settle`, of one account: what a liquidation does before it reads the account.
    /// @return changed whether there was anything to settle
    function settleOne(VaultStorage.State storage $, uint168 account) external returns (bool changed) {
        InterestLib.accrue($);
        return _settle($, account, SettlementLib.isClosing($));
    }

    function _settle(VaultStorage.State storage $, uint168 account, bool closing) private returns (bool) {
        AccountLib.Account memory a = AccountLib.load($, account, UNDERLYINGS);
        int256 cashWad = a.cashWad;
        Sums memory sums;
        sums.closing = closing;
        _takeLinear($, a, sums);
        _takeOptions($, a, sums);
        if (!sums.changed) return false;
        for (uint256 u = 0; sums.mask >> u != 0; ++u) {
            if ((sums.mask >> u) & 1 != 0) _book($, a, sums, u);
        }
        AccountLib.store($, a);
        if (a.cashWad != cashWad) emit ICustody.CashChanged(account, a.cashWad);
        return true;
    }

    /// @dev Futures leave the list (the last entry takes the place); a perp that is closed stays until `_book`.
    function _takeLinear(VaultStorage.State storage $, AccountLib.Account memory a, Sums memory sums) private {
        uint256 i = 0;
        while (i < a.linearCount) {
            (uint256 id, int256 size, int256 quote) = a.linearAt(i);
            bool perp = InstrumentId.kind(id) == InstrumentId.PERP;
            if (perp && (size == 0 || !sums.closing)) {
                ++i;
                continue;
            }
            (bool known, int256 unitWad) = _unitValue($, sums, id);
            if (!known) {
                ++i;
                continue;
            }
            if (perp) {
                sums.perpSize[InstrumentId.underlying(id)] = size;
                quote = 0;
                ++i;
            } else {
                a.removeLinear(i);
            }
            _count($, a, sums, id, size, WadMath.floorWad(size * unitWad) + quote);
        }
    }

    function _takeOptions(VaultStorage.State storage $, AccountLib.Account memory a, Sums memory sums) private {
        uint256 i = 0;
        while (i < a.optionCount) {
            (uint256 id, int256 size) = a.optionAt(i);
            (bool known, int256 unitWad) = _unitValue($, sums, id);
            if (!known) {
                ++i;
                continue;
            }
            a.removeOption(i);
            _count($, a, sums, id, size, WadMath.floorWad(size * unitWad));
        }
    }

    /// @dev What one unit of `id` is closed at: a price that the wind-down has used for it already, the settlement price of its
    ///      expiry (recorded here where the observations are enough), or after the notice the price of the wind-down.
    ///      The first comes first, so that both sides of an instrument always close at one price.
    function _unitValue(VaultStorage.State storage $, Sums memory sums, uint256 id)
        private
        returns (bool known, int256 valueWad)
    {
        bool perp = InstrumentId.kind(id) == InstrumentId.PERP;
        if (sums.closing && (perp || $.settlements[SettlementLib.WIND_DOWN | id].settled)) return _closed($, sums, id);
        if (!perp && SettlementLib.isComplete($, id)) _record($, id);
        if (SettlementLib.hasPrice($, id)) {
            uint256 priceWad = $.settlements[InstrumentId.bucketKey(id)].priceWad;
            // forge-lint: disable-next-line(unsafe-typecast) a payoff is at most a price, below 2^88
            return (true, int256(SettlementLib.payoff($, id, priceWad)));
        }
        if (sums.closing) return _closed($, sums, id);
    }

    /// @dev Fixes the mean of an expiry that is complete: whoever comes first, so that nobody can act between the last
    ///      observation and the call of `observe` that fixes it.
    function _record(VaultStorage.State storage $, uint256 id) private {
        VaultStorage.SettlementData storage data = $.settlements[InstrumentId.bucketKey(id)];
        uint88 meanWad = data.meanWad;
        (data.priceWad, data.settled) = (meanWad, true);
        // forge-lint: disable-next-line(unsafe-typecast) u < 16, the day 16 bits by its encoding
        emit ISettlement.SettlementRecorded(
            uint8(InstrumentId.underlying(id)), uint16(InstrumentId.expiryDay(id)), meanWad
        );
    }

    /// @dev As `WindDown.unitValue`, without asking a dead market again
    function _closed(VaultStorage.State storage $, Sums memory sums, uint256 id)
        private
        returns (bool known, int256 valueWad)
    {
        uint256 bit = uint256(1) << InstrumentId.underlying(id);
        if (sums.dead & bit != 0) return (false, 0);
        (known, valueWad) = WindDown.unitValue($, id);
        if (!known) sums.dead |= bit;
    }

    /// @dev Adds a closed position to the sums and takes it off the open interest of its instrument.
    function _count(
        VaultStorage.State storage $,
        AccountLib.Account memory a,
        Sums memory sums,
        uint256 id,
        int256 size,
        int256 valueWad
    ) private {
        uint256 u = InstrumentId.underlying(id);
        sums.changed = true;
        sums.mask |= 1 << u;
        sums.quote[u] += valueWad;
        int256 dLong = PositionLib.longDelta(size, 0);
        sums.dLong[u] += dLong;
        // forge-lint: disable-next-line(unsafe-typecast) id of a stored position; its size was int96
        emit ISettlement.PositionSettled(a.id, uint32(id), int96(size), valueWad);
        PositionLib.addInstrumentInterest($, id, dLong, a.id);
    }

    /// @dev The sums of underlying `u` go into the entry of its perp, which is realised: a debit fills the pool, a credit draws
    ///      what the pool holds, the rest stays a claim. Made where absent: an option or future left before, so there is room.
    function _book(VaultStorage.State storage $, AccountLib.Account memory a, Sums memory sums, uint256 u) private {
        uint256 perp = u << 28;
        PositionLib.addOpenInterest($, u, sums.dLong[u], a.id, perp);
        (, int256 size, int256 quote) = a.addLinear(perp, -sums.perpSize[u], sums.quote[u]);
        // forge-lint: disable-next-line(unsafe-typecast) addLinear checked both
        emit ICustody.PositionChanged(a.id, uint32(perp), int96(size), int128(quote));
        uint256 i = a.findLinear(perp);
        if (i < a.linearCount) PnlLib.realizeAt($, a, i);
    }

    /* ──────────────────────────── wind-down ───────────────────────── */

    /// @notice See IVaultExtension.startWindDown. Owner only (the vault checks); WindingDown where it was started already.
    function startWindDown(VaultStorage.State storage $) external {
        if ($.mode != 0) revert ISettlement.WindingDown();
        $.mode = 1;
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits
        $.windDownTime = uint40(block.timestamp);
        // forge-lint: disable-next-line(unsafe-typecast) seconds fit 40 bits
        emit ISettlement.WindDownStarted(uint40(block.timestamp));
    }
}
