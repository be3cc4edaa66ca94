"""``plumbline calibrate``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import prices

if TYPE_CHECKING:
    from risk.quant.data import PriceTable
    from risk.quant.scenarios.calibrate import Settings
    from risk.quant.scenarios.certificate import Evidence


@dataclass(frozen=True)
class CalibrateOptions:
    """The options of the command as they came."""

    data: Path | None
    assets: str | None
    certificate: Path | None
    backtest: Path | None
    portfolios: int
    starts: int
    holdout_days: int
    linear_only: bool
    quick: bool
    seed: int
    on_chain: bool = False
    groups: tuple[str, ...] = ()


def calibrate_command(options: CalibrateOptions, json: Path | None) -> int:
    """0: at least 99.9 % of the hold-out portfolios are covered, and the contracts, if asked, agree
    with the model on every one of them; with groups also the worst book found by 0.95; 1: not so;
    2: the run failed."""
    return guarded(lambda: _calibrate(options, json))


def _calibrate(options: CalibrateOptions, json: Path | None) -> int:
    from risk.quant.scenarios.certificate import Evidence, certify
    from risk.quant.scenarios.rolling import Rolling, run, summary

    if options.on_chain:
        from risk.quant.scenarios.on_chain import certify_on_chain, require_tools

        require_tools()
    table = prices(options.data, options.assets, options.seed)
    settings = _settings(options)
    evidence = Evidence(options.portfolios, options.starts, options.holdout_days)
    if options.groups:
        return _by_group(table, options, settings, evidence, json)
    certified = certify(table, settings, evidence, tell)
    report = certified.report
    if options.on_chain:
        report["on_chain"] = certify_on_chain(certified, settings.plan.alpha, tell)
    write_json(options.certificate, report)
    result: dict[str, Any] = {"certificate": report}
    stdout().print(_coverage_table(report))
    agreed = not options.on_chain or _agreed(report["on_chain"])
    if options.backtest is not None:
        history = run(table, _quick(options), Rolling(seed=options.seed + 10), tell)
        result["backtest"] = summary(history)
        write_json(options.backtest, result["backtest"])
        stdout().print(_backtest_table(result["backtest"]))
    write_json(json, result)
    exact = report["exact_scan"]["hold_out_portfolios"]
    return 0 if exact["covered"] >= 0.999 and agreed else 1


def _by_group(
    table: PriceTable,
    options: CalibrateOptions,
    settings: Settings,
    evidence: Evidence,
    json: Path | None,
) -> int:
    from risk.cli.calibrate_groups import calibrate_groups
    from risk.quant.errors import QuantError

    if options.backtest is not None:
        raise QuantError("--backtest takes one group; leave --group out, or name it with --assets")
    files = (options.certificate, json)
    return calibrate_groups(
        table, options.groups, settings, evidence, files, options.on_chain, tell
    )


def _agreed(report: dict[str, Any]) -> bool:
    """Says what the contracts answered; whether all of it is what the model has."""
    seconds = sum(report["seconds"].values())
    stdout().print(
        f"on chain: {report['portfolios']:,} portfolios, {len(report['not_zero'])} fields each, "
        f"{report['differences']} differences from the model; {seconds:.0f} s"
    )
    if report["differences"]:
        tell(f"chain and model differ: {report['first_difference']}")
    return not report["differences"]


def _quick(options: CalibrateOptions) -> Settings:
    from risk.quant.scenarios.calibrate import Settings

    return Settings.quick(options.seed)


def _settings(options: CalibrateOptions) -> Settings:
    from risk.quant.scenarios.calibrate import Settings

    base = _quick(options) if options.quick else Settings()
    return replace(
        base, plan=replace(base.plan, seed=options.seed), options=not options.linear_only
    )


def _coverage_table(report: dict[str, Any]) -> Table:
    out = Table(
        "portfolios",
        "number",
        "covered",
        "mean overcharge",
        "of the sum",
        "p99",
        "worst ratio",
        title=f"scenario set of {report['scenarios']['count']}, "
        f"{' '.join(report['data']['assets'])}, {report['data']['margin_period_hours']} h",
    )
    exact = report["exact_scan"]
    rows = [("hold-out, exact Scan", exact["hold_out_portfolios"])]
    rows += [(f"  {name}", item) for name, item in exact["by_archetype"].items()]
    if "on_chain" in report:
        rows.append(("hold-out, Scan of the contracts", report["on_chain"]["scan"]))
    rows += [
        ("all, max(Scan, Floor) + Basis", report["exact_requirement"]),
        ("perps, every direction", report["float_scan"]["linear"]),
        ("hold-out period", report["float_scan"]["hold_out_period"]),
        ("hold-out period, perps", report["float_scan"]["hold_out_period_linear"]),
    ]
    for name, item in rows:
        out.add_row(
            name,
            f"{item['portfolios']:,}",
            f"{item['covered']:.2%}",
            f"{item['mean_overcharge']:.1%}",
            f"{item['aggregate_overcharge']:.1%}",
            f"{item['p99_overcharge']:.0%}",
            f"{item['worst']:.3f}",
        )
    for name, item in report["adversary"].items():
        label = f"worst of {item['starts']} starts: {name.replace('_', ' ')}"
        out.add_row(label, "", "", "", "", "", f"{item['worst_covered']:.3f}")
    return out


def _backtest_table(report: dict[str, Any]) -> Table:
    out = Table(
        "archetype",
        "observations",
        "exceptions",
        "coverage",
        "Kupiec p",
        "largest exception",
        "of margin",
        "day",
        "Scan alone: exceptions",
        title=f"margin backtest {report['first_day']} to {report['last_day']}, "
        f"{report['days']} days, against {report['alpha']:.0%}",
    )
    for row in report["archetypes"]:
        mm, scan = row["mm"], row["scan"]
        share = mm["largest_exception_of_margin"]
        out.add_row(
            row["archetype"],
            f"{mm['observations']:,}",
            str(mm["exceptions"]),
            f"{mm['coverage']:.2%}",
            f"{mm['kupiec_p_value']:.3g}",
            f"{mm['largest_exception']:.4f}",
            "" if share is None else f"{share:.0%}",
            mm["largest_exception_day"] or "",
            str(scan["exceptions"]),
        )
    return out
