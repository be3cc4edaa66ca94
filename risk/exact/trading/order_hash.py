"""EIP-712 hash of an order.  Twin: ``contracts/trading/OrderHash.sol``.

The digest (domain included) is the key of an order everywhere.  The model takes the address that a
signature recovers to, so it needs no curve arithmetic.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from Crypto.Hash import keccak as _keccak

ORDER_TYPE = (
    "Order(uint168 account,uint32 instrument,int96 sizeWad,uint128 limitPriceWad,"
    "uint64 nonce,uint40 expiry,uint8 flags,uint128 triggerPriceWad,uint40 createdAt,"
    "uint16 slippageBps)"
)


@dataclass(frozen=True)
class Order:
    """``ITrading.Order``, fields in the order of the struct: ``size_wad`` > 0 buys, < 0 sells;
    ``expiry`` is the last second it may fill, ``created_at`` the first.
    """

    account: int
    instrument: int
    size_wad: int
    limit_price_wad: int
    nonce: int
    expiry: int
    flags: int = 0
    trigger_price_wad: int = 0
    created_at: int = 0
    slippage_bps: int = 0


def struct_hash(order: Order) -> bytes:
    """keccak256(typehash ‖ fields)"""
    words = b"".join((value % 2**256).to_bytes(32, "big") for value in astuple(order))
    return _hash(_hash(ORDER_TYPE.encode()) + words)


def digest(domain_separator: bytes, order: Order) -> bytes:
    """keccak256(0x19 0x01 ‖ domain separator ‖ struct hash)"""
    return _hash(b"\x19\x01" + domain_separator + struct_hash(order))


def _hash(data: bytes) -> bytes:
    return _keccak.new(digest_bits=256, data=data).digest()
