"""What ran, on disk: one file of JSON lines a process, each line only what was new to it.

Lines are appended and flushed at once, so nothing is lost when a worker is killed.  The keys of
units hold a hash of their code, so what was recorded for other sources is told apart.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

Json = Any
Edge = tuple[int, int]


@dataclass
class Hits:
    """Executed counters and edges by key of the unit."""

    counters: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    edges: dict[str, set[Edge]] = field(default_factory=lambda: defaultdict(set))

    def add(
        self, key: str, counters: Iterable[int], edges: Iterable[Edge]
    ) -> tuple[set[int], set[Edge]]:
        """Adds and returns what was new."""
        new = set(counters) - self.counters[key], set(edges) - self.edges[key]
        self.counters[key] |= new[0]
        self.edges[key] |= new[1]
        return new


class Writer:
    """Appends to a file of its own in ``folder``.  One a process: it notices a fork."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: IO[str] | None = None
        self._pid = 0

    def hits(self, key: str, counters: Iterable[int], edges: Iterable[Edge]) -> None:
        """One line of new hits."""
        pairs = sorted([list(edge) for edge in edges])
        self._write({"unit": key, "counters": sorted(counters), "edges": pairs})

    def note(self, **values: Json) -> None:
        """One line about the run; later lines of a process replace earlier ones."""
        self._write({"note": values})

    def _write(self, line: Mapping[str, Json]) -> None:
        if self._file is None or self._pid != os.getpid():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._pid = os.getpid()
            name = f"{self._pid}-{uuid.uuid4().hex[:8]}.jsonl"
            self._file = (self.folder / name).open("w")
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()


def read(folder: Path, keys: Container[str]) -> tuple[Hits, list[dict[str, Json]]]:
    """Everything recorded for the units ``keys``, and the last note of each process."""
    hits, notes = Hits(), []
    for path in sorted(folder.glob("*.jsonl")):
        note: dict[str, Json] | None = None
        with path.open() as file:
            for line in map(_parsed, file):
                if line is None:
                    continue  # cut off: the process was killed while it wrote
                if "note" in line:
                    note = line["note"]
                elif line["unit"] in keys:
                    hits.add(line["unit"], line["counters"], ((a, b) for a, b in line["edges"]))
        if note is not None:
            notes.append(note)
    return hits, notes


def _parsed(line: str) -> Json:
    try:
        return json.loads(line)
    except ValueError:
        return None
