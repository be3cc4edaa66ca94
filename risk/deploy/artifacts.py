"""What a deployment needs of compiled contracts: link order, creation code, code comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from risk.chain.abi import codec
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.deploy.config import DeployConfig
from risk.deploy.errors import DeployError

VAULT = "Vault"
EXTENSION = "VaultExtension"  # the vault passes functions that are not its own on to it
TOKEN = "MockToken"
FEED = "MockFeed"
TIMELOCK = "GovernanceTimelock"
GOVERNOR = "RiskGovernor"

_METADATA_LENGTH = (
    2  # bytes at the very end of the code that hold the length of the metadata before them
)


def constructor_inputs(artifact: Artifact) -> list[Mapping[str, Any]]:
    """Name, type and components of every constructor argument."""
    for entry in artifact.abi:
        if entry["type"] == "constructor":
            return list(entry["inputs"])
    return []


def plain(value: Any, kind: str) -> Any:
    """``value`` as ``risk.chain.abi`` takes it: address text as integer, other text as bytes."""
    if isinstance(value, list):
        return [plain(item, kind.removesuffix("[]")) for item in value]
    if isinstance(value, str):
        return int(value, 16) if kind == "address" else value.encode()
    return value


def creation_code(
    artifact: Artifact, arguments: Sequence[Any], libraries: Mapping[str, str]
) -> bytes:
    """Linked creation code followed by the encoded constructor arguments."""
    return artifact.linked(libraries) + constructor_data(artifact, arguments)


def constructor_data(artifact: Artifact, arguments: Sequence[Any]) -> bytes:
    """The encoded constructor arguments."""
    inputs = constructor_inputs(artifact)
    if len(inputs) != len(arguments):
        raise DeployError(
            f"{artifact.name} takes {len(inputs)} constructor arguments, not {len(arguments)}"
        )
    values = [plain(v, i["type"]) for v, i in zip(arguments, inputs, strict=True)]
    return codec("tuple", inputs).encode(values)


def is_code_of(artifact: Artifact, code: bytes) -> bool:
    """Is ``code``, read from a chain, the runtime code of ``artifact``?

    Immutables and link sites differ from the artifact, so the length and the metadata (a hash of
    every source and setting) decide.
    """
    own = artifact.deployed_bytecode
    if len(code) <= _METADATA_LENGTH or len(own) != 2 * len(code):
        return False
    tail = int.from_bytes(code[-_METADATA_LENGTH:], "big") + _METADATA_LENGTH
    return tail <= len(code) and own[-2 * tail :] == code[-tail:].hex()


def link_order(root: str, artifact: Callable[[str], Artifact]) -> list[str]:
    """Libraries that ``root`` needs, directly or not, each after those it needs itself."""
    order: list[str] = []
    path: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in path:
            raise DeployError(f"libraries link in a circle: {' -> '.join([*path, name])}")
        path.append(name)
        for library in artifact(name).libraries:
            visit(library)
        path.pop()
        order.append(name)

    visit(root)
    return order[:-1]


def all_contracts(config: DeployConfig, artifact: Callable[[str], Artifact]) -> list[str]:
    """Names of everything that a deployment of ``config`` may create, libraries first."""
    names = [*libraries_of(config, artifact), *roots(config)]
    if config.local:
        names += [TOKEN, FEED]
    return names


def roots(config: DeployConfig) -> list[str]:
    """The contracts that ``config`` asks for, on any chain."""
    return [VAULT, *([TIMELOCK, GOVERNOR] if config.governance is not None else [])]


def libraries_of(config: DeployConfig, artifact: Callable[[str], Artifact]) -> list[str]:
    """Every library that has to be deployed, in link order."""
    order: list[str] = []
    for root in roots(config):
        order += [name for name in link_order(root, artifact) if name not in order]
    return order


def code_hash(config: DeployConfig, artifact: Callable[[str], Artifact]) -> str:
    """Keccak over the names and the unlinked creation code of everything deployed."""
    parts = [
        name.encode() + keccak(artifact(name).bytecode.encode())
        for name in all_contracts(config, artifact)
    ]
    return "0x" + keccak(b"".join(parts)).hex()


def vault_abi(artifact: Callable[[str], Artifact]) -> list[dict[str, Any]]:
    """What the vault answers to: its own functions and those of its extension, if it has one."""
    entries = list(artifact(VAULT).abi)
    if EXTENSION in artifact(VAULT).libraries:
        own = {_signature(e) for e in entries}
        entries += [e for e in artifact(EXTENSION).abi if _signature(e) not in own]
    return entries


def _signature(entry: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    types = tuple(str(i["type"]) for i in entry.get("inputs", ()))
    return entry["type"], entry.get("name", ""), types
