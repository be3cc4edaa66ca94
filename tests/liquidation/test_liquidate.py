"""Slice liquidation: model and vault side by side."""

from __future__ import annotations

import random

import pytest

from risk.chain.keccak import keccak
from risk.exact.errors import ModelRevert as Revert
from tests.liquidation.bounds import health_bounds
from tests.liquidation.scene import BTC_PERP, FUTURE, NONE, PERP, A, B, C, at_health, option
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, PRICES, STRIKES, Market, params
from tests.support.vault_twin import (
    ALICE,
    BOB,
    CAROL,
    NO_LIMIT,
    WAD,
    account,
    iid,
    risk_params,
    underlying_params,
)

MIXED = [(option(30), 2 * WAD), (option(36), -3 * WAD), (option(20, iid.PUT), -WAD - 7)]


@pytest.fixture(autouse=True)
def liquidator(market: Market) -> None:
    market.put(C, cash=10**8 * WAD)


def liquidate(market: Market, fraction: int = WAD, limit: int = NO_LIMIT, by: int = C) -> object:
    return market.do(CAROL, "liquidate", A, by, fraction, limit)


# --------------------------------------------------------------------------------- boundaries


def test_B16_boundary_of_health(market: Market) -> None:
    m = at_health(market, A, WAD, linear=[(PERP, 10 * WAD, -30_000 * WAD)], options=MIXED)
    assert m.equity == m.mm and m.health_factor == WAD
    assert liquidate(market) == Revert("AccountHealthy", (A, m.mm, m.mm))
    market.state.accounts[A].cash_wad += 1
    market.settle_totals()
    market.write_state()
    assert liquidate(market) == Revert("AccountHealthy", (A, m.mm + 1, m.mm))
    market.state.accounts[A].cash_wad -= 2
    market.settle_totals()
    market.write_state()
    assert market.compare_margin(A).health_factor < WAD
    fraction, payment = liquidate(market)  # type: ignore[misc]
    assert 0 < fraction < WAD and payment > 0


