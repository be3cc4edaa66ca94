"""Explains a margin: where the binding scenario loses, row by row.  Twin:
``contracts/margin/ExplainLogic.sol``.

Rows: collaterals ascending, perps and futures in storage order, options in storage order.
Formulas: docs/margin.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from risk.exact.accounts import account_lib
from risk.exact.margin import array_logic, instrument_id, margin_engine, option_rows
from risk.exact.margin.margin_engine import Margin
from risk.exact.margin.portfolio import Work
from risk.exact.margin.scenario_scan import NO_SCENARIO
from risk.exact.state import Account, State

WAD: Final = 10**18
BPS: Final = 10**4


class RowKind(IntEnum):
    """What the ``id`` of a row is."""

    COLLATERAL = 0
    LINEAR = 1
    OPTION = 2


@dataclass(frozen=True)
class Row:
    """``value``: what the row adds to M; ``scan_contribution``: its Euler share of the scan."""

    kind: RowKind
    id: int
    value: int
    scan_contribution: int


@dataclass(frozen=True)
class Explanation:
    """Fields as in ``IMargin.Explanation``."""

    margin: Margin
    rows: tuple[Row, ...]
    distance_to_im: int
    distance_to_mm: int
    distance_to_target: int


def explain(state: State, account_id: int) -> Explanation:
    """Margin, rows and distances; raises as the margin does."""
    a = account_lib.load(state, account_id)
    margin, w = margin_engine.run(state, account_id, a)
    rows: list[Row] = []
    if w is not None:
        _linear_rows(state, w, margin, a, rows)
        _option_rows(state, w, margin, a, rows)
        if margin.binding_scenario != NO_SCENARIO:
            # What flooring every share left over goes to the last row, so that the rows sum to the
            # scan.
            rest = margin.scan - sum(row.scan_contribution for row in rows)
            rows[-1] = replace(rows[-1], scan_contribution=rows[-1].scan_contribution + rest)
    target = -(-margin.mm * w.params.target_bps // BPS) if w is not None else 0
    return Explanation(
        margin=margin,
        rows=tuple(rows),
        distance_to_im=margin.equity - margin.im,
        distance_to_mm=margin.equity - margin.mm,
        distance_to_target=margin.equity - target,
    )


def _linear_rows(state: State, w: Work, margin: Margin, a: Account, rows: list[Row]) -> None:
    """Collaterals, perps and futures; the first of each underlying carries the deduction of its
    row.
    """
    explained: set[int] = set()
    for j, amount in enumerate(a.collateral):
        if amount:
            u = w.params.collaterals[j].underlying
            value, _ = margin_engine.collateral_value_down(
                state, w.params, j, amount, w.factors[u].price
            )
            share = _linear_share(w, margin, u, value, u not in explained)
            rows.append(Row(RowKind.COLLATERAL, j, value, share))
            explained.add(u)
    for x in a.linear:
        if x.size_wad == 0:
            rows.append(Row(RowKind.LINEAR, x.instrument, x.quote_wad, 0))
            continue
        u = instrument_id.underlying(x.instrument)
        f = w.factors[u]
        mark = margin_engine.linear_mark(state, x.instrument, f.price, f.time)
        value = margin_engine.linear_value_down(x.size_wad, mark)
        share = _linear_share(w, margin, u, value, u not in explained)
        rows.append(Row(RowKind.LINEAR, x.instrument, value + x.quote_wad, share))
        explained.add(u)


def _linear_share(w: Work, margin: Margin, u: int, value: int, first: bool) -> int:
    """⌊w·(−|s_u|·ℓ·v + deduction·|D_u|)/(|D_u|·1e4)⌋, for D_u = 0 the deduction alone."""
    k = margin.binding_scenario
    if k == NO_SCENARIO:
        return 0
    weight, p = w.params.weights_bps[k], w.params.underlyings[u]
    deduction = option_rows.ROW_DEDUCTION if first else 0
    total = abs(w.factors[u].linear_value)
    if total == 0:
        return weight * deduction // BPS
    s = total * p.price_unit_e6 // 10**6
    return weight * (deduction * total - s * p.price_lanes[k] * value) // (total * BPS)


def _option_rows(state: State, w: Work, margin: Margin, a: Account, rows: list[Row]) -> None:
    k = margin.binding_scenario
    for option, row in zip(a.options, w.rows, strict=False):  # rows of underlyings follow
        array = array_logic.compute(state, option.instrument)
        value = option.size_wad * option_rows.mark_of(array, option.size_wad) // WAD
        share = 0
        if k != NO_SCENARIO:
            share = w.params.weights_bps[k] * (row.deduction - row.s * row.lanes[k]) // BPS
        rows.append(Row(RowKind.OPTION, option.instrument, value, share))
