"""The committed table of code that cannot be reached: ``configs/coverage-unreachable.toml``.

An entry names the file, the text and the reason (with its proof), and the side for a branch; no
line numbers, so it outlives edits around it::

    [[branch]]
    file = "contracts/math/WadMath.sol"
    function = "mulDiv"
    text = "if (d == 0) revert DivisionByZero()"
    side = "if true"
    reason = "…"

An explained line or side still counts as missed; it is counted once more as explained.  An entry
that fits nothing, or something that was reached, is an error: the table cannot rot.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk.solcov.errors import SolcovError

if TYPE_CHECKING:
    from risk.solcov.evaluate import FileCoverage
    from risk.solcov.points import Source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path("configs") / "coverage-unreachable.toml"
_FIELDS = {"file", "function", "text", "reason"}


@dataclass(frozen=True)
class Claim:
    """One entry: a line (``side`` empty) or a side of a branch."""

    file: str
    function: str
    text: str
    side: str
    reason: str


def load(path: Path) -> list[Claim]:
    """Entries of the table; none where there is no file.  Raises ``SolcovError``."""
    if not path.exists():
        return []
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SolcovError(f"{path}: {error}") from error
    if unknown := table.keys() - {"line", "branch"}:
        raise SolcovError(f"{path}: unknown table {', '.join(sorted(unknown))}")
    lines = [_claim(path, entry, _FIELDS) for entry in table.get("line", [])]
    return lines + [_claim(path, entry, _FIELDS | {"side"}) for entry in table.get("branch", [])]


def _claim(path: Path, entry: Mapping[str, Any], wanted: set[str]) -> Claim:
    if entry.keys() != wanted or not all(isinstance(v, str) and v for v in entry.values()):
        raise SolcovError(f"{path}: an entry needs {', '.join(sorted(wanted))}, got {dict(entry)}")
    return Claim(**{"side": "", **entry})


def judge(
    claims: Iterable[Claim], files: list[FileCoverage], sources: Mapping[str, Source]
) -> list[str]:
    """Writes the reasons into ``files`` and returns what is wrong with the claims."""
    wrong = []
    by_path = {f.path: f for f in files}
    for claim in claims:
        source = sources.get(claim.file)
        if source is None:
            wrong.append(f"{claim.file} is no file of the contracts")
            continue
        missed = by_path[claim.file].missed if claim.file in by_path else []
        found = False
        for i, item in enumerate(missed):
            if (item.function, item.side, item.text) == (claim.function, claim.side, claim.text):
                missed[i] = replace(item, reason=claim.reason)
                found = True
        if not found:
            what = f"{claim.file}, {claim.function}: {claim.side} {claim.text}".replace(":  ", ": ")
            wrong.append(f"{what}: reached, or no longer there")
    return wrong
