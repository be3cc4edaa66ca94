"""Fees to the insurance fund, caps on what grows, breaker, wind-down, funding before a perp."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from risk.chain.events import EventDecoder
from risk.chain.vault_abi import vault_abi
from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, WAD, account
from tests.trading.ids import CALL, FUTURE, PERP, PUT, A, B, C, D, cash_of

PRICE = 3_000 * WAD
Tune = Callable[..., Any]
PRICES = {PERP: PRICE, FUTURE: 3_030 * WAD, CALL: 120 * WAD, PUT: 40 * WAD}


@pytest.fixture(autouse=True)
def _funded(funded: Market) -> None:
    """Everybody has a million."""


def events(market: Market, name: str) -> list[dict[str, Any]]:
    """Arguments of the events of this name of the last action."""
    decoder = EventDecoder(vault_abi(market.artifacts))
    decoded = [decoder.decode(log) for log in market.logs]
    return [e.arguments for e in decoded if e.name == name]


# ----------------------------------------------------------------------------------------- fees


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@pytest.mark.parametrize("instrument", [PERP, FUTURE, CALL, PUT])
@pytest.mark.parametrize("size", [1, WAD, 7 * WAD // 3])
def test_each_side_pays_the_fee_of_the_notional(
    market: Market, tune: Tune, instrument: int, size: int
) -> None:
    tune(trade_fee_e6=350)
    fee = ceil_div(size * PRICE * 350, 10**24)
    before = [cash_of(market, x) for x in (A, B)]
    insurance = market.state.insurance_wad
    price = PRICES[instrument]
    assert market.trade(ALICE, BOB, instrument, size, price) is None
    assert [e["feeWad"] for e in events(market, "FeePaid")] == [fee, fee]
    assert [e["account"] for e in events(market, "FeePaid")] == [A, B]
    premium_up, premium_down = ceil_div(size * price, WAD), size * price // WAD
    if instrument < CALL:
        premium_up = premium_down = 0
    assert cash_of(market, A) == before[0] - premium_up - fee
    assert cash_of(market, B) == before[1] + premium_down - fee
    assert market.state.insurance_wad == insurance + 2 * fee + premium_up - premium_down
    assert events(market, "InsuranceChanged") == [{"insuranceWad": market.state.insurance_wad}]


def test_fee_of_an_option_is_capped_by_its_premium(market: Market, tune: Tune) -> None:
    tune(trade_fee_e6=350, option_fee_cap_bps=1_250)
    full = ceil_div(WAD * PRICE * 350, 10**24)
    for price, fee in (
        (120 * WAD, full),
        (8 * WAD, WAD),
        (8 * WAD + 1, WAD + 1),  # rounded up
        (1, 1),
        (0, 0),
    ):
        before = cash_of(market, B)
        assert market.trade(ALICE, BOB, CALL, WAD, price) is None
        assert cash_of(market, B) == before + price - fee
    assert market.trade(ALICE, BOB, PERP, WAD, 2_999 * WAD) is None  # no cap
    assert [e["feeWad"] for e in events(market, "FeePaid")] == [full, full]


def test_without_a_fee_nothing_is_paid(market: Market, tune: Tune) -> None:
    tune(option_fee_cap_bps=1_250)
    assert market.trade(ALICE, BOB, PERP, WAD + 1, PRICE) is None
    assert events(market, "FeePaid") == [] and events(market, "CashChanged") == []
    assert market.state.insurance_wad == 0


def test_the_fee_may_be_borrowed_and_initial_margin_decides(market: Market, tune: Tune) -> None:
    tune(trade_fee_e6=10_000)
    rich, poor = account(ALICE, 1), account(ALICE, 2)
    market.put(rich, cash=0, collateral={0: 10 * WAD})
    market.put(poor, cash=0, collateral={0: WAD // 10})
    for sub, outcome in ((1, None), (2, "InsufficientMargin")):
        buy = market.order(ALICE, PERP, WAD, PRICE, sub=sub)
        result = market.fill(buy, market.order(BOB, PERP, -WAD, PRICE), WAD, PRICE)
        assert (result and result.name) == outcome
    assert cash_of(market, rich) == -30 * WAD


@pytest.mark.parametrize("instrument", [PERP, CALL])
def test_splitting_a_fill_never_lowers_what_is_paid(
    market: Market, tune: Tune, instrument: int
) -> None:
    tune(trade_fee_e6=333, option_fee_cap_bps=37)
    rng = random.Random(7)
    size, price = 3 * WAD + 1, PRICES[instrument] + 1
    start = {x: market.model.margin(x).mark_equity for x in (A, B, C, D)}
    assert market.trade(ALICE, BOB, instrument, size, price) is None
    rest = size
    while rest:
        part = min(rest, rng.randrange(1, WAD))
        assert market.trade(DAVE, CAROL, instrument, part, price) is None
        rest -= part
    cost = {x: start[x] - market.model.margin(x).mark_equity for x in (A, B, C, D)}
    assert cost[D] >= cost[A] and cost[C] >= cost[B]


@pytest.mark.parametrize("seed", range(3))
def test_A7_round_trips_with_fees_and_funding_are_never_profitable(
    market: Market, tune: Tune, seed: int
) -> None:
    tune(
        {"max_funding_bps": 100},
        trade_fee_e6=5,
        option_fee_cap_bps=10,
        funding_period_seconds=28_800,
    )
    market.state.underlyings[0].premium_e9 = 5_000_000
    market.write_state()
    rng = random.Random(seed)
    start = sum(market.model.margin(x).mark_equity for x in (A, B))
    insurance = market.state.insurance_wad
    for instrument in (PERP, FUTURE, CALL):
        size = rng.randrange(1, 3 * WAD)
        price = rng.randrange(1, 2 * PRICES[instrument])
        assert market.trade(ALICE, BOB, instrument, size, price) is None
        assert market.trade(BOB, ALICE, instrument, size, price) is None
        # both together lose at least what the fund got
        now = sum(market.model.margin(x).mark_equity for x in (A, B))
        assert now <= start - (market.state.insurance_wad - insurance)


def test_B14_self_trade_between_own_sub_accounts_costs_fees_and_creates_nothing(
    market: Market, tune: Tune
) -> None:
    tune(trade_fee_e6=100)
    other = account(ALICE, 1)
    market.put(A, cash=10**5 * WAD)
    market.put(other, cash=10**5 * WAD)
    for price in (2_000 * WAD, 4_000 * WAD, PRICE + 1):
        buy = market.order(ALICE, PERP, WAD, price)
        sell = market.order(ALICE, PERP, -WAD, price, sub=1)
        before = sum(market.model.margin(x).mark_equity for x in (A, other))
        assert market.fill(buy, sell, WAD, price) is None
        after = sum(market.compare_margin(x).mark_equity for x in (A, other))
        assert after <= before - 2 * ceil_div(PRICE * 100, 10**6)
        market.do(CAROL, "realizePnl", A)


# ----------------------------------------------------------------------------------------- caps


def test_C19_position_cap_counts_every_instrument_of_the_underlying(
    market: Market, tune: Tune
) -> None:
    tune({"position_cap_wad": 5 * WAD})
    assert market.trade(ALICE, BOB, PERP, 2 * WAD, PRICE) is None
    assert market.trade(BOB, ALICE, FUTURE, 2 * WAD, 3_030 * WAD) is None
    over = Revert("PositionCapExceeded", (A, 0, 5 * WAD + 1, 5 * WAD))
    assert market.trade(ALICE, CAROL, CALL, WAD + 1, 100 * WAD) == over
    assert market.trade(CAROL, ALICE, CALL, WAD + 1, 100 * WAD) == over  # the seller is asked too
    assert market.trade(ALICE, CAROL, CALL, WAD, 100 * WAD) is None
    assert market.trade(ALICE, CAROL, CALL, 1, 100 * WAD).name == "PositionCapExceeded"
    # the other underlying has no cap
    btc = PERP | 1 << 28
    assert market.trade(ALICE, CAROL, btc, WAD, 60_000 * WAD) is None


def test_a_lowered_cap_stops_growth_and_never_a_reduction(market: Market, tune: Tune) -> None:
    assert market.trade(ALICE, BOB, PERP, 5 * WAD, PRICE) is None
    tune({"position_cap_wad": WAD, "oi_cap_wad": WAD})
    assert market.trade(BOB, ALICE, PERP, WAD, PRICE) is None  # both shrink, still above
    assert market.trade(ALICE, BOB, PERP, 1, PRICE) == Revert(
        "PositionCapExceeded", (A, 0, 4 * WAD + 1, WAD)
    )
    # a flip opens a new position, even where units fall
    assert market.trade(BOB, ALICE, PERP, 6 * WAD, PRICE) == Revert(
        "PositionCapExceeded", (B, 0, 2 * WAD, WAD)
    )
    # handing a part on: open interest does not grow, the taker answers to his own cap
    assert market.trade(CAROL, ALICE, PERP, WAD, PRICE) is None
    assert market.trade(CAROL, ALICE, PERP, 1, PRICE).name == "PositionCapExceeded"


def test_C19_open_interest_cap(market: Market, tune: Tune) -> None:
    tune({"oi_cap_wad": 3 * WAD})
    assert market.trade(ALICE, BOB, PERP, 2 * WAD, PRICE) is None
    assert market.trade(ALICE, BOB, CALL, WAD + 1, 100 * WAD) == Revert(
        "OpenInterestCapExceeded", (0, 3 * WAD + 1, 3 * WAD)
    )
    assert market.trade(ALICE, BOB, CALL, WAD, 100 * WAD) is None
    assert market.trade(CAROL, DAVE, PUT, 1, WAD).name == "OpenInterestCapExceeded"
    assert market.trade(CAROL, ALICE, PERP, WAD, PRICE) is None  # changes hands
    assert market.state.underlyings[0].open_interest_wad == 3 * WAD
    assert market.trade(BOB, CAROL, PERP, WAD, PRICE) is None  # falls
    assert market.trade(CAROL, DAVE, PUT, WAD, WAD) is None  # and there is room


# -------------------------------------------------------------------------- breaker, wind-down


def test_reduce_only_of_the_circuit_breaker(market: Market) -> None:
    assert market.trade(ALICE, BOB, PERP, 2 * WAD, PRICE) is None
    until = market.world.timestamp + 100
    market.state.underlyings[0].reduce_only_until = until
    market.write_state()
    stands = Revert("ReduceOnly", (0, until))
    assert market.trade(ALICE, BOB, PERP, 1, PRICE) == stands
    assert market.trade(CAROL, ALICE, PERP, 1, PRICE) == stands  # one side grows
    assert market.trade(BOB, CAROL, PERP, 1, PRICE) == stands
    assert market.trade(BOB, ALICE, PERP, 3 * WAD, PRICE) == stands  # a flip
    assert market.trade(BOB, ALICE, PERP, WAD, PRICE) is None
    btc = PERP | 1 << 28
    assert market.trade(ALICE, BOB, btc, WAD // 100, 60_000 * WAD) is None
    market.world.timestamp = until
    assert market.trade(ALICE, BOB, PERP, WAD, PRICE) is None


def test_winding_down_lets_positions_shrink_only(market: Market) -> None:
    assert market.trade(ALICE, BOB, CALL, 2 * WAD, 100 * WAD) is None
    market.state.winding_down = True
    market.state.underlyings[0].reduce_only_until = market.world.timestamp + 100
    market.write_state()
    assert market.trade(ALICE, BOB, CALL, 1, WAD) == Revert("WindingDown")
    assert market.trade(CAROL, ALICE, CALL, 1, WAD) == Revert("WindingDown")
    assert market.trade(BOB, ALICE, CALL, 2 * WAD, 100 * WAD) is None
    assert market.state.accounts[A].options == []


# -------------------------------------------------------------------------------------- funding


def test_funding_is_brought_to_now_before_a_perp_is_booked(market: Market, tune: Tune) -> None:
    tune({"max_funding_bps": 100}, funding_period_seconds=28_800)
    assert market.trade(ALICE, BOB, PERP, 10 * WAD, PRICE) is None
    data = market.state.underlyings[0]
    data.premium_e9, data.funding_time = 10_000_000, market.world.timestamp  # 1 %
    market.write_state()
    market.world.timestamp += 1_440
    now = market.world.timestamp
    assert market.trade(CAROL, DAVE, CALL, WAD, 100 * WAD) is None
    assert market.state.underlyings[0].funding_time == now  # by the check of initial margin
    now = market.world.timestamp
    assert market.trade(CAROL, DAVE, PERP, 10 * WAD, PRICE) is None
    data = market.state.underlyings[0]
    assert data.funding_time == now and data.funding_e12 == 3_000 * 1_441 * 10**10 // 28_800
    # the newcomers pay and get nothing of the past
    for taker, sign in ((C, 1), (D, -1)):
        value = market.compare_margin(taker).mark_equity
        price = -sign * 100 * WAD + sign * _call_mark(market, taker)
        assert abs(value - 10**6 * WAD - price) <= 10**9
    held = market.compare_margin(A).mark_equity - 10**6 * WAD
    assert held == -10 * data.funding_e12 * 10**6


def _call_mark(market: Market, taker: int) -> int:
    rows = market.model.explain(taker).rows
    return abs(next(r.value for r in rows if r.id == CALL))


def test_each_second_of_funding_counts_once(market: Market, tune: Tune) -> None:
    tune({"max_funding_bps": 100}, funding_period_seconds=28_800)
    market.state.underlyings[0].premium_e9 = -10_000_000
    market.write_state()
    assert market.trade(ALICE, BOB, PERP, WAD, PRICE) is None
    first = market.state.underlyings[0].funding_e12
    assert market.trade(BOB, ALICE, PERP, WAD, PRICE) is None
    step = -(3_000 * 10**10 // 28_800)
    assert market.state.underlyings[0].funding_e12 - first in (step, step - 1)
