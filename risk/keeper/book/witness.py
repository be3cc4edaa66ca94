"""Whom to ask whether the book is right: not those it was made from.

A provider that lies in logs and headers lies in the same way when the book is compared with it. So
every comparison is made with an endpoint that has not fed the book since its start, one after the
other; where all have, with each of them in turn, so that what one of them told is met by another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from risk.keeper.errors import Divergence
from risk.keeper.source import NodeRefused, NotFound, Source, SourceError

T = TypeVar("T")
PATIENCE = 8  # comparisons in a row without a witness, until one that fed the book will do
BEHIND_SECONDS = 0.4  # a witness may hear of a block a little later
log = logging.getLogger("plumbline.keeper.book")


class Witnesses:
    """See the module. ``pause`` sleeps."""

    def __init__(self, source: Source, pause: Callable[[float], None]) -> None:
        self._source, self._pause = source, pause
        self._fed: set[str] = set()
        self._turn = 0
        self._missed = 0

    def begin(self) -> None:
        """The book is started anew: nobody has fed it."""
        self._fed.clear()

    def fed_by(self, names: set[str]) -> None:
        """These have told something that went into the book."""
        self._fed |= names & set(self._source.names)

    def hear(self, compare: Callable[[], T]) -> T:
        """``compare`` with the next witness that answers. Raises its ``Divergence`` with the name
        of the endpoint, or a ``SourceError`` where no witness answers.
        """
        names = self._source.names
        if len(names) < 2:
            return compare()
        others = [name for name in names if name not in self._fed] or names
        order = self._rotated(others)
        failure: SourceError | None = None
        for name in order:
            try:
                found = self._ask(name, compare)
            except SourceError as error:
                failure = error
                continue
            self._missed = 0
            return found
        assert failure is not None
        self._missed += 1
        if self._missed < PATIENCE or len(others) == len(names):
            raise failure
        log.warning(
            "no other endpoint answers: the book is compared with one that it was made from",
            extra={"reason": str(failure)},
        )
        return compare()

    def _rotated(self, names: Sequence[str]) -> list[str]:
        at = self._turn % len(names)
        self._turn += 1
        return [*names[at:], *names[:at]]

    def _ask(self, name: str, compare: Callable[[], T]) -> T:
        for last in (False, True):
            try:
                with self._source.asking(name):
                    return compare()
            except Divergence as error:
                fed = ", ".join(sorted(self._fed)) or "nobody"
                where = f"the chain as {name} tells it, the book as {fed}"
                raise Divergence(f"{error}; {where}") from None
            except (NotFound, NodeRefused):  # the block is new, and not there yet
                if last:
                    raise
                self._pause(BEHIND_SECONDS)
        raise AssertionError("unreachable")
