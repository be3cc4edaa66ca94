"""``plumbline watch`` over a running monitor: what it prints, and how it ends."""

from __future__ import annotations

import http.server
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from risk.cli import watch as watch_module
from risk.cli.watch import WatchOptions, watch_command
from risk.keeper.errors import ConfigError, Transient
from risk.keeper.monitor import Monitor
from risk.keeper.monitor.client import reader
from risk.keeper.monitor.terminal import cash, clean, factor, screen, span
from risk.keeper.snapshot import Snapshot
from tests.keeper.monitor_scene import busy, hostile, quiet, sweep

ROOT = Path(__file__).parents[2]
WATCH = [sys.executable, "-m", "risk.cli.main", "watch"]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    made = Monitor()
    made.start()
    yield made
    made.close()


def options(url: str | None, **changes: Any) -> WatchOptions:
    base = WatchOptions(url=url, config=None, once=True, json=False, interval=0.1, top=15)
    return replace(base, **changes)


def drawn(s: Snapshot, width: int = 160, **how: Any) -> str:
    monitor = Monitor(port=None)
    monitor.seen(s, how.pop("sweep", None))
    data = monitor.data()
    assert data is not None
    out = io.StringIO()
    shown = screen(json.loads(json.dumps(data)), time.time(), width=width, **how)
    Console(file=out, width=width).print(shown)
    return out.getvalue()


# ── the screen ───────────────────────────────────────────────────────────────────────────────────


def test_the_screen_says_what_the_keeper_says() -> None:
    s = busy()
    text = drawn(s, sweep=sweep(warned=(1, 2), unhealthy=(3,)))
    for words in (
        "chain 31337, vault 0x5f5f",
        "Following the chain.",
        "block 21000000, trusted ",
        "50,213 accounts: 9 unhealthy, 3 unknown, 12 warned, 50,189 healthy (oldest value 8 min)",
        "and 9 more",
        "5 and more",
        "17,000",
        "71,200.33",
        "-29.00",
        "Margin calls (3)",
        "3 planned; 2 transactions not final; balance 2.3456; book checked at block 20999900",
        "nonce 41 open intent",
        "RateLimited: https://rpc.example: HTTP 429",
        "price of underlying 3 is stale; 8 min old",
    ):
        assert words in text, words
    first = next(line for line in text.splitlines() if line.startswith("0x6baa"))
    e = s.endangered[0]
    assert first.split()[:7] == [
        f"{e.account[:10]}…{e.account[36:42]}:{int(e.account[42:], 16)}",
        "unhealthy",
        "0.7000",
        cash(e.equity_wad),
        cash(e.mm_wad),
        cash(e.im_wad),
        "scenario",
    ]


def test_top_is_how_many_accounts_are_shown() -> None:
    rows = [line for line in drawn(busy(), top=3).splitlines() if re.match(r"0x\w{8}…", line)]
    assert len(rows) == 3
    assert len([x for x in drawn(busy(), top=50).splitlines() if re.match("0x", x)]) == 24


@pytest.mark.parametrize("width", [80, 100, 119])
def test_a_narrow_terminal_shows_no_half_number(width: int) -> None:
    text = drawn(busy(), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if re.match(r"0x\w{8}…", line)]
    assert len(rows) == 15
    for row, e in zip(rows, busy().endangered, strict=False):
        assert row[1:3] == [e.status, factor(e.health_factor)]
    assert "Equity" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"live": False}, "Following the chain. Dry run: nothing is signed."),
        ({"suspended": "providers disagree"}, "Nothing is sent now: providers disagree"),
        ({"stopped": "Divergence: …"}, "The keeper has stopped: Divergence: …"),
        ({"head_seen": 1.0}, "Stale: no trusted head within 60 s. What is shown is old."),
        ({"head": None, "head_seen": 0.0}, "The keeper has no head yet."),
    ],
)
def test_says_plainly_what_is_wrong(change: dict[str, Any], words: str) -> None:
    assert words in drawn(replace(busy(), **change))


def test_nobody_endangered() -> None:
    text = drawn(quiet())
    assert "No account is near its limits." in text and "Nobody was passed over." in text


@pytest.mark.parametrize("width", [80, 160])
def test_texts_cannot_steer_the_terminal(width: int) -> None:
    s = hostile()
    marked = replace(
        s, suspended="[bold]x[/bold] [link=http://e.example]y[/link] \x1b]0;t\x07\x9b31m"
    )
    for text in (drawn(s, width), drawn(marked, width)):
        odd = {c for c in text if c != "\n" and unicodedata.category(c)[0] == "C"}
        assert odd == set()
    assert "[bold]x[/bold] [link=http://e.example]y[/link] �]0;t��31m" in drawn(marked)


def test_small_words() -> None:
    assert [cash(n) for n in (0, 10**16 - 1, -(10**16), 123_456_789 * 10**16)] == [
        "0.00",
        "0.00",
        "-0.01",
        "1,234,567.89",
    ]
    assert factor(1 - 1e-12) == "0.9999" and factor(None) == "-" and factor(-0.00001) == "-0.0001"
    assert [span(s) for s in (-1, 119.4, 120, 125, 7200, 200_000)] == [
        "0 s",
        "119 s",
        "2 min",
        "2 min 5 s",
        "2 h 0 min",
        "2 days",
    ]
    assert clean("a\tb\nc\u202ed\u2028e f") == "a�b�c�d�e f"


