"""Liquidation by legs.  Twin: ``contracts/liquidation/LegsLogic.sol``.

The liquidator names positions and takes them at mark less the reward; conditions and what they are
good for: docs/liquidation.md §7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from risk.exact.accounts import account_lib, rights, work_load
from risk.exact.custody import position_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test, slice_math
from risk.exact.liquidation.health_test import Case
from risk.exact.margin import drift, instrument_id, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.math import wad_math
from risk.exact.math.wad_math import INT256_MAX, WAD
from risk.exact.state import Account, State, World

TARGET_TOLERANCE: Final = 10**12
_INSTRUMENT_MASK: Final = 2**32 - 1


def liquidate_legs(
    state: State,
    world: World,
    sender: int,
    account_id: int,
    liquidator_id: int,
    legs: Sequence[int],
    max_payment_wad: int,
    callback: Callable[[], None] | None,
) -> int:
    """``IVaultExtension.liquidateLegs``; returns the signed payment from liquidator to account.

    Refusals, in this order: NotAccountOwner(liquidator; the owner or an operator with TRADE),
    SelfLiquidation, SequencerDown, SequencerGrace, RiskParamsMissing, InitialMarginOwed, errors of
    settling and of the margin of the account, AccountHealthy, NotFlagged, GracePeriod; leg by leg
    LegInvalid and SizeOutOfRange (liquidator); LegsBankrupt, errors of the margin,
    LegsKeepRequirement, PaymentAboveLimit, LegsKeepShortfall, LegsKeepHealth, LegsAboveTarget;
    CashOutOfRange (account), TooManyPositions, CashOutOfRange and AccountTooHeavy (liquidator);
    the rest as in a slice.
    """
    rights.require_right(state, liquidator_id, sender, rights.TRADE)
    if account_id == liquidator_id:
        raise ModelRevert("SelfLiquidation", (account_id,))
    health_test.require_sequencer(state, world)
    c = health_test.open_case(state, world, account_id)
    b = health_test.load_settled(state, world, liquidator_id)
    health_test.poke(state, world, c, drift.underlying_mask(c.p, b))
    before = health_test.require_unhealthy(state, world, c)
    health_test.require_grace(state, world, c, before)

    positions, allowed = account_lib.position_count(b), work_load.allowance(c.p, c.a)
    _take(state, c, liquidator_id, b, legs)
    payment = _settle(state, world, c, before, max_payment_wad)
    b.cash_wad -= payment
    account_lib.store(state, account_id, c.a)
    account_lib.store(state, liquidator_id, b)
    work_load.require_if_grown(c.p, liquidator_id, b, positions, allowed)
    health_test.finish(state, world, c, liquidator_id, b, callback)
    return payment


def _take(state: State, c: Case, liquidator_id: int, b: Account, legs: Sequence[int]) -> None:
    """Move every leg, with open interest.  Legs ascend strictly by instrument."""
    following = 0
    for leg in legs:
        instrument = leg >> 96 & _INSTRUMENT_MASK
        size = (leg + 2**95) % 2**96 - 2**95
        if instrument < following:
            raise ModelRevert("LegInvalid", (instrument,))
        following = instrument + 1
        if instrument_id.kind(instrument) < instrument_id.CALL:
            d_long = _take_linear(state, c, liquidator_id, b, instrument, size)
        else:
            d_long = _take_option(c, liquidator_id, b, instrument, size)
        position_lib.add_instrument_interest(state, instrument, d_long, liquidator_id)
        u = instrument_id.underlying(instrument)
        position_lib.add_open_interest(state, u, d_long, liquidator_id, instrument)


def _take_linear(
    state: State, c: Case, liquidator_id: int, b: Account, instrument: int, size: int
) -> int:
    """The same fraction of the quote as of the size, towards zero; all of it with all of the
    size.
    """
    i = account_lib.find_linear(c.a, instrument)
    if i == len(c.a.linear):
        raise ModelRevert("LegInvalid", (instrument,))
    held, quote = c.a.linear[i].size_wad, c.a.linear[i].quote_wad
    size = _part(instrument, size, held)
    moved = abs(quote) * abs(size) // abs(held)
    d_quote = moved if quote >= 0 else -moved
    d_long = position_lib.change_linear(state, c.account_id, c.a, instrument, -size, -d_quote)
    return d_long + position_lib.change_linear(state, liquidator_id, b, instrument, size, d_quote)


def _take_option(c: Case, liquidator_id: int, b: Account, instrument: int, size: int) -> int:
    i = account_lib.find_option(c.a, instrument)
    if i == len(c.a.options):
        raise ModelRevert("LegInvalid", (instrument,))
    size = _part(instrument, size, c.a.options[i].size_wad)
    d_long = position_lib.change_option(c.account_id, c.a, instrument, -size)
    return d_long + position_lib.change_option(liquidator_id, b, instrument, size)


def _part(instrument: int, size: int, held: int) -> int:
    """What is taken of ``held``: ``size``, which has its sign and is not zero, and no more than
    there is.
    """
    # an entry of size zero is a claim, of which no leg can be taken
    if size == 0 or held == 0 or (size < 0) != (held < 0):
        raise ModelRevert("LegInvalid", (instrument,))
    return held if abs(size) > abs(held) else size


def _settle(state: State, world: World, c: Case, before: Margin, max_payment_wad: int) -> int:
    """What the legs cost, paid into the account, and whether it is better off.

    Their value at mark is what M fell by when they left.  The reward is ρ per unit of requirement
    taken over, rounded down, and no more than M was.
    """
    if before.mark_equity < 0:  # for the waterfall, or a holder of the other side escapes it
        raise ModelRevert("LegsBankrupt", (c.account_id, before.mark_equity))
    left = margin_engine.compute(state, c.account_id, c.a)
    if left.mm >= before.mm:
        raise ModelRevert("LegsKeepRequirement", (c.account_id, before.mm, left.mm))
    rho = health_test.reward(state, c.p, c.account_id, before.health_factor, world.timestamp)
    reward = min(wad_math.mul_wad_down(rho, before.mm - left.mm), before.mark_equity)
    payment = before.mark_equity - left.mark_equity - reward
    if payment > max_payment_wad:
        raise ModelRevert("PaymentAboveLimit", (payment, max_payment_wad))
    c.a.cash_wad += payment
    _require_better(state, c, before, replace(left, equity=left.equity + payment))
    return payment


def _require_better(state: State, c: Case, before: Margin, left: Margin) -> None:
    """The conditions on E − MM and HF, after the payment.  MM depends on cash only through the
    question whether there are obligations.
    """
    account_id = c.account_id
    if account_lib.has_obligations(c.a) != left.has_obligations:
        left = margin_engine.compute(state, account_id, c.a)
        if left.mm >= before.mm:
            raise ModelRevert("LegsKeepRequirement", (account_id, before.mm, left.mm))
    excess_before, excess_after = before.equity - before.mm, left.equity - left.mm
    if excess_after <= excess_before:
        raise ModelRevert("LegsKeepShortfall", (account_id, excess_before, excess_after))
    if left.mm == 0:
        health_factor = INT256_MAX if left.equity > 0 else 0
    else:
        health_factor = wad_math.mul_div_floor(left.equity, WAD, left.mm)
    if before.equity > 0 and health_factor <= before.health_factor:
        raise ModelRevert("LegsKeepHealth", (account_id, before.health_factor, health_factor))
    limit = c.p.target_bps * slice_math.BPS_WAD + TARGET_TOLERANCE
    if health_factor > limit:
        raise ModelRevert("LegsAboveTarget", (account_id, health_factor, limit))
