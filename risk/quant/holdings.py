"""Positions of one portfolio for VaR: a strict table, one row a position, and full revaluation.

Columns (CSV, `.csv.gz`, `.parquet`, or a JSON list of objects, also under `positions`)::

    asset,kind,units,strike,expiry,volatility
    BTC,perp,-1.5,,,
    ETH,call,20,3500,2026-05-29,0.62

`kind`: spot, collateral, perp, future, call, put. `units`: signed decimal, not 0. `strike` and
`expiry` (ISO date, 08:00 UTC, or a full stamp with zone) belong to options; a future has an expiry.
`volatility` (a year, 0.62 is 62 %) is optional; without it an option has the stand-in of
`risk.quant.scenarios.factors`. A file with a column `account` is one of `risk.quant.book_data` and
read by it: all accounts together or one of them; cash bears no price risk and is left out.

Amounts are decimals and stay so: a JSON or Parquet float is refused. An unknown column, a missing
one or a cell that makes no sense is a `DataError` with file, row and column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.errors import DataError, QuantError
from risk.quant.pricing import black76
from risk.quant.scenarios.book import YEAR_DAYS, svi_slice, tenor_factor, total_variance

Floats = NDArray[np.float64]

KINDS: Final = ("spot", "collateral", "perp", "future", "call", "put")
OPTIONS: Final = ("call", "put")
REQUIRED: Final = ("asset", "kind", "units")
OPTIONAL: Final = ("strike", "expiry", "volatility")
SETTLES_AT: Final = 8  # o'clock UTC, of an expiry that is a date
DAY: Final = 86_400


@dataclass(frozen=True)
class Holding:
    """One position; `expiry` in Unix seconds. None where it does not apply."""

    asset: str
    kind: str
    units: Decimal
    strike: Decimal | None = None
    expiry: int | None = None
    volatility: float | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """Amounts as decimal strings."""
        return {
            "asset": self.asset,
            "kind": self.kind,
            "units": format(self.units, "f"),
            "strike": None if self.strike is None else format(self.strike, "f"),
            "expiry": self.expiry,
            "volatility": None if self.volatility is None else repr(self.volatility),
        }


@dataclass(frozen=True, eq=False)
class Valued:
    """Holdings at one moment, column by column (M,): underlying, units, what an option needs.

    `spot` (n,); `sd` of the option over its remaining `days`; `mark` of one unit, USD."""

    spot: Floats
    owner: NDArray[np.int64]
    units: Floats
    option: NDArray[np.bool_]
    call: NDArray[np.bool_]
    strike: Floats
    days: Floats
    sd: Floats
    mark: Floats

    @property
    def gross(self) -> float:
        """Sum of |units|·S."""
        return float(np.abs(self.units * self.spot[self.owner]).sum())

    def deltas(self) -> Floats:
        """(n,) dollars per unit of simple return of each underlying, at the mark."""
        from scipy.special import ndtr

        out: Floats = np.zeros(self.spot.size)
        spot = self.spot[self.owner]
        with np.errstate(divide="ignore", invalid="ignore"):
            d1 = np.log(spot / self.strike) / self.sd + 0.5 * self.sd
        delta = np.where(self.option, ndtr(np.nan_to_num(d1)) - ~self.call, 1.0)
        np.add.at(out, self.owner, self.units * delta * spot)
        return out

    def losses(self, moves: Floats, vol_moves: Floats, horizon_days: float) -> Floats:
        """(m,) losses after `horizon_days` under log moves (m, n) of prices and of volatilities:
        every option is repriced with its own strike (Black-76), less time value; one that has
        expired by then is worth its intrinsic value."""
        total: Floats = np.zeros(moves.shape[0])
        for j in range(self.units.size):
            u = int(self.owner[j])
            price = self.spot[u] * np.exp(moves[:, u])
            if not self.option[j]:
                total -= self.units[j] * (price - self.mark[j])
                continue
            left = max(self.days[j] - horizon_days, 0.0) / self.days[j]
            tenor = float(tenor_factor(self.days[j : j + 1])[0])
            vol = np.maximum(0.0, 1.0 + np.expm1(vol_moves[:, u]) * tenor)
            sd = self.sd[j] * vol * np.sqrt(left)
            value = black76(price, self.strike[j], sd, bool(self.call[j]))
            total -= self.units[j] * (value - self.mark[j])
        return total


def value(
    holdings: Sequence[Holding],
    assets: Sequence[str],
    spot: Floats,
    implied: Floats,
    time: int,
) -> Valued:
    """Holdings at Unix time `time`, prices `spot` (n,), 30-day volatilities `implied` (n,)."""
    if not holdings:
        raise QuantError("the book is empty: no position to measure")
    rows = []
    for h in holdings:
        u = list(assets).index(h.asset)
        option = h.kind in OPTIONS
        days, sd, strike = 0.0, 0.0, 1.0
        if option:
            if h.strike is None or h.expiry is None:
                raise QuantError(f"an option on {h.asset} lacks its strike or expiry")
            days, strike = (h.expiry - time) / DAY, float(h.strike)
            if days <= 0.0:
                raise QuantError(f"an option on {h.asset} has expired before the last price")
            if h.volatility is not None:
                sd = h.volatility * float(np.sqrt(days / YEAR_DAYS))
            else:
                svi = svi_slice(float(implied[u]), days)
                k = np.array(np.log(strike / float(spot[u])))
                sd = float(np.sqrt(total_variance(svi, k)))
        mark = float(spot[u])
        if option:
            mark = float(black76(spot[u], strike, sd, h.kind == "call"))
        rows.append((u, float(h.units), option, h.kind == "call", strike, days, sd, mark))
    owner, units, options, call, strikes, left, sds, marks = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Valued(np.asarray(spot), owner, units, options, call, strikes, left, sds, marks)


# ---------------------------------------------------------------------------------------- reading


def read_holdings(
    path: Path, assets: Sequence[str], time: int, account: str | None = None
) -> tuple[Holding, ...]:
    """Positions on `assets` as they stand at Unix time `time`; nothing is repaired. `account` picks
    one from a file that names accounts."""
    from risk.quant.book_data import table_of

    file = Path(path)
    header, records, first = table_of(file)
    if "account" in header:
        return _of_accounts(file, assets, time, account)
    if account is not None:
        raise DataError(file, "names no accounts", column="account")
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL):
            known = ", ".join((*REQUIRED, *OPTIONAL))
            raise DataError(file, f"is not one of {known}", row=first - 1 or None, column=name)
    for name in REQUIRED:
        if name not in header:
            raise DataError(file, "the column is missing", row=first - 1 or None, column=name)
    if not records:
        message = "the book is empty: a header without any position"
        raise DataError(file, message, row=first, column=REQUIRED[0])
    return tuple(
        _holding(_Row(file, first + i, dict(zip(header, cells, strict=True))), assets, time)
        for i, cells in enumerate(records)
    )


def _of_accounts(
    file: Path, assets: Sequence[str], time: int, account: str | None
) -> tuple[Holding, ...]:
    from risk.quant.book_data import read_positions

    rows = read_positions(file)
    names = {item.account for item in rows}
    if account is not None and account not in names:
        raise DataError(file, f"no position of account {account!r}", column="account")
    out = []
    for item in rows:
        if item.kind == "cash" or account not in (None, item.account):
            continue
        if item.asset not in assets:
            known = ", ".join(assets)
            message = f"no prices of {item.asset!r}; there are {known}"
            raise DataError(file, message, row=item.row, column="asset")
        expiry = None if item.day is None else item.day * DAY + SETTLES_AT * 3600
        if expiry is not None and expiry <= time:
            raise DataError(file, _past(time), row=item.row, column="expiry")
        out.append(Holding(item.asset, item.kind, item.units, item.strike, expiry))
    if not out:
        message = "the book is empty: cash only, nothing with a price"
        raise DataError(file, message, row=rows[0].row, column="kind")
    return tuple(out)


def _past(time: int) -> str:
    seen = datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
    return f"lies before the last price ({seen})"


@dataclass(frozen=True)
class _Row:
    file: Path
    number: int
    cells: Mapping[str, Any]

    def get(self, column: str) -> str:
        cell = self.cells.get(column)
        if isinstance(cell, Decimal):  # Parquet has them, exactly
            return f"{cell:f}"
        if cell is not None and not isinstance(cell, str):
            what = type(cell).__name__
            raise self.error(column, f"{cell!r} is a {what}; write it as a string")
        return (cell or "").strip()

    def error(self, column: str, message: str) -> DataError:
        return DataError(self.file, message, row=self.number, column=column)

    def decimal(self, column: str, *, positive: bool) -> Decimal:
        text = self.get(column)
        if not text:
            raise self.error(column, "the value is missing")
        try:
            number = Decimal(text.replace("_", "x"))
        except InvalidOperation:
            raise self.error(column, f"{text!r} is not a number") from None
        if not number.is_finite():
            raise self.error(column, f"the value is {'NaN' if number.is_nan() else 'infinite'}")
        if number == 0 or (positive and number < 0):
            raise self.error(column, f"the value is {'zero' if number == 0 else 'negative'}")
        return number


def _holding(row: _Row, assets: Sequence[str], time: int) -> Holding:
    asset, kind = row.get("asset"), row.get("kind").lower()
    if asset not in assets:
        raise row.error("asset", f"no prices of {asset!r}; there are {', '.join(assets)}")
    if kind not in KINDS:
        raise row.error("kind", f"{row.get('kind')!r} is not one of {', '.join(KINDS)}")
    units = row.decimal("units", positive=False)
    strike = expiry = volatility = None
    if kind in OPTIONS:
        strike = row.decimal("strike", positive=True)
        if row.get("volatility"):
            volatility = float(row.decimal("volatility", positive=True))
    for column in ("strike", "volatility"):
        if kind not in OPTIONS and row.get(column):
            raise row.error(column, f"a {kind} has none")
    if kind in (*OPTIONS, "future"):
        expiry = _stamp(row)
        if expiry <= time:
            raise row.error("expiry", _past(time))
    elif row.get("expiry"):
        raise row.error("expiry", f"a {kind} has none")
    return Holding(asset, kind, units, strike, expiry, volatility)


def _stamp(row: _Row) -> int:
    text = row.get("expiry")
    if not text:
        raise row.error("expiry", "the value is missing")
    whole = f"{text}T{SETTLES_AT:02d}:00+00:00" if len(text) == 10 else text.replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise row.error("expiry", f"{text!r} is not an ISO date or time stamp") from None
    if moment.tzinfo is None:
        raise row.error("expiry", "the time stamp has no zone")
    return int(moment.timestamp())
