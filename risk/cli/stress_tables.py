"""The tables of ``plumbline stress``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from risk.quant.whatif import cash

if TYPE_CHECKING:
    from risk.quant.cascade import Cascade
    from risk.quant.stress_tests import Heatmap, Outcome
    from risk.quant.whatif import Effect

SHOWN: Final = 10


def money(text: str) -> str:
    """A decimal string of cash, without cents, towards zero."""
    whole = text.split(".")[0]
    return f"{int(whole):,}" if whole not in ("-0",) else "0"


def stress_table(outcomes: Sequence[Outcome]) -> Table:
    """One row a scenario."""
    out = Table(
        "scenario", "kind", "prices", "liquidatable", "newly", "below IM", "unknown",
        "mark equity", "MM", "bad debt", "insurance need",
        title="stress scenarios, exact engine",
    )  # fmt: skip
    for column in out.columns[3:]:
        column.justify = "right"
    for o in outcomes:
        after = o.effect.after.summary()
        moves = " ".join(
            f"{n} {100 * x:+.0f}%" for n, x in zip(o.effect.book.underlyings, o.prices, strict=True)
        )
        out.add_row(
            o.stress.name,
            o.stress.kind,
            moves,
            str(after["liquidatable"]),
            str(len(o.effect.newly_liquidatable())),
            str(after["below_im"]),
            str(after["unknown"]),
            *(money(after[k]) for k in ("mark_equity", "mm", "bad_debt", "insurance_need")),
        )
    return out


def effect_table(effect: Effect) -> Table:
    """Who is hit, worst first."""
    out = Table(
        "account", "status", "E before", "MM before", "E after", "MM after",
        title=f"what if: {len(effect.newly_liquidatable())} newly liquidatable, "
        f"{len(effect.newly_below_im())} newly below IM, {len(effect.cured())} cured, "
        f"{len(effect.newly_unknown())} newly unknown; bad debt "
        f"{money(effect.before.summary()['bad_debt'])} → "
        f"{money(effect.after.summary()['bad_debt'])}",
    )  # fmt: skip
    for column in out.columns[2:]:
        column.justify = "right"
    for row in effect.to_json(SHOWN)["accounts"]:
        before, after = row["before"], row["after"]
        cells = [money(s[k]) if k in s else "?" for s in (before, after) for k in ("equity", "mm")]
        out.add_row(row["account"], f"{before['status']} → {after['status']}", *cells)
    return out


def cascade_table(found: Sequence[tuple[str, Cascade]]) -> Table:
    """One row a scenario."""
    out = Table(
        "scenario", "rounds", "liquidations", "insurance paid", "unpaid", "bad debt left",
        "liquidatable left", title="with liquidations and their price impact",
    )  # fmt: skip
    for column in out.columns[1:]:
        column.justify = "right"
    for name, c in found:
        end = c.end.summary()
        out.add_row(
            name,
            f"{len(c.rounds)}{'' if c.stopped else ' (limit)'}",
            str(sum(r.liquidated for r in c.rounds)),
            money(cash(sum(r.insurance_paid for r in c.rounds))),
            money(cash(sum(r.unpaid for r in c.rounds))),
            money(end["bad_debt"]),
            str(end["liquidatable"]),
        )
    return out


def heatmap_table(picture: Heatmap) -> Table:
    """Liquidatable accounts / bad debt of every cell."""
    out = Table(
        "price",
        *(f"vol {100 * v:+.0f}%" for v in picture.vols),
        title=f"{picture.underlying or 'all underlyings'}: change of mark equity | liquidatable "
        "| bad debt",
    )
    for column in out.columns:
        column.justify = "right"
    for i, price in enumerate(picture.prices):
        cells = [
            f"{money(cash(picture.change[i][j]))} | {picture.liquidatable[i][j]} | "
            f"{money(cash(picture.bad_debt[i][j]))}"
            for j in range(len(picture.vols))
        ]
        out.add_row(f"{100 * price:+.0f}%", *cells)
    return out


def exposure_table(totals: dict[str, Any]) -> Table:
    """Net / gross by underlying."""
    out = Table(
        "underlying", "delta net", "gross", "gamma per 1 % net", "vega per 10 % net",
        "funding a day, gross", "units of depth", "largest holder",
        title=f"exposures of {totals['accounts']} accounts; theta a day "
        f"{totals['theta_a_day']:,.0f}",
    )  # fmt: skip
    for column in out.columns[1:]:
        column.justify = "right"
    for name, x in totals["by_underlying"].items():
        out.add_row(
            name,
            f"{x['delta']['net']:,.0f}",
            f"{x['delta']['gross']:,.0f}",
            f"{x['gamma_per_percent']['net']:,.0f}",
            f"{x['vega_per_10_percent']['net']:,.0f}",
            f"{x['funding_a_day']['gross']:,.0f}",
            f"{x['units'] / x['depth']:.1%}",
            f"{x['largest']['account']} ({x['largest']['of_depth']:.1%})",
        )
    return out
