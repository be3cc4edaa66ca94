"""Initial margin needs young slices, and an expiry that passed needs a new snapshot.

Otherwise two accounts of one owner trade against a forward that is known to be wrong, both withdraw
down to their margin, and what the expiry takes from one beyond its deposit is paid by depositors.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    DAY,
    NO_LIMIT,
    OWNER,
    USD,
    WAD,
    account,
    iid,
)

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
A1 = account(ALICE, 1)
NEAR, LATER = EXPIRIES
EXPIRY = LATER * DAY + 8 * 3_600
MAX_AGE = 3_600
SPOT, FORWARD = 3_000 * WAD, 3_030 * WAD
PERP = iid.encode(0, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, LATER, 0)
NEAR_FUTURE = iid.encode(0, iid.FUTURE, NEAR, 0)
CALL = iid.encode(0, iid.CALL, LATER, STRIKES.index(SPOT))
NEAR_PUT = iid.encode(0, iid.PUT, NEAR, STRIKES.index(SPOT))


def ticks(market: Market) -> None:
    """The index feeds are alive: the price does not move."""
    for u, price in enumerate(PRICES):
        market.set_price(u, price)


def stale(market: Market, day: int = LATER) -> Revert:
    return Revert("SliceStale", (0, day, market.state.buckets[day].report_time))


def room(market: Market, account_id: int) -> int:
    """What it may withdraw at most, in units of the token."""
    m = market.model.margin(account_id)
    return int((m.equity - m.im) // 10**12)


# ----------------------------------------------------------------------------------- the theft

SHORT, LONG = 20_000 * WAD, 20_200 * WAD  # 20 000 futures at R = 1.01 hedge 20 200 perps
DEPOSIT = 800_000


def hedged(market: Market, cash: int) -> None:
    """A short futures and long perps, A1 its mirror; each with ``cash``."""
    legs = [(FUTURE, -SHORT, SHORT * FORWARD // WAD), (PERP, LONG, -LONG * SPOT // WAD)]
    market.state.accounts[A1].cash_wad = cash
    market.put(A, cash=cash, linear=legs, mirror=A1)


def depositors(market: Market) -> None:
    assert market.do(BOB, "deposit", B, market.cash, 5 * 10**6 * USD) is None
    for sub in (0, 1):
        assert market.do(ALICE, "deposit", account(ALICE, sub), market.cash, DEPOSIT * USD) is None


def test_nobody_opens_at_a_dead_forward(market: Market) -> None:
    """Ten minutes to expiry, the forward is 34.98 days old and 1 % above the index."""
    depositors(market)
    market.world.timestamp = EXPIRY - 600
    ticks(market)
    assert market.read("oracleState", 0)[0] == 0  # FRESH: the index says nothing about the slice
    age = market.world.timestamp - market.state.buckets[LATER].report_time
    assert age > 26 * DAY
    buy = market.order(ALICE, FUTURE, SHORT, FORWARD, sub=1)
    sell = market.order(ALICE, FUTURE, -SHORT, FORWARD)
    assert market.fill(buy, sell, 500 * WAD, FORWARD) == stale(market)
    # the perp leg alone is no bet on the forward
    buy = market.order(ALICE, PERP, LONG, SPOT)
    sell = market.order(ALICE, PERP, -LONG, SPOT, sub=1)
    assert market.fill(buy, sell, 500 * WAD, SPOT) is None


def test_nobody_withdraws_against_a_dead_forward(market: Market) -> None:
    """The same position, opened while the slice was young: the deposit has to stay until the
    forward is known again, and covers the loss.
    """
    depositors(market)
    hedged(market, DEPOSIT * WAD)
    market.world.timestamp = EXPIRY - 600
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None
    for sub, identity in ((0, A), (1, A1)):
        ticks(market)
        amount = room(market, identity)
        assert amount > 640_000 * USD  # only the basis is charged: the hedge has no Scan
        outcome = market.do(ALICE, "withdraw", identity, market.cash, amount, OWNER)
        assert outcome == stale(market), sub

    market.world.timestamp = EXPIRY
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None  # due: an expiry passed
    jump = SHORT * (FORWARD - SPOT) // WAD
    assert market.compare_margin(A).mark_equity == DEPOSIT * WAD + jump
    assert market.compare_margin(A1).mark_equity == DEPOSIT * WAD - jump > 0
    for identity in (A1, A):
        market.do(ALICE, "realizePnl", identity)
    ticks(market)
    before = market.balance(market.cash, OWNER)
    for identity in (A, A1):
        m = market.model.margin(identity)
        if m.equity > m.im:
            out = market.do(ALICE, "withdraw", identity, market.cash, room(market, identity), OWNER)
            assert not isinstance(out, Revert)
            ticks(market)
    taken = (market.balance(market.cash, OWNER) - before) * 10**12
    left = sum(market.model.margin(x).mark_equity for x in (A, A1))
    assert taken + left <= 2 * DEPOSIT * WAD and market.model.margin(A1).mark_equity > 0


def test_what_the_withdrawals_would_have_taken(market: Market) -> None:
    """The state that the refused withdrawals lead to: the loss the defence prevents."""
    depositors(market)
    market.world.timestamp = EXPIRY - 600
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None
    hedged(market, DEPOSIT * WAD)
    m = market.compare_margin(A)
    hedged(market, m.im)
    margins = [market.compare_margin(x) for x in (A, A1)]
    assert [x.equity for x in margins] == [m.im, m.im] == [x.im for x in margins]
    assert m.im // WAD == 156_014 and m.scan < WAD  # against 60 million of notional
    market.world.timestamp = EXPIRY
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None
    jump = SHORT * (FORWARD - SPOT) // WAD
    loss = jump - m.im
    assert loss // WAD == 443_985
    assert market.compare_margin(A1).mark_equity == -loss
    assert market.compare_margin(A).mark_equity == m.im + jump


# ------------------------------------------------------------------------------- the boundary

ENDS: dict[str, dict[str, Any]] = {
    "future": {"linear": [(FUTURE, WAD, -FORWARD)]},
    "option": {"options": [(CALL, -WAD)]},
    "option beside a perp": {
        "linear": [(PERP, WAD, -SPOT)],
        "options": [(CALL, WAD), (CALL + 1, -WAD)],
    },
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("late", [0, 1])
def test_age_at_the_second(market: Market, name: str, late: int) -> None:
    market.put(A, cash=10**5 * WAD, mirror=B, **ENDS[name])
    market.world.timestamp = market.state.buckets[LATER].report_time + MAX_AGE + late
    ticks(market)
    outcome = market.do(ALICE, "withdraw", A, market.cash, 1, OWNER)
    assert outcome == (stale(market) if late else 1)


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("instrument", [FUTURE, CALL])
def test_age_at_the_second_of_a_fill(market: Market, instrument: int, late: int) -> None:
    for key in (ALICE, BOB):
        assert market.do(key, "deposit", account(key), market.cash, 10**5 * USD) is None
    market.world.timestamp = market.state.buckets[LATER].report_time + MAX_AGE + late
    ticks(market)
    outcome = market.trade(ALICE, BOB, instrument, WAD, 100 * WAD)
    assert outcome == (stale(market) if late else None)


def test_a_new_report_ends_it_slice_by_slice(market: Market) -> None:
    """Reports may leave slices out; those keep their age."""
    market.put(A, cash=10**5 * WAD, linear=[(FUTURE, WAD, -FORWARD)], mirror=B)
    market.warp(MAX_AGE + 10)
    ticks(market)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == stale(market)
    ticks(market)
    market.report(0, (NEAR,))
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == stale(market)
    ticks(market)
    market.report(0, (LATER,))
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == 1


def test_first_stale_slice_is_named(market: Market) -> None:
    """Account by account, futures before options, each in storage order; after the oracle."""
    market.put(
        A,
        cash=10**6 * WAD,
        linear=[(PERP, WAD, -SPOT), (FUTURE, WAD, -FORWARD), (NEAR_FUTURE, WAD, -FORWARD)],
        options=[(NEAR_PUT, -WAD)],
        mirror=B,
    )
    market.warp(MAX_AGE + 10)
    ticks(market)
    market.report(0, (LATER,))
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == stale(market, NEAR)
    entries = market.state.accounts[A].linear
    for x in market.state.accounts[A].options + market.state.accounts[B].options:
        x.instrument = CALL
    entries[1], entries[2] = entries[2], entries[1]
    market.write_state()
    market.warp(MAX_AGE + 10)
    ticks(market)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == stale(market, NEAR)
    entries[1], entries[2] = entries[2], entries[1]
    market.write_state()
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == stale(market, LATER)
    market.warp(MAX_AGE)
    outcome = market.do(ALICE, "withdraw", A, market.cash, 1, OWNER)
    assert outcome == Revert("OracleNotUsable", (0, 2))


def test_expiry_that_was_never_reported(market: Market) -> None:
    day = LATER + 7
    assert market.do(OWNER, "listExpiry", 0, day, [SPOT]) is None
    for key in (ALICE, BOB):
        assert market.do(key, "deposit", account(key), market.cash, 10**5 * USD) is None
    ticks(market)
    for kind in (iid.FUTURE, iid.CALL):
        outcome = market.trade(ALICE, BOB, iid.encode(0, kind, day, 0), WAD, 100 * WAD)
        assert isinstance(outcome, Revert)
        assert outcome == Revert("SliceStale", (0, day, 0))


# ------------------------------------------------------------------------- who is not asked


def old(market: Market) -> None:
    market.warp(30 * 3_600)
    ticks(market)


def test_perps_need_no_slice(market: Market) -> None:
    market.put(A, cash=10**5 * WAD, linear=[(PERP, WAD, -SPOT)], mirror=B)
    old(market)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == 1
    assert market.trade(ALICE, BOB, PERP, WAD, SPOT) == Revert(
        "InsufficientMargin", (B, *_margin(market, B, 2))
    )


def _margin(market: Market, account_id: int, size: int) -> tuple[int, int]:
    """(E, IM) of a short of ``size`` perps at the snapshot, without money."""
    saved = market.state.clone()
    market.state.accounts[account_id].linear[0].size_wad = -size * WAD
    market.state.accounts[account_id].linear[0].quote_wad = size * SPOT
    market.state.underlyings[0].open_interest_wad = size * WAD
    m = market.model.margin(account_id)
    market.restore((saved, market.world))
    return m.equity, m.im


def test_accounts_without_obligations_are_not_locked_in(market: Market) -> None:
    """A long option that is paid for owes nothing; neither does what it trades away."""
    market.put(A, cash=10**3 * WAD, options=[(CALL, WAD)], mirror=B)
    market.state.accounts[B].cash_wad = 10**5 * WAD
    market.settle_totals()
    market.write_state()
    old(market)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == 1
    # Bob buys it back: neither owes anything afterwards
    assert market.trade(BOB, ALICE, CALL, WAD, 100 * WAD) is None
    assert not market.state.accounts[A].options and not market.state.accounts[B].options


def test_undrawn_claim_needs_no_slice(market: Market) -> None:
    market.put(A, cash=10**5 * WAD, linear=[(FUTURE, 0, 50 * WAD), (PERP, WAD, -SPOT)], mirror=B)
    market.state.accounts[B].linear = [x for x in market.state.accounts[B].linear if x.size_wad]
    market.settle_totals()
    market.write_state()
    old(market)
    assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == 1


def test_expired_instruments_need_no_slice(market: Market) -> None:
    """They are valued at the snapshot; a second before their expiry they need one."""
    market.put(
        A,
        cash=10**6 * WAD,
        linear=[(NEAR_FUTURE, WAD, -FORWARD)],
        options=[(NEAR_PUT, -WAD)],
        mirror=B,
    )
    for time, want in ((NEAR * DAY + 8 * 3_600 - 1, stale(market, NEAR)), (None, 1)):
        market.world.timestamp = time or market.world.timestamp
        ticks(market)
        assert market.do(ALICE, "withdraw", A, market.cash, 1, OWNER) == want


@pytest.mark.parametrize("name", ENDS)
def test_liquidations_need_no_slice(market: Market, name: str) -> None:
    """Of the account and of the liquidator, who takes the same positions over."""
    market.put(D, cash=10**7 * WAD)
    market.put(A, cash=0, mirror=B, **ENDS[name])
    m = market.model.margin(A)
    market.state.accounts[A].cash_wad = m.mm * 9 // 10 - m.equity
    market.state.accounts[A].cash_wad -= 0 if m.has_obligations else 1
    market.settle_totals()
    market.write_state()
    old(market)
    fraction, _ = market.do(DAVE, "liquidate", A, D, WAD, NO_LIMIT)
    assert 0 < fraction <= WAD
    assert market.do(DAVE, "withdraw", D, market.cash, 1, OWNER) == stale(market)


# ------------------------------------------------------------------------- an expiry passed


@pytest.mark.parametrize("day", [NEAR, NEAR + 1])  # whether or not anything expires that day
def test_snapshot_is_due_at_eight_o_clock(market: Market, day: int) -> None:
    eight = day * DAY + 8 * 3_600
    refuse = Revert("RefreshNotNeeded", (0,))
    market.world.timestamp = eight - 600
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None
    for time, want in ((eight - 1, refuse), (eight, None), (eight + 1, refuse)):
        assert market.world.timestamp <= time
        market.world.timestamp = time
        ticks(market)
        assert market.do(CAROL, "refresh", [0]) == want, time - eight


def test_snapshot_is_due_after_eight_o_clock(market: Market) -> None:
    eight = NEAR * DAY + 8 * 3_600
    market.world.timestamp = eight - 1
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None
    market.world.timestamp = eight + MAX_AGE - 2  # not older than max_age
    ticks(market)
    assert market.do(CAROL, "refresh", [0]) is None


@pytest.mark.parametrize("action", ["withdraw", "liquidate"])
@pytest.mark.parametrize("late", [-1, 0, 30])
def test_nobody_acts_at_an_expired_forward(market: Market, action: str, late: int) -> None:
    """A young report of R = 1.01 two minutes before expiry: from 08:00 on the future is worth the
    index.
    """
    market.world.timestamp = EXPIRY - 120
    ticks(market)
    market.report(0, (LATER,))
    price = market.state.underlyings[0].price_wad
    # the future is long: at expiry it loses 30 a unit
    market.put(D, cash=10**7 * WAD)
    market.put(A, cash=0, linear=[(FUTURE, 100 * WAD, -100 * FORWARD)], mirror=B)
    m = market.model.margin(A)
    need = m.im if action == "withdraw" else m.mm
    market.state.accounts[A].cash_wad = need + (1 if action == "withdraw" else 0) * 10**12
    market.settle_totals()
    market.write_state()
    before = market.state.underlyings[0].epoch
    market.world.timestamp = EXPIRY + late
    ticks(market)
    assert market.state.underlyings[0].price_wad == price == SPOT
    if action == "withdraw":
        outcome = market.do(ALICE, "withdraw", A, market.cash, 1, OWNER)
        refused = isinstance(outcome, Revert)
        assert refused == (late >= 0)
        if refused:
            assert outcome.name == "InsufficientMargin"
            assert outcome.args[1] == m.im - 100 * (FORWARD - SPOT)
    else:
        outcome = market.do(DAVE, "liquidate", A, D, WAD, NO_LIMIT)
        if late < 0:
            assert outcome == Revert("AccountHealthy", (A, m.mm, m.mm))
        else:
            assert not isinstance(outcome, Revert)
            assert market.state.underlyings[0].epoch == before + 1
