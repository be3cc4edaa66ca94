"""A thin JSON-RPC client for local nodes: Unix socket or HTTP keep-alive, no web3.

Quantities cross as `0x` hex, as the protocol wants; helpers return `int` and `bytes`. One client
is one connection: it is not safe to share between threads. Errors: `TransportError` when the
connection fails, `RpcError` when the node refuses, `RevertError` when the EVM reverted.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from risk.errors import ChainIdMismatchError, RevertError, RpcError, TransportError

Json = Any
Call = tuple[str, Sequence[Json]]

_RECEIVE = 1 << 18
# environment variable, `module:factory`: what the factory returns sees every exchange
OBSERVER = "PLUMBLINE_OBSERVER"


class Transport(Protocol):
    """Carries one JSON text to the node and its answer back."""

    endpoint: str

    def exchange(self, payload: bytes) -> bytes:
        """Answer to `payload`, both one complete JSON text. Raises `TransportError`."""

    def close(self) -> None:
        """Releases the connection; harmless when closed already."""


class IpcTransport:
    """Unix socket. The answer ends where its JSON text ends (nodes send one line, or none)."""

    def __init__(self, path: str | Path, timeout: float = 120.0) -> None:
        self.endpoint = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(self.endpoint)
        except OSError as error:
            self._socket.close()
            raise TransportError(f"cannot connect to {self.endpoint}: {error}") from error

    def exchange(self, payload: bytes) -> bytes:
        try:
            self._socket.sendall(payload + b"\n")
            return self._receive()
        except OSError as error:
            raise TransportError(f"connection to {self.endpoint} failed: {error}") from error

    def _receive(self) -> bytes:
        chunks: list[bytes] = []
        while True:
            chunk = self._socket.recv(_RECEIVE)
            if not chunk:
                raise TransportError(f"{self.endpoint} closed the connection")
            chunks.append(chunk)
            if chunk.endswith(b"\n"):
                return b"".join(chunks)
            if chunk[-1:] in b"}]":
                whole = b"".join(chunks)
                if _complete(whole):
                    return whole
                chunks = [whole]

    def close(self) -> None:
        self._socket.close()


def _complete(text: bytes) -> bool:
    """True if `text` is one complete JSON text."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class HttpTransport:
    """HTTP POST over one kept-alive connection, opened again once if the node dropped it."""

    def __init__(self, url: str, timeout: float = 120.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransportError(f"not an http(s) address: {url!r}")
        self.endpoint = url
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, parts.port, timeout=timeout)

    def exchange(self, payload: bytes) -> bytes:
        fresh = self._connection.sock is None
        try:
            return self._post(payload)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._connection.close()
            if fresh:
                raise TransportError(f"{self.endpoint} dropped the connection") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TransportError(f"request to {self.endpoint} failed: {error}") from error
        try:
            return self._post(payload)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TransportError(f"request to {self.endpoint} failed: {error}") from error

    def _post(self, payload: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", self._path, payload, headers)
        return self._connection.getresponse().read()

    def close(self) -> None:
        self._connection.close()


class CallResult(NamedTuple):
    """Outcome of one entry of a batch: `ok` tells whether `value` or `error` holds it."""

    ok: bool
    value: Json
    error: RpcError | None


class Rpc:
    """JSON-RPC client over a transport, with the few helpers the hot path needs."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.observer = _observer()
        self._next_id = 0

    @classmethod
    def connect(cls, endpoint: str | Path, timeout: float = 120.0) -> Rpc:
        """Client for `http(s)://...` or the path of a Unix socket."""
        text = str(endpoint)
        if text.startswith(("http://", "https://")):
            return cls(HttpTransport(text, timeout))
        return cls(IpcTransport(text, timeout))

    def __enter__(self) -> Rpc:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.transport.close()

    # ------------------------------------------------------------------ calls

    def call(self, method: str, *params: Json) -> Json:
        """Result of one call. Raises `RpcError` (`RevertError` for a revert)."""
        self._next_id += 1
        request = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        answer = self._exchange(request)
        if not isinstance(answer, dict):
            raise TransportError(f"{method}: answer is not a JSON-RPC object")
        error = _error_of(method, answer)
        if error is not None:
            raise error
        return answer["result"]

    def try_batch(self, calls: Iterable[Call]) -> list[CallResult]:
        """Outcome of every call, in the order given, in one round trip."""
        first = self._next_id + 1
        requests = [
            {"jsonrpc": "2.0", "id": first + i, "method": method, "params": params}
            for i, (method, params) in enumerate(calls)
        ]
        if not requests:
            return []
        self._next_id += len(requests)
        answers = self._exchange(requests)
        if isinstance(answers, dict):  # the node refused the batch as a whole
            error = _error_of("batch", answers)
            raise error or TransportError("batch: answer is not a list")
        by_id = {answer["id"]: answer for answer in answers}
        results: list[CallResult] = []
        for request in requests:
            answer = by_id.get(request["id"])
            if answer is None:
                raise TransportError(f"batch: no answer to entry {len(results)}")
            failure = _error_of(str(request["method"]), answer)
            results.append(CallResult(failure is None, answer.get("result"), failure))
        return results

    def batch(self, calls: Iterable[Call]) -> list[Json]:
        """Results in the order given; raises the first error (all calls have run by then)."""
        results = self.try_batch(calls)
        for result in results:
            if result.error is not None:
                raise result.error
        return [result.value for result in results]

    def _exchange(self, request: Json) -> Json:
        payload = json.dumps(request, separators=(",", ":")).encode()
        answer = self.transport.exchange(payload)
        try:
            parsed = json.loads(answer)
        except ValueError as error:
            text = answer[:80].decode("utf-8", "replace")
            raise TransportError(f"{self.transport.endpoint} sent no JSON: {text!r}") from error
        if self.observer is not None:
            self.observer(self, request, parsed)
        return parsed

    # ---------------------------------------------------------------- helpers

    def chain_id(self) -> int:
        """Chain id of the node."""
        return int(self.call("eth_chainId"), 16)

    def require_chain_id(self, expected: int) -> None:
        """Raises `ChainIdMismatchError` unless the node serves chain `expected`."""
        actual = self.chain_id()
        if actual != expected:
            raise ChainIdMismatchError(expected, actual, self.transport.endpoint)

    def block_number(self) -> int:
        """Height of the latest block."""
        return int(self.call("eth_blockNumber"), 16)

    def balance(self, address: str) -> int:
        """Balance in wei."""
        return int(self.call("eth_getBalance", address, "latest"), 16)

    def nonce(self, address: str) -> int:
        """Number of transactions sent, pending ones included."""
        return int(self.call("eth_getTransactionCount", address, "pending"), 16)

    def code(self, address: str) -> bytes:
        """Deployed code; empty when there is none."""
        return from_hex(self.call("eth_getCode", address, "latest"))

    def eth_call(
        self,
        to: str,
        data: bytes,
        *,
        sender: str | None = None,
        gas: int | None = None,
        block: int | str = "latest",
        overrides: Mapping[str, Json] | None = None,
    ) -> bytes:
        """Raw return data of a call. Raises `RevertError` with the raw revert data."""
        return from_hex(self.call(*_flat(eth_call_entry(to, data, sender, gas, block, overrides))))

    def send_raw(self, signed: bytes) -> str:
        """Hash of a signed raw transaction handed to the node."""
        result: str = self.call("eth_sendRawTransaction", to_hex(signed))
        return result

    def send(self, transaction: Mapping[str, Json]) -> str:
        """Hash of a transaction which the node signs (unlocked or impersonated sender)."""
        result: str = self.call("eth_sendTransaction", dict(transaction))
        return result

    def receipt(self, tx_hash: str, timeout: float = 30.0) -> dict[str, Json]:
        """Receipt, waited for. Raises `TransportError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        pause = 0.0005
        while True:
            receipt = self.call("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                found: dict[str, Json] = receipt
                return found
            if time.monotonic() > deadline:
                raise TransportError(f"no receipt of {tx_hash} within {timeout} s")
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


Observer = Callable[[Rpc, Json, Json], None]
"""Called with the client, the request (or batch) and the answer, after every exchange."""


def _observer() -> Observer | None:
    """What `OBSERVER` names, or None. It must not raise."""
    name = os.environ.get(OBSERVER)
    if not name:
        return None
    module, _, factory = name.partition(":")
    made: Observer = getattr(importlib.import_module(module), factory)()
    return made


def eth_call_entry(
    to: str,
    data: bytes,
    sender: str | None = None,
    gas: int | None = None,
    block: int | str = "latest",
    overrides: Mapping[str, Json] | None = None,
) -> Call:
    """Batch entry of an `eth_call`; `gas` in units of gas, `block` a height or a tag."""
    transaction: dict[str, Json] = {"to": to, "data": to_hex(data)}
    if sender is not None:
        transaction["from"] = sender
    if gas is not None:
        transaction["gas"] = hex(gas)
    params: list[Json] = [transaction, hex(block) if isinstance(block, int) else block]
    if overrides is not None:
        params.append(dict(overrides))
    return "eth_call", params


def _flat(call: Call) -> tuple[Json, ...]:
    return (call[0], *call[1])


def to_hex(data: bytes) -> str:
    """`0x` hex of bytes."""
    return "0x" + data.hex()


def address_hex(address: int) -> str:
    """`0x` hex of an address, 20 bytes."""
    return f"0x{address:040x}"


def from_hex(text: str) -> bytes:
    """Bytes of `0x` hex."""
    return bytes.fromhex(text[2:] if text.startswith("0x") else text)


def _error_of(method: str, answer: Mapping[str, Json]) -> RpcError | None:
    """The error in a JSON-RPC answer, or None. Understands the shapes of Anvil and Ganache."""
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            return RpcError(method, 0, "answer holds neither result nor error")
        return None
    code, message = int(error.get("code", 0)), str(error.get("message", error))
    data = error.get("data")
    if isinstance(data, Mapping):  # Ganache: {"hash": ..., "result": "0x...", ...}
        data = data.get("result", data.get("data"))
    if isinstance(data, str) and data.startswith("0x"):
        return RevertError(method, code, message, from_hex(data))
    if "revert" in message.lower():
        return RevertError(method, code, message, b"")
    return RpcError(method, code, message)
