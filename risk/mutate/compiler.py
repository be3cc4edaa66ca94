"""A compiler that stays warm, and what it makes of a project."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from risk.chain.compile import Artifact, link_references_of
from risk.chain.solc_ast import Node
from risk.errors import CompileError
from risk.files import write_text
from risk.mutate.config import Compile, Config, solc_settings
from risk.mutate.errors import CompilerDied, MutateError
from risk.mutate.source import walk

SERVICE = Path(__file__).with_name("solc_service.cjs")
_CODE = [
    f"evm.{kind}.{part}"
    for kind in ("bytecode", "deployedBytecode")
    for part in ("object", "linkReferences")
]

_ALL = [*_CODE, "abi", "storageLayout", "evm.methodIdentifiers"]

Name = tuple[str, str]  # source, contract
Code = dict[str, Any]  # bytecode, deployed, links, deployed_links


class Solc:
    """One ``solc_service.cjs``.  Use it as a context manager or call ``close``."""

    def __init__(self, soljson: Path) -> None:
        node = shutil.which("node")
        if node is None or not soljson.exists():
            raise MutateError(f"the compiler needs Node.js and {soljson}; run `make setup`")
        self._process = subprocess.Popen(
            [node, str(SERVICE), str(soljson)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Solc:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        writer, reader = self._pipes()
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            writer.flush()
            line = reader.readline()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            raise CompilerDied(f"the compiler's process has ended: {error}") from error
        if "failed" in answer:
            raise CompilerDied(f"the compiler failed: {answer['failed']}")
        return answer

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def load(self, sources: Mapping[str, str]) -> None:
        """Texts to keep."""
        self._ask({"load": dict(sources)})

    def compile(
        self,
        names: Iterable[str],
        settings: Mapping[str, Any],
        selection: Mapping[str, Mapping[str, list[str]]],
        override: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Standard-JSON output.  Raises ``CompileError`` with solc's messages."""
        request = {
            "names": sorted(names),
            "override": dict(override or {}),
            "settings": {**settings, "outputSelection": selection},
        }
        output = self._ask({"compile": request})
        errors = [e for e in output.get("errors", ()) if e["severity"] == "error"]
        if errors:
            raise CompileError([e.get("formattedMessage") or e["message"] for e in errors])
        return output


@dataclass(frozen=True)
class Project:
    """Sources of a project with everything they import."""

    root: Path
    sources: dict[str, str]
    imports: dict[str, tuple[str, ...]]
    own: tuple[str, ...]
    settings: dict[str, Any]
    kill_optimizer: dict[str, Any]

    @cached_property
    def closures(self) -> dict[str, frozenset[str]]:
        """Each source with everything it imports, however far."""
        out: dict[str, frozenset[str]] = {}
        for name in self.sources:
            seen, todo = {name}, [name]
            while todo:
                for item in self.imports[todo.pop()]:
                    if item not in seen:
                        seen.add(item)
                        todo.append(item)
            out[name] = frozenset(seen)
        return out

    @cached_property
    def digest(self) -> str:
        """Changes when a source or a setting does."""
        text = json.dumps([self.sources, self.settings, self.kill_optimizer], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def importers(self, file: str, contracts: Iterable[Name]) -> list[Name]:
        """Which of ``contracts`` can contain code of ``file``."""
        return [c for c in contracts if file in self.closures[c[0]]]

    def trees(self, solc: Solc, files: Iterable[str]) -> dict[str, Node]:
        """AST of each file."""
        wanted = {name: {"": ["ast"]} for name in files}
        output = solc.compile(self.sources, self.settings, wanted)
        return {name: output["sources"][name]["ast"] for name in wanted}

    def code(
        self,
        solc: Solc,
        contracts: Iterable[Name],
        override: Mapping[str, str] | None = None,
        *,
        deployed: bool = False,
    ) -> dict[Name, Code]:
        """Code of ``contracts``: as the stages run it, or as it is ``deployed``."""
        selection: dict[str, dict[str, list[str]]] = {}
        names: set[str] = set()
        for source, contract in contracts:
            selection.setdefault(source, {})[contract] = _CODE
            names |= self.closures[source]
        if not selection:
            return {}
        settings = dict(self.settings)
        if not deployed:
            settings["optimizer"] = self.kill_optimizer
        output = solc.compile(names, settings, selection, override)
        return {
            (source, contract): _code(output["contracts"][source][contract])
            for source, wanted in selection.items()
            for contract in wanted
        }


def _code(data: Mapping[str, Any]) -> Code:
    evm = data["evm"]
    return {
        "bytecode": evm["bytecode"]["object"],
        "deployed": evm["deployedBytecode"]["object"],
        "links": evm["bytecode"].get("linkReferences", {}),
        "deployed_links": evm["deployedBytecode"].get("linkReferences", {}),
    }


def fingerprint(code: Mapping[Name, Code]) -> str:
    """Equal for equal code."""
    text = json.dumps([[*name, code[name]["bytecode"]] for name in sorted(code)])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def open_project(root: Path, config: Config, solc: Solc) -> Project:
    """Reads the sources, follows their imports and leaves them all with the compiler."""
    compile_config: Compile = config.compile
    settings = solc_settings(root, compile_config)
    sources = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for folder in compile_config.folders
        for path in sorted((root / folder).rglob("*.sol"))
    }
    if not sources:
        raise MutateError(f"no Solidity source below {', '.join(compile_config.folders)} in {root}")
    own = tuple(sources)
    remappings = [tuple(r.split("=", 1)) for r in settings["remappings"]]
    todo, imports = list(sources), {}
    while todo:
        name = todo.pop()
        found = []
        for target in _imported(name, sources[name], remappings):
            found.append(target)
            if target not in sources:
                sources[target] = _read(root, target, name)
                todo.append(target)
        imports[name] = tuple(found)
    solc.load(sources)
    return Project(root, sources, imports, own, settings, compile_config.kill_optimizer)


