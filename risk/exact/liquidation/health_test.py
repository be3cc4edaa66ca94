"""The steps that slices, legs and flags share.  Twin: ``contracts/liquidation/HealthTest.sol`` and,
for the steps that are seldom needed, ``contracts/liquidation/LiveLogic.sol``.

Load and settle, take the snapshots that are due, test that the account is unhealthy, grace and
reward; at the end callback and check of the liquidator.  Procedure: docs/liquidation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from risk.exact.accounts import account_lib
from risk.exact.accounts.account_lib import has_obligations
from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import slice_math
from risk.exact.margin import drift, groups, margin_engine, margin_logic
from risk.exact.margin.drift import Live
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader, funding, sequencer, snapshots
from risk.exact.market.feed_reader import OracleState
from risk.exact.params.risk_params import RiskParams
from risk.exact.settlement import settlement_lib, settlement_logic
from risk.exact.state import Account, State, World
from risk.exact.waterfall import insurance_lib

_BPS = 10_000


@dataclass
class Case:
    """What is known of the account that is tested: its underlyings, usable live prices, and what
    the other markets could add to its equity at most.  ``allowed``: underlyings that the liquidator
    may hold together afterwards, whatever their groups.
    """

    p: RiskParams
    account_id: int
    a: Account
    mask: set[int]
    live: Live = field(default_factory=Live)
    favour: int = 0
    allowed: set[int] = field(default_factory=set)


def open_case(state: State, world: World, account_id: int) -> Case:
    """Parameters, interest to now, and the account with what can be settled settled.

    ``RiskParamsMissing``, ``InitialMarginOwed(account)``, errors of the settlement.
    """
    p = feed_reader.load_params(state)
    if insurance_lib.is_deferred(state, account_id):
        raise ModelRevert("InitialMarginOwed", (account_id,))
    interest_lib.accrue(state, world)
    a = load_settled(state, world, account_id)
    return Case(p, account_id, a, drift.underlying_mask(p, a))


def load_settled(state: State, world: World, account_id: int) -> Account:
    """The account; settled first where it holds a position whose settlement price is known."""
    a = account_lib.load(state, account_id)
    if settlement_lib.holds_settled(state, world, a) is None:
        return a
    settlement_logic.settle(state, world, [account_id])
    return account_lib.load(state, account_id)


def require_sequencer(state: State, world: World) -> None:
    """``SequencerDown``, ``SequencerGrace(until)``: while users of the L2 cannot deposit nobody is
    liquidated.  ``RiskParamsMissing`` where there is a feed.
    """
    if state.sequencer_feed == 0:
        return
    p = feed_reader.load_params(state)
    if sequencer.holds_liquidations(state, world, p):
        sequencer.require_live(state, world, p)


# ── health ───────────────────────────────────────────────────────────────────────────────────────


def poke(state: State, world: World, c: Case, others: set[int]) -> None:
    """Of the account's underlyings and of ``others``, ascending: bring the funding to now, whatever
    the state of the market, and take the snapshot that is due where the live price is usable.

    While the premium is 0 no funding runs, and the time up to which it counts stays.  A liquidator
    without a price risk of its own may take a book that is mixed; whoever holds something may not,
    or a grain in an old book would let a large one in the other group be netted with it.
    """
    if not others:
        c.allowed = c.mask
    for u in sorted(c.mask | others):
        if state.underlyings[u].premium_e9 != 0:
            funding.accrue(state, world, c.p, u)
        oracle_state, price_wad, updated_at = feed_reader.live(state, world, c.p, u)
        if oracle_state > OracleState.UNCERTAIN:
            continue
        c.live.prices[u] = price_wad, updated_at
        due = snapshots.is_due(state, world, c.p, u, price_wad)
        if due or snapshots.any_rate_left_band(state, world, c.p, u):
            snapshots.take(state, world, c.p, u, price_wad, updated_at)


def require_unhealthy(state: State, world: World, c: Case) -> Margin:
    """Margin of an account that is unhealthy at the snapshots, at the live prices, and with every
    market that has no usable price at its most favourable value within its band.

    ``AccountHealthy(account, E, MM)``.  Where the live prices could decide, their snapshots are
    taken and the margin is computed again.
    """
    p, a = c.p, c.a
    m = margin_engine.compute(state, c.account_id, a)
    if m.equity >= m.mm:
        raise ModelRevert("AccountHealthy", (c.account_id, m.equity, m.mm))
    c.favour = drift.favour(state, p, a, c.mask - c.live.prices.keys())
    for j, amount in enumerate(a.collateral):
        if amount and p.collaterals[j].has_rate:
            rate_wad, _, _ = feed_reader.live_rate(state, world, j)
            if rate_wad:
                c.live.rates[j] = rate_wad
    moved = drift.moved_mask(state, p, a, c.mask, c.live)
    if moved and m.equity + c.favour + 2 * drift.bound(state, p, a, moved, c.live) >= m.mm:
        for u in sorted(moved):
            snapshots.take(state, world, p, u, *c.live.prices[u])
        m = margin_engine.compute(state, c.account_id, a)
    if m.equity + c.favour >= m.mm:
        raise ModelRevert("AccountHealthy", (c.account_id, m.equity, m.mm))
    return m


# ── grace, reward ────────────────────────────────────────────────────────────────────────────────


def require_grace(state: State, world: World, c: Case, m: Margin) -> None:
    """``NotFlagged(account)``, or ``GracePeriod(account, until)`` while the grace lasts; neither
    where there is no grace or E + favour < MM·emergency.
    """
    p = c.p
    if p.grace_seconds == 0 or (m.equity + c.favour) * _BPS < m.mm * p.emergency_bps:
        return
    flagged_at = _flagged_at(state, c.account_id)
    if flagged_at == 0:
        raise ModelRevert("NotFlagged", (c.account_id,))
    until = flagged_at + p.grace_seconds
    if world.timestamp < until:
        raise ModelRevert("GracePeriod", (c.account_id, until))


def reward(state: State, p: RiskParams, account_id: int, health_factor: int, now: int) -> int:
    """ρ of the account at this health factor; grows from the flag on, WAD."""
    flagged_at = _flagged_at(state, account_id)
    elapsed = now - flagged_at if flagged_at and p.reward_time_bps else 0
    growth = slice_math.growth(p.reward_time_bps, elapsed)
    bps = p.reward_base_bps, p.reward_slope_bps, p.reward_max_bps
    return slice_math.reward_wad(*bps, health_factor, growth)


def _flagged_at(state: State, account_id: int) -> int:
    a = state.accounts.get(account_id)
    return 0 if a is None else a.flagged_at


# ── end ──────────────────────────────────────────────────────────────────────────────────────────


def finish(
    state: State,
    world: World,
    c: Case,
    liquidator_id: int,
    b: Account,
    callback: Callable[[], None] | None,
) -> None:
    """Run the callback with checks deferred; then ``MixedGroups(liquidator, u, v)`` unless all the
    liquidator holds was the account's, and ``InsufficientMargin(liquidator, E, required)``
    at the snapshots; then, unless a batch or another callback is around, what was deferred.  Until
    its own check nobody may liquidate the liquidator: ``TooManyDeferred(16)``.
    """
    if callback is None:
        _require_initial(state, c, liquidator_id, b)
        return
    outermost = not state.deferring
    state.deferring = True
    margin_logic.mark_liquidating(state, liquidator_id)
    callback()
    state.deferring = not outermost
    _require_initial(state, c, liquidator_id, load_settled(state, world, liquidator_id))
    if outermost:
        margin_logic.require_deferred(state, world)


def _require_initial(state: State, c: Case, liquidator_id: int, b: Account) -> None:
    """With obligations: one group, or, where it held nothing before, nothing that the account did
    not hold; E ≥ max(IM + gap, min_margin), 0 without obligations.  IM and gap are rounded up, E
    down.
    """
    p = feed_reader.load_params(state)
    if has_obligations(b):
        groups.require_one(p, liquidator_id, drift.underlying_mask(p, b), c.allowed)
    m = margin_engine.compute(state, liquidator_id, b)
    required = 0
    if m.has_obligations:
        required = max(m.im + settlement_lib.gap(state, b), p.min_margin_wad)
    if m.equity < required:
        raise ModelRevert("InsufficientMargin", (liquidator_id, m.equity, required))
