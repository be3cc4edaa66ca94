"""Proposals: limits, floor, steps, the exact integers, the effect on a book."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from risk.chain.abi import function
from risk.chain.keccak import keccak
from risk.exact.errors import ModelRevert
from risk.exact.governance import param_ramp, steward_check
from risk.exact.margin import margin_engine
from risk.exact.params import params_logic
from risk.exact.params.risk_params import RiskParams
from risk.quant import recommend as rec
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.recommend import Governor, InForce
from risk.quant.recommend_effect import BookSize, effect, fill_book
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.book import make_book
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.factors import Factors, Scale
from risk.quant.scenarios.fit import Plan
from tests.governance.support import base_params

SETTINGS = Settings(
    Plan(iterations=25, rounds=1, seed=3),
    training=400,
    linear=100,
    validation=300,
    adversaries=0,
)
GOVERNOR = Governor(governor=0xABCD, timelock=0x1234)
SMALL = BookSize(120, 5)


@pytest.fixture(scope="module")
def pair(market: PriceTable) -> Factors:
    table = PriceTable(market.assets[:2], market.times, {"close": market.close[:, :2]})
    return factors.build(table)


@pytest.fixture(scope="module")
def at(pair: Factors) -> int:
    return len(pair.times) - 1


@pytest.fixture(scope="module")
def now(pair: Factors, at: int) -> InForce:
    return rec.start(pair, at - 30 * 24, SETTINGS)


def scaled(now: InForce, price: float, vol: float) -> Scale:
    return Scale(now.scale.price * price, now.scale.vol * vol)


def lanes(params: RiskParams) -> list[int]:
    return [lane for u in params.underlyings for lane in (*u.price_lanes, *u.vol_lanes)]


# ----------------------------------------------------------------------------------------- steward


@pytest.mark.parametrize("price", [0.7, 0.93, 1.0, 1.04, 1.6])
@pytest.mark.parametrize("vol", [0.9, 1.0, 1.25])
def test_a_steered_set_always_passes_the_contracts_check(
    now: InForce, price: float, vol: float
) -> None:
    proposed, cut = rec.steered(now, scaled(now, price, vol), GOVERNOR)
    old = now.params.blob
    steward_check.require_within(old, old, proposed.blob, GOVERNOR.steward_bps)
    assert proposed.weights_bps == now.params.weights_bps
    if price == vol == 1.0:
        assert (proposed, cut) == (now.params, 0)
    if price in (0.7, 1.6):
        assert cut > 60, "far beyond the limit"


def test_steered_lanes_are_the_rescaled_shocks_away_from_zero(now: InForce) -> None:
    proposed, _ = rec.steered(now, scaled(now, 1.04, 1.0), GOVERNOR)
    for old, new in zip(now.params.underlyings, proposed.underlyings, strict=True):
        for a, b in zip(old.price_lanes, new.price_lanes, strict=True):
            wanted = (1.0 + a * old.price_unit_e6 * 1e-6) ** 1.04 - 1.0
            got = b * old.price_unit_e6 * 1e-6
            assert a * b > 0 or a == b == 0
            limited = abs(b) == abs(a) + abs(a) // 10
            assert abs(got) >= abs(wanted) - 1e-6 or limited
            assert abs(got) - abs(wanted) <= (old.price_unit_e6 + 1) * 1e-6
        assert old.vol_lanes == new.vol_lanes


def test_the_anchor_of_the_period_binds_too() -> None:
    """From 1000 in the anchor by 1060 now: at most 1100, although 1060 alone would allow 1166."""
    assert rec._allowed(1_200, 1_060, 1_000, 1_000) == 1_100
    assert rec._allowed(1_200, 1_060, 1_060, 1_000) == 1_166
    assert rec._allowed(-1_200, -1_060, -1_000, 1_000) == -1_100
    assert rec._allowed(900, 1_060, 1_000, 1_000) == 954
    assert rec._allowed(5, 0, 0, 1_000) == 0
    assert rec._allowed(600, 1_000, 500, 1_000) == 1_000, "no value is allowed: it stays"


def test_random_anchors_never_let_a_refused_blob_out(now: InForce) -> None:
    """Lanes of the anchor off by up to 10 %, both ways."""
    rng = Random(4)
    for _ in range(20):
        moved = [
            replace(
                u,
                price_lanes=tuple(
                    lane + rng.randint(-abs(lane) // 10, abs(lane) // 10) for lane in u.price_lanes
                ),
            )
            for u in now.params.underlyings
        ]
        anchor = replace(now.params, underlyings=tuple(moved)).blob
        governor = replace(GOVERNOR, anchor=anchor)
        goal = scaled(now, rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.3))
        proposed, _ = rec.steered(now, goal, governor)
        steward_check.require_within(anchor, now.params.blob, proposed.blob, 1_000)


def test_reached_scales_are_those_of_the_lanes(now: InForce) -> None:
    """Within the limit the goal is reached; beyond it about ten per cent."""
    near, _ = rec.steered(now, scaled(now, 1.04, 0.97), GOVERNOR)
    reached = rec.reached(now, near)
    assert reached.price == pytest.approx(now.scale.price * 1.04, rel=2e-3)
    assert reached.vol == pytest.approx(now.scale.vol * 0.97, rel=5e-3)
    far, _ = rec.steered(now, scaled(now, 1.5, 1.0), GOVERNOR)
    assert rec.reached(now, far).price == pytest.approx(now.scale.price * 1.1, rel=0.02)


# ------------------------------------------------------------------------------- goals, floor, step


def test_goal_never_moves_beyond_the_step_and_never_below_the_floor(
    pair: Factors, at: int, now: InForce
) -> None:
    wanted = factors.price_scale(pair, at)
    low = InForce(now.params, Scale(wanted / 3.0, now.scale.vol))
    goal, told = rec.goal_scale(pair, at, low)
    assert goal.price == pytest.approx(low.scale.price * factors.MAX_STEP_UP)
    assert told["step_limit_binds"] == [True, True]
    high = InForce(now.params, Scale(wanted * 3.0, now.scale.vol))
    goal, _ = rec.goal_scale(pair, at, high)
    assert goal.price == pytest.approx(high.scale.price * factors.MAX_STEP_DOWN)
    goal, told = rec.goal_scale(pair, at, InForce(now.params, Scale(wanted, now.scale.vol)))
    assert np.array_equal(goal.price, wanted)
    assert (goal.price >= np.array(told["price_floor"]) * (1.0 - 1e-8)).all()


def test_the_floor_holds_after_a_calm_month(market: PriceTable) -> None:
    """Planted: the last 60 days hardly move; forecast and stress blend fall below the floor."""
    close = market.close[:, :2].copy()
    calm = 60 * 24
    close[-calm:] = close[-calm] * np.exp(
        np.random.default_rng(1).standard_normal((calm, 2)).cumsum(axis=0) * 1e-5
    )
    f = factors.build(PriceTable(market.assets[:2], market.times, {"close": close}))
    last = len(f.times) - 1
    wanted = factors.price_scale(f, last)
    _, told = rec.goal_scale(f, last, InForce(base_params(), Scale(wanted, np.ones(2))))
    assert told["floor_binds"] == [True, True]
    assert told["price_forecast"][0] < 0.6 * told["price_floor"][0]
    assert told["price_scale_by_rule"] == told["price_floor"]


# ---------------------------------------------------------------------------------------- timelock


def test_a_renewed_set_keeps_policy_and_units_and_plans(
    pair: Factors, at: int, now: InForce
) -> None:
    policy = replace(
        now.params,
        im_factor_bps=13_000,
        warning_bps=12_500,
        underlyings=tuple(
            replace(u, som_bps=777, price_unit_e6=u.price_unit_e6 * 2, vol_unit_e6=3_000)
            for u in now.params.underlyings
        ),
    )
    wide = InForce(policy, now.scale)
    fitted = calibrate(pair, at, SETTINGS)
    proposed = rec.renewed(wide, fitted.scenarios, fitted.scale, SETTINGS)
    assert (proposed.im_factor_bps, proposed.warning_bps) == (13_000, 12_500)
    for old, new in zip(policy.underlyings, proposed.underlyings, strict=True):
        assert replace(new, price_lanes=(), vol_lanes=()) == replace(
            old, price_lanes=(), vol_lanes=()
        )
    x, v, weights = exact.quantised_shocks(proposed)
    fresh = exact.quantised(fitted.scenarios, fitted.scale, SETTINGS.policy)
    x0, v0, weights0 = exact.quantised_shocks(fresh)
    assert np.array_equal(weights, weights0)
    for got, want, unit in ((x, x0, "price_unit_e6"), (v, v0, "vol_unit_e6")):
        step = np.array([getattr(u, unit) for u in policy.underlyings]) * 1e-6
        assert (np.abs(got) >= np.abs(want) - 1e-6).all()
        assert (np.abs(got) - np.abs(want) <= step + 1e-6).all()
    ramp = rec.ramp(policy, proposed, rec.TIMELOCK, GOVERNOR)
    _, steps = param_ramp.plan(policy.blob, proposed.blob, True, GOVERNOR.min_steps)
    assert ramp["steps"] == steps >= GOVERNOR.min_steps


def test_a_shock_beyond_the_unit_is_refused_with_the_unit_it_needs(now: InForce) -> None:
    narrow = replace(
        now.params,
        underlyings=tuple(replace(u, price_unit_e6=1) for u in now.params.underlyings),
    )
    shapes = np.zeros((64, 4))
    shapes[0] = 3.0
    from risk.quant.scenarios.fit import ScenarioSet

    with pytest.raises(QuantError, match=r"price_unit_e6 = \d+ alone first"):
        rec.renewed(
            InForce(narrow, now.scale), ScenarioSet(shapes, np.ones(64), 57), now.scale, SETTINGS
        )


def test_what_the_governor_would_refuse_is_an_error(now: InForce) -> None:
    u = now.params.underlyings[0]
    wider = replace(u, price_lanes=tuple(lane * 6 // 5 for lane in u.price_lanes))
    far = replace(now.params, underlyings=(wider, *now.params.underlyings[1:]))
    with pytest.raises(QuantError, match="StewardLimit"):
        rec.ramp(now.params, far, rec.STEWARD, GOVERNOR)
    unit = replace(wider, price_unit_e6=u.price_unit_e6 + 1)
    both = replace(now.params, underlyings=(unit, *now.params.underlyings[1:]))
    with pytest.raises(QuantError, match="UnitAndLanes"):
        rec.ramp(now.params, both, rec.TIMELOCK, GOVERNOR)


# ------------------------------------------------------------------------------- diff and calldata


def test_changed_fields_have_names_and_rebuild_the_blob() -> None:
    old = base_params()
    u = old.underlyings[1]
    new = replace(
        old,
        weights_bps=(old.weights_bps[0] - 50, *old.weights_bps[1:]),
        warning_bps=old.warning_bps + 5,
        underlyings=(
            old.underlyings[0],
            replace(u, som_bps=u.som_bps + 7, price_lanes=(-1_300, *u.price_lanes[1:])),
        ),
    )
    rows = rec.changed_fields(old.blob, new.blob)
    assert [(r["field"], r["class"], r["now"], r["proposed"]) for r in rows] == [
        ("weight_bps", "loosens", str(old.weights_bps[0]), str(old.weights_bps[0] - 50)),
        ("som_bps", "tightens", str(u.som_bps), str(u.som_bps + 7)),
        ("price_lane", "tightens or loosens", "-1200", "-1300"),
        ("warning_bps", "tightens", str(old.warning_bps), str(old.warning_bps + 5)),
    ]
    lane = rows[2]
    assert (lane["underlying"], lane["scenario"]) == (1, 0)
    assert lane["shock_proposed"] == f"{-1300 * u.price_unit_e6 / 1e6:.6f}".rstrip("0")
    assert rec.changed_fields(old.blob, old.blob) == []


def test_calldata_of_both_routes() -> None:
    blob = base_params().blob
    (steer,) = rec.calldata(blob, rec.STEWARD, GOVERNOR)
    call = function({"name": "steer", "inputs": [{"type": "bytes"}]})
    assert call.arguments(bytes.fromhex(steer["data"][2:])) == [blob]
    assert steer["to"] == f"0x{0xABCD:040x}"
    schedule, execute = rec.calldata(blob, rec.TIMELOCK, GOVERNOR)
    # selectors of OpenZeppelin's TimelockController
    assert schedule["data"].startswith("0x01d5062a")
    assert execute["data"].startswith("0x134008d3")
    assert (schedule["to"], execute["not_before_seconds"]) == (f"0x{0x1234:040x}", 172_800)
    assert keccak(b"submitParams(bytes)")[:4].hex() in schedule["data"]
    # never a call to, or of, the zero address
    (steer,) = rec.calldata(blob, rec.STEWARD, Governor())
    assert steer["to"] is None
    assert rec.calldata(blob, rec.TIMELOCK, Governor(timelock=1)) == []


# ------------------------------------------------------------------------------------------ effect


def test_effect_is_the_models_own_count(pair: Factors, at: int, now: InForce) -> None:
    """Every account by the reference model, one by one, before and after."""
    book = make_book(pair.implied[at])
    time = int(pair.times[at]) // exact.DAY * exact.DAY + 8 * 3600
    state = exact.make_state(book, [float(p) for p in pair.price[at]], time, now.params)
    fill_book(state, book, time, SMALL)
    already = list(state.accounts.values())[::10]
    for account in already:  # below both before the change: not newly so
        account.cash_wad -= 10**6 * exact.WAD
    wider, _ = rec.steered(now, scaled(now, 1.1, 1.1), GOVERNOR)
    wider = replace(wider, underlyings=tuple(replace(u, som_bps=3_000) for u in wider.underlyings))
    got = effect(state, wider)
    later = state.clone()
    later.params = wider
    before, after = (
        [margin_engine.compute(s, i, a) for i, a in s.accounts.items()] for s in (state, later)
    )
    assert got["accounts"] == len(before) == 122, "120 traders, a maker for each underlying"
    assert got["not_judged"] == 0
    assert got["mm_now_wad"] == str(sum(m.mm for m in before))
    assert got["mm_proposed_wad"] == str(sum(m.mm for m in after))
    for name in ("im", "mm"):
        short = [
            m.has_obligations and m.equity < getattr(m, name) and b.equity >= getattr(b, name)
            for b, m in zip(before, after, strict=True)
        ]
        assert got[f"newly_below_{name}"] == sum(short)
    assert got["below_im_now"] == sum(m.has_obligations and m.equity < m.im for m in before) >= 13
    assert got["newly_below_im"] == got["below_im_proposed"] - got["below_im_now"]
    assert got["newly_below_im"] >= got["newly_below_mm"] > 0
    assert got["im_change_bps"] > 0
    gaps = [int(r["equity_minus_mm_wad"]) for r in got["closest_to_liquidation"]]
    assert gaps == sorted(m.equity - m.mm for m in after if m.has_obligations)[:10]
    assert state.params is now.params


def test_the_whole_outcome(pair: Factors, at: int, now: InForce) -> None:
    value = rec.recommend(pair, at, now, rec.STEWARD, GOVERNOR, SETTINGS, SMALL)
    blob = bytes.fromhex(value["blob"][2:])
    proposed = RiskParams.decode(blob)
    assert len(value["changes"]) == sum(
        a != b for a, b in zip(lanes(now.params), lanes(proposed), strict=True)
    )
    state = exact.make_state(make_book(pair.implied[at]), [1.0, 1.0], 0, now.params)
    params_logic.validate(state, blob)
    assert value["ramp"]["steps"] >= GOVERNOR.min_steps
    assert 0.9 < value["coverage"]["proposed"]["covered"] <= 1.0
    with pytest.raises(QuantError, match="no route"):
        rec.recommend(pair, at, now, "guardian", GOVERNOR, SETTINGS, SMALL)
    three = InForce(
        replace(now.params, underlyings=(*now.params.underlyings, now.params.underlyings[0])),
        now.scale,
    )
    with pytest.raises(QuantError, match="3 underlyings, the prices 2"):
        rec.recommend(pair, at, three, rec.STEWARD, GOVERNOR, SETTINGS, SMALL)


def test_an_underlying_without_prices_stays_as_it_is(pair: Factors, at: int, now: InForce) -> None:
    """Three underlyings in force, prices of the first and the last: a whole set is proposed, valid
    for the governor, the lanes of the middle one untouched."""
    first, last = now.params.underlyings
    three = replace(now.params, underlyings=(first, replace(first, som_bps=777), last))
    whole = InForce(three, now.scale, (0, 2))
    value = rec.recommend(pair, at, whole, rec.STEWARD, GOVERNOR, SETTINGS, SMALL)
    proposed = RiskParams.decode(bytes.fromhex(value["blob"][2:]))
    assert proposed.underlyings[1] == three.underlyings[1]
    alone = rec.recommend(pair, at, now, rec.STEWARD, GOVERNOR, SETTINGS, SMALL)
    pairwise = RiskParams.decode(bytes.fromhex(alone["blob"][2:]))
    assert (proposed.underlyings[0], proposed.underlyings[2]) == pairwise.underlyings
    assert value["underlyings_left_as_they_are"] == [1]
    assert {r["underlying"] for r in value["changes"]} == {0, 2}
    for key in ("effect", "coverage", "scales", "scales_reached"):
        assert value[key] == alone[key]
    steward_check.require_within(three.blob, three.blob, proposed.blob, GOVERNOR.steward_bps)
    with pytest.raises(QuantError, match="a new fit needs prices of every underlying; 1 of them"):
        rec.recommend(pair, at, whole, rec.TIMELOCK, GOVERNOR, SETTINGS, SMALL)


def test_nothing_to_change_is_said(pair: Factors, at: int, now: InForce) -> None:
    goal, _ = rec.goal_scale(pair, at, now)
    settled = InForce(now.params, goal)
    for _ in range(40):
        if np.array_equal(rec.goal_scale(pair, at, settled)[0].vol, settled.scale.vol):
            break
        settled = InForce(now.params, rec.goal_scale(pair, at, settled)[0])
    value = rec.recommend(pair, at, settled, rec.STEWARD, GOVERNOR, SETTINGS, SMALL)
    assert value["nothing_changes"]
    assert value["calldata"] == [] and value["ramp"] is None
    assert value["effect"]["mm_change_bps"] == 0


def test_the_check_itself_refuses_one_lane_more(now: InForce) -> None:
    """The limit is used to the full: one lane beyond what `steered` gives is refused."""
    far, _ = rec.steered(now, scaled(now, 1.6, 1.0), GOVERNOR)
    u = far.underlyings[0]
    k = int(np.argmax(np.abs(u.price_lanes)))
    more = list(u.price_lanes)
    more[k] += 1 if more[k] > 0 else -1
    beyond = replace(far, underlyings=(replace(u, price_lanes=tuple(more)), *far.underlyings[1:]))
    with pytest.raises(ModelRevert, match="StewardLimit"):
        steward_check.require_within(now.params.blob, now.params.blob, beyond.blob, 1_000)
