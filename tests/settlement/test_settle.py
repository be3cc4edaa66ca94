"""Settling accounts: values, roundings, pools, claims, limits, events."""

from __future__ import annotations

import random

import pytest

from risk.chain.rebuild import rebuild
from risk.chain.vault_abi import vault_abi
from risk.exact.accounts import account_lib
from risk.exact.margin import instrument_id as iid
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account
from tests.settlement.helpers import (
    AT_3000,
    CALL,
    DAY0,
    DAY1,
    FUTURE,
    LATER,
    PERP,
    PUT,
    STRIKE,
    record,
)
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, MAX, OWNER, USD, WAD, account

pytestmark = pytest.mark.chain

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
STRANGER = 0xBEEF
LATER_CALL = iid.encode(0, iid.CALL, DAY1, AT_3000)


def settle(m: Market, *accounts: int) -> None:
    assert m.do(STRANGER, "settle", list(accounts)) is None


def stored(m: Market, account_id: int) -> Account:
    return m.state.accounts[account_id]


@pytest.mark.parametrize(
    ("instrument", "price", "unit"),
    [
        (CALL, 3_250.5, 250.5),
        (CALL, 3_000, 0),
        (CALL, 2_999.5, 0),
        (PUT, 2_400.25, 599.75),
        (PUT, 3_000, 0),
        (PUT, 3_000.5, 0),
    ],
)
def test_options_settle_at_intrinsic_value(
    m: Market, instrument: int, price: float, unit: float
) -> None:
    """The loser pays before the winner draws; both end without the position."""
    m.put(A, cash=10_000 * WAD, options=[(instrument, 3 * WAD)], mirror=B)
    m.put(B, cash=10_000 * WAD, options=[(instrument, -3 * WAD)])
    record(m, price)
    settle(m, B, A)
    value = round(3 * unit * 10**8) * 10**10
    assert stored(m, A).cash_wad == 10_000 * WAD + value
    assert stored(m, B).cash_wad == 10_000 * WAD - value
    for each in (A, B):
        assert stored(m, each).linear == []
        assert stored(m, each).options == []
    assert m.state.underlyings[0].open_interest_wad == 0
    assert m.state.open_interest[instrument] == 0
    assert m.state.underlyings[0].pnl_pool_wad == 0


def test_future_settles_with_its_quote_in_the_perp_entry(m: Market) -> None:
    m.put(A, cash=0, linear=[(FUTURE, 2 * WAD, -6_000 * WAD)], mirror=B)
    record(m, 3_100)
    settle(m, A)  # the winner first: the pool is empty, the credit stays a claim
    assert [(x.instrument, x.size_wad, x.quote_wad) for x in stored(m, A).linear] == [
        (PERP, 0, 200 * WAD)
    ]
    assert stored(m, A).cash_wad == 0
    settle(m, B)
    assert stored(m, B).cash_wad == -200 * WAD
    assert m.state.underlyings[0].pnl_pool_wad == 200 * WAD
    assert m.do(STRANGER, "realizePnl", A) == 200 * WAD
    assert stored(m, A).linear == []


def test_other_positions_stay_and_the_perp_is_realised(m: Market) -> None:
    """Funding ≠ 0: the quote of a perp takes cash-like value whatever the funding is."""
    m.state.underlyings[0].funding_e12 = 123 * 10**12 + 456_789
    m.state.underlyings[0].pnl_pool_wad = 10**6 * WAD
    linear = [(PERP, WAD, -2_900 * WAD), (FUTURE, 2 * WAD, -6_000 * WAD), (LATER, WAD, -10 * WAD)]
    options = [(CALL, WAD), (LATER_CALL, -WAD)]
    m.put(A, cash=50_000 * WAD, linear=linear, options=options, mirror=B)
    stored(m, B).cash_wad = 50_000 * WAD
    m.settle_totals()
    m.write_state()
    record(m, 3_100.123)
    m.state.underlyings[0].funding_e12 -= 77_777_777_777
    m.write_state()
    m.set_price(0, 3_050)
    assert m.do(OWNER, "refresh", [0]) is None
    before = {i: m.model.margin(i).mark_equity for i in (A, B)}
    snapshot = m.state.underlyings[0].price_wad
    settle(m, A, B)
    for each, sign in ((A, 1), (B, -1)):
        a = stored(m, each)
        assert {x.instrument for x in a.linear} == {PERP, LATER}
        assert [o.instrument for o in a.options] == [LATER_CALL]
        # what changed in M is the price alone: (P − S) on two futures, intrinsic at P − mark at S
        price = 3_100_123 * 10**15
        expected = 2 * (price - snapshot) + price - STRIKE * WAD
        after = m.compare_margin(each).mark_equity
        marked = max(0, snapshot - STRIKE * WAD)
        assert abs(after - before[each] - sign * (expected - marked)) <= 4 + (marked >> 38)
    perp = stored(m, A).linear[account_lib.find_linear(stored(m, A), PERP)]
    worth = perp.size_wad * (snapshot - m.state.underlyings[0].funding_e12 * 10**6) // WAD
    assert worth + perp.quote_wad == 0  # realised whole


