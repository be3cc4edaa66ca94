"""Planted faults: each changes one thing in the reference model, the way a slip of the pen would.

The tests plant them one at a time and demand that the runner finds each within its first 200 cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

from risk.exact.liquidation import slice_legs, slice_math
from risk.exact.margin import (
    array_logic,
    charges,
    margin_engine,
    option_rows,
    portfolio,
    scenario_array,
    scenario_scan,
)
from risk.exact.margin.portfolio import Row, Work
from risk.exact.margin.scenario_array import ScenarioArray
from risk.exact.market import snapshots
from risk.exact.math import wad_math
from risk.exact.state import Account

WAD = 10**18


@dataclass(frozen=True)
class Fault:
    """``place`` of ``module`` is replaced by ``make(original)``."""

    name: str
    subject: str  # of the list: rounding, sign, lane …
    module: ModuleType | type
    place: str
    make: Callable[[Any], Any]


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The model with this fault; memoised arrays are dropped on the way in and out."""
    original = getattr(fault.module, fault.place)
    wrong = fault.make(original.fget if isinstance(original, property) else original)
    _forget()
    try:
        with patch.object(
            fault.module, fault.place, property(wrong) if isinstance(original, property) else wrong
        ):
            yield
    finally:
        _forget()


def _forget() -> None:
    for item in vars(array_logic).values():
        clear = getattr(item, "cache_clear", None)
        if clear is not None:
            clear()


# ── the faults ───────────────────────────────────────────────────────────────────────────────────


def _put_delta_of_a_call(array: ScenarioArray, instrument: int) -> int:
    return array.delta_code


def _one_bucket_an_expiry(w: Work, instrument: int, amount: int) -> None:
    """Forgets the underlying: equal expiries of two underlyings net."""
    day = instrument >> 10 & 0xFFFF
    key = next((k for k in w.buckets if k & 0xFFFF == day), instrument >> 28 << 16 | day)
    w.buckets[key] = w.buckets.get(key, 0) + amount


def _floor_rounded_down(short_units: int, price: int, bps: int) -> int:
    return short_units * price // WAD * bps // 10**4


def _unweighted(rows: Sequence[Row], weights: Sequence[int], original: Any) -> Any:
    return original(rows, [10**4] * len(weights))


