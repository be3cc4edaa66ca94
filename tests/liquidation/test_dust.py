"""The dust rule: what a liquidation would leave below the least margin is taken too."""

from __future__ import annotations

from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import slice_math
from tests.liquidation.scene import LONG, A, C, at_health
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import CAROL, NO_LIMIT, WAD


def configure(market: Market, **changes: Any) -> None:
    market.set_params(params(**changes))
    for u, price in enumerate(PRICES):
        market.set_price(u, price)
    market.put(C, cash=10**8 * WAD)


def liquidate(market: Market, fraction: int = WAD, limit: int = NO_LIMIT) -> Any:
    return market.do(CAROL, "liquidate", A, C, fraction, limit)


def test_with_dust_at_the_wei() -> None:
    half = WAD // 2
    assert slice_math.with_dust(WAD, half, 100, 0) == half
    assert slice_math.with_dust(WAD, half, 100, 50) == half  # 50 are left, not less
    assert slice_math.with_dust(WAD, half, 100, 51) == WAD
    assert slice_math.with_dust(half, half, 100, 51) == WAD
    assert slice_math.with_dust(half - 1, half, 100, 51) == half - 1
    assert slice_math.with_dust(1, WAD, 100, 0) == 1


@pytest.mark.parametrize("more", [0, 1])
def test_D34_D36_target_or_everything(market: Market, more: int) -> None:
    """HF ends on the target, unless less than the least margin would be left: then nothing is."""
    configure(market)
    m = at_health(market, A, WAD * 95 // 100, **LONG)
    reward = slice_math.reward_wad(100, 2_000, 500, m.health_factor, 0)
    target = 11_000 * 10**14
    f = slice_math.closed_form(m.mark_equity, m.equity, m.mm, reward, target)
    left = m.mm * (WAD - f) // WAD
    configure(market, min_margin_wad=left + more)
    m = at_health(market, A, WAD * 95 // 100, **LONG)
    price = slice_math.full_price(m.mark_equity, reward, m.mm)
    assert market.model.liquidation_quote(A).max_fraction_wad == (WAD if more else f)
    if more:
        assert liquidate(market) == (WAD, price)
        assert market.read("accountState", A) == [price, [0, 0, 0], [], []]
    else:
        assert liquidate(market) == (f, -(-price * f // WAD))
        after = market.compare_margin(A)
        assert abs(after.health_factor - target) < 10**7


def test_D36_who_asks_for_less_gets_less(market: Market) -> None:
    """A slice below f* never becomes the whole account; the next one may."""
    configure(market, min_margin_wad=10**5 * WAD)
    at_health(market, A, WAD * 95 // 100, **LONG)
    small = WAD // 100
    assert liquidate(market, small)[0] == small
    quoted = market.model.liquidation_quote(A)
    assert quoted.max_fraction_wad == WAD
    assert liquidate(market, WAD, quoted.full_price_wad - 1) == Revert(
        "PaymentAboveLimit", (quoted.full_price_wad, quoted.full_price_wad - 1)
    )
    assert liquidate(market, WAD, quoted.full_price_wad) == (WAD, quoted.full_price_wad)


def test_healthy_accounts_are_no_dust(market: Market) -> None:
    configure(market, min_margin_wad=10**5 * WAD)
    m = at_health(market, A, WAD, **LONG)
    assert market.model.liquidation_quote(A).max_fraction_wad == 0
    assert liquidate(market) == Revert("AccountHealthy", (A, m.equity, m.mm))
