"""The wind-down: its notice, the prices it closes at, markets that are dead, and everybody out."""

from __future__ import annotations

import pytest

from risk.chain.rebuild import rebuild
from risk.chain.vault_abi import vault_abi
from risk.exact.margin import array_logic
from risk.exact.margin import instrument_id as iid
from risk.exact.settlement import settlement_lib, wind_down
from risk.exact.state import Account
from tests.market.market_twin import BURNS_GAS
from tests.settlement.helpers import (
    AT_3000,
    BTC_PERP,
    CALL,
    DAY0,
    DAY1,
    EXPIRY,
    FUTURE,
    LATER,
    PERP,
    PUT,
    is_revert,
    observe,
    record,
)
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, MAX, OWNER, USD, WAD, account

pytestmark = pytest.mark.chain

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
STRANGER = 0xBEEF
NOTICE = 3 * 86_400
LATER_CALL = iid.encode(0, iid.CALL, DAY1, AT_3000)
LATER_PUT = iid.encode(0, iid.PUT, DAY1, AT_3000)


def stored(m: Market, account_id: int) -> Account:
    return m.state.accounts[account_id]


def settle(m: Market, *accounts: int) -> None:
    assert m.do(STRANGER, "settle", list(accounts)) is None


def close(m: Market, *prices: float) -> None:
    """Start, wait for the end of the notice, set the feeds and take both snapshots."""
    assert m.do(OWNER, "startWindDown") is None
    m.world.timestamp = m.state.wind_down_time + NOTICE
    for u, price in enumerate(prices):
        m.set_price(u, price)
        assert m.do(OWNER, "refresh", [u]) is None


def recorded(m: Market, instrument: int) -> int:
    return m.state.settlements[settlement_lib.WIND_DOWN | instrument].price_wad


def test_only_the_owner_and_only_once(m: Market) -> None:
    is_revert(m.do(STRANGER, "startWindDown"), "Unauthorized")
    now = m.world.timestamp
    assert m.do(OWNER, "startWindDown") is None
    assert m.read("vaultMode") == [0, now]
    is_revert(m.do(OWNER, "startWindDown"), "WindingDown")


def test_nothing_closes_before_the_end_of_the_notice(m: Market) -> None:
    m.put(A, cash=9_000 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    settle(m, A)
    assert m.do(OWNER, "startWindDown") is None
    end = m.state.wind_down_time + NOTICE
    m.world.timestamp = end - 1
    m.set_price(0, 3_000)
    assert settlement_lib.holds_settled(m.state, m.world, stored(m, A)) is None
    settle(m, A, B)
    assert m.logs == []
    assert stored(m, A).linear[0].size_wad == WAD
    assert m.world.timestamp == end
    assert settlement_lib.holds_settled(m.state, m.world, stored(m, A)) == PERP
    settle(m, A, B)
    assert stored(m, A).linear == stored(m, B).linear == []
    assert m.state.underlyings[0].open_interest_wad == 0


def test_an_expiry_settles_during_the_notice_as_ever(m: Market) -> None:
    m.put(A, cash=9_000 * WAD, options=[(CALL, WAD), (LATER_CALL, WAD)], mirror=B)
    m.world.timestamp = EXPIRY - 2 * 86_400
    assert m.do(OWNER, "startWindDown") is None
    record(m, 3_500)
    settle(m, B, A)
    assert [x.instrument for x in stored(m, A).options] == [LATER_CALL]
    assert stored(m, A).cash_wad == 9_500 * WAD


@pytest.mark.parametrize("funding", [0, 55 * 10**12 + 123_457, -(10**13) - 1, 4_000 * 10**12])
def test_value_is_neutral_at_the_snapshot(m: Market, funding: int) -> None:
    """M moves by what the marks of options were quantised and by one wei a position, no more: a
    long gets at least its mark, a short pays at most its mark.
    """
    linear = [(PERP, 3 * WAD + 7, -9_000 * WAD), (FUTURE, -WAD - 1, 3_100 * WAD), (LATER, 5, -9)]
    options = [(CALL, WAD + 3), (PUT, -2 * WAD - 1), (LATER_CALL, -WAD), (LATER_PUT, 4 * WAD)]
    m.state.underlyings[0].funding_e12 = funding
    m.put(A, cash=90_000 * WAD, linear=linear, options=options, mirror=B)
    stored(m, B).cash_wad = 90_000 * WAD
    m.settle_totals()
    m.write_state()
    close(m, 3_111)
    before = {i: m.compare_margin(i).mark_equity for i in (A, B)}
    marks = {i: array_logic.compute(m.state, i) for i, _ in options}
    settle(m, A, B)
    assert m.state.underlyings[0].price_wad == 3_111 * WAD
    widths = 0
    for i, size in options:
        assert marks[i].mark_down <= recorded(m, i) <= marks[i].mark_up
        widths += abs(size) * (marks[i].mark_up - marks[i].mark_down) // WAD + 2
    ratio = m.state.buckets[DAY0].forward_ratio_wad
    assert recorded(m, FUTURE) == 3_111 * ratio
    for each in (A, B):
        assert stored(m, each).options == []
        assert all(x.instrument == PERP and x.size_wad == 0 for x in stored(m, each).linear)
        after = m.model.margin(each).mark_equity
        assert -7 <= after - before[each] <= widths
    perp = m.state.settlements[settlement_lib.WIND_DOWN | PERP]
    assert wind_down.signed_80(perp.mean_wad) == funding
    dust = m.state.underlyings[0].pnl_pool_wad - sum(
        x.quote_wad for i in (A, B) for x in stored(m, i).linear
    )
    assert 0 <= dust <= 2 * 7  # A8


def test_one_index_for_everything_of_an_underlying(m: Market) -> None:
    """B's hedge closes at the index of the moment in which A's half of the perp closed."""
    m.put(A, cash=10**5 * WAD, linear=[(PERP, -WAD, 3_000 * WAD)], mirror=C)
    m.put(B, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], options=[(LATER_PUT, WAD)])
    m.put(C, cash=10**5 * WAD, options=[(LATER_PUT, -WAD)])
    close(m, 3_000)
    settle(m, A)
    put = array_logic.compute(m.state, LATER_PUT)
    m.set_price(0, 1_500)
    assert m.do(OWNER, "refresh", [0]) is None
    m.report(0)
    settle(m, B, C)
    assert put.mark_down <= recorded(m, LATER_PUT) <= put.mark_up
    assert recorded(m, PERP) == 3_000 * WAD
    assert stored(m, B).cash_wad + sum(x.quote_wad for x in stored(m, B).linear) == (
        10**5 * WAD + recorded(m, LATER_PUT)
    )


