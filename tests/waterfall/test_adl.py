"""Auto-deleveraging: model and vault side by side (ATTACKS E44–E47)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.market import funding
from risk.exact.state import Linear, Settlement
from tests.support.vault_fixtures import Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, OWNER, USD, WAD, account, iid
from tests.waterfall.support import (
    BTC_PERP,
    CALL,
    KINDS,
    LENDER,
    PERP,
    PRICE,
    A,
    Holding,
    adl,
    flag_long_ago,
    others,
    plan,
    position,
    set_equity,
    value,
    with_params,
    write,
)

NO_CAP = 2**256 - 1


def simple(market: Market, *, deficit: int = 1_000 * WAD, instrument: int = PERP) -> list[int]:
    """Alice is long 10 and bankrupt; three accounts are short 3, 3 and 4 and rich."""
    ids = others(3)
    book = {A: Holding(**position(instrument, 10 * WAD)), LENDER: Holding(cash=10**6 * WAD)}
    for i, size in zip(ids, (3, 3, 4), strict=True):
        book[i] = Holding(cash=50_000 * WAD, **position(instrument, -size * WAD))
    write(market, book)
    set_equity(market, A, -deficit)
    return ids


def size(market: Market, account_id: int, instrument: int) -> int:
    a = market.state.accounts[account_id]
    held = [*a.linear, *a.options]
    return next((x.size_wad for x in held if x.instrument == instrument), 0)


# ----------------------------------------------------------------------------------- one by one


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1, -1])
def test_E47_the_deficit_is_paid_to_the_wei_and_shared_by_size(
    market: Market, kind: str, sign: int
) -> None:
    instrument, ids = KINDS[kind], others(3)
    x = sign * (10 * WAD + 7)
    book = {A: Holding(**position(instrument, x)), LENDER: Holding(cash=10**6 * WAD)}
    for i, part in zip(ids, (3 * WAD, 3 * WAD + 1, 4 * WAD + 6), strict=True):
        book[i] = Holding(cash=50_000 * WAD, **position(instrument, -sign * part))
    write(market, book)
    set_equity(market, A, -1_000 * WAD - 3)
    before = {i: market.model.margin(i).equity for i in ids}
    total, p = value(market), plan(market, instrument, ids)
    paid = adl(market, instrument, ids, p.theta)
    assert paid == sum(p.haircuts) == 1_000 * WAD + 3
    assert size(market, A, instrument) == 0
    assert market.state.open_interest[instrument] == 0
    assert 0 <= market.compare_margin(A).mark_equity <= len(ids) + 1
    for i, haircut in zip(ids, p.haircuts, strict=True):
        grain = 10 ** (kind in ("call", "put")) * 10**9  # of an option's mark: 2^-40 of it
        assert abs(market.compare_margin(i).equity - (before[i] - haircut)) <= grain
        assert abs(haircut - 1_000 * WAD * 3 // 10) < 110 * WAD
    assert value(market) == total


def test_two_thirds_of_the_counterparties_close_pro_rata(market: Market) -> None:
    ids = others(3)
    book = {A: Holding(**position(PERP, 5 * WAD + 1)), LENDER: Holding(cash=10**6 * WAD)}
    book[account(CAROL, 9)] = Holding(cash=10**5 * WAD, **position(PERP, 5 * WAD - 1))
    for i, part in zip(ids, (3, 3, 4), strict=True):
        book[i] = Holding(cash=50_000 * WAD, **position(PERP, -part * WAD))
    write(market, book)
    set_equity(market, A, -WAD)
    p = plan(market, PERP, ids)
    assert p.closed == [15 * 10**17 + 1, 15 * 10**17, 2 * WAD]
    assert adl(market, PERP, ids, p.theta) == WAD
    assert [size(market, i, PERP) for i in ids] == [
        -3 * WAD + p.closed[0],
        -3 * WAD + p.closed[1],
        -4 * WAD + p.closed[2],
    ]
    assert market.state.open_interest[PERP] == 5 * WAD - 1


def test_E47_a_winner_never_goes_below_zero_and_the_rest_pays(market: Market) -> None:
    ids = simple(market)
    set_equity(market, ids[0], 100 * WAD)
    set_equity(market, ids[1], -5)
    p = plan(market, PERP, ids)
    assert p.caps[:2] == [100 * WAD - 1, 0]
    assert adl(market, PERP, ids, p.theta) == 1_000 * WAD
    after = [market.compare_margin(i).equity for i in ids]
    assert 0 <= after[0] <= 14 and after[1] in (-6, -5)  # the first gets back what θ overshot
    assert sum(p.haircuts) == 1_000 * WAD and p.haircuts[1] == 0
    assert 100 * WAD - 14 <= p.haircuts[0] < 100 * WAD


def test_E45_where_every_cap_binds_the_rest_goes_to_the_next_step(market: Market) -> None:
    ids = simple(market)
    for i in ids:
        set_equity(market, i, 10 * WAD)
    refused = adl(market, PERP, ids, WAD)  # θ of one does not even take what there is
    assert refused == Revert("AdlHaircutMismatch", (10 * WAD, 1_000 * WAD))
    assert adl(market, PERP, ids, NO_CAP) == 30 * WAD - 3
    assert size(market, A, PERP) == 0
    left = -market.compare_margin(A).mark_equity
    assert 970 * WAD <= left <= 970 * WAD + 3
    assert min(market.compare_margin(i).equity for i in ids) >= 0
    # and the lenders bear it, once
    assert market.do(CAROL, "socialise", A) == left
    assert market.do(CAROL, "socialise", A) == Revert("NotBankrupt", (A, 0))


def test_theta_must_be_the_level_that_pays_the_deficit(market: Market) -> None:
    ids = simple(market)
    p = plan(market, PERP, ids)
    for level in (0, p.theta - 1, p.theta * 1011 // 1000, 2 * p.theta, NO_CAP):
        refused = adl(market, PERP, ids, level)
        assert isinstance(refused, Revert) and refused.name == "AdlHaircutMismatch"
        assert refused.args[1] == 1_000 * WAD
    assert adl(market, PERP, ids, p.theta) == 1_000 * WAD


def test_D37_a_deposit_in_front_or_a_minute_of_interest_does_not_stop_it(market: Market) -> None:
    with_params(market, base_rate_bps=2_000, kink_rate_bps=2_000, full_rate_bps=9_000)
    for front in (0, 1, 4 * USD):
        ids = simple(market)
        level = plan(market, PERP, ids).theta * 1005 // 1000  # a keeper leaves half a percent
        market.world.timestamp += 60
        if front:
            assert market.do(ALICE, "deposit", A, market.cash, front) is None
        paid = adl(market, PERP, ids, level)
        assert isinstance(paid, int) and abs(paid - 1_000 * WAD) < 5 * WAD
        assert 0 <= market.compare_margin(A).mark_equity <= 4


# ------------------------------------------------------------------------------------- refusals


def test_refusals_come_in_the_stated_order(market: Market) -> None:
    ids = simple(market)
    many = list(range(1, 66))
    assert adl(market, BTC_PERP, many, 0) == Revert("CounterpartyOnWrongSide", (A, BTC_PERP))
    assert adl(market, CALL, many, 0) == Revert("CounterpartyOnWrongSide", (A, CALL))
    assert adl(market, PERP, many, 0) == Revert("TooManyCounterparties", (64,))
    for pair in ([ids[1], ids[0]], [ids[0], ids[0]]):
        assert adl(market, PERP, pair, 0) == Revert("CounterpartiesNotAscending", tuple(pair))
    for wrong in (A, LENDER, 5):
        assert adl(market, PERP, [wrong], 0) == Revert("CounterpartyOnWrongSide", (wrong, PERP))
    assert adl(market, PERP, [], 0) == Revert("AdlShareTooSmall", (0, 10 * WAD))
    assert adl(market, PERP, ids[1:], 0) == Revert("AdlShareTooSmall", (7 * WAD, 10 * WAD))
    for healthy in (0, 1, 10**6 * WAD):
        set_equity(market, A, healthy)
        assert adl(market, PERP, ids, 0) == Revert("NotBankrupt", (A, healthy))
    set_equity(market, A, -1)
    assert adl(market, PERP, ids, 1) == 1


def test_the_share_of_the_open_interest_must_be_covered(market: Market) -> None:
    with_params(market, adl_share_bps=6_000)
    ids = others(3)
    book = {A: Holding(**position(PERP, 2 * WAD)), LENDER: Holding(cash=10**6 * WAD)}
    book[account(CAROL, 9)] = Holding(cash=10**5 * WAD, **position(PERP, 8 * WAD))
    for i, part in zip(ids, (3, 3, 4), strict=True):
        book[i] = Holding(cash=50_000 * WAD, **position(PERP, -part * WAD))
    write(market, book)
    set_equity(market, A, -WAD)
    assert adl(market, PERP, ids[2:], 0) == Revert("AdlShareTooSmall", (4 * WAD, 6 * WAD))
    p = plan(market, PERP, ids[:2])
    assert adl(market, PERP, ids[:2], p.theta) == WAD


def test_insurance_comes_first_and_a_deficit_that_it_can_pay_is_liquidated(market: Market) -> None:
    ids = simple(market)
    assert market.do(CAROL, "fundInsurance", 1_000 * USD) is None
    assert adl(market, PERP, ids, 0) == Revert("InsuranceNotExhausted", (1_000 * WAD,))
    set_equity(market, A, -1_000 * WAD - 1)
    p = plan(market, PERP, ids)
    assert p.insured == 1_000 * WAD
    assert adl(market, PERP, ids, p.theta) == 1
    assert market.state.insurance_wad == 0


def test_an_account_that_nobody_wants_is_closed_although_the_fund_can_pay(market: Market) -> None:
    ids = simple(market)
    with_params(market, grace_seconds=500, breaker_seconds=100)
    assert market.do(CAROL, "fundInsurance", 2_000 * USD) is None
    flag_long_ago(market, A)
    market.state.accounts[A].flagged_at += 2  # one second too early, the next call is on time
    market.write_state()
    assert adl(market, PERP, ids, 0) == Revert("InsuranceNotExhausted", (2_000 * WAD,))
    market.world.timestamp += 1
    assert adl(market, PERP, ids, 0) == 0
    assert market.state.insurance_wad == 1_000 * WAD and size(market, A, PERP) == 0
    assert 0 <= market.compare_margin(A).mark_equity <= 4
    assert market.state.underlyings[0].reduce_only_until == market.world.timestamp - 1 + 100
    assert market.state.underlyings[1].reduce_only_until == 0


def test_E46_the_caps_hold_and_the_counterparties_pay_the_rest(market: Market) -> None:
    with_params(
        market,
        insurance_event_cap_wad=300 * WAD,
        insurance_period_cap_wad=500 * WAD,
        insurance_period_seconds=86_400,
    )
    assert market.do(CAROL, "fundInsurance", 10_000 * USD) is None
    for want in (300, 200):
        ids = simple(market)
        p = plan(market, PERP, ids)
        assert want * WAD <= p.insured < (want + 1) * WAD
        assert adl(market, PERP, ids, p.theta) == 1_000 * WAD - p.insured
    assert 10_000 * WAD - market.state.insurance_wad < 501 * WAD


def test_B18_not_inside_a_batch(market: Market) -> None:
    """In a batch an account may be bankrupt because its check waits: the others must not pay."""
    ids = simple(market)
    f = market.functions
    for data in (f["autoDeleverage"].encode(A, PERP, ids, 0), f["socialise"].encode(A)):
        assert market.error(market.chain_only(ALICE, "batch", [data])) == "Reentrancy()"
    state = market.state
    state.deferring = True
    for name, args in (("auto_deleverage", (A, PERP, ids, 0)), ("socialise", (A,))):
        with pytest.raises(Revert, match="Reentrancy"):
            getattr(market.model, name)(BOB, *args)
    state.deferring = False


def test_not_while_an_outage_of_the_sequencer_holds_liquidations(market: Market) -> None:
    ids = simple(market)
    with_params(market, sequencer_grace_seconds=600)
    feed = market.new_feed(0, 1)  # down
    assert market.do(OWNER, "setSequencerFeed", feed) is None
    for name, args in (("autoDeleverage", (A, PERP, ids, 0)), ("socialise", (A,))):
        market.set_feed(feed, 1, market.world.timestamp)
        assert market.do(CAROL, name, *args) == Revert("SequencerDown")
        up = market.world.timestamp
        market.set_feed(feed, 0, up)
        assert market.do(CAROL, name, *args) == Revert("SequencerGrace", (up + 600,))
    market.set_feed(feed, 0, market.world.timestamp - 601)
    assert adl(market, PERP, ids, plan(market, PERP, ids).theta) == 1_000 * WAD


def test_what_has_its_final_price_is_settled_first(market: Market) -> None:
    future, ids = KINDS["future"], others(3)
    simple(market)
    held = market.state.accounts
    for identity, size in ((A, WAD), (ids[1], -WAD)):  # beside the perp
        held[identity].linear.append(Linear(future, size, 0))
    market.state.settlements[future >> 28 << 16 | future >> 10 & 0xFFFF] = Settlement(
        price_wad=PRICE * WAD, settled=True
    )
    market.settle_totals()
    market.write_state()
    market.world.timestamp = iid.expiry(future) + 1
    assert adl(market, PERP, ids, 0) == Revert("SettleFirst", (A, future))
    held[A].linear.pop()
    held[ids[0]].linear.append(Linear(future, WAD, 0))
    market.write_state()
    assert adl(market, PERP, ids, 0) == Revert("SettleFirst", (ids[0], future))


# --------------------------------------------------------------------------------------- oracle


def test_D39_no_state_of_a_market_blocks_it_beyond_the_favour(market: Market) -> None:
    ids = simple(market)
    feed = market.state.underlyings[0].feed
    market.set_feed(feed, 0, market.world.timestamp)  # halted
    # within 1 % of 10 units at 3 000, the price could be right where the account is solvent
    set_equity(market, A, -300 * WAD)
    assert adl(market, PERP, ids, 0) == Revert("NotBankrupt", (A, -300 * WAD))
    set_equity(market, A, -300 * WAD - 1)
    p = plan(market, PERP, ids)
    assert adl(market, PERP, ids, p.theta) == 300 * WAD + 1  # the deficit, not less the favour


def test_a_live_price_that_could_decide_is_taken(market: Market) -> None:
    ids = simple(market, deficit=100 * WAD)
    market.set_price(0, PRICE * 1.005)  # inside the band: +150 for the account
    assert adl(market, PERP, ids, 0) == Revert("NotBankrupt", (A, 50 * WAD))
    market.set_price(0, PRICE * 0.995)
    assert market.state.underlyings[0].price_wad == PRICE * WAD
    refused = adl(market, PERP, ids, 0)
    assert refused == Revert("AdlHaircutMismatch", (0, 250 * WAD))


# ----------------------------------------------------------------------------------- properties


def random_book(market: Market, rng: Random) -> tuple[int, list[int]]:
    """A bankrupt Alice with other positions too, counterparties of every wealth."""
    instrument = rng.choice(list(KINDS.values()))
    n = rng.randrange(1, 6)
    ids = others(n)
    sign = rng.choice((1, -1))
    parts = [rng.randrange(1, 10 ** rng.randrange(1, 21)) for _ in ids]
    covered = sum(parts)
    x = covered if rng.random() < 0.3 else rng.randrange(1, covered + 1)
    mate = account(CAROL, 200)
    extra = [(BTC_PERP, rng.randrange(-WAD, WAD), 0)] if rng.random() < 0.5 else []
    extra = [e for e in extra if e[1]]
    price = PRICE + rng.randrange(-500, 500)

    def holding(size: int, more: list[tuple[int, int, int]], **money: int) -> Holding:
        held = position(instrument, size, price)
        linear = [*held.get("linear", ()), *more]
        return Holding(linear=linear, options=held.get("options", ()), **money)

    rest = [(i, -s, -q) for i, s, q in extra]
    book = {
        A: holding(sign * x, extra),
        mate: Holding(cash=10**6 * WAD, linear=rest),
        LENDER: Holding(cash=10**7 * WAD),
    }
    if covered > x:
        book[account(CAROL, 201)] = holding(sign * (covered - x), [], cash=10**7 * WAD)
    for i, part in zip(ids, parts, strict=True):
        book[i] = holding(-sign * part, [])
    write(market, book, insurance_wad=rng.choice((0, rng.randrange(10**21))))
    for i in ids:
        set_equity(market, i, rng.choice((-5, 0, 1, rng.randrange(10**20), rng.randrange(10**23))))
    set_equity(market, A, -rng.randrange(1, 10 ** rng.randrange(1, 23)))
    return instrument, ids


@pytest.mark.parametrize("seed", range(40))
def test_E45_E47_random_books(market: Market, seed: int) -> None:
    rng = Random(seed)
    instrument, ids = random_book(market, rng)
    p = plan(market, instrument, ids)
    total, fund = value(market), market.state.insurance_wad
    before = {i: market.model.margin(i).equity for i in ids}
    equities = sum(market.model.margin(i).mark_equity for i in market.state.accounts)
    result = adl(market, instrument, ids, p.theta)
    if p.insured == p.deficit:
        assert result == Revert("InsuranceNotExhausted", (fund,))
        flag_long_ago(market, A)
        result = adl(market, instrument, ids, 0)
    assert result == sum(p.haircuts) == min(p.deficit - p.insured, sum(p.caps))
    assert fund - market.state.insurance_wad == p.insured
    assert value(market) == total
    m = market.compare_margin(A).mark_equity
    slack = len(ids) + 2
    assert abs(m - (p.insured + result - p.deficit)) <= slack
    assert m < 0 or m <= slack
    for i in ids:
        after = market.compare_margin(i).equity
        assert after >= 0 or after >= before[i] - 1
    # value at mark is conserved too, up to the wei of rounding and the grain of option marks
    now = sum(market.model.margin(i).mark_equity for i in market.state.accounts)
    grain = 0 if instrument in (PERP, KINDS["future"]) else 10**13
    assert abs(now - equities - p.insured) <= 4 * slack + grain


@pytest.mark.parametrize("seed", range(6))
def test_G55_interest_and_funding_are_brought_to_now_first(market: Market, seed: int) -> None:
    rng = Random(seed)
    p = params(
        base_rate_bps=2_000,
        kink_rate_bps=2_000,
        full_rate_bps=9_000,
        reserve_share_bps=1_000,
        funding_period_seconds=28_800,
    )
    funded = tuple(replace(u, max_funding_bps=100) for u in p.underlyings)
    market.set_params(replace(p, underlyings=funded))
    _, ids = random_book(market, rng)
    instrument = next(x for x in KINDS.values() if size(market, A, x))
    market.state.underlyings[0].premium_e9 = rng.randrange(-(10**7), 10**7)
    set_equity(market, A, -(10**21))
    market.state.insurance_wad = 0
    market.settle_totals()
    market.write_state()
    market.world.timestamp += 1_000
    market.set_price(0, PRICE)
    market.set_price(1, 60_000)
    total = value(market)
    result = adl(market, instrument, ids, NO_CAP)
    if isinstance(result, Revert):  # they have enough: the level for what the deficit is now
        assert result.name == "AdlHaircutMismatch"
        saved = market.clone()
        market.model.accrue(1)
        for u in range(2):
            funding.accrue(market.state, market.world, market.state.params, u)  # type: ignore[arg-type]
        level = plan(market, instrument, ids).theta
        market.restore(saved)
        result = adl(market, instrument, ids, level)
    assert isinstance(result, int)
    assert market.state.interest_time == market.world.timestamp - 1
    assert size(market, A, instrument) == 0
    # what borrowers pay is what lenders and fund get, to the grain of the indices
    assert abs(value(market) - total) <= 2 * market.state.supply_wad // 10**15 + 10
