"""Several endpoints behind one call: who is asked, how long one that failed is left alone, when to
give up.

Back-off of endpoint e after n failures in a row: uniform in (0, min(cap, base·2ⁿ⁻¹)], at least what
a 429 named ("full jitter", so that keepers do not return all at once). Nothing is ever put together
from two endpoints: one exchange is answered by one of them or fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from risk.chain.rpc import Call
from risk.keeper.source.endpoint import Endpoint, Reply
from risk.keeper.source.errors import NodeRefused, RateLimited, SourceError, Unreachable

Json = Any
T = TypeVar("T")
log = logging.getLogger("plumbline.keeper.source")


@dataclass(frozen=True)
class Policy:
    """Limits of the pool. Seconds, except ``attempts`` and ``batch`` (calls an HTTP request)."""

    attempts: int = 6
    deadline: float = 20.0
    base: float = 0.25
    cap: float = 30.0
    batch: int = 100


@dataclass
class Member:
    """An endpoint and what is known of its health."""

    endpoint: Endpoint
    failures: int = 0  # in a row
    not_before: float = 0.0
    total_failures: int = 0
    last_failure: str = ""

    @property
    def name(self) -> str:
        """Masked."""
        return self.endpoint.name


@dataclass
class Pool:
    """See the module. ``sleep`` and ``clock`` (monotonic seconds) are replaced by tests."""

    members: list[Member]
    policy: Policy = field(default_factory=Policy)
    rng: Random = field(default_factory=Random)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, endpoints: Sequence[Endpoint], **options: Any) -> Pool:
        """Pool of at least one endpoint; options are the fields above."""
        if not endpoints:
            raise ValueError("a pool needs an endpoint")
        return cls([Member(e) for e in endpoints], **options)

    def run(
        self,
        work: Callable[[Member], T],
        *,
        only: Collection[str] | None = None,
        attempts: int | None = None,
    ) -> T:
        """``work`` with one member after the other until it succeeds; healthy ones first.

        ``only`` names the members that may be asked. Raises the last failure when attempts or time
        are used up. A revert is an outcome of the chain, and is not tried again.
        """
        members = [m for m in self.members if only is None or m.name in only]
        if not members:
            raise Unreachable("", "no endpoint left that may be asked")
        until = self.clock() + self.policy.deadline
        failure: SourceError | None = None
        for _ in range(attempts or self.policy.attempts):
            member = min(members, key=lambda m: (m.not_before, m.failures))
            wait = member.not_before - self.clock()
            if wait > 0:
                if self.clock() + wait > until:
                    break
                self.sleep(wait)
            try:
                result = work(member)
            except SourceError as error:
                if isinstance(error, NodeRefused) and error.data is not None:
                    raise
                failure = error
                self.failed(member, error)
                continue
            member.failures, member.not_before = 0, 0.0
            return result
        raise failure or Unreachable("", "every endpoint is backing off")

    def failed(self, member: Member, error: SourceError) -> None:
        """Leave ``member`` alone for a while."""
        member.failures += 1
        member.total_failures += 1
        member.last_failure = f"{type(error).__name__}: {error.reason}"
        most = min(self.policy.cap, self.policy.base * 2 ** min(member.failures - 1, 30))
        pause = self.rng.uniform(0.0, most) or most
        if isinstance(error, RateLimited):
            pause = max(pause, min(error.wait, self.policy.cap))
        member.not_before = self.clock() + pause
        log.warning(
            "endpoint failed",
            extra={
                "endpoint": member.name,
                "kind": type(error).__name__,
                "reason": error.reason,
                "pause": round(pause, 3),
            },
        )

    def ready(self) -> list[Member]:
        """Members that are not backing off."""
        now = self.clock()
        return [m for m in self.members if m.not_before <= now]

    def ask(self, member: Member, calls: Sequence[Call]) -> list[Reply]:
        """Outcomes of all calls from one member, in requests of ``policy.batch``."""
        out: list[Reply] = []
        for i in range(0, len(calls), self.policy.batch):
            out += member.endpoint.exchange(calls[i : i + self.policy.batch])
        return out

    def close(self) -> None:
        """Releases all connections."""
        for member in self.members:
            member.endpoint.close()
