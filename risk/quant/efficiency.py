"""Coverage against capital: our margin and other rule sets on the same days, portfolios and P&L.

A `Rolling` (risk.quant.rolling_margin) fixes days, portfolios and realised P&L; every rule set
gives its requirement for each of them. Two questions are answered apart:

* *as published*: what each rule set requires, and how often a loss exceeded it;
* *at equal coverage*: every requirement times a common factor, the least at which the losses of
  these same days are covered as wanted (99 %), or with no more exceptions than ours as it stands
  (`at our coverage`). That is hindsight, the same for all, and takes a rule set's level out of the
  comparison: what is left is how well it tells risky books from safe ones.

Capital is the mean requirement as a share of gross notional. P&L and requirements are on top of
mark-to-market equity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.params.risk_params import RiskParams
from risk.quant.backtest import coverage, kupiec
from risk.quant.data import PriceTable
from risk.quant.errors import QuantError
from risk.quant.rolling_margin import NOTIONAL_USD, Rolling
from risk.quant.rules.collateral_weights import CollateralWeights
from risk.quant.rules.common import Rule
from risk.quant.rules.cross import Cross
from risk.quant.rules.deribit import Deribit
from risk.quant.rules.derive import Derive
from risk.quant.rules.isolated import Isolated, Standard
from risk.quant.rules.span import Span
from risk.quant.scenarios import exact, factors
from risk.quant.scenarios.calibrate import Settings, calibrate
from risk.quant.scenarios.factors import Scale
from risk.quant.scenarios.fit import ScenarioSet
from risk.quant.scenarios.rolling import Rolling as Plan
from risk.quant.scenarios.rolling import opening_rows, stamp

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

ALPHA: Final = 0.99
FACTORS: Final = np.round(np.geomspace(0.2, 3.2, 49), 4)  # of the chart's lines
OURS: Final = "cross"
SCAN: Final = "cross, Scan alone"  # without Floor and Basis: not a rule set, shows what they cost
ALL: Final = "all"
MARKS: Final = "o.sDv^Pd"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Requirements (R, D, P) in USD of `names`, on the days and portfolios of `rolling`."""

    rolling: Rolling
    names: tuple[str, ...]
    required: Floats


def parameters(
    table: PriceTable, settings: Settings, plan: Plan, tell: Tell = lambda _: None
) -> dict[int, RiskParams]:
    """The parameters in force at every opening, by time: the schedule of `rolling_margin.roll`.

    Refits the shapes, which takes the greater part of a `roll`.
    """
    f = factors.build(table)
    shapes: ScenarioSet | None = None
    scale: Scale | None = None
    out: dict[int, RiskParams] = {}
    for d, t in enumerate(opening_rows(f, plan)):
        if shapes is None or d % plan.refit_days == 0:
            fitted = calibrate(f, t, settings)
            shapes, tau = fitted.scenarios, fitted.scale.vol
            tell(f"{stamp(f.times[t])}: shapes refitted")
        if scale is None or d % plan.update_days == 0:
            scale = factors.step(scale, Scale(factors.price_scale(f, t), tau))
        out[int(f.times[t])] = exact.quantised(shapes, scale, settings.policy)
    return out


def rule_sets(rolling: Rolling, params: Mapping[int, RiskParams] | None = None) -> list[Rule]:
    """Every other rule set; with `params`, ours with each position alone, too."""
    sigma = dict(zip((int(t) for t in rolling.dates), rolling.scales, strict=True))
    rules: list[Rule] = [
        Span(sigma),
        Derive(),
        Deribit(),
        Standard(),
        CollateralWeights(),
    ]
    if params is not None:
        rules.append(Isolated(Cross(params)))
    return rules


def compare(rolling: Rolling, rules: Sequence[Rule], tell: Tell = lambda _: None) -> Comparison:
    """Ours as the history has it, then every rule set on every day."""
    names = (OURS, SCAN, *(rule.name for rule in rules))
    if len(set(names)) != len(names):
        raise QuantError(f"two rule sets have the same name: {', '.join(names)}")
    required = [rolling.margin_usd, rolling.scan_usd]
    for rule in rules:
        tell(f"{rule.name}: {rolling.days} days")
        days = []
        for d in range(rolling.days):
            market = rolling.market(d)
            days.append(rule.margin(market, market.sizes_usd))
        required.append(np.array(days))
    stacked = np.array(required)
    if not (np.isfinite(stacked).all() and (stacked >= 0.0).all()):
        raise QuantError("a requirement is negative or not a number")
    return Comparison(rolling, names, stacked)


def needed_factor(loss: Floats, required: Floats, allowed: int) -> float | None:
    """Least common factor of the requirements that at most `allowed` of the losses exceed.

    None where more losses than that meet a requirement of 0.
    """
    flat, need = loss.ravel(), required.ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(flat <= 0.0, 0.0, flat / need)  # inf where nothing is required
    least = float(np.sort(ratio)[ratio.size - 1 - allowed])
    return least if np.isfinite(least) else None


