"""ATTACKS G: interest, funding, expiry.  Each test runs on model and chain side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.exact.custody import interest_lib, interest_logic
from risk.exact.errors import ModelRevert as Revert
from risk.exact.margin import instrument_id as iid
from risk.exact.market import funding
from risk.exact.settlement import settlement_lib, settlement_logic
from risk.exact.trading import order_checks
from tests.attacks.defence import Defence, answer, nothing
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    OWNER,
    USD,
    WAD,
    account,
    key_address,
    underlying_params,
)

PERP = iid.encode(0, iid.PERP, 0, 0)
DAY0 = EXPIRIES[0]
EXPIRY = DAY0 * 86_400 + iid.EXPIRY_TIME_OF_DAY
CALL = iid.encode(0, iid.CALL, DAY0, STRIKES.index(3_000 * WAD))
FUTURE = iid.encode(0, iid.FUTURE, DAY0, 0)
A, B, C = account(ALICE), account(BOB), account(CAROL)
YEAR = 31_536_000
RATES = {
    "base_rate_bps": 100,
    "kink_utilisation_bps": 8_000,
    "kink_rate_bps": 900,
    "full_rate_bps": 30_000,
    "reserve_share_bps": 1_000,
}
WINDOW = {
    "settle_window_seconds": 3_600,
    "settle_min_observations": 4,
    "settle_min_spacing_seconds": 600,
}


def fund(m: Market, *keys: Any, usd: int = 100_000) -> None:
    for key in keys:
        assert m.do(key, "deposit", account(key), m.cash, usd * USD) is None


def name(outcome: Any) -> str:
    return outcome.name if isinstance(outcome, Revert) else ""


def lend(m: Market, borrowed: int) -> None:
    """Alice lends 100 000, Bob borrows against ether."""
    m.set_params(params(**RATES))
    fund(m, ALICE)
    assert m.do(BOB, "deposit", B, m.weth, 1_000 * WAD) is None
    if borrowed:
        assert m.do(BOB, "withdraw", B, m.cash, borrowed * USD, key_address(BOB)) > 0


def test_G53_idleness_never_bricks(market: Market) -> None:
    m = market
    lend(m, 90_000)
    for years in (10, 100, 400):
        m.world.timestamp += years * YEAR
        assert m.do(CAROL, "accrue") is None
        assert 10**15 <= m.state.supply_index_e15 < 2**63
        assert 10**15 <= m.state.borrow_index_e15 < 2**63
    assert m.do(BOB, "deposit", B, m.cash, 50_000 * USD) is None
    assert m.do(ALICE, "deposit", A, m.cash, USD) is None
    assert m.do(ALICE, "transfer", A, account(ALICE, 1), m.cash, USD) == USD


def test_G54_utilisation_zero_full_and_above(market: Market) -> None:
    m = market
    lend(m, 0)
    m.world.timestamp += YEAR
    assert m.do(CAROL, "accrue") is None
    m.set_price(0, PRICES[0])
    assert (m.state.supply_index_e15, m.state.borrow_index_e15) == (10**15, 10**15)  # nobody owes
    assert m.do(BOB, "withdraw", B, m.cash, 100_000 * USD, key_address(BOB)) > 0  # 100 %
    before = m.state.borrow_index_e15
    m.world.timestamp += 86_400
    assert m.do(CAROL, "accrue") is None
    most = 10**15 * 30_000 * 86_402 // (10_000 * YEAR)
    assert 0 < m.state.borrow_index_e15 - before <= most * 101 // 100
    # debt with interest is now above what is lent with its share: still 100 %, not more
    assert m.state.borrow_wad > m.state.supply_wad
    u = interest_logic.utilisation_wad(m.state.supply_wad, m.state.borrow_wad)
    assert u == WAD
    assert name(m.do(ALICE, "withdraw", A, m.cash, USD, key_address(ALICE))) == (
        "InsufficientLiquidity"
    )


def test_G55_rates_change_after_accruing(market: Market) -> None:
    m = market
    lend(m, 50_000)
    m.world.timestamp += YEAR
    m.set_params(params(**{**RATES, "base_rate_bps": 900, "kink_rate_bps": 20_000}))
    # a year at 6 %, not at 129 %
    assert abs(m.state.borrow_index_e15 / 1e15 - 1.0618365) < 1e-5


def test_G55_funding_is_charged_at_the_premium_of_its_time(market: Market) -> None:
    m = market
    item = underlying_params(max_funding_bps=100)
    m.set_params(replace(params(funding_period_seconds=8 * 3_600), underlyings=(item, item)))
    m.state.underlyings[0].premium_e9 = 10**6  # +0.1 % of the index every 8 hours
    m.state.underlyings[0].funding_time = m.world.timestamp
    m.write_state()
    fund(m, ALICE, BOB)
    assert m.trade(ALICE, BOB, PERP, 10 * WAD, PRICES[0] * WAD) is None
    start = m.state.underlyings[0].funding_e12
    at = m.state.underlyings[0].funding_time
    m.world.timestamp += 8 * 3_600
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
        m.report(u)  # premium 0 from here on
    data = m.state.underlyings[0]
    elapsed = data.funding_time - at
    expected = PRICES[0] * 10**12 * elapsed // (1_000 * 8 * 3_600)
    assert data.premium_e9 == 0
    assert abs(data.funding_e12 - start - expected) <= 10**6
    # what the long paid the short received, to the wei up to two roundings down
    long, short = m.model.margin(A).mark_equity, m.model.margin(B).mark_equity
    assert long < 100_000 * WAD < short
    assert -3 <= long + short - 200_000 * WAD <= 0


@pytest.mark.parametrize("when", ["-1", "0", "recorded", "settled"])
def test_G56_the_expiry_matrix(market: Market, when: str) -> None:
    """Trade, withdraw, liquidate, settle around the expiry; all cells: tests/settlement."""
    expiry_case(market, when)


def expiry_case(m: Market, when: str) -> None:
    m.set_params(params(**WINDOW))
    fund(m, ALICE, BOB, CAROL)
    assert m.trade(ALICE, BOB, CALL, 10 * WAD, 60 * WAD) is None
    assert m.trade(ALICE, BOB, FUTURE, WAD, PRICES[0] * WAD) is None
    m.world.timestamp = EXPIRY - 30
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
        m.report(u)
    m.world.timestamp = EXPIRY - 1 if when == "-1" else EXPIRY
    if when in ("recorded", "settled"):
        for _ in range(5):
            m.set_price(0, PRICES[0] + 100)
            m.do(OWNER, "observe", 0, DAY0)
            m.world.timestamp += 600
        assert m.state.settlements[DAY0].settled
        m.set_price(0, PRICES[0] * 2)  # afterwards the index runs away
        m.set_price(1, PRICES[1])
        m.do(OWNER, "refresh", [0])
    if when == "settled":
        assert m.do(CAROL, "settle", [A, B]) is None
    trade = name(m.trade(BOB, ALICE, CALL, WAD, WAD))
    assert trade == {"-1": "", "0": "InstrumentExpired"}.get(when, "InstrumentExpired")
    withdraw = name(m.do(BOB, "withdraw", B, m.cash, USD, key_address(BOB)))
    assert withdraw == {"-1": "", "0": "", "recorded": "SettleFirst", "settled": ""}[when]
    before = sum(m.model.margin(a).mark_equity for a in (A, B))
    assert m.do(CAROL, "settle", [A, B, C]) is None
    after = sum(m.model.margin(a).mark_equity for a in (A, B))
    left = [x.instrument for a in (A, B) for x in m.state.accounts[a].options]
    if when in ("recorded", "settled"):
        assert left == []
        # 100 in the money at the settlement price, whatever the index says since
        paid = m.model.margin(A).mark_equity - 100_000 * WAD
        assert abs(paid - (10 * 100 - 10 * 60 + 100) * WAD) < WAD // 100
        assert after <= 200_000 * WAD
    else:
        assert left == [CALL, CALL]
        assert after == before


def test_G57_the_last_second_does_not_make_the_price(market: Market) -> None:
    m = market
    m.set_params(params(**WINDOW))
    start = EXPIRY - 3_600
    for i in range(5):
        m.world.timestamp = start + 60 + i * 600
        m.set_price(0, PRICES[0])
        assert m.do(OWNER, "observe", 0, DAY0) is None
    m.world.timestamp = EXPIRY - 1
    m.set_price(0, PRICES[0] * 3)
    assert m.do(OWNER, "observe", 0, DAY0) is None
    m.world.timestamp = EXPIRY
    assert m.do(OWNER, "observe", 0, DAY0) is None
    price = m.state.settlements[DAY0].price_wad
    # its weight is at most two spacings of what the window holds
    assert PRICES[0] * WAD <= price <= PRICES[0] * WAD * 5 // 3
    # and one observation is never enough
    other = 1 << 16 | DAY0
    m.set_price(1, PRICES[1] * 3)
    assert m.do(OWNER, "observe", 1, DAY0) is None
    assert not m.state.settlements[other].settled


# ------------------------------------------------------------------------- without the defences


def test_G56_recorded(market: Market) -> None:
    """The cell that a missing ``SettleFirst`` would break."""
    expiry_case(market, "recorded")


def test_G56_at_expiry(market: Market) -> None:
    """The cell that a missing check of the expiry would break."""
    expiry_case(market, "0")


def _last_price(original: Any) -> Any:
    """The last observation is the price."""

    def add(item: Any, world: Any, p: Any, future: int, price_wad: int) -> None:
        original(item, world, p, future, price_wad)
        item.mean_wad = price_wad

    return add


def _no_bound(original: Any) -> Any:
    """Growth and index without a bound."""
    del original

    def growth(rate: int, elapsed: int) -> int:
        x = rate * elapsed // YEAR
        return x + x * x // (2 * WAD) + x**3 // (6 * WAD**2)

    return growth


DEFENCES = [
    Defence(
        test_G53_idleness_never_bricks,
        "bounds of growth and index",
        (
            (interest_logic, "growth_wad", _no_bound),
            (interest_logic, "MAX_INDEX", lambda _: 2**200),
        ),
    ),
    Defence(
        test_G54_utilisation_zero_full_and_above,
        "utilisation at most 1",
        (
            (
                interest_logic,
                "utilisation_wad",
                lambda _: lambda supply, borrow: borrow * 10 * WAD // max(supply, 1),
            ),
        ),
    ),
    Defence(
        test_G55_rates_change_after_accruing,
        "accrual before a change of rates",
        ((interest_lib, "accrue", nothing),),
    ),
    Defence(
        test_G55_funding_is_charged_at_the_premium_of_its_time,
        "funding accrued before a report",
        ((funding, "accrue", nothing), (funding, "close", nothing)),
    ),
    Defence(test_G56_recorded, "settle first", ((settlement_lib, "holds_settled", answer(None)),)),
    Defence(
        test_G56_at_expiry,
        "no trade after the expiry",
        ((order_checks, "require_instrument", nothing),),
    ),
    Defence(
        test_G57_the_last_second_does_not_make_the_price,
        "weights of observations",
        ((settlement_logic, "_add", _last_price),),
    ),
]