def test_refusals_come_in_the_stated_order(market: Market) -> None:
    m = at_health(market, A, 99 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    do = market.do
    assert do(BOB, "liquidate", A, A, 0, NONE) == Revert("NotAccountOwner", (A, key_address(BOB)))
    assert do(ALICE, "liquidate", A, A, 0, NONE) == Revert("SelfLiquidation", (A,))
    for fraction in (0, WAD + 1, 2**256 - 1):
        assert liquidate(market, fraction, NONE) == Revert("FractionInvalid", (fraction,))
    healthy = at_health(market, A, WAD, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    assert liquidate(market, 1, NONE) == Revert("AccountHealthy", (A, healthy.equity, healthy.mm))
    m = at_health(market, A, 99 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    quote = market.model.liquidation_quote(A)
    payment = -(-quote.full_price_wad * quote.max_fraction_wad // WAD)
    assert liquidate(market, WAD, NONE) == Revert("PaymentAboveLimit", (payment, NONE))
    assert liquidate(market, WAD, payment - 1) == Revert(
        "PaymentAboveLimit", (payment, payment - 1)
    )
    assert liquidate(market, WAD, payment) == (quote.max_fraction_wad, payment)
    assert m.equity < m.mm


def test_D33_D35_limits_of_the_caller(market: Market) -> None:
    at_health(market, A, 95 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    quote = market.model.liquidation_quote(A)
    small = quote.max_fraction_wad // 3
    assert liquidate(market, small) == (small, -(-quote.full_price_wad * small // WAD))
    # the price moves before inclusion: the limit of the caller holds
    market.set_price(0, PRICES[0] * 0.98)
    assert liquidate(market, WAD, 1).name == "PaymentAboveLimit"  # type: ignore[attr-defined]


def test_empty_healthy_and_long_only_accounts(market: Market) -> None:
    market.put(A)
    assert liquidate(market) == Revert("AccountHealthy", (A, 0, 0))
    market.put(A, cash=1, options=[(option(30), WAD)], mirror=B)
    assert not market.compare_margin(A).has_obligations
    assert liquidate(market).name == "AccountHealthy"  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------ on the target


PORTFOLIOS = {
    "perp": {"linear": [(PERP, 10 * WAD + 1, -30_000 * WAD)]},
    "short future": {"linear": [(FUTURE, -7 * WAD - 3, 21_000 * WAD + 5)]},
    "options": {"options": MIXED},
    "two underlyings and all collaterals": {
        "collateral": {0: 3 * WAD + 1, 1: 12_345_678, 2: 777_777},
        "linear": [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, -2 * WAD, 119_000 * WAD + 1)],
        "options": MIXED,
    },
    "a loan on collateral": {"collateral": {0: 5 * WAD + 1, 1: 10**7 + 1}},
    "a claim": {"linear": [(BTC_PERP, 0, 10 * WAD), (PERP, -5 * WAD, 15_000 * WAD)]},
}


@pytest.mark.parametrize("name", PORTFOLIOS)
@pytest.mark.parametrize("health", [-5, 40, 80, 99])
def test_slice_lands_on_the_target(market: Market, name: str, health: int) -> None:
    holding = PORTFOLIOS[name]
    if name == "a claim":  # only a giver may hold it here: written without a mirror
        market.state.underlyings[1].pnl_pool_wad = 3 * WAD
    before = at_health(market, A, health * WAD // 100, **holding)
    if name == "a claim":
        market.state.accounts[B].linear.pop(0)
        market.write_state()
    quote = market.model.liquidation_quote(A)
    market.state.insurance_wad += 10**7 * WAD
    market.settle_totals()
    market.write_state()
    bounds = health_bounds(market, A)
    fraction, payment = liquidate(market)  # type: ignore[misc]
    assert fraction == quote.max_fraction_wad
    after = market.compare_margin(A)
    if fraction == WAD:
        assert quote.full_price_wad <= 0 and payment == quote.full_price_wad
        assert market.read("accountState", A) == [0, [0, 0, 0], [], []]
        assert after.health_factor == 2**255 - 1
    else:
        bounds.check_landed(before, after)


@pytest.mark.parametrize("depth", [3, 9])
@pytest.mark.parametrize("health", [50, 97])
def test_slice_lands_on_the_target_with_liq(market: Market, depth: int, health: int) -> None:
    market.set_params(
        risk_params(
            (underlying_params(depth_wad=depth * WAD), underlying_params(depth_wad=WAD // 2)),
            market.state.params.collaterals,  # type: ignore[union-attr]
        )
    )
    holding = PORTFOLIOS["two underlyings and all collaterals"]
    before = at_health(market, A, health * WAD // 100, **holding)
    assert before.liq > 0
    bounds = health_bounds(market, A)
    fraction, payment = liquidate(market)  # type: ignore[misc]
    assert 0 < fraction < WAD and payment > 0
    bounds.check_landed(before, market.compare_margin(A))


def test_insolvent_account_beyond_the_depth_can_be_taken_in_parts(market: Market) -> None:
    """With Liq, MM falls faster than the shortfall, so E/MM gets worse while everything shrinks."""
    market.set_params(
        risk_params(
            (underlying_params(depth_wad=WAD // 2, liq_bps=5_000), underlying_params()),
            market.state.params.collaterals,  # type: ignore[union-attr]
        )
    )
    before = at_health(market, A, -WAD // 10, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    assert before.equity < 0 and before.liq > before.scan
    market.state.insurance_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    fraction, payment = liquidate(market, WAD * 9 // 10)  # type: ignore[misc]
    assert fraction == WAD * 9 // 10 and payment < 0
    after = market.compare_margin(A)
    assert after.health_factor < before.health_factor < 0
    assert before.equity < after.equity < 0


@pytest.mark.parametrize("seed", range(4))
def test_many_small_slices_never_lower_health(market: Market, seed: int) -> None:
    rng = random.Random(seed)
    holding = PORTFOLIOS["two underlyings and all collaterals"]
    at_health(market, A, 60 * WAD // 100, **holding)
    for _ in range(5):
        bounds = health_bounds(market, A)
        before = market.model.margin(A)
        fraction = rng.choice((1, 10**6, WAD // 1000, WAD // 30, rng.randrange(1, WAD // 20)))
        assert liquidate(market, fraction) == (fraction, _payment(market, fraction))
        bounds.check_not_lower(before, market.compare_margin(A))


def _payment(market: Market, fraction: int) -> int:
    """What the last ``Liquidated`` event says; the twin has compared the return value already."""
    topic = "0x" + keccak(b"Liquidated(uint168,uint168,uint256,int256,uint256)").hex()
    (log,) = [entry for entry in market.logs if entry["topics"][0] == topic]
    data = bytes.fromhex(log["data"][2:])
    assert int.from_bytes(data[:32], "big") == fraction
    return int.from_bytes(data[32:64], "big", signed=True)


def test_D36_a_slice_too_small_to_move_a_leg_costs_the_account_nothing(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, options=[(option(36), -1000), (option(30), 10)])
    before = market.read("accountState", A)
    fraction, payment = liquidate(market, 1)  # type: ignore[misc]
    after = market.read("accountState", A)
    assert fraction == 1 and payment in (0, 1)
    assert after[3] == before[3] and after[0] >= before[0]


# ------------------------------------------------------------------------ what the liquidator has


def test_liquidator_that_holds_the_mirror_nets(market: Market) -> None:
    linear = [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, -WAD, 60_000 * WAD)]
    m = at_health(market, A, 70 * WAD // 100, linear=linear, options=MIXED)
    assert m.equity < m.mm
    interest = market.read("snapshot", 0)[0][3]
    fraction, _ = market.do(BOB, "liquidate", A, B, WAD, NO_LIMIT)
    assert market.read("snapshot", 0)[0][3] < interest
    state = market.read("accountState", B)
    assert len(state[2]) == 2 and len(state[3]) == 3 and 0 < fraction < WAD


def test_full_slice_to_the_mirror_closes_everything(market: Market) -> None:
    linear = [(PERP, 10 * WAD, -31_000 * WAD), (BTC_PERP, -WAD, 60_000 * WAD)]
    m = at_health(market, A, -50 * WAD // 100, linear=linear, options=MIXED)
    market.state.insurance_wad += 5 * WAD
    market.settle_totals()
    market.write_state()
    assert m.mark_equity < 0
    assert market.do(BOB, "liquidate", A, B, WAD, 0) == (WAD, -5 * WAD)
    assert market.read("accountState", A) == [0, [0, 0, 0], [], []]
    cash, _, left, options = market.read("accountState", B)
    assert left == [] and options == []
    assert [market.read("snapshot", u)[0][3] for u in (0, 1)] == [0, 0]
    assert cash < 10**9 * WAD


def test_liquidator_with_some_of_the_instruments_in_another_order(market: Market) -> None:
    options = [(option(i), (-1) ** i * WAD * (i + 1)) for i in range(10, 31)]
    at_health(
        market, A, 80 * WAD // 100, linear=[(PERP, WAD, 0), (BTC_PERP, WAD, 0)], options=options
    )
    shuffled = [options[i] for i in (20, 3, 4, 5, 0, 19)]
    market.put(
        C,
        cash=10**8 * WAD,
        linear=[(BTC_PERP, 3 * WAD, WAD), (FUTURE, WAD, 0), (PERP, -WAD, 0)],
        options=[(option(50), WAD), *((i, -s // 7) for i, s in shuffled)],
        mirror=account(BOB, 9),
    )
    market.state.accounts[account(BOB, 9)].cash_wad = 10**8 * WAD
    market.settle_totals()
    market.write_state()
    fraction, _ = liquidate(market)  # type: ignore[misc]
    assert 0 < fraction < WAD
    assert len(market.read("accountState", C)[3]) == 22


def test_B17_position_limit_of_the_liquidator(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, options=MIXED)
    mine = [(option(i % 64, iid.CALL + i // 64, EXPIRIES[0]), WAD) for i in range(126)]
    market.put(C, cash=10**8 * WAD, options=mine, mirror=account(BOB, 9))
    market.state.accounts[account(BOB, 9)].cash_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    assert liquidate(market) == Revert("TooManyPositions", (C, 128))
    market.put(C, cash=10**8 * WAD, options=mine[:125], mirror=account(BOB, 9))
    market.state.accounts[account(BOB, 9)].cash_wad = 10**9 * WAD
    market.settle_totals()
    market.write_state()
    assert liquidate(market)[0] > 0  # type: ignore[index]
    assert len(market.read("accountState", C)[3]) == 128


def test_D42_liquidator_without_margin_is_refused(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    market.put(C, cash=100 * WAD)
    refused = liquidate(market)
    assert isinstance(refused, Revert) and refused.name == "InsufficientMargin"
    assert refused.args[0] == C


def test_sizes_of_the_liquidator_at_the_limit(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    market.put(C, cash=10**8 * WAD, linear=[(PERP, 2**95 - 1, 0)], mirror=account(BOB, 9))
    assert liquidate(market) == Revert("SizeOutOfRange", (C, PERP))


# ---------------------------------------------------------------------------------- insurance


@pytest.mark.parametrize("fund", [0, 10, 10**6])
def test_E45_insurance_pays_what_it_has(market: Market, fund: int) -> None:
    m = at_health(market, A, -30 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    market.state.insurance_wad = fund * WAD
    market.settle_totals()
    market.write_state()
    quote = market.model.liquidation_quote(A)
    assert quote.full_price_wad < 0 and quote.max_fraction_wad == WAD
    due = min(-quote.full_price_wad, fund * WAD)
    limit = -due - 1
    assert liquidate(market, WAD, limit) == Revert("PaymentAboveLimit", (-due, limit))
    assert liquidate(market, WAD, -due) == (WAD, -due)
    assert market.read("totals")[1] == fund * WAD - due
    assert m.equity < 0


def test_partial_slice_of_an_insolvent_account_is_paid_in_part(market: Market) -> None:
    before = at_health(market, A, -30 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    market.state.insurance_wad = 10**6 * WAD
    market.settle_totals()
    market.write_state()
    quote = market.model.liquidation_quote(A)
    bounds = health_bounds(market, A)
    fraction, payment = liquidate(market, WAD // 4)  # type: ignore[misc]
    assert fraction == WAD // 4
    assert payment == -(-quote.full_price_wad // 4)
    bounds.check_not_lower(before, market.compare_margin(A))


def test_B14_own_accounts_on_both_sides_gain_nothing(market: Market) -> None:
    at_health(market, A, 80 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    mine = account(ALICE, 1)
    market.put(mine, cash=10**6 * WAD)
    start = sum(market.model.margin(x).mark_equity for x in (A, mine))
    assert market.do(ALICE, "liquidate", A, mine, WAD, NO_LIMIT)[1] > 0
    end = sum(market.model.margin(x).mark_equity for x in (A, mine))
    assert end <= start


# -------------------------------------------------------------------------------------- markets


def test_B22_poke_and_liquidate_in_one_transaction(market: Market) -> None:
    """The snapshot is healthy, the live price is not: the liquidation takes it first."""
    holding = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}
    m = at_health(market, A, 110 * WAD // 100, **holding)
    assert liquidate(market) == Revert("AccountHealthy", (A, m.equity, m.mm))
    market.set_price(0, 2_850)  # outside the band
    epoch = market.read("snapshot", 0)[0][1]
    assert liquidate(market)[0] > 0  # type: ignore[index]
    assert market.read("snapshot", 0)[0][1] == epoch + 1


def test_price_inside_the_band_is_not_taken(market: Market) -> None:
    at_health(market, A, 110 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
    market.set_price(0, 2_971)
    assert liquidate(market).name == "AccountHealthy"  # type: ignore[attr-defined]


def test_live_price_inside_the_band_decides(market: Market) -> None:
    """Unhealthy at the snapshot, healthy at the live price: the live price counts."""
    holding = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}
    at_health(market, A, WAD - 10**15, **holding)
    market.set_price(0, 3_010)
    assert liquidate(market).name == "AccountHealthy"  # type: ignore[attr-defined]
    market.set_price(0, 2_999)
    assert liquidate(market)[0] > 0  # type: ignore[index]


def test_market_without_a_price_counts_at_its_best_within_the_band(market: Market) -> None:
    """1 % of 30 000 is 300, 4 % of the requirement of 7 500."""
    holding = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}
    feed = market.state.underlyings[0].feed
    m = at_health(market, A, 97 * WAD // 100, **holding)
    market.set_feed(feed, 0, mode=1)
    assert liquidate(market) == Revert("AccountHealthy", (A, m.equity, m.mm))
    at_health(market, A, 95 * WAD // 100, **holding)
    market.set_feed(feed, 0, mode=1)
    assert liquidate(market)[0] > 0  # type: ignore[index]


@pytest.mark.parametrize("how", ["stale", "halted", "uncertain"])
def test_D39_no_market_state_blocks_a_liquidation(market: Market, how: str) -> None:
    linear = [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, WAD, -60_000 * WAD)]
    at_health(market, A, 90 * WAD // 100, linear=linear)
    feed = market.state.underlyings[1].feed
    if how == "halted":
        market.set_feed(feed, 0, mode=1)
    elif how == "stale":
        market.warp(4_000)
        market.set_price(0, PRICES[0])
    else:
        market.state.underlyings[1].confidence_bps = 1_000
        market.write_state()
    assert market.read("oracleState", 1)[0] == {"uncertain": 1, "stale": 2, "halted": 3}[how]
    fraction, payment = liquidate(market)  # type: ignore[misc]
    assert 0 < fraction < WAD and payment > 0


def test_expired_positions_can_be_liquidated(market: Market) -> None:
    at_health(market, A, 95 * WAD // 100, options=[(option(36, day=EXPIRIES[0]), -5 * WAD)])
    market.world.timestamp = iid.expiry(option(0, day=EXPIRIES[0])) + 10
    market.set_price(0, 3_600)
    assert liquidate(market)[0] > 0  # type: ignore[index]


def test_reward_grows_with_the_shortfall(market: Market) -> None:
    rewards = []
    for health in (99, 90, 50):
        at_health(market, A, health * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)])
        rewards.append(market.model.liquidation_quote(A).reward_wad)
    assert rewards == sorted(set(rewards)) and rewards[-1] == 5 * WAD // 100
    assert params().reward_max_bps == 500 and len(STRIKES) == 64
