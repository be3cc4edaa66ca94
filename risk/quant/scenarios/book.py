"""Instruments of the calibration in the float world: slices, strikes, values, P&L matrices.

Prices are normalised: S = 1 for every underlying, so a size is in units of S (its notional in
currency). Column order per underlying: the linear instrument, then the options by expiry and
strike, puts below the forward and calls from it on (by parity the other half adds linear
positions only). Slices are rounded to the 1e-9 of a report, so the exact world prices the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.pricing import black76
from risk.quant.scenarios.factors import PERIOD

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EXPIRY_DAYS: Final = (7, 30, 90)
MONEYNESS: Final = (-2.0, -1.25, -0.6, 0.0, 0.6, 1.25, 2.0)  # ln(K/F) in standard deviations
YEAR_DAYS: Final = 365.0
TENOR_POWER: Final = 0.5
TENOR_CAP: Final = 2.0
TENOR_FLOOR_DAYS: Final = 1.0
E9: Final = 10**9


@dataclass(frozen=True)
class Expiry:
    """SVI slice (a, b, rho, m, sigma) in 1e-9 of one expiry, `days` ahead, and ln strikes."""

    days: float
    svi_e9: tuple[int, int, int, int, int]
    log_strikes: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Book:
    """Columns (M,): underlying, linear or not, strike (S = 1), sd, call, days, tenor factor."""

    underlyings: int
    expiries: tuple[tuple[Expiry, ...], ...]
    owner: NDArray[np.int64]
    linear: Bools
    strike: Floats
    sd: Floats
    call: Bools
    days: Floats
    tenor: Floats
    mark: Floats
    expiry_index: NDArray[np.int64]
    strike_index: NDArray[np.int64]

    @property
    def size(self) -> int:
        """M."""
        return self.owner.size


def tenor_factor(days: Floats) -> Floats:
    """g(T) of the margin model, float."""
    return np.asarray(
        np.minimum(TENOR_CAP, (30.0 / np.maximum(days, TENOR_FLOOR_DAYS)) ** TENOR_POWER)
    )


def svi_slice(volatility: float, days: float) -> tuple[int, int, int, int, int]:
    """A slice with a mild smile whose total variance at the money is about volatility²·T."""
    w = volatility**2 * days / YEAR_DAYS
    width, rho = 0.9 * float(np.sqrt(w)), -0.2
    a, b = 0.45 * w, 0.55 * w / width
    return round(a * E9), round(b * E9), round(rho * E9), 0, round(width * E9)


def total_variance(svi_e9: tuple[int, int, int, int, int], k: Floats) -> Floats:
    """SVI total variance at log-moneyness k."""
    a, b, rho, m, sigma = (v / E9 for v in svi_e9)
    return np.asarray(a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + sigma**2)))


def make_book(implied: Floats, expiry_days: tuple[int, ...] = EXPIRY_DAYS) -> Book:
    """The book of underlyings with the 30-day volatilities `implied` (n,), flat over tenors."""
    rows: list[tuple[int, bool, float, float, bool, float, int, int]] = []
    expiries = []
    for u, volatility in enumerate(implied):
        rows.append((u, True, 1.0, 0.0, False, 30.0, -1, -1))
        mine = []
        for e, days in enumerate(expiry_days):
            svi = svi_slice(float(volatility), days)
            level = float(volatility) * np.sqrt(days / YEAR_DAYS)
            # ln strikes to 1e-4: a strike then has a short exact decimal in the exact world
            ks = tuple(round(float(np.log(round(np.exp(z * level), 4))), 12) for z in MONEYNESS)
            mine.append(Expiry(days, svi, ks))
            for i, k in enumerate(ks):
                sd = float(np.sqrt(total_variance(svi, np.array(k))))
                rows.append((u, False, round(float(np.exp(k)), 4), sd, k >= 0.0, days, e, i))
        expiries.append(tuple(mine))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    owner, linear, strike, sd_, call, days_, e_, i_ = columns
    return Book(
        underlyings=len(implied),
        expiries=tuple(expiries),
        owner=owner.astype(np.int64),
        linear=linear.astype(np.bool_),
        strike=strike.astype(np.float64),
        sd=sd_.astype(np.float64),
        call=call.astype(np.bool_),
        days=days_.astype(np.float64),
        tenor=tenor_factor(days_.astype(np.float64)),
        mark=black76(1.0, strike, sd_, call),
        expiry_index=e_.astype(np.int64),
        strike_index=i_.astype(np.int64),
    )


def value_changes(book: Book, x: Floats, v: Floats, *, aged: bool) -> Floats:
    """P&L (M, m) of one unit of every column under shocks x, v (m, n).

    `aged`: the margin period passes too (options lose its time value), as in reality; the scan
    does not let time pass.
    """
    out = np.empty((book.size, x.shape[0]))
    for u, options in _options(book, out, x):
        sd = book.sd[options, None] * np.maximum(
            0.0, 1.0 + v[None, :, u] * book.tenor[options, None]
        )
        if aged:
            left = np.maximum(book.days[options, None] - PERIOD / 24.0, 0.0)
            sd = sd * np.sqrt(left / book.days[options, None])
        strike, call = book.strike[options, None], book.call[options, None]
        out[options] = black76(1.0 + x[None, :, u], strike, sd, call) - book.mark[options, None]
    return out


def values_and_gradients(book: Book, x: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """(P&L, ∂/∂x, ∂/∂v) of the unaged `value_changes`, each (M, m)."""
    from scipy.special import ndtr

    out = np.empty((book.size, x.shape[0]))
    by_x, by_v = np.ones_like(out), np.zeros_like(out)
    for u, options in _options(book, out, x):
        factor = 1.0 + v[None, :, u] * book.tenor[options, None]
        sd = book.sd[options, None] * np.maximum(factor, 1e-6)
        forward, strike = 1.0 + x[None, :, u], book.strike[options, None]
        d1 = np.log(forward / strike) / sd + 0.5 * sd
        put = np.where(book.call[options, None], 0.0, 1.0)
        delta, second = ndtr(d1) - put, ndtr(d1 - sd) - put
        out[options] = forward * delta - strike * second - book.mark[options, None]
        by_x[options] = delta
        vega = forward * np.exp(-0.5 * d1**2) / np.sqrt(2.0 * np.pi)
        slope = book.sd[options, None] * book.tenor[options, None]
        by_v[options] = np.where(factor > 1e-6, vega * slope, 0.0)
    return out, by_x, by_v


def deltas(book: Book) -> Floats:
    """(M,) delta of one unit of every column now."""
    zero = np.zeros((1, book.underlyings))
    return values_and_gradients(book, zero, zero)[1][:, 0]


def _options(book: Book, out: Floats, x: Floats) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(underlying, its option columns); fills the linear rows of `out` in passing."""
    for u in range(book.underlyings):
        out[np.flatnonzero(book.linear & (book.owner == u))] = x[:, u]
        yield u, np.flatnonzero(~book.linear & (book.owner == u))
