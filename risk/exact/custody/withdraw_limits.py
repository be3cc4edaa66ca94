"""Withdrawal rate limits: one leaky bucket an asset.  Twin:
``contracts/custody/WithdrawLimits.sol``.
"""

from __future__ import annotations

from risk.exact.errors import ModelRevert
from risk.exact.state import State, World


def take_cash(state: State, world: World, amount_wad: int) -> None:
    """Count ``amount_wad`` of cash; ``WithdrawLimitExceeded(token, available, requested)``."""
    p = state.params
    if p is None or p.cash_withdraw_cap_wad == 0 or p.withdraw_period_seconds == 0:
        return
    cap = p.cash_withdraw_cap_wad
    used = _used(
        state.cash_withdrawn_wad,
        world.timestamp - state.cash_withdrawn_time,
        cap,
        p.withdraw_period_seconds,
    )
    if amount_wad > cap - used:
        raise ModelRevert("WithdrawLimitExceeded", (state.cash_token, cap - used, amount_wad))
    state.cash_withdrawn_wad, state.cash_withdrawn_time = used + amount_wad, world.timestamp


def take_collateral(state: State, world: World, j: int, amount: int) -> None:
    """Count ``amount`` native units of collateral ``j``; ``WithdrawLimitExceeded``."""
    p = state.params
    if p is None or j >= len(p.collaterals):
        return
    cap, data = p.collaterals[j].withdraw_cap, state.collaterals[j]
    if cap == 0 or p.withdraw_period_seconds == 0:
        return
    elapsed = world.timestamp - data.withdrawn_time
    used = _used(data.withdrawn, elapsed, cap, p.withdraw_period_seconds)
    if amount > cap - used:
        raise ModelRevert("WithdrawLimitExceeded", (data.token, cap - used, amount))
    data.withdrawn, data.withdrawn_time = used + amount, world.timestamp


def _used(withdrawn: int, elapsed: int, cap: int, period: int) -> int:
    """max(0, withdrawn − ⌊cap·elapsed/period⌋), at most the cap (which may have been lowered)."""
    return min(max(0, withdrawn - cap * elapsed // period), cap)
