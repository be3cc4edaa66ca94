"""Verdicts as JSON lines: written as they come, read again by a run that goes on and by reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from risk.mutate.mutant import Mutant
from risk.mutate.worker import Verdict

COUNTED = ("killed", "timed out", "survived", "error")  # everything that is no equivalent


@dataclass(frozen=True)
class Entry:
    """A mutant and its verdict.

    ``code`` is the fingerprint of what it compiles to, ``source`` the hash of the file it was made
    from, ``before`` and ``after`` are the lines it changes.
    """

    mutant: Mutant
    verdict: str
    stage: str
    evidence: str
    seconds: float
    code: str
    source: str
    before: str
    after: str

    @property
    def counts(self) -> bool:
        """Whether it is in the score's denominator."""
        return self.verdict in COUNTED

    def as_json(self) -> dict[str, Any]:
        """Flat: fields of the mutant and of the verdict."""
        fields = asdict(self)
        fields.pop("mutant")
        return {**self.mutant.as_json(), **fields}


def source_hash(text: str) -> str:
    """Of one file."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def entry(mutant: Mutant, verdict: Verdict, text: str) -> Entry:
    """What the journal keeps."""
    before, after = mutant.lines(text.encode())
    return Entry(
        mutant,
        verdict.verdict,
        verdict.stage,
        verdict.evidence,
        verdict.seconds,
        verdict.code,
        source_hash(text),
        before,
        after,
    )


def append(path: Path, item: Entry) -> None:
    """One line, flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(item.as_json()) + "\n")


def read(path: Path) -> list[Entry]:
    """The last verdict of each mutant, in the order of the first.  A line that a killed run left
    half is passed over.
    """
    found: dict[str, Entry] = {}
    if not path.exists():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
            mutant = Mutant(**{name: fields.pop(name) for name in Mutant.__dataclass_fields__})
            fields.pop("id")
            found[mutant.id] = Entry(mutant, **fields)
        except (ValueError, KeyError, TypeError):
            continue
    return list(found.values())


def valid(entries: Iterable[Entry], sources: dict[str, str]) -> list[Entry]:
    """Entries whose file has not changed since."""
    return [
        e
        for e in entries
        if e.mutant.file in sources and e.source == source_hash(sources[e.mutant.file])
    ]
