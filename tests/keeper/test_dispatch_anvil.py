"""The dispatcher on a real node: its pool, its refusals, its reorgs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from risk.chain.node import Node
from risk.chain.rpc import Rpc
from risk.keeper.dispatch import Dispatcher, Journal
from risk.keeper.errors import BalanceTooLow, WrongChain
from tests.keeper.dispatch_chain import (
    deploy_token,
    dispatcher,
    mint,
    mints,
    open_real_journal,
    quiet_anvil,
)
from tests.keeper.dispatch_support import GWEI, signer

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def ground() -> Iterator[tuple[Node, int]]:
    with quiet_anvil() as node, node.rpc() as rpc:
        yield node, deploy_token(rpc)


@pytest.fixture
def rpc(ground: tuple[Node, int]) -> Iterator[Rpc]:
    """What a test does to the chain is undone; the pool is emptied."""
    with ground[0].rpc() as client:
        snapshot = client.call("evm_snapshot")
        yield client
        client.call("evm_revert", snapshot)
        client.call("anvil_dropAllTransactions")


@pytest.fixture
def token(ground: tuple[Node, int]) -> int:
    return ground[1]


@pytest.fixture
def journal(rpc: Rpc, tmp_path: Path) -> Iterator[Journal]:
    with open_real_journal(rpc, tmp_path) as opened:
        yield opened


def block(rpc: Rpc, mine: Dispatcher, base_fee: int = GWEI) -> list[str]:
    """Mines a block of this base fee, then ticks."""
    rpc.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
    rpc.call("evm_mine")
    return [event.what.value for event in mine.tick()]


def finish(rpc: Rpc, mine: Dispatcher) -> None:
    for _ in range(8):
        block(rpc, mine)
    assert mine.slots == []


def own_hash(mine: Dispatcher) -> str:
    return mine.slots[0].last.hash


def test_sent_mined_closed(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal, pipeline=3)
    mine.tick()
    assert [mine.submit(mint(token, n)).nonce for n in range(3)] == [0, 1, 2]
    told = block(rpc, mine)
    assert told.count("mined") == 3
    finish(rpc, mine)
    assert mints(rpc, token) == Counter(range(3))


def test_dropped_transaction(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal)
    mine.tick()
    mine.submit(mint(token, 1))
    first = own_hash(mine)
    rpc.call("anvil_dropTransaction", first)
    block(rpc, mine)
    assert "resent" in block(rpc, mine) and own_hash(mine) == first
    finish(rpc, mine)
    assert mints(rpc, token) == Counter([1])


def test_base_fee_spike_and_replacement(rpc: Rpc, token: int, journal: Journal) -> None:
    """Blocks above the fee leave it in the pool: it is outbid, and only the last is mined."""
    mine = dispatcher(rpc, journal)
    mine.tick()
    mine.submit(mint(token, 1))
    first = own_hash(mine)
    told = block(rpc, mine, 20 * GWEI) + block(rpc, mine, 20 * GWEI)
    assert "replaced" in told and own_hash(mine) != first
    finish(rpc, mine)
    assert mints(rpc, token) == Counter([1]) and rpc.nonce(signer().address) == 1
    assert rpc.call("eth_getTransactionReceipt", first) is None


def test_strangers_nonce(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal)
    mine.tick()
    mine.submit(mint(token, 1))
    rpc.call("anvil_dropTransaction", own_hash(mine))
    fields = {"type": 2, "chainId": 31337, "nonce": 0, "to": signer().address, "value": 1}
    fees = {"gas": 21_000, "maxFeePerGas": 9 * GWEI, "maxPriorityFeePerGas": GWEI}
    other = rpc.send_raw(signer().sign({**fields, **fees}))
    assert "taken" in block(rpc, mine) and mine.slots[0].winner == other
    while "abandoned" not in block(rpc, mine):
        assert mine.slots
    assert mine.submit(mint(token, 1)).nonce == 1
    finish(rpc, mine)
    assert mints(rpc, token) == Counter([1])


def test_reorg_reopens(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal)
    mine.tick()
    mine.submit(mint(token, 1))
    first = own_hash(mine)
    assert "mined" in block(rpc, mine)
    block(rpc, mine)
    rpc.call("anvil_reorg", 2, [])
    assert mints(rpc, token) == Counter()
    told = [event.what.value for event in mine.tick()]
    assert "reopened" in told
    finish(rpc, mine)
    assert mints(rpc, token) == Counter([1])
    assert rpc.call("eth_getTransactionReceipt", first)["status"] == "0x1"


def test_reverted_is_counted_and_closed(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal)
    mine.tick()
    wrong = mint(token, 1)
    mine.submit(type(wrong)(**{**vars(wrong), "data": b"\xde\xad\xbe\xef"}))
    rpc.call("evm_mine")
    event = next(e for e in mine.tick() if e.what.value == "reverted")
    receipt = rpc.call("eth_getTransactionReceipt", event.hash)
    price = int(receipt["effectiveGasPrice"], 16)
    assert event.cost_wei == int(receipt["gasUsed"], 16) * price > 0
    finish(rpc, mine)


def test_cancel(rpc: Rpc, token: int, journal: Journal) -> None:
    mine = dispatcher(rpc, journal)
    mine.tick()
    mine.submit(mint(token, 1))
    assert mine.cancel(mint(token, 1).key).accepted
    assert "cancelled" in block(rpc, mine)
    finish(rpc, mine)
    assert mints(rpc, token) == Counter() and rpc.nonce(signer().address) == 1


def test_a_new_process_resolves_everything(rpc: Rpc, token: int, tmp_path: Path) -> None:
    """Mined, pending and dropped while nobody looked."""
    with open_real_journal(rpc, tmp_path) as first:
        mine = dispatcher(rpc, first, pipeline=3)
        mine.tick()
        for account in range(3):
            mine.submit(mint(token, account))
        last = mine.slots[2].last.hash
    rpc.call("anvil_dropTransaction", last)
    rpc.call("evm_mine")
    with open_real_journal(rpc, tmp_path) as second:
        mine = dispatcher(rpc, second, pipeline=3)
        told = [event.what.value for event in mine.tick()]
        assert told == ["mined", "mined", "resent"]
        finish(rpc, mine)
    assert mints(rpc, token) == Counter(range(3))


def test_empty_purse_and_wrong_chain(rpc: Rpc, token: int, tmp_path: Path) -> None:
    with open_real_journal(rpc, tmp_path) as journal:
        mine = dispatcher(rpc, journal)
        mine.tick()
        rpc.call("anvil_setBalance", signer().address, "0x1")
        with pytest.raises(BalanceTooLow):
            mine.submit(mint(token, 1))
    with pytest.raises(WrongChain):
        open_real_journal(_Other(rpc), tmp_path)  # type: ignore[arg-type]


class _Other:
    """A local net that was started anew."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    def call(self, method: str, *params: object) -> object:
        return {**self.rpc.call(method, *params), "hash": "0x" + "77" * 32}
