"""Every part of the report as one JSON value, from the functions that the commands use.

A part that cannot be had is `{"missing": reason}` and stands in the report as such; only faults of
the input itself end the run. Amounts of the exact engine are decimal strings; figures of the quant
world are floats. Losses are positive, `alpha` is the confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

import numpy as np

from risk.errors import PlumblineError
from risk.exact.params.risk_params import RiskParams
from risk.quant import book_var, correlation, efficiency, stress_tests, volatility
from risk.quant.clearing import disclose
from risk.quant.errors import QuantError
from risk.quant.exposures import measure_exposures
from risk.quant.holdings import Holding
from risk.quant.replay import hashes, make
from risk.quant.report.inputs import (
    Inputs,
    as_portfolio,
    largest_account,
    nets_to_zero,
    plain,
    today,
)
from risk.quant.report.summary import summary
from risk.quant.restrict import subset
from risk.quant.rolling_margin import Rolling, roll
from risk.quant.scenarios import factors
from risk.quant.scenarios.calibrate import Settings
from risk.quant.scenarios.rolling import Rolling as Plan
from risk.quant.threads import one_thread
from risk.quant.whatif import (
    Effect,
    Measure,
    View,
    cash,
    compare,
    expected_bad_debt,
    shocked,
    with_params,
)

Tell = Callable[[str], None]

FORMAT: Final = "plumbline report 1"
ALPHA: Final = 0.99
TAIL: Final = 0.05
CURVE_POINTS: Final = 180  # of the volatility figure
PERIODS_PER_YEAR: Final = 365


def collect(inputs: Inputs, tell: Tell = lambda _: None) -> dict[str, Any]:
    """The whole value; the same inputs give the same value, whatever the number of cores."""
    with one_thread():
        return _collect(inputs, tell)


def _collect(inputs: Inputs, tell: Tell) -> dict[str, Any]:
    measure = None if inputs.book is None else Measure(inputs.book)
    before = None if measure is None else measure.view()
    rolling = inputs.rolling

    def book(part: Callable[[Measure, View], dict[str, Any]]) -> dict[str, Any]:
        if measure is None or before is None:
            raise QuantError(inputs.no_book)
        return part(measure, before)

    def history() -> Rolling:
        nonlocal rolling
        rolling = rolling or _roll(inputs, tell)
        return rolling

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "volatility": lambda: _volatility(inputs),
        "var": lambda: _var(inputs),
        "backtest": lambda: _backtest(history()),
        "efficiency": lambda: _efficiency(history(), tell),
        "margin": lambda: book(_margin),
        "stress": lambda: book(lambda m, v: _stress(inputs, m)),
        "heatmap": lambda: book(lambda m, v: stress_tests.heatmap(m).to_json()),
        "what_if": lambda: book(lambda m, v: _what_if(inputs, m, v)),
        "exposures": lambda: book(lambda m, v: measure_exposures(m).totals()),
        "recommendation": lambda: _recommendation(inputs, measure, before, tell),
    }
    value: dict[str, Any] = {
        "format": FORMAT,
        "date": inputs.date,
        "seed": inputs.seed,
        "alpha": ALPHA,
        "data": _data(inputs),
        "reproduction": {
            "hashes": hashes(inputs.table),
            "files": [dict(f) for f in inputs.files],
            "commands": list(inputs.commands),
            "sizes": asdict(inputs.sizes),
        },
    }
    for name, part in parts.items():
        tell(f"report: {name.replace('_', ' ')}")
        try:
            value[name] = part()
        except PlumblineError as error:
            value[name] = {"missing": str(error)}
            tell(f"report: {name.replace('_', ' ')} is missing: {error}")
    value = dict(plain(value))
    value["summary"] = summary(value)
    return value


# ------------------------------------------------------------------------------------------ market


def _data(inputs: Inputs) -> dict[str, Any]:
    table, about = inputs.table, None
    if inputs.book is not None:
        about = dict(inputs.book.about)
        about["time"] = stamp(about["time"])
        about.pop("left_out", None)  # in words below
    return {
        "source": table.source,
        "sha256": table.sha256(),
        "assets": list(table.assets),
        "rows": len(table.times),
        "step_seconds": table.step_seconds,
        "first": stamp(table.times[0]),
        "last": stamp(table.times[-1]),
        "fields": sorted(table.fields),
        "notices": list(table.notices),
        "last_prices": dict(zip(table.assets, table.close[-1].tolist(), strict=True)),
        "generated": list(inputs.generated),
        "left_out": list(inputs.left_out),
        "book": about,
    }


def _volatility(inputs: Inputs) -> dict[str, Any]:
    """By asset: forecasts a year in per cent of 1, the scale of the margin; dependence of days."""
    f = factors.build(inputs.table)
    at, year = len(f.times) - 1, float(np.sqrt(PERIODS_PER_YEAR))
    daily = inputs.table.log_returns()[: (len(f.times) - 1) // 24 * 24]
    daily = daily.reshape(-1, 24, daily.shape[1]).sum(axis=1)
    scale = factors.price_scale(f, at)
    done = f.move[max(0, at - factors.LOOK_BACK) : at + 1 - factors.PERIOD]
    floor = np.sqrt(np.mean(done**2, axis=0))
    rows = []
    for j, asset in enumerate(f.assets):
        try:
            garch: dict[str, Any] = {
                "sigma": volatility.fit_arch(daily[:, j], "gjr").next_sigma * year
            }
        except QuantError as error:
            garch = {"missing": str(error)}
        rows.append(
            {
                "asset": asset,
                "ewma": float(f.sigma[at, j]) * year,
                "garch": garch,
                "long_run": float(daily[:, j].std()) * year,
                "lowest": float(f.sigma[f.first :, j].min()) * year,
                "highest": float(f.sigma[f.first :, j].max()) * year,
                "margin_scale": float(scale[j]) * year,
                "floor_binds": bool(scale[j] <= floor[j]),
            }
        )
    picked = np.unique(np.linspace(f.first, at, CURVE_POINTS).astype(np.int64))
    out: dict[str, Any] = {
        "days": len(daily),
        "rows": rows,
        "times": [stamp(f.times[t])[:10] for t in picked],
        "curves": [
            [round(float(v) * year, 5) for v in f.sigma[picked, j]] for j in range(len(rows))
        ],
    }
    if len(rows) > 1:
        shrunk = correlation.ledoit_wolf(daily)
        out["shrinkage"] = shrunk.intensity
        out["correlation"] = correlation.to_correlation(shrunk.covariance)
        recent = correlation.ewma_covariance(daily, 0.97)[-1]
        out["correlation_now"] = correlation.to_correlation(recent)
        out["tail_dependence"] = correlation.tail_dependence(daily, TAIL)
        out["tail_level"] = TAIL
    return out


def _var(inputs: Inputs) -> dict[str, Any]:
    held, of, now = _portfolio(inputs)
    unknown = sorted({h.asset for h in held} - set(inputs.table.assets))
    if unknown:
        raise QuantError(f"no prices of {', '.join(unknown)}, which the book holds")
    settings = book_var.Settings(
        alpha=ALPHA,
        paths=inputs.sizes.paths,
        repetitions=inputs.sizes.repetitions,
        seed=inputs.seed,
    )
    s = book_var.sample(inputs.table, held, settings, now)
    return {
        "of": of,
        "positions": len(held),
        "gross_notional": s.book.gross,
        "deltas": dict(zip(inputs.table.assets, s.book.deltas().tolist(), strict=True)),
        "horizon_hours": settings.horizon,
        "confidence": settings.confidence,
        "alpha": settings.alpha,
        "methods": [m.to_json() for m in book_var.measure(s, settings)],
    }


def _portfolio(
    inputs: Inputs,
) -> tuple[tuple[Holding, ...], str | None, book_var.Today | None]:
    """(positions that VaR is about, the account whose they are, where they stand).

    All accounts together, except where positions sum to zero, as on a chain: then all of them risk
    their collateral and nothing else, and the account with the largest maintenance margin is the
    one to know about. None for the account: all of them.
    """
    book = inputs.book
    if inputs.portfolio or book is None:
        return inputs.portfolio, None, None
    at = None if book.about.get("source") != "chain" else today(book, inputs.table.assets)
    if not nets_to_zero(book):
        return as_portfolio(book), None, at
    largest = largest_account(book)
    return as_portfolio(book, (largest,)), book.label(largest), at


# --------------------------------------------------------------------------------------- backtests


def _roll(inputs: Inputs, tell: Tell) -> Rolling:
    """The last days of the prices; everything before them is there to learn from."""
    sizes, base = inputs.sizes, Plan(seed=inputs.seed + 10)
    there = (len(inputs.table.times) - factors.WARM_UP) // 24 - sizes.days - 1
    plan = replace(
        base,
        train_days=max(base.train_days, there),
        days=sizes.days,
        refit_days=sizes.refit_days,
        per_kind=sizes.per_kind,
    )
    return roll(inputs.table, Settings.quick(inputs.seed), plan, tell)


def _backtest(rolling: Rolling) -> dict[str, Any]:
    """In clearing form, and the largest share of its margin that a portfolio lost, day by day."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(rolling.margin_usd > 0.0, rolling.loss_usd / rolling.margin_usd, np.nan)
    curves = {}
    for name in rolling.archetypes:
        mine = share[:, rolling.columns(name)]
        worst = np.max(np.where(np.isfinite(mine), mine, -np.inf), axis=1)
        curves[name] = [round(float(v), 4) if np.isfinite(v) else None for v in worst]
    return {
        "about": rolling.about,
        "dates": [stamp(t)[:10] for t in rolling.dates],
        "worst_share": curves,
        "margin": disclose(rolling, alpha=ALPHA).to_json(),
        "hourly": disclose(rolling, alpha=ALPHA, hourly=True).to_json(),
        "scan_alone": disclose(rolling, rolling.scan_usd, ALPHA).to_json(),
    }


