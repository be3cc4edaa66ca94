"""Static analysis of the contracts: Slither, `forge lint`, and a limit on the code size.

    python tools/lint_contracts.py            fails on every finding without a row in docs/lint.md
    python tools/lint_contracts.py --write    brings the rows up to date; new ones say TODO
    python tools/lint_contracts.py --all      also prints the findings that have a row

docs/lint.md is the triage database itself: one table of what is switched off as a class, one of
single findings. A row stands for an exact number of findings of one detector in one function, so
one more fails, and so does one less (the row is stale then). No row excuses a function that it
does not name, except `Contract.*`, which counts what the contract's other rows leave over.

Everything works on one forced `forge build` with forge's own settings, which are Brownie's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HOME = Path(__file__).resolve().parents[1]
SLITHER = HOME / ".venv" / "slither" / "bin" / "slither"
FORGE = HOME / ".venv" / "bin" / "forge"
WORK = Path("build") / "lint"
OUT = Path("out")  # below WORK; slither.config.json names it, too
TRIAGE = Path("docs") / "lint.md"
NOT_OURS = ("node_modules/", "contracts/test/")
SOURCE_FOLDERS = ("contracts", "interfaces")

EIP170_LIMIT = 24_576
SIZE_LIMIT = EIP170_LIMIT - 1_024

# What may be switched off as a class; anything graver needs a row and a reason of its own.
MILD = {"slither": ("Informational", "Optimization"), "forge": ("note",)}
FORGE_SEVERITIES = ("high", "med", "low", "info", "gas", "code-size")

OFF_HEADING = "## Switched off as a class"
ROWS_HEADING = "## Findings"
TODO = "TODO"
SHORTEST_REASON = 15


class LintError(Exception):
    """The analysis itself could not be done, or docs/lint.md cannot be read."""


@dataclass(frozen=True)
class Finding:
    """One finding. `place` is `Contract.member`, `Contract`, or the path of a file."""

    tool: str
    detector: str
    grade: str
    place: str
    where: str
    text: str


@dataclass(frozen=True)
class Row:
    """One line of the findings table: `count` findings of `detector` in `place`, and why."""

    tool: str
    detector: str
    place: str
    count: int
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.tool, self.detector, self.place)

    def markdown(self) -> str:
        return f"| {self.tool} | {self.detector} | `{self.place}` | {self.count} | {self.reason} |"


# ----------------------------------------------------------------------------------- the build


def copy_tree(root: Path) -> Path:
    """A copy of the sources and settings in build/lint, which an editor cannot change meanwhile."""
    tree = root / WORK
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in SOURCE_FOLDERS:
        if (root / name).is_dir():
            shutil.copytree(root / name, tree / name)
    for name in ("foundry.toml", "slither.config.json"):
        shutil.copy(root / name, tree)
    for name in ("node_modules", "tools"):
        (tree / name).symlink_to(HOME / name)
    return tree


def build(tree: Path) -> dict[str, Any]:
    """Build info (standard JSON output and syntax trees) of a complete compilation."""
    command = [str(FORGE), "build", "--force", "--ast", "--build-info"]
    run = subprocess.run(command, cwd=tree, env=_environment(), capture_output=True, text=True)
    files = list((tree / OUT / "build-info").glob("*.json"))
    if run.returncode != 0 or len(files) != 1:
        raise LintError(f"forge build failed:\n{run.stdout}{run.stderr}")
    info: dict[str, Any] = json.loads(files[0].read_text())
    return info


def _environment() -> dict[str, str]:
    """One place for forge's output, forge on the PATH, and solc-select away from the home."""
    return {
        **os.environ,
        "PATH": f"{FORGE.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "FOUNDRY_OUT": str(OUT),
        "FOUNDRY_CACHE_PATH": "cache",
        "FOUNDRY_BUILD_INFO_PATH": str(OUT / "build-info"),
        "VIRTUAL_ENV": str(SLITHER.parents[1]),
    }


