"""A receipt in one call, also where the node loses track of the transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from risk.chain.node import Anvil
from risk.chain.rpc import IpcTransport, Rpc
from risk.chain.sync import transact
from risk.errors import RpcError

SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
TO = "0x00000000000000000000000000000000000000aa"


class Losing:
    """The node, which answers `eth_sendTransactionSync` with its timeout: the transaction is
    `mined`, still in the pool, or was never taken (`None`)."""

    def __init__(self, rpc: Rpc, mined: bool | None, text: str = "") -> None:
        self.rpc, self.mined = rpc, mined
        self.text = text or "Transaction confirmation timeout"
        self.asked: list[str] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append(method)
        if method != "eth_sendTransactionSync":
            return self.rpc.call(method, *params)
        if self.mined is not None:
            self.rpc.call("evm_setAutomine", self.mined)
            self.rpc.call("eth_sendTransaction", *params)
        raise RpcError(method, -32603, self.text)


@pytest.fixture
def rpc() -> Iterator[Rpc]:
    with Anvil() as node, Rpc(IpcTransport(str(node.ipc_path))) as client:
        yield client


def transaction(wei: int) -> dict[str, str]:
    return {"from": SENDER, "to": TO, "value": hex(wei)}


def balance(rpc: Rpc) -> int:
    return int(rpc.call("eth_getBalance", TO, "latest"), 16)


@pytest.mark.chain
@pytest.mark.parametrize("mined", [True, False])
def test_a_lost_transaction_is_found_and_happens_once(rpc: Rpc, mined: bool) -> None:
    plain = transact(rpc, transaction(5))
    assert plain["status"] == "0x1"
    assert balance(rpc) == 5
    node = Losing(rpc, mined)
    receipt = transact(node, transaction(7))  # type: ignore[arg-type]
    assert (receipt["status"], receipt["to"]) == ("0x1", TO)
    assert balance(rpc) == 12
    assert receipt["transactionHash"] != plain["transactionHash"]
    assert ("evm_mine" in node.asked) == (not mined)
    assert int(rpc.call("eth_blockNumber"), 16) == 2


@pytest.mark.chain
def test_other_failures_are_not_swallowed(rpc: Rpc) -> None:
    node = Losing(rpc, None, "execution reverted")
    with pytest.raises(RpcError, match="execution reverted"):
        transact(node, transaction(1))  # type: ignore[arg-type]
    assert node.asked == ["eth_sendTransactionSync"]


@pytest.mark.chain
def test_a_transaction_that_is_nowhere_is_an_error(rpc: Rpc) -> None:
    with pytest.raises(RpcError, match="confirmation timeout"):
        transact(Losing(rpc, None), transaction(1))  # type: ignore[arg-type]
    transact(rpc, transaction(5))
    other = transaction(1) | {"data": "0x1234"}
    with pytest.raises(
        RpcError, match="confirmation timeout"
    ):  # the one before is not taken for it
        transact(Losing(rpc, None), other)  # type: ignore[arg-type]
