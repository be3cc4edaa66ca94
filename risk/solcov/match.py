"""Which compiled unit a piece of code on the chain is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from risk.solcov.build import RUNTIME, Unit, blank

_HEAD = 8
_CACHE = 4096


class Matcher:
    """Finds units by code.  Only the very code matches: a contract compiled from other sources or
    with other settings has another metadata hash and belongs to nobody.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._runtime: dict[int, list[Unit]] = defaultdict(list)
        self._creation: dict[bytes, list[Unit]] = defaultdict(list)
        for unit in units:
            if unit.kind == RUNTIME:
                self._runtime[len(unit.code)].append(unit)
            else:
                self._creation[unit.code[:_HEAD]].append(unit)
        for group in self._creation.values():
            group.sort(key=lambda unit: -len(unit.code))
        self._known: dict[bytes, Unit | None] = {}

    def runtime(self, code: bytes) -> Unit | None:
        """The unit that was deployed as ``code``."""
        if code not in self._known:
            if len(self._known) >= _CACHE:
                self._known.clear()
            self._known[code] = next(
                (u for u in self._runtime[len(code)] if blank(code, u.holes) == u.plain), None
            )
        return self._known[code]

    def creation(self, code: bytes) -> Unit | None:
        """The unit whose creation code, followed by constructor arguments, is ``code``."""
        for unit in self._creation.get(code[:_HEAD], ()):
            if blank(code[: len(unit.code)], unit.holes) == unit.plain:
                return unit
        return None
