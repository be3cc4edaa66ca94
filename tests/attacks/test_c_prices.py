"""ATTACKS C: prices and oracles.  Each test runs on model and chain side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from risk.exact.errors import ModelRevert as Revert
from risk.exact.margin import initial_margin, stable_charge
from risk.exact.market import feed_reader, follow, market_logic
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import VolReport
from risk.exact.params import params_logic
from risk.exact.trading import trade_logic
from tests.attacks.defence import Defence, answer, nothing
from tests.market.market_twin import KEYS, REVERTS, report_tuple, slice_of
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    OWNER,
    USD,
    WAD,
    account,
    iid,
    key_address,
    underlying_params,
)

PERP = iid.encode(0, iid.PERP, 0, 0)
A, A1, B, C = account(ALICE), account(ALICE, 1), account(BOB), account(CAROL)
NO_LIMIT = 2**127
STABLE = {"stable_rate_bps_per_day": 500, "stable_band_bps": 200}


def fund(m: Market, *keys: Any, usd: int = 100_000) -> None:
    for key in keys:
        assert m.do(key, "deposit", account(key), m.cash, usd * USD) is None


def with_underlying(**changes: Any) -> Any:
    """The market's parameters with these of both underlyings."""
    return params_with(underlying_params(**changes))


def params_with(item: Any, **changes: Any) -> Any:
    base = params(**changes)
    return replace(base, underlyings=(item, item))


def move(m: Market, price: float) -> None:
    """The index goes there and everybody sees it."""
    m.set_price(0, price)
    m.set_price(1, PRICES[1])
    m.do(OWNER, "refresh", [0])


def submit(m: Market, report: VolReport, keys: Any = tuple(KEYS[:2])) -> Any:
    digest = m.model.hash_report(report)
    signed = [bytes(k.unsafe_sign_hash(digest).signature) for k in keys]
    who = [key_address(k) for k in keys]
    return m.do(OWNER, "submitReport", report, who, chain=(report_tuple(report), signed))


def name(outcome: Any) -> str:
    return outcome.name if isinstance(outcome, Revert) else ""


def test_C19_profit_of_a_pump_cannot_be_taken_out(market: Market) -> None:
    """Mango: long and short of one owner, the index is pumped, the long side's profit is borrowed
    against.
    """
    m = market
    m.set_params(with_underlying(**STABLE))
    fund(m, ALICE, CAROL, usd=30_000)
    assert m.do(ALICE, "deposit", A1, m.cash, 30_000 * USD) is None
    buy = m.order(ALICE, PERP, 30 * WAD, PRICES[0] * WAD)
    sell = m.order(ALICE, PERP, -30 * WAD, PRICES[0] * WAD, sub=1)
    assert m.fill(buy, sell, 30 * WAD, PRICES[0] * WAD) is None
    before = m.model.margin(A).equity
    move(m, PRICES[0] * 2.0)
    assert m.compare_margin(A).equity > before + 80_000 * WAD
    # the loss of the other side fills the pool, so the profit is even realised
    assert m.do(CAROL, "realizePnl", A1) < 0
    assert m.do(CAROL, "realizePnl", A) > 0
    out = m.do(ALICE, "withdraw", A, m.cash, 25_000 * USD, key_address(ALICE))
    assert name(out) == "InsufficientMargin"


def test_C19_open_interest_is_capped(market: Market) -> None:
    m = market
    m.set_params(with_underlying(oi_cap_wad=10 * WAD, position_cap_wad=8 * WAD))
    fund(m, ALICE, BOB, CAROL)
    assert m.trade(ALICE, BOB, PERP, 6 * WAD, PRICES[0] * WAD) is None
    assert name(m.trade(ALICE, BOB, PERP, 3 * WAD, PRICES[0] * WAD)) == "PositionCapExceeded"
    assert name(m.trade(CAROL, BOB, PERP, 2 * WAD, PRICES[0] * WAD)) == ""
    assert name(m.trade(CAROL, ALICE, PERP, WAD, PRICES[0] * WAD)) == ""  # passes on, adds nothing


def test_C20_splitting_does_not_lower_initial_margin(market: Market) -> None:
    m = market
    m.set_params(with_underlying(depth_wad=5 * WAD))
    whole, parts = 40 * WAD, 8
    m.put(A, cash=10**7 * WAD, linear=[(PERP, whole, -whole * PRICES[0])], mirror=B)
    one = m.compare_margin(A).im
    share = whole // parts
    for sub in range(parts):
        m.put(account(ALICE, sub), cash=10**6 * WAD, linear=[(PERP, share, -share * PRICES[0])])
    split = sum(m.compare_margin(account(ALICE, sub)).im for sub in range(parts))
    assert split >= one - parts


