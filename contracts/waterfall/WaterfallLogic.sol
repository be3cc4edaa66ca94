// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ICashMarket} from "../../interfaces/ICashMarket.sol";
import {ICustody} from "../../interfaces/ICustody.sol";
import {ISettlement} from "../../interfaces/ISettlement.sol";
import {IWaterfall} from "../../interfaces/IWaterfall.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {InterestLib} from "../custody/InterestLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {PositionLib} from "../custody/PositionLib.sol";
import {HealthTest} from "../liquidation/HealthTest.sol";
import {Drift} from "../margin/Drift.sol";
import {InstrumentId} from "../margin/InstrumentId.sol";
import {MarginLogic} from "../margin/MarginLogic.sol";
import {ScenarioArray} from "../margin/ScenarioArray.sol";
import {Breaker} from "../market/Breaker.sol";
import {WadMath} from "../math/WadMath.sol";
import {ParamsTail, Tail} from "../params/ParamsTail.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {SettlementLib} from "../settlement/SettlementLib.sol";
import {VaultLock} from "../VaultLock.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {Bankruptcy} from "./Bankruptcy.sol";
import {Deleverage} from "./Deleverage.sol";
import {InsuranceLib} from "./InsuranceLib.sol";

/// @title Auto-deleveraging and socialised loss
/// @notice Twin: risk/exact/waterfall/waterfall_logic.py. Procedure, formulas and bounds: docs/waterfall.md.
/// @dev Neither runs inside a batch or a callback: there an account may be bankrupt because its margin check still waits, and the
///      rest of the vault would pay for what it just took out.
library WaterfallLogic {
    using AccountLib for AccountLib.Account;

    uint256 internal constant MAX_COUNTERPARTIES = 64;
    /// @dev How long after flag and grace an account counts as abandoned: nobody wants it, although the fund would pay
    uint256 internal constant ABANDONED_SECONDS = 1 hours;
    /// @dev E15: a loss never pushes the supply index below a millionth of its start, so that it can still grow
    uint256 internal constant MIN_SUPPLY_INDEX = 1e9;

    /// @param size of the bankrupt account, signed
    /// @param sizes |size| of each counterparty
    /// @param covered Σ sizes
    /// @param total what is closed: |size|, or `covered` where that is less (an abandoned account, in parts)
    /// @param deficitWad what is left of the deficit, or of the same part of it
    struct Adl {
        Params p;
        Tail t;
        uint256 instrument;
        uint256 thetaWad;
        bool isOption;
        int256 size;
        uint256 covered;
        uint256 total;
        uint256 deficitWad;
        AccountLib.Account a;
        AccountLib.Account[] others;
        uint256[] sizes;
    }

    /* ──────────────────────── auto-deleveraging ───────────────────── */

    /// @notice See IVaultExtension.autoDeleverage. Returns Σ haircuts.
    /// @dev Refusals, in this order: Reentrancy (batch, callback), SequencerDown, SequencerGrace, RiskParamsMissing,
    ///      CounterpartyOnWrongSide(account), TooManyCounterparties; per counterparty CounterpartiesNotAscending,
    ///      CounterpartyOnWrongSide; AdlShareTooSmall; SettleFirst of the account, then of each counterparty; errors of the
    ///      margin of the account, NotBankrupt, InsuranceNotExhausted, errors of the margins of the counterparties,
    ///      AdlHaircutMismatch; SizeOutOfRange and CashOutOfRange of the account, then of each counterparty.
    function autoDeleverage(
        VaultStorage.State storage $,
        uint168 account,
        uint32 instrument,
        uint168[] calldata counterparties,
        uint256 thetaWad
    ) external returns (uint256 paidWad) {
        _requireOpen($);
        Adl memory x;
        x.p = RiskParamsBlob.load($);
        x.t = ParamsTail.load($, x.p);
        (x.instrument, x.thetaWad) = (instrument, thetaWad);
        x.isOption = InstrumentId.kind(instrument) >= InstrumentId.CALL;
        InterestLib.accrue($);
        x.a = AccountLib.load($, account, 0);
        x.size = _sizeOf(x, x.a);
        if (x.size == 0) revert IWaterfall.CounterpartyOnWrongSide(account, instrument);
        _gather($, x, counterparties);
        _measure($, x);
        return _deleverage($, x);
    }

    /// @dev The deficit, and what the insurance fund pays of it
    function _measure(VaultStorage.State storage $, Adl memory x) private {
        uint256 mask = _exposure($, x.p, x.a);
        uint256 all = mask;
        for (uint256 i = 0; i < x.others.length; ++i) {
            all |= _exposure($, x.p, x.others[i]);
        }
        x.deficitWad = Bankruptcy.deficit($, x.p, x.a, Bankruptcy.poke($, x.p, x.t, all));
        uint256 size = WadMath.abs(x.size);
        if (x.total != size) x.deficitWad = WadMath.mulDivUp(x.deficitWad, x.total, size);
        uint256 insured = _insure($, x.t, x.a.id, x.deficitWad, mask);
        x.deficitWad -= insured;
        x.a.cashWad += int256(insured);
    }

    /// @dev Who closes and pays how much, and doing it
    function _deleverage(VaultStorage.State storage $, Adl memory x) private returns (uint256 paidWad) {
        uint256[] memory closed = Deleverage.shares(x.sizes, x.covered, x.total);
        uint256[] memory paid;
        (paid, paidWad) = Deleverage.haircuts(closed, _caps($, x), x.total, x.thetaWad, x.deficitWad);
        // forge-lint: disable-next-line(unsafe-typecast) set from a uint32 in autoDeleverage
        emit IWaterfall.AutoDeleveraged(x.a.id, uint32(x.instrument), x.deficitWad, paidWad, x.thetaWad);
        x.a.cashWad += int256(paidWad);
        _close($, x, closed, paid);
    }

    /// @dev Signed size of `a` in the instrument, 0 where there is none
    function _sizeOf(Adl memory x, AccountLib.Account memory a) private pure returns (int256 size) {
        if (x.isOption) {
            uint256 i = a.findOption(x.instrument);
            if (i < a.optionCount) (, size) = a.optionAt(i);
        } else {
            uint256 i = a.findLinear(x.instrument);
            if (i < a.linearCount) (, size,) = a.linearAt(i);
        }
    }

    /// @dev Loads the counterparties. They ascend, hold the other side, and together at least max(|size|, share of it). Where the
    ///      largest 64 do not hold so much the account could never be closed: once it is abandoned, any 64 will do, and close as
    ///      much of it as they hold of what would be required.
    function _gather(VaultStorage.State storage $, Adl memory x, uint168[] calldata ids) private view {
        uint256 n = ids.length;
        if (n > MAX_COUNTERPARTIES) revert IWaterfall.TooManyCounterparties(MAX_COUNTERPARTIES);
        x.others = new AccountLib.Account[](n);
        x.sizes = new uint256[](n);
        for (uint256 i = 0; i < n; ++i) {
            if (i != 0 && ids[i] <= ids[i - 1]) revert IWaterfall.CounterpartiesNotAscending(ids[i - 1], ids[i]);
            AccountLib.Account memory b = AccountLib.load($, ids[i], 0);
            int256 held = _sizeOf(x, b);
            if (held == 0 || (held > 0) == (x.size > 0)) {
                revert IWaterfall.CounterpartyOnWrongSide(ids[i], uint32(x.instrument));
            }
            x.others[i] = b;
            x.sizes[i] = WadMath.abs(held);
            x.covered += x.sizes[i];
        }
        uint256 required = WadMath.mulDivUp($.openInterest[x.instrument], x.t.adlShareBps(), 1e4);
        uint256 size = WadMath.abs(x.size);
        required = WadMath.max(required, size);
        if (x.covered < required && (n < MAX_COUNTERPARTIES || !_abandoned($, x.t, x.a.id))) {
            revert IWaterfall.AdlShareTooSmall(x.covered, required);
        }
        // in parts, those named carry no more than the rule would ask of them
        x.total = x.covered < required ? WadMath.mulDivDown(size, x.covered, required) : size;
        if (x.total == 0) revert IWaterfall.AdlShareTooSmall(x.covered, required);
    }

    /// @dev Underlyings of `a`; reverts `SettleFirst` where one of its positions has its final price, so that M would be wrong.
    function _exposure(VaultStorage.State storage $, Params p, AccountLib.Account memory a) private view returns (uint256) {
        uint256 settled = SettlementLib.holdsSettled($, a);
        // forge-lint: disable-next-line(unsafe-typecast) id of a stored position, 32 bits
        if (settled != SettlementLib.NONE) revert ISettlement.SettleFirst(a.id, uint32(settled));
        return Drift.underlyingMask(p, a);
    }

    /// @dev max(0, E_i − 1): rounding what a counterparty closes may cost it one wei of E. All 0 where nothing is left to pay.
    function _caps(VaultStorage.State storage $, Adl memory x) private returns (uint256[] memory caps) {
        caps = new uint256[](x.others.length);
        if (x.deficitWad == 0) return caps;
        for (uint256 i = 0; i < caps.length; ++i) {
            int256 equity = MarginLogic.compute($, x.others[i].id).equity;
            // forge-lint: disable-next-line(unsafe-typecast) the sign is tested in the same line
            if (equity > 0) caps[i] = uint256(equity - 1);
        }
    }

    /// @dev Closes the position and stores everybody, the account first: its debit fills the pool that the others may draw from.
    ///      What counterparty i closes is worth ⌊d_i·mark⌋ to it, d_i with the sign of its position, and the account bears the
    ///      sum with the opposite sign: exact between them, and every rounding is for the account, which owes it.
    function _close(VaultStorage.State storage $, Adl memory x, uint256[] memory closed, uint256[] memory paid) private {
        int256 mark = _mark($, x);
        int256 sign = x.size > 0 ? int256(-1) : int256(1);
        int256[] memory values = new int256[](closed.length);
        int256 sum = 0;
        for (uint256 i = 0; i < closed.length; ++i) {
            values[i] = WadMath.floorWad(sign * int256(closed[i]) * mark);
            sum += values[i];
        }
        int256 dLong = _change($, x, x.a, sign * int256(x.total), -sum);
        for (uint256 i = 0; i < closed.length; ++i) {
            AccountLib.Account memory b = x.others[i];
            int256 size = sign * int256(closed[i]);
            b.cashWad -= int256(paid[i]);
            // forge-lint: disable-next-line(unsafe-typecast) from a uint32; at most the int96 size of b, of the same sign
            emit IWaterfall.Deleveraged(b.id, uint32(x.instrument), int96(size), paid[i]);
            dLong += _change($, x, b, -size, values[i]);
        }
        PositionLib.addInstrumentInterest($, x.instrument, dLong, x.a.id);
        PositionLib.addOpenInterest($, InstrumentId.underlying(x.instrument), dLong, x.a.id, x.instrument);
    }

    /// @dev Snapshot mark: of an option the array's, on the side of the account, whose margin was just computed
    function _mark(VaultStorage.State storage $, Adl memory x) private view returns (int256) {
        if (!x.isOption) return PnlLib.linearMark($, x.instrument);
        uint256 epoch = $.underlyings[InstrumentId.underlying(x.instrument)].epoch;
        uint256 word = ScenarioArray.read(x.instrument, epoch)[1];
        (uint256 mantissa, uint256 exponent) = ((word >> 208) & 0x1ffffffffff, word >> 249);
        if (x.size < 0 && exponent != 0) ++mantissa;
        return int256(mantissa << exponent);
    }

    /// @dev Books one side of the close and stores the account: the value goes into the quote of a perp or future, into cash for
    ///      an option. Returns the change of the long side.
    function _change(
        VaultStorage.State storage $,
        Adl memory x,
        AccountLib.Account memory a,
        int256 dSize,
        int256 value
    ) private returns (int256 dLong) {
        if (x.isOption) {
            a.cashWad += value;
            dLong = PositionLib.changeOption(a, x.instrument, dSize);
        } else {
            dLong = PositionLib.changeLinear($, a, x.instrument, dSize, value);
        }
        AccountLib.store($, a);
        emit ICustody.CashChanged(a.id, a.cashWad);
    }

    /* ───────────────────────── socialised loss ────────────────────── */

    /// @notice See IVaultExtension.socialise. Returns what the lenders lost.
    /// @dev Refusals, in this order: Reentrancy (batch, callback), SequencerDown, SequencerGrace, RiskParamsMissing,
    ///      SliceMissing, CashOutOfRange, PositionsOpen, errors of the margin, NotBankrupt, InsuranceNotExhausted (only with
    ///      collateral left), NoLenders.
    function socialise(VaultStorage.State storage $, uint168 account) external returns (uint256 lossWad) {
        _requireOpen($);
        Params p = RiskParamsBlob.load($);
        Tail t = ParamsTail.load($, p);
        InterestLib.accrue($);
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        PnlLib.realizeAll($, a);
        if (a.positionCount() != 0) revert IWaterfall.PositionsOpen(account);
        uint256 mask = Drift.underlyingMask(p, a);
        uint256 deficitWad = Bankruptcy.deficit($, p, a, Bankruptcy.poke($, p, t, mask));
        uint256 paidWad =
            mask == 0 ? _pay($, t, account, deficitWad, 0) : _insure($, t, account, deficitWad, mask);
        lossWad = _takeFromLenders($, account, deficitWad - paidWad);
        if (paidWad + lossWad == 0) revert IWaterfall.NoLenders(deficitWad);
        a.cashWad += int256(paidWad + lossWad);
        AccountLib.store($, a);
        emit ICustody.CashChanged(account, a.cashWad);
    }

    /// @dev Lowers the supply index so that all positive cash together loses `lossWad` (rounded up, by less than one unit of the
    ///      index), or what can be taken without pushing the index below its floor. Returns what was taken; the rounding stays
    ///      in `interestWad`, with the vault.
    function _takeFromLenders(VaultStorage.State storage $, uint168 account, uint256 lossWad)
        private
        returns (uint256 takenWad)
    {
        (uint256 supply, uint256 index) = ($.supplyWad, $.supplyIndexE15);
        if (index <= MIN_SUPPLY_INDEX) return 0;
        takenWad = WadMath.min(lossWad, WadMath.mulDivDown(supply, index - MIN_SUPPLY_INDEX, index));
        if (takenWad == 0) return 0;
        uint256 next = WadMath.mulDivDown(index, supply - takenWad, supply);
        // forge-lint: disable-start(unsafe-typecast) both only fall; taken <= the debt of an account without positions, an int128
        $.supplyIndexE15 = uint64(next);
        $.supplyWad = uint128(WadMath.mulDivDown(supply, next, index));
        // a debt fits int128
        $.interestWad -= int128(int256(takenWad));
        emit ICashMarket.InterestAccrued(
            $.interestTime, uint64(next), $.borrowIndexE15, $.supplyWad, $.borrowWad, $.interestWad, $.insuranceWad
        );
        emit IWaterfall.LossSocialised(account, takenWad, uint64(next));
        // forge-lint: disable-end(unsafe-typecast)
    }

    /* ───────────────────────────── shared ─────────────────────────── */

    /// @dev Not inside a batch or callback, nor while an outage of the L2 sequencer holds liquidations.
    function _requireOpen(VaultStorage.State storage $) private view {
        if (VaultLock.isDeferring($)) revert ICustody.Reentrancy();
        HealthTest.requireSequencer($);
    }

    /// @dev As `_pay`. A deficit that the fund can pay whole belongs to a liquidator, until the account is abandoned: flagged,
    ///      the grace over, and an hour more.
    function _insure(VaultStorage.State storage $, Tail t, uint168 account, uint256 deficitWad, uint256 mask)
        private
        returns (uint256)
    {
        uint256 availableWad = InsuranceLib.available($, t);
        if (availableWad >= deficitWad && !_abandoned($, t, account)) {
            revert IWaterfall.InsuranceNotExhausted(availableWad);
        }
        return _pay($, t, account, deficitWad, mask);
    }

    /// @dev Draws on the insurance fund, and trips the breakers of the underlyings in `mask` where it paid a thousandth of itself.
    function _pay(VaultStorage.State storage $, Tail t, uint168 account, uint256 wantedWad, uint256 mask)
        private
        returns (uint256 paidWad)
    {
        paidWad = InsuranceLib.pay($, t, account, wantedWad);
        // a draw of dust must not close markets: at least a thousandth of what the fund held
        if (paidWad == 0 || paidWad * 1000 < paidWad + $.insuranceWad) return paidWad;
        uint256 seconds_ = t.breakerSeconds();
        for (uint256 u = 0; mask >> u != 0; ++u) {
            if ((mask >> u) & 1 != 0) Breaker.trip($, u, seconds_);
        }
    }

    function _abandoned(VaultStorage.State storage $, Tail t, uint168 account) private view returns (bool) {
        uint256 flaggedAt = $.accounts[account].flaggedAt;
        return flaggedAt != 0 && block.timestamp >= flaggedAt + t.graceSeconds() + ABANDONED_SECONDS;
    }
}
