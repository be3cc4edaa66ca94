"""Rescanning after a move: each level decides rightly, and its bound is needed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from risk.exact.state import Account, Linear
from risk.vector import certified, coefficients, exact, rescan, sample
from risk.vector.accounts import AccountBatch
from risk.vector.certified import Bounds
from risk.vector.decide import HEALTHY, UNHEALTHY
from risk.vector.errors import VectorError
from risk.vector.market import MarketTable
from tests.vector.support import WAD, at_distance, book, tame


@pytest.mark.parametrize("ppm", [0, 10, 1_000, 20_000, 400_000])
def test_verdicts_after_a_move(ppm: int) -> None:
    state, table = tame(32)
    batch = sample.accounts(table, 4_000, seed=6)
    watcher = rescan.Rescanner(table, batch)
    after = sample.move(state, 3, ppm)
    now = MarketTable.from_state(after)
    m = exact.margins(now, batch)
    first = rescan.moved(
        watcher.coefficients,
        coefficients.of_maintenance(now),
        watcher.floats,
        watcher.bounds,
        watcher.base,
        watcher.entries,
    )
    assert not ((first.sign == 1) & (m.health < 0)).any()
    assert not ((first.sign == -1) & (m.health >= 0)).any()
    done = watcher.rescan(now, after)
    assert ((done.verdicts.status == HEALTHY) == (m.health >= 0)).all()
    assert ((done.verdicts.status == UNHEALTHY) == (m.health < 0)).all()
    assert done.filtered == (first.sign == 0).sum()
    if ppm <= 1_000:
        assert done.filtered < 0.05 * len(batch)  # the first level is worth having


def test_time_funding_and_open_interest_move_too() -> None:
    state, table = tame(32)
    batch = sample.accounts(table, 2_000, seed=7)
    watcher = rescan.Rescanner(table, batch)
    after = state.clone()
    for data in after.underlyings:
        data.time += 86_400
        data.funding_e12 += 10**9
        data.open_interest_wad *= 2
    for bucket in after.buckets.values():
        bucket.a_e9 += bucket.a_e9 // 3
    now = MarketTable.from_state(after)
    m = exact.margins(now, batch)
    done = watcher.rescan(now, after)
    assert ((done.verdicts.status == HEALTHY) == (m.health >= 0)).all()


def test_the_bound_of_the_first_level_is_needed() -> None:
    """Wrong without it: accounts that a move brings to −1 wei."""
    state, table = tame(32)
    after = sample.move(state, 3, 20_000)
    now = MarketTable.from_state(after)
    base = sample.accounts(table, 200, seed=9)
    accounts = [at_distance(after, base.account(i), -1) for i in range(200)]
    b = book(after, table, accounts)
    watcher = rescan.Rescanner(table, b.batch)

    def wrong(scale: float) -> int:
        moved = rescan.moved(
            watcher.coefficients,
            coefficients.of_maintenance(now),
            watcher.floats,
            watcher.bounds,
            watcher.base,
            watcher.entries,
            scale=scale,
        )
        return int((moved.sign == 1).sum())

    assert wrong(1.0) == 0
    assert wrong(0.0) > 0
    assert (watcher.rescan(now, after).verdicts.status == UNHEALTHY).all()


def test_lip_holds_for_every_term() -> None:
    """|Δterm| of single positions never exceeds the first-level column."""
    state, table = tame(32)
    old = coefficients.of_maintenance(table)
    new = coefficients.of_maintenance(MarketTable.from_state(sample.move(state, 4, 30_000)))
    steps, k = rescan.differences(old, new), old.scenarios
    change = np.abs(new.terms - old.terms)
    need = np.maximum(change[:, :k].max(axis=1), change[:, k + coefficients.FLOOR])
    assert (np.abs(steps[:, 1]) >= need + change[:, k + coefficients.BASIS]).all()
    assert np.allclose(steps[:, 0], new.terms[:, k] - old.terms[:, k])


def test_free_accounts_stay_free_and_nan_decides_nothing() -> None:
    state, table = tame(32)
    accounts = [Account(cash_wad=5), Account(cash_wad=-5), Account(cash_wad=10**6 * WAD)]
    accounts[2].linear.append(Linear(table.ids[0], WAD, 0))
    b = book(state, table, accounts)
    watcher = rescan.Rescanner(table, b.batch)
    after = sample.move(state, 2, 5_000)
    done = watcher.rescan(MarketTable.from_state(after), after)
    assert done.verdicts.status.tolist() == [HEALTHY, UNHEALTHY, HEALTHY]
    nan = np.full(3, np.nan)
    c = watcher.coefficients
    lost = rescan.moved(c, c, watcher.floats, Bounds(nan, nan), watcher.base, watcher.entries)
    assert lost.sign.tolist() == [0, 0, 0]
    assert certified.bounds(c, watcher.floats).lower[0] == np.inf


def test_other_scenario_sets_need_a_new_anchor() -> None:
    state, table = tame(32)
    watcher = rescan.Rescanner(table, sample.accounts(table, 5, seed=1))
    p = state.params
    assert p is not None
    cut = [
        replace(u, price_lanes=u.price_lanes[:8], vol_lanes=u.vol_lanes[:8]) for u in p.underlyings
    ]
    fewer = replace(p, weights_bps=p.weights_bps[:8], underlyings=tuple(cut))
    other = MarketTable.from_state(replace(state, params=fewer))
    with pytest.raises(VectorError, match="anchor again"):
        watcher.rescan(other)
    watcher.anchor(other)
    assert watcher.rescan(other, state).filtered <= 5


def test_interest_moves_the_cash_of_everybody() -> None:
    state, table = tame(32)
    drawn = sample.accounts(table, 1_500, seed=14)
    rng = Random(3)
    twin = state.clone()
    for i in range(1_500):
        account = drawn.account(i)
        account.interest_index = rng.choice([0, 10**15, 10**15 + rng.randrange(10**13)])
        twin.accounts[drawn.ids[i]] = account
    twin.supply_index_e15, twin.borrow_index_e15 = 10**15 + 10**13, 10**15 + 3 * 10**13
    watcher = rescan.Rescanner(table, AccountBatch.from_state(table, twin))
    after = sample.move(twin, 3, 5_000)
    after.supply_index_e15, after.borrow_index_e15 = 102 * 10**13, 107 * 10**13
    watcher.accrue(after)
    fresh = AccountBatch.from_state(table, after)
    assert (watcher.batch.cash == fresh.cash).all()  # to the wei
    now = MarketTable.from_state(after)
    m = exact.margins(now, fresh, after)
    done = watcher.rescan(now, after)
    assert ((done.verdicts.status == HEALTHY) == (m.health >= 0)).all()
    assert done.filtered < 200
    assert watcher.batch.account(3) == fresh.account(3)
    with pytest.raises(VectorError, match="at which index"):
        drawn.accrued(after)
