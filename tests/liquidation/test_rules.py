"""What a liquidation owes to the rest of the vault: settlement first, insurance caps, breakers,
the sequencer, work limits, tokens, logs.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.chain.abi import AbiError
from risk.chain.events import EventDecoder
from risk.chain.rebuild import Rebuilder
from risk.chain.vault_abi import vault_abi
from risk.exact.errors import ModelRevert as Revert
from tests.liquidation.scene import (
    BTC_PERP,
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
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, NO_LIMIT, OWNER, USD, WAD, account, iid

MIXED = [(option(30), 2 * WAD), (option(36), -3 * WAD), (option(20, iid.PUT), -WAD - 7)]
TX_GAS = 16_777_216  # EIP-7825


def configure(market: Market, **changes: Any) -> None:
    market.set_params(params(**changes))
    fresh(market)
    market.put(C, cash=10**8 * WAD)


def fresh(market: Market) -> None:
    for u, price in enumerate(PRICES):
        market.set_price(u, price)


def liquidate(market: Market, fraction: int = WAD, limit: int = NO_LIMIT) -> Any:
    return market.do(CAROL, "liquidate", A, C, fraction, limit)


def from_logs(market: Market, before: Any) -> None:
    """The state before and the logs of the last transaction give the state after."""
    decoder, rebuilt = EventDecoder(vault_abi(market.artifacts)), Rebuilder(state=before)
    for log in market.logs:
        if int(log["address"], 16) == market.world.vault:
            rebuilt.apply(decoder.decode(log))
    got = rebuilt.finish()
    for name in ("accounts", "underlyings", "open_interest", "insurance_wad", "cash_held_wad"):
        assert getattr(got, name) == getattr(market.state, name), name
    for name in ("supply_wad", "borrow_wad", "interest_wad"):
        assert getattr(got, name) == getattr(market.state, name), name
    for name in ("insurance_paid_wad", "insurance_paid_time"):
        assert getattr(got, name) == getattr(market.state, name), name


# -------------------------------------------------------------------------------------------- logs


def test_state_follows_from_the_logs(market: Market) -> None:
    configure(market, breaker_seconds=100, insurance_period_cap_wad=10**9 * WAD)
    set_insurance(market, 10**6)
    for health, action in (
        (90, lambda: liquidate(market)),
        (60, lambda: legs(market, [leg(PERP, WAD), leg(option(36), -WAD)], NO_LIMIT)),
        (60, lambda: legs(market, [leg(PERP, WAD)], NO_LIMIT, by=B, sender=BOB)),
        (-30, lambda: liquidate(market)),
        (90, lambda: market.do(BOB, "flag", A)),
    ):
        market.put(C, cash=10**8 * WAD)
        at_health(market, A, health * WAD // 100, options=MIXED, **LONG)
        before = market.state.clone()
        assert not isinstance(action(), Revert)
        try:
            from_logs(market, before)
        except AbiError as error:
            pytest.fail(f"a log cannot be decoded: {error}")


# -------------------------------------------------------------------------------------- settlement


def settled_price(market: Market, day: int, price: int) -> None:
    """The expiry is over and has its price, on both sides."""
    market.world.timestamp = iid.expiry(option(0, day=day)) + 10
    fresh(market)
    market.set_price(0, price)
    assert market.do(BOB, "observe", 0, day) is None
    assert market.state.settlements[day].settled


def test_settled_positions_are_settled_first(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short a call that ended worth 600, and a perp: what is liquidated is the perp."""
    configure(market)
    day = EXPIRIES[0]
    short = option(30, day=day)
    at_health(market, A, 95 * WAD // 100, options=[(short, -5 * WAD)], **LONG)
    settled_price(market, day, 3_600)
    cash = market.state.accounts[A].cash_wad
    set_cash(market, A, cash - 3_500 * WAD)
    # between the settlement of a short and of its long sizes do not sum to zero
    monkeypatch.setattr(market, "check_identities", lambda: None)
    assert liquidate(market)[0] > 0
    assert [o for o in market.state.accounts[A].options if o.instrument == short] == []
    assert [o for o in market.state.accounts[C].options if o.instrument == short] == []
    assert market.state.open_interest[short] == 5 * WAD  # Bob's side is his own
    assert market.do(BOB, "settle", [B]) is None
    monkeypatch.undo()
    market.check_identities()


def test_a_settlement_that_heals_leaves_nothing_to_liquidate(market: Market) -> None:
    """The index fell back after the expiry; the price that counts is the recorded one."""
    configure(market)
    day = EXPIRIES[0]
    m = at_health(market, A, 2 * WAD, options=[(option(30, day=day), -5 * WAD)], **LONG)
    settled_price(market, day, 3_000)
    market.world.timestamp += 3_700
    fresh(market)
    for name, args in (("liquidate", (A, C, WAD, NO_LIMIT)), ("flag", (A,))):
        refused = market.do(CAROL, name, *args)
        assert refused.name == "AccountHealthy"
    assert len(market.state.accounts[A].options) == 1 and m.mm > 0  # undone with the refusal


def test_liquidator_is_settled_too(market: Market) -> None:
    """Its margin counts the recorded price and not the snapshot."""
    configure(market)
    day = EXPIRIES[0]
    short, other = option(30, day=day), account(BOB, 9)
    market.put(C, cash=9_000 * WAD, options=[(short, -10 * WAD)], mirror=other)
    set_cash(market, other, 10**9 * WAD)
    at_health(market, A, 95 * WAD // 100, **LONG)
    settled_price(market, day, 3_900)
    market.world.timestamp += 10
    fresh(market)  # back at 3 000: nine thousand would be there
    at_health(market, A, 95 * WAD // 100, **LONG)
    refused = liquidate(market, WAD // 100)
    assert refused.name == "InsufficientMargin" and refused.args[0] == C
    assert refused.args[1] < 10 * WAD


# --------------------------------------------------------------------------------------- insurance


@pytest.mark.parametrize("cap", [0, 100])
def test_event_cap_bounds_one_liquidation(market: Market, cap: int) -> None:
    configure(market, insurance_event_cap_wad=cap * WAD)
    set_insurance(market, 10**6)
    at_health(market, A, -WAD // 2, **LONG)
    due = -market.model.liquidation_quote(A).full_price_wad
    paid = min(due, cap * WAD or due)
    assert liquidate(market, WAD, -paid - 1) == Revert("PaymentAboveLimit", (-paid, -paid - 1))
    assert liquidate(market, WAD, -paid) == (WAD, -paid)
    assert market.read("totals")[1] == 10**6 * WAD - paid


def test_a_draw_trips_the_breakers_of_the_account(market: Market) -> None:
    configure(market, breaker_seconds=600)
    set_insurance(market, 10**6)
    at_health(market, A, 90 * WAD // 100, **LONG)
    assert liquidate(market)[1] > 0
    assert [u.reduce_only_until for u in market.state.underlyings] == [0, 0]
    market.put(C, cash=10**8 * WAD)
    at_health(market, A, -WAD // 2, **LONG)
    at = market.world.timestamp
    assert liquidate(market)[1] < 0
    assert [u.reduce_only_until for u in market.state.underlyings] == [at + 600, 0]
    # an empty fund pays nothing and trips nothing
    set_insurance(market, 0)
    market.put(C, cash=10**8 * WAD)
    at_health(market, A, -WAD // 2, linear=[(BTC_PERP, WAD, -60_000 * WAD)])
    assert liquidate(market) == (WAD, 0)
    assert market.state.underlyings[1].reduce_only_until == 0


# --------------------------------------------------------------------------------------- sequencer


def test_D41_liquidations_and_flags_wait_for_the_sequencer(market: Market) -> None:
    """Down, back, grace over; a feed that is broken holds nothing."""
    configure(market, sequencer_grace_seconds=600)
    at_health(market, A, 90 * WAD // 100, **LONG)
    down = market.new_feed(0, 1)
    assert market.do(OWNER, "setSequencerFeed", down) is None
    attempts = (
        lambda: liquidate(market, WAD // 100),
        lambda: legs(market, [leg(PERP, WAD // 10)], NO_LIMIT),
        lambda: market.do(BOB, "flag", A),
    )
    fresh(market)
    assert [x() for x in attempts] == [Revert("SequencerDown")] * 3
    # deposits go on, so the owner can save himself before anybody may liquidate
    assert market.do(ALICE, "deposit", A, market.cash, 1) is None
    back = market.world.timestamp
    market.set_feed(down, 0, back)
    assert [x() for x in attempts] == [Revert("SequencerGrace", (back + 600,))] * 3
    market.world.timestamp = back + 600
    fresh(market)
    assert not any(isinstance(x(), Revert) for x in attempts)
    market.set_feed(down, 1, back, mode=1)
    assert liquidate(market, WAD // 100)[0] == WAD // 100


# ------------------------------------------------------------------------ the owner, junk, tokens


def test_D37_a_deposit_in_front_does_not_stop_it(market: Market) -> None:
    """One wei, and a deposit that lowers f*: `max` works, and X = t·MM − E stays a valid limit."""
    configure(market)
    m = at_health(market, A, 90 * WAD // 100, **LONG)
    limit = -(-11 * m.mm // 10) - m.equity
    for units in (1, 200 * USD):
        assert market.do(ALICE, "deposit", A, market.cash, units) is None
    quoted = market.model.liquidation_quote(A)
    fraction, payment = liquidate(market, WAD, limit)
    assert fraction == quoted.max_fraction_wad and 0 < payment <= limit


def test_A5_D37_every_call_that_costs_has_a_bound_of_the_caller(market: Market) -> None:
    """Withdrawn in front of it, f* and the payment grow: the bound holds in both kinds."""
    configure(market)
    at_health(market, A, 90 * WAD // 100, linear=[(PERP, 10 * WAD, -29_000 * WAD)])
    payment = market.model.liquidation_quote(A)
    bound = -(-payment.full_price_wad * payment.max_fraction_wad // WAD)
    cash = market.state.accounts[A].cash_wad
    set_cash(market, A, cash - 50 * WAD)
    for refused in (liquidate(market, WAD, bound - 1), legs(market, [leg(PERP, WAD)], 1)):
        assert refused.name == "PaymentAboveLimit"
        assert refused.args[0] > refused.args[1]


def test_A4_A9_tiny_slices_never_cost_the_account(market: Market) -> None:
    """Value out ≤ value in, per call: M never falls by more than the reward, and a reward above
    what is there neither blocks the slice nor comes from the account.
    """
    configure(market)
    for health in (90, 1):
        market.put(C, cash=10**8 * WAD)
        at_health(market, A, health * WAD // 100, options=MIXED, **LONG)
        for fraction in (1, 7, 10**9, WAD // 10**6):
            before = market.model.margin(A)
            rho = market.model.liquidation_quote(A).reward_wad
            taken, payment = liquidate(market, fraction)
            assert taken == fraction
            after = market.compare_margin(A)
            assert payment >= 0
            lost = before.mark_equity - after.mark_equity
            most = max(rho * before.mm // WAD, before.mark_equity) * fraction // WAD + 1
            assert lost <= most + 64  # marks of rounded legs, a wei each


def test_D38_128_positions_fit_a_transaction(market: Market) -> None:
    """Nothing cached: the arrays of all 127 options are computed in it."""
    configure(market)
    junk = [
        (option(i % 64, iid.CALL + i // 64, EXPIRIES[1]), (1 if i % 2 else -1) * WAD // 100)
        for i in range(127)
    ]
    at_health(market, A, 90 * WAD // 100, linear=LONG["linear"], options=junk)
    assert liquidate(market)[0] > 0
    assert market.gas_used < TX_GAS


@pytest.mark.parametrize("flags", [2, 4, 8, 32])
def test_D40_a_broken_token_stops_nothing(market: Market, flags: int) -> None:
    """A liquidation moves entries of the ledger and calls no token."""
    configure(market)
    at_health(market, A, 90 * WAD // 100, collateral={0: WAD}, **LONG)
    market.token(market.weth, "setFlags", flags)
    market.token(market.weth, "setDenied", market.world.vault, True)
    assert liquidate(market)[0] > 0
    assert market.state.accounts[C].collateral[0] > 0
