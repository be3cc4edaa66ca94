"""Every kind of bad data, given to every command that reads data: exit code 2, one line that names
file, row and column, and nothing written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from risk.cli.main import app
from risk.quant.data import PriceTable, write_prices
from risk.quant.generate import generate
from risk.quant.recommend import STEWARD, Governor, InForce
from risk.quant.recommend_effect import BookSize
from risk.quant.replay import FORMAT, Request, Source
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.factors import Scale
from tests.governance.support import base_params

NAMES = ("ETH", "BTC", "LINK")  # of configs/local.toml, which report and stress take
DAYS = 100
Lines = list[str]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Header and hourly rows; the row in the file is the index plus 1."""
    whole = generate(3, 24 * DAYS)
    close = whole.close[:, [whole.column(name) for name in NAMES]]
    table = PriceTable(NAMES, whole.times, {"close": close})
    file = write_prices(table, tmp_path_factory.mktemp("prices") / "prices.csv")
    return file.read_text().splitlines()


def cell(row: int, column: int, text: str) -> Callable[[Lines], None]:
    def change(rows: Lines) -> None:
        cells = rows[row - 1].split(",")
        cells[column] = text
        rows[row - 1] = ",".join(cells)

    return change


def swap(rows: Lines) -> None:
    rows[100], rows[101] = rows[101], rows[100]


def doubled(rows: Lines) -> None:
    rows.insert(101, rows[100])


def shortened(rows: Lines) -> None:
    del rows[21:]


def mixed(rows: Lines) -> None:
    rows[100] = rows[100].replace("Z", "+01:00")


PRICES: dict[str, tuple[Callable[[Lines], object], str]] = {
    "NaN": (cell(101, 2, "nan"), "row 101, column 'BTC_close': the price is NaN"),
    "negative price": (cell(101, 1, "-5"), "row 101, column 'ETH_close': the price is negative"),
    "no price": (cell(101, 3, ""), "row 101, column 'LINK_close': the price is missing"),
    "one-hour gap": (lambda r: r.pop(100), "row 101, column 'timestamp': gap: 1 row is missing"),
    "duplicated stamp": (doubled, "row 102, column 'timestamp': duplicated time stamp"),
    "unsorted": (swap, "row 102, column 'timestamp': not sorted"),
    "wrong column": (cell(1, 2, "BTC_price"), "row 1, column 'BTC_price': is neither"),
    "no stamps": (cell(1, 0, "time"), "row 1, column 'timestamp': the column is missing"),
    "mixed zones": (mixed, "row 101, column 'timestamp': mixed time zones"),
    "too short": (shortened, "row 21, column 'timestamp': too short"),
}  # fmt: skip


def recommendation(folder: Path) -> Path:
    """A file for `replay` with a request that is well formed; its prices are read first."""
    request = Request(
        source=Source(NAMES, "prices.csv"),
        at=0,
        now=InForce(base_params(), Scale(np.ones(2), np.ones(2))),
        route=STEWARD,
        governor=Governor(),
        settings=Settings.quick(1),
        book=BookSize(10, 1),
    )
    file = folder / "recommendation.json"
    value = {"format": FORMAT, "hashes": {}, "request": request.to_json(), "outcome": {}}
    file.write_text(json.dumps(value))
    return file


# Everything that a command can write goes to the folder `out`, which must not appear.
READERS: dict[str, Sequence[str]] = {
    "calibrate": ("--json", "out/a", "--certificate", "out/b", "--backtest", "out/c"),
    "var": ("--json", "out/a"),
    "backtest": ("--json", "out/a", "--save", "out/b.npz"),
    "stress": ("--json", "out/a"),
    "efficiency": ("--json", "out/a", "--chart", "out/b"),
    "recommend": ("--json", "out/a"),
    "report": ("--json", "out/a", "--out", "out/b"),
    "replay": ("--json", "out/a"),
}


def refused(folder: Path, command: str, *arguments: str | Path) -> str:
    """The one line of the refusal."""
    more = [str(folder / x) if x.startswith("out/") else x for x in READERS[command]]
    result = CliRunner().invoke(app, [command, *map(str, arguments), *more])
    assert result.exit_code == 2, result.output
    assert not (folder / "out").exists(), "nothing is written"
    said = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and "Traceback" not in result.output
    return said[0]


