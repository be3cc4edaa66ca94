"""Scenario array of one instrument: quantisation, packing, tag, place.  Twin:
``contracts/margin/ScenarioArray.sol``.

Formulas: docs/margin.md §4.  An array holds, for one unit of an instrument, the value change in
every scenario (13-bit lanes times one unit), the mark and the delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from risk.exact.errors import ModelRevert

MAX_LANE: Final = 4095
LANE_BIAS: Final = 4096
LANE_BITS: Final = 13
LANES_PER_WORD: Final = 16
TAG_CYCLE: Final = 2**24 - 1  # tags run 1 … 2^24 − 1; 0 is never valid
UNIT_MANTISSA_BITS: Final = 8
MARK_MANTISSA_BITS: Final = 41
MAX_EXPONENT: Final = 127
DELTA_ONE: Final = 511
# keccak256("plumbline.scenario.arrays") with the low 160 bits cleared
ARRAYS_SLOT: Final = 0xDBB586AABC82CDFCB996E782 << 160


@dataclass(frozen=True)
class ScenarioArray:
    """One instrument at one snapshot.  ΔV_k ≈ lanes[k]·unit, never above; mark in [mark_down,
    mark_up].
    """

    lanes: tuple[int, ...]
    unit_mantissa: int
    unit_exponent: int
    mark_mantissa: int
    mark_exponent: int
    delta_code: int  # c: N(d1) in 1/511

    @property
    def unit(self) -> int:
        """U, WAD."""
        return self.unit_mantissa << self.unit_exponent

    @property
    def mark_down(self) -> int:
        """The mark of a long position: V rounded down."""
        return self.mark_mantissa << self.mark_exponent

    @property
    def mark_up(self) -> int:
        """The mark of a short position: V rounded up, exact where the exponent is 0."""
        return self.mark_mantissa + (self.mark_exponent > 0) << self.mark_exponent

    def words(self, epoch: int) -> tuple[int, int, int, int]:
        """The four words as ``scenarioArray`` returns them in ``epoch``."""
        words = [0] * 4
        for i in range(word_count(len(self.lanes)) * LANES_PER_WORD):
            lane = self.lanes[i] if i < len(self.lanes) else 0
            words[i // LANES_PER_WORD] |= lane + LANE_BIAS << LANE_BITS * (i % LANES_PER_WORD)
        unit = self.unit_exponent << 8 | self.unit_mantissa
        words[0] |= (self.delta_code << 39 | unit << 24 | tag_of(epoch)) << 208
        words[1] |= (self.mark_exponent << 41 | self.mark_mantissa) << 208
        return words[0], words[1], words[2], words[3]


def tag_of(epoch: int) -> int:
    """epoch mod (2^24 − 1) + 1."""
    return epoch % TAG_CYCLE + 1


def base_of(epoch: int) -> int:
    """Slot 0 of the generation of ``epoch``; the array of an instrument starts at this +
    (instrument << 2).
    """
    return ARRAYS_SLOT + (epoch // TAG_CYCLE << 40)


def word_count(scenarios: int) -> int:
    """Words that K scenarios use: 2 for K ≤ 32, else 4."""
    return 4 if scenarios > 32 else 2


def unit_for(instrument: int, largest: int) -> tuple[int, int]:
    """(m, e) of the smallest m·2^e ≥ max(1, ⌈largest/4095⌉) with an 8-bit m.  ``ArrayOutOfRange``
    where e > 127.
    """
    need = max(1, -(-largest // MAX_LANE))
    exponent = max(0, need.bit_length() - UNIT_MANTISSA_BITS)
    mantissa = -(-need >> exponent)
    if mantissa == 256:
        mantissa, exponent = 128, exponent + 1
    if exponent > MAX_EXPONENT:
        raise ModelRevert("ArrayOutOfRange", (instrument,))
    return mantissa, exponent


def mark_for(value: int) -> tuple[int, int]:
    """(m', e'): value in [m', m' + 1)·2^e' with a 41-bit m'; exact where e' = 0."""
    exponent = max(0, value.bit_length() - MARK_MANTISSA_BITS)
    return value >> exponent, exponent


def pack(instrument: int, changes: Sequence[int], value: int, delta_code: int) -> ScenarioArray:
    """The array of ΔV_k = ``changes``, mark ``value`` and delta code c; lanes are floored."""
    mantissa, exponent = unit_for(instrument, max(map(abs, changes)))
    unit = mantissa << exponent
    mark_mantissa, mark_exponent = mark_for(value)
    return ScenarioArray(
        lanes=tuple(change // unit for change in changes),
        unit_mantissa=mantissa,
        unit_exponent=exponent,
        mark_mantissa=mark_mantissa,
        mark_exponent=mark_exponent,
        delta_code=delta_code,
    )
