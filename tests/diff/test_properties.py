"""Properties of the margin and of slices, under hypothesis, in Python and against the chain.

Worlds and accounts come from the runner's generators; hypothesis draws the seeds and how accounts
are cut, merged and shuffled. Where the chain is asked, one simulated block evaluates all accounts
of a property at once.
"""

from __future__ import annotations

from random import Random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from risk.chain.views import MARGIN
from risk.diff.plumbline.chain import ADMIN, Block, Call
from risk.diff.plumbline.portfolio import make_account, open_interest, set_health
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.plumbline.world import make_world, to_state
from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Linear, Option, State, World
from risk.exact.vault import Vault

pytestmark = pytest.mark.chain
WAD = 10**18
FIRST, SECOND, THIRD = (0xA11CE << 8 | sub for sub in range(3))
KEEPER = 0xB0B << 8

python_only = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
on_chain = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(min_value=0, max_value=2**32)


def world(seed: int, positions: int) -> tuple[State, World, Account, Random]:
    """A world without surprises (no missing data, no extremes) and one account in it."""
    rng = Random(f"property {seed}")
    spec = make_world(rng, wild=False, capacity=positions)
    state, around = to_state(spec, rng, ADMIN)
    account = make_account(rng, spec, positions, wild=False)
    for u, units in open_interest([account]).items():
        state.underlyings[u].open_interest_wad = 3 * units
    return state, around, account, rng


def part(account: Account, share: int) -> Account:
    """⌊share⌋ of everything; ``share`` in parts per million."""

    def cut(x: int) -> int:
        return x * share // 10**6

    return Account(
        cut(account.cash_wad),
        [cut(a) for a in account.collateral],
        [Linear(p.instrument, cut(p.size_wad), cut(p.quote_wad)) for p in account.linear],
        [Option(o.instrument, cut(o.size_wad)) for o in account.options if cut(o.size_wad)],
    )


def rest(account: Account, taken: Account) -> Account:
    """What is left: the two parts add up to the account exactly."""
    options = {o.instrument: o.size_wad for o in taken.options}
    left = [
        Option(o.instrument, o.size_wad - options.get(o.instrument, 0)) for o in account.options
    ]
    return Account(
        account.cash_wad - taken.cash_wad,
        [a - b for a, b in zip(account.collateral, taken.collateral, strict=True)],
        [
            Linear(a.instrument, a.size_wad - b.size_wad, a.quote_wad - b.quote_wad)
            for a, b in zip(account.linear, taken.linear, strict=True)
        ],
        [o for o in left if o.size_wad],
    )


def split(account: Account, rng: Random) -> tuple[Account, Account]:
    """Two accounts that merge into ``account``; positions may go to one side, or beyond it."""
    one, two = Account(), Account()
    one.cash_wad = account.cash_wad * rng.randint(-500, 1500) // 1000
    two.cash_wad = account.cash_wad - one.cash_wad
    for j, amount in enumerate(account.collateral):
        one.collateral[j] = rng.randint(0, amount)
        two.collateral[j] = amount - one.collateral[j]
    for p in account.linear:
        size = p.size_wad * rng.randint(-500, 1500) // 1000
        one.linear.append(Linear(p.instrument, size, 0))
        two.linear.append(Linear(p.instrument, p.size_wad - size, p.quote_wad))
    for o in account.options:
        size = o.size_wad * rng.choice([0, 1000, rng.randint(-500, 1500)]) // 1000
        for side, amount in ((one, size), (two, o.size_wad - size)):
            if amount:
                side.options.append(Option(o.instrument, amount))
    return one, two


def rows_of(*accounts: Account) -> int:
    return sum(len(a.options) + 16 for a in accounts)


def scanned(state: State, *accounts: Account) -> list[Margin]:
    """As ``margins``, but accounts without obligations are scanned as well.

    The vault exempts them (their scan reads 0), so sub-additivity is a property of the functional
    and not of the exemption: a borrower merged with somebody's paid-up collateral may show more
    than both did before.
    """
    with patch.object(margin_engine, "has_obligations", lambda account: True):
        return margins(state, *accounts)


def margins(state: State, *accounts: Account) -> list[Margin]:
    """By the reference model; the example is dropped where there is no margin."""
    try:
        return [margin_engine.compute(state, FIRST + i, a) for i, a in enumerate(accounts)]
    except ModelRevert:
        assume(False)
        raise


def chain_margins(
    target: PlumblineTarget, state: State, around: World, *accounts: Account
) -> list[Margin]:
    """By the contracts, in one simulated block."""
    state.accounts = {FIRST + i: a for i, a in enumerate(accounts)}
    f, chain = target.chain.vault_functions, target.chain
    storage, code = target.overrides(state, around)
    calls = [f["margin"].encode(FIRST + i) for i in range(len(accounts))]
    read = Call(chain.batch_reader, chain.reader.encode(target.vault, calls))
    answers = chain.decode_views(
        chain.simulate([Block([read], around.timestamp, storage, code)])[0][0]
    )
    out = []
    for answer in answers:
        assert answer.ok, chain.errors.show(answer.data)
        values = f["margin"].decode(answer.data)[0]
        out.append(Margin(**dict(zip(MARGIN, values, strict=True))))
    return out


