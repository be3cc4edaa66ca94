"""Reading prices: what is accepted is read exactly, what is not is refused with its place."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from risk.quant.data import PriceTable, read_prices, write_prices
from risk.quant.errors import DataError, QuantError

HEADER = "timestamp,BTC_close,ETH_close"
ROWS = [
    "2024-04-16T01:00:00Z,63147.5,3079.21",
    "2024-04-16T02:00:00Z,63401.55,3081.5",
    "2024-04-16T03:00:00Z,63000,3060",
    "2024-04-16T04:00:00Z,62900.25,3050.01",
]
FIRST = 1_713_229_200  # 2024-04-16T01:00:00Z


def write(folder: Path, rows: list[str], header: str = HEADER, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def replaced(index: int, row: str) -> list[str]:
    return [row if i == index else old for i, old in enumerate(ROWS)]


# ----------------------------------------------------------------------------------------- reading


def test_values_times_and_order(tmp_path: Path) -> None:
    table = read_prices(write(tmp_path, ROWS), ["ETH", "BTC"])
    assert table.assets == ("ETH", "BTC")
    assert table.times.tolist() == [FIRST + 3600 * i for i in range(4)]
    assert table.close[:, 1].tolist() == [63147.5, 63401.55, 63000.0, 62900.25]
    assert table.close[:, 0].tolist() == [3079.21, 3081.5, 3060.0, 3050.01]
    assert table.notices == ()


def test_offsets_are_converted_to_utc(tmp_path: Path) -> None:
    rows = [row.replace("Z,", "+0530,") for row in ROWS]
    table = read_prices(write(tmp_path, rows))
    assert table.times[0] == FIRST - 19_800  # 01:00 at +05:30 is 19:30 the day before
    assert read_prices(write(tmp_path, [r.replace("Z", "+00:00") for r in ROWS])).times[0] == FIRST


def test_bare_names_spaces_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    text = "\r\n".join(["timestamp, BTC ,ETH", *[row.replace(",", ", ") for row in ROWS], "", ""])
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_prices(path).close[0].tolist() == [63147.5, 3079.21]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_round_trip_of_every_format(tmp_path: Path, market: PriceTable, name: str) -> None:
    path = write_prices(market, tmp_path / name)
    back = read_prices(path)
    assert back.assets == market.assets
    assert set(back.fields) == set(market.fields)
    for field, values in market.fields.items():
        assert np.array_equal(back.fields[field], values), field
    assert back.sha256() == market.sha256()
    assert [p.name for p in tmp_path.iterdir()] == [name]  # no temporary file is left


def test_same_table_gives_the_same_bytes(tmp_path: Path, market: PriceTable) -> None:
    for suffix in (".csv", ".csv.gz"):
        one, two = (write_prices(market, tmp_path / f"{n}{suffix}").read_bytes() for n in "ab")
        assert one == two


def test_hash_sees_every_part(market: PriceTable) -> None:
    close = market.close.copy()
    close[17, 2] = np.nextafter(close[17, 2], np.inf)
    changed = PriceTable(market.assets, market.times, {**market.fields, "close": close})
    moved = PriceTable(market.assets, market.times + 3600, market.fields)
    renamed = PriceTable(("X", *market.assets[1:]), market.times, market.fields)
    fewer = PriceTable(market.assets, market.times, {"close": market.close})
    hashes = {t.sha256() for t in (market, changed, moved, renamed, fewer)}
    assert len(hashes) == 5


def test_parquet_with_date_times(tmp_path: Path) -> None:
    stamps = pl.Series("timestamp", np.array([FIRST, FIRST + 3600]) * 1_000_000)
    aware = stamps.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame({"timestamp": aware, "BTC_close": [1.5, 2.5]})
    frame.write_parquet(tmp_path / "aware.parquet")
    assert read_prices(tmp_path / "aware.parquet").times.tolist() == [FIRST, FIRST + 3600]
    naive = frame.with_columns(pl.col("timestamp").dt.replace_time_zone(None))
    naive.write_parquet(tmp_path / "naive.parquet")
    with pytest.raises(DataError, match=r"naive\.parquet, row 1, column 'timestamp': .*no zone"):
        read_prices(tmp_path / "naive.parquet")
    assert read_prices(tmp_path / "naive.parquet", naive_as_utc=True).times[0] == FIRST


def test_returns(tmp_path: Path) -> None:
    table = read_prices(write(tmp_path, ROWS))
    assert table.simple_returns(2)[:, 0] == pytest.approx(
        [63000 / 63147.5 - 1, 62900.25 / 63401.55 - 1]
    )
    assert table.log_returns()[:, 1] == pytest.approx(
        np.log([3081.5 / 3079.21, 3060 / 3081.5, 3050.01 / 3060])
    )
    assert table.rows(1, 3).close[0, 0] == 63401.55
    with pytest.raises(QuantError, match="steps = 4"):
        table.log_returns(4)
    with pytest.raises(QuantError, match="no asset 'DOGE'; the table holds BTC, ETH"):
        table.column("DOGE")


def test_spikes_are_noticed_and_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.001 * rng.standard_normal(200)))
    close[120] *= 10  # a misplaced decimal point
    times = FIRST + 3600 * np.arange(200)
    table = PriceTable(("BTC",), times, {"close": close[:, None]})
    back = read_prices(write_prices(table, tmp_path / "spike.csv"))
    assert back.close[120, 0] == close[120]
    assert len(back.notices) == 1
    assert "row 122, column 'BTC'" in back.notices[0]


def test_real_hourly_prices(crypto_file: Path) -> None:
    table = read_prices(crypto_file)
    assert table.assets == ("BTC", "ETH", "SOL")
    assert table.close.shape == (17_520, 3)
    assert (table.times[0], table.times[-1]) == (FIRST, 1_776_297_600)  # 2026-04-16T00Z
    assert table.close[0].tolist() == [63147.5, 3079.21, 137.65]


# ---------------------------------------------------------------------------------------- refusals

# rows, header, row and column that the error must name, words that it must contain
BAD_TABLES: dict[str, tuple[list[str], str, int | None, str | None, str]] = {
    "NaN": (replaced(1, "2024-04-16T02:00:00Z,63401.55,NaN"), HEADER, 3, "ETH_close", "is NaN"),
    "missing value": (replaced(2, "2024-04-16T03:00:00Z,,1"), HEADER, 4, "BTC_close", "missing"),
    "negative": (
        replaced(0, "2024-04-16T01:00:00Z,-5,3"), HEADER, 2, "BTC_close", "negative: -5"
    ),
    "zero": (replaced(3, "2024-04-16T04:00:00Z,1,0.0"), HEADER, 5, "ETH_close", "is zero"),
    "infinite": (replaced(3, "2024-04-16T04:00:00Z,inf,1"), HEADER, 5, "BTC_close", "infinite"),
    "text": (
        replaced(3, "2024-04-16T04:00:00Z,1_000,1"), HEADER, 5, "BTC_close", "'1_000' is not a"
    ),
    "gap": (
        ROWS[:2] + ROWS[3:], HEADER, 4, "timestamp", "gap: 1 row is missing between 2024-04-16T02"
    ),
    "long gap": (ROWS[:1] + ROWS[3:], HEADER, 3, "timestamp", "2 rows are missing"),
    "off the grid": (
        replaced(3, "2024-04-16T03:30:00Z,1,1"), HEADER, 5, "timestamp", "is 1800 s after"
    ),
    "duplicate": (
        ROWS[:3] + ROWS[2:], HEADER, 5, "timestamp", "duplicated time stamp 2024-04-16T03:00:00Z"
    ),
    "late duplicate": ([*ROWS, ROWS[0]], HEADER, 6, "timestamp", "first in row 2"),
    "unsorted": (ROWS[1:] + ROWS[:1], HEADER, 5, "timestamp", "not sorted: 2024-04-16T01"),
    "two rows swapped": (
        [ROWS[0], ROWS[2], ROWS[1], ROWS[3]], HEADER, 4, "timestamp",
        "not sorted: 2024-04-16T02:00:00Z comes after 2024-04-16T03:00:00Z; it belongs in row 3",
    ),
    "a row put off": (
        [ROWS[0], *ROWS[2:], ROWS[1]], HEADER, 5, "timestamp", "it belongs in row 3"
    ),
    "mixed zones": (
        replaced(2, "2024-04-16T05:00:00+02:00,1,1"),
        HEADER, 4, "timestamp", "mixed time zones: '+02:00' here, '+00:00' in row 2",
    ),
    "zone lost": (
        replaced(2, "2024-04-16T03:00:00,1,1"), HEADER, 4, "timestamp", "no zone here"
    ),
    "no zones": ([r.replace("Z", "") for r in ROWS], HEADER, 2, "timestamp", "has no zone"),
    "not a stamp": (replaced(1, "16.04.2024,1,1"), HEADER, 3, "timestamp", "not an ISO 8601"),
    "no such day": (
        replaced(1, "2024-02-30T02:00:00Z,1,1"), HEADER, 3, "timestamp", "not a date and time"
    ),
    "stamp missing": (replaced(1, ",1,1"), HEADER, 3, "timestamp", "stamp is missing"),
    "wrong field": (ROWS, "timestamp,BTC_close,ETH_clsoe", 1, "ETH_clsoe", "is neither"),
    "no stamps": (ROWS, "time,BTC,ETH", 1, "timestamp", "the file has time, BTC, ETH"),
    "column twice": (ROWS, "timestamp,BTC,BTC", 1, "BTC", "occurs twice"),
    "asset twice": (ROWS, "timestamp,BTC,BTC_close", 1, "BTC_close", "same as column 'BTC'"),
    "no close": (ROWS, "timestamp,BTC_close,ETH_high", 1, "ETH_close", "missing; assets with"),
    "field too many": (replaced(2, ROWS[2] + ",9"), HEADER, 4, None, "has 4 fields; the header"),
    "field too few": (replaced(2, "2024-04-16T03:00:00Z,1"), HEADER, 4, None, "has 2 fields"),
    "blank line": (replaced(2, ""), HEADER, 4, None, "is blank"),
    "header only": ([], HEADER, 2, "timestamp", "without any row"),
    "above the high": (
        ["2024-04-16T01:00:00Z,5,6", "2024-04-16T02:00:00Z,5,4"],
        "timestamp,BTC_close,BTC_high", 3, "BTC_close", "5.0 is above the high 4.0",
    ),
    "below the low": (
        ["2024-04-16T01:00:00Z,5,6", "2024-04-16T02:00:00Z,5,4"],
        "timestamp,BTC_close,BTC_low", 2, "BTC_close", "5.0 is below the low 6.0",
    ),
    "negative volume": (
        ["2024-04-16T01:00:00Z,5,0", "2024-04-16T02:00:00Z,5,-1"],
        "timestamp,BTC_close,BTC_volume", 3, "BTC_volume", "the volume is negative: -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_name_file_row_and_column(tmp_path: Path, case: str) -> None:
    rows, header, row, column, words = BAD_TABLES[case]
    path = write(tmp_path, rows, header)
    with pytest.raises(DataError) as caught:
        read_prices(path)
    assert (caught.value.file, caught.value.row, caught.value.column) == (path, row, column)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert row is None or f"row {row}" in message
    assert [p.name for p in tmp_path.iterdir()] == ["prices.csv"]


def test_first_bad_value_by_row_wins(tmp_path: Path) -> None:
    rows = replaced(1, "2024-04-16T02:00:00Z,1,x")
    rows[2] = "2024-04-16T03:00:00Z,y,1"
    with pytest.raises(DataError, match="row 3, column 'ETH_close'"):
        read_prices(write(tmp_path, rows))


def test_too_short(tmp_path: Path) -> None:
    said = r"row 5, column 'timestamp': too short: ends after 4 rows, at least 500"
    with pytest.raises(DataError, match=said):
        read_prices(write(tmp_path, ROWS), min_rows=500)


def test_unknown_asset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'SOL_close': .* BTC, ETH"):
        read_prices(write(tmp_path, ROWS), ["BTC", "SOL"])


BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "absent": ("a.csv", lambda path: None, "cannot be read: No such file"),
    "empty": ("a.csv", lambda path: path.write_bytes(b""), "the file is empty"),
    "blank": ("a.csv", lambda path: path.write_bytes(b"\n\n"), "the file is empty"),
    "Latin-1": ("a.csv", lambda path: path.write_bytes(b"timestamp\n\xe9\n"), "row 2: is not UTF"),
    "no gzip": ("a.csv.gz", lambda path: path.write_bytes(b"timestamp"), "not a complete gzip"),
    "cut gzip": (
        "a.csv.gz",
        lambda path: path.write_bytes(gzip.compress(b"timestamp,BTC\n" * 99)[:-20]),
        "not a complete gzip",
    ),
    "no Parquet": ("a.parquet", lambda path: path.write_bytes(b"timestamp"), "not a Parquet file"),
    "a folder": ("a.csv", lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "other kind": ("a.xlsx", lambda path: path.write_bytes(b"x"), "unknown kind of file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path: Path, case: str) -> None:
    name, make, words = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(DataError, match=words) as caught:
        read_prices(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_quotes(tmp_path: Path) -> None:
    quoted = [",".join(f'"{value}"' for value in row.split(",")) for row in ROWS]
    header = '"timestamp","BTC_close","ETH_close"'
    assert read_prices(write(tmp_path, quoted, header)).close[0, 0] == 63147.5
    broken = {
        '2024-04-16T02:00:00Z,"1\n2",3': "row 3: a field contains a line break",
        '2024-04-16T02:00:00Z,"1,3': "row 3: is not CSV: unexpected end of data",
        '2024-04-16T02:00:00Z,"1"2,3': "row 3: is not CSV: ',' expected after",
    }
    for row, words in broken.items():
        with pytest.raises(DataError, match=words):
            read_prices(write(tmp_path, replaced(1, row)))


def test_damaged_files_raise_nothing_but_data_errors(tmp_path: Path) -> None:
    # 400 seeded damages of a good file: bytes changed, cut out and put in
    rng = np.random.default_rng(0)
    path = write(tmp_path, ROWS)
    good = path.read_bytes()
    odd = b'",\n\r\0 ZT:+-0e9.\xff'
    refused = 0
    for _ in range(400):
        bad = bytearray(good)
        at, kind = int(rng.integers(len(good))), int(rng.integers(3))
        stop = (at + 1, at + int(rng.integers(1, 40)), at)[kind]
        bad[at:stop] = b"" if kind == 1 else bytes([odd[int(rng.integers(len(odd)))]])
        path.write_bytes(bad)
        try:
            read_prices(path)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert 200 < refused < 400


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pl.Series("BTC_close", [True, False]), "column 'BTC_close': holds Boolean, not numbers"),
        (pl.Series("BTC_close", [1.0, None]), "row 2, column 'BTC_close': the price is missing"),
        (pl.Series("BTC_close", [1.0, float("nan")]), "row 2, .*: the price is NaN"),
    ],
)
def test_bad_parquet_columns(tmp_path: Path, column: pl.Series, words: str) -> None:
    stamps = pl.Series("timestamp", [row[:20] for row in ROWS[:2]])
    pl.DataFrame([stamps, column]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=words):
        read_prices(tmp_path / "a.parquet")


def test_bad_parquet_stamps(tmp_path: Path) -> None:
    for stamps, words in (
        (pl.Series("timestamp", [1, 2]), "column 'timestamp': holds Int64, not time stamps"),
        (
            pl.Series("timestamp", [0, None], dtype=pl.Datetime("us", "UTC")),
            "row 2, column 'timestamp': the time stamp is missing",
        ),
    ):
        frame = pl.DataFrame([stamps, pl.Series("BTC_close", [1.0, 2.0])])
        frame.write_parquet(tmp_path / "a.parquet")
        with pytest.raises(DataError, match=words):
            read_prices(tmp_path / "a.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, market: PriceTable) -> None:
    path = tmp_path / "prices.txt"
    path.write_text("old")
    with pytest.raises(DataError, match="unknown kind of file"):
        write_prices(market, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["prices.txt"]
