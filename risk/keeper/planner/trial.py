"""Trying a liquidation on a copy of the book: the model's own functions say what it gives.

A ``Ground`` is the state as the block of inclusion will find it. ``examine`` goes as far as the
contract goes before it looks at what is asked for; ``take_slice`` and ``take_legs`` run the whole
of it. What they raise is what the contract would revert with. All amounts WAD of cash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.liquidation import (
    flag_logic,
    health_test,
    legs_logic,
    liquidation_logic,
    slice_math,
)
from risk.exact.liquidation.health_test import Case
from risk.exact.margin import drift, instrument_id, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.math import wad_math
from risk.exact.math.wad_math import WAD
from risk.exact.state import Account, State, World
from risk.keeper.health import scratch
from risk.keeper.planner.terms import Terms
from risk.keeper.ports import Costs
from risk.keeper.types import Way

ANY_PAYMENT: Final = 2**255 - 1
_BPS: Final = 10_000


@dataclass(frozen=True)
class Ground:
    """``state`` is a scratch copy of the book's; ``world`` has the time of inclusion."""

    state: State
    world: World
    terms: Terms
    costs: Costs

    def later(self, seconds: int) -> Ground:
        """The same state, that much later."""
        time = self.world.timestamp + seconds
        return replace(self, world=replace(self.world, timestamp=time))

    def copy(self) -> Ground:
        """To be changed."""
        return replace(self, state=scratch(self.state))


