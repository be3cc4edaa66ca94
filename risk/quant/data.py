"""Price tables from CSV, gzipped CSV and Parquet, and back.

One file is one wide table: a column `timestamp` and, per asset, `<ASSET>_close` with optional
`<ASSET>_high`, `_low` and `_volume`; a bare `<ASSET>` is short for `<ASSET>_close`::

    timestamp,BTC_close,ETH_close
    2024-04-16T01:00:00Z,63147.5,3079.21

Stamps are ISO 8601 with a zone, one zone per file, strictly one step apart; prices are positive
and finite. Everything else is refused with a `DataError` that names file, row and column.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant import data_checks
from risk.quant.errors import DataError, QuantError

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]

TIMESTAMP: Final = "timestamp"
FIELDS: Final = ("close", "high", "low", "volume")
HOUR: Final = 3600  # seconds

_COLUMN: Final = re.compile(r"^(?P<asset>[A-Za-z][A-Za-z0-9.]*)(?:_(?P<field>[a-z]+))?$")


@dataclass(frozen=True, eq=False)
class PriceTable:
    """Prices of n assets at T equally spaced times, oldest first.

    `times` (T,): Unix seconds, UTC, the end of each interval. `fields` maps `close` (always
    there) and, where the file has them for every asset, `high`, `low`, `volume` to (T, n) arrays:
    prices in the quote currency, volume in units of the asset. `notices` are remarks about
    suspicious but admissible values.
    """

    assets: tuple[str, ...]
    times: NDArray[np.int64]
    fields: Mapping[str, Floats]
    step_seconds: int = HOUR
    source: str = "memory"
    notices: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.assets))
        if "close" not in self.fields:
            raise QuantError("a price table needs the field 'close'")
        for name, values in self.fields.items():
            if name not in FIELDS or values.shape != shape:
                raise QuantError(f"field {name!r} has shape {values.shape}, expected {shape}")

    @property
    def close(self) -> Floats:
        """Closing prices, (T, n)."""
        return self.fields["close"]

    def column(self, asset: str) -> int:
        """Position of `asset` along axis 1."""
        if asset not in self.assets:
            raise QuantError(f"no asset {asset!r}; the table holds {', '.join(self.assets)}")
        return self.assets.index(asset)

    def select(self, assets: Sequence[str]) -> PriceTable:
        """The table of these assets, in this order (nothing else is copied)."""
        chosen = [self.column(asset) for asset in assets]
        parts = {name: values[:, chosen] for name, values in self.fields.items()}
        return PriceTable(tuple(assets), self.times, parts, self.step_seconds, self.source)

    def log_returns(self, steps: int = 1) -> Floats:
        """ln(P[t + steps] / P[t]) at every t (overlapping for steps > 1), (T - steps, n)."""
        self._need(steps)
        logs = np.log(self.close)
        return np.asarray(logs[steps:] - logs[:-steps])

    def simple_returns(self, steps: int = 1) -> Floats:
        """P[t + steps] / P[t] - 1 at every t (overlapping for steps > 1), (T - steps, n)."""
        self._need(steps)
        return np.asarray(self.close[steps:] / self.close[:-steps] - 1.0)

    def rows(self, start: int | None = None, stop: int | None = None) -> PriceTable:
        """The rows start:stop as a table of their own (views, nothing is copied)."""
        cut = slice(start, stop)
        parts = {name: values[cut] for name, values in self.fields.items()}
        return PriceTable(self.assets, self.times[cut], parts, self.step_seconds, self.source)

    def sha256(self) -> str:
        """Hash of the contents (assets, times, values), the same whatever the file format."""
        digest = hashlib.sha256(b"plumbline price table 1\n")
        digest.update(f"{self.step_seconds} {' '.join(self.assets)}\n".encode())
        digest.update(np.ascontiguousarray(self.times, dtype="<i8").tobytes())
        for name in FIELDS:
            if name in self.fields:
                digest.update(f"{name}\n".encode())
                digest.update(np.ascontiguousarray(self.fields[name], dtype="<f8").tobytes())
        return digest.hexdigest()

    def _need(self, steps: int) -> None:
        if not 1 <= steps < len(self.times):
            raise QuantError(f"steps = {steps} is not within 1 … {len(self.times) - 1}")


# --------------------------------------------------------------------------------------- reading


def read_prices(
    path: Path | str,
    assets: Sequence[str] | None = None,
    *,
    step_seconds: int = HOUR,
    min_rows: int = 2,
    naive_as_utc: bool = False,
) -> PriceTable:
    """Reads and checks a price file (`.csv`, `.csv.gz`, `.parquet`).

    `assets` picks and orders the assets; None takes all in file order. Stamps without a zone are
    refused unless `naive_as_utc`. Raises `DataError`; never repairs and never writes.
    """
    file = Path(path)
    frame, first_row = load_frame(file)
    columns = _columns(file, frame.columns, assets, first_row - 1 or None)
    if frame.height == 0:
        message = "the table is empty: a header without any row of data"
        raise DataError(file, message, row=first_row, column=TIMESTAMP)
    if frame.height < min_rows:
        raise DataError(
            file,
            f"too short: ends after {frame.height} rows, at least {min_rows} are needed",
            row=first_row + frame.height - 1,
            column=TIMESTAMP,
        )

    place = data_checks.Place(file, first_row)
    times = data_checks.parse_stamps(place, frame[TIMESTAMP], naive_as_utc=naive_as_utc)
    data_checks.check_grid(place, TIMESTAMP, times, step_seconds)
    names = [name for picked in columns.values() for name in picked.values()]
    values = data_checks.parse_values(place, frame, names)
    data_checks.check_ranges(place, columns, values)

    present = [f for f in FIELDS if all(f in picked for picked in columns.values())]
    fields = {
        f: np.column_stack([values[picked[f]] for picked in columns.values()]) for f in present
    }
    notices = data_checks.find_spikes(place, list(columns), fields["close"])
    return PriceTable(tuple(columns), times, fields, step_seconds, file.name, notices)


def load_frame(file: Path) -> tuple[pl.DataFrame, int]:
    """The raw frame of a `.csv`, `.csv.gz` or `.parquet` file (CSV: every cell a string, nothing
    interpreted) and the row number of its first record: 2 in a CSV, whose header is row 1.

    `DataError` where the file cannot be read or is none of these.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror or error}") from error
    if not raw:
        raise DataError(file, "the file is empty")
    name = file.name.lower()
    if name.endswith(".parquet"):
        return _load_parquet(file, raw), 1
    if name.endswith(".gz"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(file, f"is not a complete gzip file: {error}") from error
    if not name.endswith((".csv", ".csv.gz")):
        raise DataError(file, "unknown kind of file; .csv, .csv.gz and .parquet can be read")
    return _load_csv(file, raw), 2


def _load_csv(file: Path, raw: bytes) -> pl.DataFrame:
    import polars as pl

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        raise DataError(file, "is not UTF-8 text", row=row) from error
    text = text.rstrip("\r\n")
    if not text.strip():
        raise DataError(file, "the file is empty")
    header, records = data_checks.parse_csv(file, text)
    columns = zip(*records, strict=True) if records else [()] * len(header)
    return pl.DataFrame(
        [pl.Series(name, values, pl.String) for name, values in zip(header, columns, strict=True)]
    )


def _load_parquet(file: Path, raw: bytes) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(raw))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(file, f"is not a Parquet file: {error}") from error


