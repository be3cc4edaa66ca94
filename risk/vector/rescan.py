"""Every account again after the market moved: a cheap bound first, the filter for the rest.

An *anchor* holds bounds of E − MM at some market.  At another market E differs by the sum of
amount·(change of the VALUE coefficient) and MM by no more than the sum of |amount|·Lip of its
column, because a maximum moves no further than what it is taken of (docs/vector.md §5).  Two sparse
products of one column each instead of K; whoever they do not clear goes through the filter, and
whoever that does not, through exact integers.  Errors do not add up: every rescan starts at the
anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from risk.exact.state import State
from risk.vector import certified, coefficients, decide
from risk.vector.accounts import AccountBatch
from risk.vector.certified import SLACK, TILE, UNIT_ROUND, WAD, Bounds, FloatBatch
from risk.vector.coefficients import BASIS, FLOOR, GROSS, VALUE, Coefficients
from risk.vector.decide import Verdicts
from risk.vector.errors import VectorError
from risk.vector.limbs import Floats
from risk.vector.market import MarketTable

_RELATIVE: Final = 2.0**-47  # above the errors of two coefficients of 24·2^-53 each
_BASE_ERROR: Final = 64  # two bases of 16 each, the difference and the sums behind it
_MONEY: Final = 10**58


@dataclass(frozen=True)
class Rescan:
    """Verdicts, and how many accounts reached the second level (the filter)."""

    verdicts: Verdicts
    filtered: int


class Rescanner:
    """Watches the health of one batch of accounts while prices move.

    Positions, depths and λ are fixed; where they change, build another one.
    """

    def __init__(self, table: MarketTable, batch: AccountBatch) -> None:
        self.batch = batch
        self.floats = FloatBatch.build(table, batch)
        self.entries = np.diff(self.floats.pointer).astype(np.float64)
        self.anchor(table)

    def anchor(self, table: MarketTable) -> None:
        """Full filter at ``table``; later rescans start from it."""
        self.coefficients = coefficients.of_maintenance(table)
        self.bounds = certified.bounds(self.coefficients, self.floats)
        self.base = self.floats.base

    def accrue(self, state: State) -> None:
        """Interest up to the indices of ``state``; the anchor stays."""
        self.batch = self.batch.accrued(state)
        self.floats = self.floats.with_cash(self.batch)

    def rescan(self, table: MarketTable, state: State | None = None) -> Rescan:
        """Verdicts at ``table``, which has the columns and K of the anchor."""
        self.batch.require_columns_of(table)
        now = coefficients.of_maintenance(table)
        self.floats.require(now)
        bounds = moved(self.coefficients, now, self.floats, self.bounds, self.base, self.entries)
        rest = np.flatnonzero(bounds.sign == 0)
        if len(rest):
            again = certified.bounds(now, certified.take(self.floats, rest))
            bounds.lower[rest], bounds.upper[rest] = again.lower, again.upper
        return Rescan(decide.settle(bounds, table, self.batch, state), len(rest))


def moved(
    old: Coefficients,
    new: Coefficients,
    batch: FloatBatch,
    anchor: Bounds,
    base: Floats,
    entries: Floats,
    *,
    scale: float = 1.0,
) -> Bounds:
    """Bounds of E − MM at ``new`` from those at ``old``, where cash and quotes were ``base``.

    ``scale`` below 1 is for tests that must fail.
    """
    steps = differences(old, new)
    n = len(batch)
    lower, upper = np.empty(n), np.empty(n)
    dust = (entries * (old.dust + new.dust) + 8 + 2 * batch.excess_dust) / WAD
    accrued = batch.base - base
    reach_of_cash = np.where(
        accrued == 0, 0, _BASE_ERROR * UNIT_ROUND * (np.abs(batch.base) + np.abs(base))
    )
    for first in range(0, n, TILE):
        part = slice(first, min(n, first + TILE))
        at = batch.pointer[first : part.stop + 1]
        held = slice(at[0], at[-1])
        amounts = csr_array(
            (batch.data[held], batch.column[held], at - at[0]),
            shape=(part.stop - first, batch.columns),
        )
        sums = np.asarray(amounts @ steps)
        reach = sums[:, 1] * (1 + (entries[part] + SLACK) * UNIT_ROUND) + 1.0001 * dust[part]
        reach += (entries[part] + SLACK) * UNIT_ROUND * sums[:, 2]
        reach = scale * (reach + reach_of_cash[part])
        reach = np.where(sums[:, 2] < certified.EXPOSURE_LIMIT, reach, np.nan)
        for out, start, way in ((lower, anchor.lower[part], -1), (upper, anchor.upper[part], 1)):
            slack = np.where(np.isfinite(start), 4 * UNIT_ROUND * scale * np.abs(start), 0)
            out[part] = start + sums[:, 0] + accrued[part] + way * (reach + slack)
    return Bounds(lower, upper)


def differences(old: Coefficients, new: Coefficients) -> Floats:
    """(columns, 3): change of VALUE; Lip; |change of VALUE| + GROSS.  The last two have the sign
    of the amounts.

    Lip = max(max_k |Δ scenario_k|, |Δ floor|) + |Δ basis|, plus what their own errors can hide.
    """
    if old.terms.shape != new.terms.shape or old.factor != 1 or new.factor != 1:
        raise VectorError("the number of scenarios changed: anchor again")
    k = new.scenarios
    value = np.array([(b - a) / _MONEY for a, b in zip(old.value, new.value, strict=True)])
    change = np.abs(new.terms - old.terms)
    # the errors: of scenarios, floor and basis of both markets
    hidden = np.abs(old.terms) + np.abs(new.terms)
    worst = np.maximum(change[:, :k].max(axis=1), change[:, k + FLOOR]) + change[:, k + BASIS]
    worst += _RELATIVE * (hidden[:, :k].max(axis=1) + hidden[:, k + FLOOR] + hidden[:, k + BASIS])
    # NaN where either market cannot value the column
    value = value + 0 * (old.terms[:, k + VALUE] + new.terms[:, k + VALUE])
    gross = new.terms[:, k + GROSS] + np.abs(value) * new.side
    return np.stack([value, worst * new.side, gross], axis=1)
