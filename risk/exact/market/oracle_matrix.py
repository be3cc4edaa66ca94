"""The one table of what is allowed in which state of the oracle.  Twin:
``contracts/market/OracleMatrix.sol``; the same table stands in docs/market.md §2.

| action    | FRESH | UNCERTAIN | STALE | HALTED |
|-----------|-------|-----------|-------|--------|
| DEPOSIT   |  yes  |    yes    |  yes  |  yes   |
| WITHDRAW  |  yes  |    no     |  no   |  no    |
| INCREASE  |  yes  |    no     |  no   |  no    |
| REDUCE    |  yes  |    yes    |  yes  |  yes   |
| LIQUIDATE |  yes  |    yes    |  yes  |  yes   |
| SETTLE    |  yes  |    yes    |  no   |  no    |
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from risk.exact.market.feed_reader import OracleState


class Action(IntEnum):
    """What somebody may want to do while a market is in some state."""

    DEPOSIT = 0  # give the vault something
    WITHDRAW = 1  # take something out of an account that has obligations afterwards
    INCREASE = 2  # anything else that needs initial margin
    REDUCE = 3  # a fill that only shrinks
    LIQUIDATE = 4
    SETTLE = 5  # observe the settlement price of an expiry


_ALL: Final = frozenset(OracleState)
_FRESH: Final = frozenset({OracleState.FRESH})
TABLE: Final = {
    Action.DEPOSIT: _ALL,
    Action.WITHDRAW: _FRESH,
    Action.INCREASE: _FRESH,
    Action.REDUCE: _ALL,
    Action.LIQUIDATE: _ALL,
    Action.SETTLE: frozenset({OracleState.FRESH, OracleState.UNCERTAIN}),
}


def allowed(action: Action, oracle_state: OracleState) -> bool:
    """Whether ``action`` is allowed while the market is in ``oracle_state``."""
    return oracle_state in TABLE[action]
