"""``plumbline gas``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table

from risk.cli.output import guarded, stdout, write_json
from risk.gas.bench import measure
from risk.gas.gates import Verdict, judge


def gas_command(json: Path | None) -> int:
    """0: every gate holds; 1: one does not; 2: the run itself failed."""
    return guarded(lambda: _gas(json))


def _gas(json: Path | None) -> int:
    figures = measure(lambda step: print(f"measuring: {step}", file=sys.stderr))
    rows = judge(figures)
    stdout().print(table(rows))
    write_json(json, figures)
    failed = [row.key for row in rows if not row.passed]
    if failed:
        print(f"gates that do not hold: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def table(rows: list[Verdict]) -> Table:
    """Figures, gates and verdicts."""
    out = Table(
        "what",
        "gas (bytes of code)",
        "gate",
        "stretch",
        "",
        title="plumbline gas: one cold transaction each",
    )
    for column in out.columns[1:4]:
        column.justify = "right"
    for row in rows:
        gate, stretch = (f"{x:,}" if x else "" for x in (row.gate, row.stretch))
        out.add_row(row.key, f"{row.value:,}", gate, stretch, row.word)
    return out