def test_every_command_that_takes_prices_is_here() -> None:
    """By the options of the commands themselves, so that a new one cannot be forgotten."""
    from typer.main import get_command

    commands = getattr(get_command(app), "commands")  # noqa: B009 - a click group
    readers = {n for n, c in commands.items() if any(p.name == "data" for p in c.params)}
    assert readers == set(READERS)
    holders = {n for n, c in commands.items() if any(p.name == "positions" for p in c.params)}
    assert holders & readers == set(HOLDERS)


@pytest.mark.parametrize("case", PRICES)
@pytest.mark.parametrize("command", READERS)
def test_bad_prices(lines: Lines, tmp_path: Path, command: str, case: str) -> None:
    spoil, message = PRICES[case]
    spoilt, bad = list(lines), tmp_path / "prices.csv"
    spoil(spoilt)
    bad.write_text("\n".join(spoilt) + "\n")
    first: tuple[str | Path, ...] = (recommendation(tmp_path),) if command == "replay" else ()
    said = refused(tmp_path, command, *first, "--data", bad)
    if (command, case) == ("calibrate", "too short"):  # judged by the fit, which knows no file
        assert "hours; at least 2160 are needed" in said or f"{bad}, {message}" in said
        return
    assert f"{bad}, {message}" in said


# Positions: with accounts for `stress` and `report`, and `var` takes both kinds.
HEAD = "account,asset,kind,units,strike,expiry"
BOOKS: dict[str, tuple[str, str]] = {
    "empty book": (HEAD, "row 2, column 'account': the book is empty"),
    "NaN": (f"{HEAD}\na,ETH,perp,nan,,", "row 2, column 'units': the value is nan"),
    "zero": (f"{HEAD}\na,ETH,perp,1,,\nb,ETH,perp,0,,", "row 3, column 'units': the value is zero"),
    "owed collateral": (f"{HEAD}\na,ETH,collateral,-1,,", "row 2, column 'units': the value is ne"),
    "wrong column": (
        f"{HEAD},size\na,ETH,perp,1,,,5", "row 1, column 'size': is not one of account, asset"
    ),
    "missing column": ("account,asset,kind\na,ETH,perp", "row 1, column 'units': the column is m"),
    "missing value": (f"{HEAD}\na,ETH,call,1,,2030-01-04", "row 2, column 'strike': the value is"),
    "twice": (f"{HEAD}\na,ETH,perp,1,,\na,ETH,perp,2,,", "row 3, column 'account': 'a' has this"),
    "unknown kind": (f"{HEAD}\na,ETH,swap,1,,", "row 2, column 'kind': 'swap' is not one of"),
    "unknown asset": (f"{HEAD}\na,DOT,perp,1,,", "row 2, column 'asset': no "),
}  # fmt: skip
HOLDERS = ("var", "stress", "report")


@pytest.mark.parametrize("case", BOOKS)
@pytest.mark.parametrize("command", HOLDERS)
def test_bad_books(lines: Lines, tmp_path: Path, command: str, case: str) -> None:
    text, message = BOOKS[case]
    prices, book = tmp_path / "prices.csv", tmp_path / "book.csv"
    prices.write_text("\n".join(lines) + "\n")
    book.write_text(text + "\n")
    said = refused(tmp_path, command, "--data", prices, "--positions", book)
    assert f"{book}, {message}" in said


@pytest.mark.parametrize("command", HOLDERS)
def test_a_float_is_no_amount(lines: Lines, tmp_path: Path, command: str) -> None:
    prices, book = tmp_path / "prices.csv", tmp_path / "book.json"
    prices.write_text("\n".join(lines) + "\n")
    book.write_text('[{"account": "a", "asset": "ETH", "kind": "perp", "units": 1.5}]')
    said = refused(tmp_path, command, "--data", prices, "--positions", book)
    assert re.search(r"book\.json, row 1, column 'units': 1\.5 is a float", said)
