"""EIP-712 authorisations of Morpho, signed well and in every wrong way."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from risk.chain.keccak import keccak
from risk.diff.kit.engine import CHAIN_ID

if TYPE_CHECKING:
    from eth_keys.datatypes import PrivateKey

#: how a signature is made; the first two are good
SIGNATURES = ("good", "high_s", "other_signer", "other_value", "other_chain", "bad_v", "zero")

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DOMAIN_TYPE = b"EIP712Domain(uint256 chainId,address verifyingContract)"
AUTHORIZATION_TYPE = (
    b"Authorization(address authorizer,address authorized,bool isAuthorized,"
    b"uint256 nonce,uint256 deadline)"
)

Authorization = tuple[int, int, int, int, int]  # authorizer, authorized, value, nonce, deadline
Signature = tuple[int, int, int]  # v, r, s


@lru_cache(maxsize=64)
def _key(name: str) -> PrivateKey:
    """Public knowledge: the hash of the name. Never use it outside a test."""
    from eth_keys.datatypes import PrivateKey  # half a second

    return PrivateKey(keccak(b"plumbline morpho signer " + name.encode()))


@lru_cache(maxsize=64)
def signer_address(name: str) -> int:
    """Address of the key of this name."""
    return int.from_bytes(_key(name).public_key.to_canonical_address(), "big")


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)


def digest(authorization: Authorization, morpho: int, chain_id: int = CHAIN_ID) -> bytes:
    """What is signed, 32 bytes; ``morpho`` is the address of the contract."""
    domain = keccak(keccak(DOMAIN_TYPE) + _words(chain_id, morpho))
    return keccak(
        b"\x19\x01" + domain + keccak(keccak(AUTHORIZATION_TYPE) + _words(*authorization))
    )


@lru_cache(maxsize=4096)
def sign(
    signer: str, authorization: Authorization, morpho: int, way: str, chain_id: int = CHAIN_ID
) -> Signature:
    """A signature of ``signer`` made in a way of ``SIGNATURES``."""
    if way == "zero":
        return (0, 0, 0)
    authorizer, authorized, value, nonce, deadline = authorization
    if way == "other_value":
        authorization = (authorizer, authorized, 1 - value, nonce, deadline)
    key = _key("nobody" if way == "other_signer" else signer)
    message = digest(authorization, morpho, chain_id + (way == "other_chain"))
    made = key.sign_msg_hash(message)
    v, r, s = 27 + int(made.v), int(made.r), int(made.s)
    if way == "high_s":
        return (55 - v, r, CURVE_ORDER - s)
    return (26 if way == "bad_v" else v, r, s)
