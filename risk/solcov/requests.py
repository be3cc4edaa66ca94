"""Requests and answers of a node: how they ended, how they are made again with other code."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from risk.chain.rpc import Rpc, from_hex

Json = Any

SCANNED = 4096  # bytes of call data in which addresses are looked for


def call_ending(rpc: Rpc, params: list[Json]) -> tuple[bool, bytes]:
    """Whether an ``eth_call`` succeeded, and what it returned or reverted with."""
    result = rpc.try_batch([("eth_call", params)])[0]
    if result.error is not None:
        data = getattr(result.error, "data", None)
        return False, result.error.message.encode() if data is None else data
    return True, from_hex(result.value or "0x")


def ended(answer: Json) -> tuple[bool, bytes]:
    """The same of an answer that is there."""
    if "result" in answer:
        return True, from_hex(answer["result"] or "0x")
    error = answer.get("error") or {}
    data = error.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        return False, from_hex(data)
    message = str(error.get("message", ""))
    return False, b"" if "revert" in message.lower() else message.encode()


def simulated_again(
    rpc: Rpc, options: Mapping[str, Json], block: Mapping[str, Json], state: Json, codes: Json
) -> Hashable:
    changed = {**block, "stateOverrides": joined(block.get("stateOverrides"), codes)}
    answer = rpc.call("eth_simulateV1", {**options, "blockStateCalls": [changed]}, state)
    return tuple((c["status"], c["returnData"]) for c in answer[0]["calls"])


def joined(overrides: Mapping[str, Json] | None, codes: Mapping[str, Json]) -> dict[str, Json]:
    """``overrides`` with other code."""
    out = {
        "0x" + plain_address(address): dict(entry) for address, entry in (overrides or {}).items()
    }
    for address, entry in codes.items():
        out.setdefault(address, {}).update(entry)
    return out


def addresses_in(data: bytes) -> list[str]:
    """Words of call data that may be addresses."""
    out = set()
    for first in (0, 4):
        for at in range(first, min(len(data), SCANNED) - 31, 32):
            word = data[at : at + 32]
            if not any(word[:12]) and any(word[12:20]):
                out.add(word[12:].hex())
    return sorted(out)


def plain_address(address: str) -> str:
    return f"{int(address, 16):040x}"


def call_data(request: Mapping[str, Json]) -> bytes:
    return from_hex(request.get("data") or request.get("input") or "0x")


def ending(call: Mapping[str, Json]) -> bytes:
    """How a simulated call ended: nothing, or the selector of what it reverted with."""
    return b"" if call["status"] == "0x1" else b"!" + from_hex(call["returnData"])[:4]


def codes_of(overrides: Mapping[str, Json] | None) -> dict[str, bytes]:
    """Code that a request overrides, by address."""
    return {
        plain_address(address): from_hex(entry["code"])
        for address, entry in (overrides or {}).items()
        if "code" in entry
    }
