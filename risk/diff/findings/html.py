"""One HTML file: figures of the run, what it reached, how actions and cases are distributed, the
counterexamples. No script, no font, nothing from the network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from risk.diff.coverage import Tally
from risk.diff.findings.finding import Finding, as_rows

SIZES = (
    ("size:", "Amounts drawn (2^n: that, or one beside it)"),
    ("wait:", "Seconds waited before an action"),
)
CHART_ROWS = 40  # the rest of a longer table is summed up


@dataclass(frozen=True)
class Bar:
    """One row of a chart; widths in per cent of the longest row."""

    label: str
    count: int
    width: float
    second: int = 0  # stacked behind the first, e.g. refused behind accepted
    second_width: float = 0.0


@dataclass(frozen=True)
class Chart:
    """A horizontal histogram."""

    title: str
    bars: list[Bar]
    legend: tuple[str, str] = ("", "")

    @property
    def height(self) -> int:
        """Of the drawing."""
        return 22 * len(self.bars) + 4


def chart(title: str, counts: Mapping[str, int]) -> Chart:
    """Largest first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = rows[:CHART_ROWS], rows[CHART_ROWS:]
    if rest:
        shown.append((f"{len(rest)} others", sum(n for _, n in rest)))
    top = max((n for _, n in shown), default=0) or 1
    return Chart(title, [Bar(label, n, 100 * n / top) for label, n in shown])


def kinds_chart(action_kinds: Mapping[str, int]) -> Chart:
    """Accepted and refused, by kind of action."""
    kinds = sorted({key.rsplit(":", 1)[0] for key in action_kinds})
    pairs = {k: (action_kinds.get(f"{k}:ok", 0), action_kinds.get(f"{k}:revert", 0)) for k in kinds}
    top = max((sum(pair) for pair in pairs.values()), default=0) or 1
    bars = [Bar(k, ok, 100 * ok / top, no, 100 * no / top) for k, (ok, no) in pairs.items()]
    return Chart("Actions by kind", bars, ("accepted", "refused"))


def sizes_chart(title: str, prefix: str, events: Mapping[str, int]) -> Chart:
    """How numbers are distributed, smallest first. See ``risk.diff.kit.target.magnitude``."""
    counts = {k[len(prefix) :]: n for k, n in events.items() if k.startswith(prefix)}
    top = max(counts.values(), default=0) or 1
    ordered = sorted(counts, key=_scale)
    return Chart(title, [Bar(label, counts[label], 100 * counts[label] / top) for label in ordered])


def _scale(label: str) -> float:
    base, _, exponent = label.lstrip("-").partition("^")
    place = math.log2(int(base)) * int(exponent) + 1 if exponent else float(int(base))
    return -place if label.startswith("-") else place


def report(tally: Tally, findings: Sequence[Finding]) -> str:
    """The page."""
    other = {
        name: count
        for name, count in tally.events.items()
        if not name.startswith(("revert:", "call:", *(prefix for prefix, _ in SIZES)))
    }
    charts = [
        kinds_chart(tally.action_kinds),
        chart("Errors reached (refusals compared byte by byte)", tally.reverts),
        chart("Functions asked", tally.calls),
        chart("Events counted", other),
        chart("Case mix", tally.tags),
        *(sizes_chart(title, prefix, tally.events) for prefix, title in SIZES),
    ]
    figures = {
        "account-level cases": tally.cases,
        "sequences": tally.sequences,
        "actions": tally.actions,
        "values compared": tally.values_compared,
        "refusals compared": tally.reverts_compared,
        "values that differ": tally.mismatches,
    }
    pages = Environment(
        loader=PackageLoader("risk.diff.findings", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("report.html.j2").render(
        target=findings[0].target if findings else "",
        figures=figures,
        charts=[c for c in charts if c.bars],
        findings=[(f, as_rows(f.differences), _world(f)) for f in findings],
    )


def _world(finding: Finding) -> str:
    if isinstance(finding.world, str):
        return finding.world
    return json.dumps(finding.world, indent=1)
