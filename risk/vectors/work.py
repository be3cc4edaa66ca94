"""Every intermediate of one margin computation, by the reference model."""

from __future__ import annotations

from typing import Any

from risk.chain import views
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import liquidation_logic
from risk.exact.margin import array_logic, charges, explain_logic, margin_engine, scenario_scan
from risk.exact.market.market_logic import svi_params
from risk.exact.math import black76, svi
from risk.exact.state import State

WAD = 10**18


def work_out(state: State, account_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(intermediates, outputs); outputs of a refused case hold ``error`` and ``error_args``
    only.
    """
    account = state.accounts[account_id]
    try:
        margin, work = margin_engine.run(state, account_id, account)
    except ModelRevert as refusal:
        return {}, {"error": refusal.name, "error_args": list(refusal.args)}
    middle: dict[str, Any] = {"arrays": [_array(state, o.instrument) for o in account.options]}
    if work is not None and margin.has_obligations:
        middle |= _scan(state, work)
    explanation = explain_logic.explain(state, account_id)
    outputs: dict[str, Any] = {
        "margin": dict(zip(views.MARGIN, views.from_model(views.MARGIN, margin), strict=True)),
        "explanation": {
            "rows": [
                dict(zip(views.ROW, views.from_model(views.ROW, r), strict=True))
                for r in explanation.rows
            ],
            **dict(
                zip(views.DISTANCES, views.from_model(views.DISTANCES, explanation), strict=True)
            ),
        },
    }
    quote = liquidation_logic.quote(state, account_id)
    outputs["quote"] = dict(zip(views.QUOTE, views.from_model(views.QUOTE, quote), strict=True))
    return middle, outputs


def _array(state: State, item: int) -> dict[str, Any]:
    """One option: the market it sees and its scenario array."""
    u = state.underlyings[item >> 28]
    array = array_logic.compute(state, item)
    strike = array_logic.strike_of(state, item)
    expiry = (item >> 10 & 0xFFFF) * 86_400 + 28_800
    out: dict[str, Any] = {"instrument": item}
    if expiry > u.time:
        assert state.params is not None
        bucket = state.buckets[item >> 28 << 16 | item >> 10 & 0xFFFF]
        forward = u.price_wad * bucket.forward_ratio_wad // WAD
        log = black76.log_moneyness(forward, strike)
        out |= {
            "forward_wad": forward,
            "log_moneyness_wad": log,
            "std_dev_wad": svi.std_dev(svi_params(bucket), -log),
            "tenor_seconds": expiry - u.time,
            "tenor_factor_wad": array_logic.tenor_factor(state.params, item >> 28, expiry - u.time),
        }
    return out | {
        "unit_mantissa": array.unit_mantissa,
        "unit_exponent": array.unit_exponent,
        "lanes": list(array.lanes),
        "mark_down": array.mark_down,
        "mark_up": array.mark_up,
        "delta_code": array.delta_code,
        "words": list(array.words(u.epoch)),
    }


def _scan(state: State, work: Any) -> dict[str, Any]:
    """Rows, sums by scenario, factors, buckets."""
    assert state.params is not None
    losses = scenario_scan.scenario_losses(work.rows, state.params.scenario_count)
    weighted = [
        -(-w * loss // 10**4) for w, loss in zip(state.params.weights_bps, losses, strict=True)
    ]
    factors = []
    for f in work.factors.values():
        p = state.params.underlyings[f.index]
        factors.append(
            {
                "underlying": f.index,
                "units_wad": f.units,
                "short_option_units_wad": f.short_units,
                "linear_value_wad": f.linear_value,
                "floor": charges.floor_charge(f.short_units, f.price, p.som_bps),
                "liq": charges.size_charge(f.units, f.price, f.units, p.depth_wad, p.liq_bps),
                "liq_im": charges.size_charge(
                    f.units, f.price, f.open_interest, p.depth_wad, p.liq_bps
                ),
            }
        )
    return {
        "rows": [{"s": row.s, "deduction": row.deduction} for row in work.rows],
        "pnl_by_scenario": [-loss for loss in losses],
        "weighted_loss_by_scenario": weighted,
        "underlyings": factors,
        "buckets": [
            {"underlying": key >> 16, "expiry_day": key & 0xFFFF, "exposure_units_x511": x}
            for key, x in work.buckets.items()
        ],
    }
