"""What docs/margin.md §7 promises: order, sub-additivity, homogeneity, splitting."""

from __future__ import annotations

from dataclasses import astuple, replace
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.exact.accounts import account_lib
from risk.exact.margin import margin_engine, scenario_scan
from risk.exact.margin.margin_engine import Margin
from risk.exact.margin.portfolio import Row
from risk.exact.state import Account, Linear, State
from tests.margin.conftest import VaultCalls
from tests.margin.worlds import WAD, World, account_id, random_account, random_world

A, B, BOTH = account_id(1), account_id(2), account_id(3)
EXAMPLES = settings(max_examples=60, deadline=None)
worlds = st.integers(0, 2**40)


def margin(state: State, a: Account) -> Margin:
    return margin_engine.compute(state, A, a)


def drawn(seed: int, *, scenarios: int = 16, rated: bool = True) -> tuple[World, Random]:
    rng = Random(seed)
    world = random_world(rng, scenarios, rng.choice((1, 2, 3)))
    if not rated:
        params = world.state.params
        assert params is not None
        for c in world.state.collaterals:
            c.rate_feed = c.rate_wad = 0
        plain = tuple(replace(c, has_rate=False) for c in params.collaterals)
        world.state.params = replace(params, collaterals=plain)
    for u in world.state.underlyings:
        u.open_interest_wad = 10**8 * WAD  # above every size
    return world, rng


def copy_of(a: Account) -> Account:
    state = State(owner=0, cash_token=0, cash_decimals=6, accounts={A: a})
    return account_lib.load(state, A)


def merged(one: Account, other: Account) -> Account:
    """Cash, collateral and positions of both together."""
    whole = copy_of(one)
    whole.cash_wad += other.cash_wad
    whole.collateral = [x + y for x, y in zip(whole.collateral, other.collateral, strict=True)]
    for x in other.linear:
        account_lib.add_linear(A, whole, x.instrument, x.size_wad, x.quote_wad)
    for y in other.options:
        account_lib.add_option(A, whole, y.instrument, y.size_wad)
    return whole


def times(a: Account, n: int) -> Account:
    whole = copy_of(a)
    whole.cash_wad *= n
    whole.collateral = [n * x for x in whole.collateral]
    for x in whole.linear:
        x.size_wad, x.quote_wad = n * x.size_wad, n * x.quote_wad
    for y in whole.options:
        y.size_wad *= n
    return whole


