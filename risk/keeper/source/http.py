"""HTTP to an endpoint that may be slow, lie about its status or never stop sending.

``risk.chain.rpc.HttpTransport`` trusts its node: it reads whatever body comes with whatever status.
This one looks at the status, limits the whole exchange in time and size, and never writes the
address into a message.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from risk.chain.rpc import HttpTransport
from risk.keeper.errors import ConfigError
from risk.keeper.source.errors import BadStatus, Malformed, RateLimited, Unreachable

MAX_BODY = 1 << 28
_CHUNK = 1 << 16


def masked(url: str) -> str:
    """Scheme, host and port of an address: what may be printed. A socket's path stays."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable address)"
    return f"{parts.scheme}://{parts.hostname or '?'}{port}"


def secret_parts(url: str) -> list[str]:
    """What of an address may be a credential, the longest first: what follows the host, whole and
    in parts. None of it may be shown, also where a node repeats it.
    """
    if "://" not in url:
        return []
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    tails = [parts.path.strip("/"), parts.query, parts.fragment]
    found = {tail for tail in tails if len(tail) >= 6}
    found |= {p for p in re.split(r"[/?&=#]", "/".join(tails)) if len(p) >= 12}
    return sorted(found, key=lambda s: (-len(s), s))


class StrictHttp(HttpTransport):
    """One kept-alive connection. ``timeout`` is for the whole exchange, seconds.

    Raises ``RateLimited``, ``BadStatus``, ``Unreachable``, ``Malformed``, and ``TransportError``
    where the connection itself fails; ``ConfigError`` for an address that is no http(s) address.
    """

    def __init__(
        self, url: str, timeout: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        name = masked(url)
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            good = False
        if not good:
            raise ConfigError(f"endpoint {name}: not an http(s) address")
        super().__init__(url, timeout)
        self.endpoint = name  # messages of the base class name it
        self._timeout, self._clock = timeout, clock

    def _post(self, payload: bytes) -> bytes:
        deadline = self._clock() + self._timeout
        headers = {"Content-Type": "application/json"}
        self._connection.timeout = self._timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._timeout)
        self._connection.request("POST", self._path, payload, headers)
        # http.client forgets the socket once it knows that the server will close it
        wire: socket.socket | None = self._connection.sock
        response = self._connection.getresponse()
        body = self._body(response, wire, deadline)
        response.close()  # ``read1`` leaves it open at the end: no further request could be sent
        if response.status == 429:
            wait = response.getheader("Retry-After") or ""
            raise RateLimited(self.endpoint, "HTTP 429", float(wait) if wait.isdigit() else 0.0)
        if response.status != 200:
            raise BadStatus(self.endpoint, f"HTTP {response.status}")
        return body

    def _body(
        self, response: http.client.HTTPResponse, wire: socket.socket | None, deadline: float
    ) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            left = deadline - self._clock()
            if left <= 0:
                self._connection.close()
                raise Unreachable(self.endpoint, f"no whole answer within {self._timeout:g} s")
            if wire is not None and wire.fileno() >= 0:
                wire.settimeout(left)
            chunk = response.read1(_CHUNK)
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                self._connection.close()
                raise Malformed(self.endpoint, f"more than {MAX_BODY} bytes")
        if response.length:  # Content-Length promised more
            self._connection.close()
            raise Malformed(self.endpoint, f"cut off after {size} bytes")
        return b"".join(chunks)
