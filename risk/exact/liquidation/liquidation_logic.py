"""Slice liquidation.  Twin: ``contracts/liquidation/LiquidationLogic.sol``.  Procedure and
bounds: docs/liquidation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from risk.exact.accounts import account_lib, work_load
from risk.exact.custody.custody_logic import require_owner
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import slice_legs, slice_math
from risk.exact.margin import drift, margin_engine
from risk.exact.margin.drift import Live
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader, snapshots
from risk.exact.market.feed_reader import OracleState
from risk.exact.math import wad_math
from risk.exact.math.wad_math import WAD
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State, World

HEALTH_TOLERANCE: Final = 10**12
DUST_MM: Final = 10**18


@dataclass(frozen=True)
class LiquidationQuote:
    """``ILiquidation.LiquidationQuote``: f*, ρ and the signed price of the whole account."""

    max_fraction_wad: int
    reward_wad: int
    full_price_wad: int


def liquidate(
    state: State,
    world: World,
    sender: int,
    account_id: int,
    liquidator_id: int,
    fraction_wad: int,
    max_payment_wad: int,
) -> tuple[int, int]:
    """``IVault.liquidate``; returns (fraction, signed payment from liquidator to account).

    Refusals, in this order: NotAccountOwner(liquidator), SelfLiquidation, FractionInvalid,
    RiskParamsMissing, errors of the margin of the account, AccountHealthy, PaymentAboveLimit,
    SizeOutOfRange (liquidator), CashOutOfRange (account), TooManyPositions, CashOutOfRange and
    AccountTooHeavy (liquidator), SliceLoweredHealth, errors of the margin of the liquidator,
    InsufficientMargin(liquidator).
    """
    require_owner(liquidator_id, sender)
    if account_id == liquidator_id:
        raise ModelRevert("SelfLiquidation", (account_id,))
    if not 0 < fraction_wad <= WAD:
        raise ModelRevert("FractionInvalid", (fraction_wad,))

    p = feed_reader.load_params(state)
    a = account_lib.load(state, account_id)
    b = account_lib.load(state, liquidator_id)
    positions, allowed = account_lib.position_count(b), work_load.allowance(p, a)
    mask = drift.underlying_mask(p, a) | drift.underlying_mask(p, b)
    live = _poke(state, world, p, mask)
    m = _require_unhealthy(state, world, p, account_id, a, live)

    q = _quote(state, p, a, m)
    fraction = min(fraction_wad, q.max_fraction_wad)
    payment = slice_math.payment(q.full_price_wad, fraction)
    payment = max(payment, -state.insurance_wad)
    if payment > max_payment_wad:
        raise ModelRevert("PaymentAboveLimit", (payment, max_payment_wad))

    slice_legs.take(state, account_id, a, liquidator_id, b, fraction)
    b.cash_wad -= payment
    if payment >= 0:
        a.cash_wad += payment
    else:
        state.insurance_wad += payment
    account_lib.store(state, account_id, a)
    account_lib.store(state, liquidator_id, b)
    work_load.require_if_grown(p, liquidator_id, b, positions, allowed)
    _check_health(state, account_id, a, m.health_factor)
    after = margin_engine.compute(state, liquidator_id, b)
    if after.equity < after.im:
        raise ModelRevert("InsufficientMargin", (liquidator_id, after.equity, after.im))
    return fraction, payment


def quote(state: State, account_id: int) -> LiquidationQuote:
    """``IVault.liquidationQuote``, at the snapshots as they are."""
    p = feed_reader.load_params(state)
    a = account_lib.load(state, account_id)
    return _quote(state, p, a, margin_engine.compute(state, account_id, a))


def _poke(state: State, world: World, p: RiskParams, mask: set[int]) -> Live:
    """Take each snapshot that is due, ascending, where the live price is usable; go on where it
    is not.
    """
    live = Live()
    for u in sorted(mask):
        oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
        if oracle_state > OracleState.UNCERTAIN:
            continue
        live.prices[u] = price_wad, updated_at
        due = snapshots.is_due(state, world, p, u, price_wad)
        if due or snapshots.any_rate_left_band(state, world, p, u):
            snapshots.take(state, world, p, u, price_wad, updated_at)
    return live


def _require_unhealthy(
    state: State, world: World, p: RiskParams, account_id: int, a: Account, live: Live
) -> Margin:
    """Margin of an account that is unhealthy at the snapshots, at the live prices, and with every
    market that has no usable price at its most favourable value within its band.
    """
    m = margin_engine.compute(state, account_id, a)
    if m.equity >= m.mm:
        raise ModelRevert("AccountHealthy", (account_id, m.equity, m.mm))
    unusable = drift.underlying_mask(p, a) - live.prices.keys()
    favour = drift.favour(state, p, a, unusable)
    for j, amount in enumerate(a.collateral):
        if amount and p.collaterals[j].has_rate:
            rate_wad, _, _ = feed_reader.live_rate(state, world, j)
            if rate_wad:
                live.rates[j] = rate_wad
    moved = drift.moved_mask(state, p, a, live)
    if moved and m.equity + favour + 2 * drift.bound(state, p, a, moved, live) >= m.mm:
        for u in sorted(moved):
            snapshots.take(state, world, p, u, *live.prices[u])
        m = margin_engine.compute(state, account_id, a)
    if m.equity + favour >= m.mm:
        raise ModelRevert("AccountHealthy", (account_id, m.equity, m.mm))
    return m


def _quote(state: State, p: RiskParams, a: Account, m: Margin) -> LiquidationQuote:
    """ρ, M − ρ·MM and f*; f* = 0 where the account is healthy."""
    reward = slice_math.reward_wad(
        p.reward_base_bps, p.reward_slope_bps, p.reward_max_bps, m.health_factor
    )
    price = slice_math.full_price(m.mark_equity, reward, m.mm)
    target = p.target_bps * slice_math.BPS_WAD
    if m.equity >= m.mm:
        fraction = 0
    elif price <= 0:
        fraction = WAD
    elif m.liq == 0:
        fraction = slice_math.closed_form(m.mark_equity, m.equity, m.mm, reward, target)
    else:
        fraction = slice_math.bisect(m.equity, price, m.mm - m.liq, target, _liq_terms(state, p, a))
    return LiquidationQuote(fraction, reward, price)


def _liq_terms(state: State, p: RiskParams, a: Account) -> list[slice_math.LiqTerm]:
    """The underlyings of which the account holds more than the depth."""
    terms = []
    for u, units in sorted(drift.position_units(a).items()):
        params = p.underlyings[u]
        if units > params.depth_wad:
            price = state.underlyings[u].price_wad
            terms.append(slice_math.LiqTerm(units, price, params.depth_wad, params.liq_bps))
    return terms


def _check_health(state: State, account_id: int, a: Account, before: int) -> None:
    """``SliceLoweredHealth`` where HF, from 0 on, fell by more than rounding explains; below one
    unit of requirement never.
    """
    if before < 0:
        return
    m = margin_engine.compute(state, account_id, a)
    if m.mm < DUST_MM or m.health_factor >= before - HEALTH_TOLERANCE:
        return
    tolerance = HEALTH_TOLERANCE + wad_math.div_wad_up(_collateral_grain(state, a), m.mm)
    if m.health_factor < before - tolerance:
        raise ModelRevert("SliceLoweredHealth", (account_id, before, m.health_factor))


def _collateral_grain(state: State, a: Account) -> int:
    """Value of one native unit of each collateral held, rounded up."""
    p = feed_reader.load_params(state)
    grain = 0
    for j, amount in enumerate(a.collateral):
        if amount:
            item = p.collaterals[j]
            unit = 10 ** (18 - item.decimals)
            if item.has_rate:
                unit = wad_math.mul_wad_up(unit, state.collaterals[j].rate_wad)
            grain += wad_math.mul_wad_up(unit, state.underlyings[item.underlying].price_wad)
    return grain