def _efficiency(rolling: Rolling, tell: Tell) -> dict[str, Any]:
    return efficiency.report(
        efficiency.compare(rolling, efficiency.rule_sets(rolling), tell), ALPHA
    )


# -------------------------------------------------------------------------------------- whole book


def _margin(measure: Measure, view: View) -> dict[str, Any]:
    """The book as it is: totals, and which scenario decides the margin of how many accounts."""
    state = measure.book.state
    known = [int(i) for i in view.known()]
    mm = view.margins.values("mm")
    scan = view.margins.values("scan")
    floor = view.margins.values("floor_charge")
    binding: Counter[int] = Counter()
    weight: Counter[int] = Counter()
    by_floor = 0
    for i in known:
        if mm[i] == 0:
            continue
        number = int(view.margins.binding[i])
        binding[number] += 1
        weight[number] += mm[i]
        by_floor += floor[i] > scan[i]
    params = state.params
    rows = []
    for number, count in sorted(binding.items(), key=lambda x: (-weight[x[0]], x[0]))[:8]:
        row: dict[str, Any] = {"scenario": number, "accounts": count, "mm": cash(weight[number])}
        if number >= 0 and params is not None:
            row["weight_bps"] = params.weights_bps[number]
            row["price_moves"] = {
                n: f"{Decimal(u.price_lanes[number] * u.price_unit_e6) / 10**6:f}"
                for n, u in zip(measure.book.underlyings, params.underlyings, strict=True)
            }
            row["vol_moves"] = {
                n: f"{Decimal(u.vol_lanes[number] * u.vol_unit_e6) / 10**6:f}"
                for n, u in zip(measure.book.underlyings, params.underlyings, strict=True)
            }
        rows.append(row)
    return {
        "now": view.summary(),
        "margined": sum(binding.values()),
        "floor_above_scan": by_floor,
        "sums": {
            name: cash(sum(view.margins.values(name)[i] for i in known))
            for name in ("scan", "floor_charge", "basis", "liq", "mm", "im")
        },
        "binding": rows,
    }


