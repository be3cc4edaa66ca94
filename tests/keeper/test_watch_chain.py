"""``plumbline watch --config``: straight from a chain, without key and without keeper."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from risk.cli.watch import WatchOptions, watch_command
from risk.keeper.errors import Transient
from risk.keeper.monitor.client import Data, reader
from risk.keeper.monitor.direct import Ended, direct
from risk.keeper.snapshot import Snapshot
from tests.keeper.test_monitor_exposition import parse
from tests.support.book_ground import CHAIN_ID, Ground

pytestmark = pytest.mark.chain

ROOT = Path(__file__).parents[2]
CONFIG = """
version = 1

[chain]
id = {chain}
endpoints = ["{url}"]
max_head_age_seconds = 0
poll_seconds = 0.05
give_up_seconds = 20

[vault]
address = "{vault}"
deployed_block = {first}

[signer]
address = "0x00000000000000000000000000000000000000a1"

[profit]
native_price_cash = "2000"

[fees]
max_fee_cap_gwei = 100
budget_native = "0.05"

[state]
folder = "never-made"

[monitor]
webhook_url = "http://127.0.0.1:9/never-called"
"""


@pytest.fixture(scope="module")
def ground(furnished: Ground) -> Ground:
    return furnished


@pytest.fixture
def config(ground: Ground, tmp_path: Path) -> Path:
    file = tmp_path / "keeper.toml"
    write(file, ground)
    return file


def write(file: Path, ground: Ground, **changes: object) -> None:
    values = {
        "chain": CHAIN_ID,
        "url": ground.chain.node.endpoint,
        "vault": ground.vault,
        "first": ground.first,
    }
    file.write_text(CONFIG.format(**{**values, **changes}))


def options(config: Path, *, json: bool = True) -> WatchOptions:
    return WatchOptions(url=None, config=config, once=True, json=json, interval=0.1, top=15)


def test_once(ground: Ground, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch_command(options(config)) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    s = Snapshot.from_json(json.loads(line))
    assert err == ""
    assert (s.chain_id, s.live, s.stopped) == (CHAIN_ID, False, "")
    assert s.vault.lower() == ground.vault.lower()
    assert s.head is not None and s.head.number == ground.chain.rpc.block_number()
    book = ground.book()
    assert s.accounts.total == len(book.state.accounts) > 0
    a = s.accounts
    assert a.healthy + a.unhealthy + a.unknown == a.total
    assert sum(b.count for b in s.histogram) > 0
    assert sorted(os.listdir(config.parent)) == ["keeper.toml"]  # nothing of the keeper's is made


def test_follows_the_chain(ground: Ground, config: Path) -> None:
    before = set(os.listdir(tempfile.gettempdir()))
    with direct(config) as read:
        first = until(read, 0)
        number = first["head"]["number"]
        ground.deposit(0, 0, 10**6)
        assert until(read, number + 1)["head"]["number"] == number + 1
    after = {n for n in os.listdir(tempfile.gettempdir()) if n.startswith("plumbline-watch-")}
    assert after <= before


def until(read: Callable[[], Data], number: int) -> Data:
    end = time.monotonic() + 60
    while True:
        try:
            data = read()
            if data["head"]["number"] >= number:
                return data
        except Transient:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_real_keeper_shows_the_same(ground: Ground, config: Path, tmp_path: Path) -> None:
    """``plumbline keeper run`` as a process: page, metrics, health, ``watch`` over its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(f"{config.read_text()}port = {port}\n")
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "risk.cli.main", "keeper", "run", "--config", str(config)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            running = until(patient(reader(url, 20)), 0)
            with direct(config, once=True) as read:
                ours = read()
            for name in ("chain_id", "vault", "accounts", "histogram", "endangered"):
                assert running[name] == ours[name], name
            assert get(url + "/healthz") == (200, '{"ok":true,"reason":"ok"}')
            found = parse(get(url + "/metrics")[1])
            assert found["plumbline_keeper_head_number"][2] == {(): running["head"]["number"]}
            assert found["plumbline_keeper_heads_total"][2][()] >= 1
            assert "<title>Plumbline keeper</title>" in get(url)[1]
            address = WatchOptions(url, None, once=True, json=False, interval=0.1, top=15)
            assert watch_command(address) == 0
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            assert "never-called" not in said
        finally:
            process.kill()


def patient(read: Callable[[], Data]) -> Callable[[], Data]:
    """Before its first head a keeper says so, with a head of null."""

    def wait() -> Data:
        data = read()
        if data["head"] is None:
            raise Transient("not yet")
        return data

    return wait


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return answer.status, answer.read().decode()


def test_another_vault(ground: Ground, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(config, ground, vault="0x00000000000000000000000000000000000000b2")
    assert watch_command(options(config)) == 4
    assert "no contract at" in capsys.readouterr().err


def test_another_chain(ground: Ground, config: Path) -> None:
    write(config, ground, chain=1)
    assert watch_command(options(config)) == 4


def test_a_file_that_is_wrong(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "\n[nothing]\n")
    assert watch_command(options(config)) == 2
    assert "nothing" in capsys.readouterr().err
    assert watch_command(options(config.with_name("missing.toml"))) == 2


def test_no_node_there(ground: Ground, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("risk.keeper.monitor.direct.REACH_SECONDS", 0.3)
    write(config, ground, url="http://127.0.0.1:9")
    assert watch_command(options(config)) == 75


def test_H65_a_divergence_ends_it_with_its_exit_code() -> None:
    from risk.keeper.errors import Divergence

    ended = Ended(Divergence("account 7: book 1, chain 2"))
    assert (ended.exit_code, str(ended)) == (10, "account 7: book 1, chain 2")
    assert Ended(Transient("x")).exit_code == 75 and not isinstance(ended, Transient)
    assert Ended(ZeroDivisionError()).exit_code == 1
