"""The certificate: a calibration and the evidence for it, as one JSON value.

Calibrated on everything before the hold-out period; judged on portfolios that no fit has seen, by
the exact Scan of the quantised parameters, on the calibration's own distribution and on that of the
hold-out period, and by adversarial search. Same data, same settings: same certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.params.risk_params import RiskParams
from risk.exact.state import State
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.scenarios import adversary, exact, factors
from risk.quant.scenarios.book import value_changes
from risk.quant.scenarios.calibrate import Calibration, Settings, calibrate
from risk.quant.scenarios.coverage import MATERIAL, expected_shortfall, scan, summarise
from risk.quant.scenarios.cuts import GROSS
from risk.quant.scenarios.factors import PERIOD, Factors
from risk.quant.scenarios.fit import HISTORICAL, scenario_changes, stretched
from risk.quant.scenarios.rolling import stamp
from risk.quant.scenarios.stress import historical

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

DAY: Final = 86_400
OPENING: Final = 8 * 3600
TEST_SEED: Final = 9_000
NOTIONAL: Final = 10**6
THICK: Final = 100.0 / 3.0  # gross notional over requirement, at most: books not nearly closed


@dataclass(frozen=True)
class Evidence:
    """How much of it: hold-out portfolios, adversarial starts, days of hold-out."""

    portfolios: int = 10_000
    starts: int = 1_000
    holdout_days: int = 365


@dataclass(frozen=True, eq=False)
class Certified:
    """The JSON value and what it speaks of."""

    report: dict[str, Any]
    params: RiskParams
    state: State
    calibration: Calibration
    time: int
    sizes: Floats  # the hold-out portfolios


def certify(
    table: PriceTable, settings: Settings, evidence: Evidence, tell: Tell = lambda _: None
) -> Certified:
    """Calibrates and judges."""
    f, at = begin(table, evidence)
    return judge(table, f, at, calibrate(f, at, settings, tell), settings, evidence, tell)


def begin(table: PriceTable, evidence: Evidence) -> tuple[Factors, int]:
    """The factors, and the row at which the hold-out period begins."""
    f = factors.build(table)
    return f, len(f.times) - 1 - evidence.holdout_days * 24


def judge(
    table: PriceTable,
    f: Factors,
    at: int,
    done: Calibration,
    settings: Settings,
    evidence: Evidence,
    tell: Tell = lambda _: None,
) -> Certified:
    """The certificate of a calibration at row `at`."""
    params = exact.quantised(done.scenarios, done.scale, settings.policy)
    time = int(f.times[at]) // DAY * DAY + OPENING
    state = exact.make_state(done.book, [float(p) for p in f.price[at]], time, params)
    count, seed = evidence.portfolios * 3 // 2, settings.plan.seed + TEST_SEED
    if settings.options:
        sizes, kinds = archetypes.sample_all(done.book, count, seed)
    else:
        sizes = archetypes.linear_directions(done.book, count, seed + 1)
        kinds = np.zeros(count, dtype=np.int64)  # directional
    es = expected_shortfall(sizes, done.problem.changes, settings.plan.alpha)
    # the first `portfolios` material ones, in an order that does not know the archetype
    order = np.random.default_rng([settings.plan.seed, 21]).permutation(es.size)
    material = order[es[order] > MATERIAL][: evidence.portfolios]
    rest = order[es[order] <= MATERIAL]
    tell(f"exact margins of {es.size} hold-out portfolios")
    margins = exact.margins(sizes, done.book, state, time, NOTIONAL)
    unit = float(NOTIONAL * exact.WAD)
    on_chain = np.array([m.scan / unit for m in margins])
    whole = np.array([(max(m.scan, m.floor_charge) + m.basis) / unit for m in margins])
    report: dict[str, Any] = {
        "data": _data(table, f, done, at),
        "settings": asdict(settings) | {"evidence": asdict(evidence), "material": MATERIAL},
        "scenarios": _scenarios(done, f, params),
        "exact_scan": {
            "hold_out_portfolios": asdict(summarise(on_chain[material], es[material])),
            "by_archetype": {
                name: asdict(summarise(on_chain[m], es[m]))
                for i, name in enumerate((*archetypes.ARCHETYPES, archetypes.MIXED))
                for m in [material[kinds[material] == i]]
                if m.size
            },
            "immaterial": _immaterial(on_chain, whole, es, rest),
            "all_sampled": asdict(summarise(on_chain, es, 0.0)),
        },
        # a deeper guard than Scan: the short-option minimum and the basis charge included
        "exact_requirement": asdict(summarise(whole, es, 0.0)),
        "float_scan": _floats(done, f, at, settings, sizes[material]),
        "adversary": _adversary(done, params, settings, evidence, tell),
    }
    return Certified(report, params, state, done, time, sizes[material])


def _data(table: PriceTable, f: Factors, done: Calibration, at: int) -> dict[str, Any]:
    start, stop = done.rows
    return {
        "source": table.source,
        "sha256": table.sha256(),
        "assets": list(table.assets),
        "calibration": [stamp(f.times[start]), stamp(f.times[stop - 1 + PERIOD])],
        "hold_out": [stamp(f.times[at]), stamp(f.times[-1])],
        "observations": int(done.problem.sample.shape[0]),
        "margin_period_hours": PERIOD,
    }


def _scenarios(done: Calibration, f: Factors, params: RiskParams) -> dict[str, Any]:
    _, _, days = historical(done.problem.sample, HISTORICAL, 1)
    thin = (done.rows[1] - done.rows[0]) / done.problem.sample.shape[0]
    return {
        "count": done.scenarios.count,
        "free": done.scenarios.free,
        "historical": [stamp(f.times[done.rows[0] + round(d * thin)]) for d in days],
        "factor": done.factor,
        "price_scale": [float(s) for s in done.scale.price],
        "vol_scale": [float(s) for s in done.scale.vol],
        "weights_bps": list(params.weights_bps),
        "underlyings": [
            {
                "price_unit_e6": u.price_unit_e6,
                "vol_unit_e6": u.vol_unit_e6,
                "price_lanes": list(u.price_lanes),
                "vol_lanes": list(u.vol_lanes),
            }
            for u in params.underlyings
        ],
        "blob_sha256": hashlib.sha256(params.blob).hexdigest(),
    }


def _immaterial(
    on_chain: Floats, whole: Floats, es: Floats, rest: NDArray[np.int64]
) -> dict[str, Any]:
    """Nearly closed books: share covered by Scan and by the whole requirement."""
    if rest.size == 0:
        return {"portfolios": 0}
    return {
        "portfolios": int(rest.size),
        "covered_by_scan": float(np.mean(on_chain[rest] >= es[rest])),
        "covered_by_requirement": float(np.mean(whole[rest] >= es[rest])),
    }


def _floats(
    done: Calibration, f: Factors, at: int, settings: Settings, sizes: Floats
) -> dict[str, Any]:
    """Linear portfolios, the hold-out period, and what the reserved scenarios add."""
    alpha, problem = settings.plan.alpha, done.problem
    changes = scenario_changes(done.book, done.scale, done.scenarios)
    weights, free = done.scenarios.weights, done.scenarios.free
    perps = archetypes.linear_directions(done.book, 10_000, settings.plan.seed + TEST_SEED)
    later = factors.shapes(f, at, f.move.shape[0], done.scale.vol, every=settings.thin)
    ahead = value_changes(done.book, *factors.shocks(later, done.scale), aged=True)
    es, es_later = (expected_shortfall(sizes, c, alpha) for c in (problem.changes, ahead))
    charged = scan(sizes, changes, weights)
    out = {
        "hold_out_portfolios": asdict(summarise(charged, es)),
        "without_reserved": asdict(summarise(scan(sizes, changes[:, :free], weights[:free]), es)),
        "linear": asdict(
            summarise(
                scan(perps, changes, weights),
                expected_shortfall(perps, problem.changes, alpha),
                0.0,
            )
        ),
        "hold_out_period": asdict(summarise(charged, es_later)),
        "hold_out_period_linear": asdict(
            summarise(scan(perps, changes, weights), expected_shortfall(perps, ahead, alpha), 0.0)
        ),
    }
    for buffer in (1.1, 1.25):
        wider = scenario_changes(done.book, done.scale, stretched(done.scenarios, buffer))
        key = f"hold_out_period_with_{round(buffer * 100 - 100)}_percent_buffer"
        out[key] = asdict(summarise(scan(sizes, wider, weights), es_later))
    return out


def _adversary(
    done: Calibration, params: RiskParams, settings: Settings, evidence: Evidence, tell: Tell
) -> dict[str, Any]:
    """Worst linear portfolio by Scan alone; worst of all by the whole requirement."""
    alpha, book, problem = settings.plan.alpha, done.book, done.problem
    changes = scenario_changes(book, done.scale, done.scenarios)
    weights, policy = done.scenarios.weights, settings.policy
    basis = policy.basis_rates(book)
    tell(f"adversarial search, {evidence.starts} starts each")
    linear = adversary.requirement(book, np.flatnonzero(book.linear), changes, weights)
    columns, som = np.arange(book.size), policy.som_bps / exact.BPS
    every = adversary.requirement(book, columns, changes, weights, som=som, basis=basis)
    thick, sound = (
        adversary.requirement(book, columns, changes, weights, som=som, basis=basis, gross=gross)
        for gross in (THICK, GROSS)
    )
    seed = settings.plan.seed
    out = {}
    for name, need in (
        ("linear_scan", linear),
        ("requirement_of_3_percent_of_gross", thick),
        ("requirement_of_1_percent_of_gross", sound),
        ("all_instruments_requirement", every),
    ):
        found = adversary.search(need, problem.changes, alpha, evidence.starts, seed)
        out[name] = {
            "starts": found.starts,
            "worst_covered": found.worst,
            "median_of_starts": float(np.median(found.ratios)),
            "unbounded": found.unbounded,
            "portfolio": [round(float(h), 6) for h in found.portfolio],
        }
        tell(f"{name}: worst covered {found.worst:.4f}")
    return out
