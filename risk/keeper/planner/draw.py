"""An order by weight that every keeper draws for himself, so that not all go for the same account.

Gumbel's trick: sorting by ``log w + t·G``, G drawn from the standard Gumbel distribution for every
candidate, draws them one after the other without replacement, each with a probability proportional
to ``w^(1/t)`` among those that are left (for t = 1 the weighted sampling of Efraimidis and
Spirakis, 2006). G = −log(−log U) up to a constant that all share, U uniform from a hash of (signer,
account, block hash): the same head gives the same order, on every machine, after every restart.

Integers only: logarithms to base 2 in units of 2^-32, rounded down.
"""

from __future__ import annotations

from typing import Final

from risk.chain.keccak import keccak

UNIT: Final = 1 << 32  # 1 in a logarithm
BPS: Final = 10_000
_BITS: Final = 64  # of U
_FRACTION: Final = 32
_PRECISION: Final = 80


def log2(x: int) -> int:
    """⌊2^32·log₂ x⌋ within 1, x > 0: squares the mantissa once a bit."""
    whole = x.bit_length() - 1
    mantissa = (x << _PRECISION) >> whole  # in [1, 2)
    out = whole
    for _ in range(_FRACTION):
        mantissa = mantissa * mantissa >> _PRECISION
        bit = mantissa >> (_PRECISION + 1)
        mantissa >>= bit
        out = out << 1 | bit
    return out


def gumbel(seed: bytes) -> int:
    """−log₂(−log₂ U) in units of 2^-32, U = (h + ½)/2^64 of a hash h."""
    h = int.from_bytes(keccak(seed)[: _BITS // 8], "big")
    surprise = (_BITS + 1) * UNIT - log2(2 * h + 1)  # −log₂ U, above 0
    return _FRACTION * UNIT - log2(max(1, surprise))


def seed(signer: int, account: int, head_hash: str, what: str) -> bytes:
    """Of one draw; ``what`` keeps two draws of a head apart."""
    return f"{signer:040x}:{account:042x}:{head_hash.lower()}:{what}".encode()


def score(weight: int, spread_bps: int, seed_: bytes) -> int:
    """Rank of a candidate, the largest first. ``spread_bps`` 0: by weight (to 2^-32 of an octave;
    let the caller break ties by the weight itself); 10 000: proportional to it; more: flatter. A
    weight below 1 counts as 1.
    """
    noise = gumbel(seed_) * spread_bps // BPS if spread_bps else 0
    return log2(max(1, weight)) + noise
