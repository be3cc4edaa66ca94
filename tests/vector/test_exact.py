"""The exact engine against the reference model, field by field and revert by revert."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import Account, Linear, Option
from risk.vector import exact, sample, scan
from risk.vector.accounts import AccountBatch
from risk.vector.errors import VectorError
from risk.vector.market import MarketTable
from risk.vector.result import Margins
from tests.vector.support import WAD, Book, book, generated, tame


def got(m: Margins, i: int) -> Margin | ModelRevert:
    try:
        return m.row(i)
    except ModelRevert as error:
        return error


def same(a: Margin | ModelRevert, b: Margin | ModelRevert) -> bool:
    return a == b or (isinstance(a, ModelRevert) and repr(a) == repr(b))


def require_same(b: Book, *, fallbacks: int | None = None) -> Margins:
    m = exact.margins(b.table, b.batch, b.state)
    for i in range(len(b.batch)):
        want = b.want(i)
        assert same(got(m, i), want), (i, got(m, i), want)
        if isinstance(want, Margin) and want.has_obligations:
            surplus = want.equity - want.mm
            assert m.health[i] == (surplus > 0) - (surplus < 0)
            surplus = want.equity - want.im
            assert m.initial[i] == (surplus > 0) - (surplus < 0)
    if fallbacks is not None:
        assert m.fallbacks == fallbacks
    return m


def test_cases_of_the_differential_runner() -> None:
    reverts = 0
    for b in generated(11, 0, 100):
        wanted = [b.want(i) for i in range(len(b.batch))]
        refused = sum(isinstance(w, ModelRevert) for w in wanted)
        require_same(b, fallbacks=refused)  # the model is asked only where it raises
        reverts += refused
    assert reverts >= 2


@pytest.mark.parametrize("scenarios", [1, 32, 64])
def test_books_of_the_bench(scenarios: int) -> None:
    state, table = tame(scenarios, scenarios=scenarios)
    batch = sample.accounts(table, 300, seed=scenarios)
    m = require_same(Book(state, table, batch), fallbacks=0)
    if scenarios > 1:
        assert len(set(m.binding.tolist())) > scenarios // 8
    assert m.health_factors() == [m.row(i).health_factor for i in range(len(m))]
    assert m.values("im") == [m.row(i).im for i in range(len(m))]


def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    _, table = tame(32)
    batch = sample.accounts(table, 97, seed=4)
    whole = exact.margins(table, batch)
    monkeypatch.setattr(exact, "TILE", 10)
    tiled = exact.margins(table, batch)
    rows = np.array([5, 96, 0, 41])
    part = exact.margins(table, AccountBatch.concat([batch.take(rows), batch.take(rows[:1])]))
    for i in range(97):
        assert tiled.row(i) == whole.row(i)
    for n, i in enumerate([*rows, 5]):
        assert part.row(n) == whole.row(int(i))


def test_empty_batches_and_empty_accounts() -> None:
    state, table = tame(32)
    assert len(exact.margins(table, AccountBatch.from_accounts(table, [], []))) == 0
    cash = [Account(cash_wad=c) for c in (0, 1, -1, 2**126, -(2**126))]
    require_same(book(state, table, cash), fallbacks=0)


def linear(table: MarketTable, n: int) -> int:
    return [i for i in table.ids if instrument_id.kind(i) < instrument_id.CALL][n]


def options(table: MarketTable, count: int) -> list[int]:
    return [i for i in table.ids if instrument_id.kind(i) >= instrument_id.CALL][:count]


def constructed(table: MarketTable) -> list[Account]:
    """Corners: claims, empty options, cancelling books, 128 positions, wei sizes, huge sizes."""
    rng = Random(2)
    calls = options(table, 128)
    perp = linear(table, 0)
    out = [
        Account(linear=[Linear(perp, 0, 5 * WAD)]),
        Account(cash_wad=-5, linear=[Linear(perp, 0, 5 * WAD)]),
        Account(options=[Option(calls[0], 0)]),
        Account(cash_wad=-1, options=[Option(calls[0], 0)]),
        Account(options=[Option(calls[0], 7 * WAD)]),
        Account(options=[Option(calls[0], -1)]),
        Account(linear=[Linear(perp, 1, -1), Linear(linear(table, 1), -1, 1)]),
    ]
    for size in (1, 10**9, WAD, 10**5 * WAD, 2**88, 2**95 - 1):
        book_ = [Option(i, rng.choice([1, -1]) * size) for i in calls]
        out.append(Account(cash_wad=-size, options=book_))
        out.append(Account(linear=[Linear(linear(table, n), size, -size) for n in range(3)]))
    collateral = [3 * WAD * WAD] + [0] * 15
    out.append(Account(cash_wad=-1, collateral=collateral))
    # long and short of what moves alike: linear exposure cancels, options nearly
    u = instrument_id.underlying(perp)
    future = next(
        i
        for i in table.ids
        if instrument_id.kind(i) == instrument_id.FUTURE and instrument_id.underlying(i) == u
    )
    out.append(Account(linear=[Linear(perp, WAD, 0), Linear(future, -WAD, 0)]))
    out.append(
        Account(options=[Option(i, WAD if n % 2 else -WAD) for n, i in enumerate(calls[:100])])
    )
    return out


def test_corners() -> None:
    state, table = tame(32)
    m = require_same(book(state, table, constructed(table)))
    assert m.errors  # the huge ones overflow the exposure, as in the model
    assert {e.name for e in m.errors.values()} == {"ExposureOverflow"}


def test_ties_go_to_the_lowest_scenario() -> None:
    state, _ = tame(32)
    twin = state.clone()
    assert twin.params is not None
    p = twin.params
    twin.params = replace(
        p,
        weights_bps=(10_000,) * 32,
        underlyings=tuple(
            replace(u, price_lanes=u.price_lanes[:4] * 8, vol_lanes=u.vol_lanes[:4] * 8)
            for u in p.underlyings
        ),
    )
    table = MarketTable.from_state(twin)
    m = require_same(Book(twin, table, sample.accounts(table, 60, seed=8)), fallbacks=0)
    assert set(m.binding.tolist()) <= {-1, 0, 1, 2, 3}


def test_weights_that_round_to_the_same_wei() -> None:
    """Losses that differ before the rounding and not after it: still the lowest scenario."""
    state, _ = tame(32)
    twin = state.clone()
    assert twin.params is not None
    p = twin.params
    twin.params = replace(
        p,
        weights_bps=tuple(9_999 - k % 3 for k in range(32)),
        underlyings=tuple(replace(u, price_lanes=(1000,) * 32) for u in p.underlyings),
    )
    table = MarketTable.from_state(twin)
    perp = linear(table, 0)
    accounts = [Account(cash_wad=10, linear=[Linear(perp, s, 0)]) for s in range(-40, 41) if s]
    require_same(book(twin, table, accounts), fallbacks=0)


def test_what_does_not_fit_goes_to_the_model() -> None:
    state, table = tame(32)
    known = options(table, 3)
    narrow = MarketTable.from_state(state, known)
    other = options(table, 4)[3]
    accounts = [
        Account(options=[Option(known[0], -WAD)]),
        Account(linear=[Linear(linear(table, 0), WAD, 0)]),  # no column of the table
        Account(options=[Option(other, WAD)]),
        Account(cash_wad=1, collateral=[2**121] + [0] * 15),
        Account(options=[Option(known[1], WAD)]),
    ]
    b = book(state, narrow, accounts)
    m = require_same(b, fallbacks=3)
    assert not m.errors
    with pytest.raises(VectorError, match="needs the model"):  # said, not guessed
        exact.margins(narrow, b.batch)


def test_missing_slices_raise_for_their_holders_only() -> None:
    state, _ = tame(32)
    twin = state.clone()
    key = next(iter(twin.buckets))
    twin.buckets[key].forward_ratio_wad = 0
    table = MarketTable.from_state(twin)
    assert not table.usable.all()
    b = Book(twin, table, sample.accounts(MarketTable.from_state(state), 80, width=6, seed=3))
    m = require_same(b)
    assert 0 < len(m.errors) < 80
    assert {e.name for e in m.errors.values()} == {"SliceMissing"}


def test_refusals() -> None:
    state, table = tame(32)
    batch = sample.accounts(table, 3, seed=1)
    narrow = MarketTable.from_state(state, options(table, 5))
    with pytest.raises(VectorError, match="other instruments"):
        exact.margins(narrow, batch)
    with pytest.raises(VectorError, match="different instruments"):
        AccountBatch.concat([batch, AccountBatch.from_accounts(narrow, [], [])])
    with pytest.raises(VectorError, match="no risk parameters"):
        MarketTable.from_state(replace(state, params=None))
    pointer = np.array([0, scan.MAX_ROWS + 1], dtype=np.int64)
    column = np.zeros(scan.MAX_ROWS + 1, dtype=np.int32)
    with pytest.raises(VectorError, match="rows"):
        scan.products(np.ones((3, len(column)), dtype=np.int64), column, pointer, table.lanes)


def test_interest_is_in_the_cash_of_a_batch() -> None:
    state, table = tame(32)
    twin = state.clone()
    twin.supply_index_e15, twin.borrow_index_e15 = 11 * 10**14, 13 * 10**14
    twin.accounts = {
        256: Account(cash_wad=1000 * WAD + 7, interest_index=10**15),
        512: Account(cash_wad=-1000 * WAD - 7, interest_index=10**15),
    }
    m = exact.margins(table, AccountBatch.from_state(table, twin), twin)
    assert m.values("equity") == [1100 * WAD + 7, -1300 * WAD - 10]


def test_the_largest_products_are_exact() -> None:
    """Limbs, lanes and rows at their limits: every sum is the whole number, in float64."""
    rows = 144
    column = np.arange(rows, dtype=np.int32)
    lanes = np.full((rows, 3), 4095.0)
    lanes[::2, 1] = -4095
    lanes[:, 2] = np.arange(rows) - 72
    s = np.full((3, rows), 2**30 - 1, dtype=np.int64)
    s[1] -= np.arange(rows)
    sums = scan.products(s, column, np.array([0, rows], dtype=np.int64), lanes)
    for j in range(3):
        for k in range(3):
            want = sum(int(s[j, r]) * int(lanes[r, k]) for r in range(rows))
            assert int(sums[j][0, k]) == want and float(want) == sums[j][0, k]
