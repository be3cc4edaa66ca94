"""Sequences kept between runs: one JSON file each, a world and its steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from risk.diff.kit.adapter import Step, World
from risk.diff.kit.errors import DiffError


@dataclass(frozen=True)
class Entry:
    """A sequence that reached something new when it was found."""

    world: World
    steps: tuple[Step, ...]


def to_json(entry: Entry) -> str:
    """Text of a file; bytes become ``{"hex": …}``."""
    steps = [{**asdict(step), "arguments": _plain(step.arguments)} for step in entry.steps]
    return json.dumps({"world": entry.world, "steps": steps}, indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> Entry:
    """Raises ``DiffError`` where the text is no entry."""
    try:
        content = json.loads(text)
        steps = tuple(
            Step(**{**step, "arguments": _tuple(step["arguments"])}) for step in content["steps"]
        )
        return Entry(content["world"], steps)
    except (ValueError, KeyError, TypeError) as error:
        raise DiffError(f"not a corpus entry: {error!r}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def _tuple(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


class Corpus:
    """A folder of entries; without a folder it lives in memory only."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        if folder is not None and folder.is_dir():
            for file in sorted(folder.glob("*.json")):
                try:
                    self.entries.append(from_json(file.read_text(encoding="utf-8")))
                except DiffError as error:
                    raise DiffError(f"{file}: {error}") from error

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self.entries))

    def add(self, world: World, steps: Sequence[Step]) -> None:
        """Keep a sequence."""
        entry = Entry(world, tuple(steps))
        self.entries.append(entry)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = to_json(entry)
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            (self.folder / f"{name}.json").write_text(text, encoding="utf-8")
