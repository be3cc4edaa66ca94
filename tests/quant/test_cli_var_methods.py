"""VaR and ES of a book: revaluation, sample and methods against plain computations."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from risk.quant import parametric, var
from risk.quant.book_var import Measured, Settings, measure, sample
from risk.quant.correlation import ewma_covariance
from risk.quant.data import PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.holdings import DAY, Holding, Valued, value
from risk.quant.pricing import black76
from risk.quant.scenarios import factors

SETTINGS = Settings(paths=20_000, repetitions=200)


@pytest.fixture(scope="module")
def pair(market: PriceTable) -> PriceTable:
    return PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})


@pytest.fixture(scope="module")
def perps() -> list[Holding]:
    return [Holding("BTC", "perp", Decimal("-1.5")), Holding("ETH", "spot", Decimal("12"))]


@pytest.fixture(scope="module")
def measured(pair: PriceTable, perps: list[Holding]) -> dict[str, Measured]:
    return {m.method: m for m in measure(sample(pair, perps, SETTINGS), SETTINGS)}


def option(kind: str, units: str, days: int, time: int, strike: str = "100") -> Holding:
    return Holding("X", kind, Decimal(units), Decimal(strike), time + days * DAY, 0.8)


def valued(*holdings: Holding, spot: float = 100.0) -> Valued:
    return value(holdings, ["X"], np.array([spot]), np.array([0.5]), 1_700_000_000)


# ----------------------------------------------------------------------------------- revaluation


def test_a_linear_book_loses_units_times_the_move(pair: PriceTable, perps: list[Holding]) -> None:
    s = sample(pair, perps, SETTINGS)
    close, first = pair.close, factors.WARM_UP
    last = close[-1]
    relative = close[first + 24 :] / close[first:-24] - 1.0
    expected = -(relative * last) @ np.array([-1.5, 12.0])
    assert s.overlapping == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert s.daily[-1] == pytest.approx(expected[-1])
    assert s.daily[-2] == pytest.approx(expected[-25])
    assert s.daily.size == -(-expected.size // 24)
    assert s.book.gross == pytest.approx(abs(last * [1.5, 12.0]).sum())
    assert s.book.deltas() == pytest.approx(last * np.array([-1.5, 12.0]))


def test_options_are_repriced_with_decay() -> None:
    time = 1_700_000_000
    book = valued(option("call", "2", 30, time), option("put", "-1", 10, time, "90"))
    sd = 0.8 * np.sqrt(np.array([30.0, 10.0]) / 365.0)
    marks = black76(100.0, [100.0, 90.0], sd, [True, False])
    assert book.mark == pytest.approx(marks)
    moves, vols = np.array([[0.0], [-0.3], [0.2]]), np.array([[0.0], [0.4], [-0.1]])
    got = book.losses(moves, vols, 1.0)
    for i in range(3):
        price = 100.0 * np.exp(moves[i, 0])
        tenor = np.minimum(2.0, np.sqrt(30.0 / np.array([30.0, 10.0])))
        later = sd * (1.0 + np.expm1(vols[i, 0]) * tenor) * np.sqrt([29.0 / 30.0, 9.0 / 10.0])
        now = black76(price, [100.0, 90.0], later, [True, False])
        assert got[i] == pytest.approx(-(2.0 * (now[0] - marks[0]) - (now[1] - marks[1])))
    quiet = valued(option("call", "2", 30, time)).losses(moves[:1], vols[:1], 1.0)
    assert quiet[0] > 0.0, "a long option loses its time value on a quiet day"


def test_an_option_that_expires_within_the_horizon_has_its_intrinsic_value() -> None:
    time = 1_700_000_000
    book = valued(option("put", "1", 1, time))
    got = book.losses(np.array([[np.log(0.9)], [np.log(1.1)]]), np.zeros((2, 1)), 2.0)
    assert got == pytest.approx([book.mark[0] - 10.0, book.mark[0]])


def test_deltas_are_the_slope_of_the_loss() -> None:
    time = 1_700_000_000
    book = valued(
        option("call", "2", 30, time),
        option("put", "-3", 10, time, "80"),
        Holding("X", "future", Decimal(4), expiry=time + 5 * DAY),
    )
    step = 1e-5
    moves = np.log1p(np.array([[step], [-step]]))
    up, down = book.losses(moves, np.zeros((2, 1)), 0.0)
    assert book.deltas()[0] == pytest.approx((down - up) / (2.0 * step), rel=1e-6)


# ----------------------------------------------------------------------------------------- methods


def test_every_method_answers(measured: dict[str, Measured]) -> None:
    assert len(measured) == 12
    for name, m in measured.items():
        assert m.failed is None, name
        assert m.risk is not None and m.var_band is not None and m.es_band is not None
        assert m.risk.es >= m.risk.var > 0.0, name
        assert m.es_band.low <= m.risk.es * 1.001, name
        assert m.es_band.low < m.es_band.high, name
        assert m.var_band.low <= m.risk.var <= m.var_band.high, name


def test_methods_are_those_of_the_library(
    pair: PriceTable, perps: list[Holding], measured: dict[str, Measured]
) -> None:
    s = sample(pair, perps, SETTINGS)
    for name, expected in (
        ("historical", var.historical(s.daily, 0.99)),
        ("historical, overlapping", var.historical(s.overlapping, 0.99)),
        ("age-weighted", var.age_weighted(s.daily, 0.99)),
        ("volatility-scaled", var.volatility_scaled(s.daily, 0.99)),
        ("filtered historical", var.filtered_historical(s.daily, 0.99)),
        ("normal", parametric.fit_normal(s.daily, 0.99)),
        ("Student t", parametric.fit_student_t(s.daily, 0.99)),
    ):
        risk = measured[name].risk
        assert risk is not None
        assert (risk.var, risk.es) == pytest.approx((expected.var, expected.es)), name


def test_monte_carlo_of_a_linear_book_is_delta_normal(
    pair: PriceTable, perps: list[Holding], measured: dict[str, Measured]
) -> None:
    """Log-normal prices against normal returns: equal to the convexity of a day, and the paths."""
    s = sample(pair, perps, SETTINGS)
    covariance = ewma_covariance(s.moves, 0.97)[-1][:2, :2]
    exact = parametric.delta_normal(s.book.deltas(), covariance, 0.99)
    found = measured["Monte Carlo, normal"]
    assert found.risk is not None and found.var_band is not None
    assert found.risk.var == pytest.approx(exact.var, rel=0.06)
    assert found.risk.es == pytest.approx(exact.es, rel=0.06)
    fat = measured["Monte Carlo, t"]
    assert fat.risk is not None
    assert fat.risk.es / fat.risk.var > found.risk.es / found.risk.var


def test_delta_normal_does_not_see_gamma_and_the_others_do(pair: PriceTable) -> None:
    """A hedged short straddle: no delta, yet it loses on every large move."""
    time, spot = int(pair.times[-1]), Decimal(str(float(pair.close[-1, 0])))
    legs = [
        Holding("BTC", kind, Decimal(-10), spot, time + 7 * DAY, 0.5) for kind in ("call", "put")
    ]
    bare = sample(pair, legs, SETTINGS)
    hedge = Decimal(f"{-bare.book.deltas()[0] / float(spot):.8f}")
    s = sample(pair, [*legs, Holding("BTC", "perp", hedge)], SETTINGS)
    found = {m.method: m.risk for m in measure(s, replace(SETTINGS, repetitions=20))}
    blind, seeing = found["delta-normal"], found["Monte Carlo, normal"]
    assert blind is not None and seeing is not None
    assert blind.var < 1.0
    assert seeing.var > 1_000.0
    historical = found["historical"]
    assert historical is not None and historical.var > 1_000.0


def test_a_method_that_cannot_does_not_stop_the_others(
    pair: PriceTable, perps: list[Holding]
) -> None:
    s = sample(pair, perps, SETTINGS)
    constant = replace(s, daily=np.full_like(s.daily, 3.0))
    found = {m.method: m for m in measure(constant, replace(SETTINGS, repetitions=20))}
    assert found["filtered historical"].failed is not None
    assert "constant" in found["filtered historical"].failed
    assert found["filtered historical"].to_json()["var"] is None
    risk = found["historical"].risk
    assert risk is not None and risk.var == 3.0


def test_refusals(pair: PriceTable, perps: list[Holding]) -> None:
    with pytest.raises(QuantError, match="the book is empty"):
        sample(pair, [], SETTINGS)
    with pytest.raises(FitError, match="periods of 48 hours; at least 100"):
        sample(pair, perps, replace(SETTINGS, horizon=48))
    with pytest.raises(QuantError, match="confidence"):
        sample(pair, perps, replace(SETTINGS, alpha=1.0))
