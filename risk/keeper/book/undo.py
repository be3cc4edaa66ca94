"""Dictionaries that remember what they replaced, so that a block can be taken back.

A copy of a whole state per block would cost as much as there are accounts; what one block changes
is little.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Any = object()

Entry = tuple[dict[Any, Any], Any, Any]
"""Dictionary, key, value before (or ``_ABSENT``)."""


class Tracked(dict[K, V]):
    """A dict whose item assignments are recorded while ``log`` is a list.

    Only ``d[key] = value`` and ``del d[key]`` are recorded; the methods that would bypass them are
    refused. Copies (``copy``, ``deepcopy``, pickle) are plain dicts.
    """

    def __init__(self, items: Iterable[tuple[K, V]] | dict[K, V] = ()) -> None:
        super().__init__(items)
        self.log: list[Entry] | None = None

    def __setitem__(self, key: K, value: V) -> None:
        if self.log is not None:
            self.log.append((self, key, self.get(key, _ABSENT)))
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        if self.log is not None:
            self.log.append((self, key, self[key]))
        super().__delitem__(key)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def copy(self) -> dict[K, V]:
        return dict(self)

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise TypeError("this would change a tracked dict without a record")

    setdefault = update = pop = popitem = clear = __ior__ = _refused


class TrackedSet(set[V]):
    """A set whose additions are recorded in a list while ``log`` is one; nothing is ever removed
    but by ``revert_set``.
    """

    def __init__(self, items: Iterable[V] = ()) -> None:
        super().__init__(items)
        self.log: list[V] | None = None

    def add(self, item: V) -> None:
        if self.log is not None and item not in self:
            self.log.append(item)
        super().add(item)

    def __reduce__(self) -> Any:
        return set, (list(self),)


def revert(entries: list[Entry]) -> None:
    """Everything in ``entries`` as it was, the last change first."""
    for where, key, old in reversed(entries):
        if old is _ABSENT:
            dict.pop(where, key, None)
        else:
            dict.__setitem__(where, key, old)
