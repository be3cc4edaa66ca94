"""What the documents say one can type: every ``plumbline …`` of a code block or of back-ticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPAN = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"^(?:[\w.$/-]*/)?(?:brownie |\$ )?plumbline\s+(.*)$")


@dataclass(frozen=True)
class Call:
    """The words behind ``plumbline``, without comments; ``place`` is file:line."""

    place: str
    words: tuple[str, ...]


def documents(root: Path) -> list[Path]:
    """Everything that a reader of the project is given as text."""
    found = [root / "README.md"]
    for folder in ("docs", "examples"):
        found += sorted((root / folder).rglob("*.md"))
    return found


def calls(path: Path, root: Path) -> Iterator[Call]:
    """In the order of the file."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    for number, line in lines:
        while line.startswith("    ") and line.endswith("\\"):
            line = line[:-1] + next(lines)[1].strip()
        code = [line.strip()] if line.startswith("    ") else SPAN.findall(line)
        for text in code:
            match = CALL.match(text.strip())
            if match is not None:
                words = shlex.split(match.group(1), comments=True)
                yield Call(f"{path.relative_to(root)}:{number}", tuple(words))
