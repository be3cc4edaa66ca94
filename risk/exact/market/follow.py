"""What follows the snapshot price at its own pace: funding, stable price, previous snapshot,
circuit breaker.  Twin: ``contracts/market/Follow.sol``.

Formulas: docs/market.md §8.
"""

from __future__ import annotations

from typing import Final

from risk.exact.market import breaker, funding
from risk.exact.params.risk_params import RiskParams, UnderlyingParams
from risk.exact.state import State, Underlying, World

BPS: Final = 10_000
DAY_BPS: Final = 86_400 * BPS


def before(state: State, world: World, p: RiskParams, u: int, price_wad: int) -> None:
    """Called before the snapshot of ``u`` takes ``price_wad``: the old price held since then.

    Funding to now; the stable price; the old snapshot becomes the previous one, unless it was taken
    in this same second; a jump trips the breaker.
    """
    funding.accrue(state, world, p, u)
    data, item = state.underlyings[u], p.underlyings[u]
    old_price = data.price_wad
    _move_stable(data, world, item, price_wad)
    if old_price == 0:  # no snapshot before this one: its price at time 0
        data.previous_price_wad = price_wad
        return
    if data.time != world.timestamp:
        data.previous_price_wad, data.previous_time = old_price, data.time
    if item.jump_bps and abs(price_wad - old_price) * BPS >= item.jump_bps * old_price:
        breaker.trip(state, world, u, p.breaker_seconds)


def _move_stable(data: Underlying, world: World, item: UnderlyingParams, price_wad: int) -> None:
    """Towards the price that held since the last snapshot, by at most ⌊stable·rate·elapsed⌋; the
    new price itself where it is off and at the first snapshot.
    """
    stable, old_price, band = data.stable_price_wad, data.price_wad, item.stable_band_bps
    rate = item.stable_rate_bps_per_day
    if stable and band and rate:
        step = stable * rate * (world.timestamp - data.time) // DAY_BPS
        stable = min(max(old_price, stable - step), stable + step)
    else:
        stable = price_wad
    data.stable_price_wad = stable
    data.stable_apart = band != 0 and abs(stable - price_wad) * BPS >= band * price_wad
