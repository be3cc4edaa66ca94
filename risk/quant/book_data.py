"""Positions of many accounts from CSV, Parquet and JSON (from a vault: `book_chain`).

A file has one row a position (`risk.quant.holdings` reads the same columns for one portfolio,
without accounts)::

    account,asset,kind,units,strike,expiry,entry_price
    alice,USDC,cash,25000,,,
    alice,WETH,collateral,3.5,,,
    alice,ETH,perp,-10.25,,,3011.5
    bob,ETH,call,-4,3200,2026-01-31,

`account`: any name, or an account id of 0x and 42 hex digits. `kind`: cash, collateral, perp,
future, call, put. `units`: a signed decimal, exact to 1e-18 (collateral: to its native unit);
collateral is positive, nothing is 0. `strike` and `expiry` (ISO date, 08:00 UTC) belong to options,
`expiry` to futures too. `entry_price` is for perps and futures; without it they were opened at the
mark. In JSON the file is a list of objects, or an object with the list under `positions`, and
amounts are *strings*: a JSON or Parquet float is refused, because it is no exact amount.

Everything that makes no sense is a `DataError` with file, row and column; nothing is repaired.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from risk.exact.margin import instrument_id
from risk.exact.state import MAX_POSITIONS, MAX_PRICE_WAD, Account, Linear, Option, State
from risk.quant.book_market import (
    RiskBook,
    entry_quote,
    finish,
    holdings,
    interest_index,
    mark_wad,
)
from risk.quant.errors import DataError

WAD: Final = 10**18
KINDS: Final = ("cash", "collateral", "perp", "future", "call", "put")
OPTIONS: Final = ("call", "put")
REQUIRED: Final = ("account", "asset", "kind", "units")
OPTIONAL: Final = ("strike", "expiry", "entry_price")
EMPTY: Final = "the book is empty: no position"
MAX_UNITS: Final = 2**95 - 1  # int96, WAD
EPOCH: Final = date(1970, 1, 1)

_DECIMAL: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_ACCOUNT_ID: Final = re.compile(r"0x[0-9a-fA-F]{42}")
_INSTRUMENT: Final = {
    "perp": instrument_id.PERP,
    "future": instrument_id.FUTURE,
    "call": instrument_id.CALL,
    "put": instrument_id.PUT,
}


@dataclass(frozen=True)
class Position:
    """One row. Amounts are exact; None where the column does not apply."""

    row: int
    account: str
    asset: str
    kind: str
    units: Decimal
    strike: Decimal | None = None
    day: int | None = None  # Unix day number of the expiry
    entry_price: Decimal | None = None


# ------------------------------------------------------------------------------------------- files


def read_positions(path: Path | str) -> tuple[Position, ...]:
    """Rows of a `.csv`, `.csv.gz`, `.parquet` or `.json` file, checked one by one."""
    file = Path(path)
    header, records, first = table_of(file)
    for name in REQUIRED:
        if name not in header:
            message = f"the column is missing; the file has {', '.join(header)}"
            raise DataError(file, message, row=first - 1 or None, column=name)
    for name in header:
        if name not in (*REQUIRED, *OPTIONAL):
            message = f"is not one of {', '.join((*REQUIRED, *OPTIONAL))}"
            raise DataError(file, message, row=first - 1 or None, column=name)
    if not records:
        raise DataError(file, EMPTY, row=first, column=REQUIRED[0])
    rows = []
    seen: dict[tuple[Any, ...], int] = {}
    for i, cells in enumerate(records):
        item = _Row(file, first + i, dict(zip(header, cells, strict=True))).position()
        key = (item.account, item.asset, item.kind, item.strike, item.day)
        if key in seen:
            raise DataError(
                file,
                f"{item.account!r} has this {item.kind} already in row {seen[key]}",
                row=item.row,
                column="account",
            )
        seen[key] = item.row
        rows.append(item)
    return tuple(rows)


def book_from_file(path: Path | str, market: RiskBook) -> RiskBook:
    """The positions of a file in a market (`risk.quant.book_market.from_config`).

    Strikes are listed as they come; expiries must be ones that the market has a slice for.
    """
    file = Path(path)
    positions = read_positions(file)
    state = market.state.clone()
    names: dict[str, int] = {}
    taken: dict[int, str] = {}
    for item in positions:
        if item.account not in names:
            number = _number(item.account, len(names))
            if number in taken:
                raise DataError(
                    file,
                    f"{item.account!r} is the account of {taken[number]!r}",
                    row=item.row,
                    column="account",
                )
            names[item.account], taken[number] = number, item.account
            state.accounts[number] = Account()
        _add(file, market, state, state.accounts[names[item.account]], item)
    for account in state.accounts.values():
        account.interest_index = interest_index(state, account.cash_wad)
    finish(state)
    about = {
        **market.about,
        "source": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "positions": len(positions),
        "accounts": len(names),
    }
    labels = {number: name for name, number in names.items()}
    return RiskBook(state, market.underlyings, market.collaterals, labels, about)


def to_rows(book: RiskBook) -> list[dict[str, str]]:
    """The positions of a book in the columns of a file; amounts as decimal strings.

    `entry_price` stays out where it has no exact decimal; reading the rows then opens at the mark.
    """
    rows: list[dict[str, str]] = []

    def add(account: int, asset: str, kind: str, units: str, **more: str) -> None:
        row = {"account": book.label(account), "asset": asset, "kind": kind, "units": units}
        rows.append({**row, **dict.fromkeys(OPTIONAL, ""), **more})

    for number, a in book.state.accounts.items():
        if a.cash_wad:
            add(number, "cash", "cash", decimal_text(a.cash_wad))
        for j, amount in enumerate(a.collateral):
            if amount:
                digits = book.state.collaterals[j].decimals
                add(number, book.collaterals[j], "collateral", decimal_text(amount, digits))
        for x in holdings(a):
            if not x.size_wad:
                continue
            i = x.instrument
            kind = ("perp", "future", "call", "put")[instrument_id.kind(i)]
            more = {}
            if kind != "perp":
                more["expiry"] = date.fromordinal(
                    EPOCH.toordinal() + instrument_id.expiry_day(i)
                ).isoformat()
            if kind in OPTIONS:
                bucket = book.state.buckets[instrument_id.bucket_key(i)]
                more["strike"] = decimal_text(bucket.strikes_wad[instrument_id.strike_index(i)])
            elif isinstance(x, Linear):
                entry, rest = divmod(-x.quote_wad * WAD, x.size_wad)
                if not rest and entry > 0:
                    more["entry_price"] = decimal_text(entry)
            name = book.underlyings[instrument_id.underlying(i)]
            add(number, name, kind, decimal_text(x.size_wad), **more)
    return rows


def decimal_text(value: int, digits: int = 18) -> str:
    """value·10^-digits, exactly, without trailing zeros."""
    whole, rest = divmod(abs(value), 10**digits)
    tail = f"{rest:0{digits}d}".rstrip("0") if digits else ""
    return f"{'-' if value < 0 else ''}{whole}{'.' + tail if tail else ''}"


def table_of(file: Path) -> tuple[list[str], list[list[Any]], int]:
    """Header, cells (strings, or what Parquet and JSON have), row number of the first record."""
    if not file.name.lower().endswith(".json"):
        from risk.quant.data import load_frame

        frame, first = load_frame(file)
        return list(frame.columns), [list(row) for row in frame.rows()], first
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(file, f"is not JSON: {error}") from error
    rows = content.get("positions") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(file, "is neither a list of positions nor an object with 'positions'")
    if not rows:
        raise DataError(file, EMPTY, row=1, column=REQUIRED[0])
    for i, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(file, "the position is not an object", row=i)
    header = list(dict.fromkeys(str(key) for row in rows for key in row))
    return header, [[row.get(name) for name in header] for row in rows], 1


@dataclass(frozen=True)
class _Row:
    file: Path
    number: int
    cells: Mapping[str, Any]

    def error(self, column: str, message: str) -> DataError:
        return DataError(self.file, message, row=self.number, column=column)

    def text(self, column: str) -> str:
        """The cell without spaces around it, "" where it is empty or there is no such column."""
        value = self.cells.get(column)
        if value is None:
            return ""
        if isinstance(value, (date, Decimal)):  # Parquet has both, exactly
            return f"{value:f}" if isinstance(value, Decimal) else value.isoformat()[:10]
        if not isinstance(value, str):
            kind = type(value).__name__
            raise self.error(column, f"{value!r} is a {kind}; write it as a string")
        return value.strip()

    def decimal(self, column: str) -> Decimal:
        text = self.text(column)
        if not text:
            raise self.error(column, "the value is missing")
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise self.error(column, f"the value is {text}")
        if not _DECIMAL.fullmatch(text) or len(text) > 60:
            raise self.error(column, f"{text[:60]!r} is no plain decimal number")
        return Decimal(text)

    def position(self) -> Position:
        account, asset, kind = self.text("account"), self.text("asset"), self.text("kind").lower()
        if not account:
            raise self.error("account", "the value is missing")
        if not asset:
            raise self.error("asset", "the value is missing")
        if kind not in KINDS:
            raise self.error("kind", f"{self.text('kind')!r} is not one of {', '.join(KINDS)}")
        units = self.decimal("units")
        if units == 0:
            raise self.error("units", "the value is zero")
        if kind == "collateral" and units < 0:
            raise self.error("units", "the value is negative; collateral cannot be owed")
        if kind != "collateral":
            wad_of(units, lambda message: self.error("units", message))
        strike = entry = None
        if kind in OPTIONS:
            strike = self._price("strike")
        elif self.text("strike"):
            raise self.error("strike", f"a {kind} has none")
        if kind in ("perp", "future"):
            entry = self._price("entry_price") if self.text("entry_price") else None
        elif self.text("entry_price"):
            raise self.error("entry_price", f"a {kind} has none")
        day = None
        if kind in (*OPTIONS, "future"):
            day = self._day()
        elif self.text("expiry"):
            raise self.error("expiry", f"a {kind} has none")
        return Position(self.number, account, asset, kind, units, strike, day, entry)

    def _price(self, column: str) -> Decimal:
        price = self.decimal(column)
        if price <= 0:
            raise self.error(column, f"the value is {'negative' if price else 'zero'}")
        if wad_of(price, lambda message: self.error(column, message)) > MAX_PRICE_WAD:
            raise self.error(column, f"the value is above the limit of {MAX_PRICE_WAD // WAD}")
        return price

    def _day(self) -> int:
        text = self.text("expiry")
        if not text:
            raise self.error("expiry", "the value is missing")
        try:
            day = (date.fromisoformat(text) - EPOCH).days
        except ValueError:
            raise self.error("expiry", f"{text!r} is not an ISO date such as 2026-03-27") from None
        if not 0 < day < 2**16:
            raise self.error("expiry", f"{text} is outside the days of an instrument")
        return day


def wad_of(amount: Decimal, error: Any, digits: int = 18) -> int:
    """amount·10^digits as a whole number; raises `error(message)` where it is none or too large."""
    scaled = int(amount.scaleb(digits).to_integral_value()) if amount.adjusted() < 40 else -1
    if scaled == -1 or abs(scaled) > MAX_UNITS:
        raise error(f"{amount} is too large")
    if Decimal(scaled).scaleb(-digits) != amount:
        raise error(f"{amount} has more than {digits} decimals")
    return scaled


def _number(account: str, at: int) -> int:
    """Account id of a name: the id itself, else by order of appearance."""
    return int(account, 16) if _ACCOUNT_ID.fullmatch(account) else (at + 1) << 8


def _add(file: Path, market: RiskBook, state: State, account: Account, item: Position) -> None:
    def error(column: str, message: str) -> DataError:
        return DataError(file, message, row=item.row, column=column)

    if item.kind == "cash":
        account.cash_wad = wad_of(item.units, lambda message: error("units", message))
        return
    if item.kind == "collateral":
        if item.asset not in market.collaterals:
            listed = ", ".join(market.collaterals) or "none"
            raise error("asset", f"no collateral {item.asset!r}; there are {listed}")
        j = market.collaterals.index(item.asset)
        digits = state.collaterals[j].decimals
        account.collateral[j] = wad_of(item.units, lambda message: error("units", message), digits)
        return
    if item.asset not in market.underlyings:
        raise error(
            "asset", f"no underlying {item.asset!r}; there are {', '.join(market.underlyings)}"
        )
    if len(account.linear) + len(account.options) == MAX_POSITIONS:
        raise error("account", f"{item.account!r} has more than {MAX_POSITIONS} positions")
    u, day, strike = market.underlyings.index(item.asset), item.day or 0, 0
    size = wad_of(item.units, lambda message: error("units", message))
    if item.day is not None:
        bucket = state.buckets.get(u << 16 | day)
        if bucket is None:
            days = sorted(k & 0xFFFF for k in state.buckets if k >> 16 == u)
            known = ", ".join(str(_iso(d)) for d in days) or "none"
            raise error("expiry", f"no slice for {item.asset} {_iso(day)}; there are {known}")
        if item.strike is not None:
            wanted = int(item.strike * WAD)
            if wanted not in bucket.strikes_wad:
                if len(bucket.strikes_wad) == 1024:
                    raise error("strike", "more than 1024 strikes of this expiry")
                bucket.strikes_wad.append(wanted)
            strike = bucket.strikes_wad.index(wanted)
    instrument = instrument_id.encode(u, _INSTRUMENT[item.kind], day, strike)
    if item.kind in OPTIONS:
        account.options.append(Option(instrument, size))
        return
    entry = item.entry_price
    price = mark_wad(state, instrument) if entry is None else int(entry * WAD)
    account.linear.append(Linear(instrument, size, entry_quote(size, price)))


def _iso(day: int) -> str:
    return date.fromordinal(EPOCH.toordinal() + day).isoformat()
