"""Margin groups: common weights, one parameter set; cutting planes of option books."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, Underlying
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.scenarios import cuts, exact
from risk.quant.scenarios.adversary import charges
from risk.quant.scenarios.calibrate import Calibration, Settings, calibrate
from risk.quant.scenarios.certificate import Evidence, begin
from risk.quant.scenarios.coverage import expected_shortfall, scan
from risk.quant.scenarios.exact import Policy
from risk.quant.scenarios.fit import Cuts, Plan, ScenarioSet, fit, scenario_changes, weight_ladder
from risk.quant.scenarios.groups import (
    Grouped,
    certify_groups,
    check_groups,
    common_weights,
    merged,
)
from risk.quant.threads import one_thread

EVIDENCE = Evidence(portfolios=150, starts=4, holdout_days=40)


def tiny() -> Settings:
    plan = Plan(iterations=120, rounds=1, seed=3)
    return Settings(plan, training=900, linear=200, validation=500, adversaries=0)


@pytest.fixture(scope="module")
def three(market: PriceTable) -> PriceTable:
    return market.select(market.assets[:3])


@pytest.fixture(scope="module")
def grouped(three: PriceTable) -> Grouped:
    a, b, c = three.assets
    return certify_groups(three, [[c], [b, a]], tiny(), EVIDENCE)


@pytest.fixture(scope="module")
def fitted(market: PriceTable) -> Calibration:
    one = market.select(market.assets[:2])
    f, at = begin(one, EVIDENCE)
    return calibrate(f, at, tiny())


def test_groups_share_the_assets_out(three: PriceTable) -> None:
    a, b, c = three.assets
    assert check_groups(three, [[c, a], [b]]) == [(a, c), (b,)]
    for wrong in ([[a], [b]], [[a, b], [b, c]], [[a, b, c], []], [[a, b, "DOGE"]]):
        with pytest.raises(QuantError, match="exactly one group"):
            check_groups(three, wrong)


def test_one_parameter_set_holds_every_group(grouped: Grouped, three: PriceTable) -> None:
    params = grouped.params
    assert [u.group for u in params.underlyings] == [1, 1, 0]  # in the table's order
    single, pair = grouped.groups
    assert params.underlyings[2].price_lanes == single.params.underlyings[0].price_lanes
    assert params.underlyings[0].price_lanes == pair.params.underlyings[0].price_lanes
    assert params.weights_bps == single.params.weights_bps == pair.params.weights_bps
    free = single.calibration.scenarios.free
    ladder = weight_ladder(free) * 10_000
    assert np.abs(np.array(params.weights_bps[:free]) - ladder).max() <= 1.0
    assert_accepted(params)
    assert [g["assets"] for g in grouped.report["groups"]] == [
        [three.assets[2]],
        list(three.assets[:2]),
    ]


def assert_accepted(params: RiskParams) -> None:
    """The vault would take them."""
    state = State(owner=1, cash_token=2, cash_decimals=6)
    state.underlyings = [Underlying(feed=i, feed_decimals=8) for i in range(3)]
    params_logic.validate(state, params.blob)


def test_a_group_is_judged_with_the_weights_that_it_ends_up_with(grouped: Grouped) -> None:
    for one in grouped.groups:
        _, _, weights = exact.quantised_shocks(one.params)
        assert (weights >= one.calibration.scenarios.weights - 1e-6).all()
        assert one.report["scenarios"]["weights_bps"] == list(grouped.params.weights_bps)


def test_common_weights_are_the_largest(fitted: Calibration) -> None:
    low = ScenarioSet(fitted.scenarios.shapes, fitted.scenarios.weights * 0.5, 57)
    first, second = common_weights([replace(fitted, scenarios=low), fitted])
    assert np.array_equal(first.scenarios.weights, fitted.scenarios.weights)
    assert np.array_equal(second.scenarios.weights, fitted.scenarios.weights)


def test_the_split_costs_the_offset_between_groups(grouped: Grouped) -> None:
    split = grouped.report["split"]
    pairs = split["by_archetype"]["cross-asset pair"]
    directional = split["by_archetype"]["directional"]
    assert pairs["mean_overcharge"] > directional["mean_overcharge"]
    assert split["all"]["covered"] > 0.9


def test_merging_keeps_the_table_order(grouped: Grouped, three: PriceTable) -> None:
    a, b, c = three.assets
    parts = [one.params for one in grouped.groups]
    again = merged(three.assets, [[c], [a, b]], parts)
    assert again == grouped.params
    swapped = merged((c, b, a), [[c], [a, b]], parts)
    assert [u.group for u in swapped.underlyings] == [0, 1, 1]


# --------------------------------------------------------------------------------------------- cuts


def test_worst_books_are_short_and_their_target_is_what_basis_leaves(fitted: Calibration) -> None:
    problem, policy = fitted.problem, Policy()
    search = cuts.Search(linear=0, options=10, alpha=0.975, seed=5)
    found = cuts.worst_books(problem, fitted.scenarios, policy, search, lambda _: None)
    assert found.target.size > 0
    som, basis = policy.som_bps / 10_000, policy.basis_rates(problem.book)
    es = expected_shortfall(found.sizes, problem.changes, 0.975)
    floor, charged = charges(problem.book, found.sizes, som, basis)
    assert np.allclose(found.target, 0.98 * es - charged)
    changes = scenario_changes(problem.book, fitted.scale, fitted.scenarios)
    charged_scan = scan(found.sizes, changes, fitted.scenarios.weights)
    assert (np.maximum(charged_scan, floor) + charged < 0.98 * es).all()
    assert np.allclose(np.abs(found.sizes).sum(axis=1), 1.0)


def test_the_next_round_serves_the_books_that_the_last_one_failed(fitted: Calibration) -> None:
    search = cuts.Search(linear=0, options=25, alpha=0.975, seed=5)
    seen: list[tuple[ScenarioSet, Cuts]] = []

    def worst(current: ScenarioSet, turn: int) -> Cuts:
        found = cuts.worst_books(fitted.problem, current, Policy(), search, lambda _: None)
        seen.append((current, found))
        return found

    plan = Plan(iterations=200, rounds=2, seed=3)
    with one_thread():
        after = fit(fitted.problem, plan, worst)
    ((before, books),) = seen
    share = [
        scan(books.sizes, scenario_changes(fitted.book, fitted.scale, one), one.weights)
        / books.target
        for one in (before, after)
    ]
    assert (share[0] < 1.0).all()
    assert np.median(share[1]) > np.median(share[0]) + 0.02
