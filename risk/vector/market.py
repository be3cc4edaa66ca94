"""What depends on the market only: one row an instrument, bucket, underlying and collateral.

All numbers are the exact integers of the model; ``MarketTable`` keeps them as Python integers and
derives the arrays that the engines gather from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from risk.exact.custody import pnl_lib
from risk.exact.errors import ModelRevert
from risk.exact.margin import array_logic, charges, instrument_id, margin_engine
from risk.exact.margin.scenario_array import DELTA_ONE
from risk.exact.market import gauge
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State
from risk.vector import limbs
from risk.vector.errors import VectorError
from risk.vector.limbs import Bools, Floats, Ints

# Beyond these a row is not usable here and its holders fall back to the model.
UNIT_LIMIT: Final = 2**90
MARK_LIMIT: Final = 2**119
RATE_LIMIT: Final = 2**89


@dataclass(frozen=True)
class Instrument:
    """One column.  ``usable`` False: the model raises for every holder, or a number is beyond the
    limits above.
    """

    id: int
    underlying: int
    bucket: int  # row of ``buckets``; a perp has one of its own, which charges nothing
    is_option: bool
    usable: bool
    mark_down: int = 0  # what a long unit adds to equity, WAD; perp: S − funding
    mark_up: int = 0  # what a short unit takes
    scan_mark: int = 0  # perp and future: the mark that the price shocks apply to
    unit: int = 0  # option: U, WAD
    delta: int = 0  # 1/511: option δ, future 511, perp 0
    lanes: tuple[int, ...] = ()  # option: ΔV in units of U


@dataclass(frozen=True)
class BucketRow:
    """One (underlying, expiry), or the perp of an underlying (day 0): its basis rate, WAD."""

    key: int
    underlying: int
    rate: int


@dataclass(frozen=True)
class UnderlyingRow:
    """One underlying."""

    price: int  # S, WAD
    open_interest: int  # OI, rounded up to the gauge
    stable_move: int  # S' − S where the stable price is apart, else 0
    depth: int
    som_bps: int
    liq_bps: int
    price_unit_e6: int
    price_lanes: tuple[int, ...]
    usable: bool


@dataclass(frozen=True)
class CollateralRow:
    """One collateral; ``rate`` 0: it has none."""

    underlying: int
    scale: int  # WAD units of one native unit
    haircut_bps: int
    has_rate: bool
    rate: int
    usable: bool


@dataclass(frozen=True)
class MarketTable:
    """The market at its snapshots.  Two tables with the same ``ids`` have the same columns."""

    ids: tuple[int, ...]  # ascending by (bucket key, id)
    instruments: tuple[Instrument, ...]
    buckets: tuple[BucketRow, ...]
    underlyings: tuple[UnderlyingRow, ...]
    collaterals: tuple[CollateralRow, ...]
    weights_bps: tuple[int, ...]
    im_factor_bps: int

    @classmethod
    def from_state(cls, state: State, instruments: Iterable[int] | None = None) -> MarketTable:
        """The table of ``instruments``, of everything listed where none are named.

        ``VectorError`` where no risk parameters are set.
        """
        p = state.params
        if p is None:
            raise VectorError("the vault has no risk parameters: no account has a margin")
        known = set(listed(state) if instruments is None else instruments)
        known = {i for i in known if instrument_id.underlying(i) < len(state.underlyings)}
        ids = tuple(sorted(known, key=lambda i: (instrument_id.bucket_key(i), i)))
        keys = sorted({instrument_id.bucket_key(i) for i in ids})
        rows = {key: n for n, key in enumerate(keys)}
        return cls(
            ids=ids,
            instruments=tuple(
                _instrument(state, i, rows[instrument_id.bucket_key(i)]) for i in ids
            ),
            buckets=tuple(_bucket(state, p, key) for key in keys),
            underlyings=tuple(_underlying(state, p, u) for u in range(len(state.underlyings))),
            collaterals=tuple(_collateral(state, p, j) for j in range(len(state.collaterals))),
            weights_bps=p.weights_bps,
            im_factor_bps=p.im_factor_bps,
        )

    # ── arrays by column ─────────────────────────────────────────────────────────────────────────

    @property
    def scenarios(self) -> int:
        """K"""
        return len(self.weights_bps)

    @cached_property
    def column(self) -> dict[int, int]:
        """Column of an instrument."""
        return {i: n for n, i in enumerate(self.ids)}

    @cached_property
    def underlying_of(self) -> Ints:
        """Underlying of each column."""
        return np.array([x.underlying for x in self.instruments], dtype=np.int64)

    @cached_property
    def bucket_of(self) -> Ints:
        """Bucket row of each column; ascending."""
        return np.array([x.bucket for x in self.instruments], dtype=np.int64)

    @cached_property
    def is_option(self) -> Bools:
        """Calls and puts."""
        return np.array([x.is_option for x in self.instruments], dtype=np.bool_)

    @cached_property
    def usable(self) -> Bools:
        """Columns whose holders need no fall-back."""
        return np.array(
            [x.usable and self.underlyings[x.underlying].usable for x in self.instruments],
            dtype=np.bool_,
        )

    @cached_property
    def collateral_usable(self) -> Bools:
        """The same of the collaterals."""
        return np.array(
            [x.usable and self.underlyings[x.underlying].usable for x in self.collaterals],
            dtype=np.bool_,
        )

    @cached_property
    def mark_down(self) -> Ints:
        """Wide."""
        return _wide([x.mark_down for x in self.instruments])

    @cached_property
    def mark_up(self) -> Ints:
        """Wide."""
        return _wide([x.mark_up for x in self.instruments])

    @cached_property
    def scan_mark(self) -> Ints:
        """Wide."""
        return _wide([x.scan_mark for x in self.instruments])

    @cached_property
    def unit(self) -> Ints:
        """Wide."""
        return _wide([x.unit for x in self.instruments])

    @cached_property
    def delta(self) -> Ints:
        """1/511, by column."""
        return np.array([x.delta for x in self.instruments], dtype=np.int64)

    @cached_property
    def lanes(self) -> Floats:
        """Option lanes, (columns, K), whole numbers; zero rows for the others."""
        out = np.zeros((len(self.ids), self.scenarios))
        for n, x in enumerate(self.instruments):
            if x.lanes:
                out[n] = x.lanes
        return out

    @cached_property
    def price_lanes(self) -> Floats:
        """(underlyings, K), whole numbers."""
        return np.array([x.price_lanes for x in self.underlyings], dtype=np.float64).reshape(
            len(self.underlyings), self.scenarios
        )

    @cached_property
    def weights(self) -> Ints:
        """w_k in 1/10^4."""
        return np.array(self.weights_bps, dtype=np.int64)

    @cached_property
    def bucket_rate(self) -> Ints:
        """Wide: basis rate of each bucket."""
        return _wide([x.rate for x in self.buckets])

    @cached_property
    def bucket_price(self) -> Ints:
        """Wide: S of the underlying of each bucket."""
        return _wide([self.underlyings[x.underlying].price for x in self.buckets])


def listed(state: State) -> list[int]:
    """Every instrument that the vault knows: perps, and futures and options of listed expiries."""
    out = []
    for u in range(len(state.underlyings)):
        out.append(instrument_id.encode(u, instrument_id.PERP, 0, 0))
    for key, bucket in state.buckets.items():
        u, day = key >> 16, key & 0xFFFF
        out.append(instrument_id.encode(u, instrument_id.FUTURE, day, 0))
        for strike in range(len(bucket.strikes_wad)):
            out.append(instrument_id.encode(u, instrument_id.CALL, day, strike))
            out.append(instrument_id.encode(u, instrument_id.PUT, day, strike))
    return out


def _instrument(state: State, instrument: int, bucket: int) -> Instrument:
    u = instrument_id.underlying(instrument)
    is_option = instrument_id.kind(instrument) >= instrument_id.CALL
    try:
        if is_option:
            return _option(state, instrument, u, bucket)
        return _linear(state, instrument, u, bucket)
    except ModelRevert:
        return Instrument(instrument, u, bucket, is_option, usable=False)


def _option(state: State, instrument: int, u: int, bucket: int) -> Instrument:
    array = array_logic.compute(state, instrument)
    usable = array.unit < UNIT_LIMIT and array.mark_up < MARK_LIMIT
    is_put = instrument_id.kind(instrument) == instrument_id.PUT
    return Instrument(
        instrument,
        u,
        bucket,
        is_option=True,
        usable=usable,
        mark_down=array.mark_down if usable else 0,
        mark_up=array.mark_up if usable else 0,
        unit=array.unit if usable else 0,
        delta=array.delta_code - DELTA_ONE if is_put else array.delta_code,
        lanes=array.lanes,
    )


def _linear(state: State, instrument: int, u: int, bucket: int) -> Instrument:
    data = state.underlyings[u]
    scan_mark = margin_engine.linear_mark(state, instrument, data.price_wad, data.time)
    mark, is_future = scan_mark, instrument_id.kind(instrument) == instrument_id.FUTURE
    if not is_future:
        mark = data.price_wad - data.funding_e12 * pnl_lib.FUNDING_UNIT
    usable = abs(mark) < MARK_LIMIT and scan_mark < MARK_LIMIT
    return Instrument(
        instrument,
        u,
        bucket,
        is_option=False,
        usable=usable,
        mark_down=mark if usable else 0,
        mark_up=mark if usable else 0,
        scan_mark=scan_mark if usable else 0,
        delta=DELTA_ONE if is_future else 0,
    )


def _bucket(state: State, p: RiskParams, key: int) -> BucketRow:
    u, day = key >> 16, key & 0xFFFF
    item = p.underlyings[u]
    expiry = day * instrument_id.DAY + instrument_id.EXPIRY_TIME_OF_DAY
    tenor = max(0, expiry - state.underlyings[u].time)
    rate = charges.basis_rate(item.basis_base_bps, item.basis_slope_bps, tenor)
    return BucketRow(key, u, rate)


def _underlying(state: State, p: RiskParams, u: int) -> UnderlyingRow:
    data, item = state.underlyings[u], p.underlyings[u]
    apart = data.stable_apart
    move = data.stable_price_wad - data.price_wad if apart else 0
    return UnderlyingRow(
        price=data.price_wad,
        open_interest=gauge.open_interest(gauge.encode(data.open_interest_wad, False)),
        stable_move=move,
        depth=item.depth_wad,
        som_bps=item.som_bps,
        liq_bps=item.liq_bps,
        price_unit_e6=item.price_unit_e6,
        price_lanes=item.price_lanes,
        usable=data.price_wad < UNIT_LIMIT
        and abs(move) < UNIT_LIMIT
        and not (move and not data.price_wad),
    )


def _collateral(state: State, p: RiskParams, j: int) -> CollateralRow:
    item, data = p.collaterals[j], state.collaterals[j]
    return CollateralRow(
        underlying=item.underlying,
        scale=10 ** (18 - item.decimals),
        haircut_bps=item.haircut_bps,
        has_rate=item.has_rate,
        rate=data.rate_wad if item.has_rate else 0,
        usable=data.rate_wad < RATE_LIMIT,
    )


def _wide(values: list[int]) -> Ints:
    return limbs.from_ints(values)
