"""An HTTP endpoint in front of a node that fails on demand, for the next so many requests.

It runs in threads of this process; every fault wears off by the count of requests, so that a keeper
that tries again gets through, however fast or slow the machine is.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final

from risk.chain.rpc import IpcTransport
from risk.errors import TransportError

Json = Any
LAG_BLOCKS: Final = 4
TIMEOUT: Final = 60.0


class Fault(Enum):
    """What a request meets."""

    DOWN = "connection closed"
    ERROR = "HTTP 500"
    LIMIT = "HTTP 429"
    CUT = "answer cut off"
    LAG = "head of some blocks ago"


@dataclass
class FaultyEndpoint:
    """See the module. ``with FaultyEndpoint(path_of_socket) as proxy``: then ``proxy.url``."""

    upstream: str
    met: Counter[str] = field(default_factory=Counter)
    _fault: Fault | None = None
    _left: int = 0
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> FaultyEndpoint:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one segment an answer
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                self.node = IpcTransport(proxy.upstream, TIMEOUT)

            def finish(self) -> None:
                self.node.close()
                super().finish()

            def do_POST(self) -> None:
                proxy.serve(self, self.node)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """HTTP address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, fault: Fault, requests: int) -> None:
        """The next ``requests`` meet ``fault``; replaces what was left of another."""
        with self._mutex:
            self._fault, self._left = fault, requests

    def _next(self) -> Fault | None:
        with self._mutex:
            if self._left <= 0:
                return None
            self._left -= 1
            assert self._fault is not None
            self.met[self._fault.name.lower()] += 1
            return self._fault

    def serve(self, handler: BaseHTTPRequestHandler, node: IpcTransport) -> None:
        """One request of a connection."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        fault = self._next()
        if fault is Fault.DOWN:
            handler.close_connection = True
            return
        if fault in (Fault.ERROR, Fault.LIMIT):
            _answer(handler, 500 if fault is Fault.ERROR else 429, b"")
            return
        try:
            if fault is Fault.LAG:
                body = _lagging(body, node)
            answer = node.exchange(body)
        except TransportError:
            handler.close_connection = True
            return
        _answer(handler, 200, answer, len(answer) // 2 if fault is Fault.CUT else None)


def _answer(
    handler: BaseHTTPRequestHandler, status: int, content: bytes, cut: int | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:cut])
    handler.wfile.flush()
    if cut is not None:
        handler.close_connection = True


def _lagging(body: bytes, node: IpcTransport) -> bytes:
    """The same request with an older block in place of the latest."""
    asked = json.loads(body)
    items = asked if isinstance(asked, list) else [asked]
    if not any("latest" in item.get("params", ()) for item in items):
        return body
    number = {"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []}
    height = int(json.loads(node.exchange(json.dumps(number).encode()))["result"], 16)
    old = hex(max(0, height - LAG_BLOCKS))
    for item in items:
        item["params"] = [old if p == "latest" else p for p in item.get("params", ())]
    return json.dumps(asked).encode()
