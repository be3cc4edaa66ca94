"""Build output of Foundry, Hardhat, Brownie, or Solidity sources compiled here, as artifacts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from risk.chain.compile import (
    Artifact,
    artifacts_of,
    content_hash,
    file_hash,
    link_references_of,
    load_entry,
    one_at_a_time,
    run_solc,
    standard_json,
    store_entry,
)
from risk.chain.node import project_root
from risk.diff.kit.errors import ArtifactError

CACHE_FOLDER = Path("build") / "plumbline" / "targets"


def from_folder(folder: Path | str) -> dict[str, Artifact]:
    """Artifacts of a build folder: Foundry's ``out``, Hardhat's ``artifacts`` or Brownie's
    ``build/contracts``; which it is shows in the files. Raises ``ArtifactError``.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ArtifactError(f"no build folder {path}: compile the contracts first")
    found: dict[str, Artifact] = {}
    for name, entry in _entries(path):
        if name not in found or not found[name].bytecode:
            found[name] = entry
    if not found:
        raise ArtifactError(
            f"{path} holds no artifact of Foundry (out/X.sol/X.json), Hardhat "
            "(artifacts/contracts/X.sol/X.json) or Brownie (build/contracts/X.json)"
        )
    return found


def _entries(folder: Path) -> Iterator[tuple[str, Artifact]]:
    for file in sorted(folder.rglob("*.json")):
        if file.name.endswith(".dbg.json") or "build-info" in file.parts:
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{file} is not readable JSON: {error}") from error
        if isinstance(content, dict) and "abi" in content and "bytecode" in content:
            name = content.get("contractName", file.name.split(".")[0])
            yield name, _artifact(name, content, file)


def _artifact(name: str, content: Mapping[str, Any], file: Path) -> Artifact:
    """One file; Foundry nests the code in objects, Hardhat and Brownie write strings."""
    try:
        if isinstance(content["bytecode"], Mapping):
            creation, runtime = content["bytecode"], content.get("deployedBytecode", {})
            code, deployed = creation["object"], runtime.get("object", "")
            references = creation.get("linkReferences", {})
            deployed_references = runtime.get("linkReferences", {})
        else:
            code, deployed = content["bytecode"], content.get("deployedBytecode", "")
            references = content.get("linkReferences") or {}
            deployed_references = content.get("deployedLinkReferences") or {}
        return Artifact(
            name=name,
            source_path=str(content.get("sourceName") or content.get("sourcePath") or file),
            abi=list(content["abi"]),
            bytecode=str(code).removeprefix("0x"),
            deployed_bytecode=str(deployed).removeprefix("0x"),
            link_references=link_references_of(references),
            deployed_link_references=link_references_of(deployed_references),
            metadata_hash="",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{file} is not a complete artifact: {error!r}") from error


def from_sources(
    root: Path,
    sources: Iterable[Path | str],
    *,
    solc: str,
    evm_version: str = "shanghai",
    optimizer_runs: int | None = 200,
    remappings: Sequence[str] = (),
    via_ir: bool = False,
) -> dict[str, Artifact]:
    """Compile Solidity files (paths below ``root``) and what they import, cached by content.

    ``solc`` is a version; the compiler is ``~/.solcx/solc-vX.Y.Z`` or the npm package ``solc`` of
    that version (installed under the alias ``solc-X.Y.Z``). Raises ``CompileError``,
    ``ArtifactError``.
    """
    texts = {}
    for source in sources:
        path = root / source
        try:
            texts[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ArtifactError(f"no Solidity source {path}: {error}") from error
    settings: dict[str, Any] = {
        "evmVersion": evm_version,
        "optimizer": {"enabled": optimizer_runs is not None, "runs": optimizer_runs or 200},
        "remappings": list(remappings),
    }
    if via_ir:
        settings["viaIR"] = True
    launcher, environment = find_compiler(solc)
    cache = project_root() / CACHE_FOLDER
    entry = cache / f"{content_hash([1, settings, texts, solc])}.json"
    with one_at_a_time(cache):
        cached = load_entry(entry, root)
        if cached is not None:
            return cached
        output = run_solc(launcher, standard_json(texts, settings), root, environment)
        imports = sorted(p for p in output.get("sources", {}) if p not in texts)
        artifacts = artifacts_of(output, set(texts))
        store_entry(entry, artifacts, {p: file_hash(root / p) for p in imports}, keep=32)
        return artifacts


def find_compiler(version: str) -> tuple[Path, dict[str, str]]:
    """Launcher and environment of a solc version. Raises ``ArtifactError``."""
    native = Path.home() / ".solcx" / f"solc-v{version}"
    if os.access(native, os.X_OK):
        return native, {}
    root = project_root()
    package = root / "node_modules" / f"solc-{version}" / "soljson.js"
    if package.is_file():
        return root / "tools" / "solc", {"PLUMBLINE_SOLJSON": str(package)}
    raise ArtifactError(
        f"no solc {version}: npm install --save-dev solc-{version}@npm:solc@{version}, "
        f"or put a native one at {native}"
    )
