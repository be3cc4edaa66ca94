"""What is known of a settlement price before it is recorded: complete observations, and the gap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.chain.rebuild import rebuild
from risk.chain.vault_abi import vault_abi
from risk.exact.margin import initial_margin
from risk.exact.market import feed_reader
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account
from tests.settlement.helpers import (
    CALL,
    DAY0,
    EXPIRY,
    FUTURE,
    KEY,
    LATER,
    MIN_OBSERVATIONS,
    PERP,
    SPACING,
    WINDOW,
    is_revert,
    observe,
)
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    NO_LIMIT,
    USD,
    WAD,
    account,
    underlying_params,
)

pytestmark = pytest.mark.chain

A, B, C = (account(k) for k in (ALICE, BOB, CAROL))
STRANGER = 0xBEEF


def tick(m: Market, at: int, price: float) -> None:
    """Feeds and the snapshot of ETH at ``at``."""
    m.world.timestamp = at
    m.set_price(0, price)
    m.set_price(1, PRICES[1])
    result = m.do(STRANGER, "refresh", [0])
    assert result is None or result.name == "RefreshNotNeeded"
    assert m.state.underlyings[0].price_wad == round(price) * WAD


def hedged(m: Market, cash: int) -> None:
    """Alice is long ten futures and short ten perps, both at 3 000; Bob holds the other side."""
    m.put(
        A,
        cash=cash,
        linear=[(FUTURE, 10 * WAD, -30_000 * WAD), (PERP, -10 * WAD, 30_000 * WAD)],
        mirror=B,
    )
    for other in (B, C):
        m.state.accounts.setdefault(other, Account()).cash_wad = 10**6 * WAD
    m.settle_totals()
    m.write_state()


def watch(m: Market, count: int) -> None:
    """``count`` observations of 3 000, the last before the expiry."""
    for i in range(count):
        assert observe(m, 3_000, EXPIRY - (count - i) * SPACING) is None


def test_a_complete_mean_counts_before_anybody_records_it(m: Market) -> None:
    """At S = 2 900 the hedge seems to have lost 1 000, at P = 3 000 it gained nothing and lost
    nothing: the liquidator settles first and finds a healthy account.
    """
    watch(m, MIN_OBSERVATIONS)
    hedged(m, 300 * WAD)
    tick(m, EXPIRY + 1, 2_900)
    assert m.compare_margin(A).mark_equity == 300 * WAD  # at S; the short perp won 1 000
    assert settlement_lib.holds_settled(m.state, m.world, m.state.accounts[A]) == FUTURE
    assert not m.state.settlements[KEY].settled
    is_revert(m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8), "SettleFirst", A, FUTURE)
    result = m.trade(ALICE, CAROL, PERP, WAD, 2_900 * WAD)  # a reduction does not pass either
    is_revert(result, "SettleFirst", A, FUTURE)
    assert m.do(STRANGER, "settle", [A]) is None
    item = m.state.settlements[KEY]
    assert (item.settled, item.price_wad, item.observations) == (True, 3_000 * WAD, 4)
    assert m.compare_margin(A).mark_equity == 1_300 * WAD
    is_revert(m.do(STRANGER, "observe", 0, DAY0), "AlreadySettled", 0, DAY0)
    logs = m.rpc.call(
        "eth_getLogs",
        {"fromBlock": "0x0", "toBlock": "latest", "address": f"0x{m.world.vault:040x}"},
    )
    assert rebuild(vault_abi(m.artifacts), logs).state.settlements == m.state.settlements


def test_a_keeper_does_not_liquidate_at_the_index_after_the_expiry(m: Market) -> None:
    """M = −700 at S, which nobody can act on: P makes it 300 again."""
    watch(m, MIN_OBSERVATIONS)
    hedged(m, 300 * WAD)
    a = m.state.accounts[A]
    a.linear = [x for x in a.linear if x.instrument == FUTURE]
    b = m.state.accounts[B]
    b.linear = [x for x in b.linear if x.instrument == FUTURE]
    m.settle_totals()
    m.write_state()
    tick(m, EXPIRY + 1, 2_900)
    assert m.compare_margin(A).mark_equity == -700 * WAD
    result = m.do(CAROL, "liquidate", A, C, WAD, NO_LIMIT)
    assert result is None or result.name == "AccountHealthy", result
    assert m.state.accounts[C].linear == []
    assert m.do(STRANGER, "settle", [A, B]) is None
    assert m.compare_margin(A).mark_equity == 300 * WAD


def test_one_observation_short_nothing_is_known(m: Market) -> None:
    watch(m, MIN_OBSERVATIONS - 1)
    hedged(m, 10_000 * WAD)
    tick(m, EXPIRY + 1, 3_000)
    assert settlement_lib.holds_settled(m.state, m.world, m.state.accounts[A]) is None
    assert m.do(STRANGER, "settle", [A]) is None
    assert not m.state.settlements[KEY].settled
    assert m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8) == USD


@pytest.mark.parametrize("price", [2_940, 3_060])
def test_the_gap_is_part_of_initial_margin(m: Market, price: int) -> None:
    """Mean 3 000, S = 3 000 ± 60: ten futures and a call may lose 60 each when they settle."""
    watch(m, 2)
    hedged(m, 10_000 * WAD)
    linear = [(x.instrument, x.size_wad, x.quote_wad) for x in m.state.accounts[A].linear]
    linear.append((LATER, WAD, -3_000 * WAD))
    m.put(A, cash=50_000 * WAD, linear=linear, options=[(CALL, -WAD)], mirror=B)
    tick(m, EXPIRY - 60, price)
    m.report(0, forward_ratio_wad=WAD)
    tick(m, m.world.timestamp, price)
    a = m.state.accounts[A]
    gap = settlement_lib.gap(m.state, a)
    assert gap == 660 * WAD
    margin = m.compare_margin(A)
    a.cash_wad += margin.im + gap - margin.equity + 10**12
    m.settle_totals()
    m.write_state()
    assert m.do(ALICE, "withdraw", A, m.cash, 1, A >> 8) == 1
    required = margin.im + gap
    result = m.do(ALICE, "withdraw", A, m.cash, 1, A >> 8)
    is_revert(result, "InsufficientMargin", A, required - 10**12, required)


def test_the_gap_reads_the_mark_of_a_future(m: Market) -> None:
    """R = 1.03 at S = mean: the mark is 90 above what it settles at."""
    watch(m, 2)
    hedged(m, 10_000 * WAD)
    tick(m, EXPIRY - 60, 3_000)
    m.report(0, forward_ratio_wad=103 * WAD // 100)
    a = m.state.accounts[A]
    assert settlement_lib.gap(m.state, a) == 900 * WAD
    margin = m.compare_margin(A)
    a.cash_wad += margin.im - margin.equity + 899 * WAD
    m.settle_totals()
    m.write_state()
    result = m.do(ALICE, "withdraw", A, m.cash, 1, A >> 8)
    assert result.name == "InsufficientMargin"
    assert result.args[2] == margin.im + 900 * WAD


def test_the_gap_waits_for_an_observation_of_the_present_window(m: Market) -> None:
    hedged(m, 10_000 * WAD)
    tick(m, EXPIRY - WINDOW + 60, 2_000)
    assert settlement_lib.gap(m.state, m.state.accounts[A]) == 0
    assert observe(m, 3_000) is None
    assert settlement_lib.gap(m.state, m.state.accounts[A]) > 0
    p, window = feed_reader.load_params(m.state), EXPIRY - m.state.settlements[KEY].last_time
    m.set_params(replace(p, settle_window_seconds=window))
    assert settlement_lib.gap(m.state, m.state.accounts[A]) > 0
    m.set_params(replace(p, settle_window_seconds=window - 1))
    assert settlement_lib.gap(m.state, m.state.accounts[A]) == 0
    tick(m, m.world.timestamp, 2_900)
    m.report(0)
    assert m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8) == USD  # the chain agrees


def test_a_reduction_does_not_leave_initial_margin_with_its_gap(m: Market) -> None:
    """Cutting the perp of a spread lowers MM by its size charge and raises IM, the gap stays: from
    E = IM + gap it is refused although E ≥ IM afterwards.
    """
    p = feed_reader.load_params(m.state)
    eth = replace(p.underlyings[0], depth_wad=10 * WAD, basis_base_bps=0, basis_slope_bps=0)
    m.set_params(replace(p, underlyings=(eth, p.underlyings[1])))
    watch(m, 2)
    hedged(m, 10_000 * WAD)
    tick(m, EXPIRY - 60, 2_940)
    m.report(0, forward_ratio_wad=WAD)
    tick(m, m.world.timestamp, 2_940)
    for missing, outcome in ((0, "InsufficientMargin"), (1, None)):
        hedged(m, 10_000 * WAD)
        a = m.state.accounts[A]
        before, gap = m.compare_margin(A), settlement_lib.gap(m.state, a)
        assert gap == 600 * WAD
        a.cash_wad += before.im + gap - before.equity - missing
        m.settle_totals()
        m.write_state()
        result = m.trade(ALICE, CAROL, PERP, WAD, 2_940 * WAD)
        assert (result and result.name) == outcome
    after = m.compare_margin(A)
    assert after.mm < before.mm and before.im < after.im <= after.equity


def test_the_check_of_initial_margin_accrues_funding(m: Market) -> None:
    """A withdrawal just above IM fails by the funding of a day, with no snapshot due."""
    item = underlying_params(max_funding_bps=100)
    m.set_params(replace(params(funding_period_seconds=8 * 3_600), underlyings=(item, item)))
    m.put(A, cash=10_000 * WAD, linear=[(PERP, 10 * WAD, -30_000 * WAD)], mirror=B)
    m.state.underlyings[0].premium_e9 = 10**7
    m.state.underlyings[0].funding_time = m.world.timestamp
    m.write_state()
    tick(m, m.world.timestamp + 1, 3_000)
    m.warp(60)
    m.set_price(0, 3_000)
    before, at = m.state.underlyings[0].funding_e12, m.state.underlyings[0].funding_time
    epoch = m.state.underlyings[0].epoch
    assert m.do(ALICE, "withdraw", A, m.cash, USD, A >> 8) == USD
    data = m.state.underlyings[0]
    assert data.epoch == epoch and data.funding_time > at
    assert data.funding_e12 > before
    assert initial_margin.unrealised_profit(m.state, m.state.accounts[A]) == 0
