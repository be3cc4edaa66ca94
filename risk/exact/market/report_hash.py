"""EIP-712 hash of a volatility report.  Twin: ``contracts/market/ReportHash.sol``.

The model takes the addresses that signatures recover to (0 for one that is none), so it needs no
curve arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from Crypto.Hash import keccak as _keccak

from risk.exact.state import World

DOMAIN_NAME = "Plumbline"
DOMAIN_VERSION = "1"
DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
SLICE_TYPE = (
    "Slice(uint16 expiryDay,uint64 forwardRatioWad,uint64 discountWad,"
    "int40 aE9,uint40 bE9,int32 rhoE9,int40 mE9,uint40 sigmaE9)"
)
REPORT_TYPE = (
    "VolReport(uint8 underlying,uint64 nonce,uint40 timestamp,uint16 confidenceBps,"
    "Slice[] slices,int32 premiumE9)" + SLICE_TYPE
)


@dataclass(frozen=True)
class Slice:
    """``IMarket.Slice``: forward ratio and discount in WAD, SVI parameters in units of 1e-9."""

    expiry_day: int
    forward_ratio_wad: int
    discount_wad: int
    a_e9: int
    b_e9: int
    rho_e9: int
    m_e9: int
    sigma_e9: int


@dataclass(frozen=True)
class VolReport:
    """``IMarket.VolReport``."""

    underlying: int
    nonce: int
    timestamp: int
    confidence_bps: int
    slices: tuple[Slice, ...] = ()
    premium_e9: int = 0


def digest(domain: bytes, report: VolReport) -> bytes:
    """What signers sign: keccak256(0x1901 ‖ domain separator ‖ struct hash)."""
    return _hash(b"\x19\x01" + domain + struct_hash(report))


def domain_separator(world: World) -> bytes:
    """EIP-712 domain separator of the vault on this chain (Solady's ``EIP712`` in the contract)."""
    return _hash(
        _hash(DOMAIN_TYPE.encode())
        + _hash(DOMAIN_NAME.encode())
        + _hash(DOMAIN_VERSION.encode())
        + _word(world.chain_id)
        + _word(world.vault)
    )


def struct_hash(report: VolReport) -> bytes:
    """EIP-712 struct hash; the array is the hash of the concatenated slice hashes."""
    return _hash(
        _hash(REPORT_TYPE.encode())
        + _word(report.underlying)
        + _word(report.nonce)
        + _word(report.timestamp)
        + _word(report.confidence_bps)
        + _hash(b"".join(_slice_hash(s) for s in report.slices))
        + _word(report.premium_e9)
    )


def _slice_hash(s: Slice) -> bytes:
    fields = (
        s.expiry_day,
        s.forward_ratio_wad,
        s.discount_wad,
        s.a_e9,
        s.b_e9,
        s.rho_e9,
        s.m_e9,
        s.sigma_e9,
    )
    return _hash(_hash(SLICE_TYPE.encode()) + b"".join(map(_word, fields)))


def _word(value: int) -> bytes:
    return (value % 2**256).to_bytes(32, "big")


def _hash(data: bytes) -> bytes:
    return _keccak.new(digest_bits=256, data=data).digest()
