"""The checks behind `read_prices`: stamps, grid, values. Each names file, row and column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.errors import DataError

if TYPE_CHECKING:
    import polars as pl

SPIKE_SIGMAS: Final = 20.0  # robust standard deviations of a step that counts as a spike
SPIKE_REVERSAL: Final = 0.8  # share of the step that the next step must take back

_STAMP: Final = re.compile(
    r"^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::(\d{2})(?:\.0+)?)?\s*(Z|[+-]\d{2}:?\d{2})?$"
)


@dataclass(frozen=True)
class Place:
    """The file, and the row number of its first record."""

    file: Path
    first_row: int

    def error(self, message: str, index: int | None, column: str) -> DataError:
        """The error at record `index` (from 0) of `column`."""
        return DataError(self.file, message, row=self.row(index), column=column)

    def row(self, index: int | None) -> int | None:
        return None if index is None else self.first_row + int(index)


def parse_csv(file: Path, text: str) -> tuple[list[str], list[list[str]]]:
    """Column names and records of a CSV text: one line per record, one field per column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    records: list[list[str]] = []
    try:
        header = [name.strip() for name in next(reader)]
        for position, name in enumerate(header):
            if name in header[:position]:
                raise DataError(file, "the column occurs twice", row=1, column=name)
        for row, fields in enumerate(reader, start=2):
            if reader.line_num != row:
                raise DataError(file, "a field contains a line break", row=row)
            if len(fields) != len(header):
                what = f"has {len(fields)} fields" if fields else "is blank"
                raise DataError(file, f"the line {what}; the header has {len(header)}", row=row)
            records.append(fields)
    except csv.Error as error:
        raise DataError(
            file, f"is not CSV: {error}", row=len(records) + 2 if header else 1
        ) from error
    return header, records


# ---------------------------------------------------------------------------------------- stamps


def parse_stamps(place: Place, column: pl.Series, *, naive_as_utc: bool) -> NDArray[np.int64]:
    """Unix seconds of a column of ISO texts or of date-times; one zone throughout."""
    import polars as pl

    if isinstance(column.dtype, pl.Datetime):
        if column.null_count():
            index = int(column.is_null().arg_true()[0])
            raise place.error("the time stamp is missing", index, column.name)
        if column.dtype.time_zone is None and not naive_as_utc:
            raise place.error(_NO_ZONE, 0, column.name)
        return np.asarray(column.dt.epoch("s").to_numpy(), dtype=np.int64)
    if column.dtype != pl.String:
        raise place.error(f"holds {column.dtype}, not time stamps", None, column.name)
    return _parse_texts(place, column.name, column.to_list(), naive_as_utc)


_NO_ZONE: Final = "the time stamp has no zone; write UTC as 2024-04-16T01:00:00Z"


def _parse_texts(
    place: Place, name: str, texts: Sequence[str | None], naive_as_utc: bool
) -> NDArray[np.int64]:
    naive: list[str] = []
    reference: str | None = None
    for index, text in enumerate(texts):
        stripped = (text or "").strip()
        if not stripped:
            raise place.error("the time stamp is missing", index, name)
        match = _STAMP.match(stripped)
        if match is None:
            raise place.error(f"{stripped!r} is not an ISO 8601 time stamp", index, name)
        day, minute, second, zone = match.groups()
        zone = "+00:00" if zone in ("Z", "+0000", "-00:00", "-0000") else zone or ""
        if len(zone) == 5:
            zone = f"{zone[:3]}:{zone[3:]}"
        if reference is None:
            reference = zone
        elif zone != reference:
            raise place.error(
                f"mixed time zones: {_zone(zone)} here, {_zone(reference)} in row"
                f" {place.first_row}",
                index,
                name,
            )
        naive.append(f"{day}T{minute}:{second or '00'}")
    if not reference and not naive_as_utc:
        raise place.error(_NO_ZONE, 0, name)
    return _seconds(place, name, naive) - _offset(reference or "+00:00")


def _seconds(place: Place, name: str, naive: Sequence[str]) -> NDArray[np.int64]:
    try:
        return np.array(naive, dtype="datetime64[s]").astype(np.int64)
    except ValueError:
        for index, text in enumerate(naive):
            try:
                np.datetime64(text, "s")
            except ValueError:
                raise place.error(f"{text!r} is not a date and time", index, name) from None
        raise


def _zone(zone: str) -> str:
    return f"{zone!r}" if zone else "no zone"


def _offset(zone: str) -> int:
    """Seconds east of UTC of +hh:mm."""
    sign = -1 if zone[0] == "-" else 1
    return sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)