def test_C21_nobody_withdraws_into_a_liquidation_that_costs_the_fund(market: Market) -> None:
    """Hyperliquid's whale: take margin out until the rest liquidates at the backstop's loss."""
    m = market
    m.set_params(with_underlying(depth_wad=20 * WAD, liq_bps=1_000))
    fund(m, ALICE, BOB, CAROL, usd=5_000_000)
    assert m.do(CAROL, "fundInsurance", 50_000 * USD) is None
    assert m.trade(ALICE, BOB, PERP, 200 * WAD, PRICES[0] * WAD) is None
    low, high = 0, 5_000_000 * USD
    while low < high - USD:  # as much as the contract lets go
        middle = (low + high) // 2
        margin = m.model.margin(A)
        if margin.equity - middle * 10**12 >= margin.im:
            low = middle
        else:
            high = middle
    assert m.do(ALICE, "withdraw", A, m.cash, low, key_address(ALICE)) == low
    out = m.do(ALICE, "withdraw", A, m.cash, 3 * USD, key_address(ALICE))
    assert name(out) == "InsufficientMargin"
    # the price falls through maintenance margin: what is left pays for liquidating into the depth
    fall = 1 - 0.3 * (m.model.margin(A).im / (200 * PRICES[0] * WAD))
    move(m, PRICES[0] * fall)
    insurance = m.state.insurance_wad
    for step in range(1, 30):
        outcome = m.do(CAROL, "liquidate", A, C, WAD, NO_LIMIT)
        if name(outcome) == "AccountHealthy":
            move(m, PRICES[0] * (fall - 0.02 * step))
            continue
        assert name(outcome) in ("", "RefreshNotNeeded")
        break
    assert m.state.insurance_wad >= insurance


def test_C22_push_a_price_and_liquidate_oneself(market: Market) -> None:
    """In one transaction: borrow, let the update in, liquidate the own account from another one."""
    m = market
    fund(m, ALICE, BOB, usd=20_000)
    assert m.do(ALICE, "deposit", A1, m.cash, 200_000 * USD) is None
    assert m.trade(ALICE, BOB, PERP, 15 * WAD, PRICES[0] * WAD) is None
    spare = m.model.margin(A)
    out = (spare.equity - spare.im) // 10**12 - USD
    assert m.do(ALICE, "withdraw", A, m.cash, out, key_address(ALICE)) == out
    for fall in (0.93, 0.90, 0.85, 0.80):
        move(m, PRICES[0] * fall)
        before = sum(m.model.margin(a).mark_equity for a in (A, A1))
        fund_before = m.state.insurance_wad
        assert name(m.do(ALICE, "liquidate", A, A1, WAD, NO_LIMIT)) in ("", "AccountHealthy")
        after = sum(m.model.margin(a).mark_equity for a in (A, A1))
        assert after - before <= fund_before - m.state.insurance_wad
        assert fund_before == m.state.insurance_wad


def test_C23_time_only_moves_forward(market: Market) -> None:
    m = market
    move(m, PRICES[0] * 1.02)
    feed = m.state.underlyings[0].feed
    m.set_feed(feed, round(PRICES[0] * 0.9 * 10**8), m.state.underlyings[0].feed_updated_at - 1)
    assert m.do(OWNER, "refresh", [0]) == Revert("OracleNotUsable", (0, OracleState.HALTED))
    m.set_price(0, PRICES[0])
    nonce = m.state.underlyings[0].report_nonce
    old = VolReport(0, nonce + 1, m.state.underlyings[0].report_time, 10, ())
    assert name(submit(m, old)) == "ReportTimeInvalid"
    assert name(submit(m, VolReport(0, nonce, m.world.timestamp, 10, ()))) == "ReportNonceNotNewer"
    # volatilities of one minute do not go with an index of another
    m.world.timestamp += 1_000
    m.set_price(0, PRICES[0], age=600)
    assert name(submit(m, VolReport(0, nonce + 1, m.world.timestamp, 10, ()))) == "ReportSkewed"


