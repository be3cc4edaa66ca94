"""`make lint` on the contracts: new findings, stale or unreasoned answers and large code fail."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from risk.chain.compile import compile_contracts
from tools import lint_contracts as lint

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
HEADER = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"
CLEAN = (
    HEADER
    + """
contract Clean {
    function twice(uint8 x) external pure returns (uint256) {
        return 2 * uint256(x);
    }
}
"""
)
BAD = (
    HEADER
    + """
contract Bad {
    function low(uint256 x) external pure returns (uint8) {
        return uint8(x);
    }
    function poke(address to) external {
        require(to != address(0));
        to.call("");
    }
}
"""
)
OFF = f"{lint.OFF_HEADING}\n\n| tool | detector | why |\n|---|---|---|\n"
ROWS = f"{lint.ROWS_HEADING}\n\n| tool | detector | place | n | why |\n|---|---|---|---|---|\n"
CLASS = (
    "| slither | low-level-calls | the scratch contract calls on purpose |\n"
    "| forge | custom-errors | the scratch contract has no errors |\n"
    "| slither | solc-version | the compiler is pinned elsewhere |\n"
)
GOOD = [
    "| forge | unsafe-typecast | `Bad.low` | 1 | the caller wants the low eight bits |",
    "| forge | unchecked-call | `Bad.poke` | 1 | the outcome of the call does not matter |",
    "| slither | unchecked-lowlevel | `Bad.poke` | 1 | the outcome of the call does not matter |",
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A checkout with one source, this repository's settings and a docs/lint.md of its own."""

    def make(source: str, rows: list[str] | None = None) -> Path:
        root = tmp_path_factory.mktemp("checkout")
        for name in ("foundry.toml", "slither.config.json"):
            shutil.copy(ROOT / name, root)
        (root / "contracts").mkdir()
        (root / "contracts" / "Scratch.sol").write_text(source)
        (root / "docs").mkdir()
        table = "".join(f"{row}\n" for row in rows or [])
        (root / "docs" / "lint.md").write_text(f"{OFF}{CLASS}\n{ROWS}{table}")
        return root

    return make


# ------------------------------------------------------------------------ the tools themselves


def test_clean_contract_passes(scratch: Callable[..., Path]) -> None:
    assert lint.run(scratch(CLEAN)) == 0


