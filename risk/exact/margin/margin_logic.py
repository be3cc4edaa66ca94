"""The margin engine for libraries that have no room for it.  Twin:
``contracts/margin/MarginLogic.sol``.

Accounts are read from the state, where the caller has stored them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import initial_margin, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.state import State, World

WITHDRAWAL: Final = 1 << 168
LIQUIDATING: Final = 1 << 169  # a liquidator during its callback: nobody may liquidate it
MAX_DEFERRED: Final = 16
_ACCOUNT_MASK: Final = WITHDRAWAL - 1


def require_initial(state: State, world: World, ids: Sequence[int]) -> None:
    """Initial margin of ``ids`` (account, or account | WITHDRAWAL): now, or at the outermost exit
    inside a batch or callback.  ``TooManyDeferred(16)``.
    """
    if state.deferring:
        for entry in ids:
            _defer(state, entry)
    else:
        _require(state, world, ids)


def require_deferred(state: State, world: World) -> None:
    """At the outermost exit: everything that was deferred, and the list is empty again."""
    ids, state.deferred = [i for i in state.deferred if not i & LIQUIDATING], []
    if ids:
        _require(state, world, ids)


def mark_liquidating(state: State, account_id: int) -> None:
    """Put the liquidator on the list for the time of its callback; its own check comes after it.

    An action of the account in the callback turns the entry into a plain one.
    ``TooManyDeferred(16)``.
    """
    _defer(state, account_id | LIQUIDATING)


def compute(state: State, account_id: int) -> Margin:
    """Margin of an account as it is stored."""
    return margin_engine.compute(state, account_id, account_lib.load(state, account_id))


def _require(state: State, world: World, ids: Sequence[int]) -> None:
    accounts = [(i & _ACCOUNT_MASK, account_lib.load(state, i & _ACCOUNT_MASK)) for i in ids]
    withdrawing = sum(1 << n for n, i in enumerate(ids) if i & WITHDRAWAL)
    initial_margin.require_initial(state, world, accounts, withdrawing)


def _defer(state: State, entry: int) -> None:
    for i, other in enumerate(state.deferred):
        if other & _ACCOUNT_MASK == entry & _ACCOUNT_MASK:
            if not entry & LIQUIDATING:
                state.deferred[i] = (other | entry) & ~LIQUIDATING
            return
    if len(state.deferred) == MAX_DEFERRED:
        raise ModelRevert("TooManyDeferred", (MAX_DEFERRED,))
    state.deferred.append(entry)
