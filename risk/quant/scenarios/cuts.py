"""Cutting planes: portfolios that a scenario set fails, found between two rounds of the fit.

Three sources: fresh portfolios of the archetypes that are short; the worst perp portfolios of an
adversarial search by Scan alone; and the worst books of all instruments by the whole requirement
max(Scan, Floor) + Basis, among those whose requirement is at least 1/`GROSS` of their gross
notional. Of the last the scan need only bring what Basis leaves: its target is
`GOAL`·ES - Basis, and books that Floor covers already are no cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.scenarios.adversary import charges, requirement, search
from risk.quant.scenarios.coverage import MATERIAL, expected_shortfall, scan
from risk.quant.scenarios.exact import BPS, Policy
from risk.quant.scenarios.fit import NEARLY, Cuts, Problem, ScenarioSet, scenario_changes

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

GROSS: Final = 100.0  # gross notional over requirement of an ordinary book, at most
GOAL: Final = 0.98  # of the ES of an adversarial book
LEAST: Final = 0.2  # of its ES that is left to the scan; below it Basis does the work
TURN_SEED: Final = 1000


@dataclass(frozen=True)
class Search:
    """`linear` starts on perps and `options` starts on all instruments; 0: none."""

    linear: int
    options: int
    alpha: float
    seed: int


def short_portfolios(problem: Problem, current: ScenarioSet, fresh: Floats, alpha: float) -> Cuts:
    """Those of the `fresh` portfolios (P, M) that are material and not covered."""
    es = expected_shortfall(fresh, problem.changes, alpha)
    changes = scenario_changes(problem.book, problem.scale, current)
    short = (es > MATERIAL) & (scan(fresh, changes, current.weights) < es)
    return Cuts(fresh[short], es[short])


def worst_perps(problem: Problem, current: ScenarioSet, plan: Search, tell: Tell) -> Cuts:
    """Perp portfolios of unit gross that Scan alone hardly covers."""
    book = problem.book
    changes = scenario_changes(book, problem.scale, current)
    need = requirement(book, np.flatnonzero(book.linear), changes, current.weights)
    found = search(need, problem.changes, plan.alpha, plan.linear, plan.seed)
    rows = found.portfolios[found.ratios < NEARLY]
    rows = rows / np.abs(rows).sum(axis=1, keepdims=True)
    tell(f"worst perps {found.worst:.4f}")
    return Cuts(rows, expected_shortfall(rows, problem.changes, plan.alpha))


def worst_books(
    problem: Problem, current: ScenarioSet, policy: Policy, plan: Search, tell: Tell
) -> Cuts:
    """Books of all instruments, unit gross, that the whole requirement does not cover."""
    book, som = problem.book, policy.som_bps / BPS
    basis = policy.basis_rates(book)
    changes = scenario_changes(book, problem.scale, current)
    need = requirement(
        book,
        np.arange(book.size),
        changes,
        current.weights,
        som=som,
        basis=basis,
        gross=GROSS,
    )
    found = search(need, problem.changes, plan.alpha, plan.options, plan.seed + TURN_SEED)
    rows = found.portfolios[found.ratios < GOAL]
    rows = rows / np.abs(rows).sum(axis=1, keepdims=True)
    es = expected_shortfall(rows, problem.changes, plan.alpha)
    floor, charged = charges(book, rows, som, basis)
    target = GOAL * es - charged
    keep = (target > LEAST * es) & (floor < target)
    tell(f"worst books {found.worst:.4f}, {int(keep.sum())} cuts")
    return Cuts(rows[keep], target[keep])


def together(parts: list[Cuts]) -> Cuts:
    """One set of cuts."""
    return Cuts(
        np.vstack([part.sizes for part in parts]), np.concatenate([part.target for part in parts])
    )
