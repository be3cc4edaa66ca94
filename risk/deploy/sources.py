"""Standard JSON for source verification: one file for each contract, and an index.

``<Contract>.json`` is the compiler input of that contract alone: its source, what it imports and
the settings of ``brownie-config.yaml``.  Compiled, it gives the creation code that was deployed,
metadata included, before its libraries are linked (Sourcify takes it so).
``<Contract>.linked.json`` also holds the library addresses, as block explorers want them; the
addresses are part of the metadata, so there the code is equal up to the metadata hash at its end.
``index.json`` has what else a verification asks for: address, full name, compiler, constructor
arguments.
"""

from __future__ import annotations

import json
import posixpath
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from risk.chain.compile import Artifact, compiler_settings, find_solc
from risk.deploy.errors import RecordError
from risk.deploy.record import ContractRecord, DeploymentRecord, write_atomically

_IMPORT = re.compile(r"""\bimport\b[^;"']*["']([^"']+)["']""")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_WANTED = ["abi", "metadata", "evm.bytecode.object", "evm.bytecode.linkReferences"]


def sources_folder(record: Path) -> Path:
    """Where the files go: beside the record."""
    return record.with_name(f"{record.stem}-sources")


def imports_of(text: str) -> list[str]:
    """Import paths as written in a source."""
    return _IMPORT.findall(_COMMENT.sub("", text))


def source_closure(root: Path, start: str, remappings: Iterable[str]) -> dict[str, str]:
    """``start`` and everything it imports, directly or not, by source unit name."""
    pairs = [tuple(r.split("=", 1)) for r in remappings]
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = (root / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise RecordError(f"source {name} cannot be read in {root}") from None
        for path in imports_of(found[name]):
            if path.startswith("."):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            else:
                for prefix, target in pairs:
                    if path.startswith(prefix):
                        path = target + path[len(prefix) :]
                        break
            waiting.append(path)
    return dict(sorted(found.items()))


def collect_sources(artifacts: Mapping[str, Artifact], root: Path) -> dict[str, dict[str, str]]:
    """Sources of every contract by its name, read at once: files may change during a deployment."""
    remappings = compiler_settings(root)["remappings"]
    return {n: source_closure(root, a.source_path, remappings) for n, a in artifacts.items()}


def standard_json(
    root: Path,
    source: str,
    sources: Mapping[str, str],
    libraries: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Compiler input of one source; ``libraries`` maps source → library → address."""
    settings = compiler_settings(root)
    settings.pop("version")
    if libraries:
        settings["libraries"] = {path: dict(links) for path, links in libraries.items()}
    return {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**settings, "outputSelection": {source: {"*": _WANTED}}},
    }


def write_sources(
    record: DeploymentRecord,
    artifacts: Mapping[str, Artifact],
    sources: Mapping[str, Mapping[str, str]],
    root: Path,
    folder: Path,
) -> list[Path]:
    """Writes the files of every contract of a record; returns their paths.

    ``sources`` is what ``collect_sources`` found before the deployment.
    """
    version = compiler_settings(root)["version"]
    compiler = _long_version(root, version)
    paths = []
    entries = []
    written: set[str] = set()
    for contract in record.contracts:
        references = artifacts[contract.name].link_references
        libraries = {
            source: {name: contract.libraries[name] for name in names}
            for source, names in references.items()
        }
        names = [f"{contract.name}.json"] + ([f"{contract.name}.linked.json"] if libraries else [])
        if contract.name not in written:
            written.add(contract.name)
            for name, links in zip(names, (None, libraries), strict=False):
                content = standard_json(root, contract.source, sources[contract.name], links)
                paths.append(_write(folder / name, content))
        entries.append(_entry(contract, compiler, names, libraries))
    index = {"chain_id": record.chain_id, "compiler": compiler, "contracts": entries}
    return [*paths, _write(folder / "index.json", index)]


def _entry(
    contract: ContractRecord,
    compiler: str,
    names: list[str],
    libraries: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    return {
        "contract": f"{contract.source}:{contract.name}",
        "address": contract.address,
        "compiler": compiler,
        "constructor_data": contract.constructor_data,
        "libraries": libraries,
        "transaction": contract.transaction,
        "creation_hash": contract.creation_hash,
        "runtime_hash": contract.runtime_hash,
        "files": names,
    }


def _long_version(root: Path, version: str) -> str:
    """For instance ``v0.8.37+commit.1a2b3c4d``; the short one where the compiler does not say."""
    try:
        run = subprocess.run(
            [str(find_solc(root, version)), "--version"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return f"v{version}"
    found = re.search(rf"{re.escape(version)}\+commit\.[0-9a-f]+", run.stdout)
    return f"v{found[0]}" if found else f"v{version}"


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    write_atomically(path, json.dumps(content, indent=2) + "\n")
    return path
