"""The initial margin check: oracle states, refreshing in passing, drift.

Chain and model side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import initial_margin, instrument_id, margin_engine, margin_logic
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import VolReport
from risk.exact.state import Account, Linear, Option, Settlement
from tests.market.conftest import EXPIRIES, STRIKES
from tests.market.market_twin import BROKEN, DAY, REVERTS, WAD, Twin, slice_of

FRESH, UNCERTAIN, STALE, HALTED = OracleState
PRICE = 3_000 * 10**8
PRICE_1 = 60_000 * WAD
ALICE, BOB = 0xA11CE << 8, 0xB0B << 8 | 3
PERP_0 = instrument_id.encode(0, instrument_id.PERP, 0, 0)
PERP_1 = instrument_id.encode(1, instrument_id.PERP, 0, 0)
CALL_0 = instrument_id.encode(0, instrument_id.CALL, EXPIRIES[0], 1)
FUTURE_0 = instrument_id.encode(0, instrument_id.FUTURE, EXPIRIES[1], 0)

OPTIONS = [
    instrument_id.encode(0, kind, day, i)
    for kind in (instrument_id.CALL, instrument_id.PUT)
    for day in EXPIRIES
    for i in range(len(STRIKES))
]


@pytest.fixture
def priced(market: Twin) -> Twin:
    """Both underlyings at their snapshot prices with fresh feeds; slices of underlying 0
    reported.
    """
    touch(market)
    slices = tuple(slice_of(day) for day in EXPIRIES)
    assert market.submit(VolReport(0, 1, market.world.timestamp - 1, 0, slices)) is None
    touch(market)
    return market


def touch(t: Twin, price: int = PRICE, price_1: int = PRICE_1) -> None:
    """Feeds updated at the time of the next action."""
    t.set_feed(t.state.underlyings[0].feed, price)
    t.set_feed(t.state.underlyings[1].feed, price_1)


def give(
    t: Twin,
    account_id: int,
    cash: int = 0,
    *,
    collateral: dict[int, int] | None = None,
    linear: Sequence[tuple[int, int, int]] = (),
    options: Sequence[tuple[int, int]] = (),
) -> None:
    """Sets an account on both sides, and open interest that covers it."""
    amounts = [(collateral or {}).get(j, 0) for j in range(16)]
    a = Account(cash, amounts, [Linear(*x) for x in linear], [Option(*x) for x in options])
    account_lib.store(t.state, account_id, a)
    packed = [i << 224 | (s % 2**96) << 128 | q % 2**128 for i, s, q in linear]
    assert (
        t.transact(
            "setAccount",
            account_id,
            cash,
            amounts,
            packed,
            [i << 96 | s % 2**96 for i, s in options],
        )
        is None
    )
    for u, data in enumerate(t.state.underlyings):
        held = [x for x in (*a.linear, *a.options) if instrument_id.underlying(x.instrument) == u]
        units = sum(abs(x.size_wad) for x in held)
        if units > data.open_interest_wad:
            data.open_interest_wad = units
            assert t.transact("setOpenInterest", u, units) is None


def report(t: Twin) -> None:
    """A new report of both expiries of underlying 0 at the snapshot price."""
    u = t.state.underlyings[0]
    t.set_feed(u.feed, u.price_wad // 10**10)
    slices = tuple(slice_of(day) for day in EXPIRIES)
    stamp = max(t.world.timestamp - 1, u.report_time + 1)
    t.world.timestamp = max(t.world.timestamp, stamp)
    assert t.submit(VolReport(0, u.report_nonce + 1, stamp, 0, slices)) is None


def check(t: Twin, *ids: int) -> ModelRevert | None:
    return t.act(
        lambda s, w: initial_margin.require_initial(s, w, [(i, s.accounts[i]) for i in ids]),
        "requireInitial",
        list(ids),
    )


def epochs(t: Twin) -> tuple[int, int]:
    return t.state.underlyings[0].epoch, t.state.underlyings[1].epoch


# ------------------------------------------------------------------------------- obligations


def test_without_obligations_no_market_is_asked(priced: Twin) -> None:
    give(
        priced,
        ALICE,
        5,
        collateral={0: WAD, 1: WAD},
        options=[(CALL_0, WAD)],
        linear=[(PERP_1, 0, 7)],
    )
    give(priced, BOB)
    priced.set_feed(priced.state.underlyings[0].feed, PRICE * 5, mode=REVERTS)
    priced.set_feed(priced.state.collaterals[1].rate_feed, 0)
    before = epochs(priced)
    assert check(priced, ALICE, BOB) is None
    assert check(priced) is None
    assert epochs(priced) == before


def test_loan_without_collateral(priced: Twin) -> None:
    give(priced, ALICE, -1)
    priced.refuse("InsufficientMargin", (ALICE, -1, 0), check(priced, ALICE))


# ------------------------------------------------------------------------------- oracle states


def spoil(t: Twin, state: OracleState, u: int = 0) -> None:
    """Brings underlying ``u`` into this state for the next action."""
    feed = t.state.underlyings[u].feed
    price = t.world.feeds[feed].answer
    limits = t.state.params.underlyings[u]  # type: ignore[union-attr]
    if state == HALTED:
        t.set_feed(feed, price, mode=REVERTS)
    elif state == STALE:
        touch(t)
        updated = t.world.feeds[feed].updated_at
        t.warp(limits.max_age_seconds + 100)
        touch(t)
        t.set_feed(feed, price, updated)
    elif state == UNCERTAIN:
        assert u == 0
        report = VolReport(0, t.state.underlyings[0].report_nonce + 1, t.world.timestamp, 51)
        assert t.submit(report) is None
        touch(t)


@pytest.mark.parametrize("state", (UNCERTAIN, STALE, HALTED))
@pytest.mark.parametrize(
    "holding",
    (
        {"linear": [(PERP_0, WAD, 0)]},
        {"linear": [(FUTURE_0, -WAD, 0)]},
        {"options": [(CALL_0, -WAD)]},
        {"collateral": {0: WAD}, "linear": [(PERP_1, 1, 0)]},
        {"collateral": {1: WAD}, "linear": [(PERP_1, 1, 0)]},
        {"options": [(CALL_0, WAD)], "linear": [(PERP_1, 1, 0)]},
    ),
)
def test_C24_C26_only_a_fresh_market_takes_new_risk(
    priced: Twin, state: OracleState, holding: dict
) -> None:  # type: ignore[type-arg]
    give(priced, ALICE, 10**6 * WAD, **holding)
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_1, 1, 0)])
    touch(priced)
    assert check(priced, ALICE, BOB) is None
    spoil(priced, state)
    before = epochs(priced)
    priced.refuse("OracleNotUsable", (0, state), check(priced, ALICE))
    assert epochs(priced) == before
    assert check(priced, BOB) is None  # D39: whoever is not exposed to it goes on


def test_lowest_underlying_is_named_first(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_1, 1, 0)])
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_0, 1, 0)])
    for u in (0, 1):
        priced.set_feed(priced.state.underlyings[u].feed, 1, mode=REVERTS)
    priced.refuse("OracleNotUsable", (0, HALTED), check(priced, ALICE, BOB))
    priced.refuse("OracleNotUsable", (1, HALTED), check(priced, ALICE))


def test_undrawn_claim_is_no_exposure(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, 0, 5), (PERP_1, 1, 0)])
    priced.set_feed(priced.state.underlyings[0].feed, PRICE, mode=REVERTS)
    assert check(priced, ALICE) is None


# ------------------------------------------------------------------------------- refreshing


def test_snapshot_out_of_the_band_is_taken(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, 1, 0)])
    before = epochs(priced)
    touch(priced, PRICE * 101 // 100 - 1)
    assert check(priced, ALICE) is None
    assert epochs(priced) == before
    touch(priced, PRICE * 101 // 100, PRICE_1 * 2)
    assert check(priced, ALICE) is None
    assert epochs(priced) == (before[0] + 1, before[1])  # only what the account is exposed to


def test_stale_snapshot_is_taken(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, 1, 0)])
    before = epochs(priced)
    priced.world.timestamp = priced.state.underlyings[0].time + 3_600
    touch(priced)
    assert check(priced, ALICE) is None
    assert epochs(priced) == before
    touch(priced)
    assert check(priced, ALICE) is None
    assert epochs(priced) == (before[0] + 1, before[1])


def test_first_snapshot_is_taken(twin: Twin) -> None:
    touch(twin)
    give(twin, ALICE, 10**6 * WAD, linear=[(PERP_0, 1, 0), (PERP_1, -1, 0)])
    touch(twin)
    assert check(twin, ALICE) is None
    assert epochs(twin) == (1, 1)


def test_refusal_keeps_no_snapshot(priced: Twin) -> None:
    give(priced, ALICE, 0, linear=[(PERP_0, WAD, -3_000 * WAD)])
    touch(priced, PRICE // 2)
    before = epochs(priced)
    outcome = check(priced, ALICE)
    assert outcome is not None and outcome.name == "InsufficientMargin"
    assert epochs(priced) == before


# ------------------------------------------------------------------------------------- drift


def slack(t: Twin, account_id: int) -> int:
    m = margin_engine.compute(t.state, account_id, t.state.accounts[account_id])
    return m.im - m.mm


def narrow(t: Twin, im_factor_bps: int = 10_100) -> None:
    """φ = 1.01, so that IM − MM is small."""
    assert t.state.params is not None
    t.set_params(replace(t.state.params, im_factor_bps=im_factor_bps, target_bps=10_050))
    touch(t)


def test_drift_at_the_wei(priced: Twin) -> None:
    """2·drift = IM − MM is tolerated, one wei more is not.  The feed of underlying 1 has 18
    decimals: any wei can be hit.
    """
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_1, WAD, 0)])  # one unit: the drift is the move
    for factor in range(10_100, 10_120):
        narrow(priced, factor)
        limit = slack(priced, ALICE)
        if limit % 2 == 0:
            break
    assert limit % 2 == 0 and 0 < limit < PRICE_1 * 2 // 100
    for move, taken in ((limit // 2, 0), (-(limit // 2), 0), (limit // 2 + 1, 1)):
        before = epochs(priced)
        touch(priced, PRICE, PRICE_1 + move)
        assert check(priced, ALICE) is None
        assert epochs(priced) == (before[0], before[1] + taken)


def test_drift_is_rounded_up(priced: Twin) -> None:
    """One and a half units, and a move that makes the drift half a wei more than is tolerated."""
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_1, 3 * WAD // 2, 0)])
    for factor in range(10_100, 10_160):
        narrow(priced, factor)
        limit = slack(priced, ALICE)
        if limit % 6 == 2:
            break
    assert limit % 6 == 2 and 0 < limit < PRICE_1 * 2 // 100
    for move, taken in ((limit // 3, 0), ((limit + 1) // 3, 1)):
        before = epochs(priced)
        touch(priced, PRICE, PRICE_1 + move)
        assert check(priced, ALICE) is None
        assert epochs(priced) == (before[0], before[1] + taken)


def test_drift_counts_collateral_and_options(priced: Twin) -> None:
    """Collateral counts in units of its underlying, with its rate; options by their size."""
    narrow(priced)
    for units, holding in (
        (WAD + 12 * WAD // 10, {"cash": -1, "collateral": {0: WAD, 1: WAD}}),
        (50 * WAD, {"cash": 10**6 * WAD, "options": [(CALL_0, -50 * WAD)]}),
        (50 * WAD, {"cash": 10**6 * WAD, "options": [(CALL_0, 40 * WAD), (CALL_0 + 1, -10 * WAD)]}),
    ):
        give(priced, ALICE, **holding)
        price = priced.state.underlyings[0].price_wad // 10**10
        edge = slack(priced, ALICE) * WAD // (2 * units) // 10**10
        assert 0 < edge < price // 100
        before = epochs(priced)
        touch(priced, price - edge)
        assert check(priced, ALICE) is None
        assert epochs(priced) == before
        touch(priced, price - edge - 1)
        assert check(priced, ALICE) is None
        assert epochs(priced) == (before[0] + 1, before[1])


def test_drift_takes_every_moved_underlying_of_that_account_only(priced: Twin) -> None:
    """Alice's drift comes from underlying 1; 0 moved by one unit and she holds it: both are taken.
    Bob holds 0 only.
    """
    narrow(priced)
    give(priced, ALICE, 10**9 * WAD, linear=[(PERP_0, WAD, 0), (PERP_1, 10 * WAD, 0)])
    give(priced, BOB, 10**9 * WAD, linear=[(PERP_0, WAD, 0)])
    before = epochs(priced)
    touch(priced, PRICE, PRICE_1 * 101 // 100)
    assert check(priced, BOB) is None
    assert epochs(priced) == before
    touch(priced, PRICE + 1, PRICE_1 * 101 // 100)
    assert check(priced, BOB, ALICE) is None
    assert epochs(priced) == (before[0] + 1, before[1] + 1)


def test_margins_are_computed_again_after_a_drift(priced: Twin) -> None:
    """At the snapshot the account is fine, at the live price it is not: refused."""
    narrow(priced)
    size = 100 * WAD
    give(priced, ALICE, 0, linear=[(PERP_0, size, -3_000 * size)])
    m = margin_engine.compute(priced.state, ALICE, priced.state.accounts[ALICE])
    give(priced, ALICE, m.im, linear=[(PERP_0, size, -3_000 * size)])
    touch(priced)
    assert check(priced, ALICE) is None
    touch(priced, PRICE * 991 // 1000)
    outcome = check(priced, ALICE)
    assert outcome is not None and outcome.name == "InsufficientMargin"
    assert outcome.args[1] == m.im - size * 27  # at the live price


# ---------------------------------------------------------------------------------- margin


def test_exactly_at_initial_margin_is_enough(priced: Twin) -> None:
    give(priced, ALICE, 0, linear=[(PERP_0, WAD, -3_000 * WAD)])
    touch(priced)
    m = margin_engine.compute(priced.state, ALICE, priced.state.accounts[ALICE])
    assert m.im > m.mm > 0 and m.equity == 0
    for cash, outcome in (
        (m.im, None),
        (m.im - 1, ("InsufficientMargin", (ALICE, m.im - 1, m.im))),
    ):
        give(priced, ALICE, cash, linear=[(PERP_0, WAD, -3_000 * WAD)])
        touch(priced)
        assert check(priced, ALICE) == (outcome and ModelRevert(*outcome))


def test_first_account_is_named_first(priced: Twin) -> None:
    give(priced, ALICE, -1)
    give(priced, BOB, -2)
    priced.refuse("InsufficientMargin", (ALICE, -1, 0), check(priced, ALICE, BOB))
    priced.refuse("InsufficientMargin", (BOB, -2, 0), check(priced, BOB, ALICE))


# ------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize("mode", (0, *BROKEN))
def test_C24_broken_rate_stops_its_holders_only(priced: Twin, mode: int) -> None:
    give(priced, ALICE, 10**6 * WAD, collateral={1: 1}, linear=[(PERP_0, 1, 0)])
    give(priced, BOB, 10**6 * WAD, collateral={0: 1}, linear=[(PERP_0, 1, 0)])
    touch(priced)
    priced.set_feed(priced.state.collaterals[1].rate_feed, 0 if mode == 0 else WAD, mode=mode)
    priced.refuse("RateInvalid", (1, 0), check(priced, ALICE))
    priced.refuse("RateInvalid", (1, 0), check(priced, BOB, ALICE))
    assert check(priced, BOB) is None
    # a holder without obligations goes on too
    give(priced, ALICE, 0, collateral={1: 1})
    assert check(priced, ALICE) is None


def test_C24_stale_rate_stops_new_risk(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, collateral={1: 1}, linear=[(PERP_0, 1, 0)])
    feed = priced.state.collaterals[1].rate_feed
    answer, updated = priced.world.feeds[feed].answer, priced.world.feeds[feed].updated_at
    priced.world.timestamp = updated + 3 * DAY
    touch(priced)
    assert check(priced, ALICE) is None
    touch(priced)
    priced.refuse("RateInvalid", (1, answer), check(priced, ALICE))


def test_rate_that_left_the_band_is_taken(priced: Twin) -> None:
    give(priced, ALICE, 10**6 * WAD, collateral={1: WAD}, linear=[(PERP_0, 1, 0)])
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_0, 1, 0)])
    touch(priced)
    before = epochs(priced)
    priced.set_feed(priced.state.collaterals[1].rate_feed, WAD)
    assert check(priced, BOB) is None  # no business of those who do not hold it
    assert epochs(priced) == before
    assert check(priced, ALICE) is None
    assert epochs(priced) == (before[0] + 1, before[1])
    assert priced.state.collaterals[1].rate_wad == WAD


# ------------------------------------------------------------------------------------ random


def draw_account(t: Twin, rng: Random) -> Account:
    """Random collateral and positions, no cash."""
    linear = [
        Linear(i, rng.randint(-50, 50) * WAD, rng.randint(-(10**5), 10**5) * WAD)
        for i in rng.sample((PERP_0, PERP_1, FUTURE_0), rng.randint(0, 3))
    ]
    options = [
        Option(i, rng.randint(-40, 40) * WAD or WAD) for i in rng.sample(OPTIONS, rng.randint(0, 6))
    ]
    amounts = [0] * 16
    for j, decimals in enumerate((18, 18, 6)):
        if rng.random() < 0.4:
            amounts[j] = rng.randint(1, 20) * 10**decimals
    return Account(0, amounts, linear, options)


def test_C22_accepted_at_the_snapshot_is_not_liquidatable_at_the_live_price(priced: Twin) -> None:
    """Borrow to the limit at the snapshot, push the live price, liquidate yourself in one
    transaction.

    The check lets a snapshot stand only while half of IM − MM covers the drift.  Model only: the
    check itself is compared with the chain above.
    """
    rng = Random(22)
    accepted = stood = 0
    for _ in range(300):
        state, world = priced.state.clone(), copy.deepcopy(priced.world)
        account = draw_account(priced, rng)
        state.accounts[ALICE] = account
        for data in state.underlyings:
            data.open_interest_wad = 400 * WAD
        m = margin_engine.compute(state, ALICE, account)
        account.cash_wad = m.im - m.equity + rng.choice((0, 1, 10 * WAD))
        for u, price in ((0, PRICE), (1, PRICE_1)):
            feed = world.feeds[state.underlyings[u].feed]
            feed.answer = price * (100_000 + rng.randint(-990, 990)) // 100_000
            feed.updated_at = world.timestamp
        epochs_before = [x.epoch for x in state.underlyings]
        try:
            initial_margin.require_initial(state, world, [(ALICE, account)])
        except ModelRevert as error:
            assert error.name == "InsufficientMargin"
            continue
        accepted += 1
        stood += epochs_before == [x.epoch for x in state.underlyings]
        for u in (0, 1):
            feed = world.feeds[state.underlyings[u].feed]
            scale = 10 ** (18 - feed.decimals)
            state.underlyings[u].price_wad = feed.answer * scale
        m = margin_engine.compute(state, ALICE, account)
        assert m.equity >= m.mm
    assert accepted >= 100 and stood >= 50, (accepted, stood)


def test_random_accounts_and_prices(priced: Twin) -> None:
    """Outcome, snapshots taken and arguments agree over random accounts near their limits."""
    rng = Random(20)
    outcomes: dict[str, int] = {}
    bumped = 0
    for _ in range(90):
        for account_id in (ALICE, BOB):
            linear = [
                (i, rng.randint(-50, 50) * WAD, rng.randint(-(10**5), 10**5) * WAD)
                for i in rng.sample((PERP_0, PERP_1, FUTURE_0), rng.randint(0, 3))
            ]
            held = [
                (i, rng.randint(-40, 40) * WAD or WAD)
                for i in rng.sample(OPTIONS, rng.randint(0, 6))
            ]
            collateral = {
                j: rng.randint(1, 20) * 10 ** (6 if j == 2 else 18)
                for j in range(3)
                if rng.random() < 0.4
            }
            give(priced, account_id, 0, collateral=collateral, linear=linear, options=held)
            m = margin_engine.compute(priced.state, account_id, priced.state.accounts[account_id])
            cash = (
                m.im
                - m.equity
                + rng.choice((-(10**9), 0, 1, 10**3, 10**3 * WAD, -(10**3) * WAD, 10**6 * WAD))
            )
            give(priced, account_id, cash, collateral=collateral, linear=linear, options=held)
        priced.warp(rng.choice((0, 10, 1_000, 4_000)))
        if rng.random() < 0.75:  # otherwise the slices grow old
            report(priced)
        price = priced.state.underlyings[0].price_wad // 10**10
        price_1 = priced.state.underlyings[1].price_wad
        move = rng.choice((0, 0, 1, -1, 50, -90, 101))
        touch(
            priced,
            price * (10_000 + move) // 10_000,
            price_1 * (10_000 + rng.choice((0, 0, 3, -199, 210))) // 10_000,
        )
        if abs(price - PRICE) > PRICE // 2:
            touch(priced)
        rate_feed = priced.state.collaterals[1].rate_feed
        priced.set_feed(rate_feed, rng.choice((12, 12, 12, 12, 13, 0)) * WAD // 10)
        before = epochs(priced)
        outcome = check(priced, *rng.choice(((ALICE,), (ALICE, BOB), (BOB, ALICE))))
        bumped += epochs(priced) != before
        name = outcome.name if outcome else "accepted"
        outcomes[name] = outcomes.get(name, 0) + 1
    names = ("accepted", "InsufficientMargin", "SliceStale")
    assert min(outcomes.get(name, 0) for name in names) >= 10 and bumped >= 5, (outcomes, bumped)


# ------------------------------------------------------------- floor, unrealised profit, settlement


def tail(t: Twin, **changes: int) -> None:
    """Global parameters of the tail."""
    assert t.state.params is not None
    t.set_params(replace(t.state.params, **changes))  # type: ignore[arg-type]


def withdraw_check(t: Twin, *ids: int) -> ModelRevert | None:
    """As ``check``, of a withdrawal."""
    entries = [i | margin_logic.WITHDRAWAL for i in ids]
    return t.act(
        lambda s, w: margin_logic.require_initial(s, w, entries), "requireInitial", entries
    )


@pytest.mark.parametrize("short", [0, 1])
def test_least_margin_of_an_account_with_obligations(priced: Twin, short: int) -> None:
    """max(IM, floor): a wei of a perp needs the floor; without obligations nothing."""
    floor = 100 * WAD
    tail(priced, min_margin_wad=floor)
    give(priced, ALICE, floor - short, linear=[(PERP_1, 1, -60_000)])
    touch(priced)
    outcome = check(priced, ALICE)
    if short:
        priced.refuse("InsufficientMargin", (ALICE, floor - 1, floor), outcome)
    else:
        assert outcome is None
    give(priced, ALICE, 1)
    assert check(priced, ALICE) is None


def test_the_larger_of_floor_and_margin_counts(priced: Twin) -> None:
    tail(priced, min_margin_wad=100 * WAD)
    give(priced, ALICE, 101 * WAD, linear=[(PERP_1, WAD, -60_000 * WAD)])
    im = margin_engine.compute(priced.state, ALICE, priced.state.accounts[ALICE]).im
    assert im > 101 * WAD
    touch(priced)
    priced.refuse("InsufficientMargin", (ALICE, 101 * WAD, im), check(priced, ALICE))


def test_A19_unrealised_profit_counts_up_to_the_cap_while_withdrawing(priced: Twin) -> None:
    """Profit of 3 000 on underlying 0 (with funding), loss of 1 000 on 1: the loss is no part of
    what is capped.  To the wei: one more in cash and the withdrawal passes.
    """
    cap = 500
    tail(priced, unrealised_cap_usd=cap)
    priced.state.underlyings[0].funding_e12 = 10 * 10**12  # longs paid 10 a unit
    priced.write_state()
    linear = [
        (PERP_0, WAD, 10 * WAD),  # 3 000 − 10 + 10
        (PERP_1, WAD // 100, -1_600 * WAD),  # 600 − 1 600
    ]
    give(priced, ALICE, 0, linear=linear)
    account = priced.state.accounts[ALICE]
    assert initial_margin.unrealised_profit(priced.state, account) == 3_000 * WAD
    m = margin_engine.compute(priced.state, ALICE, account)
    assert m.equity == 2_000 * WAD > m.im  # healthy, and may trade
    touch(priced)
    assert check(priced, ALICE) is None
    counted = m.equity - (3_000 - cap) * WAD
    touch(priced)
    priced.refuse("InsufficientMargin", (ALICE, counted, m.im), withdraw_check(priced, ALICE))
    for missing in (1, 0):
        give(priced, ALICE, m.im - counted - missing, linear=linear)
        touch(priced)
        outcome = withdraw_check(priced, ALICE)
        if missing:
            priced.refuse("InsufficientMargin", (ALICE, m.im - 1, m.im), outcome)
        else:
            assert outcome is None


def test_undrawn_claims_are_unrealised(priced: Twin) -> None:
    """A claim without a position counts in E, and above the cap not towards a withdrawal."""
    tail(priced, unrealised_cap_usd=1)
    give(priced, ALICE, -10 * WAD, linear=[(PERP_1, 0, 50 * WAD)])
    touch(priced)
    assert check(priced, ALICE) is None
    touch(priced)
    outcome = withdraw_check(priced, ALICE)
    priced.refuse("InsufficientMargin", (ALICE, -9 * WAD, 0), outcome)


def test_each_account_is_asked_for_its_own_action(priced: Twin) -> None:
    """The bit of a withdrawal stays with its account where others are dropped before it."""
    tail(priced, unrealised_cap_usd=1)
    give(priced, ALICE, 10**6 * WAD)  # no obligations
    give(priced, BOB, -10 * WAD, linear=[(PERP_1, 0, 50 * WAD)])
    touch(priced)
    assert withdraw_check(priced, ALICE) is None
    mixed = [ALICE | margin_logic.WITHDRAWAL, BOB]
    touch(priced)
    outcome = priced.act(
        lambda s, w: margin_logic.require_initial(s, w, mixed), "requireInitial", mixed
    )
    assert outcome is None
    mixed = [ALICE, BOB | margin_logic.WITHDRAWAL]
    touch(priced)
    outcome = priced.act(
        lambda s, w: margin_logic.require_initial(s, w, mixed), "requireInitial", mixed
    )
    priced.refuse("InsufficientMargin", (BOB, -9 * WAD, 0), outcome)


def test_two_withdrawals_of_one_batch_are_both_withdrawals(priced: Twin) -> None:
    tail(priced, unrealised_cap_usd=1)
    give(priced, ALICE, -10 * WAD, linear=[(PERP_1, 0, 50 * WAD)])
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_1, WAD // 100, 0)])
    touch(priced)
    for ids in ((ALICE, BOB), (BOB, ALICE)):
        outcome = withdraw_check(priced, *ids)
        priced.refuse("InsufficientMargin", (ALICE, -9 * WAD, 0), outcome)


@pytest.mark.parametrize("held", [FUTURE_0, PERP_1])
def test_G56_a_settled_position_comes_first(priced: Twin, held: int) -> None:
    """SettleFirst once the price of the expiry is recorded; other positions go on."""
    give(priced, ALICE, 10**6 * WAD, linear=[(held, WAD, 0)])
    key = instrument_id.bucket_key(FUTURE_0)
    priced.state.settlements[key] = Settlement(3_000 * WAD, 1, 1, 1, 3_000 * WAD, True)
    priced.world.timestamp = instrument_id.expiry(FUTURE_0)
    priced.write_state()
    touch(priced)
    assert priced.refresh(0, 1) is None
    touch(priced)
    outcome = check(priced, ALICE)
    if held == FUTURE_0:
        priced.refuse("SettleFirst", (ALICE, FUTURE_0), outcome)
    else:
        assert outcome is None


@pytest.mark.parametrize("order", [(ALICE, BOB), (BOB, ALICE)])
def test_G56_the_account_that_holds_it_is_named(priced: Twin, order: tuple[int, int]) -> None:
    give(priced, ALICE, 10**6 * WAD, linear=[(FUTURE_0, WAD, 0)])
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_1, WAD, 0)])
    key = instrument_id.bucket_key(FUTURE_0)
    priced.state.settlements[key] = Settlement(3_000 * WAD, 1, 1, 1, 3_000 * WAD, True)
    priced.world.timestamp = instrument_id.expiry(FUTURE_0)
    priced.write_state()
    touch(priced)
    assert priced.refresh(0, 1) is None
    touch(priced)
    priced.refuse("SettleFirst", (ALICE, FUTURE_0), check(priced, *order))


def test_a_check_of_two_accounts_is_cheap(priced: Twin) -> None:
    """No memory is laid out far away: a check costs tens of thousands of gas, also unoptimised."""
    for k in (ALICE, BOB):
        give(priced, k, 10**6 * WAD, linear=[(PERP_1, WAD, 0)])
    touch(priced)
    assert check(priced, ALICE, BOB) is None
    assert priced.gas_used < 400_000


# ------------------------------------------------------------------------------------- groups


def grouped(t: Twin) -> None:
    """The two underlyings are of two groups."""
    assert t.state.params is not None
    first, second = t.state.params.underlyings
    t.set_params(replace(t.state.params, underlyings=(first, replace(second, group=1))))
    touch(t)


def test_groups_are_asked_for_before_any_market(priced: Twin) -> None:
    grouped(priced)
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, 1, 0), (PERP_1, 1, 0)])
    give(priced, BOB, 10**6 * WAD, linear=[(PERP_0, 1, 0)])
    touch(priced)
    for order in ((ALICE, BOB), (BOB, ALICE)):
        priced.refuse("MixedGroups", (ALICE, 0, 1), check(priced, *order))
    for u in (0, 1):
        priced.set_feed(priced.state.underlyings[u].feed, 1, mode=REVERTS)
    before = epochs(priced)
    priced.refuse("MixedGroups", (ALICE, 0, 1), check(priced, BOB, ALICE))
    priced.refuse("OracleNotUsable", (0, HALTED), check(priced, BOB))
    assert epochs(priced) == before


def test_a_settled_position_comes_before_the_groups(priced: Twin) -> None:
    """Of any account: what is left after settling may be of one group."""
    grouped(priced)
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, WAD, 0), (PERP_1, WAD, 0)])
    give(priced, BOB, 10**6 * WAD, linear=[(FUTURE_0, WAD, 0)])
    key = instrument_id.bucket_key(FUTURE_0)
    priced.state.settlements[key] = Settlement(3_000 * WAD, 1, 1, 1, 3_000 * WAD, True)
    priced.world.timestamp = instrument_id.expiry(FUTURE_0)
    priced.write_state()
    touch(priced)
    priced.refuse("SettleFirst", (BOB, FUTURE_0), check(priced, ALICE, BOB))
    priced.refuse("MixedGroups", (ALICE, 0, 1), check(priced, ALICE))


def test_collateral_and_options_are_of_a_group(priced: Twin) -> None:
    grouped(priced)
    for holding in (
        {"cash": -1, "collateral": {0: WAD}, "linear": [(PERP_1, 1, 0)]},
        {"cash": 10**6 * WAD, "collateral": {1: WAD}, "linear": [(PERP_1, 1, 0)]},
        {"cash": 10**6 * WAD, "options": [(CALL_0, WAD)], "linear": [(PERP_1, 1, 0)]},
        {"cash": 10**6 * WAD, "options": [(CALL_0, -WAD)], "linear": [(PERP_1, -1, 0)]},
    ):
        give(priced, ALICE, **holding)  # type: ignore[arg-type]
        touch(priced)
        priced.refuse("MixedGroups", (ALICE, 0, 1), check(priced, ALICE))
    give(priced, ALICE, 10**6 * WAD, linear=[(PERP_0, 0, 5), (PERP_1, 1, 0)])
    touch(priced)
    assert check(priced, ALICE) is None