def _columns(
    file: Path, header: Sequence[str], wanted: Sequence[str] | None, row: int | None
) -> dict[str, dict[str, str]]:
    """Asset -> field -> column name, in the wanted order. `row` is that of the header, if any."""
    if TIMESTAMP not in header:
        message = f"the column is missing; the file has {', '.join(header)}"
        raise DataError(file, message, row=row, column=TIMESTAMP)
    found: dict[str, dict[str, str]] = {}
    for name in header:
        if name == TIMESTAMP:
            continue
        match = _COLUMN.match(name)
        kind = (match["field"] or "close") if match else None
        if match is None or kind not in FIELDS:
            raise DataError(
                file,
                f"is neither {TIMESTAMP!r} nor <ASSET> nor <ASSET>_ with {', '.join(FIELDS)}",
                row=row,
                column=name,
            )
        fields = found.setdefault(match["asset"], {})
        if kind in fields:
            message = f"says the same as column {fields[kind]!r}"
            raise DataError(file, message, row=row, column=name)
        fields[kind] = name
    for asset in wanted if wanted is not None else found:
        if "close" not in found.get(asset, {}):
            have = ", ".join(a for a, fields in found.items() if "close" in fields) or "none"
            message = f"the column is missing; assets with a close: {have}"
            raise DataError(file, message, row=row, column=f"{asset}_close")
    if not found:
        raise DataError(file, "no asset: a column <ASSET>_close is needed")
    return {a: found[a] for a in wanted} if wanted is not None else found


# --------------------------------------------------------------------------------------- writing


def write_prices(table: PriceTable, path: Path | str) -> Path:
    """Writes a table so that `read_prices` gives back the same contents. Atomic: all or nothing."""
    import polars as pl

    file = Path(path)
    stamps = np.asarray(table.times).astype("datetime64[s]")
    frame = pl.DataFrame({TIMESTAMP: [f"{stamp}Z" for stamp in stamps]})
    for j, asset in enumerate(table.assets):
        for name in FIELDS:
            if name in table.fields:
                frame = frame.with_columns(pl.Series(f"{asset}_{name}", table.fields[name][:, j]))
    buffer = io.BytesIO()
    kind = file.name.lower()
    if kind.endswith(".parquet"):
        frame.write_parquet(buffer)
    elif kind.endswith((".csv", ".csv.gz")):
        frame.write_csv(buffer)
    else:
        raise DataError(file, "unknown kind of file; .csv, .csv.gz and .parquet can be written")
    raw = buffer.getvalue()
    if kind.endswith(".gz"):
        raw = gzip.compress(raw, mtime=0)  # no time stamp: the same table gives the same bytes
    _write_atomically(file, raw)
    return file


def _write_atomically(file: Path, raw: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
