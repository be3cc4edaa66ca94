"""Judging a reduction by the margins before and after it.  Twin:
``contracts/trading/ReduceLogic.sol``.
"""

from __future__ import annotations

from dataclasses import replace

from risk.exact.accounts import account_lib
from risk.exact.margin import margin_engine
from risk.exact.settlement import settlement_lib
from risk.exact.state import Account, State, World
from risk.exact.trading import reduce_lib


def accepts(state: State, world: World, account_id: int, a: Account) -> bool:
    """Whether the side that held ``a`` before the fill, and is stored as it is now, passes as a
    reduction, both at the present snapshots and open interest, IM with the gap
    of ``settlement_lib``.  Never with a position that could be
    settled: its price is final, and the margins would not know it.  Errors of ``margin_engine``, of
    the margin before first.
    """
    if settlement_lib.holds_settled(state, world, a) is not None:
        return False
    before = margin_engine.compute(state, account_id, a)
    left = account_lib.load(state, account_id)
    after = margin_engine.compute(state, account_id, left)
    before = replace(before, im=before.im + settlement_lib.gap(state, a))
    after = replace(after, im=after.im + settlement_lib.gap(state, left))
    return reduce_lib.is_accepted(before, after)
