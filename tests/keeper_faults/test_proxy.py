"""The proxy itself: what it does not spoil arrives unchanged, and each fault is what it says."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from risk.chain.node import Anvil
from risk.chain.rpc import Rpc
from risk.keeper.dispatch.view import read_head
from risk.keeper.errors import Transient
from tests.keeper_faults import proxy as faults
from tests.keeper_faults.proxy import Proxy

pytestmark = pytest.mark.chain
BATCH: list[tuple[str, list[Any]]] = [("eth_chainId", []), ("eth_blockNumber", [])]


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil(ipc=False) as opened:
        with opened.rpc() as rpc:
            rpc.call("anvil_mine", hex(5))
        yield opened


@pytest.fixture
def proxy(node: Anvil) -> Iterator[Proxy]:
    with Proxy(node.url) as opened:
        yield opened


def post(proxy: Proxy, entries: Any) -> tuple[int, bytes]:
    parts = urlsplit(proxy.url)
    wire = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        wire.request("POST", parts.path, json.dumps(entries).encode())
        answer = wire.getresponse()
        return answer.status, answer.read()
    finally:
        wire.close()


def entries(*calls: tuple[str, list[Any]]) -> list[dict[str, Any]]:
    return [
        {"jsonrpc": "2.0", "id": i, "method": m, "params": p} for i, (m, p) in enumerate(calls, 1)
    ]


def test_passes_everything_through(proxy: Proxy) -> None:
    with Rpc.connect(proxy.url) as rpc:
        assert rpc.batch(BATCH) == ["0x7a69", "0x5"]
        assert rpc.chain_id() == 31337 and read_head(rpc).number == 5
    assert proxy.seen[0].methods == ("eth_chainId", "eth_blockNumber")
    assert proxy.count("eth_chainId") == 2 and not any(s.rule for s in proxy.seen)


def test_each_fault_is_on_the_wire(proxy: Proxy) -> None:
    batch = entries(*BATCH)
    proxy.add(faults.status(429, Retry_After="7"), times=1)
    assert post(proxy, batch)[0] == 429
    proxy.add(faults.error_200, times=1)
    code, body = post(proxy, batch)
    assert code == 200 and all("error" in a for a in json.loads(body))
    proxy.add(faults.short_batch, times=1)
    assert len(json.loads(post(proxy, batch)[1])) == 1
    proxy.add(faults.doubled_batch, times=1)
    assert [a["id"] for a in json.loads(post(proxy, batch)[1])] == [1, 1]
    proxy.add(faults.shuffled(2), times=1)
    many = entries(*[("eth_chainId", [])] * 9)
    order = [a["id"] for a in json.loads(post(proxy, many)[1])]
    assert sorted(order) == list(range(1, 10)) != order
    proxy.add(faults.cut_json, times=1)
    with pytest.raises(ValueError):
        json.loads(post(proxy, batch)[1])
    proxy.add(faults.cut_off, times=1)
    with pytest.raises(http.client.IncompleteRead):
        post(proxy, batch)
    for cut in (faults.disconnect, faults.disconnect_after):
        proxy.add(cut, times=1)
        with pytest.raises((http.client.HTTPException, OSError)):
            post(proxy, batch)
    began = time.monotonic()
    proxy.add(faults.delay(0.2), times=1)
    assert post(proxy, batch)[0] == 200 and time.monotonic() - began >= 0.2
    assert post(proxy, batch)[0] == 200  # every rule is used up
    assert all(rule.hits == 1 for rule in proxy.rules)


def test_a_rule_has_its_methods_only(proxy: Proxy) -> None:
    proxy.add(faults.error_200, "eth_gasPrice")
    with Rpc.connect(proxy.url) as rpc:
        assert rpc.block_number() == 5
        assert not rpc.try_batch([*BATCH, ("eth_gasPrice", [])])[0].ok
        proxy.heal()
        assert rpc.try_batch([*BATCH, ("eth_gasPrice", [])])[2].ok


def test_lies(proxy: Proxy) -> None:
    with Rpc.connect(proxy.url) as rpc:
        true = read_head(rpc)
        proxy.add(faults.stuck_at(3))
        assert read_head(rpc).number == 3 and rpc.block_number() == 3
        assert rpc.call("eth_getBlockByNumber", "0x5", False) is None
        proxy.heal()
        proxy.add(faults.other_branch)
        told = read_head(rpc)
        assert told.hash != true.hash and told.number == true.number
        assert read_head(rpc).hash == told.hash
        proxy.heal()
        proxy.add(faults.other_receipt)
        asked = "0x" + "ab" * 32
        assert rpc.call("eth_getTransactionReceipt", asked)["transactionHash"] != asked
        proxy.add(faults.html_200)
        with pytest.raises(Transient):
            read_head(rpc)
