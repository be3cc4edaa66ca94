"""G56: {trade, withdraw, liquidate, settle, observe} × {a second before the expiry, at it, after it
before the settlement price, after the settlement price} × {future, call, put}.

Every cell runs on the chain and in the model; the table that it asserts stands in
docs/settlement.md.
"""

from __future__ import annotations

import pytest

from risk.exact.accounts import account_lib
from risk.exact.state import Account
from tests.settlement.helpers import (
    CALL,
    DAY0,
    EXPIRY,
    FUTURE,
    PERP,
    PUT,
    fresh,
    is_revert,
    record,
)
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, NO_LIMIT, OWNER, USD, WAD, account

pytestmark = pytest.mark.chain

HOLDER, SHORT = account(ALICE), account(BOB)
WEAK, WEAK_SHORT = account(CAROL), account(BOB, 1)
LIQUIDATOR = account(DAVE)

BEFORE, AT, AFTER, SETTLED = "expiry − 1", "expiry", "expired", "settled"
TIMES = {BEFORE: EXPIRY - 1, AT: EXPIRY, AFTER: EXPIRY + 300, SETTLED: EXPIRY + 300}
INSTRUMENTS = {"future": FUTURE, "call": CALL, "put": PUT}


def size(m: Market, account_id: int, instrument: int) -> int:
    a: Account = account_lib.load(m.state, account_id)
    return sum(x.size_wad for x in [*a.linear, *a.options] if x.instrument == instrument)


def arrange(m: Market, instrument: int, when: str) -> None:
    """A healthy holder, a weak one, their shorts, a liquidator; then the clock."""
    quote = -3_000 * WAD if instrument == FUTURE else 0
    perps = [(PERP, WAD, -3_000 * WAD)]
    weak_perps = [(PERP, 10 * WAD, -30_000 * WAD)]
    item = [(instrument, WAD, quote)] if instrument == FUTURE else []
    option = [] if instrument == FUTURE else [(instrument, WAD)]
    m.put(HOLDER, cash=50_000 * WAD, linear=perps + item, options=option, mirror=SHORT)
    m.put(WEAK, cash=1_000 * WAD, linear=weak_perps + item, options=option, mirror=WEAK_SHORT)
    for rich in (SHORT, WEAK_SHORT, LIQUIDATOR):
        m.state.accounts.setdefault(rich, Account()).cash_wad = 10**6 * WAD
    m.settle_totals()
    m.write_state()
    if when == SETTLED:
        record(m, 3_000)
    fresh(m, TIMES[when])


@pytest.fixture(params=list(INSTRUMENTS), ids=str)
def instrument(request: pytest.FixtureRequest) -> int:
    return INSTRUMENTS[request.param]


@pytest.mark.parametrize("when", TIMES)
def test_G56_trade(m: Market, instrument: int, when: str) -> None:
    """In the expiring instrument until the second before; in another one until it has a price."""
    arrange(m, instrument, when)
    price = 3_000 * WAD if instrument == FUTURE else 5 * WAD
    result = m.trade(ALICE, BOB, instrument, WAD, price)
    if when == BEFORE:
        assert result is None
        assert size(m, HOLDER, instrument) == 2 * WAD
        return
    is_revert(result, "InstrumentExpired", instrument, EXPIRY, TIMES[when])
    m.world.timestamp = TIMES[when] + 10
    result = m.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD)
    if when != SETTLED:
        assert result is None
        return
    is_revert(result, "SettleFirst", HOLDER, instrument)
    assert m.do(OWNER, "settle", [HOLDER]) is None
    result = m.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD)
    is_revert(result, "SettleFirst", SHORT, instrument)
    assert m.do(OWNER, "settle", [SHORT]) is None
    assert m.trade(ALICE, BOB, PERP, WAD, 3_000 * WAD) is None


@pytest.mark.parametrize("when", TIMES)
def test_G56_withdraw(m: Market, instrument: int, when: str) -> None:
    """Like ever until the price is there; then only after the settlement."""
    arrange(m, instrument, when)
    arguments = (HOLDER, m.cash, 1_000 * USD, HOLDER >> 8)
    result = m.do(ALICE, "withdraw", *arguments)
    if when != SETTLED:
        assert result == 1_000 * USD
        return
    is_revert(result, "SettleFirst", HOLDER, instrument)
    assert m.do(OWNER, "settle", [HOLDER]) is None
    assert m.do(ALICE, "withdraw", *arguments) == 1_000 * USD


@pytest.mark.parametrize("when", TIMES)
def test_G56_liquidate(m: Market, instrument: int, when: str) -> None:
    """Always. Before the price the liquidator takes his part of the expired position; after it the
    account is settled first, and the liquidator takes nothing that is over.
    """
    arrange(m, instrument, when)
    fraction, _ = m.do(DAVE, "liquidate", WEAK, LIQUIDATOR, WAD, NO_LIMIT)
    assert 0 < fraction <= WAD
    assert size(m, LIQUIDATOR, PERP) > 0
    if when == SETTLED:
        assert size(m, WEAK, instrument) == size(m, LIQUIDATOR, instrument) == 0
    else:
        assert size(m, LIQUIDATOR, instrument) > 0
        assert size(m, LIQUIDATOR, instrument) + size(m, WEAK, instrument) == WAD


@pytest.mark.parametrize("when", TIMES)
def test_G56_settle(m: Market, instrument: int, when: str) -> None:
    """Nothing happens until the price is there, whoever asks."""
    arrange(m, instrument, when)
    assert m.do(OWNER, "settle", [HOLDER, WEAK, SHORT, WEAK_SHORT]) is None
    held = 0 if when == SETTLED else WAD
    assert size(m, HOLDER, instrument) == size(m, WEAK, instrument) == held
    assert size(m, SHORT, instrument) == size(m, WEAK_SHORT, instrument) == -held
    assert m.state.open_interest.get(instrument, 0) == 2 * held
    assert (m.logs == []) == (when != SETTLED)


@pytest.mark.parametrize("when", TIMES)
def test_G56_observe(m: Market, instrument: int, when: str) -> None:
    """Inside the window and after it, until the price is there."""
    arrange(m, instrument, when)
    del instrument  # one price for all instruments of the expiry
    result = m.do(OWNER, "observe", 0, DAY0)
    if when == SETTLED:
        is_revert(result, "AlreadySettled", 0, DAY0)
        return
    assert result is None
    item = m.state.settlements[DAY0]
    assert (item.observations, item.settled) == (1, False)


@pytest.mark.parametrize("when", TIMES)
def test_G56_value_of_an_expired_position(m: Market, instrument: int, when: str) -> None:
    """Until it is settled, an expired position counts at the snapshot: the index or the intrinsic
    value at it, for margin on both sides.
    """
    arrange(m, instrument, when)
    if when != BEFORE:
        m.do(OWNER, "refresh", [0])
    margin = m.compare_margin(HOLDER)
    worth = {FUTURE: 0, CALL: 0, PUT: 0}[instrument]
    if when == BEFORE:
        assert margin.mark_equity != 50_000 * WAD
    else:
        assert margin.mark_equity == 50_000 * WAD + worth
