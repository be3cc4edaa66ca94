"""Guards of totals and counters at their last value, and events that must not come.

Nobody gets there by trading: the states are written by hand, on both sides.
"""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import EXPIRIES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, USD, WAD, account, iid, key_address

A, B, C = (account(k) for k in (ALICE, BOB, CAROL))
PERP = iid.encode(0, iid.PERP, 0, 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)
TOP = 2**104 - 1


@pytest.mark.parametrize("side", ["supply_wad", "borrow_wad"])
def test_totals_of_the_cash_market_keep_their_type(market: Market, side: str) -> None:
    m = market
    assert m.do(ALICE, "deposit", A, m.cash, USD) is None
    setattr(m.state, side, 2**128 - WAD)
    m.write_state()
    if side == "supply_wad":
        assert m.do(ALICE, "deposit", A, m.cash, USD) == Revert("CashOutOfRange", (A,))
        setattr(m.state, side, 2**128 - WAD - 1)
        m.write_state()
        assert m.do(ALICE, "deposit", A, m.cash, USD) is None
        assert m.state.supply_wad == 2**128 - 1
        return
    assert m.do(ALICE, "deposit", A, m.weth, 10 * WAD) is None
    to = key_address(ALICE)
    m.put(B, cash=100 * WAD)
    assert m.do(ALICE, "withdraw", A, m.cash, USD, to) == USD
    m.state.borrow_wad = 2**128 - WAD
    m.write_state()
    assert m.do(ALICE, "withdraw", A, m.cash, USD, to) == Revert("CashOutOfRange", (A,))


@pytest.mark.parametrize("instrument", [PERP, CALL])
def test_open_interest_of_an_instrument_keeps_its_type(market: Market, instrument: int) -> None:
    m = market
    for k in (A, B):
        m.put(k, cash=10**8 * WAD)
    m.state.open_interest[instrument] = TOP
    m.write_state()
    refused = m.trade(ALICE, BOB, instrument, 1, WAD)
    assert isinstance(refused, Revert)
    assert refused.name == "SizeOutOfRange" and refused.args[1] == instrument


def test_open_interest_of_an_underlying_keeps_its_type(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = market
    monkeypatch.setattr(m, "check_identities", lambda: None)  # the state is not one of trades
    for k in (A, B):
        m.put(k, cash=10**8 * WAD)
    m.state.underlyings[0].open_interest_wad = TOP
    m.write_state()
    refused = m.trade(ALICE, BOB, PERP, 1, WAD)
    assert isinstance(refused, Revert)
    assert refused.name == "SizeOutOfRange" and refused.args[1] == PERP


def test_collateral_without_parameters_has_no_rate_limit(market: Market) -> None:
    """The cap of a collateral that the parameters do not name is not read from what follows it."""
    m = market
    m.set_params(params(cash_withdraw_cap_wad=1, withdraw_period_seconds=86_400))
    token = m.new_token(18)
    owner = m.state.owner
    assert m.do(owner, "listCollateral", token, 0, 0, 18, chain=(token, 0, 0)) == 3
    m.put(A, collateral={3: 10**30})
    assert m.do(ALICE, "withdraw", A, token, 10**30, key_address(ALICE)) == 10**30


def test_realising_nothing_says_nothing(market: Market) -> None:
    m = market
    m.put(A, cash=5 * WAD)
    assert m.do(BOB, "realizePnl", A) == 0
    assert m.logs == []
