"""Margin calls are delivered in spite of a bad receiver, and never in the keeper's way."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.keeper.errors import ConfigError
from risk.keeper.monitor import Delivery, Line, MarginCall, Monitor, Webhook
from risk.keeper.monitor.webhook import Refused, sender
from risk.keeper.types import Health
from tests.keeper.monitor_scene import WAD, account, busy, reading, sweep

SECRET = "T0SECRET/B0SECRET"
QUICK = Delivery(attempts=4, timeout=5.0, base=0.001, cap=0.01)


# ── delivery ─────────────────────────────────────────────────────────────────────────────────────


class Receiver:
    """A web server that answers what the script says, then 200. ``hold`` blocks every answer."""

    def __init__(self, script: list[int | str] | None = None, hold: bool = False) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.open = threading.Event()
        if not hold:
            self.open.set()
        answers = iter(script or [])
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.open.wait(20)
                answer = next(answers, 200)
                outer.paths.append(self.path)
                if answer == "drop":
                    self.connection.close()
                    return
                if answer == "garbage":
                    self.wfile.write(b"\x00\x01 nothing\r\n\r\n")
                    return
                assert isinstance(answer, int)
                if answer == 200:
                    outer.bodies.append(json.loads(body))
                self.send_response(answer)
                if answer in (301, 302, 307, 308):
                    self.send_header("Location", "/elsewhere")
                if answer == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().handle()

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/services/{SECRET}?token={SECRET}"

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [call for body in self.bodies for call in body["calls"]]

    def close(self) -> None:
        self.open.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(*args: Any, **options: Any) -> Receiver:
        made.append(Receiver(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def call(index: int, line: Line = Line.WARNED, block: int = 7) -> MarginCall:
    return MarginCall(line, reading(index, Health.HEALTHY, 120 * WAD, 100 * WAD, 150 * WAD, block))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_a_receiver_gets(receiver: Callable[..., Receiver]) -> None:
    there = receiver()
    hook = Webhook(there.url, chain_id=5, vault="0xab", delivery=QUICK)
    hook.post([call(3)])
    hook.close(10)
    (body,) = there.bodies
    number = account(3)
    assert {k: body[k] for k in ("source", "chain_id", "vault")} == {
        "source": "plumbline-keeper",
        "chain_id": 5,
        "vault": "0xab",
    }
    (entry,) = body["calls"]
    entry.pop("timestamp")
    assert entry == {
        "id": f"{number:042x}:warned:7",
        "account": f"0x{number:042x}",
        "owner": f"0x{number >> 8:040x}",
        "sub": number & 0xFF,
        "line": "warned",
        "equity_wad": str(120 * WAD),
        "mm_wad": str(100 * WAD),
        "im_wad": str(150 * WAD),
        "block": 7,
    }
    assert body["text"] == (
        f"Margin call: 0x{number >> 8:040x}:{number & 0xFF} warned (E 120.00, MM 100.00, IM 150.00)"
    )
    assert there.paths == [f"/services/{SECRET}?token={SECRET}"]
    assert (hook.counts.delivered, hook.counts.lost, hook.counts.retries) == (1, 0, 0)


@pytest.mark.parametrize("fault", [500, 502, 503, 429, 408, "drop", "garbage"])
def test_repeats_until_it_is_taken(receiver: Callable[..., Receiver], fault: int | str) -> None:
    there = receiver([fault, fault])
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(1)])
    hook.close(10)
    assert len(there.calls) == 1
    assert (hook.counts.delivered, hook.counts.lost, hook.counts.retries) == (1, 0, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 301, 302, 307, 308])
def test_does_not_repeat_what_will_never_be_taken(
    receiver: Callable[..., Receiver], status: int
) -> None:
    there = receiver([status])
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(1)])
    hook.close(10)
    assert len(there.paths) == 1  # nor does it follow to /elsewhere
    assert (hook.counts.delivered, hook.counts.lost) == (0, 1)
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(2)])
    hook.close(10)
    assert hook.counts.delivered == 1


def test_gives_up_after_so_many_attempts(receiver: Callable[..., Receiver]) -> None:
    there = receiver([500] * 4)
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(1)])
    until(lambda: hook.counts.lost == 1)
    hook.post([call(2)])  # and goes on with the next
    hook.close(10)
    assert [c["owner"] for c in there.calls] == [f"0x{account(2) >> 8:040x}"]
    assert hook.counts.retries == 3


def test_a_receiver_that_hangs_never_blocks_the_loop(receiver: Callable[..., Receiver]) -> None:
    there = receiver(hold=True)
    monitor = Monitor(port=None, webhook=there.url, delivery=QUICK, quiet_seconds=0.0)
    s = busy()
    spent = 0.0
    for block in range(50):
        everybody = tuple(range(200))
        swept = sweep(warned=everybody, block=block) if block % 2 else sweep(block=block)
        began = time.thread_time()
        monitor.seen(s, swept)
        spent += time.thread_time() - began
    assert monitor.webhook is not None
    assert spent < 1.0  # of processor time, 50 heads; measured: below 0.1 s
    # of 25 calls each, an account waits with its newest only
    assert monitor.webhook.waiting <= 200
    there.open.set()
    until(lambda: monitor.webhook is not None and monitor.webhook.waiting == 0)
    monitor.close(10)
    last = {c["account"]: c["block"] for c in there.calls}
    assert len(last) == 200 and set(last.values()) == {49}


def test_many_calls_in_one_request(receiver: Callable[..., Receiver]) -> None:
    there = receiver(hold=True)
    hook = Webhook(there.url, delivery=Delivery(timeout=20, batch=100))
    hook.post([call(0)])
    until(lambda: hook.waiting == 0)
    hook.post([call(i) for i in range(1, 251)])
    there.open.set()
    hook.close(20)
    assert sorted(len(b["calls"]) for b in there.bodies) == [1, 50, 100, 100]
    assert len({c["account"] for c in there.calls}) == 251
    assert there.bodies[1]["text"].endswith("; and 90 more")


def test_a_full_queue_loses_the_oldest_warnings_and_says_so(
    receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    there = receiver(hold=True)
    hook = Webhook(there.url, delivery=Delivery(timeout=20, queue=10))
    hook.post([call(0)])
    until(lambda: hook.waiting == 0)
    hook.post([call(1, Line.LIQUIDATABLE), *(call(i) for i in range(2, 16))])
    assert hook.waiting == 10 and hook.counts.lost == 5
    assert "the queue is full" in caplog.text
    there.open.set()
    hook.close(20)
    owners = {c["account"] for c in there.calls}
    assert owners == {f"0x{account(i):042x}" for i in (0, 1, *range(7, 16))}


def test_closing_does_not_wait_for_ever(receiver: Callable[..., Receiver]) -> None:
    there = receiver(hold=True)
    hook = Webhook(there.url, delivery=Delivery(timeout=20, batch=1))
    hook.post([call(1), call(2), call(3)])
    until(lambda: hook.waiting == 2)
    began = time.monotonic()
    hook.close(0.2)
    assert time.monotonic() - began < 10
    assert hook.counts.lost == 2
    hook.post([call(4)])
    assert hook.counts.lost == 3


def test_closing_ends_a_pause(receiver: Callable[..., Receiver]) -> None:
    there = receiver([500] * 9)
    hook = Webhook(there.url, delivery=Delivery(base=1000.0, cap=1000.0))
    hook.post([call(1)])
    until(lambda: hook.counts.retries == 1)
    began = time.monotonic()
    hook.close(0.1)
    until(lambda: hook.counts.lost == 1)
    assert time.monotonic() - began < 10


def test_a_fault_of_the_sender_does_not_end_the_thread() -> None:
    sent: list[bytes] = []

    def send(body: bytes) -> None:
        if not sent:
            sent.append(b"")
            raise RuntimeError("a defect")
        sent.append(body)

    hook = Webhook("http://127.0.0.1/", delivery=QUICK, send=send)
    hook.post([call(1)])
    until(lambda: hook.counts.lost == 1)
    hook.post([call(2)])
    hook.close(10)
    assert hook.counts.delivered == 1 and len(sent) == 2


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2000), st.integers(), st.floats(0, 1e9))
def test_pauses_grow_jitter_and_stay_below_the_cap(attempt: int, seed: int, asked: float) -> None:
    d = Delivery(base=1.0, cap=60.0)
    pause = d.pause(attempt, Random(seed), asked)
    full = min(60.0, 2.0 ** min(attempt, 60))
    assert max(full / 2, min(asked, 60.0)) <= pause <= max(full, min(asked, 60.0))


def test_pauses_differ() -> None:
    d, rng = Delivery(), Random(1)
    assert len({d.pause(3, rng) for _ in range(50)}) == 50


def test_a_receiver_names_its_pause(receiver: Callable[..., Receiver]) -> None:
    there = receiver([429])
    with pytest.raises(Refused, match="HTTP 429") as refused:
        sender(there.url, 5.0)(b"{}")
    assert refused.value.again and refused.value.wait == 1.0


# ── secrets and addresses ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", [500, 404, "drop"])
def test_H64_the_address_is_never_shown(
    receiver: Callable[..., Receiver], caplog: pytest.LogCaptureFixture, fault: int | str
) -> None:
    caplog.set_level(logging.DEBUG)
    there = receiver([fault] * (1 if fault == 404 else 4))
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(1)])
    hook.close(10)
    hook = Webhook(there.url, delivery=QUICK)
    hook.post([call(1)])
    hook.close(10)
    text = repr(hook) + caplog.text + str([vars(record) for record in caplog.records])
    assert "margin calls lost" in text and "margin calls sent" in text
    assert "SECRET" not in text
    assert f"http://127.0.0.1:{there.http.server_port}" in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"ftp://host/{SECRET}",
        f"http:///{SECRET}",
        f"http://host:port/{SECRET}",
        f"http://user:{SECRET}@host/",
        f"http://host/{SECRET} x",
        f"http://host/{SECRET}\r\nX: y",
        f"http://host/{SECRET}ä",
    ],
)
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError, match="webhook ") as refused:
        Webhook(url)
    assert "SECRET" not in str(refused.value)


# ── the monitor ──────────────────────────────────────────────────────────────────────────────────


def test_calls_come_from_sweeps_and_not_from_failures(receiver: Callable[..., Receiver]) -> None:
    there = receiver()
    monitor = Monitor(port=None, webhook=there.url, chain_id=5, vault="0xab", delivery=QUICK)
    s = busy()
    monitor.seen(s, sweep(warned=(1,)))
    monitor.seen(s, None)  # the chain could not be read: nobody recovered
    monitor.seen(s, sweep(unknown=(1,)))
    monitor.seen(s, sweep(warned=(1,), unhealthy=(2,)))
    monitor.close(10)
    assert [(c["account"], c["line"]) for c in there.calls] == [
        (f"0x{account(1):042x}", "warned"),
        (f"0x{account(2):042x}", "liquidatable"),
    ]
    data = monitor.data()
    assert data is not None and data["monitor"]["webhook"]["delivered"] == 2


def test_the_page_lists_the_newest_sweep_first_and_its_worst_calls_first() -> None:
    monitor = Monitor(port=None)
    monitor.seen(busy(), sweep(warned=(1,)))
    monitor.seen(busy(), sweep(warned=(1, 2), unhealthy=(3,)))
    data = monitor.data()
    assert data is not None
    owners = [c["account"] for c in data["monitor"]["calls"]]
    assert owners == [f"0x{account(i):042x}" for i in (3, 2, 1)]


@pytest.mark.parametrize(("age", "again"), [(60.0, False), (7200.0, True)])
def test_the_snapshot_of_an_earlier_process(age: float, again: bool) -> None:
    s = busy(time.time() - age)
    monitor = Monitor(port=None, earlier=s)
    warned, unhealthy = s.endangered[15], s.endangered[0]
    assert (warned.status, unhealthy.status) == ("warned", "unhealthy")
    index = {f"0x{account(i):042x}": i for i in range(24)}
    swept = sweep(warned=(index[warned.account],), unhealthy=(index[unhealthy.account],))
    monitor.seen(busy(), swept)
    data = monitor.data()
    assert data is not None and data["monitor"]["calls_made"] == (2 if again else 0)
