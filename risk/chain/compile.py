"""Compile all of `contracts/` and `interfaces/` with the solc launcher, without Brownie.

The settings are those of `brownie-config.yaml` (read from there, so they cannot differ), and
source names are the same, so the code is the same too. Results are cached in
`build/plumbline/artifacts/<hash>.json`, where the hash covers the sources, every file they
import, the settings and the compiler.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from risk.chain.keccak import keccak
from risk.errors import CompileError, ToolchainError

Json = Any
LinkReferences = Mapping[str, Mapping[str, tuple[int, ...]]]

SOURCE_FOLDERS = ("contracts", "interfaces")
CACHE_FOLDER = Path("build") / "plumbline" / "artifacts"
CACHE_VERSION = 1
KEEP = 8
EIP170_LIMIT = 24_576
_PLACEHOLDER = 20


@dataclass(frozen=True)
class Artifact:
    """One compiled contract, interface or library.

    `bytecode` and `deployed_bytecode` are hex without `0x`, with solc's `__$...$__` placeholders
    where a library address belongs; `link` fills them. Link references map source -> library ->
    byte offsets. `storage_layout` is solc's own JSON (empty for interfaces).
    """

    name: str
    source_path: str
    abi: list[dict[str, Json]]
    bytecode: str
    deployed_bytecode: str
    link_references: LinkReferences
    deployed_link_references: LinkReferences
    metadata_hash: str
    method_identifiers: Mapping[str, str] = field(default_factory=dict)
    storage_layout: Mapping[str, Json] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Length of the deployed code in bytes."""
        return len(self.deployed_bytecode) // 2

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries that the creation or the deployed code needs."""
        both = (self.link_references, self.deployed_link_references)
        return tuple(sorted({lib for refs in both for libs in refs.values() for lib in libs}))

    def linked(self, addresses: Mapping[str, str]) -> bytes:
        """Creation code with library addresses filled in. Raises `ToolchainError`."""
        return bytes.fromhex(link(self.bytecode, addresses, self.link_references))


def compile_contracts(root: Path, *, force: bool = False) -> dict[str, Artifact]:
    """Artifacts of every contract below `contracts/` and `interfaces/`, by name.

    Libraries from `node_modules` that are deployed on their own are included when their name is
    not taken. Raises `CompileError` with solc's messages, `ToolchainError` when the launcher or
    the settings are missing, or when two of our own sources define the same name.
    """
    root = root.resolve()
    settings = compiler_settings(root)
    sources = dict(_read_sources(root))
    if not sources:
        raise ToolchainError(f"no Solidity source below {' or '.join(SOURCE_FOLDERS)} in {root}")
    launcher = find_solc(root, settings.pop("version"))
    cache = root / CACHE_FOLDER
    base = content_hash([CACHE_VERSION, settings, sources, _stamp(launcher)])
    entry = cache / f"{base}.json"
    if not force:
        cached = load_entry(entry, root)
        if cached is not None:
            return cached
    with one_at_a_time(cache):
        if not force:  # another process may have compiled the same while we waited
            cached = load_entry(entry, root)
            if cached is not None:
                return cached
        output = run_solc(launcher, standard_json(sources, settings), root)
        imports = sorted(p for p in output.get("sources", {}) if p not in sources)
        artifacts = artifacts_of(output, set(sources))
        store_entry(entry, artifacts, {path: file_hash(root / path) for path in imports})
        return artifacts


def link(
    bytecode: str, libraries: Mapping[str, str], references: LinkReferences | None = None
) -> str:
    """`bytecode` (hex) with every library placeholder replaced.

    `libraries` maps a library's name, or `source:name`, to its address. Without `references` the
    placeholders are found by their hash, which needs the `source:name` form. Raises
    `ToolchainError` if a library is missing or an address is not 20 bytes.
    """
    code = bytecode[2:] if bytecode.startswith("0x") else bytecode
    if references is None:
        for full_name, address in libraries.items():
            code = code.replace(placeholder(full_name), _address_hex(full_name, address))
    else:
        for source, wanted in references.items():
            for name, offsets in wanted.items():
                address_given = libraries.get(f"{source}:{name}", libraries.get(name))
                if address_given is None:
                    raise ToolchainError(f"library {name} ({source}) is not linked")
                plain = _address_hex(name, address_given)
                for offset in offsets:
                    start = 2 * offset
                    code = code[:start] + plain + code[start + 2 * _PLACEHOLDER :]
    if "__$" in code:
        at = code.index("__$")
        raise ToolchainError(f"a library is not linked: placeholder {code[at : at + 40]}")
    return code


def placeholder(full_name: str) -> str:
    """The 40 characters solc puts where the address of `source:name` belongs."""
    return f"__${keccak(full_name.encode()).hex()[:34]}$__"


def _address_hex(name: str, address: str) -> str:
    plain = address[2:].lower() if address.startswith("0x") else address.lower()
    if len(plain) != 2 * _PLACEHOLDER or any(c not in "0123456789abcdef" for c in plain):
        raise ToolchainError(f"library {name}: {address!r} is not an address of 20 bytes")
    return plain


# ------------------------------------------------------------------- settings and sources


def compiler_settings(root: Path) -> dict[str, Json]:
    """`{version, evmVersion, optimizer, remappings[, viaIR]}` from `brownie-config.yaml`."""
    path = root / "brownie-config.yaml"
    try:
        compiler = yaml.safe_load(path.read_text())["compiler"]
        solc = compiler["solc"]
        settings: dict[str, Json] = {
            "version": str(solc["version"]),
            "evmVersion": str(compiler["evm_version"]),
            "optimizer": dict(solc["optimizer"]),
            "remappings": list(solc.get("remappings") or []),
        }
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ToolchainError(f"{path}: no usable compiler settings ({error!r})") from error
    if "viaIR" in solc:
        settings["viaIR"] = bool(solc["viaIR"])
    return settings


def _read_sources(root: Path) -> Iterator[tuple[str, str]]:
    for folder in SOURCE_FOLDERS:
        for path in sorted((root / folder).rglob("*.sol")):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def find_solc(root: Path, version: str) -> Path:
    """Compiler to use: Brownie's `~/.solcx/solc-vX`, else the launcher of the checkout."""
    for path in (Path.home() / ".solcx" / f"solc-v{version}", root / "tools" / "solc"):
        if os.access(path, os.X_OK):
            return path
    raise ToolchainError(f"solc {version} is not installed; run `make setup`")


