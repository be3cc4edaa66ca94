"""Who is healthy: the filter for nearly all, exact integers for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.state import State
from risk.vector import exact
from risk.vector.accounts import AccountBatch
from risk.vector.certified import Bounds
from risk.vector.market import MarketTable

HEALTHY: Final = 1  # E ≥ need
UNHEALTHY: Final = -1
UNKNOWN: Final = 0  # the model raises for this account


@dataclass(frozen=True)
class Verdicts:
    """``status`` of every account; how many were left to exact integers and to the model."""

    status: NDArray[np.int8]
    exact: int
    fallbacks: int


def settle(
    open_signs: Bounds,
    table: MarketTable,
    batch: AccountBatch,
    state: State | None,
    *,
    initial: bool = False,
) -> Verdicts:
    """Verdicts from the bounds of E − MM (or E − IM); what they leave open is computed exactly.

    An account for which the model raises is ``UNKNOWN``, never healthy.
    """
    status = open_signs.sign
    rest = np.flatnonzero(status == 0)
    if not len(rest):
        return Verdicts(status, 0, 0)
    m = exact.margins(table, batch.take(rest), state)
    status[rest] = np.where((m.initial if initial else m.health) < 0, UNHEALTHY, HEALTHY)
    status[rest[list(m.errors)]] = UNKNOWN
    return Verdicts(status, len(rest), m.fallbacks)
