// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IMargin} from "../../interfaces/IMargin.sol";
import {IMarket} from "../../interfaces/IMarket.sol";
import {AccountLib} from "../accounts/AccountLib.sol";
import {PnlLib} from "../custody/PnlLib.sol";
import {WadMath} from "../math/WadMath.sol";
import {Params, RiskParamsBlob} from "../params/RiskParamsBlob.sol";
import {VaultStorage} from "../VaultStorage.sol";
import {Charges} from "./Charges.sol";
import {InstrumentId} from "./InstrumentId.sol";
import {OptionRows} from "./OptionRows.sol";
import {Portfolio} from "./Portfolio.sol";
import {ScenarioArray} from "./ScenarioArray.sol";
import {ScenarioScan} from "./ScenarioScan.sol";
import {StableCharge} from "./StableCharge.sol";

/// @title Portfolio margin of an account
/// @notice Twin: risk/exact/margin/margin_engine.py. Formulas and roundings: docs/margin.md §5. Equity is rounded down, every
///         requirement up.
/// @dev Reads, all cold: one slot an underlying, one code blob of parameters, two words an option (plus half a slot of the
///      account), one slot a perp or future and one more for the forward of a future. Errors, in this order:
///      `RiskParamsMissing` (not where the account holds cash only), `MulDivOverflow` of a collateral value, `SliceMissing`
///      of a future, the errors of ArrayLogic, `ExposureOverflow(account)`, `MulDivOverflow` of the health factor.
library MarginEngine {
    uint256 private constant WAD = 1e18;
    uint256 private constant BPS = 1e4;
    /// @dev deduction of a row, in lane steps·wei: docs/margin.md §8
    uint256 internal constant ROW_DEDUCTION = 8192;

    /* ─────────────────────────── external ─────────────────────────── */

    /// @notice Margin of `a`. `p` may be `Params.wrap(0)`: then the parameters are read where they are needed.
    /// @param persist cache the scenario arrays that were missing
    function compute(VaultStorage.State storage $, Params p, AccountLib.Account memory a, bool persist)
        internal
        returns (IMargin.Margin memory m)
    {
        Portfolio.Work memory w;
        _run($, p, a, persist, m, w);
    }

    /// @notice As `compute`, without any change of state.
    function computeView(VaultStorage.State storage $, Params p, AccountLib.Account memory a)
        internal
        view
        returns (IMargin.Margin memory m)
    {
        Portfolio.Work memory w;
        runView($, p, a, m, w);
    }

    /// @notice As `computeView`, and leaves the rows and sums in `w` for the explanation.
    function runView(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        IMargin.Margin memory m,
        Portfolio.Work memory w
    ) internal view {
        // One implementation for both: with persist = false nothing is written and nothing is emitted.
        function(
            VaultStorage.State storage, Params, AccountLib.Account memory, bool, IMargin.Margin memory, Portfolio.Work memory
        ) internal run = _run;
        function(
            VaultStorage.State storage, Params, AccountLib.Account memory, bool, IMargin.Margin memory, Portfolio.Work memory
        ) internal view runAsView;
        assembly ("memory-safe") {
            runAsView := run
        }
        runAsView($, p, a, false, m, w);
    }

    /* ─────────────────────────── positions ────────────────────────── */

    /// @notice Mark of a perp or future: the snapshot price, for a future not yet expired ⌊S·R/1e18⌋.
    /// @dev Reverts `SliceMissing(u, expiryDay)` where the expiry was never reported.
    /// @param price S, @param time of the snapshot
    function linearMark(VaultStorage.State storage $, uint256 id, uint256 price, uint256 time)
        internal
        view
        returns (uint256)
    {
        if (InstrumentId.kind(id) == InstrumentId.PERP || InstrumentId.expiry(id) <= time) return price;
        uint256 ratio = $.buckets[InstrumentId.bucketKey(id)].forwardRatioWad;
        if (ratio == 0) {
            revert IMarket.SliceMissing(uint8(InstrumentId.underlying(id)), uint16(InstrumentId.expiryDay(id)));
        }
        unchecked {
            return price * ratio / WAD;
        }
    }

    /// @notice ⌊size·mark/1e18⌋, towards −∞; |size| < 2^95, mark < 2^93
    function linearValueDown(int256 size, uint256 mark) internal pure returns (int256) {
        unchecked {
            return _floorWad(size * int256(mark));
        }
    }

    /// @notice Value of `amount` native units of collateral `j`, rounded down, and the units of the underlying it stands for
    /// @dev Reverts `MulDivOverflow` where it does not fit.
    function collateralValueDown(VaultStorage.State storage $, Params p, uint256 j, uint256 amount, uint256 price)
        internal
        view
        returns (uint256 value, uint256 units)
    {
        unchecked {
            units = amount * 10 ** (18 - p.collateralDecimals(j)); // < 2^128·1e18
        }
        if (p.hasRate(j)) units = WadMath.mulWadDown(units, $.collaterals[j].rateWad);
        value = WadMath.mulWadDown(units, price);
    }

    /* ─────────────────────────── private ──────────────────────────── */

    function _run(
        VaultStorage.State storage $,
        Params p,
        AccountLib.Account memory a,
        bool persist,
        IMargin.Margin memory m,
        Portfolio.Work memory w
    ) private {
        m.bindingScenario = type(uint256).max;
        m.hasObligations = AccountLib.hasObligations(a);
        int256 equity = a.cashWad;
        uint256 haircuts;
        if (a.collateralMask | a.linearCount | a.optionCount != 0) {
            Portfolio.open(w, RiskParamsBlob.loadIfNeeded($, p), a.linearCount, a.optionCount);
            // |equity| < 2^252: 16 collateral values < 2^247.3 each, 128 positions < 2^190
            unchecked {
                if (a.collateralMask != 0) {
                    uint256 value;
                    (value, haircuts) = _addCollateral($, w, a);
                    equity += int256(value);
                }
                if (a.linearCount != 0) equity += _addLinear($, w, a);
                if (a.optionCount != 0) {
                    OptionRows.add($, w, a.options, a.optionCount, persist);
                    equity += _floorWad(w.optionValue);
                }
            }
        }
        m.markEquity = equity;
        unchecked {
            equity -= int256(haircuts);
        }
        m.equity = equity;
        if (m.hasObligations) {
            if (w.firstFactor != 0) {
                _charge(w, a.id, m);
                if (w.apart != 0) m.im += StableCharge.total($, w, a);
            }
            m.healthFactor = _healthFactor(equity, m.mm);
        } else {
            m.healthFactor = type(int256).max;
        }
    }

    /// @dev Adds the value of every collateral to its underlying; returns Σ values and Σ haircuts, each rounded up.
    function _addCollateral(VaultStorage.State storage $, Portfolio.Work memory w, AccountLib.Account memory a)
        private
        view
        returns (uint256 total, uint256 haircuts)
    {
        Params p = w.p;
        unchecked {
            for (uint256 j = 0; a.collateralMask >> j != 0; ++j) {
                if ((a.collateralMask >> j) & 1 == 0) continue;
                uint256 f = Portfolio.factor($, w, p.collateralUnderlying(j));
                (uint256 value,) = collateralValueDown($, p, j, a.collateral[j], Portfolio.price(f));
                haircuts += WadMath.mulDivUp(value, p.haircutBps(j), BPS);
                total += value;
                Portfolio.addLinearValue(f, int256(value), 0);
            }
        }
    }

    /// @dev Adds the value of every perp and future to its underlying and its expiry; returns Σ (value + quote).
    function _addLinear(VaultStorage.State storage $, Portfolio.Work memory w, AccountLib.Account memory a)
        private
        view
        returns (int256 total)
    {
        unchecked {
            for (uint256 i = 0; i < a.linearCount; ++i) {
                (uint256 id, int256 size, int256 quote) = AccountLib.linearAt(a, i);
                total += quote;
                if (size == 0) continue; // an undrawn claim
                uint256 f = Portfolio.factor($, w, InstrumentId.underlying(id));
                uint256 mark = linearMark($, id, Portfolio.price(f), Portfolio.time(f));
                int256 value = linearValueDown(size, mark);
                Portfolio.addLinearValue(f, value, WadMath.abs(size));
                if (InstrumentId.kind(id) == InstrumentId.FUTURE) {
                    Portfolio.addToBucket(w, id, size * int256(ScenarioArray.DELTA_ONE));
                } else {
                    // a perp is worth index minus the funding since the start; its price risk is the index alone
                    int256 funding = Portfolio.fundingE12(f);
                    if (funding != 0) value = _floorWad(size * (int256(mark) - funding * PnlLib.FUNDING_UNIT));
                }
                total += value;
            }
        }
    }

    /// @dev Scan, Floor, Basis, Liq, MM and IM, each rounded up. Reverts `ExposureOverflow(account)` where Σ|s| ≥ 2^90.
    ///      Ranges: Floor, Basis < 2^135; Liq < 2^236; φ < 2^16.
    function _charge(Portfolio.Work memory w, uint168 account, IMargin.Margin memory m) private pure {
        unchecked {
            for (uint256 f = w.firstFactor; f != 0; f = Portfolio.nextFactor(f)) {
                _chargeUnderlying(w, f, m);
            }
            if (w.sumAbs >= ScenarioScan.MAX_EXPOSURE) revert IMargin.ExposureOverflow(account);
            (uint256 item, uint256 end) = Portfolio.bucketRange(w);
            uint256 basis;
            for (; item != end; item += 0x20) {
                basis += _basis(w, item);
            }
            (uint256 worst, uint256 binding) = ScenarioScan.scan(w);
            uint256 base = WadMath.max(worst, m.floorCharge) + basis;
            (m.scan, m.bindingScenario, m.basis) = (worst, binding, basis);
            m.mm = base + m.liq;
            m.im = ((base + m.liqIm) * w.p.imFactorBps() + (BPS - 1)) / BPS;
        }
    }

    /// @dev Row of the scan, short-option floor and size charges of one underlying
    function _chargeUnderlying(Portfolio.Work memory w, uint256 f, IMargin.Margin memory m) private pure {
        uint256 u = Portfolio.index(f);
        if (Portfolio.hasLinear(f)) {
            int256 value = Portfolio.linearValue(f);
            unchecked {
                // ⌊|value|·unit/1e6⌋ in two parts, because |value| < 2^252; unit < 1e6
                uint256 size = WadMath.abs(value);
                uint256 unit = w.p.priceUnitE6(u);
                int256 s = int256(size / 1e6 * unit + size % 1e6 * unit / 1e6);
                Portfolio.addRow(w, value < 0 ? -s : s, w.p.priceLanes(u), ROW_DEDUCTION);
            }
        }
        uint256 units = Portfolio.units(f);
        if (units == 0) return;
        uint256 price = Portfolio.price(f);
        uint256 short = Portfolio.shortUnits(f);
        unchecked {
            if (short != 0) m.floorCharge += Charges.floorCharge(short, price, w.p.somBps(u));
            uint256 depth = w.p.depthWad(u);
            uint256 openInterest = Portfolio.openInterest(f);
            if (units > depth || openInterest > depth) {
                uint256 bps = w.p.liqBps(u);
                m.liq += Charges.sizeCharge(units, price, units, depth, bps);
                m.liqIm += Charges.sizeCharge(units, price, openInterest, depth, bps);
            }
        }
    }

    /// @dev Basis charge of the expiry listed at `item`
    function _basis(Portfolio.Work memory w, uint256 item) private pure returns (uint256) {
        (uint256 u, uint256 day, int256 exposure) = Portfolio.bucket(item);
        uint256 f = Portfolio.factorOf(w, u);
        uint256 time = Portfolio.time(f);
        unchecked {
            uint256 expiry = day * 1 days + InstrumentId.EXPIRY_TIME_OF_DAY;
            uint256 tenor = expiry > time ? expiry - time : 0;
            uint256 rate = Charges.basisRate(w.p.basisBaseBps(u), w.p.basisSlopeBps(u), tenor);
            return Charges.basisCharge(exposure, Portfolio.price(f), rate);
        }
    }

    /// @dev ⌊x/1e18⌋ towards −∞
    function _floorWad(int256 x) private pure returns (int256) {
        unchecked {
            return (x - (x < 0 ? int256(WAD) - 1 : int256(0))) / int256(WAD);
        }
    }

    /// @dev ⌊E·1e18/MM⌋; MM = 0: max where E ≥ 0, min otherwise. Reverts `MulDivOverflow` where it does not fit.
    function _healthFactor(int256 equity, uint256 mm) private pure returns (int256) {
        if (mm == 0) return equity >= 0 ? type(int256).max : type(int256).min;
        unchecked {
            // what fits into 256 bits, divided towards −∞
            if (equity == int192(equity)) {
                int256 scaled = equity * int256(WAD);
                int256 quotient = scaled / int256(mm);
                return scaled < quotient * int256(mm) ? quotient - 1 : quotient;
            }
        }
        return WadMath.mulDivFloor(equity, WAD, mm);
    }
}
