"""The certified float filter: float64 bounds of E − MM and E − IM, proven for every account.

``bounds`` gives lower ≤ E − need ≤ upper, where E and need are the exact integers of the model in
units of the settlement currency.  The proof is docs/vector.md §4; in short, with u = 2^-53, n the
entries of the account, G the sum of |amount|·Σ|coefficient| and B = |cash + quotes|:

    |float − real| ≤ (n + 96)·u·(B + φ·G)        |real − exact| ≤ dust of n entries

A NaN in either bound decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from risk.exact.margin.scenario_scan import MAX_EXPOSURE
from risk.vector import limbs
from risk.vector.accounts import AccountBatch, take_segments
from risk.vector.coefficients import BASIS, EXTRA, FLOOR, GROSS, VALUE, Coefficients, size_key
from risk.vector.errors import VectorError
from risk.vector.limbs import Bools, Floats, Ints
from risk.vector.market import MarketTable

TILE: Final = 4096
BUILD_TILE: Final = 8192
WAD: Final = 10**18
UNIT_ROUND: Final = 2.0**-53
SLACK: Final = 96
_BPS: Final = 10**4
# Σ|s| of the model stays below 2^90 wei; half of it leaves room for the error of G
EXPOSURE_LIMIT: Final = MAX_EXPOSURE / WAD / 2


@dataclass(frozen=True)
class FloatBatch:
    """What does not depend on prices: amounts by column, (n, columns) in CSR form.

    Positions come first, sorted by bucket, then collaterals, then excess sizes.  ``base`` is cash
    and quotes, NaN for accounts that always go to the model.  ``runs`` are the stretches of entries
    in one bucket, ``run_pointer`` those of each account.
    """

    data: Floats
    column: NDArray[np.int32]
    pointer: NDArray[np.int32]
    base: Floats
    obliged: Bools
    excess_dust: Floats  # wei, of the excess sizes
    runs: Ints
    run_pointer: Ints
    columns: int
    size_key: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.base)

    @classmethod
    def build(cls, table: MarketTable, batch: AccountBatch) -> FloatBatch:
        """Converts the batch; amounts have a relative error of at most 32·2^-53.

        Depends on the columns of ``table`` and on depth and λ, on nothing else of it.
        """
        batch.require_columns_of(table)
        n = len(batch)
        tiles = [
            _convert(table, batch, first, min(n, first + BUILD_TILE))
            for first in range(0, n, BUILD_TILE)
        ] or [_Part.empty()]
        rows, column, data, bucket = (
            np.concatenate([getattr(tile, name) for tile in tiles])
            for name in ("row", "column", "amount", "bucket")
        )
        pointer = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
        if pointer[-1] >= 2**31:
            raise VectorError("more than 2^31 entries: split the batch")
        starts = np.ones(len(rows), dtype=np.bool_)
        starts[1:] = (rows[1:] != rows[:-1]) | (bucket[1:] != bucket[:-1])
        runs = np.flatnonzero(starts)
        excess = column >= _width(table) - len(table.underlyings)
        dust = _excess_dust(table, column[excess], data[excess])
        return cls(
            data=data,
            column=column.astype(np.int32),
            pointer=pointer.astype(np.int32),
            base=_base(batch),
            obliged=batch.obliged(table),
            excess_dust=np.bincount(rows[excess], weights=dust, minlength=n).astype(np.float64),
            runs=runs,
            run_pointer=np.searchsorted(runs, pointer),
            columns=_width(table),
            size_key=size_key(table),
        )

    def with_cash(self, batch: AccountBatch) -> FloatBatch:
        """The same amounts with the cash and quotes of ``batch``: interest keeps the sign of cash,
        and so the obligations.
        """
        return replace(self, base=_base(batch))

    def require(self, c: Coefficients) -> None:
        """``VectorError`` where the coefficients are of other columns, depths or λ."""
        if self.columns != c.columns or self.size_key != c.size_key:
            raise VectorError("instruments, depths or λ changed: build the float batch again")


@dataclass(frozen=True)
class Bounds:
    """lower ≤ E − need ≤ upper, in units of the settlement currency."""

    lower: Floats
    upper: Floats

    @property
    def sign(self) -> NDArray[np.int8]:
        """1: E ≥ need is proven; −1: E < need is proven; 0: open."""
        return np.where(self.lower >= 0, 1, np.where(self.upper < 0, -1, 0)).astype(np.int8)


def bounds(c: Coefficients, batch: FloatBatch, *, scale: float = 1.0) -> Bounds:
    """Of every account; without obligations lower = upper = ∞, where its equity exists.

    First without netting within buckets, which is enough for nearly all; then, for the rest, with
    it.  ``scale`` multiplies the error bound: anything below 1 is for tests that must fail.
    """
    batch.require(c)
    n, k = len(batch), c.scenarios
    lower, upper = np.empty(n), np.empty(n)
    for first in range(0, n, TILE):
        part = slice(first, min(n, first + TILE))
        lower[part], upper[part] = _interval(c, batch, part, scale)
    out = Bounds(lower, upper)
    rest = np.flatnonzero(batch.obliged & (out.sign == 0))
    if len(rest):
        _net(c, batch, rest, out, k, scale)
    return out


def error_bound(
    c: Coefficients, entries: Floats, base: Floats, gross: Floats, excess_dust: Floats
) -> Floats:
    """|float − exact| of E − need, docs/vector.md §4."""
    rounding = (entries + SLACK) * UNIT_ROUND * (np.abs(base) + c.factor * gross)
    dust = (entries * c.dust + 4 + c.factor * (excess_dust + 4)) / WAD
    return np.asarray(1.0001 * (rounding + dust))


def _interval(
    c: Coefficients, batch: FloatBatch, part: slice, scale: float
) -> tuple[Floats, Floats]:
    k = c.scenarios
    terms, pointer = _terms(c, batch, part.start, part.stop)
    base, gross = batch.base[part], terms[:, k + GROSS]
    value = base + terms[:, k + VALUE]
    need = np.maximum(terms[:, :k].max(axis=1), terms[:, k + FLOOR])
    bound = scale * error_bound(
        c, np.diff(pointer).astype(np.float64), base, gross, batch.excess_dust[part]
    )
    upper = value - c.factor * need + bound
    lower = value - c.factor * (need + terms[:, k + BASIS]) - bound
    if terms.shape[1] > k + EXTRA:
        lower -= terms[:, k + EXTRA]
    fits = gross < EXPOSURE_LIMIT
    lower, upper = np.where(fits, lower, np.nan), np.where(fits, upper, np.nan)
    free = ~batch.obliged[part] & np.isfinite(value)
    return np.where(free, np.inf, lower), np.where(free, np.inf, upper)


def _terms(
    c: Coefficients, batch: FloatBatch, first: int, last: int
) -> tuple[Floats, NDArray[np.int32]]:
    """Σ amount·coefficient of every account of the tile, (accounts, terms)."""
    at = batch.pointer[first : last + 1]
    pointer, entries = at - at[0], slice(at[0], at[-1])
    amounts = csr_array(
        (batch.data[entries], batch.column[entries], pointer), shape=(last - first, batch.columns)
    )
    return np.asarray(amounts @ c.terms), pointer


def _net(c: Coefficients, batch: FloatBatch, rows: Ints, out: Bounds, k: int, scale: float) -> None:
    """The same bounds with Basis and the stable-price charge netted, for ``rows``, into ``out``."""
    part = take(batch, rows)
    terms, pointer = _terms(c, part, 0, len(part))
    charge = part.data * c.delta[part.column]
    netted = np.add.reduceat(charge, part.runs) if len(part.runs) else charge
    total = np.zeros(len(part))
    held = np.flatnonzero(part.run_pointer[1:] > part.run_pointer[:-1])
    if len(held):
        total[held] = np.add.reduceat(np.abs(netted), part.run_pointer[held])
    base, gross = part.base, terms[:, k + GROSS]
    need = np.maximum(terms[:, :k].max(axis=1), terms[:, k + FLOOR]) + total
    bound = scale * error_bound(
        c, np.diff(pointer).astype(np.float64), base, gross, part.excess_dust
    )
    middle = base + terms[:, k + VALUE] - c.factor * need
    middle = np.where(gross < EXPOSURE_LIMIT, middle, np.nan)
    middle -= _stable(c, part)
    out.lower[rows], out.upper[rows] = middle - bound, middle + bound


def _stable(c: Coefficients, part: FloatBatch) -> Floats:
    """Σ_u max(0, −Σ amount·stable) of every account: the stable-price charge."""
    at = np.flatnonzero(c.stable[part.column])
    count = len(c.size_key)
    row = np.repeat(np.arange(len(part)), np.diff(part.pointer))[at]
    place = row * count + c.underlying[part.column[at]]
    gain = part.data[at] * c.stable[part.column[at]]
    by_place = np.bincount(place, weights=gain, minlength=len(part) * count)
    return np.asarray(np.maximum(-by_place, 0).reshape(len(part), count).sum(axis=1))


def take(batch: FloatBatch, rows: Ints) -> FloatBatch:
    """The accounts ``rows``, in this order."""
    wide = batch.pointer.astype(np.int64)
    entries, pointer = take_segments(wide, rows)
    chosen, run_pointer = take_segments(batch.run_pointer, rows)
    shift = np.repeat(pointer[:-1] - wide[rows], np.diff(run_pointer))
    return FloatBatch(
        data=batch.data[entries],
        column=batch.column[entries],
        pointer=pointer.astype(np.int32),
        base=batch.base[rows],
        obliged=batch.obliged[rows],
        excess_dust=batch.excess_dust[rows],
        runs=batch.runs[chosen] + shift,
        run_pointer=run_pointer,
        columns=batch.columns,
        size_key=batch.size_key,
    )


# ── conversion ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Part:
    """Entries: account, column, amount, bucket (−1: none)."""

    row: Ints
    column: Ints
    amount: Floats
    bucket: Ints

    @classmethod
    def empty(cls) -> _Part:
        """No entry."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, np.zeros(0), none)

    @classmethod
    def join(cls, parts: Sequence[_Part]) -> _Part:
        """One after the other, then by account; the order within an account stays."""
        row = np.concatenate([p.row for p in parts])
        order = np.argsort(row, kind="stable")
        return cls(
            row[order],
            np.concatenate([p.column for p in parts])[order],
            np.concatenate([p.amount for p in parts])[order],
            np.concatenate([p.bucket for p in parts])[order],
        )