def test_A8_dust_is_bounded_and_never_favours_a_user(m: Market) -> None:
    """Σ values ≤ 0, more than −1 wei an account and instrument; the pool keeps the rest."""
    rng = random.Random(8)
    owners = [account(0xA0000 + i) for i in range(6)]
    instruments = [FUTURE, CALL, PUT, CALL + 1, PUT + 1]
    sizes = {i: [rng.randrange(-(10**18), 10**18) for _ in owners[1:]] for i in instruments}
    for s in sizes.values():
        s.append(-sum(s))
    for n, owner in enumerate(owners):
        m.put(
            owner,
            cash=10**6 * WAD,
            linear=[(FUTURE, sizes[FUTURE][n], -sizes[FUTURE][n] * 3_000)],
            options=[(i, sizes[i][n]) for i in instruments[1:]],
        )
    record(m, 3_111.11111111)
    before = sum(stored(m, i).cash_wad for i in owners)
    shuffled = owners[:]
    rng.shuffle(shuffled)
    settle(m, *shuffled)
    settle(m, *owners)
    for owner in owners:
        m.do(STRANGER, "realizePnl", owner)
    claims = sum(x.quote_wad for i in owners for x in stored(m, i).linear)
    assert claims == 0
    dust = m.state.underlyings[0].pnl_pool_wad
    assert 0 <= dust < len(owners) * len(instruments)
    assert sum(stored(m, i).cash_wad for i in owners) == before - dust


def test_nothing_to_settle_is_skipped(m: Market) -> None:
    m.put(A, cash=WAD, linear=[(PERP, WAD, 0), (LATER, WAD, 0)], options=[(CALL, WAD)], mirror=B)
    settle(m)
    assert m.logs == []
    settle(m, A, B, C, A)
    assert m.logs == []
    record(m, 3_000)
    assert m.do(STRANGER, "settle", [A, A, B]) is None
    assert len([e for e in m.logs if len(e["topics"]) == 3]) > 0
    settle(m, A, A, B)
    assert m.logs == []
    assert {x.instrument for x in stored(m, A).linear} == {PERP, LATER}


def test_B17_an_account_at_the_limit_of_positions_always_fits(m: Market) -> None:
    """128 options of two underlyings and no perp: two entries are made where options left."""
    m.do(OWNER, "listExpiry", 1, DAY0, [k * 100 * WAD for k in range(1, 61)])
    eth = [(iid.encode(0, kind, DAY0, i), (-1) ** i * WAD) for i in range(64) for kind in (2,)]
    btc = [(iid.encode(1, kind, DAY0, 3 + i), -WAD) for i in range(32) for kind in (2, 3)]
    m.put(A, cash=10**8 * WAD, options=eth + btc, mirror=B)
    m.put(A, cash=10**8 * WAD, options=eth + btc)
    assert account_lib.position_count(stored(m, A)) == 128
    record(m, 3_000)
    settle(m, A)
    a = stored(m, A)
    assert account_lib.position_count(a) == 65 - (a.linear == [])  # 64 of BTC are not settled
    record(m, 60_000, u=1)
    settle(m, A, B)
    assert stored(m, A).options == []
    assert all(x.size_wad == 0 for x in stored(m, A).linear)


def test_claim_of_a_future_moves_to_the_perp(m: Market) -> None:
    m.put(A, cash=0, linear=[(FUTURE, 0, 5 * WAD)])
    record(m, 3_000)
    assert settlement_lib.holds_settled(m.state, m.world, stored(m, A)) is None
    settle(m, A)
    assert [(x.instrument, x.size_wad, x.quote_wad) for x in stored(m, A).linear] == [
        (PERP, 0, 5 * WAD)
    ]


