"""The scan against the exact test of every account, through price moves, trades, reorganisations
and failures.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from risk.exact.state import Account, Linear, Option, Settlement
from risk.keeper import scan_rows
from risk.keeper.book import Advance
from risk.keeper.health import Market, judge, refresh
from risk.keeper.ports import Sweep
from risk.keeper.types import Health, Reading
from risk.vector.errors import VectorError
from risk.vector.market import MarketTable
from tests.attacks.scene import ModelMarket, model_market
from tests.keeper.planner_scene import (
    BOOK,
    LONG,
    PERP,
    PRICES,
    WAD,
    A,
    C,
    Keeper,
    at_health,
    settle_in,
)
from tests.liquidation.scene import BTC_PERP, FUTURE, B, option
from tests.support.vault_fixtures import EXPIRIES
from tests.support.vault_twin import iid

FIRST = 0xA11CE << 8


@pytest.fixture
def m() -> ModelMarket:
    made = model_market()
    settle_in(made)
    return made


def holding(m: ModelMarket, rng: Random) -> Account:
    """Random positions, with cash that puts E/MM between 0.8 and 1.6 for most."""
    a = Account(collateral=[0] * 16)
    instruments = [PERP, BTC_PERP, FUTURE]
    for i in rng.sample(instruments, rng.randint(0, 2)):
        size = rng.randint(-5 * WAD, 5 * WAD)
        a.linear.append(Linear(i, size or 1, rng.randint(-10_000 * WAD, 10_000 * WAD)))
    for i in sorted(rng.sample(range(64), rng.randint(0, 5))):
        kind = rng.choice([iid.CALL, iid.PUT])
        a.options.append(Option(option(i, kind, rng.choice(EXPIRIES)), rng.randint(-WAD, WAD) or 1))
    if rng.random() < 0.4:
        a.collateral[rng.randint(0, 1)] = rng.randint(1, 10**8)
    a.cash_wad = -(10**30)
    m.state.accounts[FIRST - 1] = a
    margin = m.model.margin(FIRST - 1)
    del m.state.accounts[FIRST - 1]
    if rng.random() < 0.1:
        return replace(a, cash_wad=rng.randint(0, WAD), linear=[], options=[])
    wanted = margin.mm * rng.randint(800, 1_600) // 1_000 + rng.randint(-1, 1)
    return replace(a, cash_wad=wanted - (margin.equity + 10**30))


def fill(m: ModelMarket, rng: Random, count: int = 40) -> None:
    for n in range(count):
        m.state.accounts[FIRST + n] = holding(m, rng)
    m.settle_totals()


def brute(k: Keeper, unknown: frozenset[int] = frozenset()) -> dict[int, Reading]:
    """Every account by itself at the keeper's head."""
    market: Market = refresh(k.m.state, k.prices(unknown, "no answer"), k.head)
    return {a: judge(market, a)[0] for a in sorted(k.m.state.accounts)}


def assert_same(k: Keeper, sweep: Sweep, unknown: frozenset[int] = frozenset()) -> None:
    want = brute(k, unknown)
    assert sweep.accounts == len(want)
    assert sweep.unhealthy == {a: r for a, r in want.items() if r.health is Health.UNHEALTHY}
    lost = {a: r for a, r in want.items() if r.health is Health.UNKNOWN}
    assert {a: r.reason for a, r in sweep.unknown.items()} == {a: r.reason for a, r in lost.items()}
    assert all(sweep.unknown[a].timestamp >= r.timestamp for a, r in lost.items())
    healthy = {a: r for a, r in want.items() if r.health is Health.HEALTHY}
    assert sweep.warned == {a: r for a, r in healthy.items() if r.equity_wad < r.im_wad}


def linked(k: Keeper, touched: frozenset[int], **changes: int) -> Sweep:
    """A head that follows the last one."""
    head = k.next_head()
    advance = replace(Advance(head, applied=1, touched=touched, market=True), **changes)
    return k.scanner.scan(k.m.state, k.prices(), head, advance)


