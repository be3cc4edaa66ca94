"""One mutant: a byte range of a source file and the text that replaces it."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import asdict, dataclass
from typing import Any

KINDS = (
    "arithmetic",  # + for -, * for /, shl for shr …
    "rounding",  # mulDivUp for mulDivDown, a rounding + 1 or - 1 left out
    "comparison",  # < for <=, == for != …
    "sign",  # a minus more or less, a signed operation taken for the unsigned one
    "constant",  # a number one more, one less, doubled, 0
    "statement",  # a statement left out
    "arguments",  # two neighbouring arguments of the same type swapped
    "require",  # a refusal that never happens
    "index",  # the wrong element
    "boolean",  # a negated condition, && for ||
)


@dataclass(frozen=True)
class Mutant:
    """``start`` and ``length`` are bytes of the UTF-8 source ``file``; ``line`` counts from 1."""

    file: str
    kind: str
    start: int
    length: int
    replacement: str
    original: str
    line: int

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of the hash of file, range and replacement."""
        key = f"{self.file}:{self.start}:{self.length}:{self.replacement}"
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    def apply(self, source: bytes) -> bytes:
        """The mutated file.  Raises ``ValueError`` where ``source`` is not what was mutated."""
        end = self.start + self.length
        if source[self.start : end] != self.original.encode():
            raise ValueError(f"{self.file} has changed since mutant {self.id} was made")
        return source[: self.start] + self.replacement.encode() + source[end:]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The lines that change, before and after, without the white space around them."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.start + self.length)
        last = len(source) if last < 0 else last
        before = source[first:last].decode()
        grown = len(self.replacement.encode()) - self.length
        after = self.apply(source)[first : last + grown].decode()
        return _plain(before), _plain(after)

    def diff(self, source: bytes, context: int = 2) -> str:
        """A unified diff."""
        before, after = source.decode().splitlines(), self.apply(source).decode().splitlines()
        names = (f"a/{self.file}", f"b/{self.file}")
        return "\n".join(difflib.unified_diff(before, after, *names, n=context, lineterm=""))

    def as_json(self) -> dict[str, Any]:
        """Every field and the id."""
        return {"id": self.id, **asdict(self)}


def _plain(text: str) -> str:
    return " ".join(text.split())
