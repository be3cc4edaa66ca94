"""Reduce and increase in every oracle state, and what a reduction may leave behind."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import astuple, replace
from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Option, Settlement
from risk.exact.trading import reduce_lib
from risk.exact.vault import Vault
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, NO_LIMIT, USD, WAD, account, iid
from tests.trading.ids import (
    CALL,
    FRESH,
    FUTURE,
    HALTED,
    KEYS,
    PERP,
    STALE,
    UNCERTAIN,
    A,
    B,
    C,
    D,
)

PRICE = 3_000 * WAD
A1 = account(ALICE, 1)


def set_oracle(market: Market, state: int) -> None:
    """Bring ETH into the oracle state, its snapshot as it is."""
    market.set_price(0, 3_000)
    if state == UNCERTAIN:
        market.state.underlyings[0].confidence_bps = 51
        market.write_state()
    elif state == STALE:
        market.warp(3_601)
    elif state == HALTED:
        market.set_feed(market.state.underlyings[0].feed, -5)
    assert market.read("oracleState", 0)[0] == state


def hold(market: Market, instrument: int, size: int) -> None:
    """Alice is long, Bob short; Carol and Dave hold cash."""
    if instrument < CALL:
        entries: dict[str, Any] = {"linear": [(instrument, size, -size * 3_000)]}
    else:
        entries = {"options": [(instrument, size)]}
    market.put(A, cash=10**5 * WAD, **entries, mirror=B)
    for account_id in (B, C, D):
        market.state.accounts.setdefault(account_id, Account()).cash_wad = 10**5 * WAD
    if instrument >= CALL:  # so that whoever buys has obligations too
        put = iid.encode(0, iid.PUT, EXPIRIES[1], 20)
        for account_id, size in ((A, -WAD), (C, -WAD), (D, 2 * WAD)):
            market.state.accounts[account_id].options.append(Option(put, size))
    market.settle_totals()
    market.write_state()


# name: (buyer, seller, size, needs initial margin); Alice is long 2, Bob short 2
CELLS = {
    "both reduce": (1, 0, 1, False),
    "both close": (1, 0, 2, False),
    "buyer increases, seller reduces": (2, 0, 1, True),
    "buyer reduces, seller increases": (1, 3, 1, True),
    "both increase": (2, 3, 1, True),
    "both enlarge": (0, 1, 1, True),
    "both flip": (1, 0, 3, True),
}


@pytest.mark.parametrize("instrument", [PERP, FUTURE, CALL])
@pytest.mark.parametrize("state", [FRESH, UNCERTAIN, STALE, HALTED])
@pytest.mark.parametrize("cell", CELLS)
def test_C24_reduce_and_increase_in_every_oracle_state(
    market: Market, cell: str, state: int, instrument: int
) -> None:
    buyer, seller, size, needs = CELLS[cell]
    hold(market, instrument, 2 * WAD)
    mark = market.model.explain(A).rows
    price = 3_000 * WAD
    if instrument >= CALL:
        price = next(abs(r.value) for r in mark if r.id == instrument) // 2
    set_oracle(market, state)
    # towards the mark of a future both sides lose or win a little; at the mark nobody does
    if instrument == FUTURE:
        price = 3_000 * market.state.buckets[FUTURE >> 28 << 16 | EXPIRIES[1]].forward_ratio_wad
    outcome = market.trade(KEYS[buyer], KEYS[seller], instrument, size * WAD, price)
    if needs and state != FRESH:
        assert outcome == Revert("OracleNotUsable", (0, state))
    else:
        assert outcome is None


def unhealthy(market: Market, cash: int) -> None:
    """Alice is long 4 perps at the mark with ``cash``; Bob and her sub-account are short 2 each."""
    rich = 10**5 * WAD
    market.put(A, cash=cash, linear=[(PERP, 4 * WAD, -4 * PRICE)])
    market.put(B, cash=rich, linear=[(PERP, -2 * WAD, 2 * PRICE)])
    market.put(A1, cash=rich, linear=[(PERP, -2 * WAD, 2 * PRICE)])
    market.put(C, cash=rich)


def sell(market: Market, size: int, price: int, *, to: int = 0) -> Any:
    """Alice sells perps, to Bob or to her own sub-account."""
    buyer = (BOB, 0) if to == 0 else (ALICE, 1)
    buy = market.order(buyer[0], PERP, size, price, sub=buyer[1])
    return market.fill(buy, market.order(ALICE, PERP, -size, price), size, price)


@pytest.mark.parametrize("state", [FRESH, STALE, HALTED])
def test_an_account_below_initial_or_maintenance_margin_may_reduce(
    market: Market, state: int
) -> None:
    unhealthy(market, 0)
    mm = market.model.margin(A).mm
    for cash in (mm * 11 // 10, mm, mm * 9 // 10, mm // 10, 0):
        unhealthy(market, cash)
        margin = market.compare_margin(A)
        assert margin.equity == cash < margin.im
        set_oracle(market, state)
        assert sell(market, WAD // 2, PRICE) is None
        after = market.compare_margin(A)
        assert after.mm < margin.mm and after.equity - after.mm >= margin.equity - margin.mm
        # and nothing else
        outcome = market.trade(ALICE, BOB, PERP, 1, PRICE)
        assert outcome.name == ("InsufficientMargin" if state == FRESH else "OracleNotUsable")
        market.world.timestamp += 1


def test_a_reduction_that_costs_more_than_it_frees_needs_initial_margin(market: Market) -> None:
    unhealthy(market, 0)
    mm = market.model.margin(A).mm
    unhealthy(market, mm * 11 // 10)
    freed = mm // 4  # by one of four
    outcome = sell(market, WAD, PRICE - freed - 10**6)
    assert outcome.name == "InsufficientMargin" and outcome.args[0] == A
    assert sell(market, WAD, PRICE - freed + 10**6) is None
    margin = market.compare_margin(A)
    assert margin.equity >= margin.mm


def test_a_reduction_never_leaves_initial_margin(market: Market) -> None:
    """E ≥ IM before, E ≥ IM after: of two prices that both keep E − MM, one breaks IM."""
    unhealthy(market, 0)
    margin = market.model.margin(A)
    unhealthy(market, margin.im)
    freed_mm, freed_im = margin.mm // 4, margin.im // 4
    assert freed_im > freed_mm
    set_oracle(market, STALE)
    assert sell(market, WAD, PRICE - freed_mm + 10**6) is None
    unhealthy(market, margin.im)
    outcome = sell(market, WAD, PRICE - freed_mm - 10**6)
    assert outcome == Revert("OracleNotUsable", (0, STALE))


def test_a_reduction_never_leaves_initial_margin_by_the_size_charge(market: Market) -> None:
    """Cutting one leg of a spread lowers MM by its size charge, and raises IM, where open interest
    stays, because the other leg is bare.
    """
    p = params()
    eth = replace(p.underlyings[0], depth_wad=10 * WAD, basis_base_bps=0, basis_slope_bps=0)
    market.set_params(replace(p, underlyings=(eth, p.underlyings[1])))
    ratio = market.state.buckets[FUTURE >> 28 << 16 | EXPIRIES[1]].forward_ratio_wad
    legs = [(PERP, 10 * WAD, -10 * PRICE), (FUTURE, -10 * WAD, 30_000 * ratio)]

    def spread(cash: int) -> Margin:
        market.put(A, cash=cash, linear=legs, mirror=B)
        for account_id in (B, C):
            market.state.accounts.setdefault(account_id, Account()).cash_wad = 10**6 * WAD
        market.settle_totals()
        market.write_state()
        return market.compare_margin(A)

    margin = spread(0)
    for cash, state, outcome in (
        (margin.im, FRESH, "InsufficientMargin"),
        (margin.im, STALE, "OracleNotUsable"),
        (margin.im - 1, STALE, "OracleNotUsable"),  # Carol's side
        (margin.im - 1, FRESH, None),
    ):
        before = spread(cash)
        set_oracle(market, state)
        result = market.trade(CAROL, ALICE, PERP, WAD, PRICE)
        assert (result and result.name) == outcome
        if outcome == "InsufficientMargin":
            assert result.args[0] == A
        elif outcome is None:
            after = market.compare_margin(A)
            assert after.mm < before.mm and after.equity == before.equity
            assert after.im > before.im


@pytest.mark.parametrize("state", [FRESH, HALTED])
def test_B14_no_debt_is_left_behind_by_selling_cheap_to_oneself(market: Market, state: int) -> None:
    """The attack: below MM, sell everything to the own sub-account for less than the mark.

    MM falls to 0 and E − MM stays, so the two conditions of DESIGN §3 alone would let Alice take
    out what she owes as margin and leave the vault a debt.
    """
    unhealthy(market, 0)
    mm = market.model.margin(A).mm
    unhealthy(market, mm // 2)
    before = market.compare_margin(A)
    assert 0 < before.equity < before.mm
    set_oracle(market, state)
    cheap = PRICE - mm // 4 + 10**6  # all that one perp frees
    refused = sell(market, WAD, cheap, to=1)
    assert refused.name == ("InsufficientMargin" if state == FRESH else "OracleNotUsable")
    # what the two conditions of DESIGN §3 would have said: twice, and the equity is gone
    twin = Vault(market.state.clone(), market.world)
    a = twin.state.accounts[A]
    a.linear[0].size_wad -= 2 * WAD
    a.linear[0].quote_wad += 2 * cheap
    after = twin.margin(A)
    assert after.mm <= before.mm and after.equity - after.mm >= before.equity - before.mm
    assert after.equity <= 10**7
    assert not reduce_lib.is_accepted(before, after)
    # at the mark she may
    assert sell(market, WAD, PRICE, to=1) is None
    assert sell(market, WAD, PRICE) is None


@pytest.mark.parametrize("state", [FRESH, HALTED])
def test_a_bankrupt_account_does_not_reduce(market: Market, state: int) -> None:
    """M < 0: closing against the winner of its own owner would leave nobody to deleverage."""
    unhealthy(market, -1)
    set_oracle(market, state)
    assert market.compare_margin(A).mark_equity == -1
    refused = "InsufficientMargin" if state == FRESH else "OracleNotUsable"
    for price in (PRICE - 1, PRICE, PRICE + 1):
        assert sell(market, WAD, price, to=1).name == refused
    unhealthy(market, 0)
    set_oracle(market, state)
    assert sell(market, WAD, PRICE, to=1) is None


def test_cutting_the_hedge_needs_initial_margin(market: Market) -> None:
    """|size| falls and MM rises: no reduction in the sense of the rule."""
    call = iid.encode(0, iid.CALL, EXPIRIES[1], 20)
    market.put(
        A, cash=3_000 * WAD, linear=[(PERP, 4 * WAD, -4 * PRICE)], options=[(call, -4 * WAD)]
    )
    market.put(B, cash=10**5 * WAD, linear=[(PERP, -4 * WAD, 4 * PRICE)], options=[(call, 4 * WAD)])
    before = market.compare_margin(A)
    outcome = sell(market, 4 * WAD, PRICE)
    assert outcome.name == "InsufficientMargin" and outcome.args[0] == A
    assert market.compare_margin(A) == before
    set_oracle(market, UNCERTAIN)
    assert sell(market, 4 * WAD, PRICE) == Revert("OracleNotUsable", (0, UNCERTAIN))


def test_cutting_the_hedge_needs_initial_margin_at_any_price(market: Market) -> None:
    """A price so good that E − MM rises does not make up for a requirement that rises."""
    call = iid.encode(0, iid.CALL, EXPIRIES[1], 20)
    perps, short = [(PERP, 4 * WAD, -4 * PRICE)], [(call, -4 * WAD)]
    rich = 10**6 * WAD

    def hedged(cash: int, *, with_perps: bool = True) -> Margin:
        market.put(A, cash=cash, linear=perps if with_perps else (), options=short)
        market.put(B, cash=rich, options=[(call, 4 * WAD)])
        market.put(C, cash=rich, linear=[(PERP, -4 * WAD, 4 * PRICE)] if with_perps else ())
        return market.compare_margin(A)

    bare = hedged(0, with_perps=False)
    before = hedged(-bare.equity)
    assert before.equity == 0 and bare.mm > before.mm
    gain = bare.mm + WAD
    outcome = market.trade(CAROL, ALICE, PERP, 4 * WAD, PRICE + gain // 4)
    assert outcome == Revert("InsufficientMargin", (A, gain // 4 * 4, bare.im))
    assert gain - bare.mm > before.equity - before.mm


def test_a_holder_without_obligations_sells_in_every_state(market: Market) -> None:
    """Long options only: no scan, no oracle, no margin."""
    market.put(A, cash=0, options=[(CALL, 2 * WAD)], mirror=B)
    market.state.accounts[B].cash_wad = 10**5 * WAD
    market.settle_totals()
    market.write_state()
    set_oracle(market, HALTED)
    assert market.trade(BOB, ALICE, CALL, WAD, 0) is None
    assert market.trade(BOB, ALICE, CALL, WAD, 50 * WAD) is None
    assert market.state.accounts[A].options == []


def test_G56_a_holder_of_a_settled_position_settles_before_he_reduces(market: Market) -> None:
    """A final price that the margin does not know yet: a reduction may not lean on it."""
    put = iid.encode(0, iid.PUT, EXPIRIES[0], 10)
    expiry = iid.expiry(put)
    legs = {"linear": [(PERP, 4 * WAD, -4 * PRICE)], "options": [(put, 4 * WAD)]}
    market.put(A, cash=0, **legs, mirror=B)
    market.state.accounts[B].cash_wad = 10**5 * WAD
    market.settle_totals()
    market.write_state()
    market.world.timestamp = expiry + 60
    market.set_price(0, 3_000)
    assert market.do(BOB, "refresh", [0]) is None
    set_oracle(market, HALTED)
    assert sell(market, WAD, PRICE) is None
    market.state.settlements[put >> 28 << 16 | EXPIRIES[0]] = Settlement(
        price_wad=5_000 * WAD, observations=9, last_time=expiry, settled=True
    )
    market.write_state()
    assert sell(market, WAD, PRICE) == Revert("SettleFirst", (B, put))
    assert market.do(BOB, "settle", [A, B], chain=([A, B],)) is None
    assert market.compare_margin(A).equity == 0
    assert sell(market, WAD, PRICE) is None


# ------------------------------------------------------------------------------ inside a batch


def batch(market: Market, sender: Any, *fills: tuple[Any, ...]) -> Any:
    """Fills of (buyer order, seller order, size, price, signers) as one batch."""
    f = market.functions["fill"]
    calls, steps = [], []
    for buy, sell_, size, price in fills:
        keys = {key_address(k): k for k in KEYS}
        signer = [keys[o.account >> 8] for o in (buy, sell_)]
        signed = [market.sign(o, k) for o, k in zip((buy, sell_), signer, strict=True)]
        calls.append(f.encode(astuple(buy), signed[0], astuple(sell_), signed[1], size, price))
        args = (buy, buy.account >> 8, sell_, sell_.account >> 8, size, price)
        steps.append(lambda v, args=args: v.fill(key_address(sender), *args))
    model = market.model
    original = model.batch

    def without_results(who: int, actions: Any) -> None:
        original(who, actions)

    model.batch = without_results  # type: ignore[method-assign]
    try:
        return market.do(sender, "batch", steps, chain=(calls,))
    finally:
        del model.batch


def test_A11_in_a_batch_a_reduction_is_decided_at_once_and_an_increase_at_the_end(
    market: Market,
) -> None:
    unhealthy(market, 0)
    mm = market.model.margin(A).mm
    unhealthy(market, mm * 11 // 10)
    o = market.order

    def pair(buyer: Any, seller: Any, price: int = PRICE) -> tuple[Any, ...]:
        return o(buyer, PERP, WAD, price), o(seller, PERP, -WAD, price), WAD, price

    # reducing first does not wash the increase after it, nor the other way round
    refused = batch(market, ALICE, pair(BOB, ALICE), pair(ALICE, BOB))
    assert refused.name == "InsufficientMargin" and refused.args[0] == A
    refused = batch(market, ALICE, pair(ALICE, BOB), pair(BOB, ALICE))
    assert refused.name == "InsufficientMargin" and refused.args[0] == A
    # an increase that ends within initial margin is judged at the end only
    rich = 10**5 * WAD
    market.put(A, cash=rich, linear=[(PERP, 4 * WAD, -4 * PRICE)])
    assert batch(market, ALICE, pair(ALICE, BOB), pair(BOB, ALICE)) is None
    # reductions owe nothing, so a batch of them needs no live price
    unhealthy(market, mm // 2)
    set_oracle(market, HALTED)
    assert batch(market, ALICE, pair(BOB, ALICE), pair(BOB, ALICE)) is None
    assert market.state.deferred == []


# --------------------------------------------------------------------------------- the rule alone


def margins(equity: int, mm: int, im: int) -> Margin:
    health = equity * WAD // mm if mm else NO_LIMIT if equity >= 0 else -(2**255)
    return Margin(equity, equity, mm, 0, 0, 0, 0, mm, im, health, True, 0)


@pytest.mark.parametrize(
    ("before", "after", "accepted"),
    [
        ((150, 100, 130), (150, 100, 130), True),  # nothing changes
        ((150, 100, 130), (149, 99, 128), True),
        ((150, 100, 130), (148, 99, 128), False),  # E − MM falls
        ((150, 100, 130), (160, 101, 131), False),  # MM rises
        ((130, 100, 130), (110, 80, 111), False),  # IM is left
        ((130, 100, 130), (111, 80, 111), True),
        ((129, 100, 130), (110, 80, 111), True),  # it was not there before
        ((100, 100, 130), (60, 60, 78), True),  # HF = 1 stays 1
        ((99, 100, 130), (59, 60, 78), False),  # below MM health may not fall
        ((50, 100, 130), (40, 80, 104), True),
        ((50, 100, 130), (39, 80, 104), False),
        ((50, 100, 130), (0, 0, 0), True),  # health without requirement is unbounded
        ((50, 100, 130), (-1, 0, 0), False),
        ((0, 100, 130), (0, 50, 65), True),
        ((0, 100, 130), (-1, 50, 65), False),
        ((-1, 100, 130), (-1, 50, 65), False),  # bankrupt: whatever is left
        ((-1, 100, 130), (50, 50, 65), False),
        ((-10, 100, 130), (-11, 50, 65), False),
    ],
)
def test_the_rule(
    before: tuple[int, int, int], after: tuple[int, int, int], accepted: bool
) -> None:
    assert reduce_lib.is_accepted(margins(*before), margins(*after)) is accepted


def test_the_rule_keeps_every_line_that_an_account_is_above() -> None:
    rng = random.Random(11)
    seen: Counter[bool] = Counter()
    for _ in range(20_000):
        mm = rng.randrange(0, 100)
        m = margins(rng.randrange(-50, 200), mm, mm * 13 // 10 + rng.randrange(5))
        mm = rng.randrange(0, mm + 3)
        n = margins(m.equity + rng.randrange(-60, 20), mm, mm * 13 // 10 + rng.randrange(5))
        accepted = reduce_lib.is_accepted(m, n)
        seen[accepted] += 1
        if not accepted:
            continue
        assert n.mm <= m.mm and n.equity - n.mm >= m.equity - m.mm
        assert m.equity < m.im or n.equity >= n.im
        assert m.equity < m.mm or n.equity >= n.mm
        assert m.equity < 0 or n.equity >= 0
    assert min(seen.values()) > 1_000


@pytest.mark.parametrize("size", [5, -5])
def test_what_reduces(size: int) -> None:
    sign = 1 if size > 0 else -1
    for change in range(-12, 13):
        new = size + change
        want = abs(new) < 5 and new * sign >= 0
        assert change == 0 or reduce_lib.reduces(size, change) is want
    assert not reduce_lib.reduces(0, 5) and not reduce_lib.reduces(0, -5)


# ------------------------------------------------------------------------------------ at random


@pytest.mark.parametrize("seed", range(2))
def test_A13_random_fills_near_the_limits(market: Market, seed: int) -> None:
    """Nobody crosses a line downwards by a fill, and an accepted increase is not liquidatable."""
    rng = random.Random(seed)
    market.set_params(replace(params(), trade_fee_e6=20, option_fee_cap_bps=300))
    ids = (PERP, FUTURE, CALL)
    marks = {PERP: PRICE, FUTURE: 3_030 * WAD, CALL: 150 * WAD}
    for key in KEYS:
        cash = rng.randrange(500, 3_000)
        market.do(key, "deposit", account(key), market.cash, cash * USD)
    seen: Counter[str] = Counter()
    for step in range(60):
        if step == 40:
            set_oracle(market, rng.choice([UNCERTAIN, STALE, HALTED]))
        elif step % 10 == 9:
            drop = rng.randrange(200, 1_500) * WAD
            victim = market.state.accounts[account(rng.choice(KEYS))]
            victim.cash_wad -= drop
            market.settle_totals()
            market.write_state()
        buyer, seller = rng.sample(KEYS, 2)
        both = (account(buyer), account(seller))
        instrument = rng.choice(ids)
        sizes = [
            abs(reduce_lib.size_of(market.state.accounts[x], instrument, instrument == CALL))
            for x in both
        ]
        size = max(1, rng.choice([*sizes, max(sizes) // 2, rng.randrange(1, WAD)]))
        price = marks[instrument] * rng.randrange(9_700, 10_300) // 10_000
        before = [market.model.margin(x) for x in both]
        increases = [
            not reduce_lib.reduces(
                reduce_lib.size_of(market.state.accounts[x], instrument, instrument == CALL), change
            )
            for x, change in zip(both, (size, -size), strict=True)
        ]
        outcome = market.trade(buyer, seller, instrument, size, price)
        if outcome is not None:
            seen[outcome.name] += 1
            continue
        seen[f"accepted, {sum(increases)} increase"] += 1
        for x, m, grew in zip(both, before, increases, strict=True):
            n = market.compare_margin(x)
            if grew and n.has_obligations:
                assert n.equity >= n.im >= n.mm
                outcome = market.do(OTHER[x], "liquidate", x, account(OTHER[x]), WAD, NO_LIMIT)
                assert outcome.name == "AccountHealthy"
            assert m.equity < m.im or n.equity >= n.im
            assert m.equity < m.mm or n.equity >= n.mm
            assert m.equity < 0 or n.equity >= 0
    assert seen["accepted, 0 increase"] >= 2 and seen["accepted, 2 increase"] >= 2, seen
    assert seen["InsufficientMargin"] + seen["OracleNotUsable"] >= 3, seen


OTHER = {account(k): KEYS[(i + 1) % 4] for i, k in enumerate(KEYS)}
