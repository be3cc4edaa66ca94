"""``plumbline backtest``."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from risk.cli.output import guarded, stdout, tell, write_json
from risk.cli.price_source import prices

if TYPE_CHECKING:
    from risk.quant.clearing import Disclosure, EventRow
    from risk.quant.rolling_margin import Rolling

GENERATED_HOURS = 24 * 640


@dataclass(frozen=True)
class BacktestOptions:
    """The options of the command as they came."""

    data: Path | None
    assets: str | None
    days: int
    train_days: int
    refit_days: int
    per_kind: int
    alpha: float
    thorough: bool
    event: str | None
    save: Path | None
    load: Path | None
    seed: int


def backtest_command(options: BacktestOptions, json: Path | None) -> int:
    """0: no archetype's coverage is short; 1: one is; 2: the run failed."""
    return guarded(lambda: _backtest(options, json))


def _backtest(options: BacktestOptions, json: Path | None) -> int:
    from risk.quant.clearing import disclose, event
    from risk.quant.rolling_margin import read
    from risk.quant.var import check_alpha

    alpha = check_alpha(options.alpha)
    _check_day(options.event)
    rolling = read(options.load) if options.load is not None else _run(options)
    end = disclose(rolling, alpha=alpha)
    hourly = disclose(rolling, alpha=alpha, hourly=True)
    scan = disclose(rolling, rolling.scan_usd, alpha)
    out: dict[str, Any] = {
        "about": rolling.about,
        "sum_of_margins_usd": _decimal(sum(rolling.margin_wad)),
        "margin": end.to_json(),
        "hourly": hourly.to_json(),
        "scan_alone": scan.to_json(),
        "scales": _scales(rolling),
    }
    stdout().print(_table(end, "loss at the end of the margin period against MM"))
    stdout().print(_table(hourly, "largest loss at a full hour of the margin period against MM"))
    if options.event is not None:
        rows = event(rolling, options.event), event(rolling, options.event, hourly=True)
        out["event"] = {
            "day": options.event,
            "margin": [_event_json(row) for row in rows[0]],
            "hourly": [_event_json(row) for row in rows[1]],
        }
        stdout().print(_event_table(options.event, *rows))
    if options.save is not None:
        rolling.write(options.save)
    write_json(json, out)
    for name, disclosure in (("end of the period", end), ("worst hour", hourly)):
        short = ", ".join(disclosure.short) or "no archetype"
        stdout().print(f"coverage short of {alpha:.1%} at the {name}: {short}")
    return 1 if end.short else 0


def _run(options: BacktestOptions) -> Rolling:
    from risk.quant.rolling_margin import roll
    from risk.quant.scenarios.calibrate import Settings
    from risk.quant.scenarios.rolling import Rolling as Plan

    table = prices(options.data, options.assets, options.seed, GENERATED_HOURS)
    plan = Plan(
        train_days=options.train_days,
        days=options.days,
        refit_days=options.refit_days,
        per_kind=options.per_kind,
        seed=options.seed + 10,
    )
    settings = Settings.quick(options.seed)
    if options.thorough:
        base = Settings()
        settings = replace(base, plan=replace(base.plan, seed=options.seed))
    return roll(table, settings, plan, tell)


def _check_day(day: str | None) -> None:
    """Before a run of minutes, not after it."""
    from risk.quant.errors import QuantError

    try:
        date.fromisoformat(day or "2025-10-10")
    except ValueError:
        raise QuantError(f"--event {day!r} is not a date such as 2025-10-10") from None


def _event_json(row: EventRow) -> dict[str, Any]:
    """JSON has no infinity: None for a loss without margin, or without one to compare."""
    share = row.loss_of_margin if math.isfinite(row.loss_of_margin) else None
    return {**asdict(row), "loss_of_margin": share}


def _decimal(wad: int) -> str:
    sign, size = "-" if wad < 0 else "", abs(wad)
    return f"{sign}{size // 10**18}.{size % 10**18:018d}"


def _scales(rolling: Rolling) -> dict[str, Any]:
    pace = rolling.scales[1:] / rolling.scales[:-1] - 1.0
    return {
        "largest_increase": float(pace.max(initial=0.0)),
        "largest_decrease": float(pace.min(initial=0.0)),
        "peak_to_trough": [float(p) for p in rolling.scales.max(0) / rolling.scales.min(0)],
    }


def _table(disclosure: Disclosure, title: str) -> Table:
    out = Table(
        title=f"{title}, {disclosure.first_day} to {disclosure.last_day}, {disclosure.days} days,"
        f" {disclosure.alpha:.1%}; sizes in USD",
    )
    for name in (
        "archetype",
        "obs.",
        "exceptions",
        "days",
        "coverage",
        "Kupiec p",
        "largest",
        "of margin",
        "day",
        "average",
        "mean margin",
        "worst single",
        "verdict",
    ):
        out.add_column(name, no_wrap=True)
    for row in disclosure.rows:
        share = row.largest_exception_of_margin
        out.add_row(
            row.archetype,
            f"{row.observations:,}",
            str(row.exceptions),
            str(row.days_with_exception),
            f"{row.coverage:.2%}",
            f"{row.kupiec_p_value:.2g}",
            f"{row.largest_exception_usd:,.0f}",
            "" if share is None else f"{share:.0%}",
            row.largest_exception_day or "",
            f"{row.average_exception_usd:,.0f}",
            f"{row.mean_margin_usd:,.0f}",
            f"{row.single.exceptions}, {row.single.zone}",
            row.verdict,
        )
    return out


def _event_table(day: str, end: tuple[EventRow, ...], hourly: tuple[EventRow, ...]) -> Table:
    out = Table(
        "archetype",
        "portfolios",
        "exceptions",
        "worst loss of margin",
        "exceptions, hourly",
        "worst loss of margin, hourly",
        title=f"the margin period that opens on {day}",
    )
    for a, b in zip(end, hourly, strict=True):
        out.add_row(
            a.archetype,
            str(a.portfolios),
            str(a.exceptions),
            f"{a.loss_of_margin:.0%}",
            str(b.exceptions),
            f"{b.loss_of_margin:.0%}",
        )
    return out