def test_a_snapshot_that_is_due_is_taken_first(m: Market) -> None:
    m.put(A, cash=9_000 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    assert m.do(OWNER, "startWindDown") is None
    m.world.timestamp = m.state.wind_down_time + NOTICE
    m.set_price(0, 2_900)
    epoch = m.state.underlyings[0].epoch
    settle(m, A)
    assert (m.state.underlyings[0].epoch, recorded(m, PERP)) == (epoch + 1, 2_900 * WAD)
    assert stored(m, A).cash_wad == 8_900 * WAD


def test_D39_a_dead_market_is_passed_over_and_blocks_nobody(m: Market) -> None:
    """BTC's feed is dead: ETH closes, BTC waits, and after the fallback closes at its last
    snapshot.
    """
    linear = [(BTC_PERP, WAD, -60_000 * WAD), (PERP, WAD, -3_000 * WAD)]
    m.put(A, cash=10**5 * WAD, linear=linear, mirror=B)
    m.state.underlyings[1].pnl_pool_wad = 10**5 * WAD
    m.settle_totals()
    m.write_state()
    close(m, 3_300, 61_000)
    m.set_feed(m.state.underlyings[1].feed, 0, m.world.timestamp)
    settle(m, A, B)
    for each in (A, B):
        assert [x.instrument for x in stored(m, each).linear if x.size_wad] == [BTC_PERP]
    m.world.timestamp = m.state.wind_down_time + NOTICE + wind_down.FALLBACK - 1
    settle(m, A, B)
    assert len(stored(m, B).linear) == 1
    settle(m, A, B)
    assert m.do(STRANGER, "realizePnl", A) == 300 * WAD  # the claim on ETH from before B paid
    assert stored(m, A).linear == stored(m, B).linear == []
    assert stored(m, A).cash_wad == (10**5 + 300 + 1_000) * WAD
    assert recorded(m, BTC_PERP) == 61_000 * WAD


def test_D38_a_feed_that_burns_its_gas_is_read_once_an_account(m: Market) -> None:
    """Sixty BTC options behind it: the ETH perp closes for the gas of one such feed."""
    m.do(OWNER, "listExpiry", 1, DAY1, [k * 100 * WAD for k in range(1, 61)])
    options = [(iid.encode(1, iid.CALL, DAY1, 3 + i), WAD) for i in range(60)]
    m.put(A, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], options=options, mirror=B)
    close(m, 3_000, 60_000)
    m.set_feed(m.state.underlyings[1].feed, 0, m.world.timestamp, BURNS_GAS)
    settle(m, A)
    assert stored(m, A).linear == []
    assert len(stored(m, A).options) == 60
    assert m.gas_used < 1_000_000


