"""Socialised loss: model and vault side by side (ATTACKS E44–E46)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from risk.chain.events import EventDecoder
from risk.chain.rebuild import Rebuilder
from risk.chain.vault_abi import vault_abi
from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert as Revert
from risk.exact.waterfall import insurance_lib, waterfall_logic
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import BOB, CAROL, MAX, USD, WAD, account, key_address
from tests.waterfall.support import (
    BTC_PERP,
    CALL,
    LENDER,
    PERP,
    A,
    Holding,
    adl,
    flag_long_ago,
    others,
    plan,
    position,
    set_equity,
    value,
    with_params,
    write,
)

B, C = account(BOB), account(CAROL)
YEAR = 31_536_000


def debt(market: Market, owed: int = 1_000 * WAD, lent: tuple[int, int] = (6_000, 3_000)) -> None:
    """A bare debt, and two lenders."""
    write(
        market, {A: Holding(cash=-owed), B: Holding(cash=lent[0] * WAD), C: Holding(lent[1] * WAD)}
    )


def cash(market: Market, account_id: int) -> int:
    """With interest up to the last accrual."""
    a = market.state.accounts[account_id]
    return interest_lib.touched(market.state, a.cash_wad, a.interest_index)


def dust(market: Market) -> int:
    """What one unit of the supply index is worth: no rounding of a loss is larger."""
    return market.state.supply_wad // market.state.supply_index_e15 + 3


def test_E44_the_debt_falls_on_the_lenders_once_and_in_proportion(market: Market) -> None:
    debt(market)
    total = value(market)
    assert market.do(CAROL, "socialise", A) == 1_000 * WAD
    assert market.state.accounts[A].cash_wad == 0
    for lender, had in ((B, 6_000), (C, 3_000)):
        loss = had * WAD - cash(market, lender)
        assert 0 <= loss * 9 - had * WAD <= 9 * dust(market)
        # equity falls at once, before anybody touches the account
        assert market.compare_margin(lender).mark_equity == had * WAD - loss
    assert 0 <= total - value(market) <= dust(market)  # the rounding stays with the vault
    assert market.do(CAROL, "socialise", A) == Revert("NotBankrupt", (A, 0))


def test_A8_what_lenders_take_out_afterwards_is_there(market: Market) -> None:
    debt(market, 333 * WAD + 7)
    assert market.do(CAROL, "socialise", A) == 333 * WAD + 7
    out = 0
    for key, lender in ((BOB, B), (CAROL, C)):
        out += market.do(key, "withdraw", lender, market.cash, MAX, key_address(key))
    assert out * 10**12 <= 9_000 * WAD - 333 * WAD - 7
    assert 9_000 * WAD - 333 * WAD - 7 - out * 10**12 <= 2 * 10**12 + 2 * dust(market)
    assert market.state.interest_wad >= 0  # everybody booked his loss: dust of the vault


def test_E45_insurance_pays_first_and_what_it_may(market: Market) -> None:
    with_params(
        market,
        insurance_event_cap_wad=300 * WAD,
        insurance_period_cap_wad=400 * WAD,
        insurance_period_seconds=1_000_000,
    )
    assert market.do(CAROL, "fundInsurance", 5_000 * USD) is None
    debt(market)
    assert market.do(CAROL, "socialise", A) == 700 * WAD
    debt(market, 250 * WAD)
    left = market.do(CAROL, "socialise", A)
    assert 149 * WAD < left <= 150 * WAD  # the bucket lost a second or two
    debt(market, 250 * WAD)
    assert 249 * WAD < market.do(CAROL, "socialise", A) <= 250 * WAD
    assert market.state.insurance_wad >= 4_599 * WAD


def test_insurance_alone_leaves_the_lenders_alone(market: Market) -> None:
    assert market.do(CAROL, "fundInsurance", 5_000 * USD) is None
    debt(market)
    assert market.do(CAROL, "socialise", A) == 0
    assert market.state.supply_index_e15 == 10**15
    assert market.state.insurance_wad == 4_000 * WAD and cash(market, A) == 0


# ------------------------------------------------------------------------------------- refusals


def test_refusals(market: Market) -> None:
    for healthy in (0, 1, 10**20):
        write(market, {A: Holding(cash=healthy), B: Holding(cash=WAD)})
        assert market.do(CAROL, "socialise", A) == Revert("NotBankrupt", (A, healthy))
    mate = others(1)[0]
    for instrument in (PERP, CALL):
        write(
            market,
            {
                A: Holding(**position(instrument, WAD)),
                mate: Holding(cash=10**5 * WAD, **position(instrument, -WAD)),
            },
        )
        set_equity(market, A, -WAD)
        assert market.do(CAROL, "socialise", A) == Revert("PositionsOpen", (A,))


def test_a_claim_is_realised_first_and_one_that_the_pool_cannot_pay_waits(market: Market) -> None:
    claim = [(PERP, 0, 40 * WAD), (BTC_PERP, 0, 5 * WAD)]
    loser = [(PERP, -WAD, 3_000 * WAD - 40 * WAD)]
    winner = [(PERP, WAD, -3_000 * WAD)]
    write(
        market,
        {
            A: Holding(cash=-100 * WAD, linear=claim),
            B: Holding(cash=10_000 * WAD, linear=loser),
            C: Holding(cash=10_000 * WAD, linear=winner),
        },
    )
    market.state.underlyings[1].pnl_pool_wad = 5 * WAD
    market.settle_totals()
    market.write_state()
    assert market.do(CAROL, "socialise", A) == Revert("PositionsOpen", (A,))
    assert market.do(CAROL, "realizePnl", B) == -40 * WAD  # fills the pool, by anyone
    assert market.do(CAROL, "socialise", A) == 55 * WAD
    assert market.state.accounts[A].linear == []


@pytest.mark.parametrize("amount", [1, 10**6, WAD])
def test_leftover_collateral_does_not_shield_a_debt(market: Market, amount: int) -> None:
    """The lenders bear what the collateral does not cover; whoever takes it over pays nothing."""
    debt(market)
    write(market, {A: Holding(cash=-5_000 * WAD, collateral={0: amount})})
    worth = 3_000 * amount
    assert market.do(CAROL, "socialise", A) == 5_000 * WAD - worth
    assert market.compare_margin(A).mark_equity == 0
    assert market.state.accounts[A].cash_wad == -worth
    assert market.do(CAROL, "liquidate", A, C, WAD, 0) == (WAD, 0)  # taken as it is


def test_with_collateral_left_the_fund_pays_a_liquidator_first(market: Market) -> None:
    debt(market)
    write(market, {A: Holding(cash=-4_000 * WAD, collateral={0: WAD})}, insurance_wad=1_000 * WAD)
    assert market.do(CAROL, "socialise", A) == Revert("InsuranceNotExhausted", (1_000 * WAD,))
    flag_long_ago(market, A)
    assert market.do(CAROL, "socialise", A) == 0
    assert market.state.insurance_wad == 0 and market.compare_margin(A).mark_equity == 0


# ------------------------------------------------------------------------------ hardly any lender


def test_no_lenders(market: Market) -> None:
    """The other side of the debt still lies in a pool: nobody has cash yet that could bear it."""
    write(market, {A: Holding(cash=-100 * WAD)})
    market.state.underlyings[0].pnl_pool_wad = 100 * WAD
    write(market, {})
    assert market.do(CAROL, "socialise", A) == Revert("NoLenders", (100 * WAD,))
    assert market.do(CAROL, "fundInsurance", 40 * USD) is None
    assert market.do(CAROL, "socialise", A) == 0  # what the insurance has is paid all the same
    assert cash(market, A) == -60 * WAD


def test_a_loss_above_everything_lent_leaves_a_working_index(market: Market) -> None:
    with_params(market, base_rate_bps=500, kink_rate_bps=500, full_rate_bps=500)
    market.state.underlyings[0].pnl_pool_wad = 45_000 * WAD  # of winners who did not touch it yet
    debt(market, 50_000 * WAD)
    taken = market.do(CAROL, "socialise", A)
    assert 8_999 * WAD < taken < 9_000 * WAD
    assert market.state.supply_index_e15 >= waterfall_logic.MIN_SUPPLY_INDEX
    owed = -cash(market, A)
    assert owed >= 50_000 * WAD - taken
    again = market.do(CAROL, "socialise", A)  # a second's interest of it, at most
    assert isinstance(again, Revert) or again < WAD // 1_000
    # whoever lends now starts at the low index, bears the rest, and earns interest afterwards
    assert market.do(CAROL, "deposit", C, market.cash, 1_000_000 * USD) is None
    first = cash(market, C)
    market.world.timestamp += YEAR
    assert market.do(CAROL, "accrue") is None
    assert cash(market, C) > first + 2_000 * WAD


def test_lenders_after_many_losses(market: Market) -> None:
    rng = Random(3)
    for _ in range(12):
        debt(market, rng.randrange(1, 4_500 * WAD))
        had, owed = (cash(market, B) + cash(market, C)), -cash(market, A)
        assert market.do(CAROL, "socialise", A) == owed
        assert 0 <= had - owed - cash(market, B) - cash(market, C) <= dust(market)


# ----------------------------------------------------------------------------------- properties


def test_E46_jelly_the_fund_loses_its_caps_on_every_path(market: Market) -> None:
    """A hundred random paths on the model: debts with and without a position are deleveraged and
    socialised.  What the fund loses in any window stays within its caps; every debt is gone.
    """
    event, cap, period = 100 * WAD, 250 * WAD, 3_600
    p = with_params(
        market,
        insurance_event_cap_wad=event,
        insurance_period_cap_wad=cap,
        insurance_period_seconds=period,
    )
    write(market, {LENDER: Holding(cash=10**9 * WAD)})  # tokens for all that follows
    drawn = calls = 0
    for seed in range(100):
        saved = market.clone()
        rng, state, world = Random(seed), market.state, market.world
        fund = 10**4 * WAD
        write(market, {LENDER: Holding(cash=10**7 * WAD)}, chain=False, insurance_wad=fund)
        paid: list[tuple[int, int]] = []
        for _ in range(12):
            world.timestamp += rng.randrange(period // 2)
            for feed in world.feeds.values():
                feed.updated_at = world.timestamp
            path = bankrupt_step(market, rng, 3 * event)
            for call in path:
                limit = insurance_lib.available(state, world, p)
                try:
                    call()
                except Revert as refused:  # the fund can pay it all: a liquidator's business
                    assert refused.name == "InsuranceNotExhausted"
                    state.accounts.pop(A)
                    break
                amount = fund - state.insurance_wad
                assert amount <= min(limit, event)
                paid.append((world.timestamp, amount))
                fund, drawn, calls = state.insurance_wad, drawn + amount, calls + 1
            else:
                assert market.model.margin(A).mark_equity in range(4)
        for i, (start, _) in enumerate(paid):
            lost = 0
            for time, amount in paid[i:]:
                lost += amount
                assert lost * period <= cap * (period + time - start)
        market.restore(saved)
    assert drawn > 10**4 * WAD and calls > 1_000


def bankrupt_step(market: Market, rng: Random, most: int) -> list[Callable[[], object]]:
    """Make Alice bankrupt; the calls that end it."""
    owed, mate = rng.randrange(1, most), others(1)[0]
    if rng.random() < 0.5:
        write(market, {A: Holding(cash=-owed), mate: Holding()}, chain=False)
        return [lambda: market.model.socialise(1, A)]
    held, against = position(PERP, WAD), position(PERP, -WAD)
    write(market, {A: Holding(**held), mate: Holding(**against)}, chain=False)
    set_equity(market, A, -owed, chain=False)
    set_equity(market, mate, rng.randrange(most // 3), chain=False)
    level = plan(market, PERP, [mate])
    calls: list[Callable[[], object]] = [
        lambda: market.model.auto_deleverage(1, A, PERP, [mate], level.theta)
    ]
    if level.insured + sum(level.haircuts) < level.deficit:
        calls.append(lambda: market.model.socialise(1, A))
    return calls


# -------------------------------------------------------------------------------------- rebuild


@pytest.mark.parametrize("seed", range(4))
def test_the_logs_say_everything(market: Market, seed: int) -> None:
    rng = Random(seed)
    with_params(
        market,
        insurance_event_cap_wad=300 * WAD,
        insurance_period_cap_wad=500 * WAD,
        insurance_period_seconds=86_400,
        breaker_seconds=600,
    )
    ids, instrument = others(3), (PERP, CALL)[seed % 2]
    book = {A: Holding(**position(instrument, 10 * WAD)), LENDER: Holding(cash=10**6 * WAD)}
    for i, size in zip(ids, (3, 3, 4), strict=True):
        book[i] = Holding(**position(instrument, -size * WAD))
    write(market, book, insurance_wad=10**4 * WAD)
    for i in ids:
        set_equity(market, i, rng.randrange(300 * WAD))
    set_equity(market, A, -2_000 * WAD)
    rebuilt = Rebuilder(state=market.state.clone())
    decoder = EventDecoder(vault_abi(market.artifacts))
    p = plan(market, instrument, ids)
    for call in (
        lambda: adl(market, instrument, ids, p.theta),
        lambda: market.do(CAROL, "socialise", A),
    ):
        assert call() > 0
        for log in market.logs:
            rebuilt.apply(decoder.decode(log))
    rebuilt.finish()
    got, want = rebuilt.state, market.state
    assert want.insurance_paid_wad > 0 and want.supply_index_e15 < 10**15
    for name in vars(want):
        if name not in ("params", "deferred"):
            assert getattr(got, name) == getattr(want, name), name
