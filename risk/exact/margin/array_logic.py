"""Computes scenario arrays: Black-76 on K scenarios.  Twin: ``contracts/margin/ArrayLogic.sol``.

Formulas: docs/margin.md §3 and §4.  Arrays are memoised by everything they depend on and never read
from a chain.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.margin import instrument_id, scenario_array
from risk.exact.margin.scenario_array import DELTA_ONE, ScenarioArray
from risk.exact.math.black76 import call_from_log, delta_from_log, log_moneyness
from risk.exact.math.exp_ln import exp_wad, ln_wad
from risk.exact.math.svi import SviParams, std_dev
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State

WAD: Final = 10**18
TENOR_UNIT: Final = 30 * 86_400
TENOR_EXPONENT_LIMIT: Final = 3 * WAD  # e^3 > 2^64/1e18 ≥ any tenor_cap
_CACHE: Final = 20_000

# forward ratio, discount, slice of an expiry
_Slice = tuple[int, int, SviParams]


def compute(state: State, instrument: int) -> ScenarioArray:
    """The array of an option at the snapshot of its underlying.

    In this order: ``RiskParamsMissing``, ``UnknownInstrument(id)`` where it is no listed option,
    ``SliceMissing(u, day)``, the errors of ``log_moneyness`` and ``std_dev``,
    ``ArrayOutOfRange(id)``.
    """
    if state.params is None:
        raise ModelRevert("RiskParamsMissing")
    strike = strike_of(state, instrument)
    if instrument_id.kind(instrument) < instrument_id.CALL or strike == 0:
        raise ModelRevert("UnknownInstrument", (instrument,))
    underlying = state.underlyings[instrument_id.underlying(instrument)]
    slice_ = None
    if instrument_id.expiry(instrument) > underlying.time:
        slice_ = _slice(state, instrument)
    return _compute(state.params, instrument, strike, underlying.price_wad, underlying.time, slice_)


def compute_arrays(state: State, instruments: list[int]) -> None:
    """What ``computeArrays`` checks; the model has no cache to fill (twin of ``cache``)."""
    if state.params is None:
        raise ModelRevert("RiskParamsMissing")
    for instrument in instruments:
        compute(state, instrument)


def remembered() -> int:
    """Arrays in memory, of every price that was asked for (at most 20 000)."""
    return _compute.cache_info().currsize


def forget() -> None:
    """Empties the memory of everything that depends on a snapshot."""
    _compute.cache_clear()
    _vol_factors.cache_clear()


def strike_of(state: State, instrument: int) -> int:
    """The listed strike, WAD; 0 where it is not listed."""
    bucket = state.buckets.get(instrument_id.bucket_key(instrument))
    index = instrument_id.strike_index(instrument)
    return (
        bucket.strikes_wad[index] if bucket is not None and index < len(bucket.strikes_wad) else 0
    )


def tenor_factor(params: RiskParams, u: int, tenor: int) -> int:
    """g = min(tenor_cap, exp(p·ln(30 d/max(T, tenor_floor)))), WAD; a tenor floor of 0 counts as 1
    s.
    """
    limits = params.underlyings[u]
    seconds = max(tenor, limits.tenor_floor_seconds, 1)
    exponent = ln_wad(TENOR_UNIT * WAD // seconds) * limits.tenor_power_wad // WAD
    if exponent >= TENOR_EXPONENT_LIMIT:
        return limits.tenor_cap_wad
    return min(exp_wad(exponent), limits.tenor_cap_wad)


def _slice(state: State, instrument: int) -> _Slice:
    bucket = state.buckets.get(instrument_id.bucket_key(instrument))
    if bucket is None or bucket.forward_ratio_wad == 0:
        u, day = instrument_id.underlying(instrument), instrument_id.expiry_day(instrument)
        raise ModelRevert("SliceMissing", (u, day))
    e9 = 10**9
    svi = SviParams(
        bucket.a_e9 * e9,
        bucket.b_e9 * e9,
        bucket.rho_e9 * e9,
        bucket.m_e9 * e9,
        bucket.sigma_e9 * e9,
    )
    return bucket.forward_ratio_wad, bucket.discount_wad, svi


@lru_cache(maxsize=256)
def _growth(params: RiskParams, u: int) -> tuple[tuple[int, int], ...]:
    """(1 + x_k, ln(1 + x_k)) of every scenario, WAD."""
    step = params.underlyings[u].price_unit_e6 * 10**12
    return tuple(
        (WAD + x * step, ln_wad(WAD + x * step)) for x in params.underlyings[u].price_lanes
    )


@lru_cache(maxsize=1024)
def _vol_factors(params: RiskParams, u: int, tenor: int) -> tuple[int, ...]:
    """max(0, 1 + ⌊v_k·g⌋) of every scenario, WAD."""
    g = tenor_factor(params, u, tenor)
    step = params.underlyings[u].vol_unit_e6 * 10**12
    return tuple(max(0, WAD + v * step * g // WAD) for v in params.underlyings[u].vol_lanes)


@lru_cache(maxsize=_CACHE)
def _compute(
    params: RiskParams, instrument: int, strike: int, price: int, time: int, slice_: _Slice | None
) -> ScenarioArray:
    u = instrument_id.underlying(instrument)
    is_put = instrument_id.kind(instrument) == instrument_id.PUT
    growth = _growth(params, u)
    if slice_ is None:  # expired at the snapshot
        forward, discount, sd = price, WAD, 0
        factors: tuple[int, ...] = (0,) * len(growth)
        log_fk = log_moneyness(forward, strike)
    else:
        ratio, discount, svi = slice_
        forward = price * ratio // WAD
        factors = _vol_factors(params, u, instrument_id.expiry(instrument) - time)
        log_fk = log_moneyness(forward, strike)
        sd = std_dev(svi, -log_fk)
    if sd == 0:
        delta_code = DELTA_ONE if forward > strike else 0
    else:
        delta_code = delta_from_log(log_fk, sd) * DELTA_ONE // WAD

    def value(log_k: int, forward_k: int, sd_k: int) -> int:
        call = call_from_log(log_k, forward_k, strike, sd_k)
        return discount * (call + strike - forward_k if is_put else call) // WAD

    mark = value(log_fk, forward, sd)
    changes = [
        value(log_fk + log_growth, forward * growth_k // WAD, sd * factor // WAD) - mark
        for (growth_k, log_growth), factor in zip(growth, factors, strict=True)
    ]
    return scenario_array.pack(instrument, changes, mark, delta_code)
