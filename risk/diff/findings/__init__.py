"""What an auditor gets of a disagreement: a counterexample, regression tests, JSON, SARIF, HTML.

``write_findings`` is the entry. A target that is not an adapter brings a method
``finding(shrunk) -> Finding`` of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from risk.diff.coverage import Tally
from risk.diff.findings.finding import Finding, finding_of
from risk.diff.kit.errors import DiffError
from risk.diff.shrink import Shrunk
from risk.files import write_text

__all__ = ["FORMATS", "Finding", "finding_of", "write_findings"]

FORMATS = ("text", "pytest", "foundry", "json", "sarif", "html")


def write_findings(
    folder: Path,
    target: Any,
    shrunk: Shrunk[Any, Any],
    tally: Tally,
    formats: Iterable[str] = FORMATS,
) -> list[Path]:
    """Files of the wanted formats, in the order of ``FORMATS``.

    ``target`` is open; the sequence is replayed on it once more. ``tally`` is that of the run, for
    the HTML report. A format that this finding cannot have (a regression test where nothing that a
    test could ask differs) is left out, and the text says why. Raises ``DiffError`` for an unknown
    format.
    """
    from risk.diff.findings import html, regression, sarif, text

    wanted = set(formats)
    if unknown := wanted - set(FORMATS):
        raise DiffError(f"no format {min(unknown)!r}; there are {', '.join(FORMATS)}")
    finding: Finding = (
        target.finding(shrunk) if hasattr(target, "finding") else finding_of(target, shrunk)
    )
    writers: dict[str, tuple[str, Callable[[], str]]] = {
        "pytest": (f"test_{finding.stem}.py", lambda: regression.pytest_file(finding)),
        "foundry": (f"{finding.stem}.t.sol", lambda: regression.foundry_file(finding)),
        "text": (f"{finding.stem}.txt", lambda: text.render(finding)),
        "json": (f"{finding.stem}.json", lambda: json.dumps(sarif.plain(finding), indent=2) + "\n"),
        "sarif": (f"{finding.stem}.sarif", lambda: json.dumps(sarif.log([finding]), indent=2)),
        "html": (f"{finding.stem}.html", lambda: html.report(tally, [finding])),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, (file, write) in writers.items():  # tests first: the text tells what they lack
        if name not in wanted:
            continue
        try:
            content = write()
        except regression.NotTestable as error:
            finding.notes.append(f"no {name} test: {error}")
            continue
        paths[name] = folder / file
        write_text(paths[name], content)
    return [paths[name] for name in FORMATS if name in paths]
