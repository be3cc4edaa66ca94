"""Oracle state × action: every cell of the matrix in docs/vault.md, on both sides."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.market.market_twin import key_address
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, NO_LIMIT, USD, WAD, account, iid

A, B, C, D = (account(k) for k in (ALICE, BOB, CAROL, DAVE))
PERP = iid.encode(0, iid.PERP, 0, 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)
FRESH, UNCERTAIN, STALE, HALTED = range(4)

OUTCOMES: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    "deposit cash": (None, None, None, None),
    "deposit collateral": (None, None, None, None),
    "withdraw, no obligations": (None, None, None, None),
    "withdraw, obligations": (None, "OracleNotUsable", "OracleNotUsable", "OracleNotUsable"),
    "fill": (None, "OracleNotUsable", "OracleNotUsable", "OracleNotUsable"),
    "cancel": (None, None, None, None),
    "realise": (None, None, None, None),
    "refresh": ("RefreshNotNeeded", "RefreshNotNeeded", "OracleNotUsable", "OracleNotUsable"),
    "refresh, due": (None, None, "OracleNotUsable", "OracleNotUsable"),
    "compute arrays": (None, None, None, None),
    "liquidate": (None, None, None, None),
}


@pytest.mark.parametrize("state", [FRESH, UNCERTAIN, STALE, HALTED])
@pytest.mark.parametrize("action", OUTCOMES)
def test_cell(market: Market, action: str, state: int) -> None:
    # Alice is unhealthy at the snapshot, Dave solvent; both are long a perp, Bob is their mirror
    market.put(A, cash=500 * WAD, linear=[(PERP, WAD, -3_000 * WAD)], mirror=B)
    market.put(D, cash=10**5 * WAD, linear=[(PERP, WAD, -3_000 * WAD)])
    for entry in market.state.accounts[B].linear:
        entry.size_wad, entry.quote_wad = -2 * WAD, 6_000 * WAD
    market.state.accounts[B].cash_wad = 10**6 * WAD
    market.put(C, cash=10**6 * WAD, collateral={0: WAD})
    price = PRICES[0] * (1.02 if action == "refresh, due" else 1)
    if state == UNCERTAIN:
        market.state.underlyings[0].confidence_bps = 51
        market.write_state()
        market.set_price(0, price)
    elif state == STALE:
        market.set_price(0, price)
        market.warp(3_601)
    elif state == HALTED:
        market.set_feed(market.state.underlyings[0].feed, -5)
    else:
        market.set_price(0, price)
    assert market.read("oracleState", 0)[0] == state

    do = market.do
    order = market.order(DAVE, PERP, WAD, 3_100 * WAD)
    fields = astuple(order)
    outcome = {
        "deposit cash": lambda: do(CAROL, "deposit", C, market.cash, USD),
        "deposit collateral": lambda: do(CAROL, "deposit", C, market.weth, 1),
        "withdraw, no obligations": lambda: do(
            CAROL, "withdraw", C, market.weth, WAD, key_address(CAROL)
        ),
        "withdraw, obligations": lambda: do(
            DAVE, "withdraw", D, market.cash, USD, key_address(DAVE)
        ),
        "fill": lambda: market.trade(DAVE, CAROL, PERP, WAD, 3_000 * WAD),
        "cancel": lambda: do(DAVE, "cancel", order, chain=(fields,)),
        "realise": lambda: do(CAROL, "realizePnl", B),
        "refresh": lambda: do(CAROL, "refresh", [0]),
        "refresh, due": lambda: do(CAROL, "refresh", [0]),
        "compute arrays": lambda: do(CAROL, "computeArrays", [CALL]),
        "liquidate": lambda: do(CAROL, "liquidate", A, C, WAD, NO_LIMIT),
    }[action]()
    name = outcome.name if isinstance(outcome, Revert) else None
    assert name == OUTCOMES[action][state]
    if name == "OracleNotUsable":
        assert outcome.args == (0, state)
