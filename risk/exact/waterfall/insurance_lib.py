"""What the insurance fund may pay, and paying it.  Twin: ``contracts/waterfall/InsuranceLib.sol``.

Three limits, all WAD: the fund itself, a cap an event, and a cap a rolling period, which is a leaky
bucket: it fills by what is paid and runs dry evenly in one period.  A cap of 0 is no cap.  The
bucket is never above its cap, so at most cap·(1 + t/period) leaves in any time t.
"""

from __future__ import annotations

from risk.exact.math.wad_math import mul_div_down
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World

_ACCOUNT_MASK = 2**168 - 1


def available(state: State, world: World, p: RiskParams) -> int:
    """What one event may take now: min(fund, event cap, period cap − what counts against it);
    rounded down.
    """
    wad = state.insurance_wad
    if p.insurance_event_cap_wad != 0:
        wad = min(wad, p.insurance_event_cap_wad)
    if p.insurance_period_cap_wad != 0:
        wad = min(wad, max(0, p.insurance_period_cap_wad - counts(state, world, p)))
    return wad


def counts(state: State, world: World, p: RiskParams) -> int:
    """What counts against the period cap now: what was paid, less what ran out since,
    cap·elapsed/period; rounded up.
    """
    wad = state.insurance_paid_wad
    if wad == 0 or p.insurance_period_seconds == 0:
        return wad
    elapsed = world.timestamp - state.insurance_paid_time
    leaked = mul_div_down(p.insurance_period_cap_wad, elapsed, p.insurance_period_seconds)
    return max(0, wad - leaked)


def pay(state: State, world: World, p: RiskParams, account_id: int, wanted_wad: int) -> int:
    """Take min(wanted, available) from the fund and count it; nothing where initial margin of the
    account is still owed (batch, callback).  The caller credits somebody's cash with the result.
    """
    if is_deferred(state, account_id):
        return 0
    paid = min(wanted_wad, available(state, world, p))
    if paid == 0:
        return 0
    state.insurance_wad -= paid
    if p.insurance_period_cap_wad != 0:
        state.insurance_paid_wad = counts(state, world, p) + paid
        state.insurance_paid_time = world.timestamp
    return paid


def is_deferred(state: State, account_id: int) -> bool:
    """Whether the initial margin of the account waits for the end of the batch or callback."""
    return state.deferring and any(i & _ACCOUNT_MASK == account_id for i in state.deferred)
