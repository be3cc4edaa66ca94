"""`plumbline var` as it is called: results, bad prices, bad books; a refusal writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from risk.cli.main import app
from risk.quant.data import write_prices
from risk.quant.generate import generate

HOURS = 24 * 150
PRICES = "timestamp,BTC,ETH"
BOOK = """asset,kind,units,strike,expiry,volatility
BTC,perp,-1.5,,,
BTC,put,-10,50000,2024-06-28,0.55
ETH,call,20.000000000000000001,3500,2024-06-28T08:00:00+00:00,
ETH,spot,3,,,
"""


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Header and hourly rows of two assets; the line number in the file is the index plus 1."""
    table = generate(3, HOURS)
    rows = []
    for t, (btc, eth) in zip(table.times, table.close[:, :2], strict=True):
        stamp = f"{pl.from_epoch(pl.Series([int(t)])).dt.strftime('%Y-%m-%dT%H:%M:%SZ')[0]}"
        rows.append(f"{stamp},{btc},{eth}")
    return [PRICES, *rows]


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, " ".join(result.output.split())


QUICK = ("--paths", "1000", "--repetitions", "40")


@pytest.fixture
def good(lines: list[str], tmp_path: Path) -> Path:
    file = tmp_path / "prices.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


# ----------------------------------------------------------------------------------------- results


def test_a_book_from_a_file(good: Path, tmp_path: Path) -> None:
    book, target = tmp_path / "book.csv", tmp_path / "out" / "var.json"
    book.write_text(BOOK)
    arguments = ("var", "--data", good, "--positions", book, *QUICK)
    code, output = call(*arguments, "--json", target)
    assert code == 0, output
    report = json.loads(target.read_text())
    held = report["book"]["positions"]
    assert [h["units"] for h in held] == ["-1.5", "-10", "20.000000000000000001", "3"]
    assert held[1]["strike"] == "50000"
    assert held[1]["expiry"] == held[2]["expiry"]
    methods = {m["method"]: m for m in report["methods"]}
    assert len(methods) == 12
    for name, m in methods.items():
        assert m["failed"] is None, name
        assert m["es"] >= m["var"] > 0.0, name
        assert m["var_band"]["low"] < m["var"], name
        high = m["var_band"]["high"]
        assert high is None or high > m["var"] * 0.999, name
        assert name in output
    again = tmp_path / "again.json"
    assert call(*arguments, "--json", again)[0] == 0
    assert again.read_text() == target.read_text(), "the same seed gives the same bytes"


def test_a_generated_book_and_a_learnt_forecast(tmp_path: Path) -> None:
    target = tmp_path / "var.json"
    arguments = ("--archetype", "short strangle", "--notional", "500000", "--forecast", "ridge")
    code, output = call("var", *arguments, *QUICK, "--json", target)
    assert code == 0, output
    report = json.loads(target.read_text())
    assert report["book"]["gross_notional"] == pytest.approx(500_000, rel=1e-3)
    assert {h["kind"] for h in report["book"]["positions"]} == {"call", "put"}
    assert all(h["units"].startswith("-") for h in report["book"]["positions"])
    assert report["forecast"]["accepted"] is False
    assert f"forecast by ridge: rejected, {report['forecast']['out_of_sample_days']} days" in output
    assert report["forecast"]["reasons"][0] in output


def test_a_book_of_accounts(good: Path, tmp_path: Path) -> None:
    book, target = tmp_path / "book.csv", tmp_path / "var.json"
    book.write_text(
        "account,asset,kind,units,strike,expiry,entry_price\n"
        "alice,USDC,cash,25000,,,\nalice,ETH,perp,-10.25,,,3011.5\nbob,BTC,call,-4,60000,2024-06-28,\n"
    )
    common = ("var", "--data", good, "--positions", book, *QUICK, "--json", target)
    assert call(*common)[0] == 0
    assert len(json.loads(target.read_text())["book"]["positions"]) == 2
    assert call(*common, "--account", "bob")[0] == 0
    assert json.loads(target.read_text())["book"]["positions"][0]["units"] == "-4"
    code, output = call(*common, "--account", "carol")
    assert code == 2
    assert "no position of account 'carol'" in output


# --------------------------------------------------------------------------------------- bad prices


def nan(lines: list[str]) -> None:
    lines[100] = lines[100].rsplit(",", 1)[0] + ",NaN"


def negative(lines: list[str]) -> None:
    stamp, _, eth = lines[100].split(",")
    lines[100] = f"{stamp},-5,{eth}"


def gap(lines: list[str]) -> None:
    del lines[100]


def duplicated(lines: list[str]) -> None:
    lines.insert(100, lines[99])


def unsorted(lines: list[str]) -> None:
    lines[100], lines[101] = lines[101], lines[100]


def short(lines: list[str]) -> None:
    del lines[50:]


def wrong_column(lines: list[str]) -> None:
    lines[0] = "timestamp,BTC,ETH_price"


def mixed_zones(lines: list[str]) -> None:
    lines[100] = lines[100].replace("Z", "+01:00")


