"""A private fork of the chain that a configuration names: an Anvil over its endpoints.

Anvil is given the address of a forwarder on this machine, so that no credential shows in the list
of processes; the forwarder asks the first endpoint that answers.
"""

from __future__ import annotations

import contextlib
import http.server
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from pydantic import SecretStr

from risk.chain.node import Anvil
from risk.chain.rpc import IpcTransport, Transport
from risk.errors import ChainError
from risk.keeper.config import KeeperConfig
from risk.keeper.errors import Transient
from risk.keeper.source.http import StrictHttp

log = logging.getLogger("plumbline.keeper.fork")


@contextmanager
def fork(config: KeeperConfig, block: int) -> Iterator[Anvil]:
    """An Anvil over the chain at ``block``."""
    with Forwarder(config.urls, config.chain.request_timeout_seconds) as forwarder:
        options = ("--fork-url", forwarder.url, "--fork-block-number", str(block))
        quiet = ("--no-rate-limit", "--retries", "2", "--timeout", "60000")
        node = Anvil(
            chain_id=config.chain.id,
            ipc=False,
            gas_limit=1_000_000_000,
            extra=(*options, *quiet, "--auto-impersonate"),
        )
        with node:
            yield node


def on_fork(config: KeeperConfig, url: str) -> KeeperConfig:
    """The same keeper on the fork: one endpoint, its own clock, a book of the fork's block."""
    chain = config.chain.model_copy(
        update={
            "endpoints": [SecretStr(url)],
            "quorum": 1,
            "max_head_age_seconds": 0.0,
            "max_lag_blocks": 10_000,
            "request_timeout_seconds": 60.0,
            "give_up_seconds": 60.0,
        }
    )
    return config.model_copy(update={"chain": chain})


class Forwarder:
    """HTTP on this machine to the endpoints of a configuration, the first that answers."""

    def __init__(self, urls: Sequence[str], timeout: float) -> None:
        opened = [_transport(url, timeout) for url in urls]
        lock = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    found = _first(opened, body)
                with contextlib.suppress(OSError):  # Anvil ended, or asks no more
                    self.send_response(502 if found is None else 200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(found or b"")))
                    self.end_headers()
                    self.wfile.write(found or b"")

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._opened = opened
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Of this machine, without any secret."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Forwarder:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for item in self._opened:
            item.close()


def _transport(url: str, timeout: float) -> _Lazy:
    if "://" in url:
        return _Lazy(lambda: StrictHttp(url, timeout))
    return _Lazy(lambda: IpcTransport(url, timeout))


class _Lazy:
    """A transport that is opened with the first exchange, and anew after a failure."""

    def __init__(self, opening: Callable[[], Transport]) -> None:
        self._opening = opening
        self._transport: Transport | None = None

    def exchange(self, body: bytes) -> bytes:
        if self._transport is None:
            self._transport = self._opening()
        try:
            return self._transport.exchange(body)
        except (ChainError, Transient):
            self.close()
            raise

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _first(transports: Sequence[_Lazy], body: bytes) -> bytes | None:
    for item in transports:
        try:
            return item.exchange(body)
        except (ChainError, Transient) as error:
            log.warning("an endpoint failed", extra={"kind": type(error).__name__})
    return None
