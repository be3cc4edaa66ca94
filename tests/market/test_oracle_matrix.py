"""Oracle state × action on the real vault, every cell of docs/market.md §2.

The table stands in the document, in Solidity and in Python: they are compared cell by cell, and
what the vault does is compared with the table.  Chain and model side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from risk.chain.node import project_root
from risk.exact.errors import ModelRevert
from risk.exact.market import oracle_matrix
from risk.exact.market.feed_reader import OracleState
from risk.exact.market.oracle_matrix import Action
from risk.exact.market.report_hash import VolReport
from tests.market.market_twin import BURNS_GAS, KEYS, Twin, key_address, report_tuple, slice_of
from tests.support.vault_fixtures import EXPIRIES, Market, params
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


def blocked(action: Action) -> Callable[[OracleState], ModelRevert | None]:
    """What ``action`` on underlying 0 meets: None where the table allows it."""

    def outcome(state: OracleState) -> ModelRevert | None:
        if oracle_matrix.allowed(action, state):
            return None
        return ModelRevert("OracleNotUsable", (0, state))

    return outcome


def no(state: OracleState) -> None:
    """Not asked: no market's state matters."""


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


def observe(m: Market, state: OracleState) -> Any:
    """The settlement price of the first expiry of underlying 0, within its window."""
    m.set_params(params(settle_window_seconds=7_200, settle_min_observations=3))
    m.world.timestamp = iid.expiry(CALL) - 7_000
    bring(m, state)
    return m.do(OWNER, "observe", 0, EXPIRIES[0])


def liquidate(m: Market, state: OracleState) -> Any:
    """Alice with next to no cash, by Carol."""
    m.state.accounts[A].cash_wad = 100 * WAD
    m.settle_totals()
    m.write_state()
    outcome = m.do(CAROL, "liquidate", A, C, WAD // 10, NO_LIMIT)
    return None if isinstance(outcome, tuple) else outcome


def borrow_on_collateral(m: Market, state: OracleState) -> Any:
    """A loan against collateral of underlying 0: exposed without any position."""
    identity = account(CAROL, 2)
    m.put(identity, cash=0, collateral={0: 10 * WAD})
    return m.do(CAROL, "withdraw", identity, m.cash, USD, key_address(CAROL))


IN_TABLE: dict[str, tuple[Action, Callable[[Market, OracleState], Any]]] = {
    "deposit cash": (Action.DEPOSIT, lambda m, _: m.do(ALICE, "deposit", A, m.cash, USD)),
    "deposit collateral": (Action.DEPOSIT, lambda m, _: m.do(ALICE, "deposit", A, m.weth, WAD)),
    "withdraw": (Action.WITHDRAW, lambda m, s: failure(withdraw(ALICE, A)(m, s))),
    "borrow": (Action.WITHDRAW, lambda m, s: failure(borrow_on_collateral(m, s))),
    "increase": (Action.INCREASE, lambda m, _: m.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD)),
    "reduce": (Action.REDUCE, lambda m, _: m.trade(BOB, ALICE, PERP, WAD // 2, 3_000 * WAD)),
    "liquidate": (Action.LIQUIDATE, liquidate),
    "observe": (Action.SETTLE, observe),
}
"""What the table speaks of: the outcome is None or the refusal."""


def failure(outcome: Any) -> ModelRevert | None:
    return outcome if isinstance(outcome, ModelRevert) else None


ACTIONS: dict[str, tuple[Callable[[Market, OracleState], Any], Callable[[OracleState], Any]]] = {
    "realise": (lambda m, _: int(isinstance(m.do(OWNER, "realizePnl", A), int)), lambda _: 1),
    "fund insurance": (lambda m, _: m.do(ALICE, "fundInsurance", USD), no),
    "compute arrays": (lambda m, _: m.do(OWNER, "computeArrays", [CALL]), no),
    "refresh": (refresh, unusable),
    "report": (submit, unusable),
    "withdraw, no obligations": (withdraw(CAROL, C), lambda _: USD),
    "withdraw, exposed to another": (withdraw_mixed, lambda _: USD),
    "fill another underlying": (
        lambda m, _: m.trade(ALICE, BOB, BTC_PERP, WAD // 10, 60_000 * WAD),
        blocked(Action.INCREASE),  # both hold underlying 0, and their margin is one number
    ),
}


def test_C24_one_table_in_three_places(market: Twin) -> None:
    """Document, Solidity and Python agree in each of the 24 cells."""
    lines = (project_root() / "docs" / "market.md").read_text(encoding="utf-8").splitlines()
    rows = {cells[0]: cells[1:] for cells in map(cells_of, lines) if cells[0] in Action.__members__}
    header = next(cells_of(line) for line in lines if line.startswith("| action |"))
    assert header[1 : len(STATES) + 1] == [s.name for s in STATES]
    assert list(rows) == [a.name for a in Action]
    for action in Action:
        for state in STATES:
            written = {"yes": True, "no": False}[rows[action.name][state]]
            assert written == oracle_matrix.allowed(action, state), (action, state)
            assert market.view("allowed", action, state) == [written], (action, state)


def cells_of(line: str) -> list[str]:
    """Cells of a line of a table; one empty cell for any other line."""
    return [c.strip() for c in line.strip("|").split("|")] if line.startswith("|") else [""]


def test_C24_every_row_of_the_table_is_tried() -> None:
    assert {action for action, _ in IN_TABLE.values()} == set(Action)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", IN_TABLE)
def test_C24_table(vault: Market, name: str, state: OracleState) -> None:
    """The vault does what the table says."""
    action, run = IN_TABLE[name]
    holding(vault)
    bring(vault, state)
    assert run(vault, state) == blocked(action)(state)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_C24_around_the_table(vault: Market, action: str, state: OracleState) -> None:
    """What asks no market, what asks it for its own reasons, and who is not exposed."""
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
