"""The worst portfolio: maximise ES at a given requirement, from many starts.

ES is convex and the requirement is convex and homogeneous, so max ES(h) subject to
requirement(h) <= 1 is a convex maximisation: its solutions are extreme points of a polytope. Each
start climbs by linear programmes: at h the gradient of ES is the tail mean g of the unit losses;
the next h maximises g·h under the requirement. ES never falls from step to step.

Requirements: `scan` alone on perps (complete: linear portfolios live in n dimensions), and the
whole of it, max(Scan, Floor) + Basis, on all instruments. Scan alone says nothing there: with more
instruments than scenarios (and in practice far fewer) there are portfolios that lose in none of
the scenarios; every scenario-based margin has them, and the short-option minimum exists for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.scenarios.book import Book, deltas
from risk.quant.scenarios.coverage import expected_shortfall

Floats = NDArray[np.float64]

STEPS: Final = 12
GAIN: Final = 1e-4


@dataclass(frozen=True, eq=False)
class Found:
    """The worst `portfolio` (M,), its ratio requirement/ES, and the ratios reached by all starts.
    `unbounded` starts met a portfolio with ES > 0 and requirement 0 (ratio 0)."""

    starts: int
    worst: float
    portfolio: Floats
    ratios: Floats
    portfolios: Floats
    unbounded: int


@dataclass(frozen=True, eq=False)
class Requirement:
    """max(scan, floor) + basis <= 1 as A·[l, s, d, t] <= b with h = l - s."""

    matrix: Any
    bound: Floats
    columns: NDArray[np.int64]  # of the book
    variables: int


def requirement(
    book: Book,
    columns: NDArray[np.int64],
    changes: Floats,
    weights: Floats,
    *,
    som: float = 0.0,
    basis: Floats | None = None,
    gross: float | None = None,
) -> Requirement:
    """Constraints for the portfolios on `columns`; `changes` (M, K) are the scenario P&L.

    `som` per short option notional, `basis` (M,) the rate of each column's bucket on net delta; 0
    for perps. `gross` admits only books whose gross notional is at most that many times the
    requirement.
    """
    from scipy.sparse import csr_matrix

    m = columns.size
    unit = -(changes[columns] * weights).T  # (K, m) weighted losses
    option = ~book.linear[columns]
    delta = deltas(book)[columns]
    buckets: list[tuple[NDArray[np.int64], float]] = []
    if basis is not None and option.any():
        keys = book.owner[columns] * 100 + book.expiry_index[columns]
        for key in np.unique(keys[option]):
            rows = np.flatnonzero(option & (keys == key))
            buckets.append((rows, float(basis[columns[rows[0]]])))
    d = len(buckets)
    size = 2 * m + d + 1  # l, s, |bucket delta|, t >= scan, floor
    lines: list[Floats] = []
    for losses in unit:
        line = np.zeros(size)
        line[:m], line[m : 2 * m], line[-1] = losses, -losses, -1.0
        lines.append(line)
    if som > 0.0:
        line = np.zeros(size)
        line[m : 2 * m], line[-1] = som * option, -1.0
        lines.append(line)
    total = np.zeros(size)
    total[-1] = 1.0
    for i, (rows, rate) in enumerate(buckets):
        for sign in (1.0, -1.0):
            line = np.zeros(size)
            line[rows], line[m + rows] = sign * delta[rows], -sign * delta[rows]
            line[2 * m + i] = -1.0
            lines.append(line)
        total[2 * m + i] = rate
    lines.append(total)
    bound = np.zeros(len(lines) + (gross is not None))
    bound[len(lines) - 1] = 1.0
    if gross is not None:
        line = np.zeros(size)
        line[: 2 * m], bound[-1] = 1.0, gross
        lines.append(line)
    return Requirement(csr_matrix(np.array(lines)), bound, columns, size)


def charges(book: Book, sizes: Floats, som: float, basis: Floats) -> tuple[Floats, Floats]:
    """(Floor, Basis), each (P,), of portfolios (P, M) as the requirement counts them."""
    option = ~book.linear
    floor = som * np.maximum(-sizes[:, option], 0.0).sum(axis=1)
    total, delta = np.zeros(sizes.shape[0]), deltas(book)
    keys = book.owner * 100 + book.expiry_index
    for key in np.unique(keys[option]):
        mine = option & (keys == key)
        total += basis[mine][0] * np.abs(sizes[:, mine] @ delta[mine])
    return floor, total


def search(
    need: Requirement, changes: Floats, alpha: float, starts: int, seed: int, *, limit: float = 1e3
) -> Found:
    """Worst ratio over the columns of `need`; `changes` (M, S) is the aged unit P&L of the sample.

    `limit` bounds every leg (requirement 1), which only cuts off what has no requirement at all.
    """
    from scipy.optimize import linprog

    rng = np.random.default_rng([seed, 11])
    unit = changes[need.columns]
    m, samples = unit.shape
    tail = max(1, round(samples * (1.0 - alpha)))
    out, ratios, unbounded = np.zeros((starts, changes.shape[0])), np.ones(starts), 0
    for i in range(starts):
        # every second start looks at one underlying's worth of legs, the others at all
        h = rng.standard_normal(m) * (rng.random(m) < (0.15 if i % 2 else 1.0) + 1.0 / m)
        if not h.any():
            h = rng.standard_normal(m)
        reached = 0.0
        for _ in range(STEPS):
            losses = -(h @ unit)
            worst = np.argpartition(losses, -tail)[-tail:]
            g = -unit[:, worst].mean(axis=1)
            cost = np.zeros(need.variables)
            cost[:m], cost[m : 2 * m] = -g, g
            found = linprog(
                cost, A_ub=need.matrix, b_ub=need.bound, bounds=(0.0, limit), method="highs"
            )
            if found.status != 0:
                break
            h = found.x[:m] - found.x[m : 2 * m]
            es = float(expected_shortfall(h[None], unit, alpha)[0])
            if es <= reached * (1.0 + GAIN):
                break
            reached = es
        if np.abs(h).max() > 0.5 * limit:
            unbounded += 1
        out[i, need.columns] = h
        ratios[i] = 1.0 / reached if reached > 0.0 else np.inf
    best = int(np.argmin(ratios))
    return Found(starts, float(ratios[best]), out[best], ratios, out, unbounded)
