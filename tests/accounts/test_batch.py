"""Batches: several actions, one margin check at the outermost exit."""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import PRICES, Market
from tests.support.vault_twin import ALICE, BOB, USD, WAD, account, iid, key_address

PERP = iid.encode(0, iid.PERP, 0, 0)
MINE, OTHER = account(ALICE), account(ALICE, 1)


@pytest.fixture
def funded(market: Market) -> Market:
    for key in (ALICE, BOB):
        assert market.do(key, "deposit", account(key), market.cash, 10_000 * USD) is None
    assert market.do(ALICE, "deposit", OTHER, market.cash, 10_000 * USD) is None
    assert market.trade(ALICE, BOB, PERP, 5 * WAD, PRICES[0] * WAD) is None
    return market


def too_much(m: Market) -> tuple[object, ...]:
    """Leaves MINE with less than its initial margin."""
    return ("transfer", MINE, OTHER, m.cash, 9_900 * USD)


def test_the_order_inside_does_not_matter_for_margin(funded: Market) -> None:
    m = funded
    back = ("transfer", OTHER, MINE, m.cash, 9_900 * USD)
    assert m.do(ALICE, *too_much(m)).name == "InsufficientMargin"
    assert m.batch(ALICE, too_much(m), back) is None


def test_B10_the_check_runs_at_the_end(funded: Market) -> None:
    m = funded
    refused = m.batch(ALICE, too_much(m))
    assert refused.name == "InsufficientMargin"
    assert m.state.deferred == []


def test_B11_a_no_op_does_not_take_an_account_off_the_list(funded: Market) -> None:
    m = funded
    for harmless in (
        ("accrue",),
        ("realizePnl", MINE),
        ("deposit", MINE, m.cash, 1),
        ("setOperator", MINE, 1, 0),
        ("batch", ("accrue",)),
        ("transfer", MINE, OTHER, m.cash, 1),
    ):
        assert m.batch(ALICE, too_much(m), harmless).name == "InsufficientMargin", harmless


def test_B18_a_nested_batch_leaves_the_check_to_the_outermost(funded: Market) -> None:
    m = funded
    back = ("transfer", OTHER, MINE, m.cash, 9_900 * USD)
    assert m.batch(ALICE, ("batch", too_much(m)), back) is None
    assert m.batch(ALICE, ("batch", ("batch", too_much(m)))).name == "InsufficientMargin"


def test_a_call_that_fails_takes_the_batch_with_it(funded: Market) -> None:
    m = funded
    before = m.state.accounts[MINE].cash_wad
    refused = m.batch(ALICE, ("deposit", MINE, m.cash, USD), ("transfer", MINE, MINE, m.cash, 1))
    assert refused == Revert("SameAccount", (MINE,))
    assert m.state.accounts[MINE].cash_wad == before
    assert m.batch(ALICE) == Revert("BatchEmpty")


def test_the_caller_stays_the_caller(funded: Market) -> None:
    m = funded
    refused = m.batch(BOB, ("withdraw", MINE, m.cash, USD, key_address(BOB)))
    assert refused == Revert("NotAccountOwner", (MINE, key_address(BOB)))


def test_sixteen_accounts_may_owe_a_check(funded: Market) -> None:
    m = funded
    for sub in range(2, 19):
        assert m.do(ALICE, "transfer", OTHER, account(ALICE, sub), m.cash, 500 * USD) == 500 * USD
        a, b = m.order(ALICE, PERP, WAD // 100, PRICES[0] * WAD, sub=sub), None
        b = m.order(BOB, PERP, -WAD // 100, PRICES[0] * WAD)
        assert m.fill(a, b, WAD // 100, PRICES[0] * WAD) is None
    out = [("transfer", account(ALICE, s), MINE, m.cash, USD) for s in range(2, 19)]
    assert m.batch(ALICE, *out[:16]) is None
    assert m.batch(ALICE, *out) == Revert("TooManyDeferred", (16,))
