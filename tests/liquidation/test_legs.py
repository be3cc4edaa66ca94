"""Liquidation by legs: model and vault side by side."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import legs_logic
from risk.exact.state import Linear
from tests.liquidation.scene import (
    BTC_PERP,
    FUTURE,
    LONG,
    PERP,
    A,
    B,
    C,
    at_health,
    leg,
    legs,
    option,
    set_cash,
    set_insurance,
)
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, Market, params
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

TARGET = 11 * WAD // 10
LIMIT = TARGET + 10**12
MIXED = {
    "linear": [(PERP, 4 * WAD, -12_000 * WAD), (BTC_PERP, -WAD, 61_000 * WAD), (FUTURE, WAD, -7)],
    "options": [(option(30), 2 * WAD), (option(36), -9 * WAD), (option(20, iid.PUT), -WAD - 7)],
}


@pytest.fixture(autouse=True)
def liquidator(market: Market) -> None:
    market.put(C, cash=10**8 * WAD)


def largest(market: Market, instrument: int, size: int) -> int:
    """The most of ``size`` that ends at or below the target, by trying on the model."""
    lo, hi = 0, abs(size)
    sign = 1 if size > 0 else -1
    while hi - lo > 1:
        middle = (lo + hi) // 2
        refused = _probe(market, [leg(instrument, sign * middle)])
        if refused is not None and refused.name == "LegsAboveTarget":
            hi = middle
        else:
            lo = middle
    return sign * lo


def _probe(market: Market, items: list[int]) -> Revert | None:
    state = market.state.clone()
    try:
        legs_logic.liquidate_legs(
            state, market.world, key_address(CAROL), A, C, items, NO_LIMIT, None
        )
    except Revert as error:
        return error
    return None


# ------------------------------------------------------------------------------------- what it does


def test_one_leg_is_paid_at_mark_less_the_reward(market: Market) -> None:
    """One of ten perps at 3 000 bought at 3 100: worth −100, 750 of the 7 500 go."""
    m = at_health(market, A, 95 * WAD // 100, linear=[(PERP, 10 * WAD, -31_000 * WAD)])
    assert m.mm // WAD == 7_500
    payment = legs(market, [leg(PERP, WAD)], NO_LIMIT)
    after = market.compare_margin(A)
    reward = WAD // 50 * (m.mm - after.mm) // WAD  # 1 % + 20 %·5 %
    assert payment == -100 * WAD - reward
    assert after.mark_equity == m.mark_equity - reward
    assert market.read("accountState", A)[2] == [_packed(PERP, 9 * WAD, -27_900 * WAD)]
    assert market.read("accountState", C)[2] == [_packed(PERP, WAD, -3_100 * WAD)]
    assert after.health_factor > m.health_factor


def _packed(instrument: int, size: int, quote: int) -> int:
    return instrument << 224 | (size % 2**96) << 128 | quote % 2**128


def test_several_legs_of_every_kind(market: Market) -> None:
    m = at_health(market, A, 60 * WAD // 100, **MIXED)
    part = [
        leg(PERP, WAD // 3),
        leg(FUTURE, 1),
        leg(option(36), -WAD),
        leg(BTC_PERP, -WAD // 4),
    ]
    items = sorted(part)
    payment = legs(market, items, NO_LIMIT)
    after = market.compare_margin(A)
    assert isinstance(payment, int), payment
    assert m.health_factor < after.health_factor <= LIMIT
    held = market.state.accounts[C]
    assert {x.instrument for x in held.linear} == {PERP, FUTURE, BTC_PERP}
    assert [o.instrument for o in held.options] == [option(36)]


def test_B14_mark_equity_moves_by_the_reward_and_nothing_else(market: Market) -> None:
    """What the account loses is the reward; the liquidator gains no more, up to marks of rows."""
    m = at_health(market, A, 90 * WAD // 100, **MIXED)
    mine = market.model.margin(C)
    items = sorted([leg(PERP, WAD // 7 + 3), leg(option(36), -WAD // 3)])
    payment = legs(market, items, NO_LIMIT)
    assert isinstance(payment, int)
    after, theirs = market.compare_margin(A), market.model.margin(C)
    rho = WAD // 100 + WAD * 2 // 10 * (WAD - m.health_factor) // WAD
    assert m.mark_equity - after.mark_equity == rho * (m.mm - after.mm) // WAD
    gained = theirs.mark_equity - mine.mark_equity
    assert gained <= m.mark_equity - after.mark_equity


def test_netting_against_the_liquidator(market: Market) -> None:
    """Bob is short what Alice is long: his position shrinks, open interest with it."""
    at_health(market, A, 95 * WAD // 100, linear=[(PERP, 10 * WAD, -31_000 * WAD)])
    before = market.read("snapshot", 0)[0][3], market.read("instrumentInterest", PERP)[0]
    payment = legs(market, [leg(PERP, WAD)], NO_LIMIT, by=B, sender=BOB)
    assert isinstance(payment, int)
    after = market.read("snapshot", 0)[0][3], market.read("instrumentInterest", PERP)[0]
    assert [x - y for x, y in zip(before, after, strict=True)] == [WAD, WAD]


@pytest.mark.parametrize("seed", range(3))
def test_A4_tiny_legs_never_lower_health(market: Market, seed: int) -> None:
    rng = random.Random(seed)
    at_health(market, A, 60 * WAD // 100, **MIXED)
    for _ in range(5):
        before = market.model.margin(A)
        size = rng.choice((1, 7, 10**6, WAD // 1000, rng.randrange(1, WAD // 20)))
        result = legs(market, [leg(option(36), -size)], NO_LIMIT)
        after = market.compare_margin(A)
        if isinstance(result, Revert):  # too small to lower the requirement
            assert result.name in ("LegsKeepRequirement", "LegsKeepShortfall", "LegsKeepHealth")
            assert after == before
        else:
            assert after.health_factor > before.health_factor
            assert after.equity - after.mm > before.equity - before.mm


# -------------------------------------------------------------------------------- what it refuses


def test_legs_are_judged_one_by_one(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, **MIXED)
    two = option(36)
    for items, bad in (
        ([leg(PERP, 0)], PERP),
        ([leg(PERP, -1)], PERP),
        ([leg(two, WAD)], two),
        ([leg(option(35), -1)], option(35)),
        ([leg(iid.encode(1, iid.FUTURE, 7, 0), 1)], iid.encode(1, iid.FUTURE, 7, 0)),
        ([leg(PERP, 1), leg(PERP, 1)], PERP),
        ([leg(two, -1), leg(FUTURE, 1)], FUTURE),
        ([leg(PERP, -(2**95))], PERP),
    ):
        assert legs(market, items, NO_LIMIT) == Revert("LegInvalid", (bad,)), items


def test_no_leg_can_be_taken_of_a_claim(market: Market) -> None:
    """An entry of size zero is an undrawn credit, not a position (found by `make campaign`)."""
    other = iid.encode(1, iid.FUTURE, EXPIRIES[1], 0)
    at_health(market, A, 90 * WAD // 100, **MIXED)
    market.state.accounts[A].linear.append(Linear(other, 0, WAD))
    market.state.accounts[A].cash_wad -= WAD
    market.settle_totals()
    market.write_state()
    for size in (1, -1, WAD):
        assert legs(market, [leg(other, size)], NO_LIMIT) == Revert("LegInvalid", (other,))


def test_refusals_come_in_the_stated_order(market: Market) -> None:
    two = [leg(PERP, 2 * WAD)]
    m = at_health(market, A, WAD, **LONG)
    stranger = Revert("NotAccountOwner", (A, key_address(BOB)))
    assert legs(market, [], 0, by=A, sender=BOB) == stranger
    assert legs(market, [], 0, by=A, sender=ALICE) == Revert("SelfLiquidation", (A,))
    assert legs(market, two, 0) == Revert("AccountHealthy", (A, m.equity, m.mm))
    m = at_health(market, A, WAD * 95 // 100, **LONG)
    assert legs(market, [], NO_LIMIT) == Revert("LegsKeepRequirement", (A, m.mm, m.mm))
    assert legs(market, two, -(2**255)).name == "PaymentAboveLimit"


def test_D33_D35_limit_of_the_caller(market: Market) -> None:
    at_health(market, A, 95 * WAD // 100, linear=[(PERP, 10 * WAD, -29_000 * WAD)])
    items = [leg(PERP, WAD)]
    snapshot = market.rpc.call("evm_snapshot")
    saved = market.clone()
    payment = legs(market, items, NO_LIMIT)
    market.rpc.call("evm_revert", snapshot)
    market.restore(saved)
    assert payment > 0
    assert legs(market, items, payment - 1) == Revert("PaymentAboveLimit", (payment, payment - 1))
    assert legs(market, items, payment) == payment


def test_D32_good_legs_are_not_taken_from_the_junk(market: Market) -> None:
    """The long calls hedge the short ones: without them the requirement rises."""
    holding = {"options": [(option(37), 10 * WAD), (option(36), -10 * WAD)]}
    m = at_health(market, A, 50 * WAD // 100, **holding)
    refused = legs(market, [leg(option(37), WAD)], NO_LIMIT)
    assert refused.name == "LegsKeepRequirement"
    assert refused.args[:2] == (A, m.mm) and refused.args[2] > m.mm
    # the junk may go, and the pair may go
    before = market.model.margin(A)
    assert isinstance(legs(market, [leg(option(36), -WAD // 10)], NO_LIMIT), int)
    after = market.compare_margin(A)
    assert after.mm < before.mm and after.health_factor > before.health_factor


def test_D32_reward_above_the_relief_is_refused(market: Market) -> None:
    """A leg may not leave the account with a worse quotient than it had."""
    market.set_params(
        risk_params(
            (underlying_params(), underlying_params()),
            market.state.params.collaterals,  # type: ignore[union-attr]
            reward_base_bps=9_000,
            reward_max_bps=9_000,
        )
    )
    market.set_price(0, 3_000)
    m = at_health(market, A, 50 * WAD // 100, **LONG)
    refused = legs(market, [leg(PERP, 2 * WAD)], NO_LIMIT)
    assert refused.name == "LegsKeepHealth" and refused.args[:2] == (A, m.health_factor)
    assert refused.args[2] < m.health_factor


def test_D34_health_never_lands_above_the_target(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, **LONG)
    most = largest(market, PERP, 10 * WAD)
    refused = legs(market, [leg(PERP, most + 1)], NO_LIMIT)
    assert refused.name == "LegsAboveTarget"
    assert refused.args[0] == A and refused.args[1] > refused.args[2] == LIMIT
    assert isinstance(legs(market, [leg(PERP, most)], NO_LIMIT), int)
    assert TARGET < market.compare_margin(A).health_factor <= LIMIT
    assert market.model.margin(A).mm > 0


def test_D34_solvent_account_is_not_emptied(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, **LONG)
    refused = legs(market, [leg(PERP, 10 * WAD)], NO_LIMIT)
    assert refused == Revert("LegsAboveTarget", (A, 2**255 - 1, LIMIT))


@pytest.mark.parametrize("health", [-80, -1, 0])
def test_D31_A9_reward_is_capped_at_what_is_there(market: Market, health: int) -> None:
    """An account that has nothing pays nothing, and its debt never grows: the reward does not come
    from the fund or from the lenders.
    """
    set_insurance(market, 10**6)
    m = at_health(market, A, health * WAD // 100, **LONG)
    payment = legs(market, [leg(PERP, 2 * WAD)], NO_LIMIT)
    after = market.compare_margin(A)
    if m.mark_equity < 0:  # an owner's winner could take them and escape his haircut
        assert payment == Revert("LegsBankrupt", (A, m.mark_equity))
        return
    assert isinstance(payment, int)
    rho = 5 * WAD // 100
    owed = rho * (m.mm - after.mm) // WAD
    assert m.mark_equity - after.mark_equity == min(owed, max(0, m.mark_equity))
    assert (after.mark_equity < 0) is (m.mark_equity < 0)
    assert market.read("totals")[1] == 10**6 * WAD
    assert after.equity - after.mm > m.equity - m.mm


def test_D31_bonus_too_large_for_the_margin_is_left_to_slices(market: Market) -> None:
    """HF below ρ: a reward of ρ per unit of requirement would lower it. The slice takes it all."""
    set_insurance(market, 10**6)
    m = at_health(market, A, 2 * WAD // 100, **LONG)
    refused = legs(market, [leg(PERP, 2 * WAD)], NO_LIMIT)
    assert refused.name == "LegsKeepHealth" and refused.args[:2] == (A, m.health_factor)
    assert market.do(CAROL, "liquidate", A, C, WAD, 0)[0] == WAD
    # with haircuts E may be nothing where M is not: then M is the cap
    market.put(C, cash=10**8 * WAD)
    m = at_health(market, A, -1, collateral={0: WAD // 10}, **LONG)
    assert m.equity < 0 < m.mark_equity < 5 * m.mm // 100
    assert isinstance(legs(market, [leg(PERP, 10 * WAD)], NO_LIMIT), int)
    assert market.compare_margin(A).mark_equity == 0


def test_E44_bankrupt_account_is_not_sold_in_legs(market: Market) -> None:
    """At M = 0 it may lose them all, one wei below they are for the waterfall."""
    m = at_health(market, A, 0, **LONG)
    cash = market.state.accounts[A].cash_wad
    assert m.mark_equity == 0
    set_cash(market, A, cash - 1)
    for items in ([leg(PERP, 10 * WAD)], [leg(PERP, 1)], []):
        assert legs(market, items, NO_LIMIT) == Revert("LegsBankrupt", (A, -1))
    set_cash(market, A, cash)
    assert legs(market, [leg(PERP, 10 * WAD)], NO_LIMIT) == 0
    after = market.compare_margin(A)
    assert (after.equity, after.mm) == (0, 0)


def test_D37_a_leg_takes_no_more_than_is_held(market: Market) -> None:
    """Both kinds, to the wei; what is held of the other sign is never turned."""
    at_health(market, A, 20 * WAD // 100, **MIXED)
    held = market.state.accounts[A]
    size = {x.instrument: x.size_wad for x in (*held.linear, *held.options)}
    items = [leg(BTC_PERP, -(2**95)), leg(option(36), -9 * WAD - 1)]
    payment = legs(market, sorted(items), NO_LIMIT)
    assert isinstance(payment, int), payment
    taken = market.state.accounts[C]
    got = {x.instrument: x.size_wad for x in (*taken.linear, *taken.options)}
    assert got == {i: size[i] for i in (BTC_PERP, option(36))}


def test_a_leg_that_puts_the_account_into_debt(market: Market) -> None:
    """The payment comes out of its own cash, into a loan where there is none."""
    holding = {"collateral": {0: 3 * WAD}, "linear": [(PERP, 10 * WAD, -33_000 * WAD)]}
    at_health(market, A, 90 * WAD // 100, **holding)
    cash = market.state.accounts[A].cash_wad
    payment = legs(market, [leg(PERP, WAD)], NO_LIMIT)
    assert payment < -300 * WAD
    assert market.state.accounts[A].cash_wad == cash + payment


def test_obligations_that_end_with_the_payment(market: Market) -> None:
    """A short option and a loan: with both gone the account owes nothing, which is too much."""
    holding = {"collateral": {0: WAD}, "options": [(option(30), 5 * WAD), (option(0, iid.PUT), -1)]}
    at_health(market, A, 90 * WAD // 100, **holding)
    assert market.state.accounts[A].cash_wad < 0
    items = sorted([leg(option(30), 5 * WAD), leg(option(0, iid.PUT), -1)])
    refused = legs(market, items, NO_LIMIT)
    assert refused.name in ("LegsAboveTarget", "LegsKeepRequirement")


def test_a_payment_that_leaves_a_larger_requirement_is_refused(market: Market) -> None:
    """A covered call: without the calls nothing is owed and nothing required, but their price puts
    the account into debt against the ether alone, which requires more than the pair did.
    """
    p = params()
    heavy = replace(p.collaterals[0], haircut_bps=6_000)
    market.set_params(replace(p, collaterals=(heavy, *p.collaterals[1:])))
    calls = [(option(0), -10 * WAD)]
    m = at_health(market, A, WAD * 9 // 10, collateral={0: 10 * WAD}, options=calls)
    assert market.state.accounts[A].cash_wad > 0
    refused = legs(market, [leg(option(0), -10 * WAD)], NO_LIMIT)
    assert refused.name == "LegsKeepRequirement"
    assert refused.args[1] == m.mm < refused.args[2]


def test_D42_liquidator_without_margin_is_refused(market: Market) -> None:
    at_health(market, A, 90 * WAD // 100, **LONG)
    market.put(C, cash=10 * WAD)
    refused = legs(market, [leg(PERP, WAD)], NO_LIMIT)
    assert refused.name == "InsufficientMargin" and refused.args[0] == C


def test_B17_position_limit_of_the_liquidator(market: Market) -> None:
    mine = [(option(i % 64, iid.CALL + i // 64), WAD) for i in range(128)]
    at_health(market, A, 90 * WAD // 100, **LONG)
    other = account(BOB, 9)
    market.put(C, cash=10**8 * WAD, options=mine, mirror=other)
    set_cash(market, other, 10**9 * WAD)
    refused = legs(market, [leg(PERP, WAD)], NO_LIMIT)
    assert refused == Revert("TooManyPositions", (C, 128))


@pytest.mark.parametrize("how", ["stale", "halted", "uncertain"])
def test_D39_no_market_state_blocks_legs(market: Market, how: str) -> None:
    linear = [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, WAD, -60_000 * WAD)]
    at_health(market, A, 85 * WAD // 100, linear=linear)
    if how == "halted":
        market.set_feed(market.state.underlyings[1].feed, 0, mode=1)
    elif how == "stale":
        market.warp(4_000)
        market.set_price(0, 3_000)
    else:
        market.state.underlyings[1].confidence_bps = 1_000
        market.write_state()
    for item in (leg(PERP, WAD), leg(BTC_PERP, WAD // 20)):
        assert isinstance(legs(market, [item], NO_LIMIT), int)


def test_gas_of_four_legs_of_sixteen(market: Market) -> None:
    """Bounded by the account, not by what the legs are; the figure is in docs/liquidation.md."""
    options = [(option(16 + 2 * i), (-1) ** i * WAD) for i in range(15)]
    at_health(market, A, 70 * WAD // 100, linear=[(PERP, 10 * WAD, -30_000 * WAD)], options=options)
    items = [leg(PERP, WAD), *(leg(i, s // 10) for i, s in options if s < 0)][:4]
    assert market.do(BOB, "computeArrays", [i for i, _ in options]) is None
    result: Any = legs(market, sorted(items), NO_LIMIT)
    assert isinstance(result, int), result
    assert market.gas_used < 700_000
