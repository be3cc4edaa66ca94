"""compile_contracts: artifacts, linking, cache, errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from risk.chain import compile as compiler
from risk.chain.compile import Artifact, compile_contracts, link, placeholder
from risk.chain.node import Anvil
from risk.errors import CompileError, ToolchainError

ROOT = Path(__file__).resolve().parents[2]
HEADER = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"
SOURCES = {
    "interfaces/ITwice.sol": (
        "interface ITwice { function twice(uint256) external returns (uint256); }"
    ),
    "contracts/lib/Double.sol": (
        "library Double {\n"
        "    function doubled(uint256 x) public pure returns (uint256) { return 2 * x; }\n"
        "}\n"
    ),
    "contracts/Twice.sol": (
        'import {ITwice} from "../interfaces/ITwice.sol";\n'
        'import {FixedPointMathLib} from "solady/utils/FixedPointMathLib.sol";\n'
        'import {Double} from "./lib/Double.sol";\n'
        "contract Twice is ITwice {\n"
        "    function twice(uint256 x) external pure returns (uint256) {\n"
        "        return Double.doubled(FixedPointMathLib.max(x, 1));\n"
        "    }\n"
        "}\n"
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for name, text in SOURCES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + text)
    shutil.copy(ROOT / "brownie-config.yaml", root)
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    return root


@pytest.fixture(scope="module")
def artifacts(project: Path) -> dict[str, Artifact]:
    return compile_contracts(project)


def test_everything_of_ours_is_there(artifacts: dict[str, Artifact]) -> None:
    assert {"Twice", "Double", "ITwice", "FixedPointMathLib"} == set(artifacts)
    twice = artifacts["Twice"]
    assert twice.source_path == "contracts/Twice.sol"
    assert twice.libraries == ("Double",)
    assert twice.method_identifiers["twice(uint256)"]
    assert 0 < twice.size < compiler.EIP170_LIMIT
    assert artifacts["ITwice"].bytecode == ""


def test_a_read_only_checkout_of_another_user_is_read_from_the_cache(
    project: Path, artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    entries = list((project / "build").rglob("*.json"))
    assert entries
    assert all(entry.stat().st_mode & 0o777 == 0o644 for entry in entries)
    monkeypatch.setattr(compiler.os, "utime", refused)
    monkeypatch.setattr(compiler, "_locked", refused, raising=False)
    monkeypatch.setattr(compiler.subprocess, "run", refused)
    assert compile_contracts(project) == artifacts


def test_second_compilation_comes_from_the_cache(
    project: Path, artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise AssertionError("solc was called")

    monkeypatch.setattr(compiler, "run_solc", no_compiler)
    assert compile_contracts(project) == artifacts


def test_a_changed_source_is_compiled_again(
    project: Path, artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, symlinks=True)
    library = copy / "contracts" / "lib" / "Double.sol"
    library.write_text(library.read_text().replace("2 * x", "3 * x"))
    changed = compile_contracts(copy)
    assert changed["Double"].deployed_bytecode != artifacts["Double"].deployed_bytecode
    assert changed["Double"].metadata_hash != artifacts["Double"].metadata_hash


def test_link(artifacts: dict[str, Artifact]) -> None:
    twice = artifacts["Twice"]
    full_name = "contracts/lib/Double.sol:Double"
    address = "0x" + "Ab" * 20
    assert placeholder(full_name) in twice.bytecode
    code = twice.linked({"Double": address})
    assert code == twice.linked({full_name: address})
    assert code.hex() == link(twice.bytecode, {full_name: address})
    assert bytes.fromhex("ab" * 20) in code
    with pytest.raises(ToolchainError, match=r"library Double .* is not linked"):
        twice.linked({})
    with pytest.raises(ToolchainError, match="a library is not linked"):
        link(twice.bytecode, {})
    with pytest.raises(ToolchainError, match="is not an address of 20 bytes"):
        twice.linked({"Double": "0x1234"})


@pytest.mark.chain
def test_linked_code_runs(artifacts: dict[str, Artifact]) -> None:
    with Anvil() as node, node.rpc() as rpc:
        sender = rpc.call("eth_accounts")[0]

        def deploy(code: bytes) -> str:
            receipt = rpc.receipt(rpc.send({"from": sender, "data": "0x" + code.hex()}))
            return str(receipt["contractAddress"])

        library = deploy(artifacts["Double"].linked({}))
        contract = deploy(artifacts["Twice"].linked({"Double": library}))
        selector = bytes.fromhex(artifacts["Twice"].method_identifiers["twice(uint256)"])
        answer = rpc.eth_call(contract, selector + (21).to_bytes(32, "big"))
        assert int.from_bytes(answer, "big") == 42


def broken(project: Path, tmp_path: Path, name: str, text: str) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(project, copy, symlinks=True)
    (copy / name).write_text(HEADER + text)
    return copy


def test_compile_error_shows_solcs_message(project: Path, tmp_path: Path) -> None:
    root = broken(project, tmp_path, "contracts/Bad.sol", "contract Bad { uint256 x = true; }")
    with pytest.raises(CompileError, match=r"contracts/Bad\.sol:3:28") as caught:
        compile_contracts(root)
    assert len(caught.value.messages) == 1
    assert str(caught.value).startswith("solc reports 1 error:\nTypeError: Type bool")
    assert len(list((root / compiler.CACHE_FOLDER).glob("*.json"))) == 1  # nothing half-written


def test_a_name_defined_twice(project: Path, tmp_path: Path) -> None:
    root = broken(project, tmp_path, "contracts/Again.sol", "contract Twice {}")
    with pytest.raises(ToolchainError, match="Twice is defined twice"):
        compile_contracts(root)


def test_missing_sources_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="no usable compiler settings"):
        compile_contracts(tmp_path)
    shutil.copy(ROOT / "brownie-config.yaml", tmp_path)
    with pytest.raises(ToolchainError, match="no Solidity source"):
        compile_contracts(tmp_path)
