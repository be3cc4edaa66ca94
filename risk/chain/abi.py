"""A small and fast ABI codec, compiled once per function from its JSON ABI.

Values are plain: every static type is an ``int`` (addresses and bytesN too, bytesN as the integer
of its N bytes; bool as 0 or 1), ``bytes`` and ``string`` are ``bytes``, arrays and tuples are
sequences.  Decoding gives the same forms. Malformed data raises ``AbiError``; a value outside its
type raises ``AbiError`` naming the type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from risk.chain.keccak import keccak

WORD = 32
_MASK = (1 << 256) - 1
_ARRAY = re.compile(r"^(.*)\[(\d*)\]$")
_NUMBER = re.compile(r"^(u?int|bytes)(\d+)$")


class AbiError(Exception):
    """A value does not fit its ABI type, or data does not decode."""


@dataclass(frozen=True)
class Codec:
    """Encoder and decoder of one type.  ``head`` is the size in the head part (32 for dynamic
    types).
    """

    canonical: str
    dynamic: bool
    head: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, int], Any]  # data, absolute offset of this value's encoding


def codec(kind: str, components: Sequence[Mapping[str, Any]] = ()) -> Codec:
    """Codec of an ABI type such as ``uint168``, ``(…)[]`` (kind ``tuple[]`` with components) or
    ``bytes32``.
    """
    if match := _ARRAY.match(kind):
        return _array(codec(match[1], components), int(match[2]) if match[2] else None)
    if kind == "tuple":
        return _tuple([codec(c["type"], c.get("components", ())) for c in components])
    if kind in ("bytes", "string"):
        return Codec(kind, True, WORD, _encode_bytes, _decode_bytes)
    return _static(kind)


def _static(kind: str) -> Codec:
    signed, bits, shift = False, 256, 0
    if kind == "address":
        bits = 160
    elif kind == "bool":
        bits = 1
    elif match := _NUMBER.match(kind):
        signed = match[1] == "int"
        bits = int(match[2])
        if match[1] == "bytes":
            bits *= 8
            shift = 256 - bits
    else:
        raise AbiError(f"unknown ABI type {kind!r}")
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)

    def encode(value: Any) -> bytes:
        if isinstance(value, bytes):
            value = int.from_bytes(value, "big")
        if not low <= value < high:
            raise AbiError(f"{value} does not fit {kind}")
        return int((value << shift) & _MASK).to_bytes(WORD, "big")

    def decode(data: bytes, at: int) -> int:
        word = data[at : at + WORD]
        if len(word) < WORD:
            raise AbiError(f"{len(data)} bytes are too short for a {kind} at {at}")
        value = int.from_bytes(word, "big", signed=signed) >> shift
        if not low <= value < high:
            raise AbiError(f"word {word.hex()} is no {kind}")
        return value

    return Codec(kind, False, WORD, encode, decode)


def _length(data: bytes, at: int) -> int:
    """The length or offset word at ``at``."""
    word = data[at : at + WORD]
    if len(word) < WORD:
        raise AbiError(f"{len(data)} bytes are too short for a length at {at}")
    return int.from_bytes(word, "big")


def _encode_bytes(value: bytes | str) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    return len(value).to_bytes(WORD, "big") + value + bytes(-len(value) % WORD)


def _decode_bytes(data: bytes, at: int) -> bytes:
    length = _length(data, at)
    value = data[at + WORD : at + WORD + length]
    if len(value) != length:
        raise AbiError(f"{len(data)} bytes are too short for {length} bytes at {at}")
    return value


def _join(codecs: Sequence[Codec], values: Sequence[Any]) -> bytes:
    if len(codecs) != len(values):
        raise AbiError(f"{len(values)} values for {len(codecs)} fields")
    offset = sum(c.head for c in codecs)
    heads, tails = [], []
    for c, value in zip(codecs, values, strict=True):
        body = c.encode(value)
        if c.dynamic:
            heads.append(offset.to_bytes(WORD, "big"))
            tails.append(body)
            offset += len(body)
        else:
            heads.append(body)
    return b"".join(heads + tails)


def _split(codecs: Sequence[Codec], data: bytes, base: int) -> list[Any]:
    out, at = [], base
    for c in codecs:
        if c.dynamic:
            pointer = _length(data, at)
            if base + pointer > len(data):
                raise AbiError(f"offset {pointer} points beyond {len(data)} bytes")
            out.append(c.decode(data, base + pointer))
        else:
            out.append(c.decode(data, at))
        at += c.head
    return out


def _tuple(codecs: Sequence[Codec]) -> Codec:
    dynamic = any(c.dynamic for c in codecs)
    name = "(" + ",".join(c.canonical for c in codecs) + ")"
    head = WORD if dynamic else sum(c.head for c in codecs)
    return Codec(
        name, dynamic, head, lambda v: _join(codecs, v), lambda d, at: _split(codecs, d, at)
    )


def _array(item: Codec, length: int | None) -> Codec:
    name = f"{item.canonical}[{'' if length is None else length}]"
    if length is not None:
        items = [item] * length
        head = WORD if item.dynamic else item.head * length
        return Codec(
            name, item.dynamic, head, lambda v: _join(items, v), lambda d, at: _split(items, d, at)
        )

    def encode(values: Sequence[Any]) -> bytes:
        return len(values).to_bytes(WORD, "big") + _join([item] * len(values), values)

    def decode(data: bytes, at: int) -> list[Any]:
        count = _length(data, at)
        if count * item.head > len(data):
            raise AbiError(f"{count} items do not fit {len(data)} bytes")
        return _split([item] * count, data, at + WORD)

    return Codec(name, True, WORD, encode, decode)


@dataclass(frozen=True)
class Function:
    """A function (or custom error, or event) of an ABI, ready to encode and decode."""

    name: str
    selector: bytes
    inputs: tuple[Codec, ...]
    outputs: tuple[Codec, ...]

    @property
    def signature(self) -> str:
        """Canonical signature, for instance ``fill((uint168,…),bytes)``."""
        return f"{self.name}({','.join(c.canonical for c in self.inputs)})"

    def encode(self, *values: Any) -> bytes:
        """Calldata (or revert data)."""
        return self.selector + _join(self.inputs, values)

    def arguments(self, data: bytes) -> list[Any]:
        """Arguments of calldata or revert data that starts with the selector."""
        if data[:4] != self.selector:
            raise AbiError(f"selector {data[:4].hex()} is not {self.signature}")
        return _split(self.inputs, data[4:], 0)

    def decode(self, data: bytes) -> list[Any]:
        """Return values."""
        return _split(self.outputs, data, 0)

    def encode_outputs(self, *values: Any) -> bytes:
        """Return data, as the contract would give it."""
        return _join(self.outputs, values)


def function(entry: Mapping[str, Any]) -> Function:
    """From one entry of a JSON ABI."""
    inputs = tuple(codec(i["type"], i.get("components", ())) for i in entry.get("inputs", ()))
    outputs = tuple(codec(o["type"], o.get("components", ())) for o in entry.get("outputs", ()))
    name = entry.get("name", "")
    signature = f"{name}({','.join(c.canonical for c in inputs)})"
    return Function(name, keccak(signature.encode())[:4], inputs, outputs)


_BUILTIN = [
    {"name": "Error", "inputs": [{"type": "string"}]},
    {"name": "Panic", "inputs": [{"type": "uint256"}]},
]


class Errors:
    """Every custom error of a set of ABIs, by name and by selector."""

    def __init__(self, abis: Iterable[Iterable[Mapping[str, Any]]]) -> None:
        entries = [e for abi in abis for e in abi if e["type"] == "error"]
        self.by_name: dict[str, Function] = {}
        self.by_selector: dict[bytes, Function] = {}
        for entry in [*_BUILTIN, *entries]:
            f = function(entry)
            self.by_name[f.name] = f
            self.by_selector[f.selector] = f

    def encode(self, name: str, args: Sequence[Any]) -> bytes:
        """Revert data of an error."""
        if name not in self.by_name:
            raise AbiError(f"error {name} is in no ABI")
        return self.by_name[name].encode(*args)

    def name(self, data: bytes) -> str:
        """Name of the error, ``(empty)`` for no data, ``0x…`` for an unknown selector."""
        if not data:
            return "(empty)"
        known = self.by_selector.get(data[:4])
        return known.name if known else "0x" + data[:4].hex()

    def show(self, data: bytes) -> str:
        """``Name(arg, …)`` as far as it decodes."""
        known = self.by_selector.get(data[:4])
        if known is None:
            return self.name(data)
        return f"{known.name}({', '.join(str(a) for a in known.arguments(data))})"


def functions(abi: Iterable[Mapping[str, Any]]) -> dict[str, Function]:
    """Functions of one ABI by name (overloads: the last wins)."""
    return {e["name"]: function(e) for e in abi if e["type"] == "function"}