def test_C24_a_price_that_is_none(market: Market) -> None:
    """Zero, negative, huge, future-dated, silent: HALTED; old: STALE; nothing new on either."""
    m = market
    fund(m, ALICE, BOB)
    feed, now = m.state.underlyings[0].feed, m.world.timestamp
    good = PRICES[0] * 10**8
    for answer_, time, mode in (
        (0, now, 0),
        (-good, now, 0),
        (2**255 - 1, now, 0),
        (10**34, now, 0),
        (1, now, 0),
        (good, now + 10**6, 0),
        (good, 0, 0),
        (good, now, REVERTS),
    ):
        m.set_feed(feed, answer_, time, mode)
        if answer_ == 1:  # a clamped minimum is a price, but far out of any market: a jump
            continue
        assert name(m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD)) == "OracleNotUsable"
        assert m.model.oracle_state(0)[0] == OracleState.HALTED
    m.set_feed(feed, good, m.world.timestamp)
    m.world.timestamp += 3_602
    assert m.model.oracle_state(0)[0] == OracleState.STALE
    assert name(m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD)) == "OracleNotUsable"
    # decimals are read once, when the feed is listed: changing them later changes nothing
    assert m.state.underlyings[0].feed_decimals == 8


def test_C25_an_outlier_liquidates_only_what_the_index_says(market: Market) -> None:
    """One venue prints a fall, for a moment: the breaker stops new risk, and when the print is over
    nobody is liquidated by what the stable price remembers of it.
    """
    m = market
    m.set_params(params_with(underlying_params(**STABLE, jump_bps=1_000), breaker_seconds=3_600))
    fund(m, ALICE, BOB, CAROL)
    assert m.do(ALICE, "deposit", A, m.weth, 10 * WAD) is None
    assert m.trade(ALICE, BOB, PERP, 20 * WAD, PRICES[0] * WAD) is None
    move(m, PRICES[0] * 0.88)
    assert m.state.underlyings[0].reduce_only_until > m.world.timestamp
    assert name(m.trade(CAROL, BOB, PERP, WAD, PRICES[0] * WAD * 88 // 100)) == "ReduceOnly"
    move(m, PRICES[0])  # the print is over
    margin = m.compare_margin(A)
    assert margin.equity > margin.mm
    assert name(m.do(CAROL, "liquidate", A, C, WAD, NO_LIMIT)) == "AccountHealthy"


def test_C26_a_wide_confidence_blocks_new_risk_only(market: Market) -> None:
    m = market
    fund(m, ALICE, usd=30_000)
    fund(m, BOB, CAROL)
    assert m.trade(ALICE, BOB, PERP, 20 * WAD, PRICES[0] * WAD) is None
    m.state.underlyings[0].confidence_bps = 51
    m.write_state()
    assert m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD) == Revert(
        "OracleNotUsable", (0, OracleState.UNCERTAIN)
    )
    assert m.trade(BOB, ALICE, PERP, WAD, PRICES[0] * WAD) is None  # both sides reduce
    assert m.do(ALICE, "deposit", A, m.cash, 1) is None
    m.state.underlyings[0].confidence_bps = 51
    m.write_state()
    move(m, PRICES[0] * 0.62)
    assert name(m.do(CAROL, "liquidate", A, C, WAD // 100, NO_LIMIT)) == ""


def test_C27_a_feed_cannot_be_changed(market: Market) -> None:
    """There is no function that changes a feed; a new one is a new underlying, listed by the owner
    (the timelock), without parameters, so worth nothing, until these come.
    """
    m = market
    fund(m, ALICE, BOB)
    before = [u.feed for u in m.state.underlyings]
    feed = m.new_feed(8, 112_000_000)
    assert m.do(ALICE, "listUnderlying", feed) == Revert("Unauthorized")
    assert m.do(OWNER, "listUnderlying", feed) == 2
    assert [u.feed for u in m.state.underlyings][:2] == before
    perp = iid.encode(2, iid.PERP, 0, 0)
    assert name(m.trade(ALICE, BOB, perp, WAD, WAD)) == "UnknownInstrument"
    assert m.do(OWNER, "refresh", [2]) == Revert("UnknownUnderlying", (2,))


def test_C28_a_guard_does_not_liquidate(market: Market) -> None:
    """The stable price lags by construction; it raises initial margin and never maintenance."""
    m = market
    m.set_params(with_underlying(**STABLE))
    fund(m, ALICE, BOB, CAROL, usd=30_000)
    assert m.trade(ALICE, BOB, PERP, 20 * WAD, PRICES[0] * WAD) is None
    calm = m.model.margin(B)
    move(m, PRICES[0] * 1.15)
    short, long = m.compare_margin(B), m.compare_margin(A)
    assert long.im > calm.im * 3 // 2  # the long owes for a fall back to the stable price
    assert long.mm <= calm.mm * 116 // 100
    assert short.im <= calm.im * 116 // 100
    for a in (A, B):
        assert name(m.do(CAROL, "liquidate", a, C, WAD, NO_LIMIT)) == "AccountHealthy"


def test_C29_a_bad_volatility_slice_is_refused(market: Market) -> None:
    m = market
    m.set_price(0, PRICES[0])
    day, nonce = EXPIRIES[0], m.state.underlyings[0].report_nonce + 1
    for changes, error in (
        ({"a_e9": -(10**9)}, "SviNegativeVariance"),
        ({"rho_e9": 10**9}, ""),
        ({"sigma_e9": 0}, ""),
        ({"forward_ratio_wad": 10**20 % 2**64}, "ForwardRatioOutOfRange"),
        ({"discount_wad": 0}, "DiscountOutOfRange"),
    ):
        m.world.timestamp += 1
        m.set_price(0, PRICES[0])
        report = VolReport(0, nonce, m.world.timestamp, 10, (slice_of(day, **changes),))
        outcome = submit(m, report)
        assert isinstance(outcome, Revert), changes
        if error:
            assert error in outcome.name or outcome.name.startswith("Svi"), outcome
    # an expiry in the past, and one that is not listed
    m.world.timestamp = EXPIRIES[0] * 86_400 + 8 * 3_600
    m.set_price(0, PRICES[0])
    late = VolReport(0, nonce, m.world.timestamp, 10, (slice_of(EXPIRIES[0]),))
    assert name(submit(m, late)) == "InstrumentExpired"
    other = VolReport(0, nonce, m.world.timestamp, 10, (slice_of(EXPIRIES[0] + 1),))
    assert name(submit(m, other)) == "UnknownInstrument"


def test_C30_a_bad_scenario_set_is_refused(market: Market) -> None:
    m = market
    base = params()
    item = base.underlyings[0]
    deep = replace(item, price_lanes=(-4_095, *item.price_lanes[1:]), price_unit_e6=300)
    for bad in (
        replace(base, underlyings=(deep, deep)),  # −122.85 %
        replace(base, weights_bps=(0,) * 8),
        replace(base, weights_bps=(10_001,) * 8),
    ):
        assert name(m.do(OWNER, "setRiskParams", bad.encode())) == "RiskParamsInvalid"
    empty = bytearray(base.encode())
    empty[31] = 0  # no scenario
    assert name(m.do(OWNER, "setRiskParams", bytes(empty))) == "RiskParamsInvalid"


# ------------------------------------------------------------------------- without the defences


def _any_time(original: Any) -> Any:
    """A feed may speak of the past or the future."""
    del original
    return lambda *args: True


def _always_fresh(original: Any) -> Any:
    """Whatever the feed says is a price."""

    def live(state: Any, world: Any, p: Any, u: int) -> Any:
        oracle_state, price, time = original(state, world, p, u)
        del oracle_state
        return OracleState.FRESH, price or state.underlyings[u].price_wad, time or world.timestamp

    return live


def _confident(original: Any) -> Any:
    def live(state: Any, world: Any, p: Any, u: int) -> Any:
        oracle_state, price, time = original(state, world, p, u)
        fresh = oracle_state == OracleState.UNCERTAIN
        return OracleState.FRESH if fresh else oracle_state, price, time

    return live


DEFENCES = [
    Defence(
        test_C19_profit_of_a_pump_cannot_be_taken_out,
        "stable price in initial margin",
        ((stable_charge, "total", answer(0)),),
    ),
    Defence(
        test_C19_open_interest_is_capped,
        "caps of open interest and position",
        ((trade_logic, "_require_caps", nothing),),
    ),
    Defence(
        test_C21_nobody_withdraws_into_a_liquidation_that_costs_the_fund,
        "initial margin of a withdrawal",
        ((initial_margin, "_require_equity", nothing),),
    ),
    Defence(
        test_C23_time_only_moves_forward,
        "monotone time",
        ((feed_reader, "_time_valid", _any_time),),
    ),
    Defence(
        test_C24_a_price_that_is_none, "oracle states", ((feed_reader, "live", _always_fresh),)
    ),
    Defence(
        test_C25_an_outlier_liquidates_only_what_the_index_says,
        "circuit breaker",
        ((follow, "before", nothing),),
    ),
    Defence(
        test_C26_a_wide_confidence_blocks_new_risk_only,
        "confidence limit",
        ((feed_reader, "live", _confident),),
    ),
    Defence(
        test_C29_a_bad_volatility_slice_is_refused,
        "validation of slices",
        ((market_logic, "_check_slices", nothing),),
    ),
    Defence(
        test_C30_a_bad_scenario_set_is_refused,
        "validation of the parameters",
        ((params_logic, "validate", nothing),),
    ),
]
