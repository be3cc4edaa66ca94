"""Solidity equals Python on random portfolios: margin, explanation, arrays, every refusal."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from random import Random

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic, explain_logic, instrument_id, scenario_array
from risk.exact.state import Account, Collateral, Linear, Option
from tests.margin import layout
from tests.margin.conftest import VaultCalls
from tests.margin.worlds import TODAY, WAD, World, account_id, random_account, random_world

pytestmark = pytest.mark.chain

SCENARIOS = (1, 31, 32, 33, 64)
SIZES = (0, 1, 2, 7, 16, 40, 100, 128)


def known(world: World, ids: list[int]) -> list[int]:
    """Those whose array exists."""
    result = []
    for instrument in ids:
        try:
            array_logic.compute(world.state, instrument)
        except ModelRevert:
            continue
        result.append(instrument)
    return result


def check(vault: VaultCalls, world: World, account: int, cached: list[int]) -> str:
    """Compares ``explain`` (which holds the margin); returns the name of the refusal or ``ok``."""
    state = world.state
    got = vault.call(state, "explain", account, cached=cached)
    try:
        expected = explain_logic.explain(state, account)
    except ModelRevert as error:
        shown = vault.chain.errors.show(got) if isinstance(got, bytes) else "a margin"
        assert got == vault.revert(error), (error, shown)
        return error.name
    assert not isinstance(got, bytes), vault.chain.errors.show(got)
    margin, rows, *distances = got[0]
    assert tuple(margin) == astuple(expected.margin)
    assert [tuple(row) for row in rows] == [
        (int(r.kind), r.id, r.value, r.scan_contribution) for r in expected.rows
    ]
    assert distances == [
        expected.distance_to_im,
        expected.distance_to_mm,
        expected.distance_to_target,
    ]
    assert sum(r.scan_contribution for r in expected.rows) == expected.margin.scan
    (only_margin,) = vault.call(state, "margin", account, cached=cached)
    assert tuple(only_margin) == astuple(expected.margin)
    return "ok" if expected.margin.scan else "no scan"


@pytest.mark.parametrize("scenarios", SCENARIOS)
def test_random_portfolios(vault: VaultCalls, scenarios: int) -> None:
    seen: Counter[str] = Counter()
    for case in range(24):
        rng = Random(f"margin {scenarios} {case}")
        world = random_world(rng, scenarios, rng.choice((1, 2, 3, 5, 8)))
        account = account_id(case)
        options = SIZES[case % len(SIZES)]
        linear = min(rng.choice((0, 1, 3, 8)), 128 - options)
        world.state.accounts[account] = a = random_account(rng, world, options, linear)
        ids = known(world, [x.instrument for x in a.options])
        cached = [x for x in ids if rng.random() < 0.5] if case % 3 else ids
        seen[check(vault, world, account, cached)] += 1
    assert seen["ok"] >= (6 if scenarios == 1 else 15)
    assert not seen.keys() - {"ok", "no scan"}


def test_128_positions_of_eight_underlyings(vault: VaultCalls) -> None:
    rng = Random("full")
    world = random_world(rng, 64, 8, expiries=8)
    account = account_id(1)
    world.state.accounts[account] = a = random_account(rng, world, 100, 28)
    assert len(a.options) + len(a.linear) == 128
    assert check(vault, world, account, []) == "ok"


def test_refusals(vault: VaultCalls) -> None:
    """Each refusal of the margin, on both sides."""
    account = account_id(2)

    def world_with(a: Account) -> World:
        world = random_world(Random("refusals"), 8, 2)
        world.state.accounts[account] = a
        return world

    missing_future = instrument_id.encode(0, instrument_id.FUTURE, TODAY + 500, 0)
    missing_option = instrument_id.encode(0, instrument_id.CALL, TODAY + 500, 3)
    world = world_with(Account(linear=[Linear(missing_future, WAD, 0)]))
    assert check(vault, world, account, []) == "SliceMissing"
    world = world_with(Account(options=[Option(missing_option, WAD)]))
    assert check(vault, world, account, []) == "UnknownInstrument"
    world = world_with(Account())
    world.state.accounts[account] = Account(linear=[Linear(world.perps[0], 2**95 - 1, 0)])
    assert check(vault, world, account, []) == "ExposureOverflow"
    world.state.params = None
    assert check(vault, world, account, []) == "RiskParamsMissing"
    world.state.accounts[account] = Account(cash_wad=-1)  # cash only needs no parameters
    assert check(vault, world, account, []) == "no scan"
    # reported expiry with a strike that Black-76 does not take
    world = world_with(Account())
    live = next(x for x in world.options if instrument_id.expiry_day(x) > TODAY + 2)
    bucket = world.state.buckets[instrument_id.bucket_key(live)]
    bucket.strikes_wad[0] = 2**128 - 1
    strange = live & ~0x3FF
    world.state.accounts[account] = Account(options=[Option(strange, WAD)])
    assert check(vault, world, account, []) == "Black76StrikeOutOfRange"
    # no snapshot yet: nothing to price
    world = world_with(Account())
    world.state.underlyings[0].price_wad = world.state.underlyings[0].epoch = 0
    world.state.accounts[account] = Account(options=[Option(live, WAD)])
    assert check(vault, world, account, []) == "Black76ForwardOutOfRange"
    # a collateral so large that its value does not fit
    world = world_with(Account())
    world.state.collaterals[0] = Collateral(token=9, decimals=0, underlying=0, rate_feed=1)
    world.state.collaterals[0].rate_wad = 2**96 - 1
    world.state.underlyings[0].price_wad = 10**25
    state = world.state
    assert state.params is not None
    first = state.params.collaterals[0].__class__(0, 0, 10_000, 2**127, True)
    object.__setattr__(state.params, "collaterals", (first, *state.params.collaterals[1:]))
    a = Account()
    a.collateral[0] = 2**127
    state.accounts[account] = a
    assert check(vault, world, account, []) == "no scan"
    a.linear.append(Linear(world.perps[0], 1, 0))
    assert check(vault, world, account, []) == "ExposureOverflow"


def test_boundaries_without_positions(vault: VaultCalls) -> None:
    world = random_world(Random("cash"), 4, 1)
    account = account_id(3)
    for cash in (0, 1, -1, 2**127 - 1, -(2**127)):
        world.state.accounts[account] = Account(cash_wad=cash)
        assert check(vault, world, account, []) == "no scan"
    claim = Account(cash_wad=-5, linear=[Linear(world.perps[0], 0, 7)])
    world.state.accounts[account] = claim
    assert check(vault, world, account, []) == "no scan"


def test_cached_arrays_are_the_models(vault: VaultCalls) -> None:
    """What ``scenarioArray`` shows after ``computeArrays`` is what the model computes."""
    world = random_world(Random("arrays"), 33, 2)
    ids = known(world, world.options)
    state = world.state
    first = ids[0]
    epoch = state.underlyings[instrument_id.underlying(first)].epoch
    expected = array_logic.compute(state, first).words(epoch)
    (words,) = vault.call(state, "scenarioArray", first, cached=[first])
    assert tuple(words) == expected
    (words,) = vault.call(state, "scenarioArray", ids[1], cached=[first])
    assert tuple(words) == (0, 0, 0, 0)
    assert vault.call(state, "computeArrays", ids, cached=ids[::2]) == []
    unknown = instrument_id.encode(0, instrument_id.PERP, 0, 0)
    got = vault.call(state, "computeArrays", [first, unknown])
    assert got == vault.revert(ModelRevert("UnknownInstrument", (unknown,)))


@pytest.mark.parametrize("epoch", [1, 2**24 - 2, 2**24 - 1, 2**24, 2**25 - 3, 2**25 - 2])
def test_a_wrapped_tag_never_validates_an_old_array(vault: VaultCalls, epoch: int) -> None:
    """The array of ``epoch`` is found in ``epoch`` and in no later epoch, the one with its tag
    included.
    """
    world = random_world(Random("wrap"), 2, 1)
    state = world.state
    instrument = known(world, world.options)[0]
    underlying = state.underlyings[0]
    underlying.epoch = epoch
    stored = layout_slots(world, instrument)
    (words,) = vault.call(state, "scenarioArray", instrument, extra=stored)
    assert words[0] >> 208 & 0xFFFFFF == scenario_array.tag_of(epoch) != 0
    for later in (epoch + 1, epoch + scenario_array.TAG_CYCLE, epoch + 2**24):
        underlying.epoch = later
        (words,) = vault.call(state, "scenarioArray", instrument, extra=stored)
        assert words == [0, 0, 0, 0]
    underlying.epoch = epoch
    prepared = dict.fromkeys(stored, 1)  # what listing writes
    (words,) = vault.call(state, "scenarioArray", instrument, extra=prepared)
    assert words == [0, 0, 0, 0]


def layout_slots(world: World, instrument: int) -> dict[int, int]:
    return layout.array_slots(world.state, [instrument])
