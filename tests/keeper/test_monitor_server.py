"""The monitor over HTTP: what it serves, to whom, and that nothing it is sent brings it down."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from risk.keeper.errors import ConfigError
from risk.keeper.monitor import Monitor
from risk.keeper.monitor import server as server_module
from risk.keeper.monitor.server import Answer, Server
from risk.keeper.ports import Sweep
from risk.keeper.snapshot import Snapshot
from tests.keeper.monitor_scene import account, busy, quiet, sweep
from tests.keeper.test_monitor_exposition import parse


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    made = Monitor()
    made.start()
    yield made
    made.close()


def ask(
    monitor: Monitor, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    host, port = monitor.address.removeprefix("http://").rsplit(":", 1)
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=20)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def metrics(monitor: Monitor) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    status, headers, body = ask(monitor, "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {name: values for name, (_, _, values) in parse(body.decode()).items()}


# ── health ───────────────────────────────────────────────────────────────────────────────────────


def health(monitor: Monitor) -> tuple[int, str]:
    status, _, body = ask(monitor, "/healthz")
    said = json.loads(body)
    assert said["ok"] == (status == 200)
    return status, said["reason"]


def test_H59_unwell_before_the_first_head(monitor: Monitor) -> None:
    assert health(monitor) == (503, "no head yet")
    monitor.seen(replace(quiet(), head=None, head_seen=0.0), None)
    assert health(monitor) == (503, "no head yet")
    assert metrics(monitor)["plumbline_keeper_stale"] == {(): 1.0}


def test_H59_unwell_when_the_head_is_stale() -> None:
    now = [1_000_000.0]
    monitor = Monitor(clock=lambda: now[0])
    monitor.start()
    try:
        monitor.seen(quiet(now[0]), None)  # head seen one second ago, limit 60 s
        assert health(monitor) == (200, "ok")
        now[0] += 59.0
        assert health(monitor) == (200, "ok")
        now[0] += 0.5
        assert health(monitor) == (503, "no trusted head for 60 s, the limit is 60 s")
        assert metrics(monitor)["plumbline_keeper_stale"] == {(): 1.0}
        assert json.loads(ask(monitor, "/data.json")[2])["stale"] is True
        monitor.seen(quiet(now[0]), None)
        assert health(monitor) == (200, "ok")
        assert metrics(monitor)["plumbline_keeper_stale"] == {(): 0.0}
    finally:
        monitor.close()


def test_unwell_once_the_keeper_has_stopped(monitor: Monitor) -> None:
    monitor.seen(replace(quiet(), stopped="Divergence: account 7"), None)
    assert health(monitor) == (503, "the keeper has stopped: Divergence: account 7")


# ── data ─────────────────────────────────────────────────────────────────────────────────────────


def test_data_is_the_snapshot_and_comes_back_as_one(monitor: Monitor) -> None:
    assert ask(monitor, "/data.json")[0] == 503
    s = busy()
    monitor.seen(s, sweep(warned=(1,), unhealthy=(2,)))
    status, headers, body = ask(monitor, "/data.json?x=1")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    data = json.loads(body)
    assert Snapshot.from_json(data) == s
    assert data["endangered"][0]["equity_wad"] == str(s.endangered[0].equity_wad)
    about = data["monitor"]
    assert about["webhook"] is None and about["calls_made"] == 2
    lines = {c["account"]: c["line"] for c in about["calls"]}
    assert lines == {
        f"0x{account(1):042x}": "warned",
        f"0x{account(2):042x}": "liquidatable",
    }


def test_numbers_that_json_has_not_become_null(monitor: Monitor) -> None:
    s = busy()
    odd = replace(s.endangered[0], health_factor=float("inf"))
    monitor.seen(replace(s, endangered=(odd,), started=float("nan")), None)
    status, _, body = ask(monitor, "/data.json")
    data = json.loads(body, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert status == 200
    assert data["endangered"][0]["health_factor"] is None and data["started"] is None


# ── the server ───────────────────────────────────────────────────────────────────────────────────


def test_bound_to_this_machine_by_default(monitor: Monitor) -> None:
    assert monitor.address.startswith("http://127.0.0.1:")


def test_the_policy_allows_the_pages_own_script_and_style_only(monitor: Monitor) -> None:
    status, headers, body = ask(monitor, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(p.strip().split(" ", 1) for p in headers["Content-Security-Policy"].split(";"))
    html = body.decode()
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/data.json", "/metrics", "/healthz", "/nothing"])
def test_every_answer_carries_a_policy(monitor: Monitor, path: str) -> None:
    monitor.seen(quiet(), None)
    _, headers, body = ask(monitor, path)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
    status, again, nothing = ask(monitor, path, "HEAD")
    assert nothing == b""
    assert status == ask(monitor, path)[0]
    if path == "/":
        assert int(again["Content-Length"]) == len(body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"])
def test_only_reading(monitor: Monitor, method: str) -> None:
    status, headers, _ = ask(monitor, "/data.json", method)
    assert status == 405 and headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/../keeper.toml", "/page.html", "//x", "/metrics/", "/%2e%2e/"])
def test_no_other_path(monitor: Monitor, path: str) -> None:
    assert ask(monitor, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9464", 200),
        ("localhost:9464", 200),
        ("LOCALHOST", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("evil.example:9464", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
    ],
)
def test_a_page_elsewhere_cannot_read_through_a_name_of_its_own(
    monitor: Monitor, host: str, status: int
) -> None:
    """DNS rebinding: the browser sends the name that the attacker's page has."""
    monitor.seen(quiet(), None)
    assert ask(monitor, "/data.json", Host=host)[0] == status


