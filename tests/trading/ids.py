"""Accounts and instruments of the trading tests."""

from __future__ import annotations

from risk.exact.trading.order_hash import Order
from tests.support.vault_fixtures import EXPIRIES, STRIKES, Market
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, WAD, account, iid

KEYS = (ALICE, BOB, CAROL, DAVE)
A, B, C, D = (account(key) for key in KEYS)
PERP = iid.encode(0, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, EXPIRIES[1], 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], STRIKES.index(3_000 * WAD))
PUT = iid.encode(0, iid.PUT, EXPIRIES[0], STRIKES.index(2_900 * WAD))
REDUCE_ONLY, ABOVE, BELOW = 1, 2, 4
FRESH, UNCERTAIN, STALE, HALTED = range(4)


def key_of(market: Market, order: Order) -> int:
    """The digest as the integer that errors carry."""
    return int.from_bytes(market.model.hash_order(order), "big")


def cash_of(market: Market, account_id: int) -> int:
    """Cash of the account with interest, from the chain."""
    return int(market.read("accountState", account_id)[0])
