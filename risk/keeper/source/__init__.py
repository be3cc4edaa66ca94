"""The chain as a keeper may believe it: endpoints, heads by quorum, logs by block hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from risk.keeper.source.endpoint import Endpoint, connect
from risk.keeper.source.errors import (
    BadStatus,
    Disagreement,
    LyingLogs,
    Malformed,
    NodeRefused,
    NotFound,
    RateLimited,
    SourceError,
    StaleHead,
    Unreachable,
)
from risk.keeper.source.parse import Block
from risk.keeper.source.pool import Policy, Pool
from risk.keeper.source.rule import HeadRule
from risk.keeper.source.source import Source

__all__ = [
    "BadStatus",
    "Block",
    "Disagreement",
    "Endpoint",
    "HeadRule",
    "LyingLogs",
    "Malformed",
    "NodeRefused",
    "NotFound",
    "Policy",
    "Pool",
    "RateLimited",
    "Source",
    "SourceError",
    "StaleHead",
    "Unreachable",
    "open_source",
]


def open_source(
    urls: Sequence[str],
    *,
    timeout: float = 5.0,
    rule: HeadRule | None = None,
    policy: Policy | None = None,
    **options: Any,
) -> Source:
    """Source over these addresses; ``options`` are those of ``Source``."""
    endpoints = [connect(url, timeout) for url in urls]
    return Source(Pool.of(endpoints, policy=policy or Policy()), rule, **options)
