"""VaR and ES against published numbers and closed forms.

Every tolerance is half a unit of the last published digit, unless a comment says otherwise.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.quant import evt, parametric, var
from risk.quant.correlation import ewma_covariance
from risk.quant.volatility import ewma_variance

Floats = NDArray[np.float64]

# ------------------------------------------------------------------------- Hull, the VaR chapter
# Source: Hull, Risk Management and Financial Institutions, VaR chapter; $000; tolerance 0.0005.

HULL_WORST = [(494, 477.841), (339, 345.435), (349, 282.204), (329, 277.041), (487, 253.385)]


def test_hull_worst_five(hull_losses: Floats) -> None:
    order = np.argsort(-hull_losses)[:5]
    assert (order + 1).tolist() == [scenario for scenario, _ in HULL_WORST]
    assert hull_losses[order] == pytest.approx([loss for _, loss in HULL_WORST], abs=5e-4)


def test_hull_historical(hull_losses: Floats) -> None:
    risk = var.historical(hull_losses, 0.99)
    assert risk.var == pytest.approx(253.385, abs=5e-4)  # the fifth worst of 500
    assert risk.es == pytest.approx(327.181, abs=5e-4)  # Rockafellar-Uryasev: mean of five worst


def test_hull_normal_equal_weights(hull_returns: Floats, hull_exposures: Floats) -> None:
    covariance = np.cov(hull_returns.T, ddof=0)
    risk = parametric.delta_normal(hull_exposures, covariance, 0.99)
    assert risk.var == pytest.approx(217.757, abs=5e-4)


def test_hull_normal_ewma(
    hull_returns: Floats, hull_exposures: Floats, hull_losses: Floats
) -> None:
    covariance = ewma_covariance(hull_returns, 0.94, warm_up=1)[-1]
    sd = float(np.sqrt(hull_exposures @ covariance @ hull_exposures))
    assert sd == pytest.approx(202.474, abs=5e-4)
    risk = parametric.delta_normal(hull_exposures, covariance, 0.99)
    assert risk.var == pytest.approx(471.025, abs=5e-4)
    # a linear portfolio: the EWMA of its own losses is the same number
    own = ewma_variance(hull_losses**2, 0.94, hull_losses[0] ** 2)[-1]
    assert float(np.sqrt(own)) == pytest.approx(sd, rel=1e-12)


def test_hull_extreme_values(hull_losses: Floats) -> None:
    tail = evt.fit_pot(hull_losses, threshold=160.0)
    assert tail.exceedances == 22
    assert tail.shape == pytest.approx(0.436, abs=5e-4)
    assert tail.scale == pytest.approx(32.53, abs=5e-3)


# ----------------------------------------------------------------------------------- closed forms
# Source: closed forms, V = 10 000, sd = V·20 %/sqrt(250), t with 4 degrees scaled to equal
# variance; published to one decimal, tolerance 0.05.

SD = 10_000 * 0.20 / np.sqrt(250)
CLOSED_FORMS = [
    # alpha, VaR normal, VaR t4, ES normal, ES t4
    (0.95, 208.1, 190.7, 260.9, 286.5),
    (0.975, 247.9, 248.3, 295.7, 357.2),
    (0.99, 294.3, 335.1, 337.1, 466.9),
]


@pytest.mark.parametrize("row", CLOSED_FORMS, ids=lambda row: f"{row[0]}")
def test_closed_forms(row: tuple[float, ...]) -> None:
    alpha, *published = row
    normal, t4 = parametric.normal(SD, alpha), parametric.student_t(SD, 4.0, alpha)
    assert [normal.var, t4.var, normal.es, t4.es] == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize("df", [2.5, 4.0, 30.0, None])
@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.975, 0.999])
def test_closed_forms_against_integration(df: float | None, alpha: float) -> None:
    # VaR: the distribution function returns alpha. ES: mean of the quantile function over the
    # tail. Tolerance 1e-7: the quadrature at the end point.
    from scipy import integrate, stats

    law = stats.norm(0.3, 2.0)
    risk = parametric.normal(2.0, alpha, mean=0.3)
    if df is not None:
        law = stats.t(df, 0.3, 2.0 * np.sqrt((df - 2.0) / df))
        risk = parametric.student_t(2.0, df, alpha, mean=0.3)
    assert law.cdf(risk.var) == pytest.approx(alpha, abs=1e-12)
    beyond, _ = integrate.quad(law.sf, risk.var, np.inf, epsabs=1e-12, limit=500)
    assert risk.es == pytest.approx(risk.var + beyond / (1.0 - alpha), rel=1e-6)


def test_t_tends_to_the_normal() -> None:
    t, z = parametric.student_t(1.0, 1e7, 0.99), parametric.normal(1.0, 0.99)
    assert (t.var, t.es) == pytest.approx((z.var, z.es), rel=1e-6)


# ------------------------------------------------------------- the sample estimators by definition


def test_weighted_tail_by_hand() -> None:
    losses, weights = [5.0, 1.0, 3.0, 4.0], [0.1, 0.4, 0.3, 0.2]
    # tail 0.2: the worst is 5 with 0.1, then 4 fills the other 0.1 of its 0.2
    assert var.weighted_tail(losses, weights, 0.8) == pytest.approx((4.0, 4.5))
    # tail 0.3 is exactly 5 and 4; the upper quantile is the smaller of them
    assert var.weighted_tail(losses, weights, 0.7) == pytest.approx((4.0, 13.0 / 3.0))
    assert var.weighted_tail(losses, weights, 0.95) == (5.0, 5.0)
    assert var.weighted_tail(losses, np.array(weights) * 7.0, 0.8) == pytest.approx((4.0, 4.5))


def test_fractional_tail_by_hand() -> None:
    # n·(1 - alpha) = 2.5 of 250: VaR is the third worst, ES takes half of it
    losses = np.arange(250.0)
    risk = var.historical(losses, 0.99)
    assert risk.var == 247.0
    assert risk.es == pytest.approx((249.0 + 248.0 + 0.5 * 247.0) / 2.5)


def test_age_weights_by_hand() -> None:
    weights = var.age_weights(3, 0.5)
    assert weights == pytest.approx(np.array([1, 2, 4]) / 7.0)
    # the same loss counts more when it is recent
    old, recent = [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]
    assert var.age_weighted(old, 0.9, decay=0.5).var == 0.0
    assert var.age_weighted(recent, 0.9, decay=0.5).var == 9.0
    steady = np.random.default_rng(0).standard_normal(400)
    even, plain = var.age_weighted(steady, 0.97, decay=1.0), var.historical(steady, 0.97)
    assert (even.var, even.es) == pytest.approx((plain.var, plain.es), rel=1e-12)


def test_volatility_scaling_by_definition() -> None:
    rng = np.random.default_rng(1)
    losses = rng.standard_normal(300) * np.repeat([1.0, 3.0], 150)
    forecast = [float(np.mean(losses[:20] ** 2))]
    for loss in losses:
        forecast.append(0.9 * forecast[-1] + 0.1 * loss**2)
    sigma = np.sqrt(forecast)
    expected = var.historical(losses[20:] * sigma[-1] / sigma[20:-1], 0.98)
    got = var.volatility_scaled(losses, 0.98, decay=0.9, warm_up=20)
    assert (got.var, got.es) == pytest.approx((expected.var, expected.es), rel=1e-12)
    # the sample is half calm: unscaled history understates the volatile present
    assert got.var > 1.1 * var.historical(losses, 0.98).var


def test_filtered_historical_follows_the_last_volatility() -> None:
    rng = np.random.default_rng(2)
    variance, path = 1.0, []
    for _ in range(1500):
        path.append(np.sqrt(variance) * rng.standard_normal())
        variance = 0.04 + 0.10 * path[-1] ** 2 + 0.86 * variance
    calm, shaken = np.array(path), np.array([*path, -6.0])
    one, two = (var.filtered_historical(-x, 0.99, kind="garch") for x in (calm, shaken))
    assert two.var > 1.3 * one.var
    # the law is known: VaR of the next step is close to 2.326 sd (sampling error of 1 500 losses)
    assert one.var == pytest.approx(2.326 * np.sqrt(variance), rel=0.12)
    far = var.filtered_historical(-calm, 0.99, kind="garch", horizon=10, paths=4000, seed=3)
    assert far == var.filtered_historical(-calm, 0.99, kind="garch", horizon=10, paths=4000, seed=3)
    assert 2.0 * one.var < far.var < 5.0 * one.var
