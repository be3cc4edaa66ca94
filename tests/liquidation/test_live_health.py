"""Who is unhealthy only at an old price is not liquidated.

A liquidation needs E < MM at the snapshot, at the live prices and rates, and, where a market has no
usable price, at its most favourable price within the deviation band.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import liquidation_logic
from risk.exact.margin import drift, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.params.risk_params import CollateralParams
from risk.exact.settlement import settlement_lib
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NO_LIMIT,
    OWNER,
    USD,
    WAD,
    account,
    iid,
    risk_params,
)

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, EXPIRIES[1], 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], STRIKES.index(3_000 * WAD))
LONG = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}
STALE, HALTED = 2, 3
ROW = 8_192  # what a scan row adds to MM at most, by rounding


@pytest.fixture(autouse=True)
def liquidator(market: Market) -> None:
    market.put(D, cash=10**8 * WAD)


def lacking(market: Market, shortfall: int, **holding: Any) -> Margin:
    """Alice holds this with E = MM − shortfall; Bob is the mirror."""
    market.put(A, cash=-(10**30), mirror=B, **holding)
    m = market.model.margin(A)
    market.state.accounts[A].cash_wad = m.mm - shortfall - m.equity - 10**30
    market.state.accounts[B].cash_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    m = market.compare_margin(A)
    assert m.mm - m.equity == shortfall
    return m


def liquidate(market: Market) -> Any:
    return market.do(DAVE, "liquidate", A, D, WAD, NO_LIMIT)


def epochs(market: Market) -> list[int]:
    return [u.epoch for u in market.state.underlyings]


# ------------------------------------------------------------------------------ the live price


def test_in_band_rebound_is_not_liquidated(market: Market) -> None:
    """200 perps, snapshot at 2 665 with HF 0.998; the index has risen by 0.99 %, inside the band:
    the owner can neither refresh nor pull a snapshot by a withdrawal, and is healthy.
    """
    assert market.do(ALICE, "deposit", A, market.cash, 200_000 * USD) is None
    assert market.do(BOB, "deposit", B, market.cash, 3 * 10**6 * USD) is None
    market.set_price(0, 3_000)
    assert market.trade(ALICE, BOB, PERP, 200 * WAD, 3_000 * WAD) is None
    market.set_price(0, 2_665)
    assert market.do(CAROL, "refresh", [0]) is None
    m = market.compare_margin(A)
    assert (m.equity, m.mm) == (133_000 * WAD, 133_250 * WAD + ROW)
    live = 2_665 * 1.0099
    before = epochs(market)
    for call, name in (
        (lambda: market.do(ALICE, "refresh", [0]), "RefreshNotNeeded"),
        (lambda: market.do(ALICE, "withdraw", A, market.cash, 1, OWNER), "InsufficientMargin"),
    ):
        market.set_price(0, live)
        assert call().name == name
    market.set_price(0, live)
    outcome = liquidate(market)
    healthy, needed = 138_276_700_000 * 10**12, 134_569_175 * 10**15
    assert outcome == Revert("AccountHealthy", (A, healthy, needed + ROW))
    assert epochs(market) == before  # refused: nothing stays, nobody's arrays are void
    # Dave would have gained the difference on what he takes
    assert market.state.accounts[D].linear == []


def test_unhealthy_at_the_live_price_is_liquidated_at_it(market: Market) -> None:
    m = lacking(market, 150 * WAD, **LONG)
    market.set_price(0, 3_010)
    before = epochs(market)
    quoted = market.model.liquidation_quote(A)
    fraction, payment = liquidate(market)
    assert epochs(market) == [before[0] + 1, before[1]]
    assert market.state.underlyings[0].price_wad == 3_010 * WAD
    # short of 75 now and not of 150: less is taken than at the snapshot
    assert 0 < fraction < quoted.max_fraction_wad and payment > 0
    assert m.mm == 7_500 * WAD + ROW


@pytest.mark.parametrize(
    ("short", "outcome"), [(-1, "refused"), (0, "refused"), (1, "taken"), (10**9, "taken")]
)
def test_live_price_at_the_wei(market: Market, short: int, outcome: str) -> None:
    """The rise brings 100 − 25·short of the requirement: E + 100 against MM + 25."""
    lacking(market, 75 * WAD + short, **LONG)
    market.set_price(0, 3_010)
    result = liquidate(market)
    needed = 7_525 * WAD + ROW
    if outcome == "refused":
        assert result == Revert("AccountHealthy", (A, needed - short, needed))
    else:
        assert not isinstance(result, Revert)


@pytest.mark.parametrize("move", [10, -10])
@pytest.mark.parametrize("beyond", [0, 1])
def test_snapshot_is_taken_only_where_it_could_decide(
    market: Market, move: int, beyond: int
) -> None:
    """E + 2·drift ≥ MM decides at the wei: 10 units and a move of 10 drift by 100."""
    lacking(market, 200 * WAD + beyond, **LONG)
    market.set_price(0, 3_000 + move)
    before = epochs(market)
    assert not isinstance(liquidate(market), Revert)
    assert epochs(market) == [before[0] + 1 - beyond, before[1]]


def test_price_moved_against_the_account_is_taken_too(market: Market) -> None:
    """A little below MM and falling further: liquidated at the live price."""
    lacking(market, 1, **LONG)
    market.set_price(0, 2_990)
    before = market.model.liquidation_quote(A)
    fraction, _ = liquidate(market)
    assert fraction > before.max_fraction_wad
    assert market.state.underlyings[0].price_wad == 2_990 * WAD


def test_live_rate_counts(market: Market) -> None:
    """A collateral's rate rose inside the band: it heals the account as a price does."""
    feed = market.new_feed(18, 12 * WAD // 10)
    token = market.new_token(18)
    j = market.do(OWNER, "listCollateral", token, 0, feed, 18, chain=(token, 0, feed))
    base = params()
    rated = CollateralParams(0, 18, 1_000, 10**24, True)
    market.set_params(risk_params(base.underlyings, (*base.collaterals, rated)))
    market.set_price(0, PRICES[0])
    assert market.do(CAROL, "refresh", [0]) in (None, Revert("RefreshNotNeeded", (0,)))
    for shortfall, healed in ((10 * WAD, True), (200 * WAD, False)):
        market.put(D, cash=10**8 * WAD)
        lacking(market, shortfall, collateral={j: 10 * WAD}, **LONG)
        market.set_price(0, PRICES[0])
        market.set_feed(feed, 1_205 * 10**15)  # + 0.42 %: 10·0.005·3000·0.9 = 135 of equity
        before = market.state.collaterals[j].rate_wad
        result = liquidate(market)
        if healed:
            assert isinstance(result, Revert) and result.name == "AccountHealthy"
            assert market.state.collaterals[j].rate_wad == before == 12 * WAD // 10
        else:
            assert not isinstance(result, Revert)


# ---------------------------------------------------------------------- markets without a price


def spoil(market: Market, state: int, u: int = 0) -> None:
    """Whoever has no usable price; the index stands where the snapshot does."""
    if state == STALE:
        market.set_price(u, PRICES[u])
        market.warp(3_601)
    else:
        market.set_feed(market.state.underlyings[u].feed, -5)
    assert market.read("oracleState", u)[0] == state


@pytest.mark.parametrize("state", [STALE, HALTED])
@pytest.mark.parametrize(
    ("holding", "favour"),
    [
        (LONG, 300 * WAD),
        ({"linear": [(PERP, -10 * WAD, 30_000 * WAD)]}, 300 * WAD),
        ({"collateral": {0: 2 * WAD}, "linear": [(PERP, 10 * WAD, 0)]}, 360 * WAD),
        # one price moves them together: the hedge counts against what it hedges
        ({"collateral": {0: 2 * WAD}, "linear": [(PERP, -10 * WAD, 30_000 * WAD)]}, 240 * WAD),
        ({"options": [(CALL, -4 * WAD), (CALL + 1, 3 * WAD)]}, 210 * WAD),
        ({"linear": [(PERP, 10 * WAD + 1, 0)]}, 300 * WAD + 31),  # 3000 wei · 1 %, rounded up
    ],
)
def test_favour_at_the_wei(
    market: Market, state: int, holding: dict[str, Any], favour: int
) -> None:
    """Within the band of 1 % of the notional protected, beyond it not."""
    if favour % WAD:
        favour = 300 * WAD + 30
    p = params()
    for short in (favour, 1, favour + 1):
        market.put(D, cash=10**8 * WAD)
        m = lacking(market, short, **holding)
        assert drift.favour(market.state, p, market.state.accounts[A], {0}) == favour
        spoil(market, state)
        before = epochs(market)
        result = liquidate(market)
        if short <= favour:
            assert result == Revert("AccountHealthy", (A, m.equity, m.mm))
        else:
            assert not isinstance(result, Revert) and result[0] > 0
        assert epochs(market) == before  # beyond the band at the last snapshot


def test_wide_confidence_is_a_usable_price(market: Market) -> None:
    lacking(market, WAD, **LONG)
    market.state.underlyings[0].confidence_bps = 51
    market.write_state()
    market.set_price(0, PRICES[0])
    assert market.read("oracleState", 0)[0] == 1
    assert not isinstance(liquidate(market), Revert)


def test_only_markets_of_the_account_favour_it(market: Market) -> None:
    """Bitcoin is halted: the liquidator holds it, the account does not."""
    market.put(C, cash=10**8 * WAD)
    market.put(D, cash=10**8 * WAD, linear=[(BTC_PERP, WAD, 0)], mirror=C)
    saved = [x.cash_wad for x in (market.state.accounts[D], market.state.accounts[C])]
    lacking(market, 1, **LONG)
    assert saved == [market.state.accounts[x].cash_wad for x in (D, C)]
    spoil(market, HALTED, 1)
    assert not isinstance(liquidate(market), Revert)


@pytest.mark.parametrize(("short", "healthy"), [(75, True), (76, True), (675, True), (676, False)])
def test_live_price_and_favour_add_up(market: Market, short: int, healthy: bool) -> None:
    """Bitcoin halted (1 perp: 600 of favour), ether risen by 10 (75 net of the requirement)."""
    lacking(
        market,
        short * WAD,
        linear=[(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, WAD, -60_000 * WAD)],
    )
    market.set_price(0, 3_010)
    spoil(market, HALTED, 1)
    result = liquidate(market)
    if healthy:
        assert isinstance(result, Revert) and result.name == "AccountHealthy"
        needed = 7_525 * WAD + 15_000 * WAD + 2 * ROW
        assert result.args[1] == needed - (short - 75) * WAD and result.args[2] == needed
    else:
        assert not isinstance(result, Revert)
        assert market.state.underlyings[0].price_wad == 3_010 * WAD


def test_stale_market_that_left_its_band_protects_nobody(market: Market) -> None:
    """The feed stopped at half the price: the snapshot counts, and its band."""
    lacking(market, 301 * WAD, **LONG)
    market.set_price(0, 1_500)
    market.warp(3_601)
    assert not isinstance(liquidate(market), Revert)
    assert market.state.underlyings[0].price_wad == PRICES[0] * WAD


def test_favour_of_a_perp_hedged_by_a_future(market: Market) -> None:
    """Only the difference of 10 and 10·R is within the band."""
    ratio = market.state.buckets[iid.bucket_key(FUTURE)].forward_ratio_wad
    net = abs(10 * WAD - -(-10 * WAD * ratio // WAD))
    favour = 30 * net  # 3 000 a unit, 1 %
    for short in (favour, favour + 1):
        market.put(D, cash=10**8 * WAD)
        m = lacking(market, short, linear=[(PERP, 10 * WAD, 0), (FUTURE, -10 * WAD, 0)])
        spoil(market, HALTED)
        result = liquidate(market)
        if short == favour:
            assert result == Revert("AccountHealthy", (A, m.equity, m.mm))
        else:
            assert not isinstance(result, Revert)
        market.set_price(0, PRICES[0])


def test_a_future_is_rounded_away_from_zero_in_the_favour(market: Market) -> None:
    size = 10 * WAD + 1
    ratio = market.state.buckets[iid.bucket_key(FUTURE)].forward_ratio_wad
    assert size * ratio % WAD  # or there would be nothing to round
    favour = 30 * -(-size * ratio // WAD)
    for short in (favour, favour + 1):
        market.put(D, cash=10**8 * WAD)
        m = lacking(market, short, linear=[(FUTURE, size, 0)])
        assert drift.favour(market.state, params(), market.state.accounts[A], {0}) == favour
        spoil(market, HALTED)
        result = liquidate(market)
        if short == favour:
            assert result == Revert("AccountHealthy", (A, m.equity, m.mm))
        else:
            assert not isinstance(result, Revert)
        market.set_price(0, PRICES[0])


# --------------------------------------------------------------------------------------- funding


@pytest.mark.parametrize("state", [0, STALE])
def test_funding_counts_up_to_now(market: Market, state: int) -> None:
    """1 % in eight hours on 10 perps: 6.25 in ten minutes, whatever the market's state."""
    p = params(funding_period_seconds=28_800)
    market.set_params(
        replace(p, underlyings=(replace(p.underlyings[0], max_funding_bps=100), p.underlyings[1]))
    )
    market.set_price(0, PRICES[0])
    market.state.underlyings[0].premium_e9 = 10**7
    market.write_state()
    lacking(market, 300 * WAD if state else -1, **LONG)
    before = market.state.underlyings[0]
    was, since = before.funding_e12, before.funding_time
    if state:
        spoil(market, state)
    else:
        market.warp(600)
        market.set_price(0, PRICES[0])
    assert not isinstance(liquidate(market), Revert)
    after = market.state.underlyings[0]
    elapsed = after.funding_time - since
    assert elapsed >= 600
    assert after.funding_e12 - was == 30 * 10**12 * elapsed // 28_800


# ----------------------------------------------------------------------------------- the liquidator


@pytest.mark.parametrize("short", [1, 0])
def test_G57_the_liquidator_bears_the_gap_of_an_expiry_under_observation(
    market: Market, short: int
) -> None:
    """Mean so far 3 000, index 2 900: the future may settle 100 away from its mark."""
    day = EXPIRIES[0]
    future, expiry = iid.encode(0, iid.FUTURE, day, 0), day * 86_400 + 28_800
    market.set_params(
        params(
            settle_window_seconds=3_600,
            settle_min_observations=4,
            settle_min_spacing_seconds=600,
        )
    )
    market.world.timestamp = expiry - 1_800
    for u, price in enumerate(PRICES):
        market.set_price(u, price)
    assert market.do(CAROL, "observe", 0, day) is None
    market.set_price(0, 2_900)
    market.do(CAROL, "refresh", [0])
    lacking(market, 400 * WAD, linear=[(future, 10 * WAD, -29_000 * WAD)])
    saved = market.state.clone()
    world = market.world
    liquidation_logic.liquidate(saved, world, key_address(DAVE), A, D, WAD, NO_LIMIT)
    held, m = saved.accounts[D], margin_engine.compute(saved, D, saved.accounts[D])
    gap = settlement_lib.gap(saved, held)
    assert gap >= held.linear[0].size_wad * 100 - 1
    cash = 10**8 * WAD - (m.equity - m.im - gap) - short
    market.put(D, cash=cash)
    result = liquidate(market)
    if short:
        assert result == Revert("InsufficientMargin", (D, m.im + gap - 1, m.im + gap))
    else:
        assert not isinstance(result, Revert)
