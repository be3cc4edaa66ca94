"""Endpoints that are not what the others are: another chain, one that swallows what is sent."""

from __future__ import annotations

from typing import Any

import pytest

from risk.chain.keccak import keccak
from risk.chain.rpc import to_hex
from risk.errors import RpcError, TransportError
from risk.keeper.source import HeadRule, SourceError, endpoint
from risk.keeper.wire import PoolWire
from tests.keeper.test_source import Fake, each, error, source_of

SEND = "eth_sendRawTransaction"


def down(_: object) -> Any:
    raise TransportError("refused")


def test_an_endpoint_that_comes_later_is_asked_for_its_chain() -> None:
    """It was down at the start, serves another chain, and a higher one: nobody may believe it."""
    good, late = Fake("good"), Fake("late", height=5_000, fork="b", chain=7)
    source, clock = source_of(good, late)
    late.spoil = down
    source.require_chain(1)
    late.spoil = None
    clock.now += 60
    for _ in range(3):
        assert source.head().hash == good.hash_at(10)
        assert source.agreeing == {"good"}
        clock.now += 60
    assert "serves chain 7" in source.pool.members[1].last_failure


def test_an_endpoint_that_was_replaced_is_asked_again() -> None:
    good, other = Fake("good"), Fake("other")
    source, clock = source_of(good, other)
    source.require_chain(1)
    assert source.agreeing == frozenset() and source.head().number == 10
    other.spoil = down
    source.head()
    other.spoil, other.chain, other.fork, other.height = None, 7, "b", 5_000
    clock.now += 60
    assert source.head().hash == good.hash_at(10)


def test_alone_on_another_chain_there_is_no_head() -> None:
    alone = Fake("alone")
    source, clock = source_of(alone, rule=HeadRule(1))
    source.require_chain(1)
    alone.spoil = down
    with pytest.raises(SourceError):
        source.head()
    alone.spoil, alone.chain = None, 7
    clock.now += 60
    with pytest.raises(SourceError, match="serves chain 7"):
        source.head()
    alone.chain = 1
    clock.now += 60
    assert source.head().number == 10


RAW = b"\x02signed"
HASH = to_hex(keccak(RAW))


class Pooled(Fake):
    """Takes transactions; ``says`` is its answer to a sending."""

    def __init__(self, name: str, says: dict[str, object] | None = None) -> None:
        super().__init__(name)
        self.says = says or {"result": HASH}
        self.taken: list[str] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != SEND:
            return super().answer(request)
        self.taken.append(request["params"][0])
        return self.says


def test_a_transaction_goes_to_every_endpoint_that_named_the_head() -> None:
    """The first one takes it and keeps it to itself; the second must have it all the same."""
    swallows, honest, lagging = Pooled("swallows"), Pooled("honest"), Pooled("lagging")
    lagging.height = 5
    source, _ = source_of(swallows, honest, lagging, rule=HeadRule(2))
    source.head()
    assert PoolWire.of(source).call(SEND, to_hex(RAW)) == HASH
    assert (swallows.taken, honest.taken) == ([to_hex(RAW)], [to_hex(RAW)])
    assert lagging.taken == []


@pytest.mark.parametrize(
    "bad", [{"result": "0x" + "77" * 32}, error(-32000, "nonce too low"), error(-32005, "limit")]
)
def test_one_endpoint_that_refuses_or_lies_does_not_hide_that_the_other_took_it(
    bad: dict[str, Any],
) -> None:
    for order in ((Pooled("bad", bad), Pooled("good")), (Pooled("good"), Pooled("bad", bad))):
        source, _ = source_of(*order)
        source.head()
        assert PoolWire.of(source).call(SEND, to_hex(RAW)) == HASH


def test_refused_by_all_or_heard_by_none() -> None:
    refused = error(-32000, "insufficient funds")
    source, _ = source_of(Pooled("a", refused), Pooled("b", refused))
    source.head()
    with pytest.raises(RpcError, match="insufficient funds"):
        PoolWire.of(source).call(SEND, to_hex(RAW))
    first, second = Pooled("a"), Pooled("b")
    source, _ = source_of(first, second)
    source.head()
    first.spoil = second.spoil = down
    with pytest.raises(TransportError):
        PoolWire.of(source).call(SEND, to_hex(RAW))


def test_a_key_that_a_node_repeats_does_not_get_into_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Errors of an endpoint go to log, database and page; only the log is cleaned again."""
    key = "4f1c0ffee4f1c0ffee4f1c0ffee"
    words = f"project {key} is not allowed, see https://n.example/v2/{key}?plan=free"
    for told in (error(-32000, words), {"error": words}):
        fake = Fake("n")
        fake.spoil = each(**told)
        monkeypatch.setattr(endpoint, "StrictHttp", lambda url, timeout, f=fake: f.open())
        member = endpoint.connect(f"https://n.example/v2/{key}", 1.0)
        (reply,) = member.exchange([("eth_chainId", [])])
        assert reply.failure is not None and "project ***" in str(reply.failure)
        assert key not in repr(reply.failure) and key not in reply.failure.reason
