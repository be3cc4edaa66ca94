"""At which price the wind-down closes a position.  Twin: ``contracts/settlement/WindDown.sol``.

Records stand in ``state.settlements[1 << 32 | instrument]``; of a perp: ``price_wad`` = index,
``last_time`` = time of the snapshot, ``mean_wad`` = funding modulo 2^80.
"""

from __future__ import annotations

from typing import Final

from risk.exact.custody import pnl_lib
from risk.exact.margin import array_logic, instrument_id
from risk.exact.market import feed_reader, funding, oracle_matrix, sequencer, snapshots
from risk.exact.market.oracle_matrix import Action
from risk.exact.math.black76 import call_from_log, log_moneyness
from risk.exact.math.svi import SviParams, std_dev
from risk.exact.settlement import settlement_lib
from risk.exact.settlement.settlement_lib import WIND_DOWN
from risk.exact.state import Bucket, Settlement, State, World

WAD: Final = 10**18
FALLBACK: Final = 7 * 86_400  # after the notice; then the last snapshot counts
_E9: Final = 10**9


def unit_value(state: State, world: World, instrument: int) -> int | None:
    """What one unit is closed at in the wind-down after its notice; records it where it is not
    recorded yet.

    Perp: S − F, may be negative; future and option: their mark at the frozen index.  None while
    the market of the underlying has no usable price.
    """
    u = instrument_id.underlying(instrument)
    perp = u << 28
    frozen = state.settlements.get(WIND_DOWN | perp)
    if frozen is None:
        frozen = _freeze(state, world, u)
        if frozen is None:
            return None
    if instrument == perp:
        return frozen.price_wad - signed_80(frozen.mean_wad) * pnl_lib.FUNDING_UNIT
    item = state.settlements.get(WIND_DOWN | instrument)
    if item is None:
        mark = _mark(state, instrument, frozen.price_wad, frozen.last_time)
        item = Settlement(price_wad=mark, settled=True)
        state.settlements[WIND_DOWN | instrument] = item
    return item.price_wad


def signed_80(word: int) -> int:
    """Two's complement of 80 bits."""
    return word - 2**80 if word >> 79 else word


def _freeze(state: State, world: World, u: int) -> Settlement | None:
    """Bring funding and, where it is due, the snapshot of ``u`` to now and keep them; None where
    the live price is not usable and the fallback is not reached.
    """
    p = feed_reader.load_params(state)
    oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
    usable = oracle_matrix.allowed(Action.SETTLE, oracle_state)
    usable = usable and not sequencer.holds_liquidations(state, world, p)
    last = state.wind_down_time + p.wind_down_notice_seconds + FALLBACK
    if not usable and world.timestamp < last:
        return None
    funding.accrue(state, world, p, u)
    if usable and snapshots.is_due(state, world, p, u, price_wad):
        snapshots.take(state, world, p, u, price_wad, updated_at)
    data = state.underlyings[u]
    frozen = Settlement(
        price_wad=data.price_wad,
        last_time=data.time,
        mean_wad=data.funding_e12 % 2**80,
        settled=True,
    )
    state.settlements[WIND_DOWN | u << 28] = frozen
    return frozen


def _mark(state: State, instrument: int, price_wad: int, time: int) -> int:
    """Mark of a future or option at index ``price_wad`` and ``time``, rounded down (docs/margin.md
    §3, an option's before it is quantised); an expiry that was never reported counts like one
    that is over.
    """
    bucket = state.buckets.get(instrument_id.bucket_key(instrument), Bucket())
    if instrument_id.expiry(instrument) <= time or bucket.forward_ratio_wad == 0:
        return settlement_lib.payoff(state, instrument, price_wad)
    forward = price_wad * bucket.forward_ratio_wad // WAD
    kind = instrument_id.kind(instrument)
    if kind == instrument_id.FUTURE:
        return forward
    strike = array_logic.strike_of(state, instrument)
    log_fk = log_moneyness(forward, strike)
    value = call_from_log(log_fk, forward, strike, std_dev(_svi(bucket), -log_fk))
    if kind == instrument_id.PUT:
        value += strike - forward
    return bucket.discount_wad * value // WAD


def _svi(bucket: Bucket) -> SviParams:
    return SviParams(
        bucket.a_e9 * _E9,
        bucket.b_e9 * _E9,
        bucket.rho_e9 * _E9,
        bucket.m_e9 * _E9,
        bucket.sigma_e9 * _E9,
    )
