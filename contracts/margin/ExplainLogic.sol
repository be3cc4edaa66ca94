// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {LibBit} from "solady/utils/LibBit.sol";
import {IMargin} from "../../interfaces/IMargin.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {MarginEngine} from "./MarginEngine.sol";
import {Portfolio} from "./Portfolio.sol";

/// @title Explains a margin: where the binding scenario loses, row by row
/// @notice Twin: risk/exact/margin/explain_logic.py. Rows: collaterals ascending, perps and futures in storage order,
///         options in storage order. Formulas: docs/margin.md §6.
library ExplainLogic {
    int256 private constant BPS = 1e4;

    struct Context {
        Params p;
        Portfolio.Work work;
        IMargin.Row[] rows;
        uint256 count; // rows filled
        uint256 binding; // scenario; type(uint256).max: nothing to attribute
        int256 weight; // w of it
        uint256 explained; // bit u: the deduction of underlying row u was attributed
        int256 sum; // of contributions
    }

    /// @notice Margin, rows and distances of `account`; reverts as the margin does.
    function explain(VaultStorage.State storage $, uint168 account)
        external
        view
        returns (IMargin.Explanation memory e)
    {
        AccountLib.Account memory a = AccountLib.load($, account, 0);
        Context memory c;
        MarginEngine.runView($, Params.wrap(0), a, e.margin, c.work);
        c.p = c.work.p;
        c.rows = new IMargin.Row[](LibBit.popCount(a.collateralMask) + a.linearCount + a.optionCount);
        c.binding = e.margin.bindingScenario;
        if (c.binding != type(uint256).max) c.weight = int256(c.p.weightBps(c.binding));

        _collaterals($, c, a);
        _linear($, c, a);
        _options(c, a);
        // What flooring every share left over goes to the last row, so that the rows sum to the scan.
        if (c.binding != type(uint256).max) {
            c.rows[c.count - 1].scanContribution += int256(e.margin.scan) - c.sum;
        }

        e.rows = c.rows;
        e.distanceToIm = e.margin.equity - int256(e.margin.im);
        e.distanceToMm = e.margin.equity - int256(e.margin.mm);
        uint256 target = e.margin.mm == 0 ? 0 : (e.margin.mm * c.p.targetBps() + uint256(BPS) - 1) / uint256(BPS);
        e.distanceToTarget = e.margin.equity - int256(target);
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _collaterals(VaultStorage.State storage $, Context memory c, AccountLib.Account memory a) private view {
        for (uint256 j; a.collateralMask >> j != 0; ++j) {
            if ((a.collateralMask >> j) & 1 == 0) continue;
            uint256 f = Portfolio.factorOf(c.work, c.p.collateralUnderlying(j));
            (uint256 value,) = MarginEngine.collateralValueDown($, c.p, j, a.collateral[j], Portfolio.price(f));
            _push(c, IMargin.RowKind.COLLATERAL, j, int256(value), _linearShare(c, f, int256(value)));
        }
    }

    function _linear(VaultStorage.State storage $, Context memory c, AccountLib.Account memory a) private view {
        for (uint256 i; i < a.linearCount; ++i) {
            (uint256 id, int256 size, int256 quote) = AccountLib.linearAt(a, i);
            if (size == 0) {
                _push(c, IMargin.RowKind.LINEAR, id, quote, 0);
                continue;
            }
            uint256 f = Portfolio.factorOf(c.work, InstrumentId.underlying(id));
            uint256 mark = MarginEngine.linearMark($, id, Portfolio.price(f), Portfolio.time(f));
            int256 value = MarginEngine.linearValueDown(size, mark);
            _push(c, IMargin.RowKind.LINEAR, id, value + quote, _linearShare(c, f, value));
        }
    }

    function _options(Context memory c, AccountLib.Account memory a) private pure {
        for (uint256 i; i < a.optionCount; ++i) {
            (uint256 id, int256 size) = AccountLib.optionAt(a, i);
            int256 share;
            if (c.binding != type(uint256).max) {
                int256 s = int256(Portfolio.cell(c.work, 0, i));
                uint256 word = Portfolio.cell(c.work, 1 + (c.binding >> 4), i);
                int256 lane = _lane(word >> ((c.binding & 15) * RiskParamsBlob.LANE_BITS));
                int256 deduction = int256(MarginEngine.ROW_DEDUCTION) + (size < 0 ? 1 - s : int256(0));
                share = _floorDiv(c.weight * (deduction - s * lane), BPS);
            }
            uint256 mark = _mark(Portfolio.cell(c.work, 2, i), size < 0);
            _push(c, IMargin.RowKind.OPTION, id, MarginEngine.linearValueDown(size, mark), share);
        }
    }

    /// @dev Share of one collateral or linear position in its underlying row, pro rata to value, with the deduction for the
    ///      first of them: ⌊w·(−|s_u|·ℓ·v + deduction·|D_u|)/(|D_u|·1e4)⌋, for D_u = 0 the deduction alone.
    ///      |D_u| < 2^110 and v < 2^133 after the exposure check, so the numerator stays within int256.
    function _linearShare(Context memory c, uint256 f, int256 value) private pure returns (int256) {
        if (c.binding == type(uint256).max) return 0;
        uint256 u = Portfolio.index(f);
        int256 deduction = (c.explained >> u) & 1 == 0 ? int256(MarginEngine.ROW_DEDUCTION) : int256(0);
        c.explained |= 1 << u;
        int256 total = Portfolio.linearValue(f);
        if (total < 0) total = -total;
        if (total == 0) return _floorDiv(c.weight * deduction, BPS);
        int256 s = total * int256(c.p.priceUnitE6(u)) / 1e6;
        int256 lane = _lane(c.p.priceLane(u, c.binding));
        return _floorDiv(c.weight * (deduction * total - s * lane * value), total * BPS);
    }

    function _push(Context memory c, IMargin.RowKind kind, uint256 id, int256 value, int256 share) private pure {
        c.rows[c.count++] = IMargin.Row(kind, uint32(id), value, share);
        c.sum += share;
    }

    /// @dev the mark of word 1, rounded down for a long, up for a short position
    function _mark(uint256 word, bool up) private pure returns (uint256) {
        uint256 exponent = word >> 249;
        return ((word >> 208) & 0x1ffffffffff) + (up && exponent != 0 ? 1 : 0) << exponent;
    }

    function _lane(uint256 raw) private pure returns (int256) {
        return int256(raw & 0x1fff) - int256(RiskParamsBlob.LANE_BIAS);
    }

    /// @dev ⌊x / d⌋ towards −∞, d > 0
    function _floorDiv(int256 x, int256 d) private pure returns (int256 q) {
        q = x / d;
        if (x < 0 && q * d != x) --q;
    }
}
