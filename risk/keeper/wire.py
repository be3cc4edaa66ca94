"""The dispatcher's wire over the keeper's own endpoints: strict, bounded in time, without secrets.

Questions are answered by one endpoint; transactions go to all that may be asked, so that none can
keep one to itself.

Refusals of the node come out as ``RpcError``, everything else as ``TransportError`` ("nobody knows
whether it arrived"), as ``risk.chain.rpc.Rpc`` does. Names of endpoints are masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from risk.chain.keccak import keccak
from risk.chain.rpc import Call, CallResult, from_hex, to_hex
from risk.errors import RevertError, RpcError, TransportError
from risk.keeper.source import Endpoint, NodeRefused, Policy, Pool, Source, SourceError
from risk.keeper.source.endpoint import Reply, connect
from risk.keeper.source.pool import Member

Json = Any
_SEND = "eth_sendRawTransaction"
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
        if method == _SEND:
            members = self._members()
            if len(members) > 1:
                return self._everywhere(members, (method, list(params)))
        result = self._run([(method, list(params))])[0]
        if result.error is not None:
            raise result.error
        return result.value

    def try_batch(self, calls: Iterable[Call]) -> list[CallResult]:
        """Outcome of every call, in the order given. Raises ``TransportError``."""
        return self._run(list(calls))

    def everyone(self, method: str, *params: Json) -> list[Json]:
        """What each endpoint that answers says, also those that did not name the head. Raises
        ``TransportError`` where none answers.
        """
        found: list[Json] = []
        lost: SourceError | None = None
        for member in self._pool.ready() or self._pool.members:
            try:
                found.append(self._pool.ask(member, [(method, list(params))])[0].get())
            except SourceError as error:
                self._pool.failed(member, error)
                lost = error
        if not found:
            raise TransportError(str(lost)) from None
        return found

    def close(self) -> None:
        """Releases the connections."""
        self._pool.close()

    def _members(self) -> list[Member]:
        """Who may be asked; who backs off only where all do."""
        names = self._agreeing() if self._agreeing else None
        members = [m for m in self._pool.members if not names or m.name in names]
        ready = [m for m in self._pool.ready() if m in members]
        return ready or members

    def _everywhere(self, members: Sequence[Member], call: Call) -> Json:
        """Hands one transaction to each of ``members``: the answer of one that took it, else what
        the first refused it with. ``TransportError`` where nobody said anything.
        """
        mine = to_hex(keccak(from_hex(call[1][0])))
        answer: CallResult | None = None
        lost: SourceError | None = None
        for member in members:
            try:
                found = _outcome(str(call[0]), self._pool.ask(member, [call])[0])
            except SourceError as error:
                self._pool.failed(member, error)
                lost = error
                continue
            took = found.ok and str(found.value).lower() == mine
            if took or answer is None:
                answer = found
        if answer is None:
            raise TransportError(str(lost)) from None
        if answer.error is not None:
            raise answer.error
        return answer.value

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