def test_a_sequencer_that_just_came_back_holds_the_freeze(m: Market) -> None:
    changed = params(wind_down_notice_seconds=NOTICE, sequencer_grace_seconds=3_600)
    m.set_params(changed)
    feed = m.new_feed(0, 0)
    assert m.do(OWNER, "setSequencerFeed", feed) is None
    m.put(A, cash=9_000 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    close(m, 3_000)
    m.set_feed(feed, 0, m.world.timestamp - 3_000)
    settle(m, A)
    assert len(stored(m, A).linear) == 1
    m.set_feed(feed, 0, m.world.timestamp - 3_600)
    settle(m, A)
    assert stored(m, A).linear == []


@pytest.mark.parametrize("recorded_first", [False, True])
def test_G56_an_instrument_closes_at_one_price(m: Market, recorded_first: bool) -> None:
    """Expired, not settled, and the notice ends: whichever price is used first holds for both
    sides.
    """
    m.put(A, cash=9_000 * WAD, linear=[(FUTURE, WAD, -3_000 * WAD)], mirror=B)
    stored(m, B).cash_wad = 9_000 * WAD
    m.settle_totals()
    m.write_state()
    m.world.timestamp = EXPIRY - NOTICE - 100
    assert m.do(OWNER, "startWindDown") is None
    m.world.timestamp = EXPIRY + 50
    m.set_price(0, 3_200)
    assert m.do(OWNER, "refresh", [0]) is None
    if recorded_first:
        record(m, 3_100)
        settle(m, A)
    else:
        settle(m, A)  # at the index, as expired
        assert recorded(m, FUTURE) == 3_200 * WAD
        record(m, 3_100)
    settle(m, B, A)
    m.do(STRANGER, "realizePnl", A)
    price = 3_100 if recorded_first else 3_200
    assert stored(m, A).cash_wad == (9_000 + price - 3_000) * WAD
    assert stored(m, B).cash_wad == (9_000 - price + 3_000) * WAD


def test_observing_goes_on_in_the_wind_down(m: Market) -> None:
    close(m, 3_000)
    m.world.timestamp = EXPIRY - 100
    assert observe(m, 3_000) is None
    assert m.state.settlements[DAY0].observations == 1


def test_everybody_gets_out(m: Market) -> None:
    """Three owners with perps, options, a future and a loan: after the wind-down the vault holds
    dust, the insurance fund and nothing else.
    """
    start = {k: m.world.balances[m.cash][k >> 8] for k in (A, B, C)}
    assert m.do(ALICE, "deposit", A, m.cash, 50_000 * USD) is None
    assert m.do(BOB, "deposit", B, m.cash, 40_000 * USD) is None
    assert m.do(CAROL, "deposit", C, m.weth, 20 * WAD) is None
    m.give(m.cash, DAVE, USD)
    assert m.do(DAVE, "fundInsurance", USD) is None
    assert m.trade(ALICE, BOB, PERP, 5 * WAD, 3_010 * WAD) is None
    assert m.trade(CAROL, ALICE, FUTURE, WAD, 3_000 * WAD) is None
    assert m.trade(BOB, CAROL, CALL, 3 * WAD + 1, 55 * WAD) is None
    assert m.trade(CAROL, BOB, LATER_PUT, 2 * WAD, 177 * WAD + 1) is None
    assert m.do(CAROL, "withdraw", C, m.cash, 5_000 * USD, C >> 8) == 5_000 * USD
    assert stored(m, C).cash_wad < 0  # a loan
    close(m, 2_700.5)
    settle(m, C, A, B)
    for each in (A, B, C):
        m.do(STRANGER, "realizePnl", each)
        assert stored(m, each).options == []
        assert stored(m, each).linear == []
    assert m.state.underlyings[0].open_interest_wad == 0
    debt = -stored(m, C).cash_wad
    assert debt > 0
    assert m.do(CAROL, "deposit", C, m.cash, -(-debt // 10**12)) is None
    assert m.do(CAROL, "withdraw", C, m.weth, MAX, C >> 8) == 20 * WAD
    for key, each in ((ALICE, A), (BOB, B)):
        assert m.do(key, "withdraw", each, m.cash, MAX, each >> 8) > 0
    left = [stored(m, i).cash_wad for i in (A, B, C)]
    assert all(0 <= x < 10**12 for x in left)  # below one native unit
    held = m.balance(m.cash, m.world.vault)
    insurance = m.state.insurance_wad
    assert 0 <= held * 10**12 - insurance < 4 * 10**12
    gained = sum(m.world.balances[m.cash][i >> 8] - start[i] for i in (A, B, C))
    assert -USD < gained <= 0
    assert m.balance(m.weth, m.world.vault) == 0


def test_rebuild_from_events(m: Market) -> None:
    for key in (ALICE, BOB):
        assert m.do(key, "deposit", account(key), m.cash, 10**6 * USD) is None
    for item in (PERP, FUTURE, CALL, LATER_PUT):
        assert m.trade(ALICE, BOB, item, WAD, 50 * WAD) is None
    m.state.underlyings[0].funding_e12 = 0
    close(m, 3_123.456)
    settle(m, B, A)
    logs = m.rpc.call(
        "eth_getLogs",
        {"fromBlock": "0x0", "toBlock": "latest", "address": f"0x{m.world.vault:040x}"},
    )
    rebuilt = rebuild(vault_abi(m.artifacts), logs).state
    assert (rebuilt.winding_down, rebuilt.wind_down_time) == (True, m.state.wind_down_time)
    assert rebuilt.settlements == m.state.settlements
    for each in (A, B):
        assert rebuilt.accounts[each] == stored(m, each)
    assert rebuilt.underlyings[0] == m.state.underlyings[0]
