"""A transaction that a busy node does not find at once is not taken for lost."""

from __future__ import annotations

from typing import Any

import pytest
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.providers.base import BaseProvider

from risk.deploy import brownie_sender
from risk.deploy.brownie_sender import LOOKUPS, look_up_patiently

TX = "0x" + "ab" * 32


class SlowNode(BaseProvider):
    """Finds the transaction at the n-th ask only."""

    def __init__(self, found_at: int) -> None:
        super().__init__()
        self.found_at = found_at
        self.asked = 0

    def make_request(self, method: Any, params: Any) -> Any:
        if method not in LOOKUPS:
            return {"jsonrpc": "2.0", "id": 1, "result": "0x0"}
        self.asked += 1
        known = {"hash": TX, "nonce": "0x1", "transactionHash": TX}
        found = known if self.asked >= self.found_at else None
        return {"jsonrpc": "2.0", "id": 1, "result": found}


def client(found_at: int) -> tuple[Web3, SlowNode]:
    node = SlowNode(found_at)
    web3 = Web3(node)
    look_up_patiently(web3)
    look_up_patiently(web3)  # a second time changes nothing
    return web3, node


def test_asks_again_until_the_node_finds_it() -> None:
    web3, node = client(found_at=4)
    assert web3.eth.get_transaction(TX)["nonce"] == 1
    assert node.asked == 4


def test_a_receipt_is_waited_for_as_well() -> None:
    web3, node = client(found_at=4)
    assert web3.eth.get_transaction_receipt(TX)["transactionHash"].hex() == TX[2:]
    assert node.asked == 4


def test_gives_up_after_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brownie_sender, "LOOKUP_PATIENCE_SECONDS", 0.2)
    web3, node = client(found_at=10**9)
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction(TX)
    assert 2 <= node.asked <= 6


def test_other_requests_are_asked_once() -> None:
    web3, node = client(found_at=1)
    assert web3.eth.block_number == 0
    assert node.asked == 0