class Places:
    """Byte offset in a source file -> innermost contract member that holds it."""

    MEMBERS = (
        "FunctionDefinition",
        "ModifierDefinition",
        "VariableDeclaration",
        "EventDefinition",
        "ErrorDefinition",
        "StructDefinition",
        "EnumDefinition",
    )

    def __init__(self, info: dict[str, Any]) -> None:
        self._spans: dict[str, list[tuple[int, int, str]]] = {}
        for path, source in info["output"]["sources"].items():
            if not path.startswith(NOT_OURS):
                self._spans[path] = sorted(self._walk(source["ast"]))

    def _walk(self, ast: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
        for node in ast["nodes"]:
            if node["nodeType"] != "ContractDefinition":
                continue
            yield (*_span(node), node["name"])
            for member in node["nodes"]:
                if member["nodeType"] in self.MEMBERS:
                    name = member.get("name") or member.get("kind")
                    yield (*_span(member), f"{node['name']}.{name}")

    def at(self, path: str, offset: int) -> str:
        spans = self._spans.get(path, [])
        for start, end, name in reversed(spans[: bisect_right(spans, (offset + 1,))]):
            if start <= offset < end:
                return name
        return path


def _span(node: dict[str, Any]) -> tuple[int, int]:
    start, length = node["src"].split(":")[:2]
    return int(start), int(start) + int(length)


def code_sizes(info: dict[str, Any]) -> dict[str, int]:
    """Bytes of deployed code of every contract and library of ours."""
    return {
        name: len(data["evm"]["deployedBytecode"]["object"].removeprefix("0x")) // 2
        for path, contracts in info["output"]["contracts"].items()
        if not path.startswith("node_modules/")
        for name, data in contracts.items()
    }


# ----------------------------------------------------------------------------------- the tools


def slither(tree: Path, places: Places) -> list[Finding]:
    """Slither's findings on the build of `build`; every detector runs."""
    if not SLITHER.exists():
        raise LintError("Slither is not installed; run `make setup`")
    report = tree / "slither.json"
    command = [str(SLITHER), ".", "--no-fail-pedantic", "--json", str(report)]
    run = subprocess.run(command, cwd=tree, env=_environment(), capture_output=True, text=True)
    log = run.stdout + run.stderr
    answer = json.loads(report.read_text()) if report.exists() else {}
    # Slither goes on where it cannot translate a function, and would find nothing in it.
    if (
        run.returncode != 0
        or not answer.get("success")
        or re.search(r"^ERROR:|Traceback", log, re.M)
    ):
        raise LintError(f"Slither failed:\n{log[-4000:]}")
    found = []
    for result in answer["results"].get("detectors", []):
        spot = result["elements"][0]["source_mapping"] if result["elements"] else None
        path = spot["filename_relative"] if spot else "-"
        line = spot["lines"][0] if spot and spot["lines"] else 0
        place = places.at(path, spot["start"]) if spot and line else path
        text = " ".join(result["description"].split())
        grade = result["impact"]
        found.append(Finding("slither", result["check"], grade, place, f"{path}:{line}", text))
    return found


def forge_lint(tree: Path, places: Places) -> list[Finding]:
    """`forge lint`'s findings; every lint of every severity runs."""
    command = [str(FORGE), "lint", "--json", "--severity", *FORGE_SEVERITIES]
    run = subprocess.run(command, cwd=tree, env=_environment(), capture_output=True, text=True)
    found = []
    for line in (run.stdout + run.stderr).splitlines():
        if not line.startswith("{"):
            continue
        entry = json.loads(line)
        spot = next(s for s in entry["spans"] if s["is_primary"])
        path = spot["file_name"]
        if entry["level"] == "error" or entry["code"] is None:
            raise LintError(f"forge lint failed:\n{entry['rendered']}")
        if path.startswith(NOT_OURS):
            continue
        code = " ".join(t["text"].strip() for t in spot["text"][:1])
        place = places.at(path, spot["byte_start"])
        where = f"{path}:{spot['line_start']}"
        name = entry["code"]["code"]
        found.append(Finding("forge", name, entry["level"], place, where, code))
    if run.returncode != 0:
        raise LintError(f"forge lint failed:\n{run.stdout}{run.stderr}")
    return found


# ---------------------------------------------------------------------------------- the triage


def read_triage(path: Path) -> tuple[dict[tuple[str, str], str], list[Row]]:
    """`({(tool, detector): reason} of what is off as a class, rows)` of docs/lint.md."""
    text = path.read_text(encoding="utf-8")
    off: dict[tuple[str, str], str] = {}
    for cells in _table(text, OFF_HEADING):
        if len(cells) != 3:
            raise LintError(f"{path}: {cells} is not tool, detector, reason")
        off[cells[0], cells[1]] = cells[2]
    rows: dict[tuple[str, str, str], Row] = {}
    for cells in _table(text, ROWS_HEADING):
        if len(cells) != 5 or not cells[3].isdigit():
            raise LintError(f"{path}: {cells} is not tool, detector, place, number, reason")
        row = Row(cells[0], cells[1], cells[2].strip("`"), int(cells[3]), cells[4])
        if row.key in rows:
            raise LintError(f"{path}: two rows for {' '.join(row.key)}")
        rows[row.key] = row
    return off, list(rows.values())


def _table(text: str, heading: str) -> list[list[str]]:
    """Cells of the table below `heading`, without its two header lines."""
    _, found, rest = text.partition(heading + "\n")
    if not found:
        raise LintError(f"docs/lint.md has no section {heading!r}")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def assign(findings: Iterable[Finding], rows: Iterable[Row]) -> dict[Row | None, list[Finding]]:
    """Findings by the row that covers them: the row of the place, else `Contract.*`, else None."""
    by_key = {row.key: row for row in rows}
    answer: dict[Row | None, list[Finding]] = defaultdict(list)
    for f in findings:
        wildcard = f.place.partition(".")[0] + ".*"
        row = by_key.get((f.tool, f.detector, f.place))
        row = row or by_key.get((f.tool, f.detector, wildcard))
        answer[row].append(f)
    return answer


def judge(findings: list[Finding], off: dict[tuple[str, str], str], rows: list[Row]) -> list[str]:
    """Complaints: findings without a row, rows that do not fit, reasons that are missing."""
    complaints = []
    for (tool, detector), reason in off.items():
        if not _is_reason(reason):
            complaints.append(f"docs/lint.md: {tool} {detector} is off without a reason")
    for f in findings:
        if (f.tool, f.detector) in off and f.grade not in MILD[f.tool]:
            complaints.append(
                f"docs/lint.md: {f.tool} {f.detector} is {f.grade}; it needs rows, not the class"
            )
    open_ones = [f for f in findings if (f.tool, f.detector) not in off]
    covered = assign(open_ones, rows)
    complaints += [_describe(f) for f in covered.get(None, [])]
    for row in rows:
        got = covered.get(row, [])
        name = f"{row.tool} {row.detector} {row.place}"
        if len(got) != row.count:
            kind = "new findings" if len(got) > row.count else "stale row"
            complaints.append(f"{kind}: docs/lint.md has {row.count} x {name}, found {len(got)}")
            complaints += ["    " + _describe(f) for f in got]
        if not _is_reason(row.reason):
            complaints.append(f"docs/lint.md: no reason for {name}")
    return list(dict.fromkeys(complaints))


def _is_reason(text: str) -> bool:
    return len(text) >= SHORTEST_REASON and TODO not in text


def _describe(f: Finding) -> str:
    return f"{f.where}: {f.tool} {f.detector} ({f.grade}) in {f.place}: {f.text[:300]}"


def updated(rows: list[Row], findings: list[Finding], off: dict[tuple[str, str], str]) -> list[Row]:
    """Rows with the numbers of `findings`: stale ones dropped, new ones with TODO as reason."""
    covered = assign((f for f in findings if (f.tool, f.detector) not in off), rows)
    new: dict[tuple[str, str, str], int] = defaultdict(int)
    for f in covered.get(None, []):
        new[f.tool, f.detector, f.place] += 1
    kept = [
        Row(r.tool, r.detector, r.place, len(covered[r]), r.reason) for r in rows if r in covered
    ]
    added = [Row(*key, count, TODO) for key, count in new.items()]
    return sorted([*kept, *added], key=lambda r: r.key)


def write_rows(path: Path, rows: list[Row]) -> None:
    """Replaces the findings table of docs/lint.md."""
    text = path.read_text(encoding="utf-8")
    before, heading, rest = text.partition(ROWS_HEADING + "\n")
    section, next_heading, after = rest.partition("\n## ")
    intro = "\n".join(line for line in section.splitlines() if not line.startswith("|")).strip()
    header = ["| tool | detector | place | n | why |", "|---|---|---|---|---|"]
    table = "\n".join([*header, *(row.markdown() for row in rows)])
    new = f"{before}{heading}\n{intro}\n\n{table}\n{next_heading}{after}"
    path.write_text(new, encoding="utf-8")


# ------------------------------------------------------------------------- inline suppressions

_ANY_DIRECTIVE = re.compile(r"//.*(?:slither-(?:dis|en)able|forge-lint\s*:)")
_DIRECTIVE = re.compile(
    r"//\s*(?:slither-(?P<slither>disable-[a-z-]+)\s+(?P<names1>[a-z0-9,-]+)"
    r"|forge-lint:\s*(?P<forge>disable-[a-z-]+)\((?P<names2>[a-z0-9, -]+)\))"
    r"(?P<reason>.*)"
)
KINDS = ("disable-next-line", "disable-line", "disable-start", "disable-end")
LONGEST_BLOCK = 20  # lines from a disable-start to its disable-end


def inline_suppressions(root: Path) -> list[str]:
    """Complaints about comments that switch a detector off without its name or without a reason.

    Allowed are disable-next-line, disable-line and short disable-start/-end blocks, each with the
    names of the detectors and the reason behind them or in the comment line above.
    """
    complaints = []
    for folder in SOURCE_FOLDERS:
        for path in sorted((root / folder).rglob("*.sol")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(NOT_OURS):
                lines = path.read_text(encoding="utf-8").splitlines()
                complaints += [f"{name}:{number}: {c}" for number, c in faults(lines)]
    return complaints


def faults(lines: list[str]) -> Iterator[tuple[int, str]]:
    """(line number, complaint) of every directive in `lines` that is not as it should be."""
    for index, line in enumerate(lines):
        if not _ANY_DIRECTIVE.search(line):
            continue
        match = _DIRECTIVE.search(line)
        kind = match and (match["slither"] or match["forge"])
        if not match or kind not in KINDS:
            yield index + 1, f"a suppression must be one of {', '.join(KINDS)} and name detectors"
            continue
        names = match["names1"] or match["names2"]
        if "all" in names.split(","):
            yield index + 1, "a suppression must name its detectors"
        if kind == "disable-end":
            continue
        if kind == "disable-start":
            block = lines[index + 1 : index + 1 + LONGEST_BLOCK]
            if not any("disable-end" in later and names in later for later in block):
                yield index + 1, f"a suppression may cover {LONGEST_BLOCK} lines at most"
        if not _is_reason(match["reason"].strip(" -:")) and not _is_reason(_above(lines, index)):
            yield index + 1, "a suppression needs its reason behind it or in the comment above"


def _above(lines: list[str], index: int) -> str:
    """The comment that ends right above line `index`, directives left out; '' if there is none."""
    for line in reversed(lines[:index]):
        if not line.strip().startswith("//"):
            return ""
        if not _ANY_DIRECTIVE.search(line):
            return line.strip().lstrip("/ ")
    return ""


# ---------------------------------------------------------------------------------------- main


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Lets one process of this checkout analyse while others wait (where files can be locked)."""
    (root / WORK).parent.mkdir(parents=True, exist_ok=True)
    with (root / WORK).with_suffix(".lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(root: Path, *, write: bool = False, show_all: bool = False) -> int:
    """0: nothing to say; 1: complaints, printed."""
    with _one_at_a_time(root):
        return _run(root, write, show_all)


def _run(root: Path, write: bool, show_all: bool) -> int:
    tree = copy_tree(root)
    info = build(tree)
    places = Places(info)
    sizes = code_sizes(info)
    findings = [*slither(tree, places), *forge_lint(tree, places)]
    off, rows = read_triage(root / TRIAGE)
    if show_all:
        for f in sorted(findings, key=lambda f: (f.tool, f.detector, f.where)):
            if (f.tool, f.detector) not in off:
                print(_describe(f))
    if write:
        rows = updated(rows, findings, off)
        write_rows(root / TRIAGE, rows)
    complaints = [
        f"{name}: {size} bytes of code, {size - SIZE_LIMIT} more than the {SIZE_LIMIT} allowed"
        for name, size in sorted(sizes.items())
        if size > SIZE_LIMIT
    ]
    complaints += inline_suppressions(tree)
    complaints += judge(findings, off, rows)
    for complaint in complaints:
        print(complaint)
    count = sum((f.tool, f.detector) not in off for f in findings)
    largest = max(sizes, key=lambda name: sizes[name])
    print(
        f"lint_contracts: {len(sizes)} contracts, largest {largest} {sizes[largest]} bytes; "
        f"{count} findings, {len(rows)} rows of triage; {len(complaints)} complaints"
    )
    if complaints:
        print("docs/lint.md tells how to answer a finding; --write adds its row")
    return 1 if complaints else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=HOME, help="checkout to analyse")
    parser.add_argument("--write", action="store_true", help="bring docs/lint.md up to date")
    parser.add_argument("--all", action="store_true", help="print the triaged findings, too")
    options = parser.parse_args()
    try:
        return run(options.root.resolve(), write=options.write, show_all=options.all)
    except LintError as error:
        print(f"lint_contracts: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
