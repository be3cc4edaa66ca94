"""What the rule sets share: the interface, and values of a day's instruments under given shocks.

Sizes are (P, M) in USD of notional, columns as in the day's `Book`; the linear column holds perps
and collateral together. Unit changes are per USD of notional (S = 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from risk.quant.pricing import black76
from risk.quant.rolling_margin import Day
from risk.quant.scenarios.book import YEAR_DAYS, Book

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]


class Rule(Protocol):
    """A margin rule set. `name` is a key of reports."""

    @property
    def name(self) -> str: ...

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """Maintenance requirement (P,) in USD, >= 0."""
        ...


def groups(book: Book) -> Iterator[tuple[int, Columns]]:
    """(underlying, its columns)."""
    for u in range(book.underlyings):
        yield u, np.flatnonzero(book.owner == u)


def volatility(book: Book, columns: Columns) -> Floats:
    """Implied volatility a year of the columns; 0 for linear ones."""
    return np.asarray(book.sd[columns] / np.sqrt(book.days[columns] / YEAR_DAYS))


def unit_changes(
    book: Book, columns: Columns, x: Floats, vol: Floats, *, elapsed_days: float = 0.0
) -> Floats:
    """Value change (c, m) of one unit of each column under m price shocks `x` (m,) with the
    volatilities `vol` (c, m) a year, after `elapsed_days`."""
    left = np.maximum(book.days[columns] - elapsed_days, 0.0) / YEAR_DAYS
    linear = book.linear[columns]
    out = np.tile(np.asarray(x, dtype=np.float64), (columns.size, 1))
    some = ~linear
    if some.any():
        at = columns[some]
        value = black76(
            1.0 + np.asarray(x)[None, :],
            book.strike[at, None],
            vol[some] * np.sqrt(left[some])[:, None],
            book.call[at, None],
        )
        out[some] = value - book.mark[at, None]
    return out


def delta(book: Book, columns: Columns) -> Floats:
    """(c,) delta of one unit now."""
    from scipy.special import ndtr

    out = np.ones(columns.size)
    some = ~book.linear[columns]
    at = columns[some]
    d1 = -np.log(book.strike[at]) / book.sd[at] + 0.5 * book.sd[at]
    out[some] = ndtr(d1) - np.where(book.call[at], 0.0, 1.0)
    return out


def tenor_power(days: Floats, short: float, long: float, floor_days: float = 1.0) -> Floats:
    """(30/T)^p, p = `short` up to 30 days and `long` beyond: how Derive and Deribit scale
    volatility shocks."""
    power = np.where(days <= 30.0, short, long)
    return np.asarray((30.0 / np.maximum(days, floor_days)) ** power)
