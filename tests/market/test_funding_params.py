"""New risk parameters: funding until then is at the old ones.  The real vault, both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.exact.params.risk_params import RiskParams
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import OWNER

HOUR = 3_600


def funded(bps: int, period: int = 8 * HOUR) -> RiskParams:
    """Underlying 0 pays up to ``bps`` a period."""
    p = params(funding_period_seconds=period)
    first, *rest = p.underlyings
    return replace(p, underlyings=(replace(first, max_funding_bps=bps), *rest))


@pytest.mark.parametrize("after", [0, 10, 1_000])
def test_G55_new_parameters_accrue_at_the_old_ones_first(vault: Market, after: int) -> None:
    """2 hours at 1 % of 3 000 a period of 8, then at the new maximum."""
    vault.set_params(funded(100))
    data = vault.state.underlyings[0]
    data.premium_e9 = 10**9
    vault.write_state()
    since = data.funding_time
    vault.world.timestamp = since + 2 * HOUR
    assert vault.do(OWNER, "setRiskParams", funded(after).blob) is None
    data = vault.state.underlyings[0]
    assert (data.funding_e12, data.funding_time) == (75 * 10**11, since + 2 * HOUR)
    vault.world.timestamp = data.funding_time + 2 * HOUR
    vault.set_price(0, 3_000)
    assert vault.do(OWNER, "refresh", [0]) is None
    assert vault.state.underlyings[0].funding_e12 == 75 * 10**11 + after * 75 * 10**9


def test_G55_what_rounded_to_nothing_is_dropped(vault: Market) -> None:
    """The rest of a unit is not charged at the new rate."""
    vault.set_params(funded(1))
    data = vault.state.underlyings[0]
    data.premium_e9, data.price_wad = 1, 10**6
    vault.write_state()
    vault.warp(HOUR)
    assert vault.do(OWNER, "setRiskParams", funded(1_000).blob) is None
    data = vault.state.underlyings[0]
    assert (data.funding_e12, data.funding_time) == (0, vault.world.timestamp - 1)
