"""Values, calls and addresses as Solidity and Python source text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from risk.chain.abi import AbiError, Function
from risk.chain.compile import Artifact
from risk.chain.keccak import keccak
from risk.diff.findings.recording import Deployed, Recording

WORD_TYPES = re.compile(r"(u?int\d*|address|bool)")


def checksum(address: int) -> str:
    """EIP-55; Solidity takes no other address literal."""
    plain = f"{address:040x}"
    digest = keccak(plain.encode()).hex()
    return "0x" + "".join(
        c.upper() if int(d, 16) >= 8 else c for c, d in zip(plain, digest, strict=False)
    )


@dataclass
class Names:
    """Constants of a generated file: one for each address that it mentions."""

    recording: Recording
    labels: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken: set[str] = set()
        for address, name in self.recording.names.items():
            label = re.sub(r"\W", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).upper()
            if not label or label[0].isdigit() or label in taken:
                label = f"A{len(taken)}_{label}"
            taken.add(label)
            self.labels[address] = label
        for event in self.recording.setup:
            if isinstance(event, Deployed) and event.address not in self.labels:
                self.labels[event.address] = f"CONTRACT_{len(taken)}"
                taken.add(self.labels[event.address])

    def solidity(self, address: int) -> str:
        """A constant's name, or a literal."""
        return self.labels.get(address) or checksum(address)

    def python(self, address: int) -> str:
        """A constant's name, or a literal."""
        return self.labels.get(address) or f'"{checksum(address)}"'

    def used(self, text: str) -> list[tuple[str, str]]:
        """(name, literal) of the constants that ``text`` mentions."""
        return [
            (label, checksum(address))
            for address, label in self.labels.items()
            if re.search(rf"\b{label}\b", text)
        ]


class Calls:
    """Calldata with the function's name, where an artifact of the address is known."""

    def __init__(self, recording: Recording, artifacts: Mapping[str, Artifact]) -> None:
        from risk.chain.abi import function

        self.names = Names(recording)
        self.table: dict[bytes, Function] = {}
        for artifact in artifacts.values():
            for entry in artifact.abi:
                if entry["type"] == "function":
                    made = function(entry)
                    self.table.setdefault(made.selector, made)

    def decoded(self, data: bytes) -> tuple[Function, list[Any]] | None:
        """Function and arguments, where encoding them again gives the same bytes."""
        known = self.table.get(data[:4])
        if known is None:
            return None
        try:
            arguments = known.arguments(data)
            return (known, arguments) if known.encode(*arguments) == data else None
        except (AbiError, ValueError, IndexError):
            return None

    def readable(self, data: bytes) -> str:
        """``take(0, 77)``, or the bytes."""
        if (found := self.decoded(data)) is None:
            return f"0x{data.hex()}"
        function, arguments = found
        words = [
            self.names.labels.get(v, str(v)) if isinstance(v, int) else _plain(v) for v in arguments
        ]
        return f"{function.name}({', '.join(words)})"

    def solidity(self, data: bytes) -> str:
        """``abi.encodeWithSignature("take(uint256,uint256)", 0, 77)``; hex where a type is not
        elementary.
        """
        found = self.decoded(data)
        if found is None or not all(WORD_TYPES.fullmatch(c.canonical) for c in found[0].inputs):
            return f'hex"{data.hex()}"'
        function, arguments = found
        words = [f'"{function.signature}"']
        for kind, value in zip(function.inputs, arguments, strict=True):
            if kind.canonical == "address":
                words.append(self.names.solidity(value))
            elif kind.canonical == "bool":
                words.append("true" if value else "false")
            else:
                words.append(str(value))
        return f"abi.encodeWithSignature({', '.join(words)})"


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value)


def source_name(event: Deployed) -> str:
    """``Bank.sol:Bank``, as Foundry finds artifacts; of Foundry's own output the folder says it."""
    path = PurePosixPath(event.source.replace("\\", "/"))
    file = path.parent.name if path.suffix == ".json" else path.name
    if not file.endswith((".sol", ".vy")):
        file = f"{event.artifact}.sol"
    return f"{file}:{event.artifact}"
