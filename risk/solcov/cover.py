"""Which points (statements, sides of branches) the counters of a unit stand for.

Internal functions are copied into several contracts, so a point is known by its place in the
source, and every unit that holds a copy contributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from risk.solcov.build import Compiled, Unit
from risk.solcov.points import FALL, JUMP, Source
from risk.solcov.sourcemap import JUMPI


class Point(NamedTuple):
    """A statement (``edge`` empty) or one side of a branch, by its bytes in a file."""

    path: str
    start: int
    end: int
    edge: str


@dataclass
class Places:
    """Where a unit holds points: the statement of a counter, the branch of a ``JUMPI``."""

    statements: dict[int, Point] = field(default_factory=dict)
    jumps: dict[int, Point] = field(default_factory=dict)


class Index:
    """Points of all units."""

    def __init__(self, compiled: Compiled, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.places = {unit.key: _places(unit, compiled, sources) for unit in compiled.units}
        self.points: set[Point] = set()
        for places in self.places.values():
            self.points.update(places.statements.values())
            for point in places.jumps.values():
                self.points.update(point._replace(edge=edge) for edge in (JUMP, FALL))

    def reached(
        self, key: str, counters: Iterable[int], edges: Iterable[tuple[int, int]]
    ) -> set[Point]:
        """Points that executed counters and edges of the unit ``key`` show."""
        places = self.places[key]
        found = {places.statements[pc] for pc in counters if pc in places.statements}
        for at, to in edges:
            branch = places.jumps.get(at)
            if branch is not None:
                found.add(branch._replace(edge=FALL if to == at + 1 else JUMP))
        return found


def _places(unit: Unit, compiled: Compiled, sources: Mapping[str, Source]) -> Places:
    places = Places()
    for pc, place in unit.ranges.items():
        source = sources.get(compiled.files.get(place.file, ""))
        if source is None:
            continue
        statement = source.statement_at(place.start, place.end)
        if statement is not None:
            places.statements[pc] = Point(source.path, statement.start, statement.end, "")
        if unit.code[pc] == JUMPI and (place.start, place.end) in source.branches:
            places.jumps[pc] = Point(source.path, place.start, place.end, "")
    return places
