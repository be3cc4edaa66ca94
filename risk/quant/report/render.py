"""The page from the value: one file, nothing from outside, no script. Same value, same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from risk.quant.efficiency import OURS
from risk.quant.report import summary
from risk.quant.report.figures import Drawing, drawings, rule_name

MOST_BYTES: Final = 2_000_000
MARK_WORDS: Final = {"short": "short", "note": "note", "ok": "ok"}


def render(value: Mapping[str, Any]) -> str:
    """The whole page; every text of the value is escaped."""
    from markupsafe import Markup

    pages = Environment(
        loader=PackageLoader("risk.quant.report", "."),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "money": summary.money,
        "percent": summary.percent,
        "p": summary.p_value,
        "plural": summary.plural,
        "rule": rule_name,
        "gap": gap,
    }

    def svg(drawing: Drawing) -> Markup:
        return Markup(drawing.svg)  # text in it is escaped by matplotlib and by `embedded`

    text = pages.get_template("template.html.j2").render(
        v=value,
        drawings={name: svg(d) for name, d in drawings(value).items()},
        ours=OURS,
        marks=MARK_WORDS,
        commands=value["reproduction"]["commands"],
    )
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def gap(side: Mapping[str, Any]) -> str:
    """E − MM of one side of an account; unknown where the model refuses it."""
    if "equity" not in side:
        return "unknown"
    return summary.money(str(Decimal(side["equity"]) - Decimal(side["mm"])))
