"""The first exposure that is refused, and the last that is not: the model finds it, the chain must
agree on both sides of it.
"""

from __future__ import annotations

from random import Random

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import explain_logic
from risk.exact.state import Account, Linear
from tests.margin.conftest import VaultCalls
from tests.margin.test_margin_chain import check
from tests.margin.worlds import World, account_id, random_world

pytestmark = pytest.mark.chain


def refused(world: World, account: int, size: int) -> bool:
    """Whether the model refuses a perp of this size."""
    world.state.accounts[account] = Account(linear=[Linear(world.perps[0], size, 0)])
    try:
        explain_logic.explain(world.state, account)
    except ModelRevert as error:
        assert error.name == "ExposureOverflow"
        return True
    return False


@pytest.mark.parametrize("sign", [1, -1])
def test_exposure_at_its_limit(vault: VaultCalls, sign: int) -> None:
    world = random_world(Random("exposure"), 8, 2)
    account = account_id(5)
    low, high = 1, 2**95 - 1  # admitted, refused
    assert not refused(world, account, low) and refused(world, account, sign * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if refused(world, account, sign * middle) else (middle, high)
    refused(world, account, sign * low)
    assert check(vault, world, account, []) == "ok"
    refused(world, account, sign * high)
    assert check(vault, world, account, []) == "ExposureOverflow"
