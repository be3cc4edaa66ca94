"""The 2048-bit bloom of a block header: what cannot be in the block, and what may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from risk.chain.keccak import keccak
from risk.chain.rpc import from_hex

BYTES = 256


@lru_cache(maxsize=4096)
def bits(item: bytes) -> int:
    """The three bits of an address (20 bytes) or topic (32 bytes), yellow paper 4.3.1."""
    digest = keccak(item)
    out = 0
    for i in (0, 2, 4):
        out |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
    return out


def may_hold(bloom: int, item: bytes) -> bool:
    """False: certainly no log of this address or topic. True proves nothing."""
    wanted = bits(item)
    return bloom & wanted == wanted


def of_logs(logs: Iterable[Mapping[str, Any]]) -> int:
    """Bloom of these logs."""
    out = 0
    for log in logs:
        out |= bits(from_hex(log["address"]))
        for topic in log["topics"]:
            out |= bits(from_hex(topic))
    return out
