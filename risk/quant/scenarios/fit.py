"""The free scenarios: an outer approximation of the ES functional, learnt portfolio by portfolio.

ES is the support function of the set of its tail-conditional means, the scan that of the convex
hull of the scenarios. The fit therefore starts from tail-conditional means (k-means over those of
the training portfolios), and then moves the K points by Adam on

    mean_p  φ(scan_p / ES_p),     φ(r) = (r - 1) above 1, PENALTY·(1 - r) + SHARP·(1 - r)² below,

with the maximum over k smoothed to a softmax of falling temperature, so that scenarios that
almost bind feel the pull too. The gradient runs through the option values (delta, vega), so a
scenario ends where it serves linear and option portfolios at once. Between rounds the worst
portfolios of an adversarial search join the training set; a last common factor (`cover`) puts the
wanted share of training portfolios at ratio >= 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.scenarios import stress
from risk.quant.scenarios.book import Book, value_changes, values_and_gradients
from risk.quant.scenarios.coverage import MATERIAL, expected_shortfall, scan
from risk.quant.scenarios.factors import Scale, shocks

Floats = NDArray[np.float64]

MAX_SCENARIOS: Final = 64
HISTORICAL: Final = 3
PENALTY: Final = 500.0
SHARP: Final = 2000.0
BATCH: Final = 2000
EVALUATE: Final = 25  # iterations between evaluations of all training portfolios
NEARLY: Final = 1.005
QUIET: Final = (-1.2, -0.6, 0.0, 0.6, 1.2)  # σ: where long options only lose time value
QUIET_DECAY: Final = 0.05  # fall of volatility that stands for it: a day of a week's option
HEAT: Final = 0.03
LOGITS: Final = (-3.0, 8.0)  # of the weights
START_LOGIT: Final = 3.0
LADDER_START: Final = 0.95
LADDER_END: Final = 0.1
ADVERSARY_WEIGHT: Final = 5.0
PAD: Final = 0.003  # trained against ES·(1 + PAD), so that unseen portfolios are covered too
BOUND: Final = 8.0  # of a free shape, standard units


@dataclass(frozen=True, eq=False)
class ScenarioSet:
    """Shapes (K, 2n) and weights (K,); the first `free` were fitted, the rest is reserved."""

    shapes: Floats
    weights: Floats
    free: int
    notes: tuple[str, ...] = field(default=())

    @property
    def count(self) -> int:
        """K."""
        return self.weights.size


@dataclass(frozen=True)
class Plan:
    """How hard to try. `shared_weights`: the free scenarios take a fixed ladder of weights, the
    same for every group that shares a parameter set (`weight_ladder`), instead of fitted ones."""

    iterations: int = 1500
    rounds: int = 6
    alpha: float = 0.975
    seed: int = 1
    scenarios: int = MAX_SCENARIOS
    learning_rate: float = 0.1
    shared_weights: bool = False


@dataclass(frozen=True, eq=False)
class Problem:
    """What the scenarios must cover: training portfolios (P, M) with their ES (P,)."""

    book: Book
    scale: Scale
    sample: Floats  # filtered observations (S, 2n)
    changes: Floats  # aged unit P&L of the sample (M, S)
    sizes: Floats
    es: Floats
    weight: Floats  # of the portfolio in the objective


@dataclass(frozen=True, eq=False)
class Cuts:
    """Portfolios (A, M) that a set fails, and what its scan should reach on them, (A,)."""

    sizes: Floats
    target: Floats


def make_problem(book: Book, scale: Scale, sample: Floats, sizes: Floats, alpha: float) -> Problem:
    """Values the sample once; immaterial ones are dropped."""
    changes = value_changes(book, *shocks(sample, scale), aged=True)
    es = expected_shortfall(sizes, changes, alpha)
    keep = es > MATERIAL
    sizes, es = sizes[keep], es[keep]
    return Problem(book, scale, sample, changes, sizes, es, np.ones(es.size))


def add_portfolios(problem: Problem, more: Cuts) -> Problem:
    """More training portfolios, each `ADVERSARY_WEIGHT` times as important."""
    return Problem(
        problem.book,
        problem.scale,
        problem.sample,
        problem.changes,
        np.vstack([problem.sizes, more.sizes]),
        np.concatenate([problem.es, more.target]),
        np.concatenate([problem.weight, np.full(more.target.size, ADVERSARY_WEIGHT)]),
    )


def start_points(problem: Problem, count: int, plan: Plan) -> Floats:
    """(count, 2n): k-means of the tail-conditional means. A tail with two sides (short gamma) gives
    the mean of its heavier side: the mean over both would lie where nothing is lost. A few start
    in a quiet market, where long options lose and no directional portfolio does."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng([plan.seed, 3])
    chosen = rng.permutation(problem.es.size)[:3000]
    tail = max(1, round(problem.sample.shape[0] * (1.0 - plan.alpha)))
    means = np.empty((chosen.size, problem.sample.shape[1]))
    for i, p in enumerate(chosen):
        losses = -(problem.sizes[p] @ problem.changes)
        worst = problem.sample[np.argpartition(losses, -tail)[-tail:]]
        centred = worst - worst.mean(axis=0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        side = worst @ axis > 0.0
        heavy = side if side.sum() * 2 >= side.size else ~side
        means[i] = worst[heavy].mean(axis=0)
    n = problem.book.underlyings
    found = KMeans(count - len(QUIET), n_init=2, random_state=plan.seed).fit(means)
    decay = np.log(1.0 - QUIET_DECAY) / problem.scale.vol
    calm = [np.concatenate([np.full(n, y), decay]) for y in QUIET]
    return np.vstack([found.cluster_centers_ * 1.05, calm])


def fit(
    problem: Problem,
    plan: Plan,
    worst: Callable[[ScenarioSet, int], Cuts] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ScenarioSet:
    """The whole set. `worst(set, round)` gives cutting planes for the next round."""
    n = problem.book.underlyings
    tails, tail_weights = stress.fixed(n)
    days, day_weights, _ = stress.historical(problem.sample, HISTORICAL, 1)
    reserved = np.vstack([tails, days])
    weights = np.concatenate([tail_weights, day_weights])
    free = plan.scenarios - weights.size
    points = np.hstack([start_points(problem, free, plan), np.full((free, 1), START_LOGIT)])
    current = ScenarioSet(reserved, weights, 0)
    for turn in range(plan.rounds):
        points = descend(problem, points, reserved, weights, plan, turn)
        current = ScenarioSet(
            np.vstack([points[:, :-1], reserved]),
            np.concatenate([damping_of(points, plan), weights]),
            free,
        )
        ratio = ratios(problem, current)
        tell(
            f"round {turn + 1}: {np.mean(ratio >= 1):.4%} of {ratio.size} covered, "
            f"mean overcharge {np.mean(ratio) - 1:.3%}, worst {ratio.min():.4f}"
        )
        if worst is not None and turn + 1 < plan.rounds:
            problem = add_portfolios(problem, worst(current, turn))
    return current


def expit(logit: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def damping_of(points: Floats, plan: Plan) -> Floats:
    """Weights (F,) of the free points (F, 2n + 1)."""
    return weight_ladder(points.shape[0]) if plan.shared_weights else expit(points[:, -1])


def weight_ladder(count: int) -> Floats:
    """(count,): one half 1, the other falling to `LADDER_END` by equal ratios. Fitted weights look
    much like that; all ones cost twice the overcharge on one underlying."""
    low = count // 2
    return np.concatenate([np.ones(count - low), np.geomspace(LADDER_START, LADDER_END, low)])


def descend(
    problem: Problem, points: Floats, reserved: Floats, weights: Floats, plan: Plan, turn: int
) -> Floats:
    """Adam on the free points (F, 2n + 1): shape and logit of the weight. The reserved scenarios
    take part in the maximum. Batches are stratified: everything that the last full evaluation found
    short or nearly so, and a random part of the rest that stands for all of it."""
    n, book = problem.book.underlyings, problem.book
    target = problem.es * (1.0 + PAD)
    fixed_changes = value_changes(book, *shocks(reserved, problem.scale), aged=False)
    fixed_loss = -(problem.sizes @ fixed_changes) * weights / target[:, None]
    rng = np.random.default_rng([plan.seed, 4, turn])
    state = _Adam(points.copy(), plan.learning_rate)
    best, best_score = points.copy(), np.inf
    share = problem.weight / problem.weight.sum()
    some: NDArray[np.int64] = np.arange(target.size)
    importance = share
    for i in range(plan.iterations):
        progress = i / plan.iterations
        heat = HEAT * (1.0 - progress) ** 2 + 0.001
        x, v = shocks(state.points[:, : 2 * n], problem.scale)
        damping = damping_of(state.points, plan)
        changes, by_x, by_v = values_and_gradients(book, x, v)
        everything = i % EVALUATE == 0
        if everything:
            some, importance = np.arange(target.size), share
        plain = -(problem.sizes[some] @ changes) / target[some, None]
        loss = np.hstack([plain * damping, fixed_loss[some]])
        top = loss.max(axis=1)
        if everything:
            score = float(share @ _penalised(top))
            if score < best_score:
                best, best_score = state.points.copy(), score
            short = np.flatnonzero(top < NEARLY)[:BATCH]
            rest = np.flatnonzero(top >= NEARLY)
        soft = np.exp((loss - top[:, None]) / heat)
        soft /= soft.sum(axis=1, keepdims=True)
        slope = np.where(top >= 1.0, 1.0, -PENALTY - 2.0 * SHARP * (1.0 - top)) * importance
        pull = soft[:, : damping.size] * slope[:, None]
        by_change = -(problem.sizes[some].T @ (pull * damping / target[some, None]))  # (M, F)
        grad = np.zeros_like(points)
        for u in range(n):
            mine = book.owner == u
            grad[:, u] = (by_change[mine] * by_x[mine]).sum(axis=0)
            grad[:, n + u] = (by_change[mine] * by_v[mine]).sum(axis=0)
        grad[:, :n] *= problem.scale.price * (1.0 + x)
        grad[:, n : 2 * n] *= problem.scale.vol * (1.0 + v)
        if not plan.shared_weights:
            grad[:, -1] = (pull * plain).sum(axis=0) * damping * (1.0 - damping)
        state.move(grad, progress)
        np.clip(state.points[:, : 2 * n], -BOUND, BOUND, out=state.points[:, : 2 * n])
        np.clip(state.points[:, -1], *LOGITS, out=state.points[:, -1])
        drawn = rest[rng.integers(rest.size, size=BATCH)] if rest.size else rest
        some = np.concatenate([short, drawn])
        lift = share[rest].sum() / max(share[drawn].sum(), 1e-300)
        importance = np.concatenate([share[short], share[drawn] * lift])
    return best


class _Adam:
    """First-order descent with the usual constants and a falling rate."""

    def __init__(self, points: Floats, rate: float) -> None:
        self.points, self.rate, self.count = points, rate, 0
        self.mean, self.square = np.zeros_like(points), np.zeros_like(points)

    def move(self, grad: Floats, progress: float) -> None:
        """One step."""
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * grad
        self.square = 0.99 * self.square + 0.01 * grad**2
        mean = self.mean / (1.0 - 0.9**self.count)
        root = np.sqrt(self.square / (1.0 - 0.99**self.count)) + 1e-9
        self.points -= (self.rate * (1.0 - progress) + 0.001) * mean / root


def _penalised(ratio: Floats) -> Floats:
    short = np.maximum(0.0, 1.0 - ratio)
    return np.asarray(np.maximum(ratio - 1.0, 0.0) + PENALTY * short + SHARP * short**2)


def ratios(problem: Problem, scenarios: ScenarioSet) -> Floats:
    """scan / ES (P,) of the training portfolios."""
    changes = scenario_changes(problem.book, problem.scale, scenarios)
    return np.asarray(scan(problem.sizes, changes, scenarios.weights) / problem.es)


def scenario_changes(book: Book, scale: Scale, scenarios: ScenarioSet) -> Floats:
    """Unit P&L (M, K) under the scenarios."""
    return value_changes(book, *shocks(scenarios.shapes, scale), aged=False)


def stretched(scenarios: ScenarioSet, factor: float) -> ScenarioSet:
    """The free scenarios further out by a common factor."""
    shapes = scenarios.shapes.copy()
    shapes[: scenarios.free] *= factor
    return ScenarioSet(shapes, scenarios.weights, scenarios.free, scenarios.notes)
