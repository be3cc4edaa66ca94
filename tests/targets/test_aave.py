"""Aave v3.6: the model against the contracts, and against examples computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from risk.diff.compare import compare
from risk.diff.coverage import Tally
from risk.diff.kit.adapter import Refused, Step
from risk.diff.kit.engine import GENESIS_TIME
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterSession, AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.aave import target as aave
from risk.targets.aave import world as worlds
from risk.targets.aave.adapter import KINDS
from risk.targets.aave.admin import Market
from risk.targets.aave.math import (
    MAX,
    RAY,
    WAD,
    compound_interest,
    linear_interest,
    percent_div_ceil,
    percent_mul,
    ray_div_ceil,
    ray_div_floor,
    ray_mul,
    ray_mul_ceil,
    ray_mul_floor,
)
from risk.targets.aave.reserve import Rates

YEAR = 365 * 86_400
USD = 10**8


@pytest.fixture(scope="module")
def revm() -> Iterator[AdapterTarget]:
    opened = aave(RevmEngine())
    opened.open()
    yield opened
    opened.close()


def ran(target: AdapterTarget, seed: int, sequences: int, actions: int) -> Tally:
    tally = Tally()
    for index in range(sequences):
        run_sequence(target, Plan(seed=seed, actions=actions), index, tally)
    assert not tally.counterexamples, tally.counterexamples[0]
    assert tally.actions == sequences * actions
    return tally


# ── the differential run ─────────────────────────────────────────────────────────────────────────


def test_model_and_contracts_agree(revm: AdapterTarget) -> None:
    tally = ran(revm, seed=7, sequences=14, actions=80)
    accepted = sum(n for kind, n in tally.action_kinds.items() if kind.endswith(":ok"))
    assert tally.values_compared > 250 * tally.actions
    assert accepted > tally.actions // 2
    assert tally.liquidations * 20 >= accepted  # at least 5 %
    for event in (
        "liquidation:aToken",
        "liquidation:underlying",
        "liquidation:same asset",
        "liquidation:position closed",
        "action with a deficit",
        "revert:MustNotLeaveDust",
        "revert:HealthFactorNotBelowThreshold",
        "revert:CollateralCannotCoverNewBorrow",
    ):
        assert tally.events[event], event
    reached = {kind.removesuffix(":ok") for kind in tally.action_kinds if kind.endswith(":ok")}
    assert reached == set(KINDS)


@pytest.mark.chain
def test_the_same_on_a_node() -> None:
    target = aave(NodeEngine())
    target.open()
    try:
        tally = ran(target, seed=7, sequences=2, actions=60)
    finally:
        target.close()
    assert tally.liquidations


def test_both_engines_see_the_same_sequence(revm: AdapterTarget) -> None:
    """Seed and index decide: the model's path does not depend on the engine's answers."""
    first, again = Tally(), Tally()
    for tally in (first, again):
        run_sequence(revm, Plan(seed=9, actions=40), 1, tally)
    assert first.events == again.events
    assert first.action_kinds == again.action_kinds


# ── scripted situations on the real contracts ────────────────────────────────────────────────────


def plain_world(**changes: Any) -> dict[str, Any]:
    """Four plain reserves: LTV 75 %, threshold 80 %, bonus 5 %, no fees; 10 million dollars in each
    asset for everybody. ``changes`` are those of all reserves.
    """
    reserves = [
        {
            "asset": asset,
            "decimals": decimals,
            "price": price * USD,
            "collateral": [7_500, 8_000, 10_500],
            "curve": [9_000, 0, 400, 6_000],
            "factor": 0,
            "fee": 0,
            "borrow_cap": 0,
            "supply_cap": 0,
            "borrowing": True,
            "siloed": False,
            "active": True,
            **changes,
        }
        for asset, (decimals, price) in worlds.ASSETS.items()
    ]
    return {"reserves": reserves, "wealth": [10_000_000] * 4}


def play(session: AdapterSession, *steps: Step) -> Market:
    """Each step accepted and the same on both sides; the model afterwards."""
    for step in steps:
        outcome, seen = session.on_model(step), session.on_chain(step)
        assert (outcome.ok, outcome.data) == (seen.ok, seen.data), (step.describe(), seen.error)
        assert outcome.ok, (step.describe(), outcome.error)
        _, differing = compare(session.observe_model(), session.observe_chain())
        assert not differing, (step.describe(), differing)
    model: Market = session.model
    return model


def refused(session: AdapterSession, step: Step) -> str:
    outcome, seen = session.on_model(step), session.on_chain(step)
    assert not outcome.ok
    assert (outcome.data, outcome.error) == (seen.data, seen.error)
    return outcome.error


USDC, WBTC, WETH, EXO = worlds.ASSETS
COIN = 10**6
ETHER = 10**18


def test_liquidation_of_the_documentation(revm: AdapterTarget) -> None:
    """Aave's guide: 10 ETH of collateral, debt worth 5 ETH, bonus 5 %: a liquidator repays at most
    half the debt and gets its worth and 5 %.

    At 2,500 $ the debt is 12,500 $, which the threshold of 80 % no longer covers below
    1,562.50 $. At 1,500 $ the health factor is 12,000 / 12,500 = 0.96, above 0.95: half of the
    debt, 6,250 $, buys 6,250 / 1,500 · 1.05 = 4.375 ETH, one wei less because 6,250 / 1,500 is
    rounded down before the bonus.
    """
    session = revm.start_in(plain_world())
    play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_500 * COIN, 2, "alice")),
        Step("setPrice", "admin", (WETH, 1_500 * USD)),
    )
    before = session.model.reserves[WETH].underlying.of("carol")
    assert session.model.account("alice").health == 96 * WAD // 100
    model = play(session, Step("liquidationCall", "carol", (WETH, USDC, "alice", MAX, 0)))
    assert model.reserves[WETH].underlying.of("carol") - before == 4_375 * ETHER // 1_000 - 1
    assert model.reserves[USDC].d.of("alice") == 6_250 * COIN
    # (10 − 4.375) · 1,500 · 80 % / 6,250
    assert model.account("alice").health == 108 * WAD // 100


def test_full_close_at_the_threshold(revm: AdapterTarget) -> None:
    """At a health factor of exactly 0.95 all debt may be repaid, the least bit above only half."""
    steps = (
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_000 * COIN, 2, "alice")),
    )
    # 10 · 1,425 · 0.8 / 12,000 = 0.95
    for price, left in ((1_425 * USD, 0), (1_425 * USD + 1, 6_000 * COIN)):
        session = revm.start_in(plain_world())
        play(session, *steps, Step("setPrice", "admin", (WETH, price)))
        model = play(session, Step("liquidationCall", "carol", (WETH, USDC, "alice", MAX, 1)))
        assert model.reserves[USDC].d.of("alice") == left


def test_health_factor_of_exactly_one(revm: AdapterTarget) -> None:
    """10 · 1,500 · 0.8 / 12,000 = 1 cannot be liquidated; 10⁻⁸ $ less can."""
    session = revm.start_in(plain_world())
    play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_000 * COIN, 2, "alice")),
        Step("setPrice", "admin", (WETH, 1_500 * USD)),
    )
    liquidation = Step("liquidationCall", "carol", (WETH, USDC, "alice", COIN, 0))
    assert refused(session, liquidation) == "HealthFactorNotBelowThreshold"
    assert refused(session, Step("withdraw", "alice", (WETH, 1, "alice"))) == (
        "HealthFactorLowerThanLiquidationThreshold"
    )
    play(session, Step("setPrice", "admin", (WETH, 1_500 * USD - 1)), liquidation)


def test_no_dust_stays(revm: AdapterTarget) -> None:
    """A liquidation that leaves debt must leave 1,000 $ of it."""
    session = revm.start_in(plain_world())
    play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_000 * COIN, 2, "alice")),
        Step("setPrice", "admin", (WETH, 1_400 * USD)),
    )
    too_much = Step("liquidationCall", "carol", (WETH, USDC, "alice", 11_000 * COIN + 1, 0))
    assert refused(session, too_much) == "MustNotLeaveDust"
    play(session, Step("liquidationCall", "carol", (WETH, USDC, "alice", 11_000 * COIN, 0)))


def test_bad_debt_becomes_a_deficit_and_is_covered(revm: AdapterTarget) -> None:
    """10 ETH at 525 $ repay 5,000 $ of 12,000 $: 7,000 $ are lost. The WBTC debt goes too."""
    session = revm.start_in(plain_world())
    model = play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "bob", (WBTC, 10**8, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_000 * COIN, 2, "alice")),
        Step("borrow", "alice", (WBTC, 10**6, 2, "alice")),
        Step("setPrice", "admin", (WETH, 525 * USD)),
        Step("liquidationCall", "carol", (WETH, USDC, "alice", MAX, 0)),
    )
    assert model.reserves[USDC].deficit == 7_000 * COIN
    assert model.reserves[WBTC].deficit == 10**6
    assert model.flags["alice"] == 0
    model = play(
        session,
        Step("supply", "umbrella", (USDC, 8_000 * COIN, "umbrella")),
        Step("eliminateReserveDeficit", "umbrella", (USDC, MAX)),
    )
    assert model.reserves[USDC].deficit == 0
    assert model.reserves[USDC].a.of("umbrella") == 1_000 * COIN
    nothing = Step("eliminateReserveDeficit", "umbrella", (USDC, 1))
    assert refused(session, nothing) == "ReserveNotInDeficit"


def test_coverage_role_with_debt_covers_nothing(revm: AdapterTarget) -> None:
    """The one refusal that random sequences cannot reach: there the role never borrows."""
    session = revm.start_in(plain_world())
    play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "umbrella", (WBTC, 10**8, "umbrella")),
        Step("borrow", "umbrella", (USDC, COIN, 2, "umbrella")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("borrow", "alice", (USDC, 12_000 * COIN, 2, "alice")),
        Step("setPrice", "admin", (WETH, 525 * USD)),
        Step("liquidationCall", "carol", (WETH, USDC, "alice", MAX, 0)),
    )
    cover = Step("eliminateReserveDeficit", "umbrella", (USDC, COIN))
    assert refused(session, cover) == "UserCannotHaveDebt"


def test_collateral_without_ltv_leaves_first(revm: AdapterTarget) -> None:
    session = revm.start_in(plain_world())
    play(
        session,
        Step("supply", "bob", (USDC, 100_000 * COIN, "bob")),
        Step("supply", "alice", (WETH, 10 * ETHER, "alice")),
        Step("supply", "alice", (WBTC, 10**8, "alice")),
        Step("borrow", "alice", (USDC, 1_000 * COIN, 2, "alice")),
        Step("setReserveLtvzero", "admin", (WETH, 1)),
    )
    other_first = Step("withdraw", "alice", (WBTC, 1, "alice"))
    assert refused(session, other_first) == "LtvValidationFailed"
    play(session, Step("withdraw", "alice", (WETH, MAX, "alice")), other_first)


def test_treasury_accrual_where_collateral_is_the_debt(revm: AdapterTarget) -> None:
    """The model follows the contracts here, not the documentation: docs/targets/aave.md."""

    def accrued(kind: str) -> int:
        session = revm.start_in(plain_world(factor=1_000, curve=[100, 0, 20_000, 20_000]))
        play(
            session,
            Step("supply", "bob", (USDC, 1_000_000 * COIN, "bob")),
            Step("supply", "alice", (USDC, 100_000 * COIN, "alice")),
            Step("borrow", "alice", (USDC, 75_000 * COIN, 2, "alice")),
        )
        if kind == "liquidation":
            step = Step("liquidationCall", "bob", (USDC, USDC, "alice", MAX, 0), YEAR // 4)
        else:
            step = Step("supply", "bob", (USDC, COIN, "bob"), YEAR // 4)
        play(session, step)
        found = session.observe_chain()[f"{USDC}.accruedToTreasury"]
        assert isinstance(found, int)
        return found

    once, twice = accrued("supply"), accrued("liquidation")
    assert once > 1_000 * COIN
    assert twice == 2 * once


# ── the model alone, by hand ─────────────────────────────────────────────────────────────────────


def test_rate_curve_of_the_documentation() -> None:
    """Below the optimal usage R = base + U / Uₒ · slope 1, above it base + slope 1 +
    (U − Uₒ) / (1 − Uₒ) · slope 2; suppliers get R · U without the reserve factor.
    """
    curve = Rates(9_000, 100, 400, 6_000)
    percent = RAY // 100
    assert curve.at(45, 55, 0, 1_000, 0, 0) == (3 * percent * 45 // 100 * 9 // 10, 3 * percent)
    # 1 % + 4 % + 5 % / 10 % · 60 % = 35 %, and 35 % · 95 %
    assert curve.at(95, 5, 0, 0, 0, 0) == (35 * percent * 95 // 100, 35 * percent)
    assert curve.at(0, 100, 0, 0, 0, 0) == (0, percent)
    # a deficit of the size of all else halves the suppliers' share
    assert curve.at(45, 55, 100, 0, 0, 0) == (3 * percent * 225 // 1_000, 3 * percent)
    assert curve.at(45, 20, 0, 0, 35, 0)[1] == curve.at(45, 90, 0, 0, 0, 35)[1] == 3 * percent


def test_interest() -> None:
    """A year at 10 %: simple 1.1, compounded 1 + 0.1 + 0.005 + 0.001 / 6."""
    start, end = GENESIS_TIME, GENESIS_TIME + YEAR
    assert linear_interest(RAY // 10, start, end) == 11 * RAY // 10
    third = (RAY // 1_000 + 3) // 6
    assert abs(compound_interest(RAY // 10, start, end) - (1_105 * RAY // 1_000 + third)) <= 1
    assert compound_interest(RAY, start, start) == RAY
    assert linear_interest(RAY, start, start + 1) == RAY + RAY // YEAR


def test_rounding() -> None:
    """Directions of each operation on the smallest cases."""
    half = RAY // 2
    assert (ray_mul(1, half), ray_mul_floor(1, half), ray_mul_ceil(1, half)) == (1, 0, 1)
    assert (ray_mul(1, half - 1), ray_mul_ceil(1, 1)) == (0, 1)
    assert (ray_div_floor(1, 3 * RAY), ray_div_ceil(1, 3 * RAY)) == (0, 1)
    assert (percent_mul(1, 5_000), percent_mul(1, 4_999)) == (1, 0)
    assert percent_div_ceil(1, 9_999) == 2
    for beyond in (lambda: ray_mul_floor(MAX, 2), lambda: ray_div_ceil(MAX // RAY + 1, RAY)):
        with pytest.raises(Refused) as error:
            beyond()
        assert error.value.name == ""
    assert ray_mul_ceil(MAX, 1) == MAX // RAY + 1
    assert ray_div_floor(MAX // RAY, RAY) == MAX // RAY
