"""Every row of the tables in ``docs/incidents.md`` is one that a test computes, and the reverse."""

from __future__ import annotations

import re
from pathlib import Path

from risk.chain.node import project_root

HERE = Path(__file__).parent
INCIDENTS = (
    "mango_pump",
    "yfi_split",
    "whale_withdraw",
    "jelly_backstop",
    "oct_2025_gap",
    "oct_2025_rate",
    "compromised_admin",
)


def test_no_figure_without_a_test() -> None:
    text = (project_root() / "docs" / "incidents.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \|", text, re.M)
    names = "|".join(INCIDENTS)
    computed: set[str] = set()
    for path in HERE.glob("test_*.py"):
        if path.name != Path(__file__).name:
            computed.update(re.findall(rf'"((?:{names})(?:\.[a-z_]+)?)"', path.read_text()))
    assert len(rows) == len(set(rows)) and set(rows) == computed
    assert set(INCIDENTS) <= computed


def test_every_incident_names_a_command_that_exists() -> None:
    text = (project_root() / "docs" / "incidents.md").read_text()
    files = set(re.findall(r"tests/incidents/test_\w+\.py", text))
    assert files == {f"tests/incidents/{p.name}" for p in HERE.glob("test_*.py")} - {
        f"tests/incidents/{Path(__file__).name}"
    }