def _convert(table: MarketTable, batch: AccountBatch, first: int, last: int) -> _Part:
    return _Part.join([f(table, batch, first, last) for f in (_positions, _collaterals, _excess)])


def _base(batch: AccountBatch) -> Floats:
    """Cash and quotes, |relative error| ≤ 16·2^-53; NaN for accounts that go to the model."""
    total = limbs.add(limbs.from_words(batch.cash), limbs.from_words(batch.quote))
    return np.where(batch.apart, np.nan, limbs.to_float(total) / WAD)


def _width(table: MarketTable) -> int:
    return 2 * len(table.ids) + len(table.collaterals) + len(table.underlyings)


def _positions(table: MarketTable, batch: AccountBatch, first: int, last: int) -> _Part:
    entries = slice(batch.pointer[first], batch.pointer[last])
    size = limbs.from_words(batch.size[entries])
    row = np.repeat(np.arange(first, last), np.diff(batch.pointer[first : last + 1]))
    column = batch.column[entries].astype(np.int64)
    side = limbs.is_negative(size)
    return _Part(row, 2 * column + side, limbs.to_float(size) / WAD, table.bucket_of[column])


def _collaterals(table: MarketTable, batch: AccountBatch, first: int, last: int) -> _Part:
    pointer = batch.collateral_pointer
    entries = slice(pointer[first], pointer[last])
    row = np.repeat(np.arange(first, last), np.diff(pointer[first : last + 1]))
    column = 2 * len(table.ids) + batch.collateral[entries].astype(np.int64)
    amount = limbs.to_float(limbs.from_words(batch.amount[entries]))
    return _Part(row, column, amount, np.full(len(row), -1))


