"""The book as one portfolio for VaR: exact netting, and marks that agree with the exact engine."""

from __future__ import annotations

import copy
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from risk.chain.node import project_root
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config
from risk.quant.generate import generate
from risk.quant.holdings import value
from risk.quant.report import collect
from risk.quant.report.inputs import (
    WAD,
    Inputs,
    Sizes,
    as_portfolio,
    largest_account,
    nets_to_zero,
    plain,
    today,
)
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.fit import Plan
from risk.quant.whatif import Measure


@pytest.fixture(scope="module")
def book() -> RiskBook:
    return draw(from_config(project_root() / "configs" / "local.toml", GENERATED_AT), 60, 2)


def test_netting_is_exact(book: RiskBook) -> None:
    traders = list(book.state.accounts)[:60]
    held = as_portfolio(book, traders)
    mine = [book.state.accounts[number] for number in traders]
    total = sum(x.size_wad for a in mine for x in (*a.linear, *a.options))
    positions = sum((h.units for h in held if h.kind != "collateral"), Decimal(0))
    assert positions * WAD == total
    assert len(held) == len({(h.asset, h.kind, h.strike, h.expiry) for h in held})
    kinds = {h.kind for h in held}
    assert {"perp", "call", "put", "collateral"} <= kinds
    for j, item in enumerate(book.state.collaterals):
        amount = sum(a.collateral[j] for a in book.state.accounts.values())
        if amount and not item.rate_wad:
            name = book.underlyings[item.underlying]
            mine = [h.units for h in held if h.kind == "collateral" and h.asset == name]
            assert Decimal(amount) / 10**item.decimals in mine


def test_on_the_whole_only_collateral_is_left(book: RiskBook) -> None:
    assert nets_to_zero(book)
    assert {h.kind for h in as_portfolio(book)} == {"collateral"}
    number = largest_account(book)
    view = Measure(book).view()
    assert view.mm[view.ids.index(number)] == max(view.mm)
    one = {h.units for h in as_portfolio(book, (number,)) if h.kind != "collateral"}
    account = book.state.accounts[number]
    assert one == {Decimal(x.size_wad) / WAD for x in (*account.linear, *account.options)}
    assert today(book, ["BTC"]) is None
    read = replace(book, about={**book.about, "source": "chain", "time": 5})
    there = today(read, ["LINK", "ETH"])
    assert there is not None and (there.spot.tolist(), there.time) == ([20.0, 3000.0], 5)


def test_option_marks_are_those_of_the_engine(book: RiskBook) -> None:
    """Options of the whole book at their slices' volatilities: the engine's mark equity of the same
    accounts with nothing else, where forwards are the spot and nothing is discounted."""
    state = copy.deepcopy(book.state)
    for bucket in state.buckets.values():
        bucket.forward_ratio_wad = bucket.discount_wad = WAD
    for account in state.accounts.values():
        account.linear, account.cash_wad = [], 0
        account.collateral = [0] * len(account.collateral)
    for number in list(state.accounts)[60:]:
        del state.accounts[number]  # the makers: with them everything nets to zero
    only = RiskBook(state, book.underlyings, book.collaterals, book.labels)
    held = as_portfolio(only)
    assert len(held) > 20
    spot = np.array([u.price_wad / WAD for u in state.underlyings])
    got = value(held, book.underlyings, spot, np.full(spot.size, 0.5), GENERATED_AT)
    view = Measure(only).view()
    assert not view.margins.errors
    assert float(got.units @ got.mark) == pytest.approx(sum(view.mark_equity) / WAD, rel=1e-6)


def test_plain_values() -> None:
    got = plain({1: np.array([1.5, np.nan]), "b": (np.bool_(True), np.int64(3), float("inf"))})
    assert got == {"1": [1.5, None], "b": [True, 3, None]}
    assert type(got["b"][0]) is bool and type(got["b"][1]) is int


def test_the_backtest_is_of_the_last_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every day whose margin period ends in the table, counted from the end."""
    small = Settings(
        Plan(iterations=25, rounds=1, seed=3),
        training=400,
        linear=100,
        validation=300,
        adversaries=0,
    )
    monkeypatch.setattr(collect.Settings, "quick", staticmethod(lambda seed: small))
    table = generate(4, 24 * 240 + 5)
    pair = type(table)(table.assets[:2], table.times, {"close": table.close[:, :2]})
    inputs = Inputs(pair, None, (), {}, ((), ()), 1, None, Sizes(days=3, per_kind=1))
    rolling = collect._roll(inputs, lambda _: None)
    assert rolling.days == 3
    assert 0 <= int(pair.times[-1] - rolling.dates[-1]) - 24 * 3600 < 24 * 3600
    assert rolling.about["plan"]["train_days"] > 180
