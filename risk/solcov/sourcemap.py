"""solc's compressed source maps: from a program counter to a range of a source file.

Format: https://docs.soliditylang.org/en/v0.8.30/internals/source_mappings.html.  An entry per
instruction, ``s:l:f:j:m``; an empty field repeats the one of the entry before.
"""

from __future__ import annotations

from typing import NamedTuple

PUSH1, PUSH32, JUMPI = 0x60, 0x7F, 0x57


class Range(NamedTuple):
    """Bytes ``start`` to ``end`` (exclusive) of the source with index ``file``; −1: none."""

    file: int
    start: int
    end: int


def instruction_offsets(code: bytes, count: int) -> list[int]:
    """Program counters of the first ``count`` instructions (data after them is not code)."""
    offsets: list[int] = []
    pc = 0
    while len(offsets) < count and pc < len(code):
        offsets.append(pc)
        op = code[pc]
        pc += 2 + op - PUSH1 if PUSH1 <= op <= PUSH32 else 1
    return offsets


def decode(source_map: str) -> list[Range]:
    """One range an instruction, in the order of the code."""
    ranges: list[Range] = []
    start, length, file = 0, 0, -1
    if not source_map:
        return ranges
    for entry in source_map.split(";"):
        fields = entry.split(":")
        if fields[0]:
            start = int(fields[0])
        if len(fields) > 1 and fields[1]:
            length = int(fields[1])
        if len(fields) > 2 and fields[2]:
            file = int(fields[2])
        ranges.append(Range(file, start, start + length))
    return ranges


def by_counter(code: bytes, source_map: str) -> dict[int, Range]:
    """Range of every instruction by its program counter."""
    ranges = decode(source_map)
    return dict(zip(instruction_offsets(code, len(ranges)), ranges, strict=False))
