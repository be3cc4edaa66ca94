"""``plumbline keeper`` as processes: exit codes, a live run to a liquidation, status, the drill.

Lines 58 to 65 of ATTACKS H on the running program are in tests/keeper_faults.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from risk.keeper.drill_report import Shock, parse_shock
from risk.keeper.lock import Lock
from risk.keeper.store import Store, store_path
from tests.keeper_faults.scene import CHAIN_ID, KEEPER, SECRET, Scene

ROOT = Path(__file__).parents[2]
VAULT = "0x" + "0" * 38 + "aa"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def written(folder: Path, **sections: dict[str, Any]) -> Path:
    """A configuration whose key is in a secret file."""
    key = folder / "key"
    if not key.exists():
        key.write_text(SECRET.hex())
        key.chmod(0o600)
    content: dict[str, dict[str, Any]] = {
        "chain": {
            "id": CHAIN_ID,
            "endpoints": [f"http://127.0.0.1:{closed_port()}/pr0ject-secret"],
            "max_head_age_seconds": 0,
            "poll_seconds": 0.05,
            "give_up_seconds": 0.3,
            "retry_cap_seconds": 0.1,
        },
        "vault": {"address": VAULT, "deployed_block": 0},
        "signer": {"address": KEEPER.address, "secret_file": "key"},
        "profit": {"native_price_cash": "3000"},
        "fees": {"max_fee_cap_gwei": "500", "budget_native": "0.5"},
        "dispatch": {"confirmations": 1},
        "book": {"behind_blocks": 0},
        "state": {"folder": "state"},
        "monitor": {"enabled": False},
    }
    for name, fields in sections.items():
        content.setdefault(name, {}).update(fields)
    lines = ["version = 1"]
    for name, fields in content.items():
        lines.append(f"[{name}]")
        lines += [f"{k} = {json.dumps(v)}" for k, v in fields.items() if v is not None]
    path = folder / "keeper.toml"
    path.write_text("\n".join(lines))
    return path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(folder / "xdg")}


def ran(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "risk.cli.main", "keeper", *args],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ── exit codes that need no chain ────────────────────────────────────────────────────────────────


def test_exit_2_and_3_and_7_and_5_and_75(tmp_path: Path) -> None:
    """One test, because each process takes a second to import what it needs."""
    path = str(written(tmp_path))
    good = Path(path).read_text()
    cases: list[tuple[int, str]] = []

    def judged(code: int, words: str, *args: str) -> None:
        done = ran(tmp_path, "run", "--config", path, *args)
        assert (done.returncode, words in done.stderr) == (code, True), (done, words)
        assert SECRET.hex() not in done.stderr + done.stdout
        assert "pr0ject-secret" not in done.stderr + done.stdout
        cases.append((code, words))

    Path(path).write_text(good.replace("[chain]", "[chain]\nendpiont = 1"))
    judged(2, f"error: {path}: [chain] endpiont: unknown field")
    Path(path).write_text(good)
    (tmp_path / "key").chmod(0o644)
    judged(3, f"error: {tmp_path / 'key'}: mode 0644 lets others in; chmod 600 key", "--live")
    (tmp_path / "key").chmod(0o600)
    with Lock(tmp_path / "xdg" / "plumbline" / "locks", CHAIN_ID, KEEPER.address):
        judged(5, f"process {os.getpid()}", "--live")
    judged(75, "no usable chain")
    database = store_path(tmp_path / "state", CHAIN_ID, VAULT, live=True)
    database.write_bytes(b"nonsense " * 1_000)
    judged(7, "not a database", "--live")
    assert [c for c, _ in cases] == [2, 3, 5, 75, 7]


def test_status_without_a_database(tmp_path: Path) -> None:
    done = ran(tmp_path, "status", "--config", str(written(tmp_path)))
    assert done.returncode == 7 and "no keeper has run" in done.stderr


# ── on a chain ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    made = Scene.new()
    yield made
    made.close()


def on_chain(folder: Path, scene: Scene, **sections: dict[str, Any]) -> str:
    chain = {"endpoints": [scene.node.url], "give_up_seconds": 60}
    more = {"chain": {**chain, **sections.pop("chain", {})}}
    place = {"vault": {"address": scene.vault, **sections.pop("vault", {})}}
    return str(written(folder, **more, **place, **sections))


@pytest.mark.chain
def test_exit_4_and_6(tmp_path: Path, scene: Scene) -> None:
    scene.reset()
    done = ran(tmp_path, "run", "--config", on_chain(tmp_path, scene, chain={"id": 1}))
    assert done.returncode == 4 and "serves chain 31337, expected 1" in done.stderr
    done = ran(tmp_path, "run", "--config", on_chain(tmp_path, scene, vault={"address": VAULT}))
    assert done.returncode == 4 and "no contract" in done.stderr
    stale = store_path(tmp_path / "state", CHAIN_ID, scene.vault, live=False)
    store = Store(stale, chain_id=CHAIN_ID, vault=scene.vault)
    store.belong("0x" + "11" * 32)  # of a net that was started anew
    store.close()
    done = ran(tmp_path, "run", "--once", "--config", on_chain(tmp_path, scene))
    assert done.returncode == 4 and f"error: {stale}: belongs to genesis 0x11" in done.stderr
    two = [scene.node.url, scene.node.url.replace("127.0.0.1", "localhost")]
    poor = on_chain(
        tmp_path, scene, dispatch={"min_balance_native": "11"}, chain={"endpoints": two}
    )
    done = ran(tmp_path, "run", "--live", "--config", poor)
    assert done.returncode == 6 and "min_balance_native" in done.stderr


@pytest.mark.chain
def test_a_dry_run_then_live_to_the_first_liquidations(tmp_path: Path, scene: Scene) -> None:
    scene.reset()
    scene.crash()
    path = on_chain(tmp_path, scene, monitor={"enabled": True, "port": 0})
    done = ran(tmp_path, "run", "--config", path, "--once")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {x["account"] for x in lines if x["message"] == "would send"} == {
        f"{a:#044x}" for a in scene.weak
    }
    assert scene.rpc.nonce(KEEPER.address) == scene.nonce, "nothing was signed"

    with (tmp_path / "err").open("w") as err:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "risk.cli.main", "keeper", "run", "--live", "--config", path],
            cwd=ROOT,
            env=environment(tmp_path),
            stderr=err,
        )
        try:
            end = time.monotonic() + 90
            while scene.liquidatable() and time.monotonic() < end and keeper.poll() is None:
                scene.mine()
                time.sleep(0.2)
            status = ran(tmp_path, "status", "--config", path, "--json", "--live")
            keeper.send_signal(signal.SIGTERM)
            assert keeper.wait(60) == 0, (tmp_path / "err").read_text()
        finally:
            keeper.kill()
    assert scene.liquidatable() == []
    assert set(scene.taken()) == set(scene.weak)
    told = json.loads(status.stdout)
    assert told["snapshot"]["live"] and told["snapshot"]["vault"].lower() == scene.vault.lower()
    assert any(t["what"] == "mined" for t in told["transactions"])
    after = ran(tmp_path, "status", "--config", path, "--live")
    assert after.returncode == 75 and "stopped: it was asked to (live)" in after.stdout
    assert SECRET.hex() not in (tmp_path / "err").read_text()


@pytest.mark.chain
def test_drill(tmp_path: Path, scene: Scene) -> None:
    """Nobody is liquidatable; after a fall of 20 % on the fork everybody weak is, and is taken.
    The real chain sees nothing of it. A liquidator without cash leaves everybody.
    """
    scene.reset()
    before = scene.rpc.block_number(), scene.rpc.nonce(KEEPER.address)
    path = on_chain(tmp_path, scene, profit={"min_profit_cash": "1000000"})
    out = tmp_path / "drill.json"
    args = ("drill", "--config", path, "--json", str(out), "--shock", "0=-20%")
    done = ran(tmp_path, *args)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(out.read_text())
    assert found["clean"] and found["left"] == [] and found["failed"] == []
    assert {int(a, 16) for a in found["liquidatable"]} == set(scene.weak)
    taken = [int(t["account"], 16) for t in found["transactions"]]
    assert set(taken) == set(scene.weak) and len(taken) == len(set(taken))
    assert all(t["below_terms"] and t["gas_used"] > 100_000 for t in found["transactions"])
    assert (scene.rpc.block_number(), scene.rpc.nonce(KEEPER.address)) == before

    path = on_chain(tmp_path, scene, liquidator={"sub_account": 9})
    done = ran(tmp_path, *args)
    assert done.returncode == 1
    found = json.loads(out.read_text())
    assert {int(x["account"], 16) for x in found["left"]} == set(scene.weak)
    assert all("liquidator_too_small" in x["why"] for x in found["left"]), found["left"]


def test_shocks() -> None:
    assert parse_shock("ETH=-20%") == Shock("ETH", 8 * 10**17)
    assert parse_shock("3=+5.5%") == Shock("3", 1_055 * 10**15)
    for text in ("ETH", "ETH=-100%", "ETH=20", "=-5%", "ETH=nan%", "ETH=99999%"):
        with pytest.raises(ValueError, match=r"expected|leaves"):
            parse_shock(text)
