"""What changes between two blobs, and in which direction.  Twin:
``contracts/governance/ParamDiff.sol``.

Every bit of a blob belongs to a field of ``param_layout`` or counts as unclassified, which is both
tightening and loosening: nothing can slip through.
"""

from __future__ import annotations

from typing import Final

from risk.exact.errors import ModelRevert
from risk.exact.governance import param_layout as pl

EQUAL: Final = 0
TIGHTENS: Final = 1  # some account may need more
LOOSENS: Final = 2  # the vault may stand behind less
UNCLASSIFIED: Final = 0xFF  # as shift: bits of no field


def classify(rule: int, old: int, new: int) -> int:
    """``EQUAL``, ``TIGHTENS``, ``LOOSENS`` or both bits."""
    if old == new:
        return EQUAL
    if rule == pl.BOTH:
        return TIGHTENS | LOOSENS
    if rule == pl.DOWN_ZERO_IS_NONE and 0 in (old, new):
        return TIGHTENS if old == 0 else LOOSENS
    return TIGHTENS if (new > old) == (rule == pl.UP) else LOOSENS


def diff(old: bytes, new: bytes) -> list[int]:
    """Every changed field as ``word << 16 | shift << 8 | class``, ascending.

    The blobs have the same counts (``require_shape``).  Lanes of a scenario that only one of the
    two has are part of that scenario: its weight speaks for it.
    """
    pl.require_shape(old, new)
    a, b = pl.words_of(old), pl.words_of(new)
    k_old, u, c = pl.counts(a)
    common = min(k_old, pl.counts(b)[0])
    changes = []
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        if x == y:
            continue
        kind, _, first = pl.locate(index, u, c)
        covered = 0
        for place, field in pl.fields(kind):
            covered = field.put(covered, (1 << field.bits) - 1)
            if pl.is_lane(kind) and first + place >= common:
                continue
            found = classify(field.rule, field.get(x), field.get(y))
            if found:
                changes.append(index << 16 | field.shift << 8 | found)
        if (x ^ y) & ~covered:
            changes.append(index << 16 | UNCLASSIFIED << 8 | TIGHTENS | LOOSENS)
    return changes


def require_tightening(base: bytes, blob: bytes) -> None:
    """``Loosens(word, shift)`` of the first field that loosens."""
    for change in diff(base, blob):
        if change & LOOSENS:
            raise ModelRevert("Loosens", (change >> 16, change >> 8 & 0xFF))
