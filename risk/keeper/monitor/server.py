"""The small web server of the monitor: the page at ``/``, and what its owner answers.

Read-only and without secrets, yet not for strangers: it listens on 127.0.0.1 unless told otherwise,
and there it answers only requests that name this machine, so that no page of another origin can
read it through a name of its own that resolves to 127.0.0.1. Every answer carries a policy
under which a browser runs nothing but the page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from risk.keeper.errors import ConfigError
from risk.keeper.monitor.exposition import CONTENT_TYPE

log = logging.getLogger("plumbline.keeper.monitor")
PAGE = Path(__file__).with_name("page.html")
MOST_REQUESTS = 32  # at one time
TIMEOUT = 10.0  # seconds that a client may be silent
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Answer:
    """What one path says."""

    body: bytes
    type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Answer:
        """``value`` must hold no NaN."""
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        return cls(text.encode(), "application/json", status)

    @classmethod
    def text(cls, words: str, status: int) -> Answer:
        """A sentence."""
        return cls(f"{words}\n".encode(), "text/plain; charset=utf-8", status)

    @classmethod
    def metrics(cls, page: str) -> Answer:
        """For Prometheus."""
        return cls(page.encode(), CONTENT_TYPE)


def page() -> Answer:
    """The page, with the policy that allows its one script and its one style and nothing else."""
    html = PAGE.read_text(encoding="utf-8")
    policy = (
        f"{_NOTHING}; connect-src 'self'; img-src data:; "
        f"script-src {_hash(html, 'script')}; style-src {_hash(html, 'style')}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = {"Content-Security-Policy": policy}
    return Answer(html.encode(), "text/html; charset=utf-8", headers=headers)


def _hash(html: str, tag: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} <{tag}>, expected one without attributes")
    digest = hashlib.sha256(found[0].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


class Server:
    """Serves from ``start`` to ``close``, in threads of its own.

    ``answer`` gives the answer to a path other than ``/``, None where there is none. It is called
    from several threads; what it raises becomes status 500.
    """

    def __init__(self, host: str, port: int, answer: Callable[[str], Answer | None]) -> None:
        self._host, self._port, self._answer = host, port, answer
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """With the port that was taken; empty while it does not serve."""
        if self._http is None:
            return ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._http.server_address[1]}"

    def start(self) -> None:
        """Raises ``ConfigError`` where it cannot listen there."""
        if self._http is not None:
            return
        try:
            self._http = _Http(self._host, self._port, page(), self._answer)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"monitor: {self._host}:{self._port}: {reason}") from None
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="monitor", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Harmless when it does not serve."""
        http, self._http = self._http, None
        if http is not None:
            http.shutdown()
            http.server_close()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self, host: str, port: int, front: Answer, answer: Callable[[str], Answer | None]
    ) -> None:
        self.front, self.answer = front, answer
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__((host, port), _Handler)
        self.local_only = _is_loopback(str(self.server_address[0]))

    def server_bind(self) -> None:
        # without the look-up of the machine's own name that HTTPServer makes
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a client went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    server_version, sys_version = "plumbline", ""
    timeout = TIMEOUT

    def do_GET(self) -> None:
        self._write(self._found())

    def do_HEAD(self) -> None:
        self._write(self._found(), body=False)

    def _found(self) -> Answer:
        if self.server.local_only and not _names_this_machine(self.headers.get("Host")):
            return Answer.text("this page is only for this machine", 421)
        path = self.path.partition("?")[0]
        try:
            if path in ("/", "/index.html"):
                return self.server.front
            return self.server.answer(path) or Answer.text("there is no such page", 404)
        except Exception:
            log.exception("the monitor failed to answer")
            return Answer.text("the monitor failed, see the log", 500)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        status = 405 if code == 501 else code
        self._write(Answer.text("only GET and HEAD of a few pages are answered", status))

    def _write(self, answer: Answer, *, body: bool = True) -> None:
        self.send_response(answer.status)
        policy = {"Content-Security-Policy": _NOTHING}
        length = {"Content-Type": answer.type, "Content-Length": str(len(answer.body))}
        for name, value in {**_ALWAYS, **policy, **answer.headers, **length}.items():
            self.send_header(name, value)
        if answer.status == 405:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%r", format % args)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names_this_machine(host: str | None) -> bool:
    """The Host header, with or without a port. Programs that send none are no browsers."""
    if host is None:
        return True
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return _is_loopback(name.strip("[]").lower())
