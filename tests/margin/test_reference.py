"""Published scenario margins that this model can express, each with its source and tolerance."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from risk.exact.margin import instrument_id, margin_engine, scenario_scan
from risk.exact.margin.margin_engine import Margin
from risk.exact.margin.portfolio import Row
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Linear, State
from tests.margin.worlds import NOW, TODAY, WAD, account_id, random_bucket, random_world

ACCOUNT = account_id(9)

# ── CME SPAN, scenarios 1–16, loss > 0, currency units (CME, "SPAN methodology"; the arrays are the
# reference rows "Scenario margin": a short Dec-410 call and a long future of range 10 000).
# Extremes (15, 16) move two ranges and count 35 %; the array holds what counts.
SHORT_CALL = (
    *(460, -610, 2640, 1730, -1270, -2340, 5210, 4540),
    *(-2540, -3430, 8060, 7640, -3380, -3990, 3130, -1500),
)
LONG_FUTURE = (
    *(0, 0, -3330, -3330, 3330, 3330, -6670, -6670),
    *(6670, 6670, -10000, -10000, 10000, 10000, -7000, 7000),
)
# (name, multiples of (short call, long future), scan, binding scenario counted from 1); exact
SPAN = [
    ("short call", (1, 0), 8060, 11),
    ("long call", (-1, 0), 3990, 14),
    ("long future", (0, 1), 10000, 13),
    ("short future", (0, -1), 10000, 11),
    ("covered write: long future, short call", (1, 1), 6620, 13),
]


@pytest.mark.parametrize(("name", "sizes", "scan", "binding"), SPAN, ids=[row[0] for row in SPAN])
def test_span_arrays(name: str, sizes: tuple[int, int], scan: int, binding: int) -> None:
    """The arrays as lanes of 10 units; weights 1, because SPAN's arrays hold the 35 % already."""
    del name
    rows = [
        Row(10 * size, tuple(-loss // 10 for loss in array), 0)
        for size, array in zip(sizes, (SHORT_CALL, LONG_FUTURE), strict=True)
    ]
    assert scenario_scan.scan(rows, (10_000,) * 16) == (scan, binding - 1)


def market(price_lanes: tuple[int, ...], unit: int, weights: tuple[int, ...]) -> State:
    """One underlying at price 1 with nothing but price shocks, and no charge beside the scan."""
    state = random_world(Random("reference"), len(weights), 1).state
    state.collaterals.clear()
    underlying = state.underlyings[0]
    underlying.price_wad, underlying.time, underlying.open_interest_wad = WAD, NOW, 0
    params = state.params
    assert params is not None
    state.params = RiskParams(
        im_factor_bps=12_500,
        target_bps=11_000,
        reward_base_bps=0,
        reward_slope_bps=0,
        reward_max_bps=0,
        weights_bps=weights,
        underlyings=(
            replace(
                params.underlyings[0],
                depth_wad=10**9 * WAD,
                som_bps=0,
                liq_bps=0,
                basis_base_bps=0,
                basis_slope_bps=0,
                price_unit_e6=unit,
                price_lanes=price_lanes,
                vol_lanes=(0,) * len(weights),
            ),
        ),
        collaterals=(),
    )
    return state


def margin_of(state: State, linear: list[Linear]) -> Margin:
    return margin_engine.compute(state, ACCOUNT, Account(linear=linear))


def test_span_long_future_through_the_whole_engine() -> None:
    """Range 10 %: thirds of it, and twice the range at 35 %.  Size 100 000 at price 1, so that the
    range is 10 000.  Tolerance: the 8 192 wei of the row's deduction.
    """
    up = (0, 0, 333, 333, -333, -333, 667, 667, -667, -667, 1000, 1000, -1000, -1000, 2000, -2000)
    state = market(up, 100, (10_000,) * 14 + (3_500, 3_500))
    perp = Linear(instrument_id.encode(0, instrument_id.PERP, 0, 0), 100_000 * WAD, 0)
    _, w = margin_engine.run(state, ACCOUNT, Account(linear=[perp]))
    assert w is not None
    losses = scenario_scan.scenario_losses(w.rows, 16)
    weights = w.params.weights_bps
    counted = [x * weight // 10**4 for x, weight in zip(losses, weights, strict=True)]
    assert all(
        0 <= got - loss * WAD <= 8_192 for got, loss in zip(counted, LONG_FUTURE, strict=True)
    )
    assert margin_of(state, [perp]).scan == 10_000 * WAD + 8_192
    assert margin_of(state, [perp]).binding_scenario == 12


def test_cme_inter_commodity_credit_as_joint_scenarios() -> None:
    """Corn : soybeans 2 : 1 at 55 %: 2·1750 + 2500 = 6000, credit 3300, charge 2700; exact.

    A percentage credit is the maximum over joint scenarios: both legs full range the same way, or
    45 % of it in opposite ways.  One row is the whole leg (two corn, one soybean).
    """
    weights = (10_000,) * 4
    rows = {
        "corn": Row(1, (3_500, -3_500, 1_575, -1_575), 0),
        "soy": Row(1, (2_500, -2_500, -1_125, 1_125), 0),
    }

    def scan(*held: tuple[str, int]) -> int:
        signed = [Row(sign * rows[name].s, rows[name].lanes, 0) for name, sign in held]
        return scenario_scan.scan(signed, weights)[0]

    assert scan(("corn", 1)) == scan(("corn", -1)) == 2 * 1750
    assert scan(("soy", 1)) == scan(("soy", -1)) == 2500
    assert scan(("corn", 1), ("soy", 1)) == 2 * 1750 + 2500 == 6000
    assert scan(("corn", 1), ("soy", -1)) == 6000 - 3300 == 2700


# ── Deribit portfolio margin (docs.deribit.com, private/pme/simulate), BTC: a perpetual of
# +0.314538364, a future of −0.001187534, shocks ±4 … ±16 %, inverse PnL q·(1 − 1/(1 + k)).
PERP_SIZE, FUTURE_SIZE = 314_538_364 * 10**9, -1_187_534 * 10**9
WORST, ROLL, RISK_MATRIX, MAINTENANCE = (
    0.05968587238095,
    0.00315725898,
    0.06284313098,
    0.050274504784,
)
INVERSE_UNIT = 66  # 1e-6; −16 % is 1 − 1/0.84 = −0.1904762 = −2886 lanes of 66e-6 (2.5e-6 relative)


def deribit(basis_bps: int) -> State:
    shocks = [k / 100 for k in (-16, -12, -8, -4, 4, 8, 12, 16)]
    lanes = tuple(round((1 - 1 / (1 + k)) * 10**6 / INVERSE_UNIT) for k in shocks)
    state = market(lanes, INVERSE_UNIT, (10_000,) * len(lanes))
    for day in (TODAY + 30, TODAY + 60):
        state.buckets[day] = replace(random_bucket(Random("deribit"), WAD), forward_ratio_wad=WAD)
    params = state.params
    assert params is not None
    charged = replace(params.underlyings[0], basis_base_bps=basis_bps)
    state.params = replace(params, underlyings=(charged,))
    return state


def test_deribit_worst_of_the_risk_matrix() -> None:
    """The linear rows; 1e-5 relative, half a lane step of the shock."""
    perp = Linear(instrument_id.encode(0, instrument_id.PERP, 0, 0), PERP_SIZE, 0)
    future = Linear(instrument_id.encode(0, instrument_id.FUTURE, TODAY + 30, 0), FUTURE_SIZE, 0)
    result = margin_of(deribit(0), [perp, future])
    assert result.binding_scenario == 0
    assert result.scan / WAD == pytest.approx(WORST, rel=1e-5)


def test_deribit_roll_and_total() -> None:
    """Roll = 1 % of every position: our Basis once the perpetual is written as a future (a perp has
    no expiry here and pays none).  Exact to the last wei rounded up.  The factor 0.8 between risk
    matrix and maintenance margin is Deribit's own: ours is φ, from maintenance to initial margin.
    """
    days = (TODAY + 30, TODAY + 60)
    held = [
        Linear(instrument_id.encode(0, instrument_id.FUTURE, day, 0), size, 0)
        for day, size in zip(days, (PERP_SIZE, FUTURE_SIZE), strict=True)
    ]
    result = margin_of(deribit(100), held)
    assert 0 <= result.basis - round(ROLL * 10**11) * 10**7 <= 2
    assert result.mm == result.scan + result.basis
    assert result.mm / WAD == pytest.approx(RISK_MATRIX, rel=1e-5)
    assert 0.8 * result.mm / WAD == pytest.approx(MAINTENANCE, rel=1e-5)
    assert result.im == -(-result.mm * 12_500 // 10_000)