@pytest.mark.parametrize("seed", range(4))
def test_same_as_one_by_one(m: ModelMarket, seed: int) -> None:
    """Random heads; told only what was touched."""
    rng = Random(seed)
    fill(m, rng)
    k = Keeper(m)
    assert_same(k, k.sweep())
    for _ in range(12):
        touched = set()
        what = rng.randint(0, 5)
        if what <= 1:
            for u, price in enumerate(PRICES):
                m.set_price(u, price * rng.uniform(0.9, 1.1))
        elif what == 2:
            m.state.buckets[rng.choice(EXPIRIES)].sigma_e9 += rng.randint(1, 10**7)
        elif what == 3:
            m.set_feed(m.state.underlyings[rng.randint(0, 1)].feed, 0)
        else:
            for n in rng.sample(range(50), 3):
                m.state.accounts[FIRST + n] = holding(m, rng)
                touched.add(FIRST + n)
            gone = FIRST + rng.randint(0, 39)
            if m.state.accounts.pop(gone, None):
                touched.add(gone)
        m.world.timestamp += rng.choice([1, 12, 12, 400])
        sweep = linked(k, frozenset(touched))
        assert_same(k, sweep)
    assert k.scanner._main is not None


def test_only_what_changed_is_judged_anew(m: ModelMarket) -> None:
    fill(m, Random(1))
    count = len(m.state.accounts)
    k = Keeper(m)
    assert k.sweep().fresh == count
    assert linked(k, frozenset()).fresh == 0
    m.state.accounts[FIRST] = holding(m, Random(2))
    assert linked(k, frozenset({FIRST})).fresh == 1
    m.set_price(0, PRICES[0] * 0.9)
    assert linked(k, frozenset()).fresh == count


@pytest.mark.parametrize("how", ["lost", "several", "reorg"])
def test_a_list_that_may_be_incomplete_is_not_trusted(m: ModelMarket, how: str) -> None:
    """An advance that never reached the scan, several blocks at once, a block taken back."""
    fill(m, Random(3))
    k = Keeper(m)
    k.sweep()
    m.state.accounts[FIRST + 5] = holding(m, Random(4))
    if how == "lost":
        k.next_head()
    changes = {"several": {"applied": 2}, "reorg": {"undone": 1}}.get(how, {})
    assert_same(k, linked(k, frozenset(), **changes))


def test_touched_accounts_are_merged(m: ModelMarket) -> None:
    fill(m, Random(5))
    k = Keeper(m)
    k.scanner = type(k.scanner)(merge=6)
    k.sweep()
    rng = Random(6)
    for n in range(10):
        m.state.accounts[FIRST + n] = holding(m, rng)
        assert_same(k, linked(k, frozenset({FIRST + n})))
    assert len(k.scanner._moved) < 7


def test_new_instruments_and_parameters(m: ModelMarket) -> None:
    fill(m, Random(7))
    k = Keeper(m)
    k.sweep()
    day = EXPIRIES[1] + 7
    m.state.buckets[day] = replace(m.state.buckets[EXPIRIES[1]], strikes_wad=[3_000 * WAD])
    m.state.accounts[FIRST] = Account(cash_wad=10 * WAD, options=[Option(option(0, day=day), -WAD)])
    assert_same(k, linked(k, frozenset({FIRST})))
    p = m.state.params
    assert p is not None
    deep = tuple(replace(u, depth_wad=WAD) for u in p.underlyings)
    m.state.params = replace(p, underlyings=deep, im_factor_bps=15_000)
    assert_same(k, linked(k, frozenset()))


def test_interest_over_many_heads(m: ModelMarket) -> None:
    """Cash of borrowers grows; the rows follow to the wei, and hold on to nothing."""
    settle_in(
        m, base_rate_bps=2_000, kink_rate_bps=5_000, full_rate_bps=9_000, kink_utilisation_bps=8_000
    )
    at_health(m, A, WAD, **LONG)
    m.put(A, cash=-30 * WAD, linear=[(PERP, 10 * WAD, -28_900 * WAD)], mirror=B)
    m.state.accounts[A] = replace(m.state.accounts[A], interest_index=m.state.borrow_index_e15)
    # not in the table: the rows hand it to the model, interest included
    m.state.accounts[FIRST] = Account(cash_wad=WAD, options=[Option(option(200), -WAD)])
    k = Keeper(m)
    k.sweep()
    limit, borrowed = sys.getrecursionlimit(), set()
    sys.setrecursionlimit(len(inspect.stack()) + 75)
    try:
        for n in range(80):
            m.world.timestamp += 20
            sweep = linked(k, frozenset())
            assert list(sweep.unknown) == [FIRST]
            if n % 20 == 0:
                assert_same(k, sweep)
                borrowed.add(brute(k)[A].equity_wad)
    finally:
        sys.setrecursionlimit(limit)
    assert len(borrowed) == 4


