"""Drawn books: every instrument sums to zero, and accounts are margined as a venue's would be."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from risk.chain.node import project_root
from risk.exact.accounts import work_load
from risk.exact.margin import instrument_id
from risk.exact.state import MAX_POSITIONS, Account, Linear, Option, State
from risk.quant import makers
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config, holdings
from risk.quant.recommend_effect import BookSize, fill_book
from risk.quant.scenarios import exact
from risk.quant.scenarios.book import make_book
from risk.quant.whatif import Measure

CONFIG = project_root() / "configs/local.toml"


def sums(state: State) -> tuple[Counter[int], Counter[int]]:
    """Sizes and quotes by instrument, over all accounts."""
    sizes: Counter[int] = Counter()
    quotes: Counter[int] = Counter()
    for account in state.accounts.values():
        for x in holdings(account):
            sizes[x.instrument] += x.size_wad
            if isinstance(x, Linear):
                quotes[x.instrument] += x.quote_wad
    return sizes, quotes


@pytest.fixture(scope="module")
def market() -> RiskBook:
    return from_config(CONFIG, GENERATED_AT)


@pytest.mark.parametrize(("count", "seed"), [(1, 1), (7, 2), (400, 3)])
def test_a_drawn_book_sums_to_zero(market: RiskBook, count: int, seed: int) -> None:
    book = draw(market, count, seed)
    sizes, quotes = sums(book.state)
    assert len(sizes) > 0 and set(sizes.values()) == set(quotes.values()) == {0}
    assert book.about["traders"] == count
    assert book.about["accounts"] == len(book.state.accounts) == count + book.about["makers"]
    assert next(n for n in book.labels.values() if n.startswith("maker-")) == "maker-0"
    # open interest is then what the vault would have: the sum of the longs
    longs: Counter[int] = Counter()
    for account in book.state.accounts.values():
        for x in holdings(account):
            longs[x.instrument] += max(0, x.size_wad)
    assert book.state.open_interest == dict(longs)


def test_the_book_of_a_recommendation_sums_to_zero(market: RiskBook) -> None:
    params = market.state.params
    assert params is not None
    columns = make_book(np.array([0.6, 0.5, 0.8]))
    bare = replace(params, collaterals=())
    state = exact.make_state(columns, [3000.0, 100_000.0, 20.0], GENERATED_AT, bare)
    fill_book(state, columns, GENERATED_AT, BookSize(210, 4))
    sizes, quotes = sums(state)
    assert len(sizes) > 40 and set(sizes.values()) == set(quotes.values()) == {0}
    assert len(state.accounts) == 210 + 2 * 3, "two makers for each of three underlyings"


def test_accounts_are_margined_as_the_distribution_says(market: RiskBook) -> None:
    book = draw(market, 500, 9)
    view = Measure(book).view()
    assert (view.status >= 2).all(), "nobody starts below maintenance margin"
    ratio = np.array([e / m for e, m in zip(view.equity, view.mm, strict=True)])
    trader, maker = ratio[:500], ratio[500:]
    assert float(np.median(trader)) == pytest.approx(2.5, abs=0.2)
    assert trader.min() >= 1.02 - 1e-12 and trader.max() <= 20.0 + 1e-12
    assert 0.005 < float((trader < 1.3).mean()) < 0.08
    assert 0.02 < float((trader > 7.6).mean()) < 0.10
    assert maker == pytest.approx(8.0)


def test_many_traders_fit_a_small_market(market: RiskBook) -> None:
    """Open interest stays within half of the depth, so that nobody owes more for size than for
    risk; in a deep market the sizes are what was drawn."""
    book = draw(market, 1500, 5)
    params = book.state.params
    assert params is not None
    for u, data in zip(params.underlyings, book.state.underlyings, strict=True):
        assert 0 < data.open_interest_wad <= u.depth_wad // 2
    view = Measure(book).view()
    assert float((view.status == 3).mean()) > 0.95
    account = Account(linear=[Linear(0, -7, 9)], options=[Option(3 << 26, 5), Option(2 << 26, 1)])
    deep, shallow = (
        replace(book.state, params=replace(params, underlyings=(replace(u, depth_wad=d),) * 3))
        for u, d in ((params.underlyings[0], 10**30), (params.underlyings[0], 13))
    )
    twin = copy.deepcopy(account)
    makers.fit(deep, [twin])
    assert twin == account
    makers.fit(shallow, [twin])  # 6 of 13 in all: sizes and quotes times 6/13, towards zero
    assert twin == Account(linear=[Linear(0, -3, 4)], options=[Option(3 << 26, 2)])


def test_makers_by_hand() -> None:
    """Three traders, one maker a side; what does not divide goes to the first."""
    eth, btc = 0, 1 << 28
    traders = [
        Account(linear=[Linear(eth, 5, -50)], options=[Option(btc | 2 << 26, -3)]),
        Account(linear=[Linear(eth, -2, 21)]),
        Account(options=[Option(btc | 2 << 26, 3)]),
    ]
    assert makers.makers(traders) == [Account(linear=[Linear(eth, -3, 29)])]
    assert makers._share(-7, 2, 0) + makers._share(-7, 2, 1) == -7
    assert makers.makers([Account()]) == []


def test_no_maker_is_too_heavy(market: RiskBook) -> None:
    """More instruments of one underlying than one account may hold are shared out."""
    many = [
        Option(instrument_id.encode(0, kind, 20_000 + day, strike), 10**18)
        for kind in (2, 3)
        for day in range(5)
        for strike in range(20)
    ]
    trader = Account(options=many)
    found = makers.makers([trader])
    assert len(found) == 4
    for account in found:
        assert len(holdings(account)) <= makers.MAX_ENTRIES < MAX_POSITIONS
        assert work_load.load(64, account) <= work_load.LIMIT
    assert sorted(x.instrument for a in found for x in a.options) == sorted(
        x.instrument for x in many
    )
