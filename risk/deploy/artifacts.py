"""What a deployment needs of compiled contracts: link order, creation code, code comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from risk.chain.abi import codec
from risk.chain.compile import Artifact
from risk.deploy.errors import DeployError

_METADATA_LENGTH = (
    2  # bytes at the very end of the code that hold the length of the metadata before them
)


def constructor_inputs(artifact: Artifact) -> list[tuple[str, str]]:
    """(name, type) of every constructor argument."""
    for entry in artifact.abi:
        if entry["type"] == "constructor":
            return [(i["name"], i["type"]) for i in entry["inputs"]]
    return []


def plain(value: Any, kind: str) -> Any:
    """``value`` as ``risk.chain.abi`` takes it: address text as integer, other text as bytes."""
    if isinstance(value, str):
        return int(value, 16) if kind == "address" else value.encode()
    return value


def creation_code(
    artifact: Artifact, arguments: Sequence[Any], libraries: Mapping[str, str]
) -> bytes:
    """Linked creation code followed by the encoded constructor arguments."""
    types = [kind for _, kind in constructor_inputs(artifact)]
    if len(types) != len(arguments):
        raise DeployError(
            f"{artifact.name} takes {len(types)} constructor arguments, not {len(arguments)}"
        )
    encoder = codec("tuple", [{"type": t} for t in types])
    return artifact.linked(libraries) + encoder.encode(
        [plain(v, t) for v, t in zip(arguments, types, strict=True)]
    )


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
