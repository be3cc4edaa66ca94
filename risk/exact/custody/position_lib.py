"""Changing one position: entry and open interest.  Twin: ``contracts/custody/PositionLib.sol``."""

from __future__ import annotations

from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.custody import pnl_lib
from risk.exact.errors import ModelRevert
from risk.exact.state import Account, State

_UINT104_MAX: Final = 2**104 - 1


def change_linear(
    state: State, account_id: int, a: Account, instrument: int, d_size: int, d_quote: int
) -> int:
    """Add to a perp or future; one whose size becomes zero is realised at once.

    Returns the change of this account's long side.  ``SizeOutOfRange``.
    """
    old_size, new_size, new_quote = account_lib.add_linear(
        account_id, a, instrument, d_size, d_quote
    )
    if new_size == 0 and new_quote != 0:
        pnl_lib.realize_at(state, account_id, a, account_lib.find_linear(a, instrument))
    return long_delta(old_size, new_size)


def change_option(account_id: int, a: Account, instrument: int, d_size: int) -> int:
    """Add to an option position; returns the change of this account's long side.
    ``SizeOutOfRange``.
    """
    return long_delta(*account_lib.add_option(account_id, a, instrument, d_size))


def long_delta(old_size: int, new_size: int) -> int:
    """max(new, 0) − max(old, 0)"""
    return max(new_size, 0) - max(old_size, 0)


def add_instrument_interest(state: State, instrument: int, d_long: int, account_id: int) -> None:
    """Change the open interest of one instrument; ``SizeOutOfRange`` beyond uint104."""
    if d_long == 0:
        return
    open_interest = state.open_interest.get(instrument, 0) + d_long
    if not 0 <= open_interest <= _UINT104_MAX:
        raise ModelRevert("SizeOutOfRange", (account_id, instrument))
    state.open_interest[instrument] = open_interest


def add_open_interest(state: State, u: int, d_long: int, account_id: int, instrument: int) -> None:
    """Change the open interest of ``u``; ``SizeOutOfRange`` where it would not fit uint104."""
    open_interest = state.underlyings[u].open_interest_wad + d_long
    if not 0 <= open_interest <= _UINT104_MAX:
        raise ModelRevert("SizeOutOfRange", (account_id, instrument))
    state.underlyings[u].open_interest_wad = open_interest
