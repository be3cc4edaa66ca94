"""Oracle state × action on the real vault, every cell of docs/market.md §2.

Chain and model side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from risk.exact.errors import ModelRevert
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.report_hash import VolReport
from tests.market.market_twin import BURNS_GAS, KEYS, key_address, report_tuple, slice_of
from tests.support.vault_fixtures import EXPIRIES, Market
from tests.support.vault_twin import ALICE, BOB, CAROL, NO_LIMIT, OWNER, USD, WAD, account, iid

FRESH, UNCERTAIN, STALE, HALTED = STATES = tuple(OracleState)
A, B, C = account(ALICE), account(BOB), account(CAROL)
PERP, BTC_PERP = (iid.encode(u, iid.PERP, 0, 0) for u in (0, 1))
CALL = iid.encode(0, iid.CALL, EXPIRIES[0], 30)


def bring(m: Market, state: OracleState) -> None:
    """Underlying 0 into ``state`` for the next action; both stay at their snapshot price."""
    if state == STALE:
        m.warp(3_700)
    for u, price in enumerate((3_000, 60_000)):
        m.set_price(u, price, age=3_601 if u == 0 and state == STALE else 0)
    if state == HALTED:
        m.set_feed(m.state.underlyings[0].feed, 3_000 * 10**8, mode=BURNS_GAS)
    if state == UNCERTAIN:
        m.state.underlyings[0].confidence_bps = 51
        m.write_state()


def blocked(state: OracleState) -> ModelRevert | None:
    """What an action that needs IM on underlying 0 meets."""
    return None if state == FRESH else ModelRevert("OracleNotUsable", (0, state))


def unusable(state: OracleState) -> ModelRevert | None:
    """What a refresh meets."""
    return ModelRevert("OracleNotUsable", (0, state)) if state >= STALE else None


def holding(m: Market) -> None:
    """Alice long, Bob short a perp of 0; Carol is not exposed to it."""
    m.put(A, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    m.state.accounts[B].cash_wad = 10**5 * WAD
    m.state.accounts[C] = type(m.state.accounts[B])(cash_wad=10**5 * WAD)
    m.settle_totals()
    m.write_state()


def move(m: Market, state: OracleState) -> None:
    """The price of underlying 0 leaves the band, the state stays."""
    bring(m, state)
    item = m.world.feeds[m.state.underlyings[0].feed]
    m.set_feed(
        m.state.underlyings[0].feed,
        3_100 * 10**8,
        item.updated_at,
        BURNS_GAS if state == HALTED else 0,
    )


def submit(m: Market, state: OracleState) -> Any:
    if state != STALE:
        m.warp(1)
        bring(m, state)
    report = VolReport(0, 99, m.world.timestamp, 10, (slice_of(EXPIRIES[0]),))
    digest = m.model.hash_report(report)
    keys = KEYS[:2]
    signatures = [bytes(k.unsafe_sign_hash(digest).signature) for k in keys]
    signers = [key_address(k) for k in keys]
    return m.do(OWNER, "submitReport", report, signers, chain=(report_tuple(report), signatures))


def refresh(m: Market, state: OracleState) -> Any:
    move(m, state)
    return m.do(OWNER, "refresh", [0])


def withdraw(who: Any, identity: int) -> Callable[[Market, OracleState], Any]:
    return lambda m, _: m.do(who, "withdraw", identity, m.cash, USD, key_address(who))


def withdraw_mixed(m: Market, state: OracleState) -> Any:
    """Whoever owes on underlying 1 only goes on."""
    m.put(
        C, cash=10**5 * WAD, linear=[(BTC_PERP, WAD // 10, -6_000 * WAD)], mirror=account(CAROL, 1)
    )
    m.state.accounts[account(CAROL, 1)].cash_wad = 10**5 * WAD
    m.settle_totals()
    m.write_state()
    return m.do(CAROL, "withdraw", C, m.cash, USD, key_address(CAROL))


def borrow_on_collateral(m: Market, state: OracleState) -> Any:
    """A loan against collateral of underlying 0: exposed without any position."""
    identity = account(CAROL, 2)
    m.put(identity, cash=0, collateral={0: 10 * WAD})
    return m.do(CAROL, "withdraw", identity, m.cash, USD, key_address(CAROL))


ACTIONS: dict[str, tuple[Callable[[Market, OracleState], Any], Callable[[OracleState], Any]]] = {
    "deposit cash": (lambda m, _: m.do(ALICE, "deposit", A, m.cash, USD), lambda _: None),
    "deposit collateral": (lambda m, _: m.do(ALICE, "deposit", A, m.weth, WAD), lambda _: None),
    "realise": (lambda m, _: int(isinstance(m.do(OWNER, "realizePnl", A), int)), lambda _: 1),
    "fund insurance": (lambda m, _: m.do(ALICE, "fundInsurance", USD), lambda _: None),
    "compute arrays": (lambda m, _: m.do(OWNER, "computeArrays", [CALL]), lambda _: None),
    "refresh": (refresh, unusable),
    "report": (submit, unusable),
    "withdraw, exposed": (withdraw(ALICE, A), lambda s: blocked(s) or USD),
    "withdraw, no obligations": (withdraw(CAROL, C), lambda _: USD),
    "withdraw, exposed to another": (withdraw_mixed, lambda _: USD),
    "borrow against collateral": (borrow_on_collateral, lambda s: blocked(s) or USD),
    "increase": (lambda m, _: m.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD), blocked),
    "reduce": (lambda m, _: m.trade(BOB, ALICE, PERP, WAD // 2, 3_000 * WAD), blocked),
    "fill another underlying": (
        lambda m, _: m.trade(ALICE, BOB, BTC_PERP, WAD // 10, 60_000 * WAD),
        blocked,  # both hold underlying 0, and their margin is one number
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_C24_matrix(vault: Market, action: str, state: OracleState) -> None:
    """Every cell but liquidation."""
    run, expected = ACTIONS[action]
    holding(vault)
    bring(vault, state)
    assert run(vault, state) == expected(state)


@pytest.mark.parametrize("state", STATES)
def test_D39_no_market_state_blocks_a_liquidation(vault: Market, state: OracleState) -> None:
    """Underlying 0 in any state, held by the account and then by the liquidator too."""
    vault.put(A, cash=100 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    vault.state.accounts[B].cash_wad = 10**5 * WAD
    vault.state.accounts[C] = type(vault.state.accounts[B])(cash_wad=10**5 * WAD)
    vault.settle_totals()
    vault.write_state()
    bring(vault, state)
    for _ in range(2):
        outcome = vault.do(CAROL, "liquidate", A, C, WAD // 10, NO_LIMIT)
        assert isinstance(outcome, tuple) and outcome[0] == WAD // 10
