"""A stored array is read, not computed again: the model does not know the difference, gas does."""

from __future__ import annotations

from random import Random

import pytest

from risk.exact.state import Account, Option
from tests.margin.conftest import VaultCalls
from tests.margin.test_margin_chain import known
from tests.margin.worlds import WAD, account_id, random_world

pytestmark = pytest.mark.chain


@pytest.mark.parametrize("underlyings", [1, 3])
def test_a_cached_option_costs_a_fraction_of_a_computed_one(
    vault: VaultCalls, underlyings: int
) -> None:
    world = random_world(Random("cache"), 32, underlyings)
    account = account_id(4)
    ids = known(world, world.options)[:12]
    world.state.accounts = {account: Account(options=[Option(i, WAD) for i in ids])}
    cached = vault.gas(world.state, "margin", account, cached=ids)
    all_but_one = vault.gas(world.state, "margin", account, cached=ids[1:])
    computed = vault.gas(world.state, "margin", account, cached=[])
    assert cached * 3 < computed
    assert cached < all_but_one < computed
