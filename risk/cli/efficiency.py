"""``plumbline efficiency``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import prices
from risk.files import write_text

if TYPE_CHECKING:
    from risk.exact.params.risk_params import RiskParams
    from risk.quant.rolling_margin import Rolling


@dataclass(frozen=True)
class EfficiencyOptions:
    """The options of the command as they came."""

    data: Path | None
    assets: str | None
    rolling: Path | None
    days: int
    per_kind: int
    isolated: bool
    chart: Path | None
    seed: int


def efficiency_command(options: EfficiencyOptions, json: Path | None) -> int:
    """0: compared; 2: the run failed. Being dearer than others is a result, not a failure."""
    return guarded(lambda: _efficiency(options, json))


def _efficiency(options: EfficiencyOptions, json: Path | None) -> int:
    from risk.quant.efficiency import chart, compare, report, rule_sets

    rolling, params = _history(options)
    value = report(compare(rolling, rule_sets(rolling, params), tell))
    if options.chart is not None:
        write_text(options.chart, chart(value))
    write_json(json, value)
    stdout().print(_table(value))
    for line in _worse(value):
        stdout().print(line)
    return 0


def _history(options: EfficiencyOptions) -> tuple[Rolling, dict[int, RiskParams] | None]:
    """Days, portfolios and P&L; with `isolated` also the parameters of every day."""
    from risk.quant.errors import QuantError
    from risk.quant.rolling_margin import read, roll
    from risk.quant.scenarios.calibrate import Settings
    from risk.quant.scenarios.rolling import Rolling as Plan

    if options.rolling is not None:
        if options.isolated:
            raise QuantError("--rolling has no parameters: add --no-isolated")
        return read(options.rolling), None
    from risk.quant.efficiency import parameters

    table = prices(options.data, options.assets, options.seed)
    settings = Settings.quick(options.seed)
    plan = replace(Plan(seed=options.seed + 10), days=options.days, per_kind=options.per_kind)
    rolling = roll(table, settings, plan, tell)
    if not options.isolated:
        return rolling, None
    tell("parameters of every day, for isolated accounts")
    return rolling, parameters(table, settings, plan, tell)


def _table(value: dict[str, Any]) -> Table:
    out = Table(
        "rule set",
        "archetype",
        "capital",
        "exceptions",
        "coverage",
        "Kupiec p",
        "largest, of margin",
        f"capital at {value['alpha']:.0%}",
        "at our coverage",
        title=f"{value['first_day']} to {value['last_day']}, {value['days']} days; capital: mean "
        "requirement of gross notional",
    )
    for name, rule in value["rules"].items():
        for kind, row in rule.items():
            if kind == "curve":
                continue
            share = row["largest_exception_of_margin"]
            scaled = (row["capital_at_equal_coverage"], row["capital_at_our_coverage"])
            out.add_row(
                name if kind == "all" else "",
                kind,
                f"{row['capital']:.2%}",
                f"{row['exceptions']:,} of {row['observations']:,}",
                f"{row['coverage']:.2%}",
                f"{row['kupiec_p_value']:.2g}",
                "" if share is None else f"{share:.0%}",
                *("never" if c is None else f"{c:.2%}" for c in scaled),
            )
    return out


def _worse(value: dict[str, Any]) -> list[str]:
    if not value["worse"]:
        return ["Ours is nowhere worse than another rule set of this list."]
    return [
        f"worse: {row['archetype']}, {row['how']}: {row['rule']} needs "
        f"{-row['their_capital_against_ours']:.0%} less"
        for row in value["worse"]
    ]
