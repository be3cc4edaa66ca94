"""Margin groups: fewer underlyings under one scenario set, where one set cannot span them all.

An account holds underlyings of one group (docs/margin.md §5), an owner has a sub-account for each.
The groups share the slots of one parameter blob: scenario k of one group has nothing to do with
scenario k of another, save for its weight, which is one number for all. The free scenarios take a
fixed ladder of weights therefore, and a reserved one weighs as much as the group that needs most
gives it, which can only raise a requirement. Every group is judged with its final weights.

What the split costs is the offset between groups: `split` charges the sampled portfolios of all
underlyings the sum of their groups' scans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.params.risk_params import RiskParams
from risk.quant import archetypes
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.scenarios import factors
from risk.quant.scenarios.book import make_book, value_changes
from risk.quant.scenarios.calibrate import Calibration, Settings, calibrate
from risk.quant.scenarios.certificate import TEST_SEED, Certified, Evidence, begin, judge
from risk.quant.scenarios.coverage import MATERIAL, expected_shortfall, scan, summarise
from risk.quant.scenarios.factors import Scale
from risk.quant.scenarios.fit import scenario_changes

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

NOT_BELOW: Final = 0.95  # of the ES, for the worst book found


@dataclass(frozen=True, eq=False)
class Grouped:
    """The JSON value, the one parameter set, and the certificates group by group."""

    report: dict[str, Any]
    params: RiskParams
    groups: tuple[Certified, ...]


def certify_groups(
    table: PriceTable,
    groups: Sequence[Sequence[str]],
    settings: Settings,
    evidence: Evidence,
    tell: Tell = lambda _: None,
) -> Grouped:
    """Calibrates every group on its own prices, gives them common weights, and judges each."""
    wanted = check_groups(table, groups)
    settings = replace(settings, plan=replace(settings.plan, shared_weights=True))
    prices = [table.select(names) for names in wanted]
    begun = [begin(part, evidence) for part in prices]
    found = []
    for names, (f, at) in zip(wanted, begun, strict=True):
        tell(f"group {'+'.join(names)}")
        found.append(calibrate(f, at, settings, tell))
    done = common_weights(found)
    judged = []
    for names, part, (f, at), one in zip(wanted, prices, begun, done, strict=True):
        tell(f"group {'+'.join(names)}")
        judged.append(judge(part, f, at, one, settings, evidence, tell))
    params = merged(table.assets, wanted, [c.params for c in judged])
    report = {
        "groups": [
            {"assets": list(names), "certificate": c.report}
            for names, c in zip(wanted, judged, strict=True)
        ],
        "worst_book": min(worst_book(c.report, settings.options) for c in judged),
        "split": split(table, wanted, done, settings, evidence),
        "blob_sha256": hashlib.sha256(params.blob).hexdigest(),
    }
    return Grouped(report, params, tuple(judged))


def check_groups(table: PriceTable, groups: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The groups, each in the table's order. Raises `QuantError` unless they share the assets of
    the table out among them."""
    named = [name for group in groups for name in group]
    if sorted(named) != sorted(table.assets) or not all(groups):
        raise QuantError(
            f"groups {' '.join('+'.join(g) for g in groups)}: every one of "
            f"{', '.join(table.assets)} belongs to exactly one group"
        )
    return [tuple(sorted(group, key=table.assets.index)) for group in groups]


def common_weights(found: Sequence[Calibration]) -> list[Calibration]:
    """The calibrations with the largest weight of every scenario."""
    weights = np.max([one.scenarios.weights for one in found], axis=0)
    return [replace(one, scenarios=replace(one.scenarios, weights=weights)) for one in found]


def merged(
    assets: Sequence[str], groups: Sequence[Sequence[str]], parts: Sequence[RiskParams]
) -> RiskParams:
    """One parameter set for the underlyings in the order of `assets`, each with its group."""
    place = {
        name: replace(part.underlyings[i], group=number)
        for number, (names, part) in enumerate(zip(groups, parts, strict=True))
        for i, name in enumerate(names)
    }
    return replace(parts[0], underlyings=tuple(place[name] for name in assets))


def worst_book(report: dict[str, Any], options: bool) -> float:
    """Least coverage that the adversarial search of a certificate found: of an ordinary book."""
    key = "requirement_of_1_percent_of_gross" if options else "linear_scan"
    return float(report["adversary"][key]["worst_covered"])


def split(
    table: PriceTable,
    groups: Sequence[Sequence[str]],
    done: Sequence[Calibration],
    settings: Settings,
    evidence: Evidence,
) -> dict[str, Any]:
    """Coverage and overcharge of the material portfolios of *all* underlyings (float) when each
    group is margined by itself, by archetype; ES of the whole portfolio."""
    f, at = begin(table, evidence)
    start, stop = done[0].rows
    book = make_book(f.implied[at])
    tau = factors.vol_scale(f, start, stop)
    scale = Scale(factors.price_scale(f, at), tau)
    sample = factors.shapes(f, start, stop, tau, every=settings.thin)
    seed = settings.plan.seed + TEST_SEED
    if settings.options:
        sizes, kinds = archetypes.sample_all(book, evidence.portfolios * 3 // 2, seed)
    else:
        sizes = archetypes.linear_directions(book, evidence.portfolios, seed)
        kinds = np.zeros(evidence.portfolios, dtype=np.int64)
    changes = value_changes(book, *factors.shocks(sample, scale), aged=True)
    es = expected_shortfall(sizes, changes, settings.plan.alpha)
    charged = np.zeros(es.size)
    for names, one in zip(groups, done, strict=True):
        mine = np.isin(book.owner, [table.column(name) for name in names])
        # the columns of a book go by underlying, in the table's order, as those of the group do
        moved = scenario_changes(one.book, one.scale, one.scenarios)
        charged += scan(sizes[:, mine], moved, one.scenarios.weights)
    material = es > MATERIAL
    names_of = (*archetypes.ARCHETYPES, archetypes.MIXED)
    return {
        "all": asdict(summarise(charged[material], es[material])),
        "by_archetype": {
            name: asdict(summarise(charged[chosen], es[chosen]))
            for i, name in enumerate(names_of)
            for chosen in [material & (kinds == i)]
            if chosen.any()
        },
    }
