"""What a risk steward may propose.  Twin: ``contracts/governance/StewardCheck.sol``."""

from __future__ import annotations

from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.governance import param_diff
from risk.exact.governance import param_layout as pl

BPS: Final = 10_000


def require_within(anchor: bytes, base: bytes, blob: bytes, limit_bps: int) -> None:
    """Only weights and lanes of existing scenarios change from ``base``, and each changed one stays
    within ``limit_bps`` of its size in ``anchor`` (the start of the period: cumulative) and in
    ``base``, in both directions.  The allowance is rounded down, so a lane of 0 stays 0.

    Per change, in order: ``StewardField(word, shift)``; ``StewardLimit(word, shift, given, from,
    allowed)`` of the anchor, then of the base; values as stored.
    """
    c, a, b = pl.words_of(anchor), pl.words_of(base), pl.words_of(blob)
    k, u, n = pl.counts(a)
    for change in param_diff.diff(base, blob):
        index, shift = change >> 16, change >> 8 & 0xFF
        kind, _, first = pl.locate(index, u, n)
        lane = pl.is_lane(kind)
        bits = 13 if lane else 16
        if (kind != pl.WEIGHTS and not lane) or shift == param_diff.UNCLASSIFIED:
            raise ModelRevert("StewardField", (index, shift))
        if first + shift // bits >= k:
            raise ModelRevert("StewardField", (index, shift))
        zero = pl.LANE_BIAS if lane else 0
        given = b[index] >> shift & (1 << bits) - 1
        for words in (c, a):
            old = words[index] >> shift & (1 << bits) - 1
            allowed = abs(old - zero) * limit_bps // BPS
            if abs(given - old) > allowed:
                raise ModelRevert("StewardLimit", (index, shift, given, old, allowed))
