"""The exact engine: the model's margin of every account of a batch, bit for bit.

Twin of ``risk/exact/margin/margin_engine.py``; formulas and roundings: docs/margin.md §5.  Accounts
go through in tiles, so that memory stays bounded and the working set in the cache.  What does not
fit (``AccountBatch.apart``, columns that are not usable, |s| ≥ 2^90) is computed by the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.errors import ModelRevert
from risk.exact.margin import margin_engine
from risk.exact.margin.scenario_scan import NO_SCENARIO
from risk.exact.state import State
from risk.vector import charges, limbs, scan
from risk.vector.accounts import AccountBatch
from risk.vector.errors import VectorError
from risk.vector.limbs import Bools, Ints
from risk.vector.market import MarketTable
from risk.vector.result import FIELDS, WORDS, Margins

TILE: Final = 4096
_BPS: Final = 10**4


@dataclass(frozen=True)
class Tile:
    """Consecutive accounts with what their entries gather from the table.

    ``row`` is the account of each position within the tile, ``place`` = row·U + underlying.
    """

    table: MarketTable
    n: int
    column: NDArray[np.int32]
    pointer: Ints
    row: Ints
    place: Ints
    size: Ints  # wide, signed
    magnitude: Ints  # wide
    negative: Bools
    option: Bools
    obliged: Bools


def margins(table: MarketTable, batch: AccountBatch, state: State | None = None) -> Margins:
    """Margins of all accounts.

    ``state`` is what the table was made of, for the accounts that fall back.  ``VectorError`` where
    table and batch differ, and where an account must fall back and there is no state.
    """
    batch.require_columns_of(table)
    n = len(batch)
    words: dict[str, Ints] = {name: np.zeros((n, WORDS), dtype=np.int64) for name in FIELDS}
    binding = np.full(n, -1, dtype=np.int16)
    health, initial = np.zeros(n, dtype=np.int8), np.zeros(n, dtype=np.int8)
    obliged = batch.obliged(table)
    apart = batch.apart | unusable(table, batch)
    for first in range(0, n, TILE):
        last = min(n, first + TILE)
        part = slice(first, last)
        values, worst, overflow = _tile(table, batch, first, last, obliged[part])
        for name, value in values.items():
            words[name][part] = limbs.to_words(value, WORDS)
        binding[part] = worst
        apart[part] |= overflow & obliged[part]
        for sign, need in ((health, "mm"), (initial, "im")):
            sign[part] = np.where(
                obliged[part], limbs.sign(limbs.sub(values["equity"], values[need])), 1
            )
    out = Margins(words, binding, obliged, health, initial, {}, int(apart.sum()))
    for i in np.flatnonzero(apart):
        _fall_back(out, int(i), batch, state)
    return out


def unusable(table: MarketTable, batch: AccountBatch) -> Bools:
    """Accounts that hold a column which is not usable."""
    out = np.zeros(len(batch), dtype=np.bool_)
    if not table.usable.all():
        bad = np.concatenate([[0], np.cumsum(~table.usable[batch.column])])
        out |= bad[batch.pointer[1:]] > bad[batch.pointer[:-1]]
    if not table.collateral_usable.all():
        bad = np.concatenate([[0], np.cumsum(~table.collateral_usable[batch.collateral])])
        out |= bad[batch.collateral_pointer[1:]] > bad[batch.collateral_pointer[:-1]]
    return out


def _tile(
    table: MarketTable, batch: AccountBatch, first: int, last: int, obliged: Bools
) -> tuple[dict[str, Ints], NDArray[np.int16], Bools]:
    """(the fields, the binding scenario, where a number of an obliged account is too large)."""
    t = _gather(table, batch, first, last, obliged)
    backing = slice(batch.collateral_pointer[first], batch.collateral_pointer[last])
    holder = _owners(batch.collateral_pointer, first, last)
    mark_equity = limbs.add(
        limbs.from_words(batch.cash[first:last]), limbs.from_words(batch.quote[first:last])
    )
    linear_value, has_row, value, haircut = charges.collateral(
        table, t.n, batch.collateral[backing], holder, limbs.from_words(batch.amount[backing])
    )
    mark_equity = limbs.add(mark_equity, value)
    positions, exposure, held = charges.linear(t)
    linear_value, has_row = limbs.add(linear_value, exposure), has_row | held
    mark_equity = limbs.add(mark_equity, positions)
    mark_equity = limbs.add(mark_equity, charges.option_value(t))
    equity = limbs.sub(mark_equity, haircut)
    worst, binding, overflow = _scan(t, linear_value, has_row)
    units, short = charges.units(t)
    floor = charges.floor(t, short)
    liq, liq_im = charges.size(t, units)
    basis = charges.basis(t)
    stable = charges.stable(t, linear_value, short)
    base = limbs.add(limbs.maximum(worst, floor), basis)
    scaled = limbs.mul_small(limbs.add(base, liq_im), table.im_factor_bps)
    fields = {
        "scan": worst,
        "floor_charge": floor,
        "basis": basis,
        "liq": liq,
        "liq_im": liq_im,
        "mm": limbs.add(base, liq),
        "im": limbs.add(limbs.ceil_div_small(scaled, _BPS), stable),
    }
    fields = {name: limbs.trim(np.where(obliged, x, 0)) for name, x in fields.items()}
    fields |= {"mark_equity": mark_equity, "equity": equity}
    overflow |= _beyond(equity)
    return fields, np.where(obliged, binding, np.int16(-1)), overflow


def _beyond(equity: Ints) -> Bools:
    """|E| ≥ 2^180 or so: the health factor might not fit, the model shall say."""
    limit = 180 // limbs.BITS
    return np.asarray((limbs.absolute(equity)[limit:] != 0).any(axis=0))


def _gather(table: MarketTable, batch: AccountBatch, first: int, last: int, obliged: Bools) -> Tile:
    entries = slice(batch.pointer[first], batch.pointer[last])
    column = batch.column[entries]
    size = limbs.from_words(batch.size[entries])
    row = _owners(batch.pointer, first, last)
    return Tile(
        table=table,
        n=last - first,
        column=column,
        pointer=batch.pointer[first : last + 1] - batch.pointer[first],
        row=row,
        place=row * len(table.underlyings) + table.underlying_of[column],
        size=size,
        magnitude=limbs.absolute(size),
        negative=limbs.is_negative(size),
        option=table.is_option[column],
        obliged=obliged,
    )


def _owners(pointer: Ints, first: int, last: int) -> Ints:
    return np.repeat(np.arange(last - first), np.diff(pointer[first : last + 1]))


def _scan(t: Tile, linear_value: Ints, has_row: Bools) -> tuple[Ints, NDArray[np.int16], Bools]:
    """(Scan, binding scenario, where Σ|s| ≥ 2^90) of every account of the tile."""
    table = t.table
    # rows of the options, in place; linear positions keep an exposure of 0 there
    s = limbs.floor_wad(limbs.mul(t.magnitude, table.unit[:, t.column]))
    s, beyond = _within(s)
    overflow = np.bincount(t.row[beyond], minlength=t.n) > 0
    # rows of the underlyings
    held = np.flatnonzero(has_row)
    count = len(table.underlyings)
    underlying = held % count if count else held
    d = linear_value[:, held]
    unit = np.array([x.price_unit_e6 for x in table.underlyings], dtype=np.int64)
    su = limbs.floor_div_small(limbs.mul_small(limbs.absolute(d), unit[underlying]), 10**6)
    su, beyond = _within(su)
    owner = held // count if count else held
    overflow |= np.bincount(owner[beyond], minlength=t.n) > 0
    pointer = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=t.n))])
    sums = scan.products(np.where(t.negative, -s, s), t.column, t.pointer, table.lanes)
    more = scan.products(
        np.where(limbs.is_negative(d), -su, su),
        underlying.astype(np.int32),
        pointer,
        table.price_lanes,
    )
    sums = [a + b for a, b in zip(sums, more, strict=True)]  # rows together ≤ MAX_ROWS
    options = limbs.segment_sum(t.option[None].astype(np.int64), t.pointer)[0]
    gross = limbs.add(limbs.segment_sum(s, t.pointer), limbs.segment_sum(su, pointer))
    sold = t.option & t.negative
    charged = limbs.segment_sum(np.where(sold, limbs.add(s, limbs.constant(1)), 0), t.pointer)
    gross_limbs = limbs.pad(gross, scan.EXPOSURE_LIMBS + 1)
    overflow |= (gross_limbs[scan.EXPOSURE_LIMBS :] != 0).any(axis=0)
    worst, binding = scan.worst(sums, gross, options + np.diff(pointer), charged, table.weights)
    return worst, binding, overflow


def _within(s: Ints) -> tuple[Ints, Bools]:
    """(s ≥ 0 in three limbs below 2^30, zero where it does not fit; where that is)."""
    s = limbs.pad(s, scan.EXPOSURE_LIMBS)
    beyond = (s[scan.EXPOSURE_LIMBS :] != 0).any(axis=0) | (
        s[scan.EXPOSURE_LIMBS - 1] >= limbs.BASE
    )
    if beyond.any():
        s = np.where(beyond, 0, s)
    return s[: scan.EXPOSURE_LIMBS], np.asarray(beyond)


def _fall_back(out: Margins, i: int, batch: AccountBatch, state: State | None) -> None:
    if state is None:
        raise VectorError(f"account {batch.ids[i]:#x} needs the model, and no state was given")
    try:
        margin = margin_engine.compute(state, batch.ids[i], batch.account(i))
    except ModelRevert as error:
        out.errors[i] = error
        return
    for name in FIELDS:
        out.words[name][i] = limbs.to_word_array([getattr(margin, name)], WORDS)[0]
    none = margin.binding_scenario == NO_SCENARIO
    out.binding[i] = -1 if none else margin.binding_scenario
    out.obliged[i] = margin.has_obligations
    for signs, need in ((out.health, margin.mm), (out.initial, margin.im)):
        surplus = margin.equity - need
        signs[i] = (surplus > 0) - (surplus < 0) if margin.has_obligations else 1