@dataclass(frozen=True)
class Seen:
    """An account that a liquidation finds unhealthy. ``state``: after the snapshots that it takes;
    ``taker``: the liquidator's account before it takes anything; ``rho``: ρ now.
    """

    case: Case
    margin: Margin
    state: State
    taker: Account
    rho_wad: int
    passes: int

    @property
    def account(self) -> int:
        """Its number."""
        return self.case.account_id

    @property
    def target_wad(self) -> int:
        """t·MM − E, rounded up: what no payment for a slice exceeds at these prices, whatever the
        owner deposits (docs/liquidation.md §5).
        """
        target = self.case.p.target_bps
        return -(-target * self.margin.mm // _BPS) - self.margin.equity


@dataclass(frozen=True)
class Offer:
    """A way that works, and what it gives at the marks of the block of inclusion.

    ``reward_wad``: by what the liquidator's account is worth more. ``bound_wad``: the payment that
    the contract may at most take. ``profit_wad``: reward less gas less the cost of closing.
    """

    way: Way
    account: int
    payment_wad: int
    reward_wad: int
    bound_wad: int
    gas: int
    gas_cost_wad: int
    profit_wad: int
    after: State
    fraction_wad: int = 0
    legs: tuple[int, ...] = ()


def examine(ground: Ground, account: int) -> Seen:
    """``ModelRevert`` where the account is not liquidatable; grace is not asked for here."""
    world, liquidator = ground.world, ground.terms.liquidator
    twin = scratch(ground.state)
    health_test.require_sequencer(twin, world)
    c = health_test.open_case(twin, world, account)
    b = health_test.load_settled(twin, world, liquidator)
    health_test.poke(twin, world, c, drift.underlying_mask(c.p, b))
    epochs = [u.epoch for u in twin.underlyings]
    m = health_test.require_unhealthy(twin, world, c)
    twice = any(u.epoch != old for u, old in zip(twin.underlyings, epochs, strict=True))
    rho = health_test.reward(twin, c.p, account, m.health_factor, world.timestamp)
    return Seen(c, m, twin, b, rho, 2 if twice else 1)


def require_grace(ground: Ground, seen: Seen) -> None:
    """``NotFlagged``, ``GracePeriod(account, until)``."""
    health_test.require_grace(seen.state, ground.world, seen.case, seen.margin)


# ── the ways ─────────────────────────────────────────────────────────────────────────────────────


def take_slice(ground: Ground, seen: Seen, fraction_wad: int) -> Offer:
    """A slice of at most ``fraction_wad``."""
    t, twin = ground.terms, scratch(ground.state)
    asked = (t.signer, seen.account, t.liquidator, fraction_wad, ANY_PAYMENT)
    fraction, payment = liquidation_logic.liquidate(twin, ground.world, *asked)
    paid_by_fund = slice_math.full_price(seen.margin.mark_equity, seen.rho_wad, seen.margin.mm) <= 0
    most = payment if paid_by_fund else max(payment, seen.target_wad)
    offer = _offer(ground, seen, twin, Way.SLICE, t.gas.slice, payment, most)
    # who asks for the most is given the most, whatever that is when it happens
    return replace(offer, fraction_wad=fraction_wad if fraction_wad == WAD else fraction)


def take_legs(ground: Ground, seen: Seen, legs: Sequence[int]) -> Offer:
    """The legs named, as ``liquidateLegs`` takes them."""
    t, twin = ground.terms, scratch(ground.state)
    asked = (t.signer, seen.account, t.liquidator, legs, ANY_PAYMENT, None)
    payment = legs_logic.liquidate_legs(twin, ground.world, *asked)
    offer = _offer(ground, seen, twin, Way.LEGS, t.gas.legs, payment, payment)
    return replace(offer, legs=tuple(legs))


def raise_flag(ground: Ground, seen: Seen, promise_wad: int) -> Offer:
    """The flag that has to come first; ``promise_wad`` is the profit of the liquidation that it
    makes possible, which counts less the flag's own gas.
    """
    twin = scratch(ground.state)
    flag_logic.flag(twin, ground.world, seen.account)
    gas = _gas(ground, seen, ground.terms.gas.flag, Account(), moves=False)
    cost = ground.costs.of(gas)
    return Offer(Way.FLAG, seen.account, 0, 0, 0, gas, cost, promise_wad - cost, twin)


def flagged(ground: Ground, seen: Seen) -> Ground:
    """The same, had the account been flagged a grace ago."""
    changed = ground.copy()
    old = changed.state.accounts[seen.account]
    since = ground.world.timestamp - seen.case.p.grace_seconds
    changed.state.accounts[seen.account] = replace(old, flagged_at=since)
    return changed


def fraction_to(seen: Seen, target_wad: int) -> int | None:
    """The slice after which E = target·MM, rounded down (f* where the target is t, before the dust
    rule); None where only the whole account will do, because its price is not positive.
    """
    m, p = seen.margin, seen.case.p
    price = slice_math.full_price(m.mark_equity, seen.rho_wad, m.mm)
    if price <= 0:
        return None
    if m.liq == 0:
        return slice_math.closed_form(m.mark_equity, m.equity, m.mm, seen.rho_wad, target_wad)
    terms = [
        slice_math.LiqTerm(
            units,
            seen.state.underlyings[u].price_wad,
            p.underlyings[u].depth_wad,
            p.underlyings[u].liq_bps,
        )
        for u, units in sorted(drift.position_units(seen.case.a).items())
        if units > p.underlyings[u].depth_wad
    ]
    return slice_math.bisect(m.equity, price, m.mm - m.liq, target_wad, terms)


def largest(work: Callable[[int], Offer | None], low: int, high: int, steps: int) -> Offer | None:
    """The offer of the largest fraction in (``low``, ``high``) that works, by halving; what works
    is taken to work for everything smaller.
    """
    best = None
    for _ in range(steps):
        middle = (low + high) // 2
        if middle in (low, high):
            break
        found = work(middle)
        if found is None:
            high = middle
        else:
            best, low = found, middle
    return best


# ── what it gives ────────────────────────────────────────────────────────────────────────────────


def _offer(
    ground: Ground, seen: Seen, twin: State, way: Way, base: int, payment: int, most: int
) -> Offer:
    t, costs = ground.terms, ground.costs
    taker = account_lib.load(twin, t.liquidator)
    worth = [margin_engine.compute(twin, t.liquidator, b).mark_equity for b in (seen.taker, taker)]
    reward = worth[1] - worth[0]
    moved = notional(twin, seen, account_lib.load(twin, seen.account))
    gas = _gas(ground, seen, base, taker)
    cost = costs.of(gas)
    return Offer(
        way,
        seen.account,
        payment,
        reward,
        most + wad_math.mul_div_up(moved, t.slippage_bps, _BPS),
        gas,
        cost,
        reward - cost - wad_math.mul_div_up(moved, t.unwind_bps, _BPS),
        twin,
    )


def _gas(ground: Ground, seen: Seen, base: int, taker: Account, *, moves: bool = True) -> int:
    held = ground.state.accounts
    stored = [held.get(n, Account()) for n in (seen.account, ground.terms.liquidator)]
    settled = sum(
        max(0, account_lib.position_count(old) - account_lib.position_count(new))
        for old, new in zip(stored, (seen.case.a, seen.taker), strict=True)
    )
    return ground.terms.gas.estimate(
        base, seen.case.p, seen.case.a, taker, passes=seen.passes, settled=settled, moves=moves
    )


def positions(a: Account) -> list[tuple[int, int]]:
    """(instrument, size) of everything that is not a claim."""
    held = [(x.instrument, x.size_wad) for x in a.linear if x.size_wad]
    return held + [(x.instrument, x.size_wad) for x in a.options]


def notional(state: State, seen: Seen, left: Account) -> int:
    """Σ size·S of all positions and collateral that left the account, gross, rounded up: no price
    of an underlying moves what was taken by a larger fraction of it.
    """
    p, before = seen.case.p, seen.case.a
    units: dict[int, int] = {}
    kept = dict(positions(left))
    for instrument, size in positions(before):
        u = instrument_id.underlying(instrument)
        units[u] = units.get(u, 0) + abs(size - kept.get(instrument, 0))
    for j, (old, new) in enumerate(zip(before.collateral, left.collateral, strict=True)):
        if old != new:
            item = p.collaterals[j]
            moved = abs(old - new) * 10 ** (18 - item.decimals)
            if item.has_rate:
                moved = wad_math.mul_wad_up(moved, state.collaterals[j].rate_wad)
            units[item.underlying] = units.get(item.underlying, 0) + moved
    prices = {u: state.underlyings[u].price_wad for u in units}
    return sum(wad_math.mul_wad_up(prices[u], n) for u, n in units.items())
