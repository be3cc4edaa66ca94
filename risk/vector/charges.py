"""Terms of the margin of a tile: equity, floor, basis, size, stable price.

Twin of ``risk/exact/margin/charges.py``, ``stable_charge.py`` and of the sums of
``margin_engine.py``; every rounding is theirs.  Wides by (account, underlying) are flat: place =
account·U + underlying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.margin.scenario_array import DELTA_ONE
from risk.vector import limbs
from risk.vector.limbs import Bools, Ints
from risk.vector.market import MarketTable

if TYPE_CHECKING:
    from risk.vector.exact import Tile

_BPS: Final = 10**4
_E9: Final = 10**9


def collateral(
    table: MarketTable, n: int, token: NDArray[np.int32], holder: Ints, amount: Ints
) -> tuple[Ints, Bools, Ints, Ints]:
    """(value by place, whether the place has any, Σ values, Σ haircuts by account).

    Values are rounded down: units of the underlying, then money; each haircut up.
    """
    count = len(table.underlyings)
    total, haircuts, by_place = limbs.zeros(n), limbs.zeros(n), limbs.zeros(n * count)
    has_row = np.zeros(n * count, dtype=np.bool_)
    for j, item in enumerate(table.collaterals):
        mine = np.flatnonzero(token == j)
        if not len(mine) or not table.collateral_usable[j]:
            continue
        units = limbs.mul(limbs.trim(amount[:, mine]), limbs.constant(item.scale))
        if item.has_rate:
            units = limbs.floor_wad(limbs.mul(units, limbs.constant(item.rate)))
        price = table.underlyings[item.underlying].price
        value = limbs.floor_wad(limbs.mul(units, limbs.constant(price)))
        haircut = limbs.ceil_div_small(limbs.mul_small(value, item.haircut_bps), _BPS)
        row, place = holder[mine], holder[mine] * count + item.underlying
        total = limbs.add(total, limbs.group_sum(value, row, n))
        haircuts = limbs.add(haircuts, limbs.group_sum(haircut, row, n))
        by_place = limbs.add(by_place, limbs.group_sum(value, place, n * count))
        has_row[place] = True
    return by_place, has_row, total, haircuts


def linear(t: Tile) -> tuple[Ints, Ints, Bools]:
    """(Σ ⌊size·mark⌋ by account, the same at the marks of the scan by place, whether the place
    has any) of the perps and futures.
    """
    at = np.flatnonzero(~t.option)
    size, column = limbs.trim(t.size[:, at]), t.column[at]
    value = limbs.floor_wad(limbs.mul(size, t.table.mark_down[:, column]))
    scanned = limbs.floor_wad(limbs.mul(size, t.table.scan_mark[:, column]))
    places = t.n * len(t.table.underlyings)
    has_row = np.zeros(places, dtype=np.bool_)
    has_row[t.place[at]] = True
    return (
        limbs.group_sum(value, t.row[at], t.n),
        limbs.group_sum(scanned, t.place[at], places),
        has_row,
    )


def option_value(t: Tile) -> Ints:
    """⌊Σ o·mark/10^18⌋: marks down for a long, up for a short position, one rounding in all."""
    down, up = t.table.mark_down[:, t.column], t.table.mark_up[:, t.column]
    mark = np.where(t.option, limbs.select(t.negative, up, down), 0)
    value = limbs.mul(t.size, limbs.trim(mark))
    return limbs.floor_wad(limbs.trim(limbs.segment_sum(value, t.pointer)))


def units(t: Tile) -> tuple[Ints, Ints]:
    """(N_u, Σ|o| of the short options) by place."""
    places = t.n * len(t.table.underlyings)
    short = np.where(t.option & t.negative, t.magnitude, 0)
    return (
        limbs.group_sum(t.magnitude, t.place, places),
        limbs.group_sum(short, t.place, places),
    )


def floor(t: Tile, short: Ints) -> Ints:
    """Σ_u ⌈⌈short·S⌉·som⌉ by account."""
    total = limbs.zeros(t.n)
    for u, item in enumerate(t.table.underlyings):
        mine = limbs.trim(short[:, u :: len(t.table.underlyings)])
        notional = limbs.ceil_wad(limbs.mul(mine, limbs.constant(item.price)))
        charge = limbs.ceil_div_small(limbs.mul_small(notional, item.som_bps), _BPS)
        total = limbs.add(total, charge)
    return total


def size(t: Tile, held: Ints) -> tuple[Ints, Ints]:
    """(Liq, Liq_IM) by account: Σ_u ⌈⌈S·N⌉·(measure − depth)·λ/(depth·10^4)⌉ where the measure
    (N, or the open interest) is above the depth.
    """
    liq, liq_im = np.zeros((9, t.n), dtype=np.int64), limbs.zeros(t.n)
    for u, item in enumerate(t.table.underlyings):
        if item.liq_bps == 0:
            continue
        mine = held[:, u :: len(t.table.underlyings)]
        divisor = item.depth * _BPS
        excess = limbs.sub(mine, limbs.constant(item.depth))
        large = np.flatnonzero(t.obliged & (limbs.sign(excess) > 0))
        if len(large):
            notional = _notional(mine[:, large], item.price)
            charge = limbs.mul(notional, limbs.trim(excess[:, large]))
            charge = limbs.mul_small(charge, item.liq_bps)
            charge = limbs.pad(limbs.ceil_div(charge, divisor), 9)
            liq[:, large] += charge
        if item.open_interest > item.depth:
            factor = (item.open_interest - item.depth) * item.liq_bps
            common = int(np.gcd(np.array(factor, dtype=object), np.array(divisor, dtype=object)))
            charge = limbs.mul(_notional(mine, item.price), limbs.constant(factor // common))
            liq_im = limbs.add(liq_im, limbs.ceil_div(charge, divisor // common))
    return limbs.trim(limbs.canonical(liq)), liq_im


def basis(t: Tile) -> Ints:
    """Σ_b ⌈⌈|X_b|·S/(511·10^18)⌉·rate_b/10^18⌉ by account; the positions are sorted by bucket."""
    if not len(t.row):
        return limbs.zeros(t.n)
    bucket = t.table.bucket_of[t.column]
    starts = np.ones(len(t.row), dtype=np.bool_)
    starts[1:] = (t.row[1:] != t.row[:-1]) | (bucket[1:] != bucket[:-1])
    first = np.flatnonzero(starts)
    pointer = np.concatenate([first, [len(t.row)]])
    x = limbs.segment_sum(limbs.mul_small(t.size, t.table.delta[t.column]), pointer)
    group = bucket[first]
    x = limbs.mul(limbs.absolute(x), t.table.bucket_price[:, group])
    notional = limbs.ceil_wad(limbs.ceil_div_small(x, DELTA_ONE))
    charge = limbs.ceil_wad(limbs.mul(notional, t.table.bucket_rate[:, group]))
    return limbs.group_sum(charge, t.row[first], t.n)


def stable(t: Tile, linear_value: Ints, short: Ints) -> Ints:
    """Σ of the charges of the underlyings whose stable price is apart (docs/margin.md §11)."""
    total = limbs.zeros(t.n)
    count = len(t.table.underlyings)
    if not any(x.stable_move for x in t.table.underlyings):
        return total
    delta = np.where(t.option, t.table.delta[t.column], 0)
    x = limbs.group_sum(limbs.mul_small(t.size, delta), t.place, t.n * count)
    for u, item in enumerate(t.table.underlyings):
        move = item.stable_move
        if not move or not t.table.underlyings[u].usable:
            continue
        gain = limbs.mul(limbs.trim(linear_value[:, u::count]), limbs.constant(move))
        gain = limbs.floor_div_signed(gain, item.price)
        options = limbs.mul(limbs.trim(x[:, u::count]), limbs.constant(move))
        worse = limbs.mul(short[:, u::count], limbs.constant(DELTA_ONE * abs(move)))
        change = limbs.floor_div_small(limbs.sub(options, worse), DELTA_ONE)
        gain = limbs.add(gain, limbs.floor_wad(change))
        total = limbs.add(total, limbs.maximum(limbs.neg(gain), limbs.zeros(1)))
    return total


def _notional(held: Ints, price: int) -> Ints:
    """⌈N·S⌉"""
    return limbs.ceil_wad(limbs.mul(limbs.trim(held), limbs.constant(price)))
