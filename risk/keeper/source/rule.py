"""When a head is believed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadRule:
    """When a head is believed.

    ``quorum`` endpoints must name the same hash at its height. ``lag`` is how many blocks the head
    may be below the highest that was ever believed, ``age`` how many seconds it may be old (None:
    not asked, for chains whose clock is not ours).
    """

    quorum: int = 1
    lag: int | None = 8
    age: float | None = None
