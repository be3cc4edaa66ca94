"""What a test of an attack is worth: it must fail where the defence is gone.

Each ``test_<letter>_*.py`` lists its ``DEFENCES``; ``test_defences.py`` patches them out of the
reference model one at a time and runs the attack on the model alone (``scene.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tests.support.vault_fixtures import Market

Patch = tuple[Any, str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Defence:
    """``removed`` in words; each patch replaces ``name`` of ``place`` by ``make(original)``."""

    attack: Callable[[Market], None]
    removed: str
    patches: tuple[Patch, ...]

    @property
    def number(self) -> str:
        """``A3`` of ``test_A3_many_small_…``."""
        return self.attack.__name__.split("_")[1]

    @contextmanager
    def gone(self) -> Iterator[None]:
        """The model without this defence."""
        with ExitStack() as stack:
            for place, name, make in self.patches:
                stack.enter_context(patch.object(place, name, make(getattr(place, name))))
            yield


def nothing(original: Any) -> Any:
    """Does nothing and answers None: a check that is not there."""

    def missing(*args: Any, **kwargs: Any) -> None:
        del args, kwargs

    return missing


def answer(value: Any) -> Callable[[Any], Any]:
    """Always ``value``."""
    return lambda original: lambda *args, **kwargs: value
