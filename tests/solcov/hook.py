"""An observer that remembers, for the tests of the hook."""

from __future__ import annotations

from typing import Any

seen: list[tuple[Any, Any]] = []


def factory() -> Any:
    """What the environment variable of the tests names."""
    return lambda rpc, request, answer: seen.append((request, answer))