# ── sub-additivity ────────────────────────────────────────────────────────────────────────────


def check_merge(whole: Margin, one: Margin, two: Margin, rows: int) -> None:
    """Merging never raises the scan beyond the rounding of the rows (docs/margin.md §8)."""
    assert whole.scan <= one.scan + two.scan + 8193 * rows


@python_only
@given(seeds, st.integers(0, 30))
def test_merging_two_accounts_never_raises_the_scan(seed: int, positions: int) -> None:
    state, _, account, rng = world(seed, positions)
    one, two = split(account, rng)
    whole, a, b = scanned(state, account, one, two)
    check_merge(whole, a, b, rows_of(account, one, two))


@on_chain
@given(seeds, st.integers(0, 16))
def test_merging_on_chain(target: PlumblineTarget, seed: int, positions: int) -> None:
    state, around, account, rng = world(seed, positions)
    one, two = split(account, rng)
    model = margins(state, account, one, two)
    found = chain_margins(target, state, around, account, one, two)
    assert found == model
    assume(all(m.has_obligations for m in found))
    check_merge(*found, rows_of(account, one, two))


# ── splitting never lowers the initial margin ─────────────────────────────────────────────────


def check_split(whole: Margin, one: Margin, two: Margin, rows: int) -> None:
    """ΣIM of the parts is at least the IM of the whole, up to rounding; φ ≤ 2 in these worlds."""
    if one.has_obligations and two.has_obligations:
        assert one.im + two.im + 2 * 8193 * rows + 100 * rows >= whole.im


@python_only
@given(seeds, st.integers(0, 30))
def test_splitting_never_lowers_the_initial_margin(seed: int, positions: int) -> None:
    state, _, account, rng = world(seed, positions)
    one, two = split(account, rng)
    whole, a, b = margins(state, account, one, two)
    check_split(whole, a, b, rows_of(account, one, two))


@on_chain
@given(seeds, st.integers(0, 16))
def test_splitting_on_chain(target: PlumblineTarget, seed: int, positions: int) -> None:
    state, around, account, rng = world(seed, positions)
    one, two = split(account, rng)
    model = margins(state, account, one, two)
    found = chain_margins(target, state, around, account, one, two)
    assert found == model
    check_split(*found, rows_of(account, one, two))


# ── homogeneity ───────────────────────────────────────────────────────────────────────────────


def check_scaled(one: Margin, many: Margin, factor: int, rows: int) -> None:
    """Scan and, where Liq is 0, MM of n times everything are n times those of one, up to rounding.

    A sum of n copies loses at most n roundings; every row rounds its exposure to 1e-18 and has a
    fixed deduction of 8192 units.
    """
    slack = 2 * factor * 8193 * rows
    assert abs(many.scan - factor * one.scan) <= slack
    if one.liq == many.liq == 0:
        assert abs(many.mm - factor * one.mm) <= slack + 100 * factor * rows


@python_only
@given(seeds, st.integers(0, 30), st.integers(2, 50))
def test_scan_and_mm_are_homogeneous(seed: int, positions: int, factor: int) -> None:
    state, _, account, _ = world(seed, positions)
    one, many = margins(state, account, part(account, factor * 10**6))
    check_scaled(one, many, factor, rows_of(account))


@on_chain
@given(seeds, st.integers(0, 16), st.integers(2, 50))
def test_homogeneity_on_chain(
    target: PlumblineTarget, seed: int, positions: int, factor: int
) -> None:
    state, around, account, _ = world(seed, positions)
    multiple = part(account, factor * 10**6)
    model = margins(state, account, multiple)
    found = chain_margins(target, state, around, account, multiple)
    assert found == model
    check_scaled(*found, factor, rows_of(account))


# ── order ─────────────────────────────────────────────────────────────────────────────────────


@on_chain
@given(seeds, st.integers(2, 24))
def test_order_of_positions_does_not_matter(
    target: PlumblineTarget, seed: int, positions: int
) -> None:
    state, around, account, rng = world(seed, positions)
    shuffled = Account(
        account.cash_wad,
        list(account.collateral),
        rng.sample(account.linear, len(account.linear)),
        rng.sample(account.options, len(account.options)),
    )
    model = margins(state, account, shuffled)
    assert model[0] == model[1]
    assert chain_margins(target, state, around, account, shuffled) == model


# ── slices ────────────────────────────────────────────────────────────────────────────────────


def failing(seed: int, positions: int) -> tuple[State, World, Margin]:
    """An account whose equity lies between 0 and MM, and a keeper rich enough to take it over."""
    state, around, account, rng = world(seed, positions)
    state.accounts = {FIRST: account, KEEPER: Account(cash_wad=10**15 * WAD)}
    state.cash_held_wad = 2**100
    state.insurance_wad = 10**24
    for _ in range(8):
        set_health(rng, state, FIRST)
        (margin,) = margins(state, state.accounts[FIRST])
        if margin.has_obligations and 10**19 < margin.equity < margin.mm:
            return state, around, margin
    assume(False)
    raise AssertionError("unreachable")


