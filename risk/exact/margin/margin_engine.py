"""Portfolio margin of an account.  Twin: ``contracts/margin/MarginEngine.sol``.

Formulas and roundings: docs/margin.md §5.  Equity is rounded down, every requirement up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from risk.exact.accounts.account_lib import collateral_mask, has_obligations
from risk.exact.custody.pnl_lib import FUNDING_UNIT
from risk.exact.errors import ModelRevert
from risk.exact.margin import (
    charges,
    instrument_id,
    option_rows,
    portfolio,
    scenario_scan,
    stable_charge,
)
from risk.exact.margin.option_rows import ROW_DEDUCTION
from risk.exact.margin.portfolio import Factor, Row, Work
from risk.exact.margin.scenario_array import DELTA_ONE
from risk.exact.math.wad_math import (
    INT256_MAX,
    INT256_MIN,
    mul_div_down,
    mul_div_floor,
    mul_div_up,
    mul_wad_down,
)
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State

WAD: Final = 10**18
BPS: Final = 10**4


@dataclass(frozen=True)
class Margin:
    """Fields as in ``IMargin.Margin``."""

    mark_equity: int
    equity: int
    scan: int
    floor_charge: int
    basis: int
    liq: int
    liq_im: int
    mm: int
    im: int
    health_factor: int
    has_obligations: bool
    binding_scenario: int


def compute(state: State, account_id: int, account: Account) -> Margin:
    """Margin of ``account``.

    In this order: ``RiskParamsMissing`` (not where the account holds cash only), ``MulDivOverflow``
    of a collateral value, ``SliceMissing`` of a future, the errors of ``array_logic``,
    ``ExposureOverflow(account)``, ``MulDivOverflow`` of the health factor.
    """
    return run(state, account_id, account)[0]


def run(state: State, account_id: int, account: Account) -> tuple[Margin, Work | None]:
    """As ``compute``, and the rows and sums for the explanation (None where the account holds cash
    only).
    """
    obliged = has_obligations(account)
    mark_equity, haircuts = account.cash_wad, 0
    scan, binding, floor, basis, liq, liq_im = 0, scenario_scan.NO_SCENARIO, 0, 0, 0, 0
    mm = im = 0
    w = None
    if collateral_mask(account) or account.linear or account.options:
        if state.params is None:
            raise ModelRevert("RiskParamsMissing")
        w = Work(state.params)
        value, haircuts = _add_collateral(state, w, account)
        mark_equity += value + _add_linear(state, w, account)
        option_rows.add(state, w, account.options)
        mark_equity += w.option_value // WAD
        if obliged:
            for f in w.factors.values():
                add_underlying_row(w, f)
            if sum(abs(row.s) for row in w.rows) >= scenario_scan.MAX_EXPOSURE:
                raise ModelRevert("ExposureOverflow", (account_id,))
            scan, binding = scenario_scan.scan(w.rows, w.params.weights_bps)
            floor, liq, liq_im = _unit_charges(w)
            basis = sum(_basis(w, key, exposure) for key, exposure in w.buckets.items())
            base = max(scan, floor) + basis
            mm = base + liq
            im = -(-(base + liq_im) * w.params.im_factor_bps // BPS)
            im += stable_charge.total(state, w, account)
    equity = mark_equity - haircuts
    margin = Margin(
        mark_equity=mark_equity,
        equity=equity,
        scan=scan,
        floor_charge=floor,
        basis=basis,
        liq=liq,
        liq_im=liq_im,
        mm=mm,
        im=im,
        health_factor=_health_factor(equity, mm, obliged),
        has_obligations=obliged,
        binding_scenario=binding,
    )
    return margin, w


def linear_mark(state: State, instrument: int, price: int, time: int) -> int:
    """Mark of a perp or future: S, for a future not yet expired ⌊S·R/1e18⌋.  ``SliceMissing(u,
    day)``.
    """
    if (
        instrument_id.kind(instrument) == instrument_id.PERP
        or instrument_id.expiry(instrument) <= time
    ):
        return price
    bucket = state.buckets.get(instrument_id.bucket_key(instrument))
    if bucket is None or bucket.forward_ratio_wad == 0:
        u, day = instrument_id.underlying(instrument), instrument_id.expiry_day(instrument)
        raise ModelRevert("SliceMissing", (u, day))
    return price * bucket.forward_ratio_wad // WAD


def linear_value_down(size: int, mark: int) -> int:
    """⌊size·mark/1e18⌋, towards −∞."""
    return size * mark // WAD


def collateral_value_down(
    state: State, params: RiskParams, j: int, amount: int, price: int
) -> tuple[int, int]:
    """(value rounded down, units of the underlying) of ``amount`` native units of collateral j."""
    p = params.collaterals[j]
    units = amount * 10 ** (18 - p.decimals)
    if p.has_rate:
        units = mul_wad_down(units, state.collaterals[j].rate_wad)
    return mul_wad_down(units, price), units


def add_underlying_row(w: Work, f: Factor) -> None:
    """Row of collateral and linear positions: s_u = ⌊|D_u|·price_unit/1e6⌋ with the sign of D_u."""
    if not f.has_linear:
        return
    p = w.params.underlyings[f.index]
    s = mul_div_down(abs(f.linear_value), p.price_unit_e6, 10**6)
    w.rows.append(Row(-s if f.linear_value < 0 else s, p.price_lanes, ROW_DEDUCTION))


def _add_collateral(state: State, w: Work, account: Account) -> tuple[int, int]:
    """(Σ values, Σ haircuts each rounded up)."""
    total = haircuts = 0
    for j, amount in enumerate(account.collateral):
        if not amount:
            continue
        p = w.params.collaterals[j]
        f = portfolio.factor(state, w, p.underlying)
        value, _ = collateral_value_down(state, w.params, j, amount, f.price)
        haircuts += mul_div_up(value, p.haircut_bps, BPS)
        total += value
        portfolio.add_linear_value(f, value, 0)
    return total, haircuts


def _add_linear(state: State, w: Work, account: Account) -> int:
    """Σ of value + quote."""
    total = 0
    for x in account.linear:
        total += x.quote_wad
        if x.size_wad == 0:
            continue  # an undrawn claim
        f = portfolio.factor(state, w, instrument_id.underlying(x.instrument))
        value = linear_value_down(x.size_wad, linear_mark(state, x.instrument, f.price, f.time))
        portfolio.add_linear_value(f, value, abs(x.size_wad))
        if instrument_id.kind(x.instrument) == instrument_id.FUTURE:
            portfolio.add_to_bucket(w, x.instrument, x.size_wad * DELTA_ONE)
        else:  # a perp is worth index − funding; its price risk is the index alone
            value = x.size_wad * (f.price - f.funding_e12 * FUNDING_UNIT) // WAD
        total += value
    return total


def _unit_charges(w: Work) -> tuple[int, int, int]:
    """(Floor, Liq, Liq_IM)."""
    floor = liq = liq_im = 0
    for f in w.factors.values():
        p = w.params.underlyings[f.index]
        floor += charges.floor_charge(f.short_units, f.price, p.som_bps)
        liq += charges.size_charge(f.units, f.price, f.units, p.depth_wad, p.liq_bps)
        liq_im += charges.size_charge(f.units, f.price, f.open_interest, p.depth_wad, p.liq_bps)
    return floor, liq, liq_im


def _basis(w: Work, key: int, exposure: int) -> int:
    u, day = key >> 16, key & 0xFFFF
    f, p = w.factors[u], w.params.underlyings[u]
    expiry = day * instrument_id.DAY + instrument_id.EXPIRY_TIME_OF_DAY
    rate = charges.basis_rate(p.basis_base_bps, p.basis_slope_bps, max(0, expiry - f.time))
    return charges.basis_charge(exposure, f.price, rate)


def _health_factor(equity: int, mm: int, obliged: bool) -> int:
    """⌊E·1e18/MM⌋; MM = 0: max where E ≥ 0, min otherwise; without obligations max."""
    if not obliged or (mm == 0 and equity >= 0):
        return INT256_MAX
    return mul_div_floor(equity, WAD, mm) if mm else INT256_MIN