def test_holds_settled_names_the_first(m: Market) -> None:
    def first() -> int | None:
        return settlement_lib.holds_settled(m.state, m.world, stored(m, A))

    options = [(LATER_CALL, 5), (PUT, -1), (CALL, 1)]
    m.put(A, linear=[(PERP, WAD, 0), (LATER, WAD, 0)], options=options, mirror=B)
    assert first() is None
    record(m, 3_000)
    assert first() == PUT
    m.put(A, linear=[(LATER, WAD, 0), (FUTURE, 7, 3)], options=options, mirror=B)
    assert first() == FUTURE
    m.put(A, linear=[(LATER, WAD, 0)], options=[(LATER_CALL, 5)], mirror=B)
    m.put(A, linear=[(LATER, WAD, 0), (FUTURE, 0, 3)], options=[(LATER_CALL, 5)])
    assert first() is None  # a claim asks for nothing


def test_quote_beyond_int128_is_refused(m: Market) -> None:
    m.put(A, linear=[(PERP, WAD, 2**127 - 10)], options=[(CALL, 2**90)])
    m.put(B, linear=[(PERP, -WAD, -(2**127) + 10)], options=[(CALL, -(2**90))])
    record(m, 5_000)
    result = m.do(STRANGER, "settle", [A])
    assert (result.name, result.args) == ("SizeOutOfRange", (A, PERP))


def test_a_debit_that_makes_a_loan_is_booked_as_one(m: Market) -> None:
    """The short's debit exceeds his cash: a loan at the borrow index, no consent, no check."""
    m.put(A, cash=100 * WAD, options=[(CALL, -WAD)], mirror=B)
    record(m, 4_000)
    settle(m, A, B)
    assert stored(m, A).cash_wad == -900 * WAD
    assert stored(m, A).interest_index == m.state.borrow_index_e15
    assert m.state.borrow_wad == 900 * WAD
    assert stored(m, B).cash_wad == 1_000 * WAD


def test_the_winner_withdraws_what_the_loser_paid(m: Market) -> None:
    for key in (ALICE, BOB):
        assert m.do(key, "deposit", account(key), m.cash, 10_000 * USD) is None
    m.put(C)  # keep totals in step
    assert m.trade(ALICE, BOB, CALL, WAD, 50 * WAD) is None
    record(m, 3_400)
    settle(m, B, A)
    assert m.do(ALICE, "withdraw", A, m.cash, MAX, A >> 8) == 10_350 * USD
    assert m.do(BOB, "withdraw", B, m.cash, MAX, B >> 8) == 9_650 * USD


def test_rebuild_from_events(m: Market) -> None:
    """The logs of observing and settling say every change."""
    first = int(m.rpc.call("eth_blockNumber"), 16) + 1
    positions = [(PERP, WAD, -3_000 * WAD), (FUTURE, WAD, -3_000 * WAD), (LATER, WAD, 0)]
    for key in (ALICE, BOB):
        assert m.do(key, "deposit", account(key), m.cash, 10**6 * USD) is None
    for item, _, _ in positions:
        assert m.trade(ALICE, BOB, item, WAD, 3_000 * WAD) is None
    for item in (CALL, PUT, CALL + 1, PUT + 2):
        assert m.trade(BOB, ALICE, item, WAD, 50 * WAD) is None
    record(m, 3_123.456)
    settle(m, A, B)
    logs = m.rpc.call(
        "eth_getLogs",
        {"fromBlock": "0x0", "toBlock": "latest", "address": f"0x{m.world.vault:040x}"},
    )
    assert any(int(e["blockNumber"], 16) >= first for e in logs)
    rebuilt = rebuild(vault_abi(m.artifacts), logs).state
    for each in (A, B):
        assert rebuilt.accounts[each] == stored(m, each)
    assert rebuilt.settlements == m.state.settlements
    assert rebuilt.underlyings[0].pnl_pool_wad == m.state.underlyings[0].pnl_pool_wad
    assert rebuilt.underlyings[0].open_interest_wad == m.state.underlyings[0].open_interest_wad
    assert {k: v for k, v in rebuilt.open_interest.items() if v} == {
        k: v for k, v in m.state.open_interest.items() if v
    }
    assert (rebuilt.supply_wad, rebuilt.borrow_wad) == (m.state.supply_wad, m.state.borrow_wad)


@pytest.mark.parametrize("sign", [1, -1])
def test_gas_settle_16(m: Market, sign: int) -> None:
    """Sixteen options of one expiry and a perp; the figure is in docs/settlement.md."""
    legs = [(iid.encode(0, 2 + i % 2, DAY0, AT_3000 + i), sign * WAD) for i in range(16)]
    m.state.underlyings[0].pnl_pool_wad = 10**6 * WAD
    m.put(A, cash=10**6 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], options=legs, mirror=B)
    record(m, 3_100)
    settle(m, A)
    print(f"settle_16 ({'long' if sign > 0 else 'short'}): {m.gas_used}")
    assert m.gas_used <= 420_000
