"""The solc launcher behaves like the native compiler as far as Brownie and forge need it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOLC = ROOT / "tools" / "solc"
HEADER = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"


def run_solc(
    *arguments: str, stdin: bytes = b"", cwd: Path = ROOT
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(SOLC), *arguments], input=stdin, capture_output=True, cwd=cwd, check=False
    )


def compile_one(source: str, *, cwd: Path = ROOT, allow: Path = ROOT) -> dict[str, Any]:
    standard = {
        "language": "Solidity",
        "sources": {"contracts/A.sol": {"content": HEADER + source}},
        "settings": {
            "remappings": ["solady=node_modules/solady/src"],
            "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
        },
    }
    run = run_solc(
        "--standard-json",
        "--allow-paths",
        f"{allow},elsewhere",
        stdin=json.dumps(standard).encode(),
        cwd=cwd,
    )
    assert run.returncode == 0, run.stderr
    output: dict[str, Any] = json.loads(run.stdout)
    return output


def errors(output: dict[str, Any]) -> list[str]:
    return [e["message"] for e in output.get("errors", []) if e["severity"] == "error"]


def test_version_has_the_format_of_solc() -> None:
    lines = run_solc("--version").stdout.decode().splitlines()
    assert lines[0] == "solc, the solidity compiler commandline interface"
    assert lines[1].startswith("Version: 0.8.37+commit.")


def test_installed_launcher_is_what_brownie_finds() -> None:
    import solcx

    assert "0.8.37" in [str(v) for v in solcx.get_installed_solc_versions()]
    executable = solcx.install.get_executable("0.8.37")
    run = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True)
    assert "Version: 0.8.37+commit." in run.stdout


def test_input_beyond_the_stack_of_the_npm_wrapper() -> None:
    filler = "//" + "x" * 4_000_000 + "\n"
    output = compile_one(filler + "contract A { function f() external {} }")
    assert errors(output) == []
    assert output["contracts"]["contracts/A.sol"]["A"]["evm"]["bytecode"]["object"]


def test_utf8_survives() -> None:
    output = compile_one('contract A { string public s = unicode"Σ σ – 漢"; }')
    code = bytes.fromhex(output["contracts"]["contracts/A.sol"]["A"]["evm"]["bytecode"]["object"])
    assert "Σ σ – 漢".encode() in code


def test_imports_come_from_node_modules(tmp_path: Path) -> None:
    source = 'import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol"; contract A {}'
    assert errors(compile_one(source)) == []
    assert errors(compile_one(source, cwd=tmp_path)) == []  # found through --allow-paths


def test_missing_and_forbidden_imports(tmp_path: Path) -> None:
    (tmp_path / "secret.sol").write_text(HEADER)
    missing = errors(compile_one('import "solady/Nothing.sol"; contract A {}'))
    assert len(missing) == 1 and "not found" in missing[0]
    outside = errors(compile_one(f'import "{tmp_path}/secret.sol"; contract A {{}}'))
    assert len(outside) == 1 and "outside of allowed directories" in outside[0]


@pytest.mark.parametrize("arguments", [(), ("--bin", "A.sol")])
def test_other_modes_are_refused(arguments: tuple[str, ...]) -> None:
    run = run_solc(*arguments)
    assert run.returncode == 1
    assert b"only --version, --license and --standard-json are supported" in run.stderr
