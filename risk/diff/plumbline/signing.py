"""Test keys and EIP-712 signatures.  The keys are public knowledge: never use them outside a test
network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from eth_keys.datatypes import PrivateKey

from risk.chain.keccak import keccak


@dataclass(frozen=True)
class Actor:
    """A key pair; ``address`` is an integer."""

    name: str
    address: int
    secret: bytes

    def sign(self, digest: bytes, *, compact: bool = False) -> bytes:
        """65 bytes r, s, v (27 or 28), or the 64 bytes of EIP-2098."""
        signature = _private_key(self.secret).sign_msg_hash(digest)
        r, s, v = int(signature.r), int(signature.s), int(signature.v)
        if compact:
            return r.to_bytes(32, "big") + (s | v << 255).to_bytes(32, "big")
        return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + v])


@lru_cache(maxsize=256)
def _private_key(secret: bytes) -> PrivateKey:
    """Made once: it derives the public key, which takes as long as a signature."""
    return PrivateKey(secret)


@lru_cache(maxsize=256)
def actor(name: str) -> Actor:
    """The actor of this name: its key is the hash of the name."""
    secret = keccak(b"plumbline test key " + name.encode())
    return Actor(
        name,
        int.from_bytes(_private_key(secret).public_key.to_canonical_address(), "big"),
        secret,
    )
