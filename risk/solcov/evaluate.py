"""Joins what ran with what there is: lines, statements and branches of each file.

A *line* counts where a statement begins on it that has code of its own; it is reached when one of
these statements has run.  A *branch* is one side of a condition.  A statement that is the first of
a branch runs exactly when its side is taken, so it is judged by the side; this stays right where
the optimiser has merged equal blocks, as it does with two ``revert`` of the same error.

What the compiler drops (``while (true)``, variables that begin as 0, functions that nobody calls)
has no code: it is listed as such, and counted nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from risk.solcov.build import Compiled
from risk.solcov.cover import Index, Point
from risk.solcov.points import FALL, JUMP, Source, sources
from risk.solcov.store import Hits
from risk.solcov.unreachable import Claim, judge

Json = Any


@dataclass(frozen=True)
class Missed:
    """A line (``side`` empty) or a side of a branch that was not reached, and why if explained."""

    path: str
    line: int
    function: str
    side: str
    text: str
    reason: str = ""


@dataclass
class FileCoverage:
    """Figures of one file.  ``lines`` maps line numbers to whether they were reached, ``sides``
    (line, number of the branch, name of the side) likewise; ``no_code`` are lines and branches that
    the compiler dropped.
    """

    path: str
    lines: dict[int, bool] = field(default_factory=dict)
    sides: dict[tuple[int, int, str], bool] = field(default_factory=dict)
    statements: int = 0
    statements_hit: int = 0
    functions: dict[int, tuple[str, bool]] = field(default_factory=dict)
    missed: list[Missed] = field(default_factory=list)
    no_code: list[str] = field(default_factory=list)


@dataclass
class Coverage:
    """All files, and the claims of the table of unreachable code that do not hold."""

    files: list[FileCoverage]
    wrong_claims: list[str]

    def totals(self) -> dict[str, int]:
        """Sums over all files; the explained ones are missed too."""
        lines = [hit for f in self.files for hit in f.lines.values()]
        sides = [hit for f in self.files for hit in f.sides.values()]
        missed = [m for f in self.files for m in f.missed]
        return {
            "lines": len(lines),
            "lines_hit": sum(lines),
            "lines_explained": sum(bool(m.reason) for m in missed if not m.side),
            "branches": len(sides),
            "branches_hit": sum(sides),
            "branches_explained": sum(bool(m.reason) for m in missed if m.side),
            "statements": sum(f.statements for f in self.files),
            "statements_hit": sum(f.statements_hit for f in self.files),
        }


def evaluate(compiled: Compiled, hits: Hits, claims: Iterable[Claim] = ()) -> Coverage:
    """Coverage of all files below ``contracts/`` without ``contracts/test/``."""
    index = Index(compiled, sources(compiled))
    reached: set[Point] = set()
    for key in hits.counters.keys() | hits.edges.keys():
        reached |= index.reached(key, hits.counters[key], hits.edges[key])
    files = [
        _file(source, index.points, reached)
        for _, source in sorted(index.sources.items())
        if source.statements
    ]
    claims = list(claims)
    wrong = judge(claims, files, index.sources)
    return Coverage(files, wrong)


def _file(source: Source, known: set[Point], reached: set[Point]) -> FileCoverage:
    out = FileCoverage(source.path)
    first: dict[int, str] = {}
    for key, statement in sorted(source.statements.items()):
        own = Point(source.path, *key, "")
        side = statement.entry and Point(source.path, *statement.entry.branch, statement.entry.edge)
        point = side if side is not None and side in known else own
        text = source.snippet(*key)
        if point not in known:
            out.no_code.append(f"{source.path}:{statement.line}: {text}")
            continue
        hit = point in reached
        out.statements += 1
        out.statements_hit += hit
        out.lines[statement.line] = out.lines.get(statement.line, False) or hit
        first.setdefault(statement.line, statement.function)
    for line, hit in sorted(out.lines.items()):
        if not hit:
            text = source.line_text(line)
            out.missed.append(Missed(source.path, line, first[line], "", text))
    _sides(source, known, reached, out)
    return out


def _sides(source: Source, known: set[Point], reached: set[Point], out: FileCoverage) -> None:
    numbers: dict[int, int] = {}
    for key, branch in sorted(source.branches.items()):
        text = source.snippet(*key)
        number = numbers.get(branch.line, 0)
        numbers[branch.line] = number + 1
        for edge in (JUMP, FALL):
            point = Point(source.path, *key, edge)
            name = f"{branch.kind} {branch.names[edge]}"
            if point not in known:
                if edge == JUMP:
                    out.no_code.append(f"{source.path}:{branch.line}: {branch.kind} {text}")
                continue
            hit = point in reached
            out.sides[branch.line, number, name] = hit
            if not hit:
                missed = Missed(source.path, branch.line, branch.function, name, text)
                out.missed.append(missed)


def as_json(coverage: Coverage) -> dict[str, Json]:
    """Everything, ready to be written."""
    return {
        "totals": coverage.totals(),
        "files": {
            f.path: {
                "lines": len(f.lines),
                "lines_hit": sum(f.lines.values()),
                "branches": len(f.sides),
                "branches_hit": sum(f.sides.values()),
                "statements": f.statements,
                "statements_hit": f.statements_hit,
                "missed": [
                    {"line": m.line, "function": m.function, "side": m.side, "text": m.text}
                    | ({"reason": m.reason} if m.reason else {})
                    for m in f.missed
                ],
                "no_code": f.no_code,
            }
            for f in coverage.files
        },
    }


def lcov(coverage: Coverage) -> str:
    """The same for viewers: http://ltp.sourceforge.net/coverage/lcov/geninfo.1.php."""
    out = []
    for f in coverage.files:
        out.append(f"TN:plumbline\nSF:{f.path}")
        out += [
            f"BRDA:{line},{number},{side},{int(hit)}"
            for (line, number, side), hit in _numbered(f.sides)
        ]
        out += [f"BRF:{len(f.sides)}", f"BRH:{sum(f.sides.values())}"]
        out += [f"DA:{line},{int(hit)}" for line, hit in sorted(f.lines.items())]
        out += [f"LF:{len(f.lines)}", f"LH:{sum(f.lines.values())}", "end_of_record"]
    return "\n".join(out) + "\n"


def _numbered(
    sides: Mapping[tuple[int, int, str], bool],
) -> list[tuple[tuple[int, int, int], bool]]:
    """Sides of a branch numbered instead of named."""
    counts: dict[tuple[int, int], int] = {}
    out = []
    for (line, branch, _), hit in sides.items():
        side = counts.get((line, branch), 0)
        counts[line, branch] = side + 1
        out.append(((line, branch, side), hit))
    return out
