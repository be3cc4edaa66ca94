"""The gas that is estimated against what transactions take: nothing cached, both prices moved so
that every snapshot is due.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.exact.accounts import account_lib
from risk.exact.state import Account
from risk.keeper.planner import GasTable
from tests.keeper.planner_scene import LONG, PERP, PRICES, WAD, A, C, at_health, settle_in
from tests.liquidation.scene import BTC_PERP, FUTURE, Market, leg, option
from tests.support.vault_fixtures import market  # noqa: F401
from tests.support.vault_twin import CAROL, DAVE, NO_LIMIT

pytestmark = pytest.mark.chain
TABLE = GasTable()
BACKING = {0: 10**17, 1: 10**6, 2: 10**5}
THREE = [
    (PERP, 10 * WAD, -30_000 * WAD),
    (BTC_PERP, WAD, -60_000 * WAD),
    (FUTURE, WAD, -3_000 * WAD),
]


def mixed(count: int) -> list[tuple[int, int]]:
    return [(option(10 + i), WAD * (1 if i % 2 else -1)) for i in range(count)]


SHAPES: dict[str, dict[str, Any]] = {
    "perp": LONG,
    "perp, 3 collaterals": {**LONG, "collateral": BACKING},
    "2 perps, future, 3 collaterals": {"linear": THREE, "collateral": BACKING},
    "perp, 4 options": {**LONG, "options": mixed(4)},
    "perp, 16 options": {**LONG, "options": mixed(16)},
    "perp, 32 options": {**LONG, "options": mixed(32)},
}


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("way", ["liquidate", "liquidateLegs", "flag"])
@pytest.mark.parametrize("shape", SHAPES)
def test_estimate_covers(market: Market, shape: str, way: str, moved: bool) -> None:  # noqa: F811
    m = market
    settle_in(m)
    at_health(m, A, 95 * WAD // 100, **SHAPES[shape])
    if moved:
        for u, price in enumerate(PRICES):
            m.set_price(u, price * 0.985)
    before, p = account_lib.load(m.state, A), m.state.params
    assert p is not None
    if way == "flag":
        assert m.do(DAVE, way, A) is None
        base, taker = TABLE.flag, Account()
    else:
        legs = A, C, [leg(PERP, WAD)], NO_LIMIT
        chain = (*legs, b"") if way == "liquidateLegs" else ()
        args = (*legs, None) if chain else (A, C, WAD, NO_LIMIT)
        assert not isinstance(m.do(CAROL, way, *args, chain=chain), Exception)
        base = TABLE.slice if way == "liquidate" else TABLE.legs
        taker = account_lib.load(m.state, C)
    estimate = TABLE.estimate(base, p, before, taker, moves=way != "flag")
    print(f"\n{way} {shape}{', snapshots due' if moved else ''}: {m.gas_used} {estimate}")
    assert m.gas_used <= estimate <= 2.2 * m.gas_used
    assert TABLE.limit(estimate) * 4 >= estimate * 5


def test_no_more_than_a_transaction_may_have() -> None:
    assert TABLE.limit(16_000_000) == 16_777_216
