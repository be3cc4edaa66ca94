"""Factors, book, archetypes, fit, quantisation, adversary: small, and against other sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from risk.exact.margin import array_logic
from risk.exact.params import params_logic
from risk.exact.state import State, Underlying, World
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.errors import FitError, QuantError
from risk.quant.scenarios import adversary, coverage, exact, factors, stress
from risk.quant.scenarios.book import (
    deltas,
    make_book,
    value_changes,
    values_and_gradients,
)
from risk.quant.scenarios.calibrate import Calibration, Settings, calibrate
from risk.quant.scenarios.factors import Scale
from risk.quant.scenarios.fit import Plan, scenario_changes

Floats = NDArray[np.float64]
TIME = 1_799_136_000  # 08:00 UTC


def tiny_settings() -> Settings:
    plan = Plan(iterations=400, rounds=1, seed=3)
    return Settings(plan, training=3_000, linear=600, validation=2_000, adversaries=0)


@pytest.fixture(scope="module")
def pair(market: PriceTable) -> factors.Factors:
    return factors.build(
        PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})
    )


@pytest.fixture(scope="module")
def calibrated(pair: factors.Factors) -> Calibration:
    return calibrate(pair, pair.move.shape[0], tiny_settings())


# ------------------------------------------------------------------------------------------ factors


def test_scales_and_shapes_see_nothing_later(market: PriceTable) -> None:
    close = market.close.copy()
    close[3000:] *= np.linspace(1.0, 3.0, close.shape[0] - 3000)[:, None]
    other = factors.build(PriceTable(market.assets, market.times, {"close": close}))
    f = factors.build(market)
    at = 2999
    assert np.array_equal(factors.price_scale(f, at), factors.price_scale(other, at))
    tau = factors.vol_scale(f, f.first, at - factors.PERIOD)
    assert np.array_equal(tau, factors.vol_scale(other, other.first, at - factors.PERIOD))
    stop = at - factors.PERIOD + 1
    assert np.array_equal(
        factors.shapes(f, f.first, stop, tau), factors.shapes(other, f.first, stop, tau)
    )
    assert not np.array_equal(factors.price_scale(f, 3500), factors.price_scale(other, 3500))


def test_moves_are_of_the_margin_period(market: PriceTable) -> None:
    f = factors.build(market)
    assert f.move[100, 1] == pytest.approx(np.log(market.close[124, 1] / market.close[100, 1]))
    x, _ = factors.shocks(np.array([[f.move[100, 1], 0.0]]), Scale(np.ones(1), np.ones(1)))
    assert x[0, 0] == pytest.approx(market.close[124, 1] / market.close[100, 1] - 1.0)


def test_anti_procyclical_scale_keeps_its_floor(market: PriceTable) -> None:
    f = factors.build(market)
    for at in range(f.first + 200, 3900, 500):
        scale = factors.price_scale(f, at)
        seen = f.move[: at + 1 - factors.PERIOD]
        assert (scale >= np.sqrt(np.mean(seen**2, axis=0)) - 1e-15).all()
        stressed = np.quantile(f.sigma[f.first : at + 1], factors.STRESS_QUANTILE, axis=0)
        assert (scale >= 0.75 * f.sigma[at] + 0.25 * stressed - 1e-15).all()


def test_steps_are_limited() -> None:
    old = Scale(np.array([0.04, 0.04, 0.04]), np.array([0.1, 0.1, 0.1]))
    new = Scale(np.array([0.08, 0.01, 0.041]), np.array([0.2, 0.02, 0.1]))
    limited = factors.step(old, new)
    assert limited.price == pytest.approx([0.05, 0.036, 0.041])
    assert limited.vol == pytest.approx([0.125, 0.09, 0.1])
    assert factors.step(None, new) is new


def test_too_short_a_table_is_refused(market: PriceTable) -> None:
    with pytest.raises(FitError, match="hours"):
        factors.build(market.rows(0, 500))


# --------------------------------------------------------------------------------------------- book


def test_gradients_are_those_of_the_values() -> None:
    book = make_book(np.array([0.5, 0.8]))
    rng = np.random.default_rng(1)
    x, v = rng.normal(0.0, 0.06, (40, 2)), rng.normal(0.0, 0.1, (40, 2))
    value, by_x, by_v = values_and_gradients(book, x, v)
    assert np.allclose(value, value_changes(book, x, v, aged=False), atol=1e-13)
    h = 1e-5
    for u in range(2):
        mine = book.owner == u
        bump = np.zeros(2)
        bump[u] = h
        up, down = (value_changes(book, x + s * bump, v, aged=False) for s in (1, -1))
        assert np.allclose(((up - down) / (2 * h))[mine], by_x[mine], atol=1e-7)
        up, down = (value_changes(book, x, v + s * bump, aged=False) for s in (1, -1))
        assert np.allclose(((up - down) / (2 * h))[mine], by_v[mine], atol=1e-7)


def test_time_value_is_lost_in_a_quiet_market() -> None:
    book = make_book(np.array([0.6]))
    still = np.zeros((1, 1))
    decay = value_changes(book, still, still, aged=True)[:, 0]
    assert (decay[~book.linear] < 0.0).all()
    assert decay[book.linear] == 0.0
    assert np.abs(value_changes(book, still, still, aged=False)).max() < 1e-15


# --------------------------------------------------------------------------------------- archetypes


def test_archetypes_are_what_their_names_say() -> None:
    book = make_book(np.array([0.5, 0.7, 0.9]))
    delta = deltas(book)
    for kind in (*archetypes.ARCHETYPES, archetypes.MIXED):
        rows = archetypes.sample(kind, book, 60, 5)
        assert np.array_equal(rows, archetypes.sample(kind, book, 60, 5))
        assert not np.array_equal(rows, archetypes.sample(kind, book, 60, 6))
        assert np.abs(rows).sum(axis=1) == pytest.approx(1.0)
    neutral = archetypes.sample("delta-neutral", book, 60, 5)
    for u in range(3):
        mine = book.owner == u
        assert np.abs(neutral[:, mine] @ delta[mine]).max() < 1e-12
    strangles = archetypes.sample("short strangle", book, 60, 5)
    assert (strangles <= 0.0).all()
    assert not strangles[:, book.linear].any()
    calendars = archetypes.sample("calendar", book, 60, 5)[:, ~book.linear]
    assert ((calendars > 0).sum(axis=1) == (calendars < 0).sum(axis=1)).all()
    with pytest.raises(QuantError, match="no archetype"):
        archetypes.sample("butterfly", book, 1, 1)


# ------------------------------------------------------------------------------------------ fitting


def test_stress_scenarios_never_bind_for_linear_positions() -> None:
    shapes, weights = stress.fixed(3)
    assert (np.abs(shapes[:, 0]) * weights < stress.UNIT).all()
    rng = np.random.default_rng(2)
    sample = rng.standard_t(4, (2_000, 4))
    days, day_weights, rows = stress.historical(sample, 3, 24)
    assert days.shape == (3, 4)
    assert ((day_weights > 0.0) & (day_weights <= stress.DAMPING)).all()
    gaps = np.abs(np.subtract.outer(rows, rows))[np.triu_indices(3, 1)] * 24
    assert gaps.min() >= stress.APART


def test_a_small_set_covers_and_is_cheap(calibrated: Calibration) -> None:
    """Portfolios that no fit has seen; a set of random directions of the same size is the foil."""
    book, problem, found = calibrated.book, calibrated.problem, calibrated.scenarios
    assert found.count == 64
    assert ((found.weights > 0.0) & (found.weights <= 1.0)).all()
    sizes, _ = archetypes.sample_all(book, 3_000, 88)
    es = coverage.expected_shortfall(sizes, problem.changes, 0.975)
    changes = scenario_changes(book, calibrated.scale, found)
    ours = coverage.summarise(coverage.scan(sizes, changes, found.weights), es)
    assert ours.covered >= 0.99
    perps = archetypes.linear_directions(book, 3_000, 88)
    linear = coverage.summarise(
        coverage.scan(perps, changes, found.weights),
        coverage.expected_shortfall(perps, problem.changes, 0.975),
    )
    assert linear.covered >= 0.995

    rng = np.random.default_rng(4)
    directions = rng.standard_normal((64, 4))
    reach = 1.0
    plain = replace(found, shapes=directions / np.linalg.norm(directions, axis=1)[:, None] * 3.5)
    plain = replace(plain, weights=np.ones(64), free=64)
    while True:  # the foil, blown up until it covers as much
        shapes = replace(plain, shapes=plain.shapes * reach)
        foil = coverage.summarise(
            coverage.scan(sizes, scenario_changes(book, calibrated.scale, shapes), plain.weights),
            es,
        )
        if foil.covered >= ours.covered or reach > 4.0:
            break
        reach *= 1.1
    assert ours.mean_overcharge < 0.7 * foil.mean_overcharge


def test_the_same_seed_gives_the_same_set(pair: factors.Factors) -> None:
    plan = Plan(iterations=60, rounds=2, seed=5)
    settings = Settings(
        plan, training=500, linear=200, validation=500, adversaries=3, option_adversaries=6
    )
    first, second = (calibrate(pair, pair.move.shape[0], settings) for _ in range(2))
    assert np.array_equal(first.scenarios.shapes, second.scenarios.shapes)
    assert np.array_equal(first.scenarios.weights, second.scenarios.weights)


def test_summary_of_a_case_by_hand() -> None:
    got = coverage.summarise(np.array([1.1, 0.9, 2.0, 5.0]), np.array([1.0, 1.0, 1.0, 0.001]))
    assert (got.portfolios, got.left_out) == (3, 1)
    assert got.covered == pytest.approx(2 / 3)
    assert got.mean_overcharge == pytest.approx(1.0 / 3)
    assert got.worst == pytest.approx(0.9)
    with pytest.raises(QuantError, match="material"):
        coverage.summarise(np.ones(1), np.zeros(1))


# ------------------------------------------------------------------------------------- quantisation


def test_parameters_are_accepted_and_round_against_the_account(calibrated: Calibration) -> None:
    params = exact.quantised(calibrated.scenarios, calibrated.scale, exact.Policy())
    state = State(1, 2, 6, underlyings=[Underlying(feed=5, feed_decimals=8) for _ in range(2)])
    params_logic.set_params(state, World(), params.blob)
    assert state.params == params
    x, v = factors.shocks(calibrated.scenarios.shapes, calibrated.scale)
    for u, item in enumerate(params.underlyings):
        prices = np.array(item.price_lanes) * item.price_unit_e6 * 1e-6
        vols = np.array(item.vol_lanes) * item.vol_unit_e6 * 1e-6
        assert (np.abs(prices) >= np.abs(x[:, u]) - 1e-6).all()
        assert (np.abs(vols) >= np.minimum(np.abs(v[:, u]), 1.0) - 1e-6).all()
        assert np.abs(prices - x[:, u]).max() <= item.price_unit_e6 * 1e-6 + 1e-6
    assert (np.array(params.weights_bps) >= calibrated.scenarios.weights * 1e4 - 0.5).all()


def test_exact_scan_is_the_float_scan(calibrated: Calibration) -> None:
    """At the rounded shocks never below, and above only by the rounding of the lanes."""
    book = calibrated.book
    params = exact.quantised(calibrated.scenarios, calibrated.scale, exact.Policy())
    state = exact.make_state(book, [60_000.0, 3_000.0], TIME, params)
    sizes, _ = archetypes.sample_all(book, 140, 9)
    whole = exact.exact_scan(sizes, book, state, TIME)
    x, v, weights = exact.quantised_shocks(params)
    floats = coverage.scan(sizes, value_changes(book, x, v, aged=False), weights)
    assert (whole >= floats - 1e-8).all()
    assert (whole - floats).max() < 2e-4
    unrounded = scenario_changes(book, calibrated.scale, calibrated.scenarios)
    before = coverage.scan(sizes, unrounded, calibrated.scenarios.weights)
    assert np.abs(whole - before).max() < 5e-4, "the rounding of shocks moves little"


def test_float_and_exact_option_values_agree(calibrated: Calibration) -> None:
    book = calibrated.book
    params = exact.quantised(calibrated.scenarios, calibrated.scale, exact.Policy())
    state = exact.make_state(book, [60_000.0, 3_000.0], TIME, params)
    for j, item in enumerate(exact.instruments(book, TIME)):
        if not book.linear[j]:
            price = state.underlyings[int(book.owner[j])].price_wad
            mark = array_logic.compute(state, item).mark_down / price
            assert mark == pytest.approx(book.mark[j], abs=2e-8)


# ---------------------------------------------------------------------------------------- adversary


def test_the_search_finds_the_worst_linear_portfolio(calibrated: Calibration) -> None:
    """Against brute force over all directions of the plane."""
    book, problem = calibrated.book, calibrated.problem
    changes = scenario_changes(book, calibrated.scale, calibrated.scenarios)
    weights = calibrated.scenarios.weights
    columns = np.flatnonzero(book.linear)
    need = adversary.requirement(book, columns, changes, weights)
    found = adversary.search(need, problem.changes, 0.975, 30, 1)
    angles = np.linspace(0.0, 2.0 * np.pi, 4_001)
    sizes = np.zeros((angles.size, book.size))
    sizes[:, columns] = np.column_stack([np.cos(angles), np.sin(angles)])
    es = coverage.expected_shortfall(sizes, problem.changes, 0.975)
    brute = (coverage.scan(sizes, changes, weights) / es).min()
    assert found.worst == pytest.approx(brute, abs=2e-3)
    again = coverage.scan(found.portfolio[None], changes, weights)
    assert again / coverage.expected_shortfall(
        found.portfolio[None], problem.changes, 0.975
    ) == pytest.approx(found.worst, rel=1e-6)


def test_the_short_option_minimum_bounds_the_adversary(calibrated: Calibration) -> None:
    book, problem = calibrated.book, calibrated.problem
    changes = scenario_changes(book, calibrated.scale, calibrated.scenarios)
    policy = exact.Policy()
    basis = policy.basis_rates(book)
    need = adversary.requirement(
        book,
        np.arange(book.size),
        changes,
        calibrated.scenarios.weights,
        som=policy.som_bps / 1e4,
        basis=basis,
    )
    found = adversary.search(need, problem.changes, 0.975, 4, 1)
    assert found.unbounded == 0
    floor, charge = adversary.charges(book, found.portfolio[None], policy.som_bps / 1e4, basis)
    scan = coverage.scan(found.portfolio[None], changes, calibrated.scenarios.weights)
    whole = np.maximum(scan, floor) + charge
    assert whole == pytest.approx(1.0, abs=1e-6)
    state = exact.make_state(
        book,
        [60_000.0, 3_000.0],
        TIME,
        exact.quantised(calibrated.scenarios, calibrated.scale, policy),
    )
    (margin,) = exact.margins(found.portfolio[None], book, state, TIME)
    assert margin.mm / (10**6 * exact.WAD) == pytest.approx(float(whole[0]), rel=0.1)