def rate_allowance(state: State, *accounts: Account) -> int:
    """(S + 1)·max|x| wei for each collateral with a rate that more than one account holds."""
    assert state.params is not None
    total = 0
    for j, c in enumerate(state.collaterals):
        if c.rate_feed and sum(1 for a in accounts if a.collateral[j]) > 1:
            p = state.params.underlyings[c.underlying]
            largest = max(map(abs, p.price_lanes)) * p.price_unit_e6
            total += (state.underlyings[c.underlying].price_wad // WAD + 2) * largest // 10**6 + 1
    return total


def pair(seed: int, *, rated: bool = True) -> tuple[State, Account, Account]:
    """Two accounts that share some instruments, sometimes with opposite signs."""
    world, rng = drawn(seed, rated=rated)
    one = random_account(rng, world, rng.choice((0, 3, 9)), rng.choice((0, 1, 4)))
    other = random_account(rng, world, rng.choice((0, 3, 9)), rng.choice((0, 1, 4)))
    for x in one.options:
        if rng.random() < 0.3 and all(y.instrument != x.instrument for y in other.options):
            factor = rng.choice((-1, 1, -2))
            account_lib.add_option(A, other, x.instrument, factor * x.size_wad)
    for z in one.linear:
        if z.size_wad and rng.random() < 0.5:
            account_lib.add_linear(A, other, z.instrument, -z.size_wad, 1)
    return world.state, one, other


@EXAMPLES
@given(seed=worlds)
def test_merging_never_raises_the_scan(seed: int) -> None:
    state, one, other = pair(seed, rated=False)
    one.cash_wad = other.cash_wad = -1  # everybody is scanned
    whole = margin(state, merged(one, other))
    assert whole.scan <= margin(state, one).scan + margin(state, other).scan


@EXAMPLES
@given(seed=worlds)
def test_merging_with_rates_raises_it_by_the_stated_wei_at_most(seed: int) -> None:
    state, one, other = pair(seed)
    one.cash_wad = other.cash_wad = -1
    whole = margin(state, merged(one, other))
    parts = margin(state, one).scan + margin(state, other).scan
    assert whole.scan <= parts + rate_allowance(state, one, other)


@EXAMPLES
@given(seed=worlds)
def test_splitting_never_lowers_the_initial_margin(seed: int) -> None:
    """Three parts with obligations against the whole."""
    state, one, other = pair(seed)
    third = Account(cash_wad=-1, linear=[Linear(0, WAD, 0)])
    one.cash_wad = other.cash_wad = -1
    parts = [one, other, third]
    whole = margin(state, merged(merged(one, other), third))
    allowance = 2 * rate_allowance(state, *parts)  # φ < 2
    assert whole.im <= sum(margin(state, part).im for part in parts) + allowance
    assert whole.liq_im >= whole.liq


@EXAMPLES
@given(seed=worlds, n=st.integers(2, 50))
def test_scan_is_homogeneous(seed: int, n: int) -> None:
    world, rng = drawn(seed, rated=False)
    a = random_account(rng, world, rng.choice((1, 5)), rng.choice((0, 2)))
    a.cash_wad = -1
    single, scaled = margin(world.state, a), margin(world.state, times(a, n))
    rows = len(a.options) + len(world.state.underlyings)
    assert 0 <= n * single.scan - scaled.scan <= (n - 1) * 20_480 * rows + n
    assert abs(scaled.floor_charge - n * single.floor_charge) <= 2 * n * len(
        world.state.underlyings
    )
    assert abs(scaled.basis - n * single.basis) <= 2 * n * rows


@EXAMPLES
@given(seed=worlds)
def test_order_of_positions_does_not_matter(seed: int) -> None:
    world, rng = drawn(seed)
    a = random_account(rng, world, 9, 5)
    other = copy_of(a)
    rng.shuffle(other.linear)
    rng.shuffle(other.options)
    assert margin(world.state, a) == margin(world.state, other)


@EXAMPLES
@given(seed=worlds)
def test_scan_is_the_worst_weighted_scenario(seed: int) -> None:
    world, rng = drawn(seed)
    a = random_account(rng, world, 6, 3)
    a.cash_wad = -1
    result, w = margin_engine.run(world.state, A, a)
    assert w is not None
    weights = w.params.weights_bps
    losses = scenario_scan.scenario_losses(w.rows, len(weights))
    weighted = [-(-weight * x // 10**4) for x, weight in zip(losses, weights, strict=True)]
    assert result.scan == max(0, *weighted)
    if result.scan:
        assert weighted.index(result.scan) == result.binding_scenario


@EXAMPLES
@given(seed=worlds)
def test_underlying_rows_cover_the_exact_move(seed: int) -> None:
    """Without options: the loss of each scenario is at least Σ value·x in exact fractions."""
    world, rng = drawn(seed, rated=False)
    state = world.state
    a = random_account(rng, world, 0, 8)
    a.cash_wad = -1
    _, w = margin_engine.run(state, A, a)
    if w is None:
        return
    exact = [Fraction(0)] * w.params.scenario_count
    values: list[tuple[int, Fraction]] = []
    for j, amount in enumerate(a.collateral):
        c = state.collaterals[j] if amount else None
        if c is not None:
            units = amount * 10 ** (18 - c.decimals)
            price = state.underlyings[c.underlying].price_wad
            values.append((c.underlying, Fraction(units * price, WAD)))
    for x in a.linear:
        u = x.instrument >> 28
        data = state.underlyings[u]
        mark = margin_engine.linear_mark(state, x.instrument, data.price_wad, data.time)
        values.append((u, Fraction(x.size_wad * mark, WAD)))
    for u, value in values:
        p = w.params.underlyings[u]
        exact = [
            total - value * lane * p.price_unit_e6 / 10**6
            for total, lane in zip(exact, p.price_lanes, strict=True)
        ]
    rows = len(w.rows)
    for loss, truth in zip(scenario_scan.scenario_losses(w.rows, len(exact)), exact, strict=True):
        assert truth <= loss <= truth + 2 * 8_192 * rows


@pytest.mark.chain
@pytest.mark.parametrize("seed", range(8))
def test_on_the_chain(vault: VaultCalls, seed: int) -> None:
    """Merging and order, with the contract's own figures."""
    state, one, other = pair(seed)
    one.cash_wad = other.cash_wad = -1
    whole = merged(one, other)
    shuffled = copy_of(whole)
    Random(seed).shuffle(shuffled.options)
    shuffled.linear.reverse()
    state.accounts = {A: one, B: other, BOTH: whole, account_id(4): shuffled}
    found = [vault.call(state, "margin", account)[0] for account in state.accounts]
    assert all(not isinstance(m, int) for m in found)
    scans = [m[2] for m in found]
    assert scans[2] <= scans[0] + scans[1] + rate_allowance(state, one, other)
    assert found[2] == found[3]
    assert tuple(found[2]) == astuple(margin(state, whole))


def test_ties_bind_at_the_lowest_scenario() -> None:
    rows = [Row(10**18, (-5, -7, -7, 3), 0)]
    assert scenario_scan.scan(rows, (10_000,) * 4) == (7 * 10**18, 1)
    assert scenario_scan.scan(rows, (10_000, 5_000, 1, 10_000)) == (5 * 10**18, 0)
    # equal after rounding up: the lower one although the other is larger before
    assert scenario_scan.scan([Row(1, (-1, -1), 0)], (9_999, 10_000)) == (1, 0)
    assert scenario_scan.scan([Row(1, (1, 2), 0)], (10_000,) * 2) == (0, 2**256 - 1)