BAD_PRICES: list[tuple[Any, str]] = [
    (nan, "bad.csv, row 101, column 'ETH': the price is NaN"),
    (negative, "bad.csv, row 101, column 'BTC': the price is negative: -5"),
    (gap, "bad.csv, row 101, column 'timestamp': gap: 1 row is missing between"),
    (duplicated, "bad.csv, row 101, column 'timestamp': duplicated time stamp"),
    (unsorted, "bad.csv, row 102, column 'timestamp': not sorted: 2024-01-05T04:00:00Z comes"),
    (short, "bad.csv, row 50, column 'timestamp': too short: ends after 49 rows, at least 2184"),
    (wrong_column, "bad.csv, row 1, column 'ETH_price': is neither 'timestamp' nor <ASSET>"),
    (mixed_zones, "bad.csv, row 101, column 'timestamp': mixed time zones: '+01:00' here"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_PRICES, ids=[s.__name__ for s, _ in BAD_PRICES])
@pytest.mark.parametrize("command", ["var", "backtest"])
def test_bad_prices(
    lines: list[str], tmp_path: Path, command: str, spoil: Any, message: str
) -> None:
    bad, target = tmp_path / "bad.csv", tmp_path / "out.json"
    spoilt = list(lines)
    spoil(spoilt)
    bad.write_text("\n".join(spoilt) + "\n")
    code, output = call(command, "--data", bad, "--json", target)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == [bad]
    target.write_text("old")
    assert call(command, "--data", bad, "--json", target)[0] == 2
    assert target.read_text() == "old"


def test_rows_in_reverse_are_called_unsorted(lines: list[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    code, output = call("var", "--data", bad)
    assert code == 2
    assert "bad.csv, row 3, column 'timestamp': not sorted" in output


# ---------------------------------------------------------------------------------------- bad books

HEAD = "asset,kind,units,strike,expiry"
BAD_BOOKS = [
    ("", "book.csv: the file is empty"),
    (HEAD, "book.csv, row 2, column 'asset': the book is empty: a header without any position"),
    ("asset,kind,size\nBTC,perp,1", "book.csv, row 1, column 'size': is not one of asset, kind"),
    ("asset,kind\nBTC,perp", "book.csv, row 1, column 'units': the column is missing"),
    (f"{HEAD}\nBTC,perp,1,,\nDOT,perp,1,,", "row 3, column 'asset': no prices of 'DOT'"),
    (f"{HEAD}\nBTC,swap,1,,", "row 2, column 'kind': 'swap' is not one of"),
    (f"{HEAD}\nBTC,perp,nan,,", "row 2, column 'units': the value is NaN"),
    (f"{HEAD}\nBTC,perp,0,,", "row 2, column 'units': the value is zero"),
    (f"{HEAD}\nBTC,perp,1_0,,", "row 2, column 'units': '1_0' is not a number"),
    (f"{HEAD}\nBTC,perp,,,", "row 2, column 'units': the value is missing"),
    (f"{HEAD}\nBTC,call,1,-5,2030-01-01", "row 2, column 'strike': the value is negative"),
    (f"{HEAD}\nBTC,call,1,,2030-01-01", "row 2, column 'strike': the value is missing"),
    (f"{HEAD}\nBTC,perp,1,5,", "row 2, column 'strike': a perp has none"),
    (f"{HEAD}\nBTC,call,1,5,2020-01-01", "row 2, column 'expiry': lies before the last price"),
    (f"{HEAD}\nBTC,put,1,5,soon", "row 2, column 'expiry': 'soon' is not an ISO date"),
    (f"{HEAD}\nBTC,put,1,5,2030-01-01T08:00:00", "column 'expiry': the time stamp has no zone"),
    (
        f"account,{HEAD}\nann,USD,cash,5,,",
        "book.csv, row 2, column 'kind': the book is empty: cash only",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_BOOKS)
def test_bad_books(good: Path, tmp_path: Path, text: str, message: str) -> None:
    book, target = tmp_path / "book.csv", tmp_path / "out.json"
    book.write_text(text)
    code, output = call("var", "--data", good, "--positions", book, "--json", target)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert not target.exists()


def test_json_and_parquet_books_refuse_floats(good: Path, tmp_path: Path) -> None:
    row = {"asset": "BTC", "kind": "perp", "units": "1.5"}
    for name, write in (
        ("book.json", lambda rows, file: file.write_text(json.dumps({"positions": rows}))),
        ("book.parquet", lambda rows, file: pl.DataFrame(rows).write_parquet(file)),
    ):
        book = tmp_path / name
        write([row], book)
        common = ("var", "--data", good, "--positions", book, *QUICK)
        code, output = call(*common)
        assert code == 0, output
        write([{**row, "units": 1.5}], book)
        code, output = call(*common)
        assert code == 2
        assert "row 1, column 'units': 1.5 is a float; write it as a string" in output
    empty = tmp_path / "empty.json"
    empty.write_text("[]")
    assert "the book is empty" in call("var", "--data", good, "--positions", empty)[1]


def test_bad_options(good: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.csv"
    for arguments, message in (
        (("--alpha", "99"), "alpha = 99.0 is the confidence"),
        (("--confidence", "1"), "must lie strictly within"),
        (("--horizon", "0"), "horizon = 0 hours is not within 1 … 240"),
        (("--horizon", "72"), "at least 100 are needed"),
        (("--archetype", "hedge"), "no archetype 'hedge'"),
        (("--forecast", "oracle"), "unknown model 'oracle'"),
        (("--assets", "BTC,DOT"), "column 'DOT_close'"),
        (("--positions", str(missing)), "none.csv: cannot be read"),
    ):
        target = tmp_path / "out.json"
        code, output = call("var", "--data", good, "--json", target, *arguments)
        assert (code, message in output, target.exists()) == (2, True, False), (arguments, output)


def test_prices_of_parquet(lines: list[str], tmp_path: Path) -> None:
    table = generate(3, HOURS)
    target = tmp_path / "var.json"
    file = write_prices(table, tmp_path / "prices.parquet")
    assert call("var", "--data", file, "--assets", "ETH,BTC", *QUICK, "--json", target)[0] == 0
    assert json.loads(target.read_text())["data"]["hours"] == HOURS
