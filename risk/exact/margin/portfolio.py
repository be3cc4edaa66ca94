"""Working memory of one margin computation.  Twin: ``contracts/margin/Portfolio.sol``.

What an account holds, summed by underlying (``Factor``) and by expiry (bucket), and the rows of the
scan.  Nothing here rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from risk.exact.margin import instrument_id
from risk.exact.market import gauge
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State


@dataclass
class Factor:
    """One underlying held by the account."""

    index: int
    price: int  # S
    time: int  # of the snapshot
    open_interest: int  # OI_u, rounded up to the gauge
    units: int = 0  # N_u
    short_units: int = 0  # Σ |o| of short options
    linear_value: int = 0  # D_u
    has_linear: bool = False  # there is an underlying row
    funding_e12: int = 0  # cumulative funding of one unit long
    stable_apart: bool = False  # initial margin must look at the stable price


@dataclass(frozen=True)
class Row:
    """One row of the scan: signed exposure, lanes, deduction."""

    s: int
    lanes: tuple[int, ...]
    deduction: int


@dataclass
class Work:
    """Factors by index, exposure (units × 511) by bucket key, rows; row i belongs to option i,
    underlyings follow.
    """

    params: RiskParams
    factors: dict[int, Factor] = field(default_factory=dict)
    buckets: dict[int, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    option_value: int = 0  # Σ o·mark, WAD²


def factor(state: State, w: Work, u: int) -> Factor:
    """The record of underlying ``u``, made on first use."""
    if u not in w.factors:
        data = state.underlyings[u]
        word = gauge.encode(data.open_interest_wad, data.stable_apart)
        w.factors[u] = Factor(
            u,
            data.price_wad,
            data.time,
            gauge.open_interest(word),
            funding_e12=data.funding_e12,
            stable_apart=data.stable_apart,
        )
    return w.factors[u]


def add_to_bucket(w: Work, instrument: int, amount: int) -> None:
    """Adds ``amount`` (units × 511) to the exposure of the expiry of ``instrument``."""
    key = instrument_id.bucket_key(instrument)
    w.buckets[key] = w.buckets.get(key, 0) + amount


def add_linear_value(f: Factor, value: int, units: int) -> None:
    """Adds the value and the units of a collateral or linear position; the underlying then has a
    row.
    """
    f.linear_value += value
    f.units += units
    f.has_linear = True
