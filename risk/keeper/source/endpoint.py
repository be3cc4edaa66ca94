"""Strict JSON-RPC over one transport: every deviation is a typed failure, nothing is guessed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from risk.chain.rpc import Call, IpcTransport, Transport, from_hex
from risk.errors import TransportError
from risk.keeper.source.errors import (
    Malformed,
    NodeRefused,
    NotFound,
    RateLimited,
    SourceError,
    Unreachable,
)
from risk.keeper.source.http import StrictHttp, masked, secret_parts

Json = Any

RATE_CODES = frozenset({-32005, -32029, 429})
_RATE_TEXTS = ("rate limit", "too many requests", "exceeded its compute", "capacity exceeded")
# what Anvil, geth, Nethermind, Erigon and Reth say of a block that they do not have
_MISSING_TEXTS = (
    "header not found",
    "block not found",
    "blocknotfound",
    "unknown block",
    "hash not found",
    "not canonical",
    "resource not found",
)


class Reply(NamedTuple):
    """Outcome of one call: a result, or the failure that the node named."""

    value: Json
    failure: SourceError | None

    def get(self) -> Json:
        """The result; raises the failure."""
        if self.failure is not None:
            raise self.failure
        return self.value


class Endpoint:
    """One provider. Not safe to share between threads.

    A connection that failed in the middle may hold the rest of an old answer: it is opened anew.
    ``secrets`` are cut out of what the node says: some repeat the key of the address, and their
    words go to log, database and page.
    """

    def __init__(
        self, name: str, open_transport: Callable[[], Transport], secrets: Sequence[str] = ()
    ) -> None:
        self.name = name
        self._secrets = tuple(secrets)
        self._open = open_transport
        self._transport: Transport | None = None
        self._next_id = 0

    def exchange(self, calls: Sequence[Call]) -> list[Reply]:
        """Outcome of each call, in the order given, in one round trip.

        Answers may come in any order: they are matched by id. Raises a ``SourceError`` where the
        exchange as a whole failed, so either every call has an outcome or none has.
        """
        if not calls:
            return []
        first = self._next_id + 1
        self._next_id += len(calls)
        requests = [
            {"jsonrpc": "2.0", "id": first + i, "method": method, "params": list(params)}
            for i, (method, params) in enumerate(calls)
        ]
        body = requests[0] if len(requests) == 1 else requests
        payload = json.dumps(body, separators=(",", ":")).encode()
        try:
            return self._outcomes(calls, first, self._send(payload))
        except (Unreachable, Malformed):
            self.close()
            raise

    def _send(self, payload: bytes) -> Json:
        """The parsed answer."""
        try:
            if self._transport is None:
                self._transport = self._open()
            raw = self._transport.exchange(payload)
        except TransportError as error:
            if isinstance(error.__cause__, http.client.IncompleteRead):
                raise Malformed(self.name, "cut off") from None
            raise Unreachable(self.name, _reason(error)) from None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise Malformed(self.name, f"no whole JSON text ({len(raw)} bytes)") from None

    def _outcomes(self, calls: Sequence[Call], first: int, parsed: Json) -> list[Reply]:
        if len(calls) == 1:
            return [self._reply(str(calls[0][0]), self._checked(parsed, first, 1))]
        if isinstance(parsed, dict):  # the batch was refused as a whole
            failure = self._reply("batch", parsed).failure
            raise failure or Malformed(self.name, "one answer to a batch")
        if not isinstance(parsed, list):
            raise Malformed(self.name, "the answer to a batch is no list")
        by_id: dict[int, dict[str, Json]] = {}
        for item in parsed:
            answer = self._checked(item, first, len(calls))
            if answer["id"] in by_id:
                raise Malformed(self.name, "two answers to one entry of a batch")
            by_id[answer["id"]] = answer
        if len(by_id) != len(calls):
            raise Malformed(self.name, f"{len(by_id)} answers to {len(calls)} calls")
        return [self._reply(str(method), by_id[first + i]) for i, (method, _) in enumerate(calls)]

    def close(self) -> None:
        """Releases the connection; the next exchange opens another."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _checked(self, item: Json, first: int, count: int) -> dict[str, Json]:
        if not isinstance(item, dict):
            raise Malformed(self.name, "an answer is no object")
        number = item.get("id")
        if number is None and item.get("error") is not None:
            return {**item, "id": first} if count == 1 else self._refuse(item)
        if type(number) is not int or not first <= number < first + count:
            raise Malformed(self.name, "an answer to nothing that was asked")
        return item

    def _refuse(self, item: dict[str, Json]) -> dict[str, Json]:
        raise self._reply("batch", item).failure or Malformed(self.name, "an answer without id")

    def _reply(self, method: str, answer: dict[str, Json]) -> Reply:
        error = answer.get("error")
        if error is None:
            if "result" not in answer:
                raise Malformed(self.name, f"{method}: neither result nor error")
            return Reply(answer["result"], None)
        if not isinstance(error, dict):
            return Reply(None, NodeRefused(self.name, f"{method}: {self._shown(error)}"))
        text = self._shown(error.get("message", ""))
        code = error.get("code", 0)
        lower = text.lower()
        where = f"{method}: {text} (code {code})"
        if code in RATE_CODES or any(t in lower for t in _RATE_TEXTS):
            return Reply(None, RateLimited(self.name, where))
        if any(t in lower for t in _MISSING_TEXTS):
            return Reply(None, NotFound(self.name, where))
        return Reply(None, NodeRefused(self.name, where, _revert_data(error, lower)))

    def _shown(self, said: object) -> str:
        """The node's words, short; cut only where no part of a secret can be left over."""
        text = str(said)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:200]


def _revert_data(error: dict[str, Json], message: str) -> bytes | None:
    """Data of a revert, None where the error is no revert."""
    data = error.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return from_hex(data)
        except ValueError:
            return b""
    return b"" if error.get("code") == 3 or "revert" in message else None


def _reason(error: TransportError) -> str:
    """What failed, without the library's own repetition of the endpoint."""
    cause = error.__cause__
    return type(cause).__name__ if cause is not None else "connection lost"


def connect(url: str, timeout: float) -> Endpoint:
    """Endpoint behind ``http(s)://…`` or the path of a Unix socket; connects with the first
    exchange. ``timeout`` in seconds is for each. ``ConfigError`` for an unusable address.
    """
    if "://" not in url:
        return Endpoint(url, lambda: IpcTransport(url, timeout))
    StrictHttp(url, timeout)  # refuses a bad address now
    return Endpoint(masked(url), lambda: StrictHttp(url, timeout), secret_parts(url))
