"""Local nodes: start, stop, and every way to fail."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from risk.chain.node import Anvil, Ganache, port_in_use
from risk.chain.rpc import Rpc
from risk.errors import ChainIdMismatchError, NodeError, PortInUseError, RpcError, ToolchainError

pytestmark = pytest.mark.chain


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().split(") ")[1].startswith("Z"))


def test_options_reach_the_node() -> None:
    node = Anvil(
        chain_id=4242,
        accounts=3,
        balance_eth=7,
        gas_limit=45_000_000,
        timestamp=1_700_000_000,
        base_fee=0,
        hardfork="shanghai",
    )
    with node, node.rpc() as rpc:
        block = rpc.call("eth_getBlockByNumber", "latest", False)
        assert rpc.chain_id() == 4242
        assert int(block["timestamp"], 16) == 1_700_000_000
        assert int(block["gasLimit"], 16) == 45_000_000
        assert int(block["baseFeePerGas"], 16) == 0
        accounts = rpc.call("eth_accounts")
        assert len(accounts) == 3
        assert rpc.balance(accounts[0]) == 7 * 10**18


def test_stop_ends_the_process_and_removes_its_files() -> None:
    node = Anvil()
    with node:
        pid, ipc = node.pid, node.ipc_path
        assert pid is not None and is_alive(pid)
        assert ipc is not None and ipc.exists()
    assert not is_alive(pid)
    assert not ipc.parent.exists()
    node.stop()  # harmless
    with node:  # and it can be started again
        assert node.pid not in (None, pid)


def test_socket_and_http_serve_the_same_chain() -> None:
    with Anvil() as node, Rpc.connect(node.url) as http, node.rpc() as ipc:
        ipc.call("anvil_mine", hex(5))
        assert http.block_number() == ipc.block_number() == 5


def test_a_transaction_gas_cap_is_enforced_on_demand() -> None:
    with Anvil(tx_gas_limit=True) as node, node.rpc() as rpc:
        sender = rpc.call("eth_accounts")[0]
        transaction = {"from": sender, "to": sender, "gas": hex(16_777_217)}
        with pytest.raises(RpcError, match="tx_gas_limit_cap"):
            rpc.send(transaction)
        rpc.send({**transaction, "gas": hex(16_777_216)})


def test_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert port_in_use(port)
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use") as caught:
            Anvil(port=port).start()
        assert caught.value.port == port
    assert not port_in_use(port)


def test_chain_id_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    with Anvil(chain_id=7) as node, node.rpc() as rpc:
        with pytest.raises(ChainIdMismatchError, match="expected 1, got 7") as caught:
            rpc.require_chain_id(1)
        assert (caught.value.expected, caught.value.actual) == (1, 7)


def test_a_node_that_dies_at_once_shows_what_it_said() -> None:
    with pytest.raises(NodeError, match=r"anvil ended with exit code \d+:[\s\S]*no-such-option"):
        Anvil(extra=("--no-such-option",)).start()


def test_missing_installation(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="run `make setup`"):
        Anvil(root=tmp_path).start()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PDEATHSIG")
def test_a_node_dies_with_its_killed_parent() -> None:
    program = (
        "from risk.chain.node import Anvil\n"
        "import time\n"
        "print(Anvil().start().pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


@pytest.mark.ganache
def test_ganache() -> None:
    with Ganache(chain_id=99, timestamp=1_700_000_000) as node, node.rpc() as rpc:
        assert rpc.chain_id() == 99
        assert rpc.call("web3_clientVersion").startswith("Ganache/v7.9.2")
        block = rpc.call("eth_getBlockByNumber", "latest", False)
        assert int(block["timestamp"], 16) == 1_700_000_000
        with pytest.raises(PortInUseError):
            Ganache(port=node.port).start()
