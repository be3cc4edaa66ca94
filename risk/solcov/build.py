"""The compiled contracts with what coverage needs: code, source maps and syntax trees.

The settings are those of ``risk/chain/compile.py``, and ``outputSelection`` is no part of the
metadata, so the code is the deployed code byte for byte.  Compiling takes about 20 s; the result is
kept in ``build/solcov/compiled`` under a hash of sources, settings and compiler version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from risk.chain.compile import SOURCE_FOLDERS, compiler_settings, find_solc, run_solc
from risk.files import write_text
from risk.solcov.sourcemap import Range, by_counter

Json = Any

COMPILED = Path("build") / "solcov" / "compiled"
CREATION, RUNTIME = "creation", "runtime"
_ADDRESS = 20
_WORD = 32
# PUSH20 and the address of the library itself, which the deployment fills in
_LIBRARY_HEAD = bytes.fromhex("73" + "00" * _ADDRESS + "3014")


@dataclass(frozen=True)
class Unit:
    """One piece of code: what a contract runs (``runtime``) or what creates it (``creation``).

    ``code`` has zeros where the deployment writes addresses and immutables; ``holes`` are these
    places, (offset, length) in bytes.  ``links`` are the offsets of library addresses.
    """

    source: str
    name: str
    kind: str
    code: bytes
    holes: tuple[tuple[int, int], ...]
    source_map: str
    links: tuple[int, ...] = ()

    @cached_property
    def key(self) -> str:
        """``contracts/Vault.sol:Vault:runtime:`` and a hash of the code.  The code ends with a hash
        of its sources, so the same key means the same sources and the same source map.
        """
        return (
            f"{self.source}:{self.name}:{self.kind}:{hashlib.sha256(self.plain).hexdigest()[:12]}"
        )

    def libraries(self, code: bytes) -> list[bytes]:
        """Addresses of the libraries that ``code``, an instance of this unit, is linked to."""
        return sorted({code[at : at + _ADDRESS] for at in self.links})

    @cached_property
    def ranges(self) -> dict[int, Range]:
        """Source range of every program counter."""
        return by_counter(self.code, self.source_map)

    @cached_property
    def plain(self) -> bytes:
        """The code with zeros in all holes."""
        return blank(self.code, self.holes)


@dataclass(frozen=True)
class Compiled:
    """Everything compiled together.

    ``files`` maps source indices to paths, ``texts`` paths to sources, ``trees`` paths to solc's
    syntax trees.
    """

    units: tuple[Unit, ...]
    files: Mapping[int, str]
    texts: Mapping[str, bytes]
    trees: Mapping[str, Json]

    @cached_property
    def by_key(self) -> dict[str, Unit]:
        """Units by ``key``."""
        return {unit.key: unit for unit in self.units}


def blank(code: bytes, holes: Iterable[tuple[int, int]]) -> bytes:
    """``code`` with zeros in ``holes``."""
    out = bytearray(code)
    for start, length in holes:
        out[start : start + length] = bytes(length)
    return bytes(out)


def compile_project(root: Path) -> Compiled:
    """All of ``contracts/`` and ``interfaces/``.  Raises ``CompileError``, ``ToolchainError``."""
    settings = compiler_settings(root)
    version = settings.pop("version")
    sources = dict(_sources(root))
    return compile_sources(sources, settings, version, root, root / COMPILED)


def compile_sources(
    sources: Mapping[str, str],
    settings: Mapping[str, Json],
    version: str,
    root: Path,
    cache: Path | None = None,
) -> Compiled:
    """Compiles ``sources`` (path → text) with ``settings``; ``root`` is the base of imports."""
    digest = hashlib.sha256(
        json.dumps([version, settings, sources], sort_keys=True).encode()
    ).hexdigest()[:16]
    entry = None if cache is None else cache / f"{digest}.json"
    if entry is not None and entry.exists():
        output = json.loads(entry.read_text())
    else:
        output = run_solc(find_solc(root, version), _request(sources, settings), root)
        if entry is not None:
            for old in entry.parent.glob("*.json"):
                old.unlink(missing_ok=True)
            write_text(entry, json.dumps(output))
    return _compiled(output, sources)


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    for folder in SOURCE_FOLDERS:
        for path in sorted((root / folder).rglob("*.sol")):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def _request(sources: Mapping[str, str], settings: Mapping[str, Json]) -> Json:
    wanted = [
        f"evm.{kind}.{part}"
        for kind in ("bytecode", "deployedBytecode")
        for part in ("object", "sourceMap", "linkReferences")
    ]
    wanted.append("evm.deployedBytecode.immutableReferences")
    return {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**settings, "outputSelection": {"*": {"*": wanted, "": ["ast"]}}},
    }


def _compiled(output: Mapping[str, Json], sources: Mapping[str, str]) -> Compiled:
    files = {int(item["id"]): path for path, item in output["sources"].items()}
    trees = {path: item["ast"] for path, item in output["sources"].items()}
    units = tuple(
        unit
        for source, contracts in output["contracts"].items()
        for name, data in contracts.items()
        for unit in _units(source, name, data["evm"])
    )
    texts = {path: text.encode() for path, text in sources.items()}
    return Compiled(units, files, texts, trees)


def _units(source: str, name: str, evm: Mapping[str, Json]) -> Iterator[Unit]:
    for kind, field in ((CREATION, "bytecode"), (RUNTIME, "deployedBytecode")):
        data = evm[field]
        text = data["object"]
        if not text:
            continue  # interface or abstract contract
        holes = [
            (int(spot["start"]), int(spot["length"]))
            for libraries in data.get("linkReferences", {}).values()
            for spots in libraries.values()
            for spot in spots
        ]
        links = tuple(start for start, _ in holes)
        digits = list(text)
        for start, length in holes:  # placeholders are no hex
            digits[2 * start : 2 * (start + length)] = "0" * (2 * length)
        code = bytes.fromhex("".join(digits))
        holes += [
            (int(spot["start"]), int(spot["length"]))
            for spots in data.get("immutableReferences", {}).values()
            for spot in spots
        ]
        if kind == RUNTIME and code.startswith(_LIBRARY_HEAD):
            holes.append((1, _ADDRESS))
        yield Unit(source, name, kind, code, tuple(sorted(holes)), data["sourceMap"], links)
