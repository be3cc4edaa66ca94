"""Flags, grace, the growth of the reward, margin calls: model and vault side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.chain.events import EventDecoder
from risk.chain.rebuild import Rebuilder
from risk.chain.vault_abi import vault_abi
from risk.exact.errors import ModelRevert as Revert
from risk.exact.liquidation import liquidation_logic
from tests.liquidation.scene import LONG, PERP, A, B, C, at_health, leg, legs, set_cash
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, NO_LIMIT, OWNER, USD, WAD

HOUR = 3_600
RATES = {"kink_utilisation_bps": 8_000, "kink_rate_bps": 2_000, "full_rate_bps": 20_000}


def configure(market: Market, **changes: Any) -> None:
    """Parameters with these fields of the tail; prices are fresh again."""
    market.set_params(params(**changes))
    fresh(market)
    market.put(C, cash=10**8 * WAD)


def fresh(market: Market) -> None:
    for u, price in enumerate(PRICES):
        market.set_price(u, price)


def liquidate(market: Market, fraction: int = WAD) -> Any:
    return market.do(CAROL, "liquidate", A, C, fraction, NO_LIMIT)


def flagged_at(market: Market) -> int:
    since, _, _ = market.read("accountFlags", A)
    assert since == market.state.accounts[A].flagged_at
    return int(since)


# ------------------------------------------------------------------------------------------ flags


def test_flag_needs_an_unhealthy_account(market: Market) -> None:
    configure(market)
    m = at_health(market, A, WAD, **LONG)
    assert market.do(BOB, "flag", A) == Revert("AccountHealthy", (A, m.equity, m.mm))
    at_health(market, A, WAD - 1, **LONG)
    at = market.world.timestamp
    assert market.do(BOB, "flag", A) is None
    assert flagged_at(market) == at
    assert market.do(BOB, "flag", A) == Revert("AlreadyFlagged", (A, at))
    assert market.do(BOB, "flag", B).name == "AccountHealthy"


def test_flag_passes_the_same_live_test_as_a_liquidation(market: Market) -> None:
    configure(market)
    at_health(market, A, WAD - 10**15, **LONG)
    market.set_price(0, 3_010)  # inside the band, and healthy there
    assert market.do(BOB, "flag", A).name == "AccountHealthy"
    market.set_feed(market.state.underlyings[0].feed, -1)  # the band favours the account
    assert market.do(BOB, "flag", A).name == "AccountHealthy"
    market.set_price(0, 2_900)
    epoch = market.state.underlyings[0].epoch
    assert market.do(BOB, "flag", A) is None
    assert market.state.underlyings[0].epoch == epoch + 1


def test_B16_unflag_at_initial_margin_exactly(market: Market) -> None:
    configure(market)
    m = at_health(market, A, WAD - 1, **LONG)
    assert market.do(BOB, "unflag", A) == Revert("NotFlagged", (A,))
    assert market.do(BOB, "flag", A) is None
    cash = market.state.accounts[A].cash_wad
    set_cash(market, A, cash + m.im - m.equity - 1)
    assert market.do(BOB, "unflag", A) == Revert("NotRecovered", (A, m.im - 1, m.im))
    set_cash(market, A, cash + m.im - m.equity)
    assert market.do(BOB, "unflag", A) is None
    assert flagged_at(market) == 0
    assert market.do(BOB, "unflag", A) == Revert("NotFlagged", (A,))


def test_a_liquidation_does_not_clear_the_flag(market: Market) -> None:
    configure(market)
    at_health(market, A, WAD * 9 // 10, **LONG)
    assert market.do(BOB, "flag", A) is None
    since = flagged_at(market)
    assert liquidate(market)[0] > 0
    assert market.model.margin(A).health_factor > WAD
    assert flagged_at(market) == since
    refused = market.do(BOB, "unflag", A)
    assert refused.name == "NotRecovered"  # at the target, which is below the initial margin
    # nor do deposits and realisations
    assert market.do(ALICE, "deposit", A, market.cash, 1) is None
    assert market.do(ALICE, "realizePnl", A) is not None
    assert flagged_at(market) == since


def test_flag_and_margin_call_are_in_the_logs(market: Market) -> None:
    configure(market, warning_bps=12_000)
    at_health(market, A, WAD * 9 // 10, **LONG)
    decoder, rebuilt = EventDecoder(vault_abi(market.artifacts)), Rebuilder()

    def follow() -> tuple[int, bool]:
        for log in market.logs:
            event = decoder.decode(log)
            if event.name in ("Flagged", "FlagCleared", "MarginCalled", "MarginCallCleared"):
                rebuilt.apply(event)
            if event.name in ("MarginCalled", "MarginCallCleared"):
                m = market.model.margin(A)
                assert tuple(event.arguments.values()) == (A, m.equity, m.mm, 12_000)
        a = rebuilt.state.accounts[A]
        return a.flagged_at, a.margin_call

    at = market.world.timestamp
    assert market.do(BOB, "flag", A) is None
    assert follow() == (at, False)
    assert market.do(BOB, "callMargin", A) is True
    assert follow() == (at, True)
    set_cash(market, A, 10**8 * WAD)
    assert market.do(BOB, "callMargin", A) is False
    assert follow() == (at, False)
    assert market.do(BOB, "unflag", A) is None
    assert follow() == (0, False)


# ------------------------------------------------------------------------------------------ grace


def test_grace_runs_from_the_flag(market: Market) -> None:
    configure(market, grace_seconds=600)
    at_health(market, A, WAD * 9 // 10, **LONG)
    assert liquidate(market) == Revert("NotFlagged", (A,))
    whole = [leg(PERP, WAD)]
    assert legs(market, whole, NO_LIMIT) == Revert("NotFlagged", (A,))
    at = market.world.timestamp
    assert market.do(BOB, "flag", A) is None
    assert liquidate(market) == Revert("GracePeriod", (A, at + 600))
    assert legs(market, whole, NO_LIMIT) == Revert("GracePeriod", (A, at + 600))
    market.world.timestamp = at + 599
    fresh(market)
    assert liquidate(market) == Revert("GracePeriod", (A, at + 600))
    market.world.timestamp = at + 600
    fresh(market)
    assert liquidate(market)[0] > 0


def test_no_grace_needs_no_flag(market: Market) -> None:
    configure(market, emergency_bps=5_000)
    at_health(market, A, WAD * 9 // 10, **LONG)
    assert liquidate(market)[0] > 0


@pytest.mark.parametrize("short", [0, 1])
def test_B16_emergency_skips_the_grace_at_the_wei(market: Market, short: int) -> None:
    configure(market, grace_seconds=600, emergency_bps=6_000)
    m = at_health(market, A, WAD * 6 // 10, **LONG)
    exact = -(-m.mm * 6_000 // 10_000)  # smallest E that is not below
    set_cash(market, A, market.state.accounts[A].cash_wad + exact - m.equity - short)
    assert market.model.margin(A).equity == exact - short
    if short:
        assert liquidate(market)[0] > 0
    else:
        assert liquidate(market) == Revert("NotFlagged", (A,))


def test_emergency_gives_a_halted_market_its_band(market: Market) -> None:
    """300 of favour: E + favour counts against the emergency level."""
    configure(market, grace_seconds=600, emergency_bps=6_000)
    for below, refused in ((299, True), (301, False)):
        market.put(C, cash=10**8 * WAD)
        m = at_health(market, A, WAD * 6 // 10, **LONG)
        set_cash(market, A, market.state.accounts[A].cash_wad - below * WAD)
        market.set_feed(market.state.underlyings[0].feed, -1)
        result = liquidate(market)
        assert (result == Revert("NotFlagged", (A,))) is refused
        fresh(market)
    assert m.mm > 7_000 * WAD


def test_insolvent_accounts_need_no_flag_without_an_emergency_level(market: Market) -> None:
    configure(market, grace_seconds=600)
    at_health(market, A, -WAD // 10, **LONG)
    assert liquidate(market)[0] == WAD
    market.put(C, cash=10**8 * WAD)
    at_health(market, A, WAD // 100, **LONG)
    assert liquidate(market) == Revert("NotFlagged", (A,))


# ----------------------------------------------------------------------------------------- reward


def quote(market: Market) -> Any:
    """Both sides at the time of the next action."""
    model = liquidation_logic.quote(market.state, A, market.world.timestamp)
    fraction, rho, price = market.read("liquidationQuote", A)[0]
    assert (fraction, rho, price) == (
        model.max_fraction_wad,
        model.reward_wad,
        model.full_price_wad,
    )
    return model


def test_reward_grows_by_the_second_up_to_its_maximum(market: Market) -> None:
    configure(market, reward_time_bps=100)
    at_health(market, A, WAD * 95 // 100, **LONG)  # 1 % + 20 %·5 % = 2 %
    start = quote(market).reward_wad
    assert start == WAD // 50
    market.warp(HOUR)
    fresh(market)
    assert quote(market).reward_wad == start  # not flagged: no growth
    at = market.world.timestamp
    assert market.do(BOB, "flag", A) is None
    for elapsed in (1, 7, 1_800, HOUR, 2 * HOUR):
        market.world.timestamp = at + elapsed
        fresh(market)
        assert quote(market).reward_wad == start + WAD // 100 * elapsed // HOUR
    market.world.timestamp = at + 4 * HOUR
    fresh(market)
    assert quote(market).reward_wad == 5 * WAD // 100
    market.world.timestamp = at + 1_800
    fresh(market)
    want = quote(market)
    fraction, payment = liquidate(market)
    assert fraction == want.max_fraction_wad
    assert payment == -(-want.full_price_wad * fraction // WAD)


# ------------------------------------------------------------------------------------ margin call


@pytest.mark.parametrize("below", [0, 1])
def test_B16_margin_call_boundary(market: Market, below: int) -> None:
    configure(market, warning_bps=12_000)
    m = at_health(market, A, WAD * 12 // 10, **LONG)
    exact = -(-m.mm * 12 // 10)
    set_cash(market, A, market.state.accounts[A].cash_wad + exact - m.equity - below)
    assert market.do(BOB, "callMargin", A) is bool(below)
    assert bool(market.read("accountFlags", A)[1]) is bool(below)
    logs = len(market.logs)
    assert market.do(BOB, "callMargin", A) is bool(below)
    assert len(market.logs) == 0 and logs == below  # says it once


def test_margin_call_needs_obligations_and_a_level(market: Market) -> None:
    configure(market, warning_bps=12_000)
    assert market.do(BOB, "callMargin", A) is False
    at_health(market, A, WAD, **LONG)
    assert market.do(BOB, "callMargin", A) is True
    market.set_params(replace(market.state.params, warning_bps=0))  # type: ignore[type-var]
    assert market.do(BOB, "callMargin", A) is False
    at_health(market, A, -WAD, **LONG)
    assert market.do(BOB, "callMargin", A) is False


def test_flags_stay_where_they_are_through_other_actions(market: Market) -> None:
    """Cash and interest are written beside them in the same word."""
    configure(market, warning_bps=12_000, **RATES)
    at_health(market, A, WAD * 9 // 10, collateral={0: 2 * WAD}, **LONG)
    assert market.do(BOB, "flag", A) is None
    assert market.do(BOB, "callMargin", A) is True
    market.warp(1_000)
    fresh(market)
    assert liquidate(market, WAD // 10)[0] == WAD // 10
    assert market.do(ALICE, "deposit", A, market.cash, 10 * USD) is None
    since, standing, _ = market.read("accountFlags", A)
    assert since != 0 and bool(standing)
    assert market.do(OWNER, "accrue") is None
