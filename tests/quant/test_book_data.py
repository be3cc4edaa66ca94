"""Positions from files: what is read, and what is refused with file, row and column."""

from __future__ import annotations

import csv
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from risk.chain.node import project_root
from risk.exact.margin import instrument_id, margin_engine
from risk.quant.book_data import book_from_file, decimal_text, read_positions, to_rows
from risk.quant.book_market import GENERATED_AT, RiskBook, draw, from_config
from risk.quant.errors import DataError, QuantError

CONFIG = project_root() / "configs/local.toml"
HEADER = "account,asset,kind,units,strike,expiry,entry_price"
WAD = 10**18


@pytest.fixture(scope="module")
def market() -> RiskBook:
    return from_config(CONFIG, GENERATED_AT, listed=False)


def written(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "book.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_book_by_hand(tmp_path: Path, market: RiskBook) -> None:
    path = written(
        tmp_path,
        "alice,USDC,cash,25000.000000000000000001,,,",
        "alice,WETH,collateral,3.5,,,",
        "alice,ETH,perp,-10.25,,,3011.5",
        "bob,BTC,perp,2,,,",
        "bob,ETH,call,-4,3210,2026-01-31,",
        "bob,ETH,future,1,,2026-01-31,",
        "bob,USDC,cash,-7,,,",
    )
    book = book_from_file(path, market)
    alice, bob = book.state.accounts.values()
    assert alice.cash_wad == 25_000 * WAD + 1
    assert alice.collateral[0] == 35 * 10**17
    perp = alice.linear[0]
    assert (perp.size_wad, perp.quote_wad) == (-1025 * 10**16, 10_250 * 30_115 * 10**14)
    # opened at the mark: no profit
    assert bob.linear[0].quote_wad == -2 * book.state.underlyings[1].price_wad
    future = bob.linear[1]
    assert -future.quote_wad == 10_033 * book.state.underlyings[0].price_wad // 10_000
    option = bob.options[0]
    day = instrument_id.expiry_day(option.instrument)
    assert book.state.buckets[day].strikes_wad == [3210 * WAD]
    assert option.size_wad == -4 * WAD and bob.cash_wad == -7 * WAD
    assert [book.label(n) for n in book.state.accounts] == ["alice", "bob"]
    assert book.about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    m = margin_engine.compute(book.state, 512, bob)
    assert m.mark_equity < -7 * WAD  # the call is owed
    assert not market.state.accounts and not market.state.buckets[day].strikes_wad


def test_open_interest_is_never_below_a_holder(tmp_path: Path, market: RiskBook) -> None:
    rows = ["a,ETH,perp,5,,,", "b,ETH,perp,-2,,,", "c,ETH,perp,1.5,,,"]
    state = book_from_file(written(tmp_path, *rows), market).state
    assert state.open_interest[0] == 65 * 10**17
    assert state.underlyings[0].open_interest_wad == 5 * WAD


@pytest.mark.parametrize("kind", ["csv", "json", "object", "parquet"])
def test_a_drawn_book_survives_every_format(tmp_path: Path, market: RiskBook, kind: str) -> None:
    book = draw(from_config(CONFIG, GENERATED_AT), 40, 3)
    rows = to_rows(book)
    path = tmp_path / f"book.{'json' if kind == 'object' else kind}"
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text(json.dumps({"positions": rows} if kind == "object" else rows))
    again = book_from_file(path, market)
    assert to_rows(again) == rows
    for number, account in book.state.accounts.items():
        want = margin_engine.compute(book.state, number, account)
        got = margin_engine.compute(again.state, number, again.state.accounts[number])
        assert got == want


def test_parquet_keeps_decimals_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "book.parquet"
    pl.DataFrame(
        {
            "account": ["a"],
            "asset": ["ETH"],
            "kind": ["call"],
            "units": pl.Series(["1.25"]).cast(pl.Decimal(20, 4)),
            "strike": pl.Series(["3000"]).cast(pl.Decimal(20, 4)),
            "expiry": pl.Series(["2026-01-31"]).str.to_date(),
        }
    ).write_parquet(path)
    (position,) = read_positions(path)
    assert position.units == Decimal("1.25") and position.strike == 3000
    assert position.day == 20_484


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ("a,ETH,perp,NaN,,,", "units", "the value is NaN"),
        ("a,ETH,perp,inf,,,", "units", "the value is inf"),
        ("a,ETH,perp,1e3,,,", "units", "no plain decimal"),
        ("a,ETH,perp,,,,", "units", "missing"),
        ("a,ETH,perp,0,,,", "units", "zero"),
        ("a,ETH,perp,0.0000000000000000001,,,", "units", "more than 18 decimals"),
        ("a,ETH,perp,99999999999999,,,", "units", "too large"),
        (",ETH,perp,1,,,", "account", "missing"),
        ("a,,perp,1,,,", "asset", "missing"),
        ("a,DOGE,perp,1,,,", "asset", "no underlying 'DOGE'; there are ETH, BTC, LINK"),
        ("a,USDT,collateral,1,,,", "asset", "no collateral 'USDT'"),
        ("a,WBTC,collateral,0.000000001,,,", "units", "more than 8 decimals"),
        ("a,WETH,collateral,-1,,,", "units", "collateral cannot be owed"),
        ("a,ETH,swap,1,,,", "kind", "'swap' is not one of"),
        ("a,ETH,call,1,,2026-01-31,", "strike", "missing"),
        ("a,ETH,call,1,-3000,2026-01-31,", "strike", "negative"),
        ("a,ETH,call,1,3000,,", "expiry", "missing"),
        ("a,ETH,call,1,3000,31/01/2026,", "expiry", "not an ISO date"),
        ("a,ETH,call,1,3000,2026-02-01,", "expiry", "no slice for ETH 2026-02-01; there are 2026"),
        ("a,ETH,call,1,3000,2026-01-31,12", "entry_price", "a call has none"),
        ("a,ETH,perp,1,3000,,", "strike", "a perp has none"),
        ("a,ETH,perp,1,,2026-01-31,", "expiry", "a perp has none"),
        ("a,ETH,perp,1,,,-3", "entry_price", "negative"),
        ("ok,ETH,perp,2,,,", "account", "'ok' has this perp already in row 2"),
    ],
)
def test_refuses_a_row(
    tmp_path: Path, market: RiskBook, row: str, column: str, message: str
) -> None:
    path = written(tmp_path, "ok,ETH,perp,1,,,", row)
    with pytest.raises(DataError) as caught:
        book_from_file(path, market)
    error = caught.value
    assert (error.file, error.row, error.column) == (path, 3, column)
    assert message in str(error)
    assert f"{path}, row 3, column {column!r}" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (HEADER + "\n", "the book is empty"),
        ("account,asset,units\na,ETH,1\n", "column 'kind': the column is missing"),
        (HEADER + ",colour\na,ETH,perp,1,,,,red\n", "column 'colour': is not one of"),
        (HEADER + "\na,ETH,perp,1\n", "row 2: the line has 4 fields"),
    ],
)
def test_refuses_a_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "book.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_positions(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("3", "neither a list"),
        ("[]", "the book is empty"),
        ('{"positions": []}', "the book is empty"),
        ("[4]", "row 1: the position is not an object"),
        (
            '[{"account": "a", "asset": "ETH", "kind": "perp", "units": 1.5}]',
            "row 1, column 'units': 1.5 is a float; write it as a string",
        ),
    ],
)
def test_refuses_json(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "book.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_positions(path)


def test_two_names_of_one_account_are_refused(tmp_path: Path, market: RiskBook) -> None:
    first = "0x" + "0" * 38 + "0200"  # the id that the second name would get
    path = written(tmp_path, f"{first},ETH,perp,1,,,", "bob,ETH,perp,1,,,")
    with pytest.raises(DataError, match=r"row 3.*'bob' is the account of"):
        book_from_file(path, market)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: cannot be read: No such file"):
        read_positions(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("prices", "message"),
    [({"DOGE": "1"}, "which local.toml does not list"), ({"ETH": "-1"}, "must be above 0")],
)
def test_refuses_prices(prices: dict[str, str], message: str) -> None:
    given: dict[str, Any] = {name: Decimal(x) for name, x in prices.items()}
    with pytest.raises(QuantError, match=message):
        from_config(CONFIG, GENERATED_AT, given)


def test_a_configuration_without_prices_asks_for_them() -> None:
    with pytest.raises(QuantError, match=r"sepolia.toml has no price of \w+: give one"):
        from_config(project_root() / "configs/sepolia.toml", GENERATED_AT)


def test_decimal_text_is_exact() -> None:
    assert decimal_text(-1, 18) == "-0.000000000000000001"
    assert decimal_text(1500, 3) == "1.5" and decimal_text(-3 * WAD) == "-3"
    assert decimal_text(7, 0) == "7"
