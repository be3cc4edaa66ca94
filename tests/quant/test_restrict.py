"""Fewer underlyings: who stays has exactly the margin that it had, and what went is said."""

from __future__ import annotations

import pytest

from risk.chain.node import project_root
from risk.exact.margin import instrument_id, margin_engine
from risk.exact.params import params_logic
from risk.exact.state import Account
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config, holdings
from risk.quant.errors import QuantError
from risk.quant.restrict import restrict, subset
from risk.quant.whatif import Measure


@pytest.fixture(scope="module")
def book() -> RiskBook:
    return draw(from_config(project_root() / "configs/local.toml", GENERATED_AT), 60, 4)


def touches(book: RiskBook, account: Account, name: str) -> bool:
    """Whether an account holds anything of an underlying, by its own reading of the state."""
    u = book.underlying(name)
    if any(instrument_id.underlying(x.instrument) == u for x in holdings(account)):
        return True
    return any(
        amount and book.state.collaterals[j].underlying == u
        for j, amount in enumerate(account.collateral[: len(book.collaterals)])
    )


@pytest.mark.parametrize("gone", ["ETH", "BTC", "LINK"])
def test_margins_of_who_stays_are_the_same(book: RiskBook, gone: str) -> None:
    names = [name for name in book.underlyings if name != gone]
    part = restrict(book, list(reversed(names)))
    assert list(part.underlyings) == names, "the order of the book"
    stay = {n for n, a in book.state.accounts.items() if not touches(book, a, gone)}
    assert set(part.state.accounts) == stay and 0 < len(stay) < len(book.state.accounts)
    before, after = Measure(book).view(), Measure(part).view()
    assert not after.margins.errors
    for i, number in enumerate(after.ids):
        assert after.margins.row(i) == before.margins.row(before.ids.index(number))
        account = part.state.accounts[number]
        assert margin_engine.compute(part.state, number, account) == after.margins.row(i)
        assert part.label(number) == book.label(number)
    left = part.about["left_out"]
    positions = sum(len(holdings(a)) for n, a in book.state.accounts.items() if n not in stay)
    assert left["underlyings"] == [gone]
    assert (left["accounts"], left["positions"]) == (
        len(book.state.accounts) - len(stay),
        positions,
    )
    assert left["of_accounts"] == len(book.state.accounts)
    assert part.about["accounts"] == len(stay)
    assert part.state.params is not None
    params_logic.validate(part.state, part.state.params.blob)
    key = part.underlying(names[1])
    assert part.state.underlyings[key] == book.state.underlyings[book.underlying(names[1])]
    old, new = (
        {(b.underlying(names[1]), k & 0xFFFFFFF): v for k, v in b.state.open_interest.items()
         if k >> 28 == b.underlying(names[1])}
        for b in (book, part)
    )  # fmt: skip
    assert {k[1]: v for k, v in old.items()} == {k[1]: v for k, v in new.items()}


def test_everything_asked_for_changes_nothing(book: RiskBook) -> None:
    assert restrict(book, ["LINK", "ETH", "BTC"]) is book


def test_what_cannot_be_asked_for(book: RiskBook) -> None:
    with pytest.raises(QuantError, match="no underlying 'SOL'; the book has ETH, BTC, LINK"):
        restrict(book, ["SOL"])
    with pytest.raises(QuantError, match="no underlying is left"):
        restrict(book, [])
    only = RiskBook(book.state.clone(), book.underlyings, book.collaterals, book.labels, book.about)
    only.state.accounts = {n: a for n, a in only.state.accounts.items() if touches(book, a, "LINK")}
    with pytest.raises(QuantError, match="no account is left"):
        restrict(only, ["ETH", "BTC"])


def test_parameters_of_a_part(book: RiskBook) -> None:
    params = book.state.params
    assert params is not None
    part = subset(params, (1, 2))
    assert part.underlyings == params.underlyings[1:]
    assert [c.underlying for c in part.collaterals] == [0, 1]
    assert part.weights_bps == params.weights_bps and part.im_factor_bps == params.im_factor_bps
    assert subset(params, (0, 1, 2)) == params
