"""What code a version has: equal code is no mutant, other code of an importer is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from risk.errors import CompileError
from risk.mutate.compiler import (
    Project,
    Solc,
    artifacts_of,
    deployable,
    deployed_code,
    fingerprint,
    open_project,
    with_code,
)
from risk.mutate.errors import CompilerDied, MutateError
from tests.mutate.conftest import BANK, bank_config, write_bank

FILE = "src/Bank.sol"
BANK_NAME = (FILE, "Bank")


def test_only_what_can_be_called_is_compiled(bank: Project, solc: Solc) -> None:
    artifacts = artifacts_of(bank, solc)
    assert set(artifacts) == {"Bank", "Rounding"}
    assert deployable(bank, artifacts) == [BANK_NAME]  # the library is internal
    assert artifacts["Bank"].method_identifiers["larger(uint256,uint256)"]
    assert artifacts_of(bank, solc) == artifacts  # from the file of the first time


def test_a_comment_changes_no_code_a_number_does(bank: Project, solc: Solc) -> None:
    plain = fingerprint(bank.code(solc, [BANK_NAME]))
    commented = BANK.replace("// not an index", "// still not an index")
    assert fingerprint(bank.code(solc, [BANK_NAME], {FILE: commented})) == plain
    changed = BANK.replace("FEE = 30", "FEE = 31")
    assert fingerprint(bank.code(solc, [BANK_NAME], {FILE: changed})) != plain


def test_deployed_code_is_optimised(bank: Project, solc: Solc) -> None:
    deployed = deployed_code(bank, solc, [BANK_NAME])
    plain = bank.code(solc, [BANK_NAME])
    assert len(deployed[BANK_NAME]["bytecode"]) < len(plain[BANK_NAME]["bytecode"])
    # dead for the optimiser, alive without it
    idle = BANK.replace("return a > b ? a : b;", "unchecked { return a > b ? a * 1 : b; }")
    assert fingerprint(bank.code(solc, [BANK_NAME], {FILE: idle})) != fingerprint(plain)
    again = bank.code(solc, [BANK_NAME], {FILE: idle}, deployed=True)
    assert fingerprint(again) == fingerprint(deployed)


def test_artifacts_with_other_code(bank: Project, solc: Solc) -> None:
    artifacts = artifacts_of(bank, solc)
    code = bank.code(solc, [BANK_NAME], {FILE: BANK.replace("FEE = 30", "FEE = 31")})
    changed = with_code(artifacts, code)
    assert changed["Bank"].bytecode != artifacts["Bank"].bytecode
    assert changed["Bank"].abi == artifacts["Bank"].abi
    assert changed["Rounding"] == artifacts["Rounding"]


def test_the_compiler_lives_on_after_an_error(bank: Project, solc: Solc) -> None:
    with pytest.raises(CompileError, match="Expected"):
        bank.code(solc, [BANK_NAME], {FILE: BANK.replace("returns (bool)", "returns bool")})
    assert bank.code(solc, [BANK_NAME])


def test_imports_are_followed(tmp_path: Path, solc: Solc) -> None:
    root = write_bank(tmp_path)
    (root / "lib").mkdir()
    (root / "lib" / "Base.sol").write_text("contract Base { uint256 public base = 1; }")
    text = 'import {Base} from "../lib/Base.sol";\nimport "./Bank.sol";\n'
    text += "contract User is Base, Bank {}"
    (root / "src" / "User.sol").write_text(text)
    (root / "src" / "Alone.sol").write_text("contract Alone { function one() external {} }")
    project = open_project(root, bank_config(), solc)
    assert project.closures["src/User.sol"] == {"src/User.sol", FILE, "lib/Base.sol"}
    assert project.own == ("src/Alone.sol", FILE, "src/User.sol")  # lib/ is only imported
    contracts = deployable(project, artifacts_of(project, solc))
    assert [name for _, name in contracts] == ["Alone", "Bank", "User"]
    assert [name for _, name in project.importers(FILE, contracts)] == ["Bank", "User"]


def test_a_missing_import_is_named(tmp_path: Path, solc: Solc) -> None:
    root = write_bank(tmp_path, 'import "./Nowhere.sol";\ncontract C {}')
    with pytest.raises(MutateError, match=r"src/Bank\.sol imports src/Nowhere\.sol"):
        open_project(root, bank_config(), solc)


def test_a_dead_compiler_is_no_compile_error(tmp_path: Path) -> None:
    soljson = Path(bank_config().compile.soljson)
    with Solc(soljson) as compiler:
        project = open_project(write_bank(tmp_path), bank_config(), compiler)
    with pytest.raises((CompilerDied, ValueError)):
        project.code(compiler, [BANK_NAME])
