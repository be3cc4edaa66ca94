"""Interest on cash: one index for lenders, one for borrowers.  Twin:
``contracts/custody/InterestLib.sol``.

Recorded cash counts as of an index; what it is now is rounded against the account.  Always,
``cash_held == Σ recorded cash + Σ pools + insurance + interest_wad``.
"""

from __future__ import annotations

from typing import Final

from risk.exact.custody import interest_logic
from risk.exact.errors import ModelRevert
from risk.exact.state import State, World

INDEX_ONE: Final = 10**15
_UINT128_MAX: Final = 2**128 - 1


def accrue(state: State, world: World) -> None:
    """The indices and totals to now, once a second."""
    if state.interest_time != world.timestamp:
        interest_logic.accrue(state, world)


def touched(state: State, cash: int, recorded: int) -> int:
    """What ``cash``, recorded at index ``recorded``, is at the present indices; towards −∞."""
    if cash == 0 or recorded == 0:
        return cash
    index = state.supply_index_e15 if cash > 0 else state.borrow_index_e15
    return cash * index // recorded


def book(state: State, account_id: int, old_cash: int, recorded: int, new_cash: int) -> int:
    """Interest and change of cash of one account into the totals; returns the index that stands
    for ``new_cash``.  ``CashOutOfRange``.
    """
    now = touched(state, old_cash, recorded)
    if now == old_cash and new_cash == old_cash:
        return recorded
    state.interest_wad -= now - old_cash
    supply, borrow = state.supply_wad, state.borrow_wad
    if now > 0:
        supply = max(supply - now, 0)
    else:
        borrow = max(borrow + now, 0)
    if new_cash > 0:
        supply += new_cash
    else:
        borrow -= new_cash
    if supply > _UINT128_MAX or borrow > _UINT128_MAX:
        raise ModelRevert("CashOutOfRange", (account_id,))
    state.supply_wad, state.borrow_wad = supply, borrow
    if new_cash == 0:
        return 0
    return state.supply_index_e15 if new_cash > 0 else state.borrow_index_e15
