"""Derive-type portfolio margin (PMRM, 23 scenarios): spot × volatility with contingencies.

Rules and parameters: repository derivexyz/v2-core, src/risk-managers/PMRMLib.sol and the 23
scenarios and figures of scripts/config-mainnet.sol. Per underlying, without offset between
underlyings (a manager has one market):

    worst = min(basis contingency, min_k Σ_T discount(MtM_T,k) − MtM_T + linear_k)
    MM    = −(worst − static contingencies)

A *positive* shocked value of an expiry is discounted by 0.95·e^(−T(r + 12 %)), r = 0 here. Basis
contingency: the worse of spot ±5 % of each expiry, where it loses, times 1 + 1.2·T. Static: 3 % of
|perp| and of base, 2 % of S for each short option of a strike that no long one covers. The linear
column counts as perp. Left out: oracle confidence, depegging, the factor 1.25 of initial margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.quant.rolling_margin import Day
from risk.quant.rules.common import (
    Columns,
    Floats,
    groups,
    tenor_power,
    unit_changes,
    volatility,
)
from risk.quant.scenarios.book import YEAR_DAYS, Book

UP, SAME, DOWN = 1, 0, -1
# (spot move, direction of volatility): 23 scenarios
SCENARIOS: Final[tuple[tuple[float, int], ...]] = (
    (0.20, UP),
    *((s, v) for s in (0.15, 0.10, 0.05, 0.0, -0.05, -0.10, -0.15) for v in (UP, SAME, DOWN)),
    (-0.20, UP),
)


@dataclass(frozen=True)
class Derive:
    """The parameters have the names of the contracts."""

    vol_range_up: float = 0.6
    vol_range_down: float = 0.3
    short_term_power: float = 0.3
    long_term_power: float = 0.13
    basis_spot: float = 0.05
    basis_add: float = 1.0
    basis_mult: float = 1.2
    perp_percent: float = 0.03
    option_percent: float = 0.02
    static_discount: float = 0.95
    rate_add: float = 0.12
    name: str = "Derive"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        out = np.zeros(sizes_usd.shape[0])
        for _, mine in groups(day.book):
            out += self._one(day.book, mine, sizes_usd[:, mine])
        return out

    def _one(self, book: Book, mine: Columns, held: Floats) -> Floats:
        """One underlying: (P,)."""
        moves = np.array([s for s, _ in SCENARIOS])
        linear = book.linear[mine]
        worst = held[:, linear].sum(axis=1)[:, None] * moves
        contingency = np.zeros(held.shape[0])
        for expiry in np.unique(book.expiry_index[mine][~linear]):
            at = np.flatnonzero(book.expiry_index[mine] == expiry)
            columns, sizes = mine[at], held[:, at]
            days = float(book.days[columns[0]])
            factors = self._vol_factors(days)
            vol = volatility(book, columns)[:, None]
            now = (sizes @ book.mark[columns])[:, None]
            value = now + sizes @ unit_changes(book, columns, moves, vol * factors)
            years = days / YEAR_DAYS
            discount = self.static_discount * np.exp(-years * self.rate_add)
            worst = worst + np.where(value > 0.0, discount * value, value) - now
            basis = np.array([self.basis_spot, -self.basis_spot])
            shift = sizes @ unit_changes(book, columns, basis, np.tile(vol, 2))
            lost = np.minimum(shift.min(axis=1), 0.0)
            contingency += lost * (self.basis_add + self.basis_mult * years)
        least = np.minimum(worst.min(axis=1), contingency)
        static = self.perp_percent * np.abs(held[:, linear]).sum(axis=1)
        static += self.option_percent * _naked_shorts(book, mine, held)
        return np.asarray(np.maximum(static - least, 0.0))

    def _vol_factors(self, days: float) -> Floats:
        """(23,) by which the volatility of an expiry is multiplied."""
        power = float(tenor_power(np.array(days), self.short_term_power, self.long_term_power))
        by_direction = {
            UP: 1.0 + self.vol_range_up * power,
            SAME: 1.0,
            DOWN: max(0.0, 1.0 - self.vol_range_down * power),
        }
        return np.array([by_direction[v] for _, v in SCENARIOS])


def _naked_shorts(book: Book, mine: Columns, held: Floats) -> Floats:
    """(P,): per expiry and strike, short calls and puts that no long one of that strike covers."""
    options = np.flatnonzero(~book.linear[mine])
    key = book.expiry_index[mine][options] * 1_000_000 + np.round(
        book.strike[mine][options] * 10_000
    ).astype(np.int64)
    out = np.zeros(held.shape[0])
    for strike in np.unique(key):
        here = held[:, options[key == strike]]
        shorts, longs = np.maximum(-here, 0.0).sum(axis=1), np.maximum(here, 0.0).sum(axis=1)
        out += np.maximum(shorts - longs, 0.0)
    return out
