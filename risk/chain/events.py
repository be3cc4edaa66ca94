"""Decoding logs by the events of an ABI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from risk.chain.abi import AbiError, Codec, codec
from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex


@dataclass(frozen=True)
class Event:
    """One decoded log: its name and its arguments by name (static values as integers)."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class _Kind:
    name: str
    indexed: tuple[tuple[str, Codec], ...]
    names: tuple[str, ...]
    body: Codec


class EventDecoder:
    """Knows every event of an ABI; a log of any other event raises ``AbiError``."""

    def __init__(self, abi: Iterable[Mapping[str, Any]]) -> None:
        self._kinds: dict[bytes, _Kind] = {}
        for entry in abi:
            if entry["type"] != "event":
                continue
            inputs = entry["inputs"]
            indexed = tuple(
                (i["name"], codec(i["type"], i.get("components", ())))
                for i in inputs
                if i["indexed"]
            )
            plain = [i for i in inputs if not i["indexed"]]
            canonical = ",".join(
                codec(i["type"], i.get("components", ())).canonical for i in inputs
            )
            topic = keccak(f"{entry['name']}({canonical})".encode())
            self._kinds[topic] = _Kind(
                entry["name"], indexed, tuple(i["name"] for i in plain), codec("tuple", plain)
            )

    def decode(self, log: Mapping[str, Any]) -> Event:
        """One log as the node gives it."""
        topics = [from_hex(topic) for topic in log["topics"]]
        kind = self._kinds.get(topics[0]) if topics else None
        if kind is None:
            raise AbiError(f"log with an unknown topic {topics[0].hex() if topics else '(none)'}")
        if len(topics) != len(kind.indexed) + 1:
            raise AbiError(f"{kind.name} with {len(topics) - 1} indexed arguments")
        values = {
            name: c.decode(topic, 0)
            for (name, c), topic in zip(kind.indexed, topics[1:], strict=True)
        }
        values |= zip(kind.names, kind.body.decode(from_hex(log["data"]), 0), strict=True)
        return Event(kind.name, values)
