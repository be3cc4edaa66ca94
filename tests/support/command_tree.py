"""Every command of ``plumbline``, found by asking the program itself, so that no list goes stale.

Parameters are seen as the command line sees them: names with dashes, help texts, types.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from risk.cli.main import app


@dataclass(frozen=True)
class Node:
    """A command or a group; ``path`` is what stands behind ``plumbline``, () for the whole."""

    path: tuple[str, ...]
    command: Any  # of the parser inside Typer
    group: bool

    @property
    def name(self) -> str:
        return " ".join(self.path)

    @property
    def parameters(self) -> Sequence[Any]:
        return [p for p in self.command.params if p.name != "help"]

    def option(self, name: str) -> Any | None:
        """The parameter behind an option such as ``--json``."""
        return next((p for p in self.parameters if name in p.opts), None)


@functools.cache
def nodes() -> tuple[Node, ...]:
    """Groups and commands, in the order of ``--help``."""
    return tuple(_walk(typer.main.get_command(app), ()))


def commands() -> tuple[Node, ...]:
    """Only what can be run."""
    return tuple(node for node in nodes() if not node.group)


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Node]:
    inner: dict[str, Any] = getattr(command, "commands", {})
    yield Node(path, command, bool(inner))
    for name, child in inner.items():
        yield from _walk(child, (*path, name))