def _last_binding(rows: Sequence[Row], weights: Sequence[int]) -> tuple[int, int]:
    losses = scenario_scan.scenario_losses(rows, len(weights))
    weighted = [-(-w * loss // 10**4) for w, loss in zip(weights, losses, strict=True)]
    worst = max(weighted)
    if worst <= 0:
        return 0, scenario_scan.NO_SCENARIO
    return worst, len(weighted) - 1 - weighted[::-1].index(worst)


def _lanes_rounded_to_zero(
    instrument: int, changes: Sequence[int], value: int, delta: int, original: Any
) -> Any:
    array = original(instrument, changes, value, delta)
    lanes = tuple(c // array.unit if c >= 0 else -(-c // array.unit) for c in changes)
    return replace(array, lanes=lanes)


def _unit_one_bit_short(instrument: int, largest: int) -> tuple[int, int]:
    need = max(1, -(-largest // scenario_array.MAX_LANE))
    exponent = max(0, need.bit_length() - 7)
    return -(-need >> exponent), exponent


def _no_deduction(array: ScenarioArray, size: int, original: Any) -> Row:
    row: Row = original(array, size)
    return replace(row, deduction=option_rows.ROW_DEDUCTION)


def _owed_without_cash(account: Account, original: Any) -> bool:
    return bool(original(replace(account, cash_wad=max(0, account.cash_wad))))


def _liq_on_open_interest(
    units: int, price: int, measure: int, depth: int, bps: int, original: Any
) -> int:
    return int(original(units, price, units, depth, bps))


def _frozen_epoch(
    state: Any, world: Any, p: Any, u: int, price: int, time: int, original: Any
) -> None:
    epoch = state.underlyings[u].epoch
    original(state, world, p, u, price, time)
    state.underlyings[u].epoch = epoch


def _with_original(function: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda original: lambda *args: function(*args, original=original)


def _instead(function: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda _: function


def _plus_one(index: int) -> Callable[[Any], Callable[..., Any]]:
    """One more in argument ``index``."""
    return lambda original: lambda *args: original(*(a + (i == index) for i, a in enumerate(args)))


FAULTS: tuple[Fault, ...] = (
    Fault(
        "haircut rounded down",
        "haircut",
        margin_engine,
        "mul_div_up",
        lambda _: wad_math.mul_div_down,
    ),
    Fault(
        "short marked as long",
        "sign",
        option_rows,
        "mark_of",
        _instead(lambda array, size: array.mark_down),
    ),
    Fault(
        "mark not rounded up",
        "rounding",
        ScenarioArray,
        "mark_up",
        _instead(lambda a: a.mark_mantissa << a.mark_exponent),
    ),
    Fault(
        "lanes towards zero", "lane", scenario_array, "pack", _with_original(_lanes_rounded_to_zero)
    ),
    Fault(
        "unit one bit short",
        "unit exponent",
        scenario_array,
        "unit_for",
        _instead(_unit_one_bit_short),
    ),
    Fault("weights ignored", "weight", scenario_scan, "scan", _with_original(_unweighted)),
    Fault("last binding scenario on ties", "scan", scenario_scan, "scan", _instead(_last_binding)),
    Fault("no deduction for shorts", "scan", option_rows, "row_of", _with_original(_no_deduction)),
    Fault(
        "tag wraps one late",
        "epoch",
        scenario_array,
        "tag_of",
        _instead(lambda epoch: epoch % 2**24 + 1),
    ),
    Fault("snapshot keeps its epoch", "epoch", snapshots, "take", _with_original(_frozen_epoch)),
    Fault("floor rounded down", "floor", charges, "floor_charge", _instead(_floor_rounded_down)),
    Fault("som one basis point more", "som", charges, "floor_charge", _plus_one(2)),
    Fault("put delta of a call", "bucket", option_rows, "delta_of", _instead(_put_delta_of_a_call)),
    Fault(
        "buckets forget the underlying",
        "bucket",
        portfolio,
        "add_to_bucket",
        _instead(_one_bucket_an_expiry),
    ),
    Fault(
        "basis rate rounded down",
        "rounding",
        charges,
        "basis_rate",
        _instead(lambda b, s, t: b * 10**14 + s * 10**14 * t // 31_536_000),
    ),
    Fault(
        "IM charges own size", "Liq", charges, "size_charge", _with_original(_liq_on_open_interest)
    ),
    Fault("size charge one wei deep", "Liq", charges, "size_charge", _plus_one(3)),
    Fault(
        "fraction rounded up", "fraction", slice_math, "closed_form", lambda f: lambda *a: f(*a) + 1
    ),
    Fault(
        "bisection one unit off", "fraction", slice_math, "bisect", lambda f: lambda *a: f(*a) - 1
    ),
    Fault(
        "payment rounded down",
        "rounding",
        slice_math,
        "payment",
        _instead(lambda price, f: price * f // WAD),
    ),
    Fault(
        "legs towards minus infinity",
        "rounding",
        slice_legs,
        "leg",
        _instead(lambda x, f: x * f // WAD),
    ),
    Fault(
        "reward without shortfall",
        "fraction",
        slice_math,
        "reward_wad",
        _instead(lambda base, slope, top, hf, growth=0: min(top * 10**14, base * 10**14 + growth)),
    ),
    Fault(
        "a loan is no obligation",
        "sign",
        margin_engine,
        "has_obligations",
        _with_original(_owed_without_cash),
    ),
    Fault("tenor of 31 days", "rounding", array_logic, "TENOR_UNIT", lambda _: 31 * 86_400),
)