def test_new_findings_of_both_tools_fail(
    scratch: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lint.run(scratch(BAD)) == 1
    printed = capsys.readouterr().out
    assert "contracts/Scratch.sol:6: forge unsafe-typecast (warning) in Bad.low" in printed
    assert "slither unchecked-lowlevel (Medium) in Bad.poke" in printed


def test_answered_findings_pass_and_one_more_fails(
    scratch: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = scratch(BAD, GOOD)
    assert lint.run(root) == 0, capsys.readouterr().out
    source = root / "contracts" / "Scratch.sol"
    source.write_text(BAD.replace("return uint8(x);", "return uint8(x) ^ uint8(x >> 8);"))
    assert lint.run(root) == 1
    assert "docs/lint.md has 1 x forge unsafe-typecast Bad.low, found 2" in capsys.readouterr().out


def test_comment_with_a_reason_answers_a_finding(scratch: Callable[..., Path]) -> None:
    cast = "return uint8(x);"
    call = 'to.call("");'
    above_cast = "// forge-lint: disable-next-line(unsafe-typecast) the low eight bits are wanted"
    above_call = "// slither-disable-next-line unchecked-lowlevel the outcome does not matter"
    behind_call = "// forge-lint: disable-line(unchecked-call) the outcome does not matter"
    answered = BAD.replace(cast, f"{above_cast}\n{cast}")
    answered = answered.replace(call, f"{above_call}\n{call} {behind_call}")
    assert lint.run(scratch(answered)) == 0


def test_large_contract_fails(
    scratch: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = "ab" * (lint.SIZE_LIMIT + 1)
    body = f'return hex"{data}";'
    large = f"contract Large {{ function get() external pure returns (bytes memory) {{ {body} }} }}"
    assert lint.run(scratch(HEADER + large)) == 1
    assert f"more than the {lint.SIZE_LIMIT} allowed" in capsys.readouterr().out


def test_source_that_does_not_compile_is_an_error(scratch: Callable[..., Path]) -> None:
    with pytest.raises(lint.LintError, match="forge build failed"):
        lint.run(scratch(HEADER + "contract Broken { uint256 x = y; }"))


# ---------------------------------------------------------------------------------- the triage


def finding(detector: str = "timestamp", place: str = "A.f", grade: str = "Low") -> lint.Finding:
    return lint.Finding("slither", detector, grade, place, "contracts/A.sol:1", "text")


def row(
    place: str = "A.f", count: int = 1, reason: str = "a reason that is long enough"
) -> lint.Row:
    return lint.Row("slither", "timestamp", place, count, reason)


@pytest.mark.parametrize(
    ("findings", "rows", "complaint"),
    [
        ([finding()], [], "contracts/A.sol:1: slither timestamp"),
        ([finding()], [row("A.g")], "stale row"),
        ([finding()] * 2, [row()], "new findings"),
        ([], [row()], "stale row"),
        ([finding()], [row(reason="TODO")], "no reason"),
        ([finding()], [row(reason="safe")], "no reason"),
        ([finding(), finding(place="A.g")], [row(), row("A.*", 2)], "stale row"),
    ],
)
def test_what_does_not_fit_is_named(
    findings: list[lint.Finding], rows: list[lint.Row], complaint: str
) -> None:
    assert any(complaint in c for c in lint.judge(findings, {}, rows))


def test_wildcard_takes_what_other_rows_leave() -> None:
    findings = [finding(), finding(place="A.g"), finding(place="A.h")]
    assert lint.judge(findings, {}, [row(), row("A.*", 2)]) == []


def test_only_mild_detectors_may_be_off_as_a_class() -> None:
    off = {("slither", "timestamp"): "a reason that is long enough"}
    assert lint.judge([finding(grade="Informational")], off, []) == []
    assert any("it needs rows" in c for c in lint.judge([finding(grade="Medium")], off, []))


def test_update_keeps_reasons_and_marks_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "lint.md"
    path.write_text(f"# Title\n\n{OFF}\n{ROWS}{row().markdown()}\n{row('A.old').markdown()}\n")
    off, rows = lint.read_triage(path)
    new = lint.updated(rows, [finding()] * 3 + [finding(place="B.f")], off)
    lint.write_rows(path, new)
    assert lint.read_triage(path) == (off, [row(count=3), row("B.f", 1, "TODO")])
    assert path.read_text().startswith("# Title\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("// forge-lint: disable-next-line(unsafe-typecast)", "needs its reason"),
        ("// forge-lint: disable-next-line", "name detectors"),
        ("// forge-lint: disable-file(unsafe-typecast) a reason long enough", "must be one of"),
        ("// slither-disable-next-line all a reason that is long enough", "must name"),
        ("// slither-disable-next-line timestamp", "needs its reason"),
        ("// forge-lint: disable-start(unsafe-typecast) a reason long enough", "lines at most"),
    ],
)
def test_suppression_without_name_or_reason_is_refused(text: str, complaint: str) -> None:
    lines = ["uint256 y;", text, "uint8 z = uint8(y);"]
    assert [number for number, c in lint.faults(lines) if complaint in c] == [2]


def test_suppressions_with_name_and_reason_are_accepted() -> None:
    lines = [
        "// forge-lint: disable-start(unsafe-typecast) both were checked above",
        "uint8 z = uint8(y);",
        "// forge-lint: disable-end(unsafe-typecast)",
        "// the caller has checked the time",
        "// slither-disable-next-line timestamp,incorrect-equality",
    ]
    assert list(lint.faults(lines)) == []


# --------------------------------------------------------------------------- this repository


def test_no_contract_within_one_kilobyte_of_the_size_limit() -> None:
    sizes = {name: artifact.size for name, artifact in compile_contracts(ROOT).items()}
    assert {name: size for name, size in sizes.items() if size > lint.SIZE_LIMIT} == {}


def test_every_answer_has_a_reason() -> None:
    off, rows = lint.read_triage(ROOT / lint.TRIAGE)
    short = [r.key for r in rows if not lint._is_reason(r.reason)]
    assert short + [key for key, reason in off.items() if not lint._is_reason(reason)] == []


def test_no_setting_hides_findings_elsewhere() -> None:
    forge = tomllib.loads((ROOT / "foundry.toml").read_text())
    assert set(forge.get("lint", {})) <= {"lint_on_build"}
    slither = json.loads((ROOT / "slither.config.json").read_text())
    assert set(slither) == {"ignore_compile", "foundry_out_directory", "filter_paths"}
    assert tuple(slither["filter_paths"].split(",")) == lint.NOT_OURS
    assert not (ROOT / "slither.db.json").exists()


def test_slither_lock_holds_the_direct_pins_and_hashes_only() -> None:
    lock = (ROOT / "tools" / "slither.lock").read_text()
    for line in (ROOT / "tools" / "slither.in").read_text().splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[a-z-]+==[0-9.]+", line)
            assert f"\n{line} \\\n    --hash=sha256:" in lock, f"{line}: run `make lock`"
    assert "://" not in lock and "file:" not in lock
