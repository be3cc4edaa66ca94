"""The first page: what binds, what is short, what is proposed. Sentences from the value alone.

Each is `{"mark": …, "text": …}`; marks: `short` (something is not as it should be or not shown),
`note`, `ok`. A part that is missing is short, never silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

TITLES: Final = {
    "volatility": "Volatility and correlation",
    "var": "VaR and ES",
    "backtest": "Backtest of the margin",
    "efficiency": "Efficiency",
    "margin": "Margin of the book",
    "stress": "Stress scenarios",
    "heatmap": "Spot × volatility",
    "what_if": "What if",
    "exposures": "Exposures",
    "recommendation": "Recommendation",
}
OTHERS_SHOWN: Final = 3

Item = dict[str, str]


def summary(value: Mapping[str, Any]) -> dict[str, list[Item]]:
    """Three lists."""
    binds, short, proposed = _binds(value), _short(value), _proposed(value)
    for name, title in TITLES.items():
        if "missing" in value[name]:
            short.append(_item("short", f"{title}: not shown. {value[name]['missing']}"))
    if not any(item["mark"] == "short" for item in short):
        short.insert(0, _item("ok", "Nothing that this report tests is short."))
    return {"binds": binds, "short": short, "proposed": proposed}


def money(text: str | float | None) -> str:
    """Whole units of cash, towards zero, with thousands; an unknown amount is a dash."""
    if text is None:
        return "–"
    number = int(Decimal(text) if isinstance(text, str) else text)
    return f"{number:,}".replace("-", "−")


def percent(share: float | str | None, places: int = 1, *, sign: bool = False) -> str:
    """Of 1; a dash where there is none."""
    if share is None:
        return "–"
    whole = round(100 * float(share), places)
    text = f"{whole:{'+' if sign and whole else ''}.{places}f} %"
    return text.replace("-", "−") if whole else f"{0.0:.{places}f} %"


def p_value(p: float | None) -> str:
    """Two digits; below 0.0001 only that."""
    if p is None:
        return "–"
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 account`, `1,200 accounts`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _item(mark: str, text: str) -> Item:
    return {"mark": mark, "text": text}


def _binds(value: Mapping[str, Any]) -> list[Item]:
    out = []
    margin = value["margin"]
    if "missing" not in margin:
        now, rows = margin["now"], margin["binding"]
        out.append(
            _item(
                "note",
                f"{plural(now['accounts'], 'account')} hold equity of {money(now['equity'])} "
                f"against a maintenance margin of {money(now['mm'])} and an initial margin of "
                f"{money(now['im'])}.",
            )
        )
        row = next((r for r in rows if r["scenario"] >= 0), None)
        if row is not None and "price_moves" in row:
            moves = ", ".join(f"{n} {percent(x, sign=True)}" for n, x in row["price_moves"].items())
            out.append(
                _item(
                    "note",
                    f"Scenario {row['scenario']} ({moves}; weight {row['weight_bps'] / 100:g} %) "
                    f"decides most margin: {plural(row['accounts'], 'account')} with "
                    f"{money(row['mm'])} of maintenance margin.",
                )
            )
        if margin["floor_above_scan"]:
            out.append(
                _item(
                    "note",
                    f"The short-option floor is above the scan for {margin['floor_above_scan']:,} "
                    f"of {plural(margin['margined'], 'account')} with a margin.",
                )
            )
    floors = [r["asset"] for r in value["volatility"].get("rows", []) if r["floor_binds"]]
    if floors:
        out.append(
            _item(
                "note",
                f"The anti-procyclical floor holds up the margin's volatility of "
                f"{', '.join(floors)}.",
            )
        )
    if "file" in value["recommendation"]:
        scales = value["recommendation"]["file"]["outcome"]["scales"]
        bound = sum(scales["step_limit_binds"])
        if bound:
            out.append(
                _item(
                    "note",
                    f"The step limit per proposal cuts the price scale of "
                    f"{bound} of {plural(len(scales['step_limit_binds']), 'underlying')}.",
                )
            )
    return out


def _short(value: Mapping[str, Any]) -> list[Item]:
    out = []
    margin, stress = value["margin"], value["stress"]
    if "missing" not in margin:
        now = margin["now"]
        for key, what in (
            ("liquidatable", "below maintenance margin"),
            ("below_im", "between initial and maintenance margin"),
            ("unknown", "refused by the model (never counted as healthy)"),
        ):
            if now[key]:
                mark = "note" if key == "below_im" else "short"
                out.append(_item(mark, f"Now {plural(now[key], 'account')} {what}."))
    out += _backtest(value["backtest"])
    for row in _uncovered(stress):
        after = row["after"]
        out.append(
            _item(
                "short",
                f"{row['name']}: the insurance fund has {money(after['insurance'])} and would be "
                f"asked for {money(after['insurance_need'])}; bad debt {money(after['bad_debt'])}.",
            )
        )
    rest = len(_all_uncovered(stress)) - OTHERS_SHOWN
    if rest > 0:
        out.append(_item("short", f"The insurance fund is short in {rest} more scenarios."))
    worse = [w for w in value["efficiency"].get("worse", []) if w["archetype"] == "all"]
    best: dict[str, Any] = {}
    for w in worse:
        if w["how"] not in best or _gain(w) < _gain(best[w["how"]]):
            best[w["how"]] = w
    for how, w in best.items():
        out.append(
            _item(
                "short",
                f"Over all portfolios, {how}, {w['rule']} needs "
                f"{percent(-w['their_capital_against_ours'])} less capital than ours.",
            )
        )
    failed = [m["method"] for m in value["var"].get("methods", []) if m["failed"]]
    if failed:
        out.append(_item("short", f"VaR gives no figure by: {', '.join(failed)}."))
    return out


def _gain(row: Mapping[str, Any]) -> float:
    return float(row["their_capital_against_ours"])


def _backtest(backtest: Mapping[str, Any]) -> list[Item]:
    if "missing" in backtest:
        return []
    out = []
    for key, when in (
        ("margin", "at the end of the margin period"),
        ("hourly", "at its worst hour"),
    ):
        found = backtest[key]
        if found["short"]:
            out.append(
                _item(
                    "short",
                    f"Coverage is short of {percent(backtest['margin']['alpha'], 0)} {when}: "
                    f"{', '.join(found['short'])}.",
                )
            )
        else:
            row = found["rows"][-1]
            out.append(
                _item(
                    "ok",
                    f"Backtest {when}: {plural(row['exceptions'], 'exception')} of "
                    f"{row['observations']:,}, coverage {percent(row['coverage'], 2)}; no "
                    "archetype is short by the tests.",
                )
            )
        below = [
            f"{r['archetype']} {percent(r['coverage'], 2)}"
            for r in found["rows"]
            if r["coverage"] < found["alpha"] and r["verdict"] != "short"
        ]
        if below:
            out.append(
                _item(
                    "short",
                    f"Below {percent(found['alpha'], 0)} {when}, though not significantly: "
                    f"{', '.join(below)}.",
                )
            )
    return out


def _all_uncovered(stress: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = [
        r
        for r in stress.get("rows", [])
        if Decimal(r["after"]["insurance_need"]) > Decimal(r["after"]["insurance"])
    ]
    return sorted(rows, key=lambda r: -Decimal(r["after"]["insurance_need"]))


def _uncovered(stress: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _all_uncovered(stress)[:OTHERS_SHOWN]


def _proposed(value: Mapping[str, Any]) -> list[Item]:
    part = value["recommendation"]
    if "missing" in part:
        return [_item("short", f"Nothing is proposed. {part['missing']}")]
    outcome = part["file"]["outcome"]
    if outcome["nothing_changes"]:
        return [_item("ok", "Leave the parameters as they are.")]
    out = []
    scales = outcome["scales"]
    moves = []
    for name, now, then in zip(
        part["file"]["request"]["source"]["assets"],
        scales["price_scale_now"],
        scales["price_scale_proposed"],
        strict=True,
    ):
        moves.append(f"{name} {percent(then / now - 1.0, sign=True)}")
    ramp = outcome["ramp"]
    out.append(
        _item(
            "note",
            f"By the {outcome['route']}: change {plural(len(outcome['changes']), 'field')}; price "
            f"scales {', '.join(moves)}; in {plural(ramp['steps'], 'step')}, at least "
            f"{ramp['shortest_seconds'] / 3600:.0f} hours.",
        )
    )
    cut = outcome["lanes_cut_by_the_steward_limit"]
    if cut:
        out.append(
            _item("note", f"{plural(cut, 'lane')} cut by the steward's limit wait for later.")
        )
    effect = part["effect"]
    if "missing" in effect:
        out.append(_item("short", f"Effect on the book: not shown. {effect['missing']}"))
    else:
        before, after = effect["before"], effect["after"]
        change = Decimal(after["mm"]) / Decimal(before["mm"]) - 1 if Decimal(before["mm"]) else 0
        newly = len(effect["newly_liquidatable"])
        out.append(
            _item(
                "short" if newly else "ok",
                f"On this book maintenance margin changes by {percent(str(change), sign=True)}; "
                f"{plural(newly, 'account')} newly below maintenance margin, "
                f"{len(effect['newly_below_im']):,} newly below initial margin.",
            )
        )
    cover = outcome["coverage"]
    worse = cover["proposed"]["covered"] < cover["now"]["covered"]
    out.append(
        _item(
            "short" if worse else "ok",
            "Expected shortfall of sampled portfolios covered: "
            f"{percent(cover['now']['covered'], 2)} now, "
            f"{percent(cover['proposed']['covered'], 2)} proposed; overcharge of the sum "
            f"{percent(cover['now']['aggregate_overcharge'])} now, "
            f"{percent(cover['proposed']['aggregate_overcharge'])} proposed.",
        )
    )
    return out
