"""What an account would lose if the price went back to the stable price.  Twin:
``contracts/margin/StableCharge.sol``.

Added to initial margin, for every underlying whose stable price S' is out of its band around the
index S: ΔS = S' − S, charge = ⌈max(0, short·|ΔS| − (D/S + X)·ΔS)⌉.  Formula: docs/margin.md §11.
"""

from __future__ import annotations

from typing import Final

from risk.exact.margin import instrument_id
from risk.exact.margin.portfolio import Work
from risk.exact.margin.scenario_array import DELTA_ONE
from risk.exact.state import Account, State

WAD: Final = 10**18


def total(state: State, w: Work, account: Account) -> int:
    """Σ of the charges of all underlyings of ``w``."""
    return sum(
        charge(
            state.underlyings[f.index].stable_price_wad - f.price,
            f.price,
            f.linear_value,
            _option_delta(w, account, f.index),
            f.short_units,
        )
        for f in w.factors.values()
        if f.stable_apart
    )


def charge(move: int, price: int, linear_value: int, option_delta: int, short: int) -> int:
    """−⌊D·ΔS/S⌋ − ⌊(X·ΔS − 511·short·|ΔS|)/(511·1e18)⌋ where that is positive, otherwise 0.

    ``option_delta`` X is in units × 511; both roundings are against the account.
    """
    gain = linear_value * move // price
    gain += (option_delta * move - DELTA_ONE * short * abs(move)) // (DELTA_ONE * WAD)
    return max(0, -gain)


def _option_delta(w: Work, account: Account, u: int) -> int:
    """Σ of X_b of the expiries of ``u``, without its futures, which D contains; units × 511."""
    exposure = sum(x for key, x in w.buckets.items() if key >> 16 == u)
    futures = sum(
        x.size_wad
        for x in account.linear
        if instrument_id.underlying(x.instrument) == u
        and instrument_id.kind(x.instrument) == instrument_id.FUTURE
    )
    return exposure - DELTA_ONE * futures
