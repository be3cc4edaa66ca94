"""Properties that every VaR and ES estimator owes: coherence of ES, order, invariance, refusals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from risk.quant import evt, parametric, var
from risk.quant.errors import QuantError
from risk.quant.var import TailRisk

Floats = NDArray[np.float64]
Estimator = Callable[[Floats, float], TailRisk]

SAMPLE = np.random.default_rng(5).standard_t(4, 600)
OTHER = 0.5 * SAMPLE + np.random.default_rng(6).standard_t(5, 600)

# Estimators for which shifting and scaling the losses must shift and scale the result.
EQUIVARIANT: dict[str, Estimator] = {
    "historical": var.historical,
    "age-weighted": var.age_weighted,
    "normal": parametric.fit_normal,
    "t": parametric.fit_student_t,
    "EVT": lambda losses, alpha: evt.fit_pot(losses, quantile=0.9).risk(alpha),
}
# Those that take losses around zero, and scale only.
HOMOGENEOUS: dict[str, Estimator] = {
    **EQUIVARIANT,
    "volatility-scaled": var.volatility_scaled,
    "filtered": lambda losses, alpha: var.filtered_historical(losses, alpha, kind="garch"),
}
# ES sub-additive for every sample.
COHERENT: dict[str, Estimator] = {
    name: HOMOGENEOUS[name] for name in ("historical", "age-weighted", "normal")
}
# The likelihood optimisers stop within their own tolerance.
TOLERANCE = {"t": 1e-3, "filtered": 1e-3, "EVT": 1e-5}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_monotone_in_alpha_and_es_above_var(name: str) -> None:
    risks = [HOMOGENEOUS[name](SAMPLE, a) for a in (0.91, 0.95, 0.975, 0.99, 0.995, 0.999)]
    assert all(r.es >= r.var for r in risks)
    for lower, higher in pairwise(risks):
        assert higher.var >= lower.var
        assert higher.es >= lower.es
        assert higher.alpha > lower.alpha


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_translation(name: str) -> None:
    base, moved = (EQUIVARIANT[name](SAMPLE + shift, 0.975) for shift in (0.0, 12.5))
    tolerance = TOLERANCE.get(name, 1e-12) * base.es + 1e-12
    assert moved.var == pytest.approx(base.var + 12.5, abs=tolerance)
    assert moved.es == pytest.approx(base.es + 12.5, abs=tolerance)


@pytest.mark.parametrize("factor", [1e-4, 250.0])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_homogeneity(name: str, factor: float) -> None:
    base, scaled = (HOMOGENEOUS[name](SAMPLE * f, 0.975) for f in (1.0, factor))
    tolerance = TOLERANCE.get(name, 1e-12)
    assert (scaled.var, scaled.es) == pytest.approx(
        (factor * base.var, factor * base.es), rel=tolerance
    )


@pytest.mark.parametrize("alpha", [0.9, 0.975, 0.9871, 0.999])
@pytest.mark.parametrize("name", COHERENT)
def test_es_is_sub_additive(name: str, alpha: float) -> None:
    measure = COHERENT[name]
    merged, one, two = (measure(x, alpha).es for x in (SAMPLE + OTHER, SAMPLE, OTHER))
    assert merged <= one + two


losses_lists = st.lists(st.integers(-50, 50), min_size=1, max_size=40)
confidences = st.floats(0.01, 0.999)


@given(losses_lists, confidences)
@settings(max_examples=150, deadline=None)
def test_es_is_the_rockafellar_uryasev_minimum(values: list[int], alpha: float) -> None:
    # The minimum over z of z + E[(L - z)+]/(1 - alpha) is attained at one of the losses.
    losses = np.array(values, dtype=np.float64)
    objective = [z + np.mean(np.maximum(losses - z, 0.0)) / (1.0 - alpha) for z in losses]
    risk = var.historical(losses, alpha)
    assert risk.es == pytest.approx(min(objective), rel=1e-9, abs=1e-9)
    assert risk.var in losses
    assert risk.es >= risk.var


@given(losses_lists, confidences)
@settings(max_examples=150, deadline=None)
def test_var_is_the_upper_quantile(values: list[int], alpha: float) -> None:
    losses = np.array(values, dtype=np.float64)
    measured = var.historical(losses, alpha).var
    slack = 1e-9  # confidences that hit a step of the distribution function are 1e-12 wide
    assert np.mean(losses < measured) <= alpha + slack
    assert np.mean(losses <= measured) > alpha - slack


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 5)), min_size=2), confidences)
@settings(max_examples=150, deadline=None)
def test_whole_weights_are_repetitions(pairs: list[tuple[int, int]], alpha: float) -> None:
    losses = np.array([loss for loss, _ in pairs], dtype=np.float64)
    weights = np.array([weight for _, weight in pairs])
    if weights.sum() == 0:
        weights = weights + 1
    plain = var.historical(np.repeat(losses, weights), alpha)
    measured, shortfall = var.weighted_tail(losses, weights, alpha)
    assert shortfall == pytest.approx(plain.es, rel=1e-9, abs=1e-9)
    # the same loss, or its neighbour where alpha falls on a step within rounding
    near = [var.historical(np.repeat(losses, weights), a).var for a in (alpha - 1e-9, alpha + 1e-9)]
    assert measured in (plain.var, *near)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1), confidences)
@settings(max_examples=150, deadline=None)
def test_sub_additive_for_any_sample_and_alpha(pairs: list[tuple[int, int]], alpha: float) -> None:
    one, two = np.array(pairs, dtype=np.float64).T
    merged, first, second = (var.historical(x, alpha).es for x in (one + two, one, two))
    assert merged <= first + second + 1e-9


def test_order_does_not_matter_and_input_is_kept() -> None:
    shuffled = np.random.default_rng(0).permutation(SAMPLE)
    kept = shuffled.copy()
    one, two = var.historical(shuffled, 0.99), var.historical(SAMPLE, 0.99)
    assert (one.var, one.es) == pytest.approx((two.var, two.es), rel=1e-14)
    assert np.array_equal(shuffled, kept)


def test_many_samples_at_once() -> None:
    samples = np.random.default_rng(3).standard_normal((50, 333))
    value, shortfall = var.sample_tails(samples, 0.975)
    single = [var.historical(row, 0.975) for row in samples]
    assert value == pytest.approx([r.var for r in single], rel=1e-14)
    assert shortfall == pytest.approx([r.es for r in single], rel=1e-14)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(QuantError, match="is the confidence"):
        var.historical(SAMPLE, alpha)
    with pytest.raises(QuantError, match="is the confidence"):
        parametric.normal(1.0, alpha)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: var.historical([], 0.9), "0 losses"),
        (lambda: var.historical([1.0, np.nan], 0.9), "loss 1 is not finite"),
        (lambda: var.historical(np.ones((2, 2)), 0.9), "one dimension"),
        (lambda: var.weighted_tail([1.0, 2.0], [1.0], 0.9), "weights must be"),
        (lambda: var.weighted_tail([1.0, 2.0], [1.0, -1.0], 0.9), "weights must be"),
        (lambda: var.weighted_tail([1.0, 2.0], [0.0, 0.0], 0.9), "weights must be"),
        (lambda: var.sample_tails(np.ones(3), 0.9), "expected"),
        (lambda: var.age_weights(5, 1.1), "decay"),
        (lambda: var.scale_to_volatility([1.0], [0.0], 1.0), "not positive"),
        (lambda: var.scale_to_volatility([1.0], [1.0, 1.0], 1.0), "shape"),
        (lambda: var.linear_losses(np.ones((3, 2)), [1.0]), "do not fit"),
        (lambda: parametric.student_t(1.0, 2.0, 0.9), "df > 2"),
        (lambda: parametric.normal(-1.0, 0.9), "not a standard deviation"),
        (lambda: parametric.delta_normal([1.0], np.eye(2), 0.9), "do not fit"),
        (lambda: parametric.delta_normal([1.0], [[-1.0]], 0.9), "positive semi-definite"),
        (lambda: parametric.fit_student_t(np.zeros(50), 0.9), "constant"),
        (lambda: parametric.fit_student_t(np.tan(SAMPLE * 9), 0.9), "no standard deviation"),
    ],
)
def test_refusals(call: Callable[[], object], words: str) -> None:
    with pytest.raises(QuantError, match=words):
        call()
