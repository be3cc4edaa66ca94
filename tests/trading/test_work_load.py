"""How much work an account may be: counted on the chain, in the model and by brute force.

``AccountTooHeavy`` names the load, so refusals show the chain's count.  Accounts are written with
options of instruments that need not be listed: the load is judged before any margin.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from risk.exact.accounts import work_load
from risk.exact.errors import ModelRevert as Revert
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Linear, Option
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NO_LIMIT,
    OWNER,
    WAD,
    account,
    iid,
    risk_params,
    underlying_params,
)

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
LIMIT = 12_900
PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)
DAY = EXPIRIES[1]
LANES = (-2_500, -1_200, -400, 0, 0, 400, 1_200, 2_500) * 8
VOLS = (1_500, 800, 0, 1_000, -1_000, 0, 800, 1_500) * 8


def scenarios(k: int, underlyings: int = 2) -> RiskParams:
    """The market's parameters with ``k`` scenarios."""
    p = underlying_params(price_lanes=LANES[:k], vol_lanes=VOLS[:k])
    collaterals = params().collaterals
    return risk_params((p,) * underlyings, collaterals, weights_bps=(10_000,) * k)


def brute(k: int, options: Iterable[int], linear: int) -> int:
    """The formula of docs/liquidation.md §6, counted naively."""
    ids = list(options)
    buckets = len({(i // 2**28, i // 2**10 % 2**16) for i in ids})
    underlyings = len({i // 2**28 for i in ids})
    load = len(ids) * (k + 35) + linear * 35
    return load + buckets * (10 + k // 6) + underlyings * (70 + k // 2)


def spread(count: int, underlyings: int, days: int, rng: random.Random) -> list[int]:
    """``count`` options over so many underlyings and expiries each, in random order."""
    places = [(u, DAY + 7 * d) for d in range(days) for u in range(underlyings)]
    ids = [
        iid.encode(*places[i % len(places)][:1], kind, places[i % len(places)][1], i // len(places))
        for i, kind in ((i, rng.choice((iid.CALL, iid.PUT))) for i in range(count))
    ]
    rng.shuffle(ids)
    return ids


# ------------------------------------------------------------------------------------ counting


def test_model_counts_as_brute_force() -> None:
    rng = random.Random(7)
    for _ in range(500):
        k, count, linear = rng.randint(1, 64), rng.randint(0, 128), rng.randint(0, 20)
        ids = {
            iid.encode(rng.randrange(16), rng.randint(2, 3), rng.randrange(2**16), rng.randrange(9))
            for _ in range(count)
        }
        held = Account(
            linear=[Linear(iid.encode(i % 16, 1, i, 0), WAD, 0) for i in range(linear)],
            options=[Option(i, WAD) for i in ids],
        )
        assert work_load.load(k, held) == brute(k, ids, linear)


@pytest.fixture
def sixteen(market: Market) -> Market:
    """Fourteen more underlyings with a snapshot, all with 64 scenarios."""
    for u in range(2, 16):
        feed = market.new_feed(8, 100 * 10**8)
        assert market.do(OWNER, "listUnderlying", feed) == u
    market.set_params(scenarios(64, 16))
    for u in range(16):
        market.set_price(u, PRICES[u] if u < 2 else 100)
    assert market.do(CAROL, "refresh", list(range(2, 16))) is None
    return market


def try_perp(market: Market, u: int = 0) -> Any:
    """Alice buys a perp of ``u`` from Carol, who has nothing."""
    return market.trade(ALICE, CAROL, iid.encode(u, iid.PERP, 0, 0), WAD, 100 * WAD)


def test_chain_counts_as_brute_force(sixteen: Market) -> None:
    """Random books above the limit, in random order, with days and underlyings whose hashes
    collide; the chain names the load of each.
    """
    rng = random.Random(11)
    shapes = [(127, 16, 8), (127, 16, 1), (127, 1, 127), (125, 7, 18), (120, 16, 8), (127, 2, 40)]
    for count, underlyings, days in shapes:
        options = spread(count, underlyings, days, rng)
        if rng.random() < 0.5:  # any days at all
            shift = {iid.bucket_key(i): rng.randrange(1, 2**15) for i in options}
            options = [i & ~(0xFFFF << 10) | shift[iid.bucket_key(i)] << 10 for i in options]
        linear = [(BTC_PERP, WAD, -60_000 * WAD)] if rng.random() < 0.3 and count < 127 else []
        sixteen.put(A, cash=10**9 * WAD, linear=linear, options=[(i, 1) for i in options], mirror=B)
        load = brute(64, options, len(linear) + 1)
        outcome = try_perp(sixteen)
        if load > LIMIT:
            assert outcome == Revert("AccountTooHeavy", (A, load, LIMIT))
        else:
            assert isinstance(outcome, Revert) and outcome.name != "AccountTooHeavy"


def exactly(target: int) -> tuple[list[int], int]:
    """Options over 16 underlyings, and perps and futures, whose load with 64 scenarios is
    ``target``, one place kept free.
    """
    for count in range(60, 127):
        for underlyings in range(1, 17):
            for days in range(1, 9):
                ids = spread(count, underlyings, days, random.Random(0))
                rest = target - brute(64, ids, 0)
                if rest >= 35 and rest % 35 == 0 and 1 <= rest // 35 <= min(17, 128 - count):
                    return ids, rest // 35
    raise AssertionError(target)


@pytest.mark.parametrize("above", [0, 1])
def test_limit_at_the_unit(sixteen: Market, above: int) -> None:
    """12 900 is allowed, 12 901 is not."""
    options, linear = exactly(LIMIT + above)
    others = [iid.encode(u % 16, iid.PERP, 0, 0) for u in range(1, 16)]
    others += [iid.encode(0, iid.FUTURE, DAY + d, 0) for d in range(16)]
    held = [(i, WAD, -100 * WAD) for i in others[: linear - 1]]
    sixteen.put(A, cash=10**9 * WAD, linear=held, options=[(i, 1) for i in options], mirror=B)
    assert brute(64, options, linear) == LIMIT + above
    outcome = try_perp(sixteen)
    if above:
        assert outcome == Revert("AccountTooHeavy", (A, LIMIT + 1, LIMIT))
    else:  # past the limit; the slices of these expiries were never reported
        assert outcome.name == "SliceStale"


@pytest.mark.parametrize(("k", "refused"), [(8, False), (38, False), (39, True), (64, True)])
def test_up_to_38_scenarios_nothing_is_refused(sixteen: Market, k: int, refused: bool) -> None:
    """The widest book there is: 128 options, each of an expiry of its own, 16 underlyings."""
    sixteen.set_params(scenarios(k, 16))
    options = spread(128, 16, 8, random.Random(3))
    listed = iid.encode(0, iid.CALL, DAY, 0)
    options = [listed, *(i for i in options if iid.bucket_key(i) != iid.bucket_key(listed))]
    assert len(options) == 128 == len({iid.bucket_key(i) for i in options})
    sixteen.put(A, cash=10**9 * WAD, options=[(i, 1) for i in options[1:]], mirror=B)
    sixteen.put(C, cash=10**6 * WAD)  # has to bear what it writes
    for u in range(16):
        sixteen.set_price(u, PRICES[u] if u < 2 else 100)
    outcome = sixteen.trade(ALICE, CAROL, listed, WAD, 100 * WAD)
    load = brute(k, options, 0)
    assert (load > LIMIT) == refused
    if refused:
        assert outcome == Revert("AccountTooHeavy", (A, load, LIMIT))
    else:
        assert outcome is None and len(sixteen.state.accounts[A].options) == 128


# ------------------------------------------------------------------------------- who may grow


def heavy_book() -> list[tuple[int, int]]:
    """128 listed options of both underlyings, load 12 956 with 64 scenarios; sizes alternate."""
    ids = [
        iid.encode(0, kind, day, i)
        for kind in (iid.CALL, iid.PUT)
        for day in EXPIRIES
        for i in range(15, 45)
    ]
    ids += [
        iid.encode(1, kind, day, i)
        for kind in (iid.CALL, iid.PUT)
        for day in EXPIRIES
        for i in (0, 1)
    ]
    return [(i, WAD // 100 if n % 2 else -WAD // 100) for n, i in enumerate(ids)]


def young(market: Market) -> None:
    """New prices and new slices: 64 scenarios opened a new epoch, nothing is cached."""
    for u, price in enumerate(PRICES):
        market.set_price(u, price)
        market.report(u)
        market.set_price(u, price)


def test_what_is_held_can_always_be_reduced(market: Market) -> None:
    """An account above the limit, because K was raised, trades in what it holds; to grow it has to
    fall below the limit first.
    """
    market.set_params(scenarios(64))
    book = heavy_book()
    market.put(A, cash=10**6 * WAD, options=book, mirror=B)
    market.state.accounts[B].cash_wad = 10**6 * WAD
    market.put(C, cash=10**6 * WAD)
    young(market)
    load = brute(64, (i for i, _ in book), 0)
    assert len(book) == 128 and load == 12_956
    short, long = book[0][0], book[1][0]
    size = WAD // 100
    # halving, enlarging and turning a position add none
    assert market.trade(ALICE, CAROL, short, size // 2, WAD) is None
    assert market.trade(CAROL, ALICE, short, size, WAD) is None
    assert market.trade(CAROL, ALICE, long, 2 * size, WAD) is None
    # closing
    held = {x.instrument: x.size_wad for x in market.state.accounts[A].options}
    assert market.trade(ALICE, CAROL, short, -held[short], WAD) is None
    assert len(market.state.accounts[A].options) == 127
    # opening anew: refused as buyer and as seller, buyer named first
    after = Revert("AccountTooHeavy", (A, load, LIMIT))
    assert market.trade(ALICE, CAROL, short, size, WAD) == after
    assert market.trade(CAROL, ALICE, short, size, WAD) == after
    assert market.trade(ALICE, BOB, short, size, WAD) == after
    # something lighter
    assert load - 99 + 35 <= LIMIT
    assert market.trade(ALICE, CAROL, PERP, size, 3_000 * WAD) is None


def raised(market: Market) -> list[tuple[int, int]]:
    """127 options over seven expiries, unhealthy, written at 8 scenarios; then K is raised."""
    more = [EXPIRIES[1] + 7 * i for i in (1, 2, 3)]
    for day in more:
        assert market.do(OWNER, "listExpiry", 0, day, list(STRIKES)) is None
    book = heavy_book()[:-1]
    for n, day in enumerate(more):
        book[n] = (iid.encode(0, iid.CALL, day, 20 + n), book[n][1])
    market.set_params(scenarios(64))
    for u, price in enumerate(PRICES):
        market.set_price(u, price)
    market.report(0, (*EXPIRIES, *more))
    market.report(1)
    market.put(A, cash=0, options=book, mirror=B)
    m = market.model.margin(A)
    market.state.accounts[A].cash_wad = m.mm * 8 // 10 - m.equity
    market.state.accounts[B].cash_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    for u, price in enumerate(PRICES):
        market.set_price(u, price)
    return book


def test_account_above_the_limit_stays_liquidatable(market: Market) -> None:
    """The liquidator may end with as much as the account had, and not with a position more."""
    market.put(C, cash=10**8 * WAD)
    market.put(D, cash=10**8 * WAD)
    book = raised(market)
    load = brute(64, (i for i, _ in book), 0)
    assert load == 12_917 > LIMIT
    assert work_load.allowance(scenarios(64), market.state.accounts[A]) == load

    market.state.accounts[C].linear = [Linear(BTC_PERP, WAD // 100, -600 * WAD)]
    market.state.accounts[B].linear = [Linear(BTC_PERP, -WAD // 100, 600 * WAD)]
    market.settle_totals()
    market.write_state()
    outcome = market.do(CAROL, "liquidate", A, C, WAD, NO_LIMIT)
    assert outcome == Revert("AccountTooHeavy", (C, load + 35, load))

    fraction, _ = market.do(DAVE, "liquidate", A, D, WAD // 10, NO_LIMIT)
    assert fraction == WAD // 10
    assert len(market.state.accounts[D].options) == 127
    # again: what the liquidator holds already grows, the number of positions does not
    assert not isinstance(market.do(DAVE, "liquidate", A, D, WAD // 10, NO_LIMIT), Revert)


def test_light_account_makes_no_liquidator_heavy(market: Market) -> None:
    """A liquidator at the limit cannot take over a position more; one that it holds it can."""
    book = heavy_book()
    held, extra = book[:127], book[127]
    market.set_params(scenarios(64))
    market.put(D, cash=10**8 * WAD, options=held, mirror=B)
    young(market)
    for positions, refused in (([extra], True), ([held[0]], False)):
        i, _ = positions[0]
        market.state.accounts[A] = Account(options=[Option(i, -WAD)])
        market.state.accounts[C] = Account(cash_wad=10**9 * WAD, options=[Option(i, WAD)])
        m = market.model.margin(A)
        market.state.accounts[A].cash_wad = m.mm // 2 - m.equity
        market.settle_totals()
        market.write_state()
        outcome = market.do(DAVE, "liquidate", A, D, WAD // 2, NO_LIMIT)
        if refused:
            load = brute(64, (i for i, _ in book), 0)
            assert outcome == Revert("AccountTooHeavy", (D, load, LIMIT))
        else:
            assert not isinstance(outcome, Revert)
