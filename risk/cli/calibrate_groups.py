"""``plumbline calibrate --group``: one scenario set for each group of underlyings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.output import stdout, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from risk.quant.data import PriceTable
    from risk.quant.scenarios.calibrate import Settings
    from risk.quant.scenarios.certificate import Evidence

COVERED = 0.999


def calibrate_groups(
    table: PriceTable,
    groups: Sequence[str],
    settings: Settings,
    evidence: Evidence,
    files: tuple[Path | None, Path | None],
    on_chain: bool,
    tell: Callable[[str], None],
) -> int:
    """`files`: certificate and result. `on_chain`: every group's set in a vault of its own.

    0: in every group at least 99.9 % of the hold-out portfolios are covered, the worst book found
    by 0.95, and the contracts agree with the model; 1: not so.
    """
    from risk.quant.scenarios.groups import NOT_BELOW, certify_groups

    named = [[name.strip() for name in group.split(",")] for group in groups]
    done = certify_groups(table, named, settings, evidence, tell)
    differences = 0
    for one in done.groups if on_chain else ():
        from risk.quant.scenarios.on_chain import certify_on_chain

        one.report["on_chain"] = certify_on_chain(one, settings.plan.alpha, tell)
        differences += one.report["on_chain"]["differences"]
    report = done.report | {"parameters": {"blob": "0x" + done.params.blob.hex()}}
    report |= {"evidence": asdict(evidence)}
    certificate, result = files
    write_json(certificate, report)
    write_json(result, {"certificate": report})
    stdout().print(groups_table(report))
    covered = [one["certificate"]["exact_scan"]["hold_out_portfolios"] for one in report["groups"]]
    good = all(item["covered"] >= COVERED for item in covered)
    if differences:
        tell(f"{differences} margins of the contracts differ from the model")
    return 0 if good and report["worst_book"] >= NOT_BELOW and not differences else 1


def groups_table(report: dict[str, Any]) -> Table:
    """Coverage, overcharge and worst book of each group, and what the split costs."""
    out = Table(
        "group",
        "portfolios",
        "covered",
        "mean overcharge",
        "of the sum",
        "p99",
        "worst perps",
        "worst book, ≥ 3 % of gross",
        "≥ 1 %",
        title="scenario sets by group",
    )
    for one in report["groups"]:
        item = one["certificate"]["exact_scan"]["hold_out_portfolios"]
        adversary = one["certificate"]["adversary"]
        out.add_row(
            " ".join(one["assets"]),
            *spread(item),
            *(
                f"{adversary[key]['worst_covered']:.3f}"
                for key in (
                    "linear_scan",
                    "requirement_of_3_percent_of_gross",
                    "requirement_of_1_percent_of_gross",
                )
            ),
        )
    out.add_row("all underlyings, sum of groups", *spread(report["split"]["all"]), "", "", "")
    return out


def spread(item: dict[str, Any]) -> tuple[str, ...]:
    """Number, coverage and overcharge of one summary."""
    return (
        f"{item['portfolios']:,}",
        f"{item['covered']:.2%}",
        f"{item['mean_overcharge']:.1%}",
        f"{item['aggregate_overcharge']:.1%}",
        f"{item['p99_overcharge']:.0%}",
    )
