"""Readable form of a run: tables and counterexamples on the console, JSON in a file."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from risk.diff.adapter import Counterexample
from risk.diff.campaign import Campaign
from risk.diff.compare import show
from risk.diff.coverage import GOAL, Reached, Tally

MAX_SHOWN = 12


def print_run(
    console: Console, tally: Tally, seconds: float, title: str, *, examples: int = 3
) -> None:
    """What was compared, reverts by kind, actions by kind, the measured mix, and the first
    counterexamples as they were found.
    """
    console.print(_figures(tally, seconds, title))
    if tally.action_kinds:
        console.print(_actions(tally))
    if tally.reverts:
        console.print(_reverts(tally))
    if tally.tags:
        console.print(_mix(tally))
    for example in tally.counterexamples[:examples]:
        console.print(counterexample(example))
    verdict = "0 mismatches" if tally.mismatches == 0 else f"{tally.mismatches} MISMATCHES"
    console.print(Text(verdict, style="bold green" if tally.mismatches == 0 else "bold red"))


def print_reached(console: Console, goals: list[Reached]) -> None:
    """Every goal of a long run, and what stays below."""
    table = Table("goal", "times", "below 20 because", title="functions and errors reached")
    for item in goals:
        why = item.reason if item.count < GOAL else ""
        table.add_row(item.name, f"{item.count:,}", "NO REASON" if item.missed else why)
    console.print(table)
    below = [item for item in goals if item.count < GOAL]
    missed = [item.name for item in goals if item.missed]
    console.print(
        f"{len(goals)} goals, {len(goals) - len(below)} reached at least {GOAL} times, "
        f"{len(below) - len(missed)} below with a reason, {len(missed)} below without one"
        + (": " + ", ".join(missed) if missed else "")
    )


def print_campaign(console: Console, campaign: Campaign, title: str) -> None:
    """The totals of a long run."""
    table = Table(title=title, show_header=False)
    for name, value in campaign.summary().items():
        if isinstance(value, int | float):
            table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)
    for line in campaign.failures[:10]:
        console.print(Text(line, "bold red"))


def counterexample(example: Counterexample) -> Group:
    """Both values in decimal and hexadecimal, their difference, the story, and how to see it
    again.
    """
    head = Text(
        f"\n{example.kind} {example.index} (seed {example.seed}), step {example.step}: "
        f"{example.title}",
        "bold",
    )
    table = Table("where", "model", "chain", "chain − model")
    for item in example.mismatches[:MAX_SHOWN]:
        difference = item.difference
        table.add_row(
            item.where,
            show(item.model),
            show(item.chain),
            "" if difference is None else str(difference),
        )
    hidden = len(example.mismatches) - MAX_SHOWN
    tail = [f"… and {hidden} more"] if hidden > 0 else []
    return Group(head, table, *tail, *example.details, Text(f"again: {example.rerun}", "cyan"))


def _figures(tally: Tally, seconds: float, title: str) -> Table:
    table = Table(title=title, show_header=False)
    rows: list[tuple[str, object]] = [
        ("account-level cases", tally.cases),
        ("sequences", tally.sequences),
        ("actions (transactions)", tally.actions),
        ("values compared", tally.values_compared),
        ("reverts compared, byte by byte", tally.reverts_compared),
        ("liquidations", tally.liquidations),
        ("mismatches", tally.mismatches),
        ("seconds", f"{seconds:.1f}"),
    ]
    for name, value in rows:
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


def _actions(tally: Tally) -> Table:
    table = Table("action", "accepted", "refused", title="actions of the sequences")
    for kind in sorted({k.rsplit(":", 1)[0] for k in tally.action_kinds}):
        table.add_row(
            kind, str(tally.action_kinds[f"{kind}:ok"]), str(tally.action_kinds[f"{kind}:revert"])
        )
    return table


def _reverts(tally: Tally) -> Table:
    table = Table("error", "times", title="reverts (selector and arguments equal)")
    for name, count in sorted(tally.reverts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(name, str(count))
    return table


def _mix(tally: Tally) -> Table:
    table = Table("of the cases", "count", "share", title="measured case mix")
    for name, count in sorted(tally.tags.items()):
        table.add_row(name, str(count), f"{100 * count / max(1, tally.cases):.1f} %")
    return table
