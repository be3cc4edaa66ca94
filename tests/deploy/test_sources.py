"""Standard JSON of every contract: recompiled alone, it gives the code that is on chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from risk.chain.compile import Artifact, compiler_settings, find_solc, link, run_solc
from risk.chain.keccak import keccak
from risk.chain.rpc import Rpc, from_hex
from risk.deploy.cli import deploy_and_record
from risk.deploy.config import parse_config
from risk.deploy.record import DeploymentRecord
from risk.deploy.sender import RpcSender
from risk.deploy.sources import imports_of, source_closure, sources_folder
from tests.deploy.support import ROOT, key, small_config

Artifacts = Mapping[str, Artifact]


@pytest.fixture
def written(rpc: Rpc, artifacts: Artifacts, tmp_path: Path) -> tuple[DeploymentRecord, Path]:
    """A deployment's record and the folder of its sources."""
    out = tmp_path / "r.json"
    sender = RpcSender(rpc, artifacts, unlocked=key(0).address)
    record = deploy_and_record(parse_config(small_config()), sender, out, lambda _: None)
    return record, sources_folder(out)


def compiled(path: Path, contract: str) -> dict[str, Any]:
    """The contract's output of the solc launcher, with nothing but the file."""
    source, name = contract.split(":")
    launcher = find_solc(ROOT, compiler_settings(ROOT)["version"])
    empty = path.parent  # nothing can be imported from here
    found: dict[str, Any] = run_solc(launcher, json.loads(path.read_text()), empty)
    return found["contracts"][source][name]


@pytest.mark.slow
def test_every_contract_recompiles_to_its_code(
    rpc: Rpc, written: tuple[DeploymentRecord, Path]
) -> None:
    record, folder = written
    index = json.loads((folder / "index.json").read_text())
    assert index["chain_id"] == 31337 and "+commit." in index["compiler"]
    assert [e["address"] for e in index["contracts"]] == [c.address for c in record.contracts]
    codes: dict[str, dict[str, Any]] = {}
    for entry, contract in zip(index["contracts"], record.contracts, strict=True):
        file = folder / entry["files"][0]
        if contract.name not in codes:
            codes[contract.name] = compiled(file, entry["contract"])
        bytecode = codes[contract.name]["evm"]["bytecode"]
        named = {f"{s}:{n}": a for s, links in entry["libraries"].items() for n, a in links.items()}
        code = link(bytecode["object"], named) + entry["constructor_data"][2:]
        sent = rpc.call("eth_getTransactionByHash", contract.transaction)
        assert bytes.fromhex(code) == from_hex(sent["input"]), contract.name
        assert entry["creation_hash"] == "0x" + keccak(bytes.fromhex(code)).hex()
        assert entry["runtime_hash"] == "0x" + keccak(rpc.code(contract.address)).hex()


@pytest.mark.slow
def test_the_linked_file_gives_the_code_up_to_its_metadata(
    rpc: Rpc, written: tuple[DeploymentRecord, Path]
) -> None:
    record, folder = written
    entry = next(
        e
        for e in json.loads((folder / "index.json").read_text())["contracts"]
        if e["files"][0] == "Vault.json"
    )
    assert entry["files"] == ["Vault.json", "Vault.linked.json"]
    code = compiled(folder / "Vault.linked.json", entry["contract"])["evm"]["bytecode"]["object"]
    sent = rpc.call("eth_getTransactionByHash", record.contract("Vault").transaction)
    creation = sent["input"][2 : len(sent["input"]) - len(entry["constructor_data"]) + 2]
    assert len(code) == len(creation)
    tail = 2 * (int(creation[-4:], 16) + 2)
    assert code[:-tail] == creation[:-tail] and code[-4:] == creation[-4:]


def test_a_file_holds_what_is_needed_and_nothing_else(
    written: tuple[DeploymentRecord, Path],
) -> None:
    _, folder = written
    small = json.loads((folder / "MockFeed.json").read_text())
    vault = json.loads((folder / "Vault.json").read_text())
    assert "contracts/test/MockFeed.sol" in small["sources"]
    assert not any("Vault" in name for name in small["sources"])
    assert "node_modules/solady/src/auth/Ownable.sol" in vault["sources"]
    assert not any(name.startswith("contracts/test/") for name in vault["sources"])
    for content in (small, vault):
        assert "libraries" not in content["settings"]
        assert content["settings"]["evmVersion"] == "shanghai"
        assert str(ROOT) not in json.dumps(content)


def test_imports_are_found() -> None:
    text = """
    import "./a.sol"; // import "./no.sol";
    import {B,
        C as D} from '../b.sol';
    /* import "./never.sol"; */
    import * as E from "solady/utils/E.sol";
    """
    assert imports_of(text) == ["./a.sol", "../b.sol", "solady/utils/E.sol"]


def test_every_contract_has_a_closure(artifacts: Artifacts) -> None:
    remappings = compiler_settings(ROOT)["remappings"]
    for artifact in artifacts.values():
        if artifact.source_path.startswith("contracts/"):
            found = source_closure(ROOT, artifact.source_path, remappings)
            assert artifact.source_path in found
