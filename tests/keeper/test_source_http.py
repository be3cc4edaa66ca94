"""Failures on the wire: a real server that answers badly, and addresses that hold a secret."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from risk.keeper.errors import ConfigError
from risk.keeper.source import (
    BadStatus,
    Malformed,
    Policy,
    RateLimited,
    Source,
    SourceError,
    Unreachable,
    open_source,
)
from risk.keeper.source.http import masked

KEY = "SeCrEtKeY123"
GOOD = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x2a"}).encode()
Answer = Callable[[BaseHTTPRequestHandler], None]


def send(status: int, body: bytes, length: int | None = None, **headers: str) -> Answer:
    def answer(h: BaseHTTPRequestHandler) -> None:
        h.send_response(status)
        h.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            h.send_header(name.replace("_", "-"), value)
        h.end_headers()
        h.wfile.write(body)
        if length is not None:
            h.close_connection = True

    return answer


def chunked_and_cut(h: BaseHTTPRequestHandler) -> None:
    h.protocol_version = "HTTP/1.1"
    h.send_response(200)
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    h.wfile.write(b"ff\r\n" + GOOD)
    h.close_connection = True


def hang_up(h: BaseHTTPRequestHandler) -> None:
    h.close_connection = True


class Server:
    """Answers every POST as ``answer`` says."""

    def __init__(self) -> None:
        self.answer: Answer = send(200, GOOD)
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://user:{KEY}@127.0.0.1:{self.http.server_port}/v2/{KEY}?k={KEY}"

    def drip(self, h: BaseHTTPRequestHandler) -> None:
        """A byte now and then: no single read ever times out."""
        h.send_response(200)
        h.send_header("Content-Length", "100000")
        h.end_headers()
        while not self.stop.wait(0.02):
            try:
                h.wfile.write(b" ")
            except OSError:
                return

    def silent(self, h: BaseHTTPRequestHandler) -> None:
        self.stop.wait(20)
        h.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop.set()
    made.http.shutdown()
    made.http.server_close()


def source_at(url: str, timeout: float = 5.0) -> Source:
    return open_source([url], timeout=timeout, policy=Policy(attempts=1, base=0.001, cap=0.001))


KINDS: dict[str, tuple[Answer, type[SourceError]]] = {
    "429": (send(429, b"slow down", Retry_After="17"), RateLimited),
    "503 with a good body": (send(503, GOOD), BadStatus),
    "301": (send(301, b"", Location="http://127.0.0.1:1/"), BadStatus),
    "page of a proxy": (send(200, b"<html>"), Malformed),
    "shorter than it says": (send(200, GOOD[:-5], length=500), Malformed),
    "a chunk cut off": (chunked_and_cut, Malformed),
    "hangs up": (hang_up, Unreachable),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_comes_over_the_wire(
    server: Server, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer, kind = KINDS[name]
    source = source_at(server.url)
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as caught:
        source.require_chain(42)
    assert type(caught.value) is kind
    if isinstance(caught.value, RateLimited):
        assert caught.value.wait == 17
    logged = "".join(str(vars(r)) for r in caplog.records)
    assert "endpoint failed" in logged
    for text in (str(caught.value), repr(caught.value), logged, repr(source.pool.members[0])):
        assert KEY not in text
    assert KEY not in str(caught.value.__cause__)
    server.answer = send(200, GOOD.replace(b'"id": 1', b'"id": 2'))
    source.require_chain(42)  # the connection serves again


@pytest.mark.parametrize("name", ["drip", "silent"])
def test_the_time_limit_is_for_the_whole_answer(server: Server, name: str) -> None:
    server.answer = getattr(server, name)
    with pytest.raises(Unreachable):
        source_at(server.url, timeout=0.3).require_chain(42)


def test_nobody_listens(server: Server) -> None:
    port = server.http.server_port
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(Unreachable, match=rf"^http://127.0.0.1:{port}: ") as caught:
        source_at(f"http://127.0.0.1:{port}/{KEY}").require_chain(42)
    assert KEY not in str(caught.value)


def test_a_socket_that_is_not_there() -> None:
    with pytest.raises(Unreachable):
        source_at("no/such.ipc").require_chain(42)


@pytest.mark.parametrize("url", [f"ftp://{KEY}/", f"https:///{KEY}", f"http://[{KEY}"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        source_at(url)
    assert caught.value.exit_code == 2


def test_what_of_an_address_is_printed() -> None:
    assert (
        masked(f"https://u:{KEY}@rpc.example:8545/v3/{KEY}?a={KEY}") == "https://rpc.example:8545"
    )
    assert masked("http://[bad") == "(unreadable address)"
    assert masked("run/node.ipc") == "run/node.ipc"
