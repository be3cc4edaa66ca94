"""From factors at one moment to a fitted scenario set that covers a validation sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant import archetypes
from risk.quant.scenarios import cuts, factors
from risk.quant.scenarios.book import Book, make_book
from risk.quant.scenarios.exact import Policy
from risk.quant.scenarios.factors import PERIOD, Factors, Scale
from risk.quant.scenarios.fit import (
    Cuts,
    Plan,
    Problem,
    ScenarioSet,
    fit,
    make_problem,
    ratios,
    stretched,
)
from risk.quant.threads import one_thread

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

TARGET: Final = 0.9995  # of the validation sample, so that another sample reaches 99.9 %
VALIDATION_SEED: Final = 5_000
STRETCH: Final = (0.95, 1.6)
BISECTIONS: Final = 14


@dataclass(frozen=True)
class Settings:
    """`training` mixed and `linear` perp portfolios, `validation` for the last common factor;
    `thin`: every how many hours an observation; `adversaries` starts of a search per round among
    perps, `option_adversaries` among all instruments."""

    plan: Plan = field(default_factory=Plan)
    policy: Policy = field(default_factory=Policy)
    training: int = 40_000
    linear: int = 6_000
    validation: int = 20_000
    adversaries: int = 100
    option_adversaries: int = 150
    thin: int = 3
    options: bool = True

    @staticmethod
    def quick(seed: int = 1) -> Settings:
        """Seconds instead of minutes: for the refits of the backtest and for tests."""
        plan = Plan(iterations=1000, rounds=1, seed=seed)
        return Settings(
            plan,
            training=12_000,
            linear=2_000,
            validation=6_000,
            adversaries=0,
            option_adversaries=0,
        )


@dataclass(frozen=True, eq=False)
class Calibration:
    """The set, its scales, and what it was fitted on. `rows`: begin and end of the sample."""

    scenarios: ScenarioSet
    scale: Scale
    book: Book
    problem: Problem
    factor: float
    rows: tuple[int, int]


def calibrate(f: Factors, at: int, settings: Settings, tell: Tell = lambda _: None) -> Calibration:
    """Fits at row `at` of the factors; sees only moves that are complete by then.

    One BLAS thread: the matrices are small, and sums do not depend on the machine's cores.
    """
    with one_thread():
        return _calibrate(f, at, settings, tell)


def _calibrate(f: Factors, at: int, settings: Settings, tell: Tell) -> Calibration:
    start, stop = f.first, at - PERIOD + 1
    tau = factors.vol_scale(f, start, stop)
    sample = factors.shapes(f, start, stop, tau, every=settings.thin)
    scale = Scale(factors.price_scale(f, at), tau)
    book = make_book(f.implied[at])
    plan = settings.plan
    sizes = portfolios(book, settings.training, settings.linear, plan.seed, settings.options)
    problem = make_problem(book, scale, sample, sizes, plan.alpha)

    def harder(current: ScenarioSet, turn: int) -> Cuts:
        return violators(problem, current, settings, turn, tell)

    scenarios = fit(problem, plan, harder, tell)
    factor = needed_factor(problem, scenarios, settings)
    tell(f"stretched by {factor:.4f} for {TARGET:.2%} of the validation sample")
    return Calibration(stretched(scenarios, factor), scale, book, problem, factor, (start, stop))


def portfolios(book: Book, mixed: int, linear: int, seed: int, options: bool) -> Floats:
    """Archetypes and linear directions in one matrix; without `options` the latter only."""
    perps = archetypes.linear_directions(book, linear + (0 if options else mixed), seed)
    if not options:
        return perps
    return np.vstack([archetypes.sample_all(book, mixed, seed)[0], perps])


def violators(
    problem: Problem, current: ScenarioSet, settings: Settings, turn: int, tell: Tell
) -> Cuts:
    """Cutting planes for the next round, see `cuts`."""
    plan = settings.plan
    seed = plan.seed + 100 * (turn + 1)
    fresh = portfolios(problem.book, settings.training, settings.linear, seed, settings.options)
    parts = [cuts.short_portfolios(problem, current, fresh, plan.alpha)]
    tell(f"{parts[0].target.size} fresh portfolios short")
    search = cuts.Search(settings.adversaries, settings.option_adversaries, plan.alpha, seed)
    if settings.adversaries:
        parts.append(cuts.worst_perps(problem, current, search, tell))
    if settings.option_adversaries and settings.options:
        parts.append(cuts.worst_books(problem, current, settings.policy, search, tell))
    return cuts.together(parts)


def needed_factor(problem: Problem, scenarios: ScenarioSet, settings: Settings) -> float:
    """Least common factor of the free scenarios that covers `TARGET` of the validation sample."""
    plan = settings.plan
    seed = plan.seed + VALIDATION_SEED
    sizes = portfolios(problem.book, settings.validation, 0, seed, settings.options)
    check = make_problem(problem.book, problem.scale, problem.sample, sizes, plan.alpha)
    low, high = STRETCH
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        covered = float(np.mean(ratios(check, stretched(scenarios, middle)) >= 1.0))
        low, high = (low, middle) if covered >= TARGET else (middle, high)
    return high
