"""Reducing: what a side of a fill may do without initial margin and without a live price.  Twin:
``contracts/trading/ReduceLib.sol``.

A side reduces where |size| in the instrument falls and does not change its sign.  It is accepted on
what it leaves behind, both margins at the same snapshots (docs/vault.md, Reducing).
"""

from __future__ import annotations

from risk.exact.accounts import account_lib
from risk.exact.margin.margin_engine import Margin
from risk.exact.math.wad_math import WAD
from risk.exact.state import Account


def size_of(a: Account, instrument: int, option: bool) -> int:
    """Size of ``instrument`` in the account, 0 where it holds none."""
    if option:
        i = account_lib.find_option(a, instrument)
        return a.options[i].size_wad if i < len(a.options) else 0
    i = account_lib.find_linear(a, instrument)
    return a.linear[i].size_wad if i < len(a.linear) else 0


def reduces(size: int, change: int) -> bool:
    """Whether ``change`` ≠ 0 takes ``size`` towards zero, to zero at most."""
    if size > 0:
        return change < 0 and size + change >= 0
    return size < 0 and change > 0 and size + change <= 0


def is_accepted(m: Margin, n: Margin) -> bool:
    """Whether a reducing side needs no initial margin, ``m`` before and ``n`` after it.

    1. MM does not rise and E − MM does not fall;
    2. where E ≥ IM before, E ≥ IM after: nobody leaves initial margin by his own action;
    3. where E < MM before: HF does not fall while E > 0, E does not fall otherwise.  Without this
       an account below MM could pay away the requirement that it frees, to an account of the same
       owner, and leave a debt.

    Never from M < 0: a bankrupt account belongs to the waterfall.  Could it close against the
    winner of its own owner, no counterparty would be left to deleverage, and the lenders would pay.
    ``im`` includes the gap (``reduce_logic``).
    """
    if m.mark_equity < 0:
        return False
    if n.mm > m.mm or n.equity - n.mm < m.equity - m.mm:
        return False
    if m.equity >= m.im:
        return n.equity >= n.im
    if m.health_factor >= WAD:
        return True
    return n.health_factor >= m.health_factor if m.equity > 0 else n.equity >= m.equity
