"""keccak-256, memoised for the small inputs that storage keys are."""

from __future__ import annotations

from functools import lru_cache

from Crypto.Hash import keccak as _keccak


def keccak(data: bytes) -> bytes:
    """32-byte keccak-256 of ``data``."""
    return _keccak.new(digest_bits=256, data=data).digest()


@lru_cache(maxsize=1 << 16)
def mapping_slot(key: int, slot: int) -> int:
    """Storage slot of ``mapping[key]`` of a mapping at ``slot`` (value types as key)."""
    return int.from_bytes(keccak(key.to_bytes(32, "big") + slot.to_bytes(32, "big")), "big")


@lru_cache(maxsize=1 << 10)
def selector(signature: str) -> bytes:
    """First four bytes of the keccak of a function or error signature."""
    return keccak(signature.encode())[:4]
