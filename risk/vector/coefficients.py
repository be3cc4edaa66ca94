"""The market as float64 coefficients: what one unit of a column adds to each term of E − need.

Columns: instrument i held long 2i, short 2i + 1 (its amount x is negative), collateral j 2I + j,
excess size of underlying u 2I + C + u.  Money is in units of the settlement currency, amounts in
units of the instrument, native units of a collateral.  Every coefficient has a relative error of at
most 8·2^-53.  A column that is not usable holds NaN, which no comparison ever decides.
Derivation: docs/vector.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.exact.margin.option_rows import ROW_DEDUCTION
from risk.exact.margin.scenario_array import DELTA_ONE, MAX_LANE
from risk.vector.limbs import Floats, Ints
from risk.vector.market import MarketTable

WAD: Final = 10**18
_BPS: Final = 10**4
_MONEY: Final = 10**58  # denominator of exact values: WAD³·10^4
# places behind the K scenarios
VALUE, FLOOR, BASIS, GROSS, EXTRA = range(5)
# one row of the scan differs from its real value by at most this many wei (docs/vector.md §4)
_ROW_DUST: Final = ROW_DEDUCTION + MAX_LANE + 1


@dataclass(frozen=True)
class Coefficients:
    """``terms``: (columns, K + 4 or K + 5).

    Scenario k: weighted loss; then VALUE: equity; FLOOR; BASIS: without netting; GROSS: the sum of
    the absolute values of all terms and of the exposure; EXTRA, of initial margin only: the
    stable-price charge without netting.  ``factor``: of the need.  ``dust``: wei by entry by which
    the exact integers may differ from the real values.  ``value``: the VALUE column as whole
    numbers of 10^-58.
    """

    scenarios: int
    terms: Floats
    value: tuple[int, ...]
    delta: Floats  # signed basis coefficient
    stable: Floats  # what the way back to the stable price adds; initial margin only
    underlying: Ints  # of each column
    side: Floats  # −1: amounts of this column are negative, 1: they are not
    factor: float
    dust: float
    size_key: tuple[tuple[int, int], ...]

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.terms)


def of_maintenance(table: MarketTable) -> Coefficients:
    """E − MM."""
    return _build(table, initial=False)


def of_initial(table: MarketTable) -> Coefficients:
    """E − IM."""
    return _build(table, initial=True)


def size_key(table: MarketTable) -> tuple[tuple[int, int], ...]:
    """(depth, λ) of each underlying: what the excess sizes of a batch depend on."""
    return tuple((u.depth, u.liq_bps) for u in table.underlyings)


def _build(table: MarketTable, initial: bool) -> Coefficients:
    count, k = len(table.ids), table.scenarios
    tokens, underlyings = len(table.collaterals), len(table.underlyings)
    weights = np.array(table.weights_bps) / _BPS
    terms = np.zeros((2 * count + tokens + underlyings, k + (5 if initial else 4)))
    value = [0] * len(terms)
    held = table.underlying_of
    unit = np.array([x.unit / WAD for x in table.instruments])
    shock = _shocks(table)
    price = np.array([u.price / WAD for u in table.underlyings])
    options, linear = np.flatnonzero(table.is_option), np.flatnonzero(~table.is_option)
    # scan: an option long −U·ℓ, short −U·(ℓ + 1), because a short one pays |s| more
    lanes = table.lanes[options]
    terms[2 * options, :k] = -(unit[options, None] * lanes) * weights
    terms[2 * options + 1, :k] = -(unit[options, None] * (lanes + 1)) * weights
    marks = np.array([table.instruments[i].scan_mark / WAD for i in linear])
    moved = -(marks[:, None] * shock[held[linear]]) * weights
    terms[2 * linear, :k] = terms[2 * linear + 1, :k] = moved
    exposure: Floats = np.zeros(len(terms))
    exposure[0 : 2 * count : 2] = exposure[1 : 2 * count : 2] = unit
    steps = np.array([u.price_unit_e6 / 10**6 for u in table.underlyings])
    exposure[2 * linear] = exposure[2 * linear + 1] = marks * steps[held[linear]]
    for i, x in enumerate(table.instruments):
        value[2 * i], value[2 * i + 1] = x.mark_down * 10**40, x.mark_up * 10**40
    som = np.array([u.som_bps / _BPS for u in table.underlyings])
    terms[2 * options + 1, k + FLOOR] = -(price * som)[held[options]]
    rate = np.array([b.rate / WAD for b in table.buckets])[table.bucket_of]
    per_unit: Floats = np.repeat(table.delta / DELTA_ONE * price[held] * rate, 2)
    delta: Floats = np.concatenate([per_unit, np.zeros(tokens + underlyings)])
    terms[:, k + BASIS] = np.abs(delta)
    for j, c in enumerate(table.collaterals):
        row, s = 2 * count + j, table.underlyings[c.underlying].price
        worth = c.scale * s * (c.rate if c.has_rate else WAD)  # of a native unit, 1e-54
        value[row] = worth * (_BPS - c.haircut_bps)
        terms[row, :k] = -(worth / 10**54 * shock[c.underlying]) * weights
        exposure[row] = worth / 10**54 * steps[c.underlying]
    for u, item in enumerate(table.underlyings):
        if not initial:
            value[2 * count + tokens + u] = -item.price * 10**40
    terms[:, k + VALUE] = [v / _MONEY for v in value]
    stable: Floats = np.zeros(len(terms))
    if initial:
        _initial_terms(table, terms, k, price)
        stable = _stable(table, len(terms))
        terms[:, k + EXTRA] = np.abs(stable)
    # amounts of a short position are negative: its gross coefficients too
    side = np.ones(len(terms))
    side[1 : 2 * count : 2] = -1
    terms[:, k + BASIS :] *= side[:, None]
    gross = np.abs(terms[:, :k]).max(axis=1, initial=0) + np.abs(terms[:, k:]).sum(axis=1)
    terms[:, k + GROSS] = (gross + exposure) * side
    bad = np.concatenate(
        [
            np.repeat(~table.usable, 2),
            ~table.collateral_usable,
            np.zeros(underlyings, dtype=np.bool_),
        ]
    )
    terms[bad] = np.nan
    factor = table.im_factor_bps / _BPS if initial else 1.0
    return Coefficients(
        scenarios=k,
        terms=terms,
        value=tuple(value),
        delta=delta,
        stable=stable,
        underlying=_underlyings(table),
        side=side,
        factor=factor,
        dust=_dust(table, initial),
        size_key=size_key(table),
    )


def _initial_terms(table: MarketTable, terms: Floats, k: int, price: Floats) -> None:
    """Liq_IM joins every scenario and the floor alike, as it adds to both."""
    count = len(table.ids)
    held = table.underlying_of
    size = np.array([_size_rate(u.open_interest, u.depth, u.liq_bps) for u in table.underlyings])
    liq = (size * price)[held]
    for side, sign in ((0, 1), (1, -1)):
        terms[side : 2 * count : 2, :k] += sign * liq[:, None]
        terms[side : 2 * count : 2, k + FLOOR] += sign * liq


def _stable(table: MarketTable, columns: int) -> Floats:
    """Of one unit: D_u·ΔS/S and δ·ΔS − [short]·|ΔS| (docs/margin.md §11)."""
    out = np.zeros(columns)
    moves = [u.stable_move / WAD for u in table.underlyings]
    parts = [u.stable_move / u.price if u.price else 0.0 for u in table.underlyings]
    for i, x in enumerate(table.instruments):
        move, part = moves[x.underlying], parts[x.underlying]
        if x.is_option:
            out[2 * i] = x.delta / DELTA_ONE * move
            out[2 * i + 1] = x.delta / DELTA_ONE * move + abs(move)
        else:
            out[2 * i] = out[2 * i + 1] = x.scan_mark / WAD * part
    for j, c in enumerate(table.collaterals):
        worth = c.scale * table.underlyings[c.underlying].price * (c.rate if c.has_rate else WAD)
        out[2 * len(table.ids) + j] = worth / 10**54 * parts[c.underlying]
    return out


def _underlyings(table: MarketTable) -> Ints:
    """Underlying of every column."""
    tokens = np.array([c.underlying for c in table.collaterals], dtype=np.int64)
    every = np.arange(len(table.underlyings))
    return np.concatenate([np.repeat(table.underlying_of, 2), tokens, every])


def _shocks(table: MarketTable) -> Floats:
    """Price shock of every scenario, (underlyings, K)."""
    steps = np.array([u.price_unit_e6 for u in table.underlyings], dtype=np.float64)
    return np.asarray(table.price_lanes * steps[:, None] / 10**6)


def _size_rate(open_interest: int, depth: int, liq_bps: int) -> float:
    """λ·max(0, OI/depth − 1), correctly rounded."""
    return max(0, open_interest - depth) * liq_bps / (depth * _BPS)


def _dust(table: MarketTable, initial: bool) -> float:
    """Wei an entry; every term of docs/vector.md §4, rounded up."""
    rated = [table.underlyings[c.underlying].price for c in table.collaterals if c.has_rate]
    one_unit = 1 + max(rated, default=0) / WAD  # a value is rounded twice where it has a rate
    shock = float(np.abs(_shocks(table)).max(initial=0))
    som = max((u.som_bps / _BPS for u in table.underlyings), default=0)
    basis = max((b.rate / WAD for b in table.buckets), default=0)
    scan = _ROW_DUST + shock * one_unit + 1
    need = scan + som + 1 + basis + 1
    if initial:
        sizes = [_size_rate(u.open_interest, u.depth, u.liq_bps) for u in table.underlyings]
        apart = [abs(u.stable_move) / u.price for u in table.underlyings if u.price]
        need = (need + max(sizes, default=0) + 2) * table.im_factor_bps / _BPS
        need += max(apart, default=0) * one_unit + 3
    return 1.001 * (need + 2 * one_unit + 2)
