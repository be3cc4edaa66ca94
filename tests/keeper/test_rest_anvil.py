"""Two keepers and one account on a real node: what the pending block says, who was first, and how
the harness counts it.
"""

from __future__ import annotations

from typing import Any

import pytest

from risk.chain.abi import Errors, functions
from risk.chain.events import EventDecoder
from risk.chain.rpc import from_hex
from risk.keeper.dispatch import Event, What
from risk.keeper.measure.rivals import OUT_OF_GAS, Rivals, fetch, reason
from risk.keeper.ports import Outcome
from risk.keeper.results import ChainResults
from risk.keeper.source import Source
from risk.keeper.types import Intent
from tests.keeper.planner_scene import LONG, SECONDS, WAD, A, D, abi, at_health
from tests.keeper.test_planner_anvil import CAROL, Live, m, market, source  # noqa: F401
from tests.liquidation.scene import Market
from tests.support.vault_twin import address

pytestmark = pytest.mark.chain
DORA = address(D >> 8)


@pytest.fixture
def k(m: Market, source: Source) -> Live:  # noqa: F811
    at_health(m, A, 9 * WAD // 10, **LONG)
    m.put(D, cash=10**8 * WAD)
    return Live(m, source, max_legs=0)


def send(k: Live, sender: str, data: bytes, gas: int) -> str:
    """Into the pool."""
    transaction = {
        "from": sender,
        "to": address(k.m.world.vault),
        "data": "0x" + data.hex(),
        "gas": hex(gas),
        "gasPrice": "0x0",
    }
    return str(k.m.rpc.call("eth_sendTransaction", transaction))


def mine(k: Live) -> list[dict[str, Any]]:
    k.m.world.timestamp = k.head.timestamp + SECONDS
    k.m.rpc.call("evm_setNextBlockTimestamp", k.m.world.timestamp)
    k.m.rpc.call("evm_mine")
    found: list[dict[str, Any]] = k.m.rpc.call("eth_getBlockReceipts", "latest")
    return found


def rivals_call() -> bytes:
    return functions(abi())["liquidate"].encode(A, D, WAD, 10**30)


def test_a_rival_in_the_pool_and_in_the_block(k: Live) -> None:
    m, seen = k.m, k.source  # noqa: F811
    intent: Intent = k.plan().intents[0]
    m.rpc.call("evm_setAutomine", False)
    try:
        assert k.simulator.pool(intent).outcome is Outcome.OK  # an empty pool
        send(k, DORA, rivals_call(), 2_000_000)
        found = k.simulator.pool(intent)
        assert found.outcome is Outcome.TAKEN and "AccountHealthy" in found.detail
        assert k.simulator.check(intent, k.head).outcome is Outcome.OK  # at the head he is free
        ours = send(k, CAROL, intent.data, intent.gas_limit)
        receipts = mine(k)
    finally:
        m.rpc.call("evm_setAutomine", True)
    assert [r["status"] for r in receipts] == ["0x1", "0x0"]
    number = int(receipts[0]["blockNumber"], 16)
    seen.head()
    results = ChainResults(seen, address(m.world.vault), abi())
    event = Event(What.REVERTED, intent.key, 0, ours, number, 1)
    assert results.rival(event, A) is True
    assert results.rival(event, D) is False  # nobody took him
    his = Event(What.REVERTED, intent.key, 0, receipts[0]["transactionHash"], number, 1)
    assert results.rival(his, A) is False  # the taking was his own
    assert results.rival(Event(What.REVERTED, intent.key, 0, ours, number + 9, 1), A) is None

    rivals = Rivals(EventDecoder(abi()), address(m.world.vault), functions(abi()))
    rivals.block(receipts)
    assert rivals.classify(receipts[1], intent.data, number - 1) == "rival_same_block"
    ((sent, trace),) = fetch(m.rpc, [receipts[1]])
    assert from_hex(sent["input"]) == intent.data
    assert reason(trace, Errors([abi()]).name) == "AccountHealthy"


def test_too_little_gas_has_no_data_and_is_named(k: Live) -> None:
    """The liquidation runs out inside a library of the vault, which reverts with nothing."""
    m = k.m  # noqa: F811
    call = {
        "from": CAROL,
        "to": address(m.world.vault),
        "data": "0x" + k.plan().intents[0].data.hex(),
    }
    need = int(m.rpc.call("eth_estimateGas", call), 16)
    m.rpc.call("evm_setAutomine", False)
    try:
        send(k, CAROL, from_hex(call["data"]), need * 6 // 10)
        (receipt,) = mine(k)
    finally:
        m.rpc.call("evm_setAutomine", True)
    assert receipt["status"] == "0x0"
    ((_, trace),) = fetch(m.rpc, [receipt])
    assert not from_hex(trace.get("output") or "0x")
    assert reason(trace, Errors([abi()]).name) == OUT_OF_GAS