def _stress(inputs: Inputs, measure: Measure) -> dict[str, Any]:
    among = [stress_tests.measured(s, inputs.table) for s in stress_tests.named()]
    if inputs.generated:  # a generated day is not the day of the report
        among = list(stress_tests.named())
    return {"rows": [o.to_json(0) for o in stress_tests.run(measure, among)]}


def _what_if(inputs: Inputs, measure: Measure, before: View) -> dict[str, Any]:
    prices, vols = inputs.moves
    after = shocked(measure.book.state, prices, vols)
    effect = compare(measure, after, before)
    return {
        "moves": {name: f"{move:f}" for name, move in inputs.what_if.items()},
        **effect.to_json(inputs.sizes.names),
        "expected_now": _expected(inputs, measure, before.state),
        "expected_after": _expected(inputs, measure, after),
    }


def _expected(inputs: Inputs, measure: Measure, state: Any) -> dict[str, Any]:
    """Mean bad debt over the last daily moves of the prices, from `state`."""
    table, names = inputs.table, measure.book.underlyings
    hours = 24 * 3600 // table.step_seconds
    returns = table.simple_returns(hours)[::-hours][: inputs.sizes.debt_days][::-1]
    known = {name: table.column(name) for name in names if name in table.assets}
    moves = [
        [Decimal(f"{(row[known[name]] if name in known else row.mean()):.6f}") for name in names]
        for row in returns
    ]
    mean, debts = expected_bad_debt(measure, state, moves)
    return {
        "days": len(debts),
        "mean": cash(int(mean)),
        "worst": cash(max(debts)),
        "days_with_any": sum(d > 0 for d in debts),
        "without_prices": [name for name in names if name not in known],
    }


# ---------------------------------------------------------------------------------- recommendation


def _recommendation(
    inputs: Inputs, measure: Measure | None, before: View | None, tell: Tell
) -> dict[str, Any]:
    """The file of `plumbline recommend`, and its effect on the book of this report."""
    if inputs.request is None:
        raise QuantError(inputs.no_request)
    file = make(inputs.request, inputs.table, tell)
    effect: dict[str, Any] = {"missing": inputs.no_book}
    if measure is not None:
        whole = RiskParams.decode(bytes.fromhex(file["outcome"]["blob"].removeprefix("0x")))
        proposed = whole if inputs.columns is None else subset(whole, inputs.columns)
        try:
            after = with_params(measure.book.state, proposed)
            found: Effect = compare(measure, after, before)
            effect = found.to_json(inputs.sizes.names)
        except QuantError as error:
            effect = {"missing": str(error)}
    return {"file": file, "effect": effect, "underlyings": list(inputs.listed)}


def stamp(time: int | np.int64) -> str:
    """ISO, UTC, to the minute."""
    return datetime.fromtimestamp(int(time), timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
