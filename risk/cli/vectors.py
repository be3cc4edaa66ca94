"""``plumbline vectors``."""

from __future__ import annotations

import sys
from pathlib import Path

from risk.cli.output import counting, guarded, stdout, write_json
from risk.vectors.check import check_file
from risk.vectors.format import save
from risk.vectors.generate import generate


def vectors_command(
    check: Path | None, write: Path | None, cases: int, seed: int, json: Path | None
) -> int:
    """0: written, or everything agrees; 1: a value differs; 2: wrong use, or the run itself
    failed.
    """
    if (check is None) == (write is None):
        print("error: give either --check FILE or --write FILE", file=sys.stderr)
        return 2

    def body() -> int:
        if check is not None:
            return _check(check, json)
        assert write is not None
        return _write(write, cases, seed, json)

    return guarded(body)


def _write(path: Path, cases: int, seed: int, json: Path | None) -> int:
    document = generate(cases, seed, counting("cases"))
    print(file=sys.stderr)
    save(path, document)
    write_json(json, {"written": str(path), "cases": cases, "seed": seed})
    return 0


def _check(path: Path, json: Path | None) -> int:
    result = check_file(path, counting("cases"))
    print(file=sys.stderr)
    console = stdout()
    console.print(f"{result.cases} cases, {result.values} values compared with model and chain")
    for line in result.differences[:20]:
        console.print(line)
    console.print(f"{len(result.differences)} differences")
    write_json(
        json, {"cases": result.cases, "values": result.values, "differences": result.differences}
    )
    return 1 if result.differences else 0
