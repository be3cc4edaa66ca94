"""Storage words of one account, packed by hand: the layout of ``VaultStorage.AccountData``.

``layout.account_fields`` says the same with names; a test compares the two.
"""

from __future__ import annotations

from risk.chain.keccak import keccak
from risk.chain.layout import ACCOUNTS
from risk.exact.state import Account

_SLOT = ACCOUNTS.to_bytes(32, "big")
_M128 = 2**128 - 1
_M96 = 2**96 - 1
_COLLATERAL = 1  # slots after the header
_LINEAR = 9
_OPTIONS = 137


def account_slot(account_id: int) -> int:
    """Slot of the header of an account."""
    return int.from_bytes(keccak(account_id.to_bytes(32, "big") + _SLOT), "big")


def account_words(account_id: int, a: Account) -> dict[int, int]:
    """Slot -> word of everything the account uses. The slots must have been empty before."""
    first = account_slot(account_id)
    words: dict[int, int] = {}
    mask = 0
    for j, amount in enumerate(a.collateral):
        if amount:
            mask |= 1 << j
            slot = first + _COLLATERAL + (j >> 1)
            words[slot] = words.get(slot, 0) | amount << 128 * (j & 1)
    words[first] = (
        a.cash_wad & _M128
        | mask << 128
        | len(a.linear) << 144
        | len(a.options) << 152
        | a.interest_index << 160
        | int(a.margin_call) << 223
        | a.flagged_at << 224
    )
    slot = first + _LINEAR
    for p in a.linear:
        words[slot] = p.quote_wad & _M128 | (p.size_wad & _M96) << 128 | p.instrument << 224
        slot += 1
    slot = first + _OPTIONS
    entries = [o.size_wad & _M96 | o.instrument << 96 for o in a.options]
    if len(entries) & 1:
        entries.append(0)
    for low, high in zip(entries[::2], entries[1::2], strict=True):
        words[slot] = low | high << 128
        slot += 1
    return words
