"""Accounts: load, change, store.  Twin: ``contracts/accounts/AccountLib.sol``.

``load`` hands out a copy; nothing changes before ``store``.  Functions that refuse say for which
account.
"""

from __future__ import annotations

from typing import Final

from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.state import MAX_POSITIONS, Account, Linear, Option, State

INT96_MAX: Final = 2**95 - 1
INT96_MIN: Final = -(2**95)
INT128_MAX: Final = 2**127 - 1
INT128_MIN: Final = -(2**127)


def load(state: State, account_id: int) -> Account:
    """A copy of the account, its cash with interest up to the last accrual; empty where it was
    never used.
    """
    a = state.accounts.get(account_id)
    if a is None:
        return Account()
    return Account(
        cash_wad=interest_lib.touched(state, a.cash_wad, a.interest_index),
        collateral=list(a.collateral),
        linear=[Linear(x.instrument, x.size_wad, x.quote_wad) for x in a.linear],
        options=[Option(x.instrument, x.size_wad) for x in a.options],
        interest_index=a.interest_index,
        margin_call=a.margin_call,
        flagged_at=a.flagged_at,
    )


def position_count(a: Account) -> int:
    """Perps, futures and options."""
    return len(a.linear) + len(a.options)


def store(state: State, account_id: int, a: Account) -> None:
    """Writes the account back.

    ``TooManyPositions(account, 128)``, then ``CashOutOfRange(account)`` where cash does not fit
    int128.
    """
    if len(a.linear) + len(a.options) > MAX_POSITIONS:
        raise ModelRevert("TooManyPositions", (account_id, MAX_POSITIONS))
    if not INT128_MIN <= a.cash_wad <= INT128_MAX:
        raise ModelRevert("CashOutOfRange", (account_id,))
    old = state.accounts.get(account_id, Account())
    a.interest_index = interest_lib.book(
        state, account_id, old.cash_wad, old.interest_index, a.cash_wad
    )
    # flag and margin call are written by their own functions, not with the account
    a.margin_call, a.flagged_at = old.margin_call, old.flagged_at
    state.accounts[account_id] = a


def add_linear(
    account_id: int, a: Account, instrument: int, d_size: int, d_quote: int
) -> tuple[int, int, int]:
    """Adds to a perp or future; appends it where absent, removes it where size and quote end at
    zero.

    Returns (old size, new size, new quote).  ``SizeOutOfRange(account, instrument)`` where the new
    size does not fit int96 or the new quote int128.
    """
    i = find_linear(a, instrument)
    old_size, old_quote = (
        (a.linear[i].size_wad, a.linear[i].quote_wad) if i < len(a.linear) else (0, 0)
    )
    new_size, new_quote = old_size + d_size, old_quote + d_quote
    if new_size == 0 and new_quote == 0:
        if i < len(a.linear):
            remove_linear(a, i)
    else:
        set_linear(account_id, a, i, instrument, new_size, new_quote)
    return old_size, new_size, new_quote


def set_linear(account_id: int, a: Account, i: int, instrument: int, size: int, quote: int) -> None:
    """Overwrites entry ``i`` (or appends it); it stays where size and quote are zero.
    ``SizeOutOfRange``.
    """
    if not (INT96_MIN <= size <= INT96_MAX and INT128_MIN <= quote <= INT128_MAX):
        raise ModelRevert("SizeOutOfRange", (account_id, instrument))
    a.linear[i : i + 1] = [Linear(instrument, size, quote)]


def remove_linear(a: Account, i: int) -> None:
    """Removes entry ``i``; the last entry takes its place."""
    a.linear[i] = a.linear[-1]
    a.linear.pop()


def find_linear(a: Account, instrument: int) -> int:
    """Index of the position, the number of positions where there is none."""
    return next((i for i, x in enumerate(a.linear) if x.instrument == instrument), len(a.linear))


def add_option(account_id: int, a: Account, instrument: int, d_size: int) -> tuple[int, int]:
    """Adds to an option; appends it where absent, removes it where the size ends at zero.

    Returns (old size, new size).  ``SizeOutOfRange(account, instrument)`` where the new size does
    not fit int96.
    """
    i = find_option(a, instrument)
    old_size = a.options[i].size_wad if i < len(a.options) else 0
    new_size = old_size + d_size
    if new_size == 0:
        if i < len(a.options):
            remove_option(a, i)
    else:
        set_option(account_id, a, i, instrument, new_size)
    return old_size, new_size


def set_option(account_id: int, a: Account, i: int, instrument: int, size: int) -> None:
    """Overwrites entry ``i`` (or appends it), also with size zero.  ``SizeOutOfRange``."""
    if not INT96_MIN <= size <= INT96_MAX:
        raise ModelRevert("SizeOutOfRange", (account_id, instrument))
    a.options[i : i + 1] = [Option(instrument, size)]


def remove_option(a: Account, i: int) -> None:
    """Removes entry ``i``; the last entry takes its place."""
    a.options[i] = a.options[-1]
    a.options.pop()


def find_option(a: Account, instrument: int) -> int:
    """Index of the position, the number of positions where there is none."""
    return next((i for i, x in enumerate(a.options) if x.instrument == instrument), len(a.options))


def collateral_mask(a: Account) -> int:
    """Bit j is set iff collateral j is non-zero."""
    return sum(1 << j for j, amount in enumerate(a.collateral) if amount)


def has_obligations(a: Account) -> bool:
    """cash < 0, or a perp or future with size ≠ 0, or a short option (docs/margin.md §5)."""
    return (
        a.cash_wad < 0
        or any(x.size_wad for x in a.linear)
        or any(x.size_wad < 0 for x in a.options)
    )
