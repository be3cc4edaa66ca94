"""Deribit-type portfolio margin: price range × volatility, extended table, roll shock.

Parameters: the published answer of `private/pme/simulate` (docs.deribit.com), which has them for
BTC; ETH and SOL are given the same, an assumption that flatters SOL. Shape: support article
"Portfolio Margin": nine price moves over ±16 %, volatility up, same and down; an extended table
with volatility up, of which a fraction range/|move| counts, less a dampener.
MM = 0.8·(worst + roll shock).

The article gives no formulas. These reproduce the published example and agree with third-party
implementations: volatility moves by 50 % or −25 % times (30/T)^0.3, (30/T)^0.13 beyond 30 days, and
never below 50 % when it goes up; dampener: a loss in the extended table shrinks by
(|move|/range − 1) times 100,000 USD an underlying, at most to nothing; roll shock: of every expiry
and of the perp |delta| × max(1 %, e^(7.5 %·T) − 1), no netting between them. No offset between
underlyings (`pnl_offset` 0 in the answer). The delta shock begins at 20 million USD of delta and is
left out. Values here are linear in USD; `inverse_pnl` is the settlement in coin of the example.

The dampener is an absolute amount: the requirement is *not* homogeneous. At the notional of the
comparison it forgives most of what the extended table would add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from risk.quant.rolling_margin import Day
from risk.quant.rules.common import (
    Columns,
    Floats,
    delta,
    groups,
    tenor_power,
    unit_changes,
    volatility,
)
from risk.quant.scenarios.book import YEAR_DAYS, Book

BUCKETS: Final = 4  # on each side of no move
EXTENDED: Final = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)


def inverse_pnl(coins: float, move: float) -> float:
    """P&L in coin of an inverse contract worth `coins` now, when the price moves."""
    return coins * (1.0 - 1.0 / (1.0 + move))


@dataclass(frozen=True)
class Deribit:
    """Names as in the published answer."""

    price_range: float = 0.16
    volatility_range_up: float = 0.5
    volatility_range_down: float = 0.25
    short_term_vega_power: float = 0.3
    long_term_vega_power: float = 0.13
    min_volatility_for_shock_up: float = 0.5
    extended_table_factor: float = 1.0
    extended_dampener: float = 100_000.0
    annualised_move_risk: float = 0.075
    min_annualised_move: float = 0.01
    mm_factor: float = 0.8
    name: str = "Deribit"

    def moves(self) -> Floats:
        """(9,) of the main table."""
        return np.asarray(self.price_range * np.arange(-BUCKETS, BUCKETS + 1) / BUCKETS)

    def roll_shock(self, deltas: Floats, years: Floats) -> float:
        """Of |delta| by expiry (e,), `years` to it; the perp has 0."""
        rate = np.maximum(
            self.min_annualised_move, np.expm1(self.annualised_move_risk * np.asarray(years))
        )
        return float(np.abs(deltas) @ rate)

    def dampened(self, pnl: Floats, moves: Floats) -> Floats:
        """P&L (P, m) of the extended table as it counts: the fraction, then the dampener."""
        ratio = np.maximum(np.abs(moves) / self.price_range, 1.0)
        counted = pnl * self.extended_table_factor / ratio
        return np.asarray(np.minimum(counted + (ratio - 1.0) * self.extended_dampener, 0.0))

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        out = np.zeros(sizes_usd.shape[0])
        for _, mine in groups(day.book):
            out += self._one(day.book, mine, sizes_usd[:, mine])
        return np.asarray(self.mm_factor * out)

    def _one(self, book: Book, mine: Columns, held: Floats) -> Floats:
        vol, days = volatility(book, mine)[:, None], book.days[mine][:, None]
        power = tenor_power(days, self.short_term_vega_power, self.long_term_vega_power)
        up = np.maximum(vol * (1.0 + self.volatility_range_up * power), 0.0)
        up = np.maximum(up, np.maximum(vol, self.min_volatility_for_shock_up))
        down = vol * np.maximum(1.0 - self.volatility_range_down * power, 0.0)
        main = self.moves()
        worst = np.zeros(held.shape[0])
        for level in (up, vol, down):
            pnl = held @ unit_changes(book, mine, main, np.tile(level, main.size))
            worst = np.minimum(worst, pnl.min(axis=1))
        far = np.array(EXTENDED)
        pnl = held @ unit_changes(book, mine, far, np.tile(up, far.size))
        worst = np.minimum(worst, self.dampened(pnl, far).min(axis=1))
        return np.asarray(-worst + self._roll(book, mine, held))

    def _roll(self, book: Book, mine: Columns, held: Floats) -> Floats:
        deltas = held * delta(book, mine)
        out = np.zeros(held.shape[0])
        for expiry in np.unique(book.expiry_index[mine]):
            here = book.expiry_index[mine] == expiry
            years = 0.0 if expiry < 0 else float(book.days[mine][here][0]) / YEAR_DAYS
            net = np.abs(deltas[:, here].sum(axis=1))
            out += net * self.roll_shock(np.array([1.0]), np.array([years]))
        return out