def check_grid(place: Place, name: str, times: NDArray[np.int64], step: int) -> None:
    """Stamps must rise by exactly `step` seconds: no duplicate, no disorder, no gap."""
    moves = np.diff(times)
    wrong = np.flatnonzero(moves != step)
    if wrong.size == 0:
        return
    index = int(wrong[0]) + 1
    stamp, before = _iso(times[index]), _iso(times[index - 1])
    move = int(moves[index - 1])
    if move <= 0:
        same = np.flatnonzero(times[:index] == times[index])
        if same.size:
            first = place.row(int(same[0]))
            raise place.error(f"duplicated time stamp {stamp}, first in row {first}", index, name)
        raise place.error(f"not sorted: {stamp} comes after {before}", index, name)
    late = np.flatnonzero(times[index:] == times[index - 1] + step)
    if late.size:  # the stamp that should stand here comes later: rows out of order, no gap
        found = index + int(late[0])
        raise place.error(
            f"not sorted: {_iso(times[found])} comes after {_iso(times[found - 1])}; "
            f"it belongs in row {place.row(index)}",
            found,
            name,
        )
    if move % step == 0:
        missing = move // step - 1
        rows = "1 row is" if missing == 1 else f"{missing} rows are"
        raise place.error(
            f"gap: {rows} missing between {before} and {stamp} (one step is {step} s)", index, name
        )
    raise place.error(f"{stamp} is {move} s after {before}; one step is {step} s", index, name)


def _iso(seconds: np.int64) -> str:
    return f"{np.datetime64(int(seconds), 's')}Z"


# ---------------------------------------------------------------------------------------- values


def parse_values(
    place: Place, frame: pl.DataFrame, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The columns as floats: finite, prices > 0, volumes >= 0. The first bad row is reported."""
    import polars as pl

    values: dict[str, NDArray[np.float64]] = {}
    worst: tuple[int, str] | None = None
    for name in names:
        column = frame[name]
        if column.dtype == pl.String:
            column = column.str.strip_chars()
        elif not column.dtype.is_numeric():
            raise place.error(f"holds {column.dtype}, not numbers", None, name)
        numbers = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        lowest_ok = numbers >= 0.0 if name.endswith("_volume") else numbers > 0.0
        bad = np.flatnonzero(~(np.isfinite(numbers) & lowest_ok))
        if bad.size and (worst is None or bad[0] < worst[0]):
            worst = (int(bad[0]), name)
        values[name] = np.asarray(numbers, dtype=np.float64)
    if worst is not None:
        index, name = worst
        raise place.error(_what(frame[name][index], name), index, name)
    return values


def _what(value: object, name: str) -> str:
    """Why a value was refused."""
    what = "volume" if name.endswith("_volume") else "price"
    text = "" if value is None else str(value).strip()
    if not text:
        return f"the {what} is missing"
    try:
        number = float(text.replace("_", "x"))
    except ValueError:
        return f"{text!r} is not a number"
    if np.isnan(number):
        return f"the {what} is NaN"
    if np.isinf(number):
        return f"the {what} is infinite"
    return f"the {what} is {'zero' if number == 0.0 else f'negative: {text}'}"


def check_ranges(
    place: Place,
    columns: Mapping[str, Mapping[str, str]],
    values: Mapping[str, NDArray[np.float64]],
) -> None:
    """low <= close <= high wherever the file has them."""
    for picked in columns.values():
        close = values[picked["close"]]
        for name, sign in (("high", 1.0), ("low", -1.0)):
            if name not in picked:
                continue
            bad = np.flatnonzero(sign * (close - values[picked[name]]) > 0.0)
            if bad.size:
                index = int(bad[0])
                side = "above the high" if name == "high" else "below the low"
                limit = values[picked[name]][index]
                raise place.error(f"{close[index]} is {side} {limit}", index, picked["close"])


def find_spikes(place: Place, assets: Sequence[str], close: NDArray[np.float64]) -> tuple[str, ...]:
    """Remarks on single prices that jump and come back: likely misprints, kept as they are.

    A spike is a step of more than `SPIKE_SIGMAS` robust standard deviations (1.4826·MAD) of which
    the next step takes back at least `SPIKE_REVERSAL`.
    """
    if close.shape[0] < 30:
        return ()
    steps = np.diff(np.log(close), axis=0)
    scale = 1.4826 * np.median(np.abs(steps - np.median(steps, axis=0)), axis=0)
    jump, back = steps[:-1], steps[1:]
    spike = (np.abs(jump) > SPIKE_SIGMAS * scale) & (scale > 0.0)
    spike &= -back * np.sign(jump) >= SPIKE_REVERSAL * np.abs(jump)
    return tuple(
        f"{place.file}, row {place.row(int(t) + 1)}, column '{assets[j]}': the price moves by"
        f" {np.expm1(jump[t, j]):+.1%} and comes back; kept as it is"
        for t, j in np.argwhere(spike)
    )