def standard_json(sources: Mapping[str, str], settings: Mapping[str, Json]) -> Json:
    wanted = ["abi", "metadata", "storageLayout", "evm.methodIdentifiers"]
    wanted += [
        f"evm.{kind}.{part}"
        for kind in ("bytecode", "deployedBytecode")
        for part in ("object", "linkReferences")
    ]
    return {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**settings, "outputSelection": {"*": {"*": wanted}}},
    }


def run_solc(
    launcher: Path, request: Json, root: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Json]:
    """Parsed standard-JSON output; `root` is the base of imports. Raises `CompileError`."""
    command = [str(launcher), "--standard-json", "--allow-paths", str(root)]
    payload = json.dumps(request).encode()
    run = subprocess.run(
        command,
        input=payload,
        capture_output=True,
        cwd=root,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if run.returncode != 0:
        reason = run.stderr.decode("utf-8", "replace").strip()
        raise ToolchainError(f"solc launcher failed with exit code {run.returncode}: {reason}")
    output: dict[str, Json] = json.loads(run.stdout)
    errors = [e for e in output.get("errors", []) if e["severity"] == "error"]
    if errors:
        raise CompileError([e.get("formattedMessage") or e["message"] for e in errors])
    return output


# ------------------------------------------------------------------------------ artifacts


def artifacts_of(output: Mapping[str, Json], own: set[str]) -> dict[str, Artifact]:
    artifacts: dict[str, Artifact] = {}
    for ours in (True, False):
        for source, contracts in output.get("contracts", {}).items():
            if (source in own) is not ours:
                continue
            for name, data in contracts.items():
                other = artifacts.get(name)
                if other is None:
                    artifacts[name] = _artifact(name, source, data)
                elif ours:
                    raise ToolchainError(
                        f"{name} is defined twice: {other.source_path} and {source}"
                    )
    return artifacts


def _artifact(name: str, source: str, data: Mapping[str, Json]) -> Artifact:
    evm = data["evm"]
    creation, deployed = evm["bytecode"], evm["deployedBytecode"]
    return Artifact(
        name=name,
        source_path=source,
        abi=data["abi"],
        bytecode=creation["object"],
        deployed_bytecode=deployed["object"],
        link_references=link_references_of(creation.get("linkReferences", {})),
        deployed_link_references=link_references_of(deployed.get("linkReferences", {})),
        metadata_hash=hashlib.sha256(data.get("metadata", "").encode()).hexdigest(),
        method_identifiers=evm.get("methodIdentifiers", {}),
        storage_layout=data.get("storageLayout", {}),
    )


def link_references_of(raw: Mapping[str, Json]) -> LinkReferences:
    """Source -> library -> byte offsets, from solc's form, which build tools keep."""
    return {
        source: {name: tuple(int(s["start"]) for s in spots) for name, spots in libs.items()}
        for source, libs in raw.items()
    }


# ---------------------------------------------------------------------------------- cache


def content_hash(value: Json) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def _stamp(launcher: Path) -> str:
    """Identity of a compiler: its file, and the WebAssembly build behind it when there is one."""
    parts = [file_hash(launcher)]
    for folder in (launcher.parent / f"plumbline-{launcher.name}",):
        parts += [file_hash(folder / name) for name in ("version.txt", "solc-launcher.cjs")]
    return ":".join(parts)


@contextlib.contextmanager
def one_at_a_time(cache: Path) -> Iterator[None]:
    """Lets one process of this checkout compile while others wait (where files can be locked)."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load_entry(entry: Path, root: Path) -> dict[str, Artifact] | None:
    """Cached artifacts, or None if there are none or an imported file has changed."""
    try:
        stored = json.loads(entry.read_text())
        if any(file_hash(root / path) != known for path, known in stored["imports"].items()):
            return None
        with contextlib.suppress(OSError):  # of a read-only checkout
            os.utime(entry)
        return {
            name: Artifact(
                **{
                    **fields,
                    "link_references": _tuples(fields["link_references"]),
                    "deployed_link_references": _tuples(fields["deployed_link_references"]),
                }
            )
            for name, fields in stored["artifacts"].items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tuples(raw: Mapping[str, Json]) -> LinkReferences:
    return {s: {n: tuple(o) for n, o in libs.items()} for s, libs in raw.items()}


def store_entry(
    entry: Path, artifacts: Mapping[str, Artifact], imports: Mapping[str, str], keep: int = KEEP
) -> None:
    """Writes one cache entry in one step and drops the oldest beyond `keep`."""
    text = json.dumps({"imports": imports, "artifacts": {n: vars(a) for n, a in artifacts.items()}})
    with tempfile.NamedTemporaryFile("w", dir=entry.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.chmod(file.name, 0o644)  # another user may run what this one compiled
    os.replace(file.name, entry)
    by_age = sorted(entry.parent.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in by_age[keep:]:
        old.unlink(missing_ok=True)