def _read(root: Path, name: str, importer: str) -> str:
    try:
        return (root / name).read_text(encoding="utf-8")
    except OSError as error:
        raise MutateError(f"{importer} imports {name}, which cannot be read: {error}") from error


def _imported(name: str, text: str, remappings: list[tuple[str, ...]]) -> list[str]:
    """Source names of what a file imports; paths and remappings as solc resolves them."""
    import posixpath
    import re

    out = []
    pattern = r"""^\s*import\b[^;"']*["']([^"']+)["']"""
    for path in re.findall(pattern, text, flags=re.MULTILINE):
        if path.startswith("."):
            out.append(posixpath.normpath(posixpath.join(posixpath.dirname(name), path)))
            continue
        fitting = [r for r in remappings if path.startswith(r[0])]
        prefix, target = max(fitting, key=lambda r: len(r[0]), default=("", ""))
        out.append(target + path[len(prefix) :])
    return out


def artifacts_of(project: Project, solc: Solc) -> dict[str, Artifact]:
    """Every contract of the project, and of what it imports where the name is free, compiled as the
    stages run it.  Kept below ``build/mutation``.
    """
    path = project.root / "build" / "mutation" / f"artifacts-{project.digest}.json"
    with contextlib.suppress(OSError, ValueError):
        return {name: _artifact(name, *item) for name, item in json.loads(path.read_text()).items()}
    settings = {**project.settings, "optimizer": project.kill_optimizer}
    output = solc.compile(project.sources, settings, {"*": {"*": _ALL}})
    own = set(project.own)
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for source in sorted(output["contracts"], key=lambda s: s not in own):
        for name, data in output["contracts"][source].items():
            if name in found and source in own:
                raise MutateError(f"{name} is defined twice: {found[name][0]} and {source}")
            found.setdefault(name, (source, data))
    write_text(path, json.dumps(found))
    return {name: _artifact(name, *item) for name, item in found.items()}


def _artifact(name: str, source: str, data: Mapping[str, Any]) -> Artifact:
    code = _code(data)
    return Artifact(
        name=name,
        source_path=source,
        abi=data["abi"],
        bytecode=code["bytecode"],
        deployed_bytecode=code["deployed"],
        link_references=link_references_of(code["links"]),
        deployed_link_references=link_references_of(code["deployed_links"]),
        metadata_hash="",
        method_identifiers=data["evm"].get("methodIdentifiers", {}),
        storage_layout=data.get("storageLayout") or {},
    )


def deployable(project: Project, artifacts: Mapping[str, Artifact]) -> list[Name]:
    """Contracts and libraries of the project that have code of their own: something to call."""
    own = set(project.own)
    out = []
    for artifact in artifacts.values():
        called = artifact.method_identifiers or any(
            entry["type"] in ("receive", "fallback") for entry in artifact.abi
        )
        if artifact.source_path in own and artifact.bytecode and called:
            out.append((artifact.source_path, artifact.name))
    return sorted(out)


def with_code(artifacts: Mapping[str, Artifact], code: Mapping[Name, Code]) -> dict[str, Artifact]:
    """``artifacts`` with the code of some replaced; interfaces and layouts stay."""
    out = dict(artifacts)
    for (source, name), item in code.items():
        old = out[name]
        if old.source_path != source:
            raise MutateError(f"{name} is defined in {old.source_path}, not in {source}")
        fields = {
            **vars(old),
            "bytecode": item["bytecode"],
            "deployed_bytecode": item["deployed"],
            "link_references": link_references_of(item["links"]),
            "deployed_link_references": link_references_of(item["deployed_links"]),
        }
        out[name] = Artifact(**fields)
    return out


def deployed_code(project: Project, solc: Solc, contracts: list[Name]) -> dict[Name, Code]:
    """Code of the project as it is deployed.  Kept below ``build/mutation``."""
    path = project.root / "build" / "mutation" / f"deployed-{project.digest}.json"
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads(path.read_text())
        code = {(s, n): item for s, n, item in stored}
        if set(code) == set(contracts):
            return code
    code = project.code(solc, contracts, deployed=True)
    write_text(path, json.dumps([[s, n, item] for (s, n), item in code.items()]))
    return code


def code_of(artifact: Artifact) -> Code:
    """As ``Project.code`` gives it."""
    return {"bytecode": artifact.bytecode}


def mutable(project: Project, config: Config, trees: Mapping[str, Node]) -> list[str]:
    """Files in scope that hold code."""
    return [
        name
        for name in project.own
        if config.in_scope(name)
        and any(n["nodeType"] == "FunctionDefinition" and n.get("body") for n in walk(trees[name]))
    ]
