"""Perp funding: the cumulative payment of one unit long.  Twin: ``contracts/market/Funding.sol``.

F += S · clamp(premium, ±max_funding) · elapsed / period in 1e-12 of the settlement currency,
towards zero.  An increment that rounds to 0 leaves the time as it was; F stops at int80.
"""

from __future__ import annotations

from typing import Final

from risk.exact.math.wad_math import clamp
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World

SCALE: Final = 10**15  # premium (1e-9)·price (1e-18) → 1e-12
BPS_TO_E9: Final = 10**5
INT80_MAX: Final = 2**79 - 1
INT80_MIN: Final = -(2**79)


def accrue(state: State, world: World, p: RiskParams, u: int) -> None:
    """Bring the funding of ``u`` to now, at the snapshot price and the last premium."""
    data = state.underlyings[u]
    elapsed = world.timestamp - data.funding_time
    if elapsed == 0:
        return
    numerator, period = _rate(state, p, u)
    if numerator:
        change = abs(numerator) * elapsed // (SCALE * period)
        if change == 0:
            return
        change = change if numerator > 0 else -change
        data.funding_e12 = clamp(data.funding_e12 + change, INT80_MIN, INT80_MAX)
    data.funding_time = world.timestamp


def close(state: State, world: World, p: RiskParams, u: int) -> None:
    """As ``accrue``, and what rounded to nothing is dropped: before the premium or the parameters
    change.
    """
    accrue(state, world, p, u)
    state.underlyings[u].funding_time = world.timestamp


def close_all(state: State, world: World) -> None:
    """``close`` of every underlying that has a snapshot: before the parameters change."""
    if state.params is None:
        return
    for u, data in enumerate(state.underlyings):
        if data.epoch:
            close(state, world, state.params, u)


def _rate(state: State, p: RiskParams, u: int) -> tuple[int, int]:
    """(S·clamped premium, the period it is paid in); (0, 0) where funding is off."""
    data, limit = state.underlyings[u], p.underlyings[u].max_funding_bps * BPS_TO_E9
    if limit == 0 or p.funding_period_seconds == 0:
        return 0, 0
    return data.price_wad * clamp(data.premium_e9, -limit, limit), p.funding_period_seconds
