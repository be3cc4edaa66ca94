"""EIP-712 hash of an order.  Twin: ``contracts/trading/OrderHash.sol``.

The digest (domain included) is the key of an order everywhere.  The model takes the address that a
signature recovers to, so it needs no curve arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from Crypto.Hash import keccak as _keccak

ORDER_TYPE = (
    "Order(uint168 account,uint32 instrument,int96 sizeWad,uint128 limitPriceWad,"
    "uint64 nonce,uint40 expiry)"
)


@dataclass(frozen=True)
class Order:
    """``ITrading.Order``: ``size_wad`` > 0 buys, < 0 sells; ``expiry`` is the last second it may
    fill.
    """

    account: int
    instrument: int
    size_wad: int
    limit_price_wad: int
    nonce: int
    expiry: int


def struct_hash(order: Order) -> bytes:
    """keccak256(typehash ‖ fields)"""
    fields = (
        order.account,
        order.instrument,
        order.size_wad,
        order.limit_price_wad,
        order.nonce,
        order.expiry,
    )
    words = b"".join((value % 2**256).to_bytes(32, "big") for value in fields)
    return _hash(_hash(ORDER_TYPE.encode()) + words)


def digest(domain_separator: bytes, order: Order) -> bytes:
    """keccak256(0x19 0x01 ‖ domain separator ‖ struct hash)"""
    return _hash(b"\x19\x01" + domain_separator + struct_hash(order))


def _hash(data: bytes) -> bytes:
    return _keccak.new(digest_bits=256, data=data).digest()
