"""Source text by byte range, as solc's AST names it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field

from risk.chain.solc_ast import Node, children


@dataclass(frozen=True)
class Span:
    """A byte range."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.start


def span(node: Node) -> Span:
    """``src`` of an AST node: ``start:length:file``."""
    start, length, _ = node["src"].split(":")
    return Span(int(start), int(start) + int(length))


@dataclass
class Source:
    """One file; offsets are bytes of its UTF-8 form."""

    name: str
    data: bytes
    _starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._starts = [0] + [i + 1 for i, b in enumerate(self.data) if b == 0x0A]

    def text(self, at: Span) -> str:
        """The text of a range."""
        return self.data[at.start : at.end].decode()

    def of(self, node: Node) -> str:
        """The text of a node."""
        return self.text(span(node))

    def line(self, offset: int) -> int:
        """Line number from 1."""
        return bisect.bisect_right(self._starts, offset)

    def between(self, left: Node, right: Node, token: str) -> Span | None:
        """Where ``token`` stands between two nodes, comments left out; None where it does not."""
        start, end = span(left).end, span(right).start
        gap = _blank_comments(self.data[start:end])
        at = gap.find(token.encode())
        if at < 0:
            return None
        return Span(start + at, start + at + len(token))


def _blank_comments(gap: bytes) -> bytes:
    """Same length, comments as spaces."""
    out = bytearray(gap)
    i = 0
    while i < len(out) - 1:
        if out[i : i + 2] == b"//":
            end = out.find(b"\n", i)
        elif out[i : i + 2] == b"/*":
            end = out.find(b"*/", i) + 2
        else:
            i += 1
            continue
        end = len(out) if end < 2 else end
        out[i:end] = b" " * (end - i)
        i = end
    return bytes(out)


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)