def test_elsewhere_than_on_this_machine_names_are_not_looked_at() -> None:
    monitor = Monitor(host="0.0.0.0")
    monitor.start()
    try:
        assert ask(monitor, "/healthz", Host="keeper.internal:9464")[0] == 503
    finally:
        monitor.close()


def test_a_port_that_is_taken(monitor: Monitor) -> None:
    port = int(monitor.address.rsplit(":", 1)[1])
    second = Monitor(port=port)
    with pytest.raises(ConfigError, match=f"monitor: 127.0.0.1:{port}: Address already in use"):
        second.start()
    second.close()


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1", "x" * 300])
def test_a_host_that_is_not_ours(host: str) -> None:
    with pytest.raises(ConfigError, match="monitor: "):
        Monitor(host=host).start()


def test_no_port_serves_nothing() -> None:
    monitor = Monitor(port=None)
    monitor.start()
    monitor.seen(quiet(), None)
    assert monitor.address == "" and monitor.health() == (True, "ok")
    monitor.close()


def test_rubbish_and_silence_do_not_stop_it(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(monitor.address.rsplit(":", 1)[1])
    rubbish = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        b"",
    ]
    for text in rubbish:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
            assert b"Traceback" not in answer
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(5)]
    assert ask(monitor, "/healthz")[0] == 503
    for client in silent:
        client.close()


def test_silent_clients_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.3)
    monkeypatch.setattr(server_module, "MOST_REQUESTS", 3)
    monitor = Monitor()
    monitor.start()
    try:
        port = int(monitor.address.rsplit(":", 1)[1])
        silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(3)]
        for client in silent:  # they hold every place until the server has had enough
            assert client.recv(1) == b""
            client.close()
        end = time.monotonic() + 20
        while True:  # the places are given back a moment after the connections end
            try:
                assert ask(monitor, "/healthz")[0] == 503
                break
            except (http.client.HTTPException, OSError):
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        monitor.close()


def test_what_fails_inside_is_status_500_and_no_more() -> None:
    def fail(path: str) -> Answer | None:
        raise RuntimeError("secret of the inside")

    server = Server("127.0.0.1", 0, fail)
    server.start()
    try:
        port = int(server.address.rsplit(":", 1)[1])
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            assert answer.status == 500 and b"secret" not in answer.read()
            connection.close()
    finally:
        server.close()


def test_closes_and_can_be_closed_twice(monitor: Monitor) -> None:
    address = monitor.address
    monitor.close()
    monitor.close()
    port = int(address.rsplit(":", 1)[1])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_read_while_it_is_written(monitor: Monitor) -> None:
    """Many heads and many readers at a time: every answer is whole."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                Snapshot.from_json(json.loads(ask(monitor, "/data.json")[2]))
                metrics(monitor)
        except BaseException as error:
            failures.append(error)

    monitor.seen(busy(), None)
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    s = busy()
    for i in range(60):
        made: Sweep = sweep(warned=tuple(range(i)), unhealthy=tuple(range(i, i + 40)), block=i)
        monitor.seen(s, made)
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
