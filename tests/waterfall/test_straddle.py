"""Long in one account, short in another: what that straddle can win from the insurance fund."""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, WAD, account
from tests.waterfall.support import (
    LENDER,
    PERP,
    PRICE,
    Holding,
    adl,
    plan,
    position,
    with_params,
    write,
)

LONG, SHORT = account(ALICE, 1), account(ALICE, 2)
EVENT, CAP = 5_000 * WAD, 8_000 * WAD


def straddle(market: Market, units: int) -> int:
    """Both legs with exactly their initial margin; returns Σ E of the two."""
    legs = {LONG: units * WAD, SHORT: -units * WAD}
    write(market, {i: Holding(**position(PERP, size)) for i, size in legs.items()})
    book = {}
    for i, size in legs.items():
        book[i] = Holding(cash=market.model.margin(i).im, **position(PERP, size))
    write(market, book)
    return sum(market.compare_margin(i).equity for i in legs)


@pytest.mark.parametrize("jump", [0.2, 0.5, 0.7, 1.3, 1.4, 2.0, 4.0])
def test_a_straddle_wins_at_most_what_the_fund_may_lose(market: Market, jump: float) -> None:
    """The other leg is the counterparty: whatever the fund does not pay comes out of its gain."""
    with_params(
        market,
        insurance_event_cap_wad=EVENT,
        insurance_period_cap_wad=CAP,
        insurance_period_seconds=86_400,
    )
    write(market, {LENDER: Holding(cash=10**7 * WAD)}, insurance_wad=10**6 * WAD)
    won = lost = 0
    for _ in range(4):  # again and again, in one period
        market.set_price(0, PRICE)
        market.do(ALICE, "refresh", [0])
        before, fund = straddle(market, 100), market.state.insurance_wad
        im = market.model.margin(LONG).im
        market.set_price(0, PRICE * jump)
        market.do(ALICE, "refresh", [0])
        bankrupt, winner = (LONG, SHORT) if jump < 1 else (SHORT, LONG)
        deficit = -market.model.margin(bankrupt).mark_equity
        # nothing at all before the gap is wider than initial margin
        gap = round(abs(jump - 1) * PRICE * 100) * WAD
        assert deficit == gap - im
        if deficit <= 0:
            assert adl(market, PERP, [winner], 0, bankrupt) == Revert(
                "NotBankrupt", (bankrupt, -deficit)
            )
            continue
        p = plan(market, PERP, [winner], bankrupt)
        result = adl(market, PERP, [winner], p.theta, bankrupt)
        if p.insured == deficit:  # within the caps: a liquidator is paid
            assert result == Revert("InsuranceNotExhausted", (min(EVENT, CAP - lost),))
            break
        assert result == deficit - p.insured
        after = sum(market.compare_margin(i).equity for i in (LONG, SHORT))
        paid = fund - market.state.insurance_wad
        assert paid <= EVENT and after - before <= paid
        won, lost = won + after - before, lost + paid
    assert won <= lost <= CAP + CAP * 100 // 86_400
