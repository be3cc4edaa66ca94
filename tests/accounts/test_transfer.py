"""Transfers between own sub-accounts."""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from risk.exact.math.wad_math import UINT256_MAX
from tests.support.vault_fixtures import PRICES, Market
from tests.support.vault_twin import ALICE, BOB, USD, WAD, account, iid

PERP = iid.encode(0, iid.PERP, 0, 0)


@pytest.fixture
def funded(market: Market) -> Market:
    for key in (ALICE, BOB):
        assert market.do(key, "deposit", account(key), market.cash, 10_000 * USD) is None
    assert market.do(ALICE, "deposit", account(ALICE), market.weth, 3 * WAD) is None
    return market


def test_cash_and_collateral_move(funded: Market) -> None:
    m = funded
    assert m.do(ALICE, "transfer", account(ALICE), account(ALICE, 7), m.cash, 400 * USD) == (
        400 * USD
    )
    assert m.do(ALICE, "transfer", account(ALICE), account(ALICE, 7), m.weth, WAD) == WAD
    assert m.do(ALICE, "transfer", account(ALICE, 7), account(ALICE), m.weth, UINT256_MAX) == WAD
    assert (
        m.do(ALICE, "transfer", account(ALICE, 7), account(ALICE), m.cash, UINT256_MAX) == 400 * USD
    )
    assert m.state.accounts[account(ALICE, 7)].cash_wad == 0


def test_refusals(funded: Market) -> None:
    m = funded
    mine, other = account(ALICE), account(ALICE, 1)
    assert m.do(ALICE, "transfer", mine, account(BOB), m.cash, 1) == Revert(
        "OwnersDiffer", (mine, account(BOB))
    )
    assert m.do(ALICE, "transfer", mine, mine, m.cash, 1) == Revert("SameAccount", (mine,))
    assert m.do(ALICE, "transfer", mine, other, 0xDEAD, 1) == Revert("UnknownToken", (0xDEAD,))
    assert m.do(ALICE, "transfer", mine, other, m.cash, 0) == Revert("ZeroAmount")
    assert m.do(ALICE, "transfer", other, mine, m.cash, UINT256_MAX) == Revert("ZeroAmount")
    assert m.do(ALICE, "transfer", mine, other, m.weth, 4 * WAD) == Revert(
        "InsufficientCollateral", (0, 3 * WAD, 4 * WAD)
    )
    assert m.do(ALICE, "transfer", mine, other, m.cash, 2**200).name == "CashOutOfRange"


def test_B10_what_stays_answers_to_initial_margin(funded: Market) -> None:
    m = funded
    assert m.trade(ALICE, BOB, PERP, 5 * WAD, PRICES[0] * WAD) is None
    taken = m.do(ALICE, "transfer", account(ALICE), account(ALICE, 1), m.weth, UINT256_MAX)
    assert taken == 3 * WAD
    refused = m.do(ALICE, "transfer", account(ALICE), account(ALICE, 1), m.cash, 9_900 * USD)
    assert isinstance(refused, Revert)
    assert refused.name == "InsufficientMargin"


def test_B14_a_round_trip_creates_nothing(funded: Market) -> None:
    m = funded
    mine, other = account(ALICE), account(ALICE, 1)
    before = m.model.margin(mine).mark_equity
    for _ in range(5):
        assert m.do(ALICE, "transfer", mine, other, m.cash, 333) == 333
        assert m.do(ALICE, "transfer", other, mine, m.cash, UINT256_MAX) == 333
    assert m.model.margin(mine).mark_equity == before
    assert m.model.margin(other).mark_equity == 0
