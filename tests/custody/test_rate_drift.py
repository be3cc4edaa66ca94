"""Collateral rates drift as prices do.

A rate that moved inside the band is part of what initial margin must bear: otherwise an account
that is hedged in units of the underlying is accepted at E = IM and bankrupt at the same prices in
the next transaction, when anybody takes the snapshot.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.params.risk_params import CollateralParams
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    OWNER,
    USD,
    WAD,
    account,
    iid,
    risk_params,
)

A, B, D = (account(k) for k in (ALICE, BOB, DAVE))
PERP = iid.encode(0, iid.PERP, 0, 0)
RATE = 12 * WAD // 10


class Staked:
    """A staked ether of 1.2 ether, haircut 0.5 %, as collateral."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.feed = market.new_feed(18, RATE)
        self.token = market.new_token(18)
        chain = (self.token, 0, self.feed)
        self.index = market.do(OWNER, "listCollateral", self.token, 0, self.feed, 18, chain=chain)
        base = params()
        item = CollateralParams(0, 18, 50, 10**24, True)
        market.set_params(risk_params(base.underlyings, (*base.collaterals, item)))
        self.tick()
        for key in (ALICE, BOB):
            market.give(self.token, key, 10**22)

    def tick(self, rate: int = RATE) -> None:
        """All feeds are alive; the index does not move."""
        for u, price in enumerate(PRICES):
            self.market.set_price(u, price)
        self.market.set_feed(self.feed, rate)


@pytest.fixture
def staked(market: Market) -> Staked:
    return Staked(market)


def withdraw(market: Market, amount: int) -> Any:
    return market.do(ALICE, "withdraw", A, market.cash, amount, OWNER)


def test_hedged_account_is_not_accepted_at_an_old_rate(market: Market, staked: Staked) -> None:
    """1 000 staked ether against 1 200 short perps, so IM is next to nothing; then the rate falls
    by 0.92 %, inside the band of 1 %.
    """
    assert market.do(BOB, "deposit", B, market.cash, 5 * 10**6 * USD) is None
    assert market.do(ALICE, "deposit", A, staked.token, 1_000 * WAD) is None
    assert market.trade(BOB, ALICE, PERP, 1_200 * WAD, 3_000 * WAD) is None
    m = market.compare_margin(A)
    amount = (m.equity - m.im) // 10**12 - 1
    assert m.im < WAD and amount == 3_581_999_999_998

    staked.tick(1_189 * WAD // 1_000)
    outcome = withdraw(market, amount)
    # E at the live rate: 3 567 000 · 0.995, less what was to be withdrawn
    value = 1_189 * 3_000 * 9_950 // 10_000 * WAD
    assert isinstance(outcome, Revert) and outcome.name == "InsufficientMargin"
    _, equity, im = outcome.args
    assert equity == pytest.approx(value - amount * 10**12, abs=WAD)
    assert equity < 0 and im >= 8_250 * WAD
    assert market.state.collaterals[staked.index].rate_wad == RATE  # rolled back

    # what is really there may leave, and the next snapshot does not change that
    staked.tick(1_189 * WAD // 1_000)
    room = (value - 11 * 3_000 * 33 * WAD // 100 - 5_000 * WAD) // 10**12
    assert withdraw(market, room) == room
    assert market.state.collaterals[staked.index].rate_wad == 1_189 * WAD // 1_000
    m = market.compare_margin(A)
    assert m.equity >= m.im
    market.set_price(0, PRICES[0] * 1.011)
    assert market.do(CAROL, "refresh", [0]) is None
    m = market.compare_margin(A)
    assert m.equity >= m.mm


@pytest.mark.parametrize("sign", [1, -1])
def test_rate_drift_at_the_wei(market: Market, staked: Staked, sign: int) -> None:
    """2·⌈|live units − units|·price⌉ = IM − MM is tolerated; one unit of the rate more is not."""
    held = WAD // 100  # so that one unit of the rate moves less than a wei of value
    market.put(
        A,
        cash=10**4 * WAD,
        collateral={staked.index: held},
        linear=[(PERP, -WAD // 100, 30 * WAD)],
        mirror=B,
    )
    market.state.accounts[B].collateral[staked.index] = 0
    market.settle_totals()
    market.write_state()
    m = market.compare_margin(A)
    price = PRICES[0]
    drift = (m.im - m.mm) // 2
    assert 0 < drift < held * RATE // WAD * price // 100  # inside the band
    # units of the collateral are whole: the largest move of units that is tolerated
    units = drift // price
    for more, taken in ((0, 0), (1, 1)):
        delta = -(-(units + more) * WAD // held)
        rate = RATE + sign * delta
        moved = abs(held * rate // WAD - held * RATE // WAD)
        if sign < 0 and moved != units + more:
            rate += 1
            moved = abs(held * rate // WAD - held * RATE // WAD)
        assert moved == units + more
        assert (2 * moved * price > m.im - m.mm) == bool(taken)
        before = market.state.underlyings[0].epoch
        staked.tick(rate)
        assert withdraw(market, 1) == 1
        assert market.state.underlyings[0].epoch == before + taken
        assert market.state.collaterals[staked.index].rate_wad == (rate if taken else RATE)


def test_rate_of_others_is_no_drift(market: Market, staked: Staked) -> None:
    """Who does not hold the collateral takes no snapshot because of its rate."""
    assert market.do(BOB, "deposit", B, market.cash, 5 * 10**6 * USD) is None
    assert market.do(ALICE, "deposit", A, market.cash, 10**6 * USD) is None
    assert market.trade(BOB, ALICE, PERP, WAD, 3_000 * WAD) is None
    m = market.compare_margin(A)
    staked.tick(1_191 * WAD // 1_000)
    before = market.state.underlyings[0].epoch
    assert withdraw(market, (m.equity - m.im) // 10**12) > 0
    assert market.state.underlyings[0].epoch == before
