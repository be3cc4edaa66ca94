"""Accruing interest: the utilisation curve and the two indices.  Twin:
``contracts/custody/InterestLogic.sol``.
"""

from __future__ import annotations

from typing import Final

from risk.exact.math.wad_math import WAD, mul_div_down, mul_div_up, mul_wad_up
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World

YEAR: Final = 31_536_000
MAX_INDEX: Final = 2**63 - 1
MAX_EXPONENT_WAD: Final = 4 * 10**18
_UINT128_MAX: Final = 2**128 - 1


def accrue(state: State, world: World) -> None:
    """Both indices and both totals to now; debt rounds up, credit down, the protocol's share up."""
    elapsed = world.timestamp - state.interest_time
    if elapsed == 0:
        return
    state.interest_time = world.timestamp
    borrow, supply, p = state.borrow_wad, state.supply_wad, state.params
    if borrow == 0 or p is None:
        return
    growth = growth_wad(rate_wad(p, utilisation_wad(supply, borrow)), elapsed)
    old_index = state.borrow_index_e15
    new_index = min(old_index + mul_wad_up(old_index, growth), MAX_INDEX)
    if new_index == old_index:
        return
    interest = mul_div_up(borrow, new_index, old_index) - borrow
    interest = min(interest, _UINT128_MAX - borrow)
    state.borrow_index_e15 = new_index
    state.borrow_wad = borrow + interest
    _credit(state, p, supply, borrow, interest)


def _credit(state: State, p: RiskParams, supply: int, borrow: int, interest: int) -> None:
    """Split between the insurance fund (rounded up) and the lenders (index rounded down); these get
    at most what is due on as much as they lend.
    """
    reserve = interest
    if supply != 0:
        reserve = max(
            mul_div_up(interest, p.reserve_share_bps, 10_000),
            interest - mul_div_down(interest, min(supply, borrow), borrow),
        )
        index = state.supply_index_e15
        following = min(index + mul_div_down(index, interest - reserve, supply), MAX_INDEX)
        state.supply_index_e15 = following
        state.supply_wad = min(mul_div_down(supply, following, index), _UINT128_MAX)
    reserve = min(reserve, _UINT128_MAX - state.insurance_wad)
    state.insurance_wad += reserve
    state.interest_wad -= reserve


def utilisation_wad(supply: int, borrow: int) -> int:
    """borrow / supply, rounded up, at most 1; 1 where there is debt and no supply."""
    if borrow == 0:
        return 0
    return WAD if borrow >= supply else mul_div_up(borrow, WAD, supply)


def rate_wad(p: RiskParams, utilisation: int) -> int:
    """Annual rate of borrowers, rounded up: linear from base to the kink and from there to full."""
    base, kink = p.base_rate_bps * 10**14, p.kink_utilisation_bps * 10**14
    at_kink = p.kink_rate_bps * 10**14
    if utilisation <= kink:
        return at_kink if kink == 0 else base + mul_div_up(at_kink - base, utilisation, kink)
    return at_kink + mul_div_up(p.full_rate_bps * 10**14 - at_kink, utilisation - kink, WAD - kink)


def growth_wad(rate: int, elapsed: int) -> int:
    """e^x − 1 to the third order, x = rate·elapsed/year capped, rounded up."""
    x = min(mul_div_up(rate, elapsed, YEAR), MAX_EXPONENT_WAD)
    second = mul_div_up(x, x, 2 * WAD)
    return x + second + mul_div_up(second, x, 3 * WAD)
