"""A book survives JSON to the wei, and what is no book is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from risk.chain.node import project_root
from risk.exact.state import Settlement, State
from risk.quant import book_json
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config
from risk.quant.whatif import Measure


@pytest.fixture(scope="module")
def book() -> RiskBook:
    made = draw(from_config(project_root() / "configs/local.toml", GENERATED_AT), 25, 6)
    made.state.settlements[20_000] = Settlement(10**20, 3, 5, 6, 7, settled=True)
    made.state.underlyings[1].stable_apart = True
    first = next(iter(made.state.accounts.values()))
    first.margin_call, first.flagged_at = True, 77
    return made


def test_there_and_back(book: RiskBook) -> None:
    text = json.dumps(book_json.to_json(book))
    back = book_json.from_json(json.loads(text))
    assert back.state == book.state
    assert back.state.params == book.state.params
    assert (back.underlyings, back.collaterals) == (book.underlyings, book.collaterals)
    assert (back.labels, back.about) == (book.labels, book.about)
    assert json.dumps(book_json.to_json(back)) == text
    before, after = Measure(book).view(), Measure(back).view()
    assert before.mm == after.mm and before.equity == after.equity


def test_amounts_are_strings_and_orders_are_left_out(book: RiskBook) -> None:
    state = book.state.clone()
    state.filled_wad[b"x"], state.min_nonce[3] = 5, 4
    state.operators[(1, 2)] = 3
    value = book_json.to_json(RiskBook(state, book.underlyings, book.collaterals, {}))

    def leaves(x: Any) -> Any:
        if isinstance(x, dict):
            return [y for v in x.values() for y in leaves(v)]
        if isinstance(x, list):
            return [y for v in x for y in leaves(v)]
        return [x]

    assert all(isinstance(x, (str, bool)) for x in leaves(value["state"]))
    back = book_json.from_json(value).state
    assert (back.filled_wad, back.operators, back.min_nonce) == ({}, {}, {})
    assert back.accounts == state.accounts


def test_every_field_of_a_state_is_kept_or_named() -> None:
    """A field that somebody adds to the state is kept by itself or listed as left out."""
    from dataclasses import fields

    kept = {f.name for f in fields(State)} - set(book_json.LEFT_OUT)
    assert set(book_json.LEFT_OUT) <= {f.name for f in fields(State)}
    assert kept == set(book_json._hints(State)) - set(book_json.LEFT_OUT)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda v: v["state"].update(insurance_wad=5), ValueError),
        (lambda v: v["state"].update(winding_down="yes"), ValueError),
        (lambda v: v["state"].update(nothing="1"), KeyError),
        (lambda v: v["state"].pop("owner"), TypeError),
        (lambda v: v.pop("about"), KeyError),
        (lambda v: v["state"].update(params="0xzz"), ValueError),
    ],
)
def test_what_is_no_book(book: RiskBook, change: Any, error: type[Exception]) -> None:
    value = json.loads(json.dumps(book_json.to_json(book)))
    change(value)
    with pytest.raises(error):
        book_json.from_json(value)
