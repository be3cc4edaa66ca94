"""Arrays of prices that are gone must not stay."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from risk.exact.margin import array_logic
from risk.keeper import arrays
from risk.vector.market import listed
from tests.attacks.scene import model_market
from tests.keeper.planner_scene import BOOK, PRICES, WAD, A, Keeper, at_health, settle_in

HEADS = 3 * arrays.SETS


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    """The engine's memory belongs to the process: empty before, and not the next test's matter."""
    array_logic.forget()
    yield
    array_logic.forget()


def test_a_keeper_keeps_the_arrays_of_a_few_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LEAST", 10)
    m = model_market()
    settle_in(m)
    at_health(m, A, 12 * WAD // 10, **BOOK)
    k = Keeper(m)
    options = sum(1 for i in listed(m.state) if i >> 26 & 3 >= 2)
    assert arrays.limit(m.state) == arrays.SETS * options
    sizes, factors = [], []
    for i in range(HEADS):
        for u, price in enumerate(PRICES):
            m.set_price(u, price * (1 + i / 50))
        m.world.timestamp += 12
        assert not k.sweep(touched=frozenset()).failed
        sizes.append(array_logic.remembered())
        factors.append(array_logic._vol_factors.cache_info().currsize)
    assert max(sizes) <= arrays.limit(m.state) + 2 * options < HEADS * options
    assert sum(later < sooner for sooner, later in pairwise(sizes)) == 2
    assert [b < a for a, b in pairwise(factors)] == [b < a for a, b in pairwise(sizes)]
    # at prices that stay nothing is computed, and nothing forgotten
    assert not k.sweep(touched=frozenset()).failed
    assert array_logic.remembered() == sizes[-1]


def test_a_small_market_may_keep_more() -> None:
    m = model_market()
    m.state.buckets.clear()
    assert arrays.limit(m.state) == arrays.LEAST
    assert arrays.trim(m.state) is False
