"""Options of an account: from scenario arrays to rows of the scan.  Twin:
``contracts/margin/OptionRows.sol``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from risk.exact.margin import array_logic, instrument_id, portfolio
from risk.exact.margin.portfolio import Row, Work
from risk.exact.margin.scenario_array import DELTA_ONE, ScenarioArray
from risk.exact.state import Option, State

WAD: Final = 10**18
ROW_DEDUCTION: Final = 8192


def add(state: State, w: Work, options: Sequence[Option]) -> None:
    """Adds the options to the empty rows of ``w``: row i belongs to option i."""
    for option in options:
        array = array_logic.compute(state, option.instrument)
        f = portfolio.factor(state, w, instrument_id.underlying(option.instrument))
        units = abs(option.size_wad)
        f.units += units
        if option.size_wad < 0:
            f.short_units += units
        w.option_value += option.size_wad * mark_of(array, option.size_wad)
        portfolio.add_to_bucket(
            w, option.instrument, option.size_wad * delta_of(array, option.instrument)
        )
        w.rows.append(row_of(array, option.size_wad))


def mark_of(array: ScenarioArray, size: int) -> int:
    """Rounded down for a long, up for a short position."""
    return array.mark_up if size < 0 else array.mark_down


def delta_of(array: ScenarioArray, instrument: int) -> int:
    """δ in 1/511: c for a call, c − 511 for a put."""
    is_put = instrument_id.kind(instrument) == instrument_id.PUT
    return array.delta_code - DELTA_ONE if is_put else array.delta_code


def row_of(array: ScenarioArray, size: int) -> Row:
    """s = ⌊|o|·U/1e18⌋ with the sign of o; deduction 8192, and |s| + 1 more for a short one."""
    s = abs(size) * array.unit // WAD
    if size < 0:
        return Row(-s, array.lanes, ROW_DEDUCTION + s + 1)
    return Row(s, array.lanes, ROW_DEDUCTION)
