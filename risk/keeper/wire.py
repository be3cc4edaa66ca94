"""The dispatcher's wire over the keeper's own endpoints: strict, bounded in time, without secrets.

Refusals of the node come out as ``RpcError``, everything else as ``TransportError`` ("nobody knows
whether it arrived"), as ``risk.chain.rpc.Rpc`` does. Names of endpoints are masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from risk.chain.rpc import Call, CallResult
from risk.errors import RevertError, RpcError, TransportError
from risk.keeper.source import Endpoint, NodeRefused, Policy, Pool, Source, SourceError
from risk.keeper.source.endpoint import Reply, connect
from risk.keeper.source.pool import Member

Json = Any
_REASON = re.compile(r"^\w+: (.*) \(code (-?\d+)\)$", re.DOTALL)


class PoolWire:
    """``dispatch.Wire``. One exchange is answered by one endpoint; one that fails is left for the
    next. ``agreeing`` names who may be asked; None: all.
    """

    def __init__(self, pool: Pool, agreeing: Callable[[], Collection[str]] | None = None) -> None:
        self._pool, self._agreeing = pool, agreeing

    @classmethod
    def of(cls, source: Source) -> PoolWire:
        """Over the endpoints that named the last head: others may not know it."""
        return cls(source.pool, lambda: source.agreeing)

    @classmethod
    def single(cls, url: str, timeout: float) -> PoolWire:
        """Over one endpoint of its own, such as a relay."""
        endpoint: Endpoint = connect(url, timeout)
        return cls(Pool.of([endpoint], policy=Policy(attempts=2, deadline=2 * timeout)))

    def call(self, method: str, *params: Json) -> Json:
        """Result of one call. Raises ``RpcError`` or ``TransportError``."""
        result = self._run([(method, list(params))])[0]
        if result.error is not None:
            raise result.error
        return result.value

    def try_batch(self, calls: Iterable[Call]) -> list[CallResult]:
        """Outcome of every call, in the order given. Raises ``TransportError``."""
        return self._run(list(calls))

    def close(self) -> None:
        """Releases the connections."""
        self._pool.close()

    def _run(self, calls: Sequence[Call]) -> list[CallResult]:
        def work(member: Member) -> list[CallResult]:
            return [
                _outcome(str(method), reply)
                for (method, _), reply in zip(calls, self._pool.ask(member, calls), strict=True)
            ]

        names = self._agreeing() if self._agreeing else None
        try:
            return self._pool.run(work, only=names or None)
        except SourceError as error:
            raise TransportError(str(error)) from None


def _outcome(method: str, reply: Reply) -> CallResult:
    """A refusal is an outcome, any other failure is raised: another endpoint may do better."""
    failure = reply.failure
    if failure is None:
        return CallResult(True, reply.value, None)
    if not isinstance(failure, NodeRefused):
        raise failure
    found = _REASON.match(failure.reason)
    text, code = (found.group(1), int(found.group(2))) if found else (failure.reason, 0)
    if failure.data is not None:
        return CallResult(False, None, RevertError(method, code, text, failure.data))
    return CallResult(False, None, RpcError(method, code, text))