def figures(loss: Floats, required: Floats, ours: int, alpha: float = ALPHA) -> dict[str, Any]:
    """One rule set on one archetype, (D, P) USD; `ours`: exceptions of our own requirement."""
    whole = coverage(loss.ravel(), required.ravel(), alpha)
    capital = float(required.mean()) / NOTIONAL_USD
    equal = needed_factor(loss, required, int(np.floor((1.0 - alpha) * loss.size + 1e-9)))
    same = needed_factor(loss, required, ours)
    beyond = loss - required
    worst = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    held = float(required[worst])
    return {
        **asdict(whole),
        "kupiec_p_value": kupiec(whole.observations, whole.exceptions, 1.0 - alpha).p_value,
        "capital": capital,
        "largest_exception_of_margin": (
            float(beyond[worst]) / held if beyond[worst] > 0.0 and held > 0.0 else None
        ),
        "capital_at_equal_coverage": None if equal is None else equal * capital,
        "capital_at_our_coverage": None if same is None else same * capital,
    }


def curve(loss: Floats, required: Floats) -> list[list[float]]:
    """[capital, coverage] at each of `FACTORS`."""
    capital = float(required.mean()) / NOTIONAL_USD
    return [[float(f) * capital, float(np.mean(loss <= f * required))] for f in FACTORS]


def report(found: Comparison, alpha: float = ALPHA) -> dict[str, Any]:
    """JSON value: the figures of every rule set, by archetype and for all, and where ours is
    worse."""
    rolling = found.rolling
    kinds: dict[str, NDArray[np.int64]] = {ALL: np.arange(rolling.kinds.size)}
    kinds |= {name: rolling.columns(name) for name in rolling.archetypes}
    mine = rolling.loss_usd > found.required[found.names.index(OURS)]
    rules: dict[str, Any] = {}
    for name, required in zip(found.names, found.required, strict=True):
        rules[name] = {
            kind: figures(rolling.loss_usd[:, at], required[:, at], int(mine[:, at].sum()), alpha)
            for kind, at in kinds.items()
        }
        everything = kinds[ALL]
        rules[name]["curve"] = curve(rolling.loss_usd[:, everything], required[:, everything])
    return {
        "first_day": stamp(rolling.dates[0]),
        "last_day": stamp(rolling.dates[-1]),
        "days": rolling.days,
        "alpha": alpha,
        "assets": list(rolling.assets),
        "data_sha256": rolling.about.get("data_sha256"),
        "notional_usd": NOTIONAL_USD,
        "rules": rules,
        "worse": worse(rules, list(kinds)),
    }


def worse(rules: Mapping[str, Any], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Where another rule set beats ours: `as published` (no more exceptions for less capital),
    `at equal coverage` and `at our coverage` (less capital, each scaled to the same coverage)."""
    out: list[dict[str, Any]] = []
    for kind in kinds:
        ours = rules[OURS][kind]
        for name, theirs in rules.items():
            if name in (OURS, SCAN):
                continue
            other = theirs[kind]
            if other["exceptions"] <= ours["exceptions"] and other["capital"] < ours["capital"]:
                gain = other["capital"] / ours["capital"] - 1.0
                out.append(_worse(kind, name, "as published", gain))
            for how in ("at equal coverage", "at our coverage"):
                key = f"capital_{how.replace(' ', '_')}"
                mine, its = ours[key], other[key]
                if mine is not None and its is not None and its < mine:
                    out.append(_worse(kind, name, how, its / mine - 1.0))
    return out


def _worse(kind: str, rule: str, how: str, gain: float) -> dict[str, Any]:
    return {"archetype": kind, "rule": rule, "how": how, "their_capital_against_ours": gain}


def chart(value: Mapping[str, Any]) -> str:
    """The one chart as SVG text: share of losses not covered against capital, log scale. Lines:
    each rule set times a factor; marks: as published. Same value, same bytes."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    settings = {"svg.hashsalt": "plumbline", "svg.fonttype": "none", "font.size": 9.0}
    observations = value["rules"][OURS][ALL]["observations"]
    none = 0.3 / observations  # where no exception at all is drawn
    with plt.rc_context(settings):
        figure, axes = plt.subplots(figsize=(8.0, 5.0))
        for i, (name, rule) in enumerate(value["rules"].items()):
            xs, ys = zip(*rule["curve"], strict=True)
            wide, order = (2.4, 3) if name == OURS else (1.2, 2)
            short = [max(1.0 - y, none) for y in ys]
            axes.plot(xs, short, linewidth=wide, color=f"C{i}", zorder=order)
            axes.plot(
                [rule[ALL]["capital"]],
                [max(1.0 - rule[ALL]["coverage"], none)],
                MARKS[i % len(MARKS)],
                color=f"C{i}",
                label="cross (ours)" if name == OURS else name,
                zorder=4,
            )
        axes.axhline(1.0 - value["alpha"], color="0.5", linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
        axes.set_xticks(ticks, [f"{x:.0%}" for x in ticks])
        shares = [s for s in (0.1, 0.01, 0.001, 0.0001) if s > 2.0 * none]
        axes.set_yticks([*shares, none], [*(f"{100.0 * s:g} %" for s in shares), "none"])
        axes.minorticks_off()
        axes.set_xlabel("capital: mean requirement, share of gross notional")
        axes.set_ylabel("losses beyond the requirement")
        axes.set_title(
            f"Coverage against capital, {value['first_day']} to {value['last_day']}, "
            f"{observations:,} observations",
            fontsize=10,
        )
        axes.grid(True, linewidth=0.3, color="0.85")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.06))
        figure.tight_layout()
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        plt.close(figure)
    return out.getvalue()
