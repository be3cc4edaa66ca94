"""Snapshots: when one is due, and taking it.  Twin: ``contracts/market/Snapshots.sol``."""

from __future__ import annotations

from risk.exact.errors import PANIC_ARITHMETIC, panic
from risk.exact.margin import instrument_id
from risk.exact.market import feed_reader, follow
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State, World

_UINT32_MAX = 2**32 - 1


def is_due(state: State, world: World, p: RiskParams, u: int, live_price_wad: int) -> bool:
    """Never taken, older than ``max_age``, taken before the last 08:00 UTC, or |live − snap|·10^4 ≥
    band·snap.
    """
    data = state.underlyings[u]
    if data.epoch == 0 or world.timestamp - data.time > p.underlyings[u].max_age_seconds:
        return True
    if _expiry_day(world.timestamp) != _expiry_day(data.time):
        return True
    return left_band(live_price_wad, data.price_wad, p.underlyings[u].deviation_band_bps)


def _expiry_day(time: int) -> int:
    """Number of the last 08:00 UTC at or before ``time``."""
    return (time - instrument_id.EXPIRY_TIME_OF_DAY) // 86_400


def any_rate_left_band(state: State, world: World, p: RiskParams, u: int) -> bool:
    """Whether the live rate of a collateral of ``u`` left the band of ``u``; an unusable rate does
    not count.
    """
    for j in _rated(p, u):
        rate_wad, _, _ = feed_reader.live_rate(state, world, j)
        if rate_wad != 0 and rate_left_band(state, p, u, j, rate_wad):
            return True
    return False


def rate_left_band(state: State, p: RiskParams, u: int, j: int, rate_wad: int) -> bool:
    """As ``any_rate_left_band``, of one collateral ``j`` of ``u`` whose live rate is given."""
    return left_band(rate_wad, state.collaterals[j].rate_wad, p.underlyings[u].deviation_band_bps)


def left_band(value: int, ref: int, band_bps: int) -> bool:
    """|value − ref|·10^4 ≥ band·ref, exact."""
    return abs(value - ref) * 10_000 >= band_bps * ref


def take(
    state: State, world: World, p: RiskParams, u: int, price_wad: int, updated_at: int
) -> None:
    """Take the snapshot of ``u``: price, epoch + 1, time, feed time, then the rates of its
    collaterals, ascending.

    A rate feed that cannot be used keeps the last rate in force.
    """
    data = state.underlyings[u]
    if data.epoch == _UINT32_MAX:
        raise panic(PANIC_ARITHMETIC)
    follow.before(state, world, p, u, price_wad)
    data.price_wad = price_wad
    data.epoch += 1
    data.time = world.timestamp & _UINT32_MAX
    data.feed_updated_at = updated_at
    for j in _rated(p, u):
        rate_wad, _, rate_time = feed_reader.live_rate(state, world, j)
        if rate_wad != 0:
            state.collaterals[j].rate_wad = rate_wad
            state.collaterals[j].rate_updated_at = rate_time


def _rated(p: RiskParams, u: int) -> list[int]:
    """Collaterals of ``u`` that have a rate feed, ascending."""
    return [j for j, c in enumerate(p.collaterals) if c.underlying == u and c.has_rate]
