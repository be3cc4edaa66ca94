"""Operators: scoped rights, given and taken by the owner alone (ATTACKS F50)."""

from __future__ import annotations

import pytest

from risk.exact.errors import ModelRevert as Revert
from tests.support.vault_fixtures import Market
from tests.support.vault_twin import ALICE, BOB, CAROL, USD, account, key_address

TRADE, WITHDRAW, MANAGE = 1, 2, 4


@pytest.fixture
def funded(market: Market) -> Market:
    assert market.do(ALICE, "deposit", account(ALICE), market.cash, 1_000 * USD) is None
    return market


def not_owner(key: object) -> Revert:
    return Revert("NotAccountOwner", (account(ALICE), key_address(key)))  # type: ignore[arg-type]


def withdraw(m: Market, key: object, amount: int = USD) -> object:
    return m.do(key, "withdraw", account(ALICE), m.cash, amount, key_address(BOB))  # type: ignore[arg-type]


def test_rights_are_scoped(funded: Market) -> None:
    m = funded
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), WITHDRAW) is None
    assert withdraw(m, BOB) == USD
    assert m.do(BOB, "raiseMinNonce", account(ALICE), 5) == not_owner(BOB)
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), MANAGE | TRADE) is None
    assert withdraw(m, BOB) == not_owner(BOB)
    assert m.do(BOB, "raiseMinNonce", account(ALICE), 5) is None
    assert m.do(BOB, "raiseMinNonce", account(ALICE), 5) == Revert("NonceNotHigher", (5, 5))
    assert m.do(ALICE, "setOperator", account(ALICE), 1, 8) == Revert("RightsInvalid", (8,))


def test_F50_an_operator_acts_for_its_account_only(funded: Market) -> None:
    m = funded
    other = account(ALICE, 1)
    assert m.do(ALICE, "deposit", other, m.cash, 10 * USD) is None
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), 7) is None
    refused = Revert("NotAccountOwner", (other, key_address(BOB)))
    assert m.do(BOB, "withdraw", other, m.cash, USD, key_address(BOB)) == refused
    assert m.do(BOB, "transfer", other, account(ALICE), m.cash, USD) == refused


def test_F50_an_operator_cannot_appoint_or_revoke(funded: Market) -> None:
    m = funded
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), 7) is None
    for rights in (0, 7):
        refused = m.do(BOB, "setOperator", account(ALICE), key_address(CAROL), rights)
        assert refused == not_owner(BOB)
    assert m.do(BOB, "setOperator", account(ALICE), key_address(BOB), 0) == not_owner(BOB)


def test_F50_nothing_after_revocation(funded: Market) -> None:
    m = funded
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), 7) is None
    assert withdraw(m, BOB) == USD
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(BOB), 0) is None
    assert withdraw(m, BOB) == not_owner(BOB)
    assert m.read("operatorRights", account(ALICE), key_address(BOB)) == [0]


def test_the_owner_cannot_lose_his_rights(funded: Market) -> None:
    m = funded
    assert m.do(ALICE, "setOperator", account(ALICE), key_address(ALICE), 0) is None
    assert withdraw(m, ALICE) == USD
