"""Code that behaves like the real code until it does something not seen before.

Coverage at the speed of the node: every place of a point that has not been reached gets a trap, and
a request is run once with the trapped code in a state override.  If it ends as it did with the real
code, it has reached nothing new and need not be traced (the idea of UnTracer, Nagy and Hicks 2019).
Traps of points that have been reached go, so the work vanishes as coverage grows.

* a statement: all its instructions become ``INVALID``, with their immediate bytes, so the
  jump destinations after them stay what they are;
* falling through a ``JUMPI``: the instruction after it becomes ``INVALID``, unless it is a
  ``JUMPDEST`` that others may jump to;
* jumping: the ``PUSH`` of the target before the ``JUMPI`` pushes 0, which is never a ``JUMPDEST``.

Where a trap cannot be placed the point is found only in traces made for another reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from risk.solcov.build import Compiled, Unit
from risk.solcov.cover import Index, Point
from risk.solcov.points import FALL, JUMP
from risk.solcov.sourcemap import PUSH1, PUSH32, instruction_offsets

JUMPDEST, INVALID = 0x5B, 0xFE
Patch = tuple[int, bytes]


class Traps:
    """The traps still set, by unit and point."""

    def __init__(self, compiled: Compiled, index: Index) -> None:
        self.index = index
        self._patches: dict[str, dict[Point, list[Patch]]] = {
            unit.key: _patches(unit, index) for unit in compiled.units
        }
        self._units: dict[Point, set[str]] = defaultdict(set)
        for key, patches in self._patches.items():
            for point in patches:
                self._units[point].add(key)
        self._version: dict[str, int] = defaultdict(int)
        self._code: dict[bytes, tuple[int, str]] = {}

    def remaining(self, key: str) -> int:
        """Points of the unit ``key`` that have a trap."""
        return len(self._patches[key])

    def clear(self, points: Iterable[Point]) -> int:
        """Removes the traps of ``points``; the number of points that had one."""
        cleared = 0
        for point in points:
            units = self._units.pop(point, set())
            cleared += bool(units)
            for key in units:
                del self._patches[key][point]
                self._version[key] += 1
        return cleared

    def armed(self, unit: Unit, code: bytes) -> str | None:
        """Hex of ``code``, an instance of ``unit``, with all traps; None where none is left."""
        if not self._patches[unit.key]:
            return None
        version, text = self._code.get(code, (-1, ""))
        if version != self._version[unit.key]:
            text = self.with_traps(unit, code, self._patches[unit.key])
            self._code[code] = (self._version[unit.key], text)
        return text

    def with_traps(self, unit: Unit, code: bytes, points: Iterable[Point]) -> str:
        """Hex of ``code``, an instance of ``unit``, with the traps of these points only."""
        patches = self._patches[unit.key]
        out = bytearray(code)
        for point in points:
            for at, replacement in patches.get(point, ()):
                out[at : at + len(replacement)] = replacement
        return "0x" + out.hex()

    def points(self, key: str) -> list[Point]:
        """Points of the unit ``key`` that have a trap, in the order of the code."""
        return list(self._patches[key])

    def shown_by(self, key: str, point: Point) -> tuple[list[int], list[tuple[int, int]]]:
        """Counters and edges of the unit ``key`` that show the trapped ``point``."""
        at, patch = self._patches[key][point][0]
        if not point.edge:
            return [at], []
        if point.edge == FALL:
            return [], [(at - 1, at)]
        return [], [(at + len(patch), 0)]  # where to does not matter


def _patches(unit: Unit, index: Index) -> dict[Point, list[Patch]]:
    places = index.places[unit.key]
    out: dict[Point, list[Patch]] = defaultdict(list)
    sizes = dict(_sizes(unit))
    before = dict(zip(list(sizes)[1:], sizes, strict=False))
    for pc, point in places.statements.items():
        out[point].append((pc, bytes([INVALID]) * sizes[pc]))
    for pc, branch in places.jumps.items():
        following, push = pc + 1, before.get(pc)
        if following in sizes and unit.code[following] != JUMPDEST:
            patch = bytes([INVALID]) * sizes[following]
            out[branch._replace(edge=FALL)].append((following, patch))
        if push is not None and PUSH1 <= unit.code[push] <= PUSH32:
            out[branch._replace(edge=JUMP)].append((push + 1, bytes(sizes[push] - 1)))
    return dict(out)


def _sizes(unit: Unit) -> Iterator[tuple[int, int]]:
    """Program counter and length of every instruction."""
    offsets = instruction_offsets(unit.code, len(unit.ranges))
    for pc in offsets:
        op = unit.code[pc]
        yield pc, 2 + op - PUSH1 if PUSH1 <= op <= PUSH32 else 1
