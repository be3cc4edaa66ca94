"""ATTACKS B: every path checks health.  Each test runs on model and chain side by side."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import liquidation_logic
from risk.exact.margin import initial_margin, margin_engine, margin_logic
from risk.exact.math.wad_math import UINT256_MAX
from risk.exact.state import State
from tests.attacks.defence import Defence, nothing
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, OWNER, USD, WAD, account, iid, key_address

PERP = iid.encode(0, iid.PERP, 0, 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)
A, A1, B, C = account(ALICE), account(ALICE, 1), account(BOB), account(CAROL)
NO_LIMIT = 2**127


def fund(m: Market, *keys: Any, usd: int = 100_000) -> None:
    for key in keys:
        assert m.do(key, "deposit", account(key), m.cash, usd * USD) is None


def at_the_limit(m: Market) -> None:
    """Alice is long a perp and has, within a dollar, her initial margin; 2 WETH lie beside it."""
    fund(m, ALICE, BOB)
    assert m.do(ALICE, "deposit", A, m.weth, 2 * WAD) is None
    assert m.trade(ALICE, BOB, PERP, 20 * WAD, PRICES[0] * WAD) is None
    margin = m.model.margin(A)
    spare = (margin.equity - margin.im) // 10**12 - USD
    assert m.do(ALICE, "withdraw", A, m.cash, spare, key_address(ALICE)) == spare
    margin = m.model.margin(A)
    assert 0 <= margin.equity - margin.im < 2 * WAD


def refused(outcome: Any) -> bool:
    return isinstance(outcome, Revert) and outcome.name == "InsufficientMargin"


def test_B10_no_path_leads_below_initial_margin(market: Market) -> None:
    m = market
    at_the_limit(m)
    # those that would
    assert refused(m.do(ALICE, "withdraw", A, m.cash, 3 * USD, key_address(ALICE)))
    assert refused(m.do(ALICE, "withdraw", A, m.weth, WAD, key_address(ALICE)))
    assert refused(m.do(ALICE, "transfer", A, A1, m.cash, 3 * USD))
    assert refused(m.do(ALICE, "transfer", A, A1, m.weth, UINT256_MAX))
    assert refused(m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD))
    assert refused(m.trade(ALICE, BOB, iid.encode(1, iid.PERP, 0, 0), WAD, PRICES[1] * WAD))
    assert refused(m.batch(ALICE, ("transfer", A, A1, m.cash, 3 * USD)))
    # and everything else leaves it where it was
    for name, *args in (
        ("deposit", A, m.cash, 1),
        ("deposit", A, m.weth, 1),
        ("realizePnl", A),
        ("accrue",),
        ("fundInsurance", 1),
        ("setOperator", A, 1, 7),
        ("raiseMinNonce", A, 1),
        ("computeArrays", [CALL]),
        ("callMargin", A),
        ("settle", [A]),
    ):
        assert not isinstance(m.do(ALICE, name, *args), Revert), name
        margin = m.compare_margin(A)
        assert margin.equity >= margin.im, name


def test_B11_a_no_op_takes_nobody_off_the_list(market: Market) -> None:
    m = market
    at_the_limit(m)
    out = ("transfer", A, A1, m.cash, 3 * USD)
    for harmless in (
        ("transfer", A, A1, m.weth, 1),
        ("realizePnl", A),
        ("deposit", A, m.cash, 1),
        ("batch", ("accrue",)),
    ):
        assert refused(m.batch(ALICE, out, harmless)), harmless
        assert refused(m.batch(ALICE, harmless, out)), harmless


def test_B12_the_wind_down_checks_the_same(market: Market) -> None:
    m = market
    m.set_params(params(wind_down_notice_seconds=30 * 86_400))
    at_the_limit(m)
    assert m.do(OWNER, "startWindDown") is None
    assert refused(m.do(ALICE, "withdraw", A, m.cash, 3 * USD, key_address(ALICE)))
    assert refused(m.do(ALICE, "withdraw", A, m.weth, WAD, key_address(ALICE)))
    assert refused(m.batch(ALICE, ("transfer", A, A1, m.cash, 3 * USD)))


def test_B13_what_was_accepted_is_not_liquidatable(market: Market) -> None:
    m = market
    at_the_limit(m)
    fund(m, CAROL)
    for a in (A, B):
        outcome = m.do(CAROL, "liquidate", a, C, WAD, NO_LIMIT)
        assert isinstance(outcome, Revert)
        assert outcome.name == "AccountHealthy"
        assert m.compare_margin(a).health_factor > WAD


def test_B14_with_oneself_nothing_is_created(market: Market) -> None:
    m = market
    fund(m, ALICE)
    assert m.do(ALICE, "deposit", A1, m.cash, 100_000 * USD) is None
    mine = [A, A1]
    before = sum(m.model.margin(a).mark_equity for a in mine)
    for price in (PRICES[0] * WAD, PRICES[0] * WAD * 101 // 100, PRICES[0] * WAD * 99 // 100 + 7):
        buy = m.order(ALICE, PERP, WAD // 3, price)
        sell = m.order(ALICE, PERP, -WAD // 3, price, sub=1)
        assert m.fill(buy, sell, WAD // 3, price) is None
        assert sum(m.model.margin(a).mark_equity for a in mine) <= before
    order = m.order(ALICE, PERP, WAD, PRICES[0] * WAD)
    same = m.order(ALICE, PERP, -WAD, PRICES[0] * WAD)
    assert m.fill(order, same, WAD, PRICES[0] * WAD) == Revert("SelfTrade", (A,))
    assert m.do(ALICE, "liquidate", A, A, WAD, NO_LIMIT) == Revert("SelfLiquidation", (A,))
    assert m.do(ALICE, "transfer", A, A, m.cash, 1) == Revert("SameAccount", (A,))


def test_B15_order_does_not_matter(market: Market) -> None:
    m = market
    ids = [iid.encode(0, iid.CALL, EXPIRIES[0], i) for i in (25, 30, 35)]
    ids += [iid.encode(0, iid.PUT, EXPIRIES[1], 28)]
    linear = [(PERP, WAD, -3_000 * WAD), (iid.encode(1, iid.PERP, 0, 0), -WAD, 60_000 * WAD)]
    options = [(item, WAD * (-1) ** i) for i, item in enumerate(ids)]
    m.put(
        A, cash=10**6 * WAD, collateral={0: WAD, 2: 10**6}, linear=linear, options=options, mirror=B
    )
    m.put(
        C,
        cash=10**6 * WAD,
        collateral={2: 10**6, 0: WAD},
        linear=linear[::-1],
        options=options[::-1],
        mirror=B,
    )
    assert m.compare_margin(A) == m.compare_margin(C)
    # and no action makes a second entry of one instrument
    m.put(A, cash=10**6 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    m.put(B, cash=10**6 * WAD, linear=[(PERP, -WAD, 3_000 * WAD)])
    m.put(C)
    for _ in range(3):
        assert m.trade(ALICE, BOB, PERP, WAD, PRICES[0] * WAD) is None
    assert [x.instrument for x in m.state.accounts[A].linear] == [PERP]


def test_B16_health_factor_one_is_healthy(market: Market) -> None:
    m = market
    fund(m, CAROL, usd=1_000_000)
    for excess, healthy in ((1, True), (0, True), (-1, False)):
        m.put(A, cash=0, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
        mm = m.model.margin(A).mm
        m.put(A, cash=mm + excess, linear=[(PERP, WAD, -3_000 * WAD)])
        m.put(B, cash=10**6 * WAD, linear=[(PERP, -WAD, 3_000 * WAD)])
        margin = m.compare_margin(A)
        assert margin.equity - margin.mm == excess
        assert (margin.health_factor >= WAD) == healthy
        outcome = m.do(CAROL, "liquidate", A, C, WAD // 2, NO_LIMIT)
        assert isinstance(outcome, Revert) == healthy, (excess, outcome)
        m.put(C, cash=10**6 * WAD)


def test_B17_more_than_the_limit_is_refused_whole(market: Market) -> None:
    m = market
    calls = [iid.encode(0, kind, day, i) for kind in (2, 3) for day in EXPIRIES for i in range(64)]
    m.put(A, cash=10**9 * WAD, options=[(item, WAD) for item in calls[:128]], mirror=B)
    m.put(B, cash=10**9 * WAD, options=[(item, -WAD) for item in calls[:127]])
    m.put(C, options=[(calls[127], -WAD)], cash=10**9 * WAD)
    outcome = m.trade(ALICE, CAROL, PERP, WAD, PRICES[0] * WAD)
    assert outcome == Revert("TooManyPositions", (A, 128))
    assert len(m.state.accounts[A].options) == 128


def test_B18_deferred_checks_run_at_the_outermost_exit(market: Market) -> None:
    m = market
    at_the_limit(m)
    out, back = ("transfer", A, A1, m.cash, 3 * USD), ("transfer", A1, A, m.cash, 3 * USD)
    assert m.batch(ALICE, ("batch", out), back) is None
    assert refused(m.batch(ALICE, ("batch", ("batch", out))))
    assert refused(m.batch(ALICE, ("batch", out, back), out))
    assert m.state.deferred == []


# ------------------------------------------------------------------------- without the defences


def _forget_the_last(original: Any) -> Any:
    """The list of a batch loses what a later action did not owe."""

    def require(state: State, *args: Any) -> Any:
        state.deferred = state.deferred[:-1]
        return original(state, *args)

    return require


def _first_come(original: Any) -> Any:
    """Equity depends on which position is first."""

    def run(state: State, account_id: int, a: Any) -> Any:
        margin, work = original(state, account_id, a)
        if a.options and a.options[0].size_wad < 0:
            margin = type(margin)(**{**margin.__dict__, "mm": margin.mm + 1})
        return margin, work

    return run


def _unhealthy_at_one(original: Any) -> Any:
    """E = MM counts as unhealthy."""

    def require(state: State, *args: Any, **kwargs: Any) -> Any:
        def stricter(*inner: Any) -> Any:
            margin = compute(*inner)
            return type(margin)(**{**margin.__dict__, "equity": margin.equity - 1})

        compute = margin_engine.compute
        with patch.object(margin_engine, "compute", stricter):
            return original(state, *args, **kwargs)

    return require


DEFENCES = [
    Defence(
        test_B10_no_path_leads_below_initial_margin,
        "check at the end of every action",
        ((initial_margin, "require_initial", nothing),),
    ),
    Defence(
        test_B11_a_no_op_takes_nobody_off_the_list,
        "only the outermost exit clears the list",
        ((margin_logic, "require_deferred", _forget_the_last),),
    ),
    Defence(
        test_B12_the_wind_down_checks_the_same,
        "check in the wind-down",
        ((margin_logic, "require_initial", nothing),),
    ),
    Defence(
        test_B15_order_does_not_matter,
        "sums do not depend on order",
        ((margin_engine, "run", _first_come),),
    ),
    Defence(
        test_B16_health_factor_one_is_healthy,
        "HF = 1 is healthy",
        ((liquidation_logic, "liquidate", _unhealthy_at_one),),
    ),
    Defence(
        test_B17_more_than_the_limit_is_refused_whole,
        "limit of positions",
        ((account_lib, "MAX_POSITIONS", lambda _: 200),),
    ),
    Defence(
        test_B18_deferred_checks_run_at_the_outermost_exit,
        "deferred checks",
        ((margin_logic, "_require", nothing),),
    ),
]
