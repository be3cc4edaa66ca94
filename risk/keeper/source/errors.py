"""What can be wrong with an endpoint's answer, each kind its own class.

::

    Transient
    └── SourceError                nothing is known; the caller treats what it asked for as unknown
        ├── Unreachable            refused, lost, timed out, or too slow in total
        ├── RateLimited            HTTP 429, or the JSON-RPC error that means it
        ├── BadStatus              another HTTP status than 200
        ├── Malformed              no JSON, cut off, entries missing, repeated or of a wrong shape
        ├── NodeRefused            HTTP 200 with a JSON-RPC error
        ├── NotFound               the block is not known there (lagging node, or reorganised away)
        ├── LyingLogs              logs that contradict the block's own bloom, hash or receipts
        ├── Disagreement           fewer endpoints than the quorum agree on a hash
        └── StaleHead              the newest block is too old, or far below one seen before

A message names the endpoint by its host only: an address may carry a key in path or query.
"""

from __future__ import annotations

from risk.keeper.errors import Transient


class SourceError(Transient):
    """The chain gave no usable answer. ``endpoint`` is the masked name, empty for the pool."""

    def __init__(self, endpoint: str, reason: str) -> None:
        self.endpoint = endpoint
        self.reason = reason
        super().__init__(f"{endpoint}: {reason}" if endpoint else reason)


class Unreachable(SourceError):
    """No connection, or no complete answer in time."""


class RateLimited(SourceError):
    """The endpoint wants fewer requests; ``wait`` is the seconds it named, or 0."""

    def __init__(self, endpoint: str, reason: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(endpoint, reason)


class BadStatus(SourceError):
    """An HTTP status that is neither 200 nor 429."""


class Malformed(SourceError):
    """The answer does not have the shape that was asked for."""


class NodeRefused(SourceError):
    """A JSON-RPC error. ``data`` is the revert data where the EVM reverted, else None."""

    def __init__(self, endpoint: str, reason: str, data: bytes | None = None) -> None:
        self.data = data
        super().__init__(endpoint, reason)


class NotFound(SourceError):
    """A block that the endpoint does not have."""


class LyingLogs(SourceError):
    """Logs that cannot be all logs of the block."""


class Disagreement(SourceError):
    """The quorum was not reached at one height."""


class StaleHead(SourceError):
    """The head is too old to act on."""
