"""What ``plumbline solcov run`` and ``plumbline solcov report`` do."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from risk.chain.node import project_root
from risk.cli.output import guarded, stdout, write_json
from risk.files import write_text
from risk.solcov.build import Compiled, compile_project
from risk.solcov.collect import environment
from risk.solcov.errors import SolcovError
from risk.solcov.evaluate import Coverage, FileCoverage, as_json, evaluate, lcov
from risk.solcov.store import Hits, read
from risk.solcov.unreachable import TABLE, load

DATA = Path("build") / "solcov" / "data"
# Brownie talks to its nodes itself, so nothing of these could be watched; and a coverage run inside
# a coverage run is no use.
UNWATCHED = ("tests/deploy/test_brownie_project.py", "tests/solcov", "tests/toolchain")


@dataclass(frozen=True)
class RunOptions:
    """What to collect: arguments of pytest and of ``plumbline verify``; None leaves it out."""

    pytest: str | None
    verify: str | None
    fresh: bool = False
    effort: float = 1.0


@dataclass(frozen=True)
class ReportOptions:
    """Where results go and what they must reach, in per cent."""

    json: Path | None
    lcov: Path | None
    fail_lines: float | None
    fail_branches: float | None


def run_command(options: RunOptions) -> int:
    """0, or the exit code of what failed; what ran until then is kept."""
    return guarded(lambda: _run(options))


def report_command(options: ReportOptions) -> int:
    """0: all thresholds are met; 1: not so; 2: there is nothing to judge."""
    return guarded(lambda: _report(options))


def _run(options: RunOptions) -> int:
    root = project_root()
    folder = root / DATA
    if options.fresh and folder.exists():
        shutil.rmtree(folder)
    print("compiling", file=sys.stderr)
    compile_project(root)  # once, before the workers read it from the cache
    commands = []
    if options.pytest is not None:
        skipped = [f"--ignore={path}" for path in UNWATCHED]
        commands.append(["-m", "pytest", "-q", *skipped, *shlex.split(options.pytest)])
    if options.verify is not None:
        commands.append(["-m", "risk.cli.main", "verify", *shlex.split(options.verify)])
    if not commands:
        raise SolcovError("nothing to run: give --pytest, --verify or both")
    variables = {**os.environ, **environment(folder, options.effort)}
    worst = 0
    for command in commands:
        started = time.monotonic()
        status = subprocess.run([sys.executable, *command], cwd=root, env=variables, check=False)
        seconds = time.monotonic() - started
        print(f"{' '.join(command[1:])}: {seconds:.0f} s", file=sys.stderr)
        worst = max(worst, abs(status.returncode))
    return worst


def _report(options: ReportOptions) -> int:
    root = project_root()
    compiled, hits = _data(root)
    coverage = evaluate(compiled, hits, load(root / TABLE))
    console = stdout()
    console.print(table(coverage))
    _print_missed(console, coverage)
    write_json(options.json, as_json(coverage))
    if options.lcov is not None:
        write_text(options.lcov, lcov(coverage))
    failures = [f"{TABLE}: {claim}" for claim in coverage.wrong_claims]
    totals = coverage.totals()
    for what, wanted in (("lines", options.fail_lines), ("branches", options.fail_branches)):
        share = percent(totals[f"{what}_hit"], totals[what])
        if wanted is not None and share < wanted:
            failures.append(f"{what}: {share:.2f} %, wanted {wanted:g} %")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _data(root: Path) -> tuple[Compiled, Hits]:
    compiled = compile_project(root)
    hits, _ = read(root / DATA, compiled.by_key)
    if not hits.counters:
        raise SolcovError(f"no coverage of these sources in {DATA}; run `plumbline solcov run`")
    return compiled, hits


def percent(part: int, whole: int) -> float:
    """Share in per cent; nothing of nothing is all."""
    return 100.0 * part / whole if whole else 100.0


def table(coverage: Coverage) -> Table:
    """Lines and branches by file, and the sums."""
    out = Table("file", title="plumbline solcov: reached of the compiled contracts")
    for name in ("lines", "", "branches", "", "explained"):
        out.add_column(name, justify="right")
    for f in coverage.files:
        out.add_row(f.path.removeprefix("contracts/"), *_figures(f))
    t = coverage.totals()
    out.add_section()
    out.add_row(
        "all",
        f"{t['lines_hit']:,} of {t['lines']:,}",
        f"{percent(t['lines_hit'], t['lines']):.2f} %",
        f"{t['branches_hit']:,} of {t['branches']:,}",
        f"{percent(t['branches_hit'], t['branches']):.2f} %",
        f"{t['lines_explained']} + {t['branches_explained']}",
    )
    return out


def _figures(f: FileCoverage) -> list[str]:
    lines, sides = list(f.lines.values()), list(f.sides.values())
    explained = sum(bool(m.reason) for m in f.missed)
    return [
        f"{sum(lines)} of {len(lines)}",
        f"{percent(sum(lines), len(lines)):.1f} %",
        f"{sum(sides)} of {len(sides)}",
        f"{percent(sum(sides), len(sides)):.1f} %",
        str(explained or ""),
    ]


def _print_missed(console: Console, coverage: Coverage) -> None:
    for f in coverage.files:
        for item in f.missed:
            side = f" [{item.side}]" if item.side else ""
            reason = f"\n    explained: {item.reason}" if item.reason else ""
            where = f"{item.path}:{item.line} {item.function}{side}"
            console.print(f"{where}\n    {item.text}{reason}", markup=False, highlight=False)
