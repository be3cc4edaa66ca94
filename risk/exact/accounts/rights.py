"""Who may act for an account.  Twin: ``contracts/accounts/Rights.sol``."""

from __future__ import annotations

from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.state import State

TRADE: Final = 1
WITHDRAW: Final = 2
MANAGE: Final = 4
ALL: Final = 7


def require_right(state: State, account_id: int, sender: int, right: int) -> None:
    """``NotAccountOwner(account, sender)`` unless ``sender`` owns the account or has the right."""
    if sender == account_id >> 8:
        return
    if not state.operators.get((account_id, sender), 0) & right:
        raise ModelRevert("NotAccountOwner", (account_id, sender))


def require_owner(account_id: int, sender: int) -> None:
    """``NotAccountOwner(account, sender)`` unless ``sender`` owns the account."""
    if sender != account_id >> 8:
        raise ModelRevert("NotAccountOwner", (account_id, sender))
