"""The JSON-RPC client: order, errors, revert data, both transports."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from risk.chain.node import Anvil
from risk.chain.rpc import CallResult, Rpc, eth_call_entry
from risk.errors import RevertError, RpcError, TransportError

pytestmark = pytest.mark.chain

# Copies its call data to memory and reverts with it: CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY
# CALLDATASIZE PUSH0 REVERT; then the same with RETURN.
REVERTER = "0x365f5f37365ffd"
ECHO = "0x365f5f37365ff3"
AT_REVERTER = "0x" + "11" * 20
AT_ECHO = "0x" + "22" * 20


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as running, running.rpc() as rpc:
        rpc.call("anvil_setCode", AT_REVERTER, REVERTER)
        rpc.call("anvil_setCode", AT_ECHO, ECHO)
        yield running


@pytest.fixture(params=["ipc", "http"])
def rpc(node: Anvil, request: pytest.FixtureRequest) -> Iterator[Rpc]:
    with Rpc.connect(node.endpoint if request.param == "ipc" else node.url) as client:
        yield client


def test_eth_call_returns_raw_bytes(rpc: Rpc) -> None:
    data = bytes(range(256))
    assert rpc.eth_call(AT_ECHO, data) == data
    assert rpc.code(AT_ECHO) == bytes.fromhex(ECHO[2:])


def test_answers_larger_than_one_read(rpc: Rpc) -> None:
    data = bytes(300_000)
    assert rpc.eth_call(AT_ECHO, data, gas=40_000_000) == data


def test_revert_carries_its_data(rpc: Rpc) -> None:
    data = bytes.fromhex("deadbeef") + bytes(31) + b"\x07"
    with pytest.raises(RevertError) as caught:
        rpc.eth_call(AT_REVERTER, data)
    assert caught.value.data == data
    assert caught.value.selector == bytes.fromhex("deadbeef")
    assert caught.value.method == "eth_call"


def test_revert_without_data(rpc: Rpc) -> None:
    with pytest.raises(RevertError) as caught:
        rpc.eth_call(AT_REVERTER, b"")
    assert caught.value.data == b""


def test_other_errors_are_not_reverts(rpc: Rpc) -> None:
    with pytest.raises(RpcError, match="no_such_method") as caught:
        rpc.call("no_such_method")
    assert not isinstance(caught.value, RevertError)


def test_batch_keeps_the_order(rpc: Rpc) -> None:
    calls = [eth_call_entry(AT_ECHO, i.to_bytes(4, "big")) for i in range(500)]
    assert rpc.batch(calls) == ["0x" + i.to_bytes(4, "big").hex() for i in range(500)]
    assert rpc.batch([]) == []


def test_batch_with_failures(rpc: Rpc) -> None:
    calls = [
        eth_call_entry(AT_ECHO, b"\x01"),
        eth_call_entry(AT_REVERTER, b"\xaa\xbb\xcc\xdd"),
        eth_call_entry(AT_ECHO, b"\x02"),
    ]
    first, second, third = rpc.try_batch(calls)
    assert first == CallResult(True, "0x01", None)
    assert isinstance(second.error, RevertError) and second.error.data == b"\xaa\xbb\xcc\xdd"
    assert not second.ok
    assert third.value == "0x02"
    with pytest.raises(RevertError):
        rpc.batch(calls)


def test_transactions_and_receipts(rpc: Rpc) -> None:
    sender = rpc.call("eth_accounts")[0]
    before = rpc.nonce(sender)
    receipt = rpc.receipt(rpc.send({"from": sender, "to": AT_ECHO, "value": "0x1"}))
    assert receipt["status"] == "0x1"
    assert rpc.nonce(sender) == before + 1


def test_signed_transaction(rpc: Rpc) -> None:
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic("test test test test test test test test test test test junk")
    signed = account.sign_transaction(
        {
            "to": AT_ECHO,
            "value": 3,
            "gas": 100_000,
            "gasPrice": 10**10,
            "nonce": rpc.nonce(account.address),
            "chainId": rpc.chain_id(),
        }
    )
    assert rpc.receipt(rpc.send_raw(signed.raw_transaction))["status"] == "0x1"


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="cannot connect"):
        Rpc.connect(tmp_path / "nothing.ipc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TransportError, match="failed"):
        Rpc.connect(f"http://127.0.0.1:{port}").chain_id()
    with pytest.raises(TransportError, match="not an http"):
        Rpc.connect("http://")


def test_garbage_is_a_transport_error() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            Rpc.connect(f"http://127.0.0.1:{server.getsockname()[1]}") as rpc,
            pytest.raises(TransportError, match="sent no JSON: 'hello'"),
        ):
            rpc.chain_id()
        thread.join()


def test_a_stopped_node_is_a_transport_error() -> None:
    node = Anvil()
    node.start()
    ipc, http = node.rpc(), Rpc.connect(node.url)
    assert ipc.chain_id() == http.chain_id()
    node.stop()
    for rpc in (ipc, http):
        with pytest.raises(TransportError):
            rpc.chain_id()
        rpc.close()
