"""Collateral of few decimals: less than a native unit cannot move, so a slice may leave more of it
behind than its share.  While the slice is paid for, the price outweighs that.  Where nothing is
paid (HF below the reward) and the haircut leaves next to nothing of a unit's value, its requirement
lowers health, by no more than the unit is worth.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.liquidation import liquidation_logic
from risk.exact.params.risk_params import CollateralParams
from tests.liquidation.scene import PERP, A, at_health
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import BOB, NO_LIMIT, OWNER, WAD, account


@pytest.mark.parametrize("units", [1, 2])
def test_a_slice_may_leave_a_native_unit_behind(market: Market, units: int) -> None:
    m = market
    token = m.new_token(2)
    assert m.do(OWNER, "listCollateral", token, 1, 0, 2, chain=(token, 1, 0)) == 3
    p = params()
    coarse = CollateralParams(1, 2, 9_900, 10**6, False)  # a unit is 600 of cash
    steep = (-3_500, -1_200, -400, 0, 0, 400, 1_200, 2_500)
    wild = replace(p.underlyings[1], price_unit_e6=200, price_lanes=steep)  # down to -70 %
    m.set_params(
        replace(p, underlyings=(p.underlyings[0], wild), collaterals=(*p.collaterals, coarse))
    )
    long = [(PERP, 300 * WAD, -900_000 * WAD)]
    at_health(m, A, 4 * WAD // 100, collateral={3: units}, linear=long)
    before = m.model.margin(A)
    fraction = WAD // 3
    taken, payment = m.do(BOB, "liquidate", A, account(BOB), fraction, NO_LIMIT)
    assert taken == fraction and payment <= 0
    assert m.state.accounts[A].collateral[3] == units  # nothing of it could move
    after = m.compare_margin(A)
    fell = before.health_factor - after.health_factor
    assert fell > liquidation_logic.HEALTH_TOLERANCE
    assert fell * after.mm <= 600 * WAD * units * WAD
