"""The drawings, as SVG elements to be put inside a page.

Text stays text (`svg.fonttype` none), ids come from a fixed salt and carry the name of the drawing,
colours are the page's custom properties, so that one drawing serves light, dark and print. Series
differ by dash and mark as well as by colour. The same value gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Any, Final

from risk.quant.efficiency import ALL, OURS, SCAN
from risk.quant.report.summary import money, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH: Final = 7.6  # inches; the page scales it
SERIES: Final = tuple(f"#a1b2c{i}" for i in range(8))
FRONT, MUTED, LINE, BAD = "#a1b2f0", "#a1b2f1", "#a1b2f2", "#a1b2f3"
_PROPERTIES: Final = {
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES)},
    FRONT: "var(--text)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BAD: "var(--bad)",
}
DASHES: Final = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 2.5)), (0, (8, 3)))
MARKS: Final = "osD^vPX*"
LOSS, GAIN = (224, 130, 20), (94, 135, 200)  # of the heat map, at their strongest
CELL_TEXT: Final = "#14171a"


@dataclass(frozen=True)
class Drawing:
    """`svg`: one element; `alt` is in it as its description."""

    svg: str
    alt: str


def drawings(value: Mapping[str, Any]) -> dict[str, Drawing]:
    """By name, of the parts that are there."""
    makers: Mapping[str, Callable[[Mapping[str, Any]], Drawing]] = {
        "volatility": _volatility,
        "var": _var,
        "backtest": _backtest,
        "stress": _stress,
        "heatmap": _heatmap,
        "efficiency": _efficiency,
    }
    return {n: make(value[n]) for n, make in makers.items() if "missing" not in value[n]}


@contextmanager
def _canvas(rows: int, columns: int, height: float, **more: Any) -> Iterator[tuple[Any, Any]]:
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "svg.hashsalt": "plumbline report",
        "svg.fonttype": "none",
        "font.size": 9.5,
        "font.family": "sans-serif",
        "text.color": FRONT,
        "axes.labelcolor": FRONT,
        "axes.edgecolor": MUTED,
        "axes.titlecolor": FRONT,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": FRONT,
        "ytick.labelcolor": FRONT,
        "grid.color": LINE,
        "grid.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, **more)


def _finish(figure: Figure, name: str, title: str, alt: str) -> Drawing:
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    return Drawing(embedded(out.getvalue(), name, title, alt), alt)


def embedded(text: str, name: str, title: str, alt: str) -> str:
    """An SVG document of matplotlib as an element of a page: ids and references prefixed, sheet,
    metadata, name spaces and fixed size taken out, title and description put in."""
    text = text[text.index("<svg") :].strip()
    for pattern in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "inherit", text)
    for colour, variable in _PROPERTIES.items():
        text = text.replace(colour, variable)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None, "matplotlib writes one"
    label = f'aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
    words = (
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(alt)}</desc>'
    )
    return f'<svg role="img" {label} {box[0]}>{words}{body}'


def _grid(axes: Axes, which: str = "y") -> None:
    axes.grid(True, axis=which)  # type: ignore[arg-type]
    axes.tick_params(length=0)


# ---------------------------------------------------------------------------------------- drawings


def _volatility(part: Mapping[str, Any]) -> Drawing:
    times, rows = part["times"], part["rows"]
    with _canvas(1, 1, 3.0) as (figure, axes):
        for i, (row, curve) in enumerate(zip(rows, part["curves"], strict=True)):
            style = DASHES[i % len(DASHES)]
            colour = SERIES[i % len(SERIES)]
            axes.plot(curve, linestyle=style, color=colour, linewidth=1.6, label=row["asset"])
        _dates(axes, times)
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
        axes.set_ylabel("volatility a year")
        figure.legend(loc="outside upper left", ncols=min(6, len(rows)), handlelength=3.2)
        _grid(axes)
        alt = f"Forecast volatility a year from {times[0]} to {times[-1]}. " + " ".join(
            f"{r['asset']}: now {percent(r['ewma'], 0)}, between {percent(r['lowest'], 0)} and "
            f"{percent(r['highest'], 0)}."
            for r in rows
        )
        return _finish(figure, "volatility", "Forecast volatility of each underlying", alt)


def _dates(axes: Axes, times: list[str], most: int = 6) -> None:
    last = len(times) - 1
    at = sorted({round(last * k / (most - 1)) for k in range(most)}) if last > 0 else [0]
    axes.set_xticks(at, [times[k] for k in at])
    labels = axes.get_xticklabels()
    if labels:  # inner axes of a grid have none; the outer ones stay clear of their neighbour
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
    axes.set_xlim(0, max(last, 1))


def _var(part: Mapping[str, Any]) -> Drawing:
    methods = [m for m in part["methods"] if not m["failed"]]
    with _canvas(1, 1, 0.9 + 0.36 * max(len(methods), 1)) as (figure, axes):
        for key, shift, colour, mark, name in (
            ("var", -0.14, SERIES[0], "o", "VaR"),
            ("es", 0.14, SERIES[1], "D", "ES"),
        ):
            for i, m in enumerate(methods):
                band = m[f"{key}_band"]
                if band is not None and band["low"] is not None:
                    high = band["high"] if band["high"] is not None else m[key]
                    axes.plot([band["low"], high], [i + shift] * 2, color=colour, linewidth=1.6)
            axes.plot(
                [m[key] for m in methods],
                [i + shift for i in range(len(methods))],
                mark,
                color=colour,
                markersize=5.5,
                label=f"{name} with its {percent(part['confidence'], 0)} band",
            )
        axes.set_yticks(range(len(methods)), [m["method"] for m in methods])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda x, _: _short(x))
        axes.set_xlabel(f"loss over {part['horizon_hours']} hours, quote currency")
        figure.legend(loc="outside upper left", ncols=2)
        _grid(axes, "x")
        alt = f"VaR and ES at {percent(part['alpha'], 0)} by method: " + "; ".join(
            f"{m['method']} {money(m['var'])} and {money(m['es'])}" for m in methods
        )
        return _finish(figure, "var", "VaR and ES by method", alt)


def _backtest(part: Mapping[str, Any]) -> Drawing:
    curves, dates = part["worst_share"], part["dates"]
    columns = 2
    rows = -(-len(curves) // columns)
    with _canvas(rows, columns, 1.55 * rows, sharex=True, sharey=True, squeeze=False) as made:
        figure, grid = made
        words = []
        for k, (name, curve) in enumerate(curves.items()):
            axes = grid[k // columns][k % columns]
            axes.plot([0.0 if v is None else max(v, 0.0) for v in curve], color=SERIES[0], lw=0.9)
            axes.axhline(1.0, color=FRONT, linestyle="--", linewidth=0.9)
            over = [(i, v) for i, v in enumerate(curve) if v is not None and v > 1.0]
            if over:
                axes.plot(*zip(*over, strict=True), "^", color=BAD, markersize=6.5)
            axes.set_title(name, fontsize=9.5, loc="left")
            axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
            _dates(axes, dates, 3)
            _grid(axes)
            known = [v for v in curve if v is not None]
            words.append(
                f"{name}: at most {percent(max(known, default=0.0), 0)}, {len(over)} days above"
            )
        for k in range(len(curves), rows * columns):
            grid[k // columns][k % columns].set_axis_off()
        alt = (
            "Largest loss of a portfolio as a share of its margin on each day, by archetype; "
            "triangles mark days above 100 %. " + "; ".join(words) + "."
        )
        return _finish(figure, "backtest", "Loss as a share of the margin, day by day", alt)


def _stress(part: Mapping[str, Any]) -> Drawing:
    rows = part["rows"]
    fund = float(rows[0]["before"]["insurance"])
    with _canvas(1, 2, 0.7 + 0.28 * len(rows), sharey=True) as (figure, (left, right)):
        at = range(len(rows))
        hit = [len(r["newly_liquidatable"]) for r in rows]
        need = [float(r["after"]["insurance_need"]) for r in rows]
        for axes, values, label in (
            (left, hit, "accounts newly liquidatable"),
            (right, need, "asked of the insurance fund"),
        ):
            axes.barh(at, values, height=0.62, color=SERIES[0])
            top = max([*values, 1.0])
            for i, v in enumerate(values):
                text = f"{v:,}" if isinstance(v, int) else _short(v)
                beyond = max(v, fund) if axes is right else v  # clear of the line
                axes.text(beyond + 0.02 * top, i, text, va="center", fontsize=8.5)
            axes.set_xlim(0, 1.25 * max(top, fund if axes is right else 0.0))
            axes.set_xlabel(label)
            axes.xaxis.set_major_formatter(lambda x, _: _short(x))
            axes.xaxis.set_major_locator(_few())
            _grid(axes, "x")
        right.axvline(fund, color=BAD, linestyle="--", linewidth=1.2)
        right.text(fund, -0.75, f" fund {_short(fund)}", color=BAD, fontsize=8.5, va="bottom")
        left.set_yticks(list(at), [r["name"] for r in rows])
        left.set_ylim(len(rows) - 0.4, -0.9)
        alt = f"By scenario; the insurance fund has {money(fund)}. " + "; ".join(
            f"{r['name']}: {h} accounts, {money(n)}"
            for r, h, n in zip(rows, hit, need, strict=True)
        )
        return _finish(figure, "stress", "Stress scenarios: accounts and insurance", alt)


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _heatmap(part: Mapping[str, Any]) -> Drawing:
    prices, vols, change = part["price_moves"], part["vol_moves_30d"], part["mark_equity_change"]
    extreme = max((abs(Decimal(c)) for row in change for c in row), default=Decimal(1)) or 1
    with _canvas(1, 1, 0.8 + 0.46 * len(prices)) as (figure, axes):
        from matplotlib.patches import Rectangle

        words = []
        for i, row in enumerate(change):
            for j, cell in enumerate(row):
                share = float(Decimal(cell) / extreme)
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor=_cell(share), edgecolor="none"))
                debt = Decimal(part["bad_debt"][i][j])
                lines = f"{_short(float(cell), sign=True)}\n{part['liquidatable'][i][j]} liq."
                axes.text(
                    j + 0.5,
                    i + 0.5,
                    lines + (" ▲" if debt > 0 else ""),
                    ha="center",
                    va="center",
                    fontsize=8.5,
                    color=CELL_TEXT,
                )
        for i in (0, len(prices) - 1):
            j = len(vols) - 1
            words.append(
                f"price {percent(prices[i], 0, sign=True)}, volatility "
                f"{percent(vols[j], 0, sign=True)}: {money(change[i][j])}, "
                f"{part['liquidatable'][i][j]} liquidatable"
            )
        axes.set_xlim(0, len(vols))
        axes.set_ylim(len(prices), 0)
        axes.set_xticks(
            [j + 0.5 for j in range(len(vols))], [percent(v, 0, sign=True) for v in vols]
        )
        axes.set_yticks(
            [i + 0.5 for i in range(len(prices))], [percent(p, 0, sign=True) for p in prices]
        )
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("change of 30-day volatility")
        axes.set_ylabel("change of all prices")
        alt = (
            "Change of the sum of mark equity and liquidatable accounts under moves of price and "
            "volatility; the table below has every cell. Corners: " + "; ".join(words) + "."
        )
        return _finish(figure, "heatmap", "Spot × volatility", alt)


def _cell(share: float) -> str:
    """White at 0, towards `LOSS` below and `GAIN` above; never so dark that text is lost."""
    end, depth = (LOSS if share < 0 else GAIN), min(abs(share), 1.0) ** 0.6
    return "#" + "".join(f"{round(250 + (c - 250) * depth):02x}" for c in end)


def _efficiency(part: Mapping[str, Any]) -> Drawing:
    rules = part["rules"]
    observations = rules[OURS][ALL]["observations"]
    none = 0.3 / observations  # where no exception at all is drawn
    with _canvas(1, 1, 4.3) as (figure, axes):
        for i, (name, rule) in enumerate(rules.items()):
            xs, ys = zip(*rule["curve"], strict=True)
            short = [max(1.0 - y, none) for y in ys]
            axes.plot(
                xs,
                short,
                linestyle=DASHES[i % len(DASHES)],
                linewidth=2.6 if name == OURS else 1.2,
                color=SERIES[i % len(SERIES)],
                zorder=3 if name == OURS else 2,
            )
            axes.plot(
                [rule[ALL]["capital"]],
                [max(1.0 - rule[ALL]["coverage"], none)],
                marker=MARKS[i % len(MARKS)],
                linestyle=DASHES[i % len(DASHES)],
                color=SERIES[i % len(SERIES)],
                markersize=11 if name == OURS else 8,
                label=rule_name(name),
                zorder=4,
            )
        axes.axhline(1.0 - part["alpha"], color=MUTED, linewidth=1.0, linestyle="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(0.005, 1.0)
        ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
        axes.set_xticks(ticks, [percent(x, 0) for x in ticks])
        shares = [s for s in (0.1, 0.01, 0.001, 0.0001) if s > 2.0 * none]
        axes.set_yticks([*shares, none], [*(f"{100 * s:g} %" for s in shares), "none"])
        axes.minorticks_off()
        axes.set_xlabel("capital: mean requirement, share of gross notional")
        axes.set_ylabel("losses beyond the requirement")
        _grid(axes, "both")
        figure.legend(loc="outside upper left", ncols=4, handlelength=3.0, columnspacing=1.4)
        alt = (
            f"Coverage against capital over {observations:,} observations, as published: "
            + "; ".join(
                f"{rule_name(n)} {percent(r[ALL]['capital'], 2)} of notional, "
                f"{percent(r[ALL]['coverage'], 2)} covered"
                for n, r in rules.items()
            )
        )
        return _finish(figure, "efficiency", "Coverage against capital", alt)


def rule_name(name: str) -> str:
    """As a reader knows it."""
    return {OURS: "cross (ours)", SCAN: "ours, Scan alone"}.get(name, name)


def _short(x: float, *, sign: bool = False) -> str:
    """1234567 → 1.2 M."""
    for size, unit in ((1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(x) >= 0.9995 * size:
            text = f"{x / size:{'+' if sign else ''}.{0 if abs(x) >= 99.95 * size else 1}f}{unit}"
            return text.replace("-", "−")
    return f"{x:{'+' if sign and round(x) else ''}.0f}".replace("-", "−").replace("−0", "0")
