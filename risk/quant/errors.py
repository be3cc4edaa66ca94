"""What goes wrong in the quant world. Each message says what was wrong and where."""

from __future__ import annotations

from pathlib import Path

from risk.errors import PlumblineError


class QuantError(PlumblineError):
    """Root of the errors of `risk.quant`; raised itself for arguments out of range."""


class FitError(QuantError):
    """A model cannot be estimated on these data: too few, constant, or no convergence."""


class DataError(QuantError):
    """A data file is refused. Nothing has been written.

    `row` is the line of a CSV file (the header is line 1), and the record number, from 1, of a
    Parquet file. `row` and `column` are None where the fault has no single place.
    """

    def __init__(
        self, file: Path | str, message: str, *, row: int | None = None, column: str | None = None
    ) -> None:
        self.file = Path(file)
        self.row = row
        self.column = column
        place = [str(file)]
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column!r}")
        super().__init__(f"{', '.join(place)}: {message}")