# ── the reader ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "nothing", '{"version": 2}', '{"version": 1}', "[" * 99_999]
)
def test_an_answer_that_is_no_keepers(body: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        read = reader(f"http://127.0.0.1:{server.server_port}/?key=SECRET", 20)
        with pytest.raises(Transient, match="not the answer of a keeper") as refused:
            read()
        assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:9464", "ftp://x", "http://", "http://h:x", "http://ä"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not an http\(s\) address"):
        reader(url, 1)


def test_the_address_may_be_that_of_the_page_or_of_the_data(monitor: Monitor) -> None:
    monitor.seen(busy(), None)
    for tail in ("", "/", "/data.json"):
        assert reader(monitor.address + tail, 20)()["chain_id"] == 31337


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def test_once(monitor: Monitor, capsys: pytest.CaptureFixture[str]) -> None:
    monitor.seen(busy(), None)
    assert watch_command(options(monitor.address)) == 0
    assert "50,213 accounts" in capsys.readouterr().out


def test_once_as_json(monitor: Monitor, capsys: pytest.CaptureFixture[str]) -> None:
    s = busy()
    monitor.seen(s, sweep(warned=(1,)))
    assert watch_command(options(monitor.address, json=True)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    data = json.loads(line)
    assert Snapshot.from_json(data) == s and data["monitor"]["calls_made"] == 1


def test_once_is_75_where_nothing_is_current(
    monitor: Monitor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch_command(options(monitor.address)) == 75
    assert "the keeper has no head yet" in capsys.readouterr().err
    monitor.seen(replace(busy(), head_seen=time.time() - 3600), None)
    assert watch_command(options(monitor.address)) == 75
    assert "Stale: no trusted head" in capsys.readouterr().out  # shown all the same
    address = monitor.address
    monitor.close()
    assert watch_command(options(address)) == 75
    assert "no answer (ConnectionRefusedError)" in capsys.readouterr().err


def test_options_that_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert watch_command(options("http://x", config=Path("y"))) == 2
    assert "give --url or --config, not both" in capsys.readouterr().err
    assert watch_command(options("nonsense")) == 2


def test_a_difference_of_clocks_makes_nothing_stale() -> None:
    """A keeper on a machine whose clock is an hour behind."""
    shifted = Monitor(clock=lambda: time.time() - 3600)
    shifted.start()
    try:
        shifted.seen(busy(time.time() - 3600), None)
        watched = watch_module._Watch(options(shifted.address), reader(shifted.address, 20))
        assert watched._look()
        out = io.StringIO()
        Console(file=out, width=160).print(watched._screen(160))
        assert "Following the chain." in out.getvalue()
    finally:
        shifted.close()


def test_shows_the_last_it_had_when_the_keeper_is_gone(monitor: Monitor) -> None:
    monitor.seen(busy(), None)
    watched = watch_module._Watch(options(monitor.address), reader(monitor.address, 20))
    assert watched._look()
    monitor.close()
    assert not watched._look()
    out = io.StringIO()
    Console(file=out, width=160).print(watched._screen(160))
    assert "no answer (ConnectionRefusedError). What is shown is old." in out.getvalue()
    assert "50,213 accounts" in out.getvalue()


def test_json_lines_until_told_to_stop(monitor: Monitor) -> None:
    """A process of its own: a line for every change, none without; SIGTERM is a clean end."""
    monitor.seen(busy(), None)
    command = [*WATCH, "--url", monitor.address, "--json", "--interval", "0.1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = [json.loads(process.stdout.readline())]
            time.sleep(0.5)  # several looks at the same
            changed = replace(busy(), intents=77)
            monitor.seen(changed, None)
            lines.append(json.loads(process.stdout.readline()))
            assert [line["intents"] for line in lines] == [3, 77]
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=30)
            assert (process.returncode, rest, errors) == (0, "", "")
        finally:
            process.kill()


def test_live_in_a_terminal_and_leaves_it_as_it_was(monitor: Monitor) -> None:
    monitor.seen(busy(), None)
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "60"}
    with subprocess.Popen(
        [*WATCH, "--url", monitor.address, "--interval", "0.1"],
        cwd=ROOT,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
    ) as process:
        try:
            seen = read_until(leader, b"50,213 accounts")
            monitor.seen(replace(quiet(), chain_id=4711), None)
            seen += read_until(leader, b"chain 4711")
            assert b"\x1b[?1049h" in seen  # the other screen
            process.send_signal(signal.SIGINT)
            seen = read_until(leader, b"\x1b[?1049l")
            assert b"Traceback" not in seen
            assert process.wait(30) == 0
        finally:
            process.kill()
            os.close(follower)
            os.close(leader)


def read_until(descriptor: int, words: bytes) -> bytes:
    text, end = b"", time.monotonic() + 30
    while words not in text:
        assert time.monotonic() < end, text[-2000:]
        if select.select([descriptor], [], [], 1.0)[0]:
            text += os.read(descriptor, 65536)
    return text


def test_the_reader_of_a_pipe_goes_away(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monitor.seen(busy(), None)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert watch_command(options(monitor.address, once=False, json=True)) == 0
        print("the interpreter's own flush at the end", flush=True)  # would fail on the pipe
        monkeypatch.undo()
