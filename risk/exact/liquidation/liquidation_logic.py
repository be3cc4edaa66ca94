"""Slice liquidation.  Twin: ``contracts/liquidation/LiquidationLogic.sol``.  Procedure and
bounds: docs/liquidation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from risk.exact.accounts import account_lib, rights, work_load
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test, slice_legs, slice_math
from risk.exact.liquidation.health_test import Case
from risk.exact.margin import drift, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import breaker, feed_reader
from risk.exact.math import wad_math
from risk.exact.math.wad_math import WAD
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State, World
from risk.exact.waterfall import insurance_lib

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
    callback: Callable[[], None] | None = None,
) -> tuple[int, int]:
    """``IVault.liquidate``; returns (fraction, signed payment from liquidator to account).

    Refusals, in this order: NotAccountOwner(liquidator; the owner or an operator with TRADE),
    SelfLiquidation, FractionInvalid, SequencerDown, SequencerGrace, RiskParamsMissing,
    InitialMarginOwed(account), errors of settling, errors of the margin of the account,
    AccountHealthy, NotFlagged, GracePeriod, PaymentAboveLimit, SizeOutOfRange (liquidator),
    CashOutOfRange (account), TooManyPositions, CashOutOfRange and AccountTooHeavy (liquidator),
    SliceLoweredHealth, TooManyDeferred, what the callback raises, MixedGroups(liquidator), errors
    of the margin of the liquidator, InsufficientMargin(liquidator); with a callback at last those
    of the deferred checks.
    """
    rights.require_right(state, liquidator_id, sender, rights.TRADE)
    if account_id == liquidator_id:
        raise ModelRevert("SelfLiquidation", (account_id,))
    if not 0 < fraction_wad <= WAD:
        raise ModelRevert("FractionInvalid", (fraction_wad,))
    health_test.require_sequencer(state, world)
    c = health_test.open_case(state, world, account_id)
    b = health_test.load_settled(state, world, liquidator_id)
    health_test.poke(state, world, c, drift.underlying_mask(c.p, b))
    m = health_test.require_unhealthy(state, world, c)
    health_test.require_grace(state, world, c, m)

    fraction, payment = _price(state, world, c, m, fraction_wad, max_payment_wad)
    _move(state, c, liquidator_id, b, fraction, payment)
    _check_health(state, c, m.health_factor)
    health_test.finish(state, world, c, liquidator_id, b, callback)
    return fraction, payment


def quote(state: State, account_id: int, now: int | None = None) -> LiquidationQuote:
    """``IVault.liquidationQuote``, at the snapshots as they are (``FlagLogic.sol``).  Without
    ``now`` the reward leaves out what it has grown by since a flag.
    """
    p = feed_reader.load_params(state)
    a = account_lib.load(state, account_id)
    m = margin_engine.compute(state, account_id, a)
    if now is None:
        p = replace(p, reward_time_bps=0)
    q = _quote(state, p, account_id, a, m, now or 0)
    if m.equity >= m.mm:
        return q
    fraction = slice_math.with_dust(WAD, q.max_fraction_wad, m.mm, p.min_margin_wad)
    return replace(q, max_fraction_wad=fraction)


def _quote(
    state: State, p: RiskParams, account_id: int, a: Account, m: Margin, now: int
) -> LiquidationQuote:
    """ρ, M − ρ·MM and f* before the dust rule; f* = 0 where the account is healthy."""
    reward = health_test.reward(state, p, account_id, m.health_factor, now)
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


def _price(
    state: State, world: World, c: Case, m: Margin, asked: int, max_payment_wad: int
) -> tuple[int, int]:
    """The fraction that is taken and what it costs.  A negative payment is what the insurance fund
    has paid; the caller's limit applies to it.
    """
    q = _quote(state, c.p, c.account_id, c.a, m, world.timestamp)
    fraction = slice_math.with_dust(asked, q.max_fraction_wad, m.mm, c.p.min_margin_wad)
    payment = slice_math.payment(q.full_price_wad, fraction)
    if payment < 0:
        payment = -_draw_insurance(state, world, c, -payment)
    if payment > max_payment_wad:
        raise ModelRevert("PaymentAboveLimit", (payment, max_payment_wad))
    return fraction, payment


def _draw_insurance(state: State, world: World, c: Case, wanted: int) -> int:
    """What the fund pays; where that is a thousandth of it, the breakers of the account's
    underlyings trip.
    """
    paid = insurance_lib.pay(state, world, c.p, c.account_id, wanted)
    if paid and paid * 1_000 >= paid + state.insurance_wad:
        for u in sorted(c.mask):
            breaker.trip(state, world, u, c.p.breaker_seconds)
    return paid


def _move(
    state: State, c: Case, liquidator_id: int, b: Account, fraction: int, payment: int
) -> None:
    """Move the slice and the payment (< 0: paid by the insurance fund before); store both."""
    positions, allowed = account_lib.position_count(b), work_load.allowance(c.p, c.a)
    slice_legs.take(state, c.account_id, c.a, liquidator_id, b, fraction)
    b.cash_wad -= payment
    c.a.cash_wad += max(payment, 0)
    account_lib.store(state, c.account_id, c.a)
    account_lib.store(state, liquidator_id, b)
    work_load.require_if_grown(c.p, liquidator_id, b, positions, allowed)


def _check_health(state: State, c: Case, before: int) -> None:
    """``SliceLoweredHealth`` where HF, from 0 on, fell by more than rounding explains; below one
    unit of requirement never.  Before the callback.
    """
    if before < 0:
        return
    m = margin_engine.compute(state, c.account_id, c.a)
    if m.mm < DUST_MM or m.health_factor >= before - HEALTH_TOLERANCE:
        return
    tolerance = HEALTH_TOLERANCE + wad_math.div_wad_up(_collateral_grain(state, c.a), m.mm)
    if m.health_factor < before - tolerance:
        raise ModelRevert("SliceLoweredHealth", (c.account_id, before, m.health_factor))


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