def test_settled_positions_are_settled_first(m: ModelMarket) -> None:
    """What a liquidation settles on the way: the mark is not what counts any more."""
    fill(m, Random(8))
    day = EXPIRIES[0]
    call = option(0, day=day)
    m.put(A, cash=-600 * WAD, options=[(call, WAD)], mirror=B)
    m.settle_totals()
    k = Keeper(m)
    before = k.sweep()
    m.state.settlements[day] = Settlement(2_000 * WAD, 3, m.world.timestamp, 1, 2_000 * WAD, True)
    after = linked(k, frozenset())
    assert_same(k, after)
    assert A not in before.unhealthy and A in after.unhealthy


# ── unknown ──────────────────────────────────────────────────────────────────────────────────────


def test_no_answer_makes_unknown_with_last_values(m: ModelMarket) -> None:
    fill(m, Random(9))
    k = Keeper(m)
    before = k.sweep()
    seen = k.head
    assert before.unhealthy and before.warned
    m.world.timestamp += 12
    lost = k.sweep(unknown={0}, touched=frozenset())
    assert_same(k, lost, frozenset({0}))
    assert not (before.unhealthy.keys() & lost.warned.keys())
    for account, old in {**before.unhealthy, **before.warned}.items():
        if account in lost.unknown:
            new = lost.unknown[account]
            assert (new.equity_wad, new.mm_wad) == (old.equity_wad, old.mm_wad)
            assert (new.block, new.age(k.head.timestamp)) == (seen.number, 12)
    assert {r.account for r in k.scanner.health.queue(k.head.timestamp)} == set(lost.unknown)
    back = k.sweep(touched=frozenset())
    assert_same(k, back)
    assert not back.unknown and not k.scanner.health.queue(k.head.timestamp)


Fault = Callable[[pytest.MonkeyPatch], None]


def no_table(patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> MarketTable:
        raise VectorError("no table")

    patch.setattr(scan_rows.MarketTable, "from_state", fail)


def no_rescan(patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    patch.setattr(scan_rows.Rescanner, "rescan", fail)


@pytest.mark.parametrize("fault", [no_table, no_rescan])
def test_an_error_never_becomes_healthy(
    m: ModelMarket, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fill(m, Random(10))
    k = Keeper(m)
    before = k.sweep()
    m.set_price(0, PRICES[0] * 0.8)
    with monkeypatch.context() as patch:
        fault(patch)
        failed = linked(k, frozenset())
    assert failed.unknown.keys() == m.state.accounts.keys()
    assert not failed.unhealthy and not failed.warned and failed.fresh == 0
    assert all("scan failed" in r.reason for r in failed.unknown.values())
    for account, old in before.unhealthy.items():
        assert failed.unknown[account].equity_wad == old.equity_wad
    assert_same(k, linked(k, frozenset()))


def test_one_account_that_the_model_refuses(m: ModelMarket) -> None:
    fill(m, Random(11))
    m.state.accounts[A] = Account(
        linear=[Linear(PERP, 2**94, 0)], options=[Option(option(3), -WAD)]
    )
    sweep = Keeper(m).sweep()
    assert "ExposureOverflow" in sweep.unknown[A].reason
    assert len(sweep.unknown) == 1


def test_without_parameters_everybody_is_unknown(m: ModelMarket) -> None:
    at_health(m, A, WAD, **BOOK)
    m.state.params = None
    sweep = Keeper(m).sweep()
    assert sweep.unknown.keys() == m.state.accounts.keys() >= {A, C}


def test_an_underlying_without_parameters_yet(m: ModelMarket) -> None:
    """Listed, but the parameters come later: nobody can hold it, everybody is judged."""
    fill(m, Random(12))
    feed = m.new_feed(8, 10**8)
    m.state.underlyings.append(replace(m.state.underlyings[0], feed=feed, epoch=0, price_wad=0))
    k = Keeper(m)
    assert_same(k, k.sweep())
