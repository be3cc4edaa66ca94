"""Of scenarios that lose the same, the first binds: in every lane of every word of the scan."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from risk.exact.margin import margin_engine
from risk.exact.state import Account, Linear, Option
from tests.margin.conftest import VaultCalls
from tests.margin.test_margin_chain import check, known
from tests.margin.worlds import WAD, account_id, random_world

pytestmark = pytest.mark.chain


CASES = [(k, i) for k in (2, 16, 17, 33, 64) for i in (0, 1, 9, 40) if i < k]


@pytest.mark.parametrize(("scenarios", "first"), CASES)
def test_the_first_of_equals_binds(vault: VaultCalls, scenarios: int, first: int) -> None:
    """Lanes before ``first`` are no shock, all others the same fall."""
    world = random_world(Random("ties"), scenarios, 2)
    params = world.state.params
    assert params is not None
    fall = (0,) * first + (-900,) * (scenarios - first)
    world.state.params = replace(
        params,
        weights_bps=(10_000,) * scenarios,
        underlyings=tuple(
            replace(u, price_unit_e6=100, price_lanes=fall, vol_lanes=(0,) * scenarios)
            for u in params.underlyings
        ),
    )
    account = account_id(6)
    options = [Option(i, WAD) for i in known(world, world.options)[:3]]
    world.state.accounts[account] = Account(
        linear=[Linear(world.perps[0], 5 * WAD, 0)], options=options
    )
    held = world.state.accounts[account]
    assert margin_engine.compute(world.state, account, held).binding_scenario == first
    assert check(vault, world, account, []) == "ok"
