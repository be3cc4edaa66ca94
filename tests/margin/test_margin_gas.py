"""Gas of the cached margin check: one call frame, everything cold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from risk.exact.state import Account, Linear, Option
from tests.margin.conftest import VaultCalls
from tests.margin.worlds import WAD, World, account_id, random_world

pytestmark = pytest.mark.chain

ACCOUNT = account_id(8)
CASH_ONLY, PERP_ONLY, PER_OPTION, PER_UNDERLYING = 8_000, 25_000, 6_800, 8_700


@pytest.fixture(scope="module")
def world() -> World:
    world = random_world(Random("gas"), 32, 4, expiries=8)
    params = world.state.params
    assert params is not None
    grid = tuple((k % 9 - 4) * 375 for k in range(32))
    deep = tuple(
        replace(u, depth_wad=10**6 * WAD, price_unit_e6=100, price_lanes=grid)
        for u in params.underlyings
    )
    world.state.params = replace(params, weights_bps=(10_000,) * 32, underlyings=deep)
    for u in world.state.underlyings:
        u.open_interest_wad = WAD
    return world


def measured(vault: VaultCalls, world: World, a: Account) -> int:
    world.state.accounts = {ACCOUNT: a}
    cached = [x.instrument for x in a.options]
    return vault.gas(world.state, "margin", ACCOUNT, cached=cached)


def options(world: World, count: int) -> list[Option]:
    """Alternately long and short, all of the first underlying."""
    ids = [x for x in world.options if x >> 28 == 0]
    return [Option(x, WAD * (-1) ** i) for i, x in enumerate(ids[:count])]


def test_cash_only(vault: VaultCalls, world: World) -> None:
    assert measured(vault, world, Account(cash_wad=WAD)) <= CASH_ONLY


def test_each_option_costs_two_words_half_a_slot_and_the_multiply_add(
    vault: VaultCalls, world: World
) -> None:
    perp = Linear(world.perps[0], WAD, 0)
    alone = measured(vault, world, Account(linear=[perp]))
    assert alone <= PERP_ONLY
    for count in (16, 64):
        held = options(world, count)
        assert len(held) == count
        figure = measured(vault, world, Account(linear=[perp], options=held))
        assert figure - alone <= PER_OPTION * count + 4_000
        assert figure - alone >= 5_250 * count  # what the slots alone cost: nothing was warm


def test_each_underlying_costs_its_slot_and_its_row(vault: VaultCalls, world: World) -> None:
    held = [Linear(perp, WAD, 0) for perp in world.perps]
    figures = [measured(vault, world, Account(linear=held[:n])) for n in range(1, 5)]
    steps = [b - a for a, b in pairwise(figures)]
    assert all(4_200 <= step <= PER_UNDERLYING for step in steps)