def slice_dust(state: State, account: Account) -> int:
    """D of docs/liquidation.md §3, generously: the value of one native unit of every leg."""
    assert state.params is not None
    largest = max(u.price_wad for u in state.underlyings)
    collateral = sum(
        2 * largest * 10 ** (18 - c.decimals) // WAD + 2
        for c, amount in zip(state.params.collaterals, account.collateral, strict=False)
        if amount
    )
    legs = len(account.linear) + len(account.options)
    return 4 * collateral + 16 * (legs + 16) * (2 * largest // WAD + 2)


def check_slice(
    state: State, before: Margin, after: Margin, dust: int, rows: int, target_wad: int
) -> None:
    """Health never falls, and never ends above the target by more than the stated bound."""
    if after.mm < 10**18:
        return  # below one unit of cash rounding may dominate (docs/liquidation.md §3)
    slack = (2 * dust + 8193 * rows) * WAD // after.mm + 10
    assert (
        after.health_factor
        >= before.health_factor - slack * (WAD + abs(before.health_factor)) // WAD
    )
    assert after.health_factor <= target_wad + slack


@python_only
@given(seeds, st.integers(1, 30), st.integers(1, WAD))
def test_a_slice_never_lowers_health(seed: int, positions: int, fraction: int) -> None:
    state, around, before = failing(seed, positions)
    assert state.params is not None
    dust, target_wad = slice_dust(state, state.accounts[FIRST]), state.params.target_bps * 10**14
    vault, rows = Vault(state, around), rows_of(state.accounts[FIRST])
    if vault.liquidation_quote(FIRST).full_price_wad <= 0:
        target_wad = 2**255  # the insurance fund pays: everything may go, no target holds it back
    vault.liquidate(KEEPER >> 8, FIRST, KEEPER, fraction, 2**255 - 1)
    (after,) = margins(vault.state, vault.state.accounts[FIRST])
    check_slice(state, before, after, dust, rows, target_wad)


@on_chain
@given(seeds, st.integers(1, 16))
def test_the_largest_slice_lands_on_the_target(
    target: PlumblineTarget, seed: int, positions: int
) -> None:
    """With and without Liq, on both sides; f* below 1 ends at the target within the stated
    bound.
    """
    state, around, before = failing(seed, positions)
    assert state.params is not None
    params = state.params
    target_wad = params.target_bps * 10**14
    account = state.accounts[FIRST]
    dust, rows = slice_dust(state, account), rows_of(account)
    liq_dust = sum(
        2
        * (abs(o.size_wad) // params.underlyings[o.instrument >> 28].depth_wad + 1)
        * (state.underlyings[o.instrument >> 28].price_wad // WAD + 1)
        for o in [*account.linear, *account.options]
    )
    storage, code = target.overrides(state, around)
    vault = Vault(state.clone(), around)
    quote = vault.liquidation_quote(FIRST)
    if quote.full_price_wad <= 0:
        assert quote.max_fraction_wad == WAD
    fraction, payment = vault.liquidate(KEEPER >> 8, FIRST, KEEPER, WAD, 2**255 - 1)
    assert fraction == quote.max_fraction_wad
    after = vault.margin(FIRST)
    check_slice(state, before, after, dust, rows, target_wad)
    if fraction < WAD and after.mm >= 10**18:
        below = (2 * dust + 8193 * rows + liq_dust) * 2 * WAD // after.mm + 1000
        assert after.health_factor >= target_wad - below

    chain, f = target.chain, target.chain.vault_functions
    liquidate = f["liquidate"].encode(FIRST, KEEPER, WAD, 2**255 - 1)
    calls = [
        Call(target.vault, liquidate, KEEPER >> 8),
        Call(target.vault, f["margin"].encode(FIRST)),
    ]
    done, view = chain.simulate([Block(calls, around.timestamp, storage, code)])[0]
    assert done.ok, chain.errors.show(done.data)
    assert f["liquidate"].decode(done.data) == [fraction, payment]
    assert f["margin"].decode(view.data)[0] == [int(getattr(after, name)) for name in MARGIN]


def test_slices_are_tried_with_and_without_the_size_charge() -> None:
    """The two properties above are not vacuous: both branches of f* occur among their seeds."""
    kinds = set()
    for seed in range(60):
        state, around, account, rng = world(seed, 8)
        state.accounts = {FIRST: account}
        set_health(rng, state, FIRST)
        try:
            margin = margin_engine.compute(state, FIRST, account)
            quote = Vault(state, around).liquidation_quote(FIRST)
        except ModelRevert:
            continue
        if 0 < quote.max_fraction_wad < WAD:
            kinds.add(margin.liq > 0)
    assert kinds == {True, False}