def _excess(table: MarketTable, batch: AccountBatch, first: int, last: int) -> _Part:
    """λ·N·(N/depth − 1) of every (account, underlying) whose N is above the depth."""
    count, n = len(table.underlyings), last - first
    entries = slice(batch.pointer[first], batch.pointer[last])
    row = np.repeat(np.arange(n), np.diff(batch.pointer[first : last + 1]))
    place = row * count + table.underlying_of[batch.column[entries]]
    size = limbs.absolute(limbs.from_words(batch.size[entries]))
    held = limbs.group_sum(size, place, n * count)
    out = [_Part.empty()]
    for u, item in enumerate(table.underlyings):
        if item.liq_bps == 0:
            continue
        mine = held[:, u::count]
        excess = limbs.sub(mine, limbs.constant(item.depth))
        above = np.flatnonzero(limbs.sign(excess) > 0)
        ratio = limbs.to_float(excess[:, above]) / item.depth * (item.liq_bps / _BPS)
        amount = limbs.to_float(mine[:, above]) / WAD * ratio
        column = np.full(len(above), _width(table) - count + u)
        out.append(_Part(first + above, column, amount, np.full(len(above), -1)))
    return _Part.join(out)


def _excess_dust(table: MarketTable, column: Ints, amount: Floats) -> Floats:
    """Wei that ⌈S·N⌉ and the charge itself add: λ·(N/depth − 1) + 1, from above.

    From the amount y = λ·N·(N/depth − 1): (N/depth − 1) ≤ √(y/(λ·depth)).
    """
    u = column - (_width(table) - len(table.underlyings))
    depth = np.array([x.depth / WAD for x in table.underlyings])[u]
    rate = np.array([x.liq_bps / _BPS for x in table.underlyings])[u]
    return np.asarray(1.001 * np.sqrt(amount * rate / depth) + 2)
