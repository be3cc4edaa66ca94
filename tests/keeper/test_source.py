"""Every way in which an endpoint can fail, by a scripted transport and a clock of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from risk.errors import TransportError
from risk.keeper.errors import Transient, WrongChain
from risk.keeper.source import (
    Disagreement,
    Endpoint,
    HeadRule,
    LyingLogs,
    Malformed,
    NodeRefused,
    NotFound,
    Policy,
    Pool,
    RateLimited,
    Source,
    SourceError,
    StaleHead,
    Unreachable,
)
from risk.keeper.source.bloom import bits, may_hold, of_logs

Json = Any
VAULT = "0x" + "aa" * 20
OTHER = "0x" + "bb" * 20
TOPIC = "0x" + "11" * 32


class Clock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Fake:
    """A chain behind a transport. ``spoil`` may change any answer, or raise."""

    def __init__(self, name: str, *, height: int = 10, fork: str = "a", chain: int = 1) -> None:
        self.endpoint = self.name = name
        self.height, self.fork, self.chain = height, fork, chain
        self.spoil: Callable[[list[dict[str, Json]]], Json] | None = None
        self.logs_at: dict[int, list[dict[str, Json]]] = {}
        self.bloom_only: dict[int, int] = {}
        self.asked: list[str] = []
        self.opened = 0

    def open(self) -> Fake:
        self.opened += 1
        return self

    def exchange(self, payload: bytes) -> bytes:
        requests = json.loads(payload)
        single = isinstance(requests, dict)
        items = [requests] if single else requests
        self.asked += [r["method"] for r in items]
        answers = [{"jsonrpc": "2.0", "id": r["id"], **self.answer(r)} for r in items]
        out: Json = answers if self.spoil is None else self.spoil(answers)
        if isinstance(out, bytes):
            return out
        if single and isinstance(out, list) and len(out) == 1:
            out = out[0]
        return json.dumps(out).encode()

    def close(self) -> None:
        pass

    def hash_at(self, number: int) -> str:
        return "0x" + f"{self.fork}{number:x}".rjust(64, "0")

    def block(self, number: int) -> dict[str, Json]:
        logs = self.logs_at.get(number, [])
        bloom = self.bloom_only.get(number, of_logs(logs))
        return {
            "number": hex(number),
            "hash": self.hash_at(number),
            "parentHash": self.hash_at(number - 1),
            "timestamp": hex(1_000_000 + 12 * number),
            "baseFeePerGas": "0x7",
            "logsBloom": f"0x{bloom:0512x}",
            "transactions": [f"0x{i:064x}" for i in range(len(logs))],
        }

    def answer(self, request: dict[str, Json]) -> dict[str, Json]:
        method, params = request["method"], request["params"]
        if method == "eth_chainId":
            return {"result": hex(self.chain)}
        if method == "eth_getBlockByNumber":
            number = self.height if params[0] == "latest" else int(params[0], 16)
            return {"result": self.block(number) if number <= self.height else None}
        number = next((n for n in range(self.height + 1) if self.hash_at(n) in str(params)), -1)
        if method == "eth_getBlockByHash":
            return {"result": self.block(number) if number >= 0 else None}
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            first, last = (int(params[0][k], 16) for k in ("fromBlock", "toBlock"))
            if last - first > 3:
                return error(-32602, "query returned more than 10000 results")
            found = [x for n in range(first, last + 1) for x in self.logs_at.get(n, [])]
            return {"result": [x for x in found if x["address"] == params[0]["address"]]}
        if number < 0:
            return error(-32001, "header not found")
        logs = self.logs_at.get(number, [])
        if method == "eth_getLogs":
            return {"result": [x for x in logs if x["address"] == params[0]["address"]]}
        if method == "eth_getBlockReceipts":
            return {"result": [{"blockHash": self.hash_at(number), "logs": [x]} for x in logs]}
        if method == "eth_call":
            return {"result": "0x1234"}
        raise AssertionError(method)

    def put_log(self, number: int, index: int, address: str = VAULT) -> None:
        self.logs_at.setdefault(number, []).append(
            {
                "address": address,
                "topics": [TOPIC],
                "data": "0x" + f"{number:02x}{index & 0xFF:02x}",
                "blockHash": self.hash_at(number),
                "blockNumber": hex(number),
                "logIndex": hex(index),
            }
        )


def error(code: int, message: str, **more: Json) -> dict[str, Json]:
    return {"error": {"code": code, "message": message, **more}}


def source_of(*fakes: Fake, rule: HeadRule | None = None, **options: Any) -> tuple[Source, Clock]:
    clock = Clock()
    pool = Pool.of(
        [Endpoint(f.name, f.open) for f in fakes],
        policy=Policy(attempts=4, deadline=60.0, base=1.0, cap=8.0, batch=5),
        rng=Random(1),
        clock=clock,
        sleep=clock.sleep,
    )
    return Source(pool, rule, now=lambda: 1_000_150.0, **options), clock


# ── one endpoint, one failure ────────────────────────────────────────────────────────────────────


def raising(kind: Exception) -> Callable[[list[dict[str, Json]]], Json]:
    def spoil(_: list[dict[str, Json]]) -> Json:
        raise kind

    return spoil


def each(**more: Json) -> Callable[[list[dict[str, Json]]], Json]:
    """Every answer is this error instead."""
    return lambda answers: [{"id": a["id"], **more} for a in answers]


FAILURES: dict[str, tuple[Callable[[list[dict[str, Json]]], Json], type[SourceError]]] = {
    "connection lost": (raising(TransportError("secret-address")), Unreachable),
    "429": (raising(RateLimited("x", "HTTP 429", 3.0)), RateLimited),
    "error that means 429": (each(**error(-32005, "daily quota")), RateLimited),
    "error by its text": (each(**error(-32000, "Too Many Requests, slow down")), RateLimited),
    "HTTP 200 with an error": (each(**error(-32603, "internal error")), NodeRefused),
    "error that is a text": (each(error="no"), NodeRefused),
    "block unknown": (each(**error(-32000, "header not found")), NotFound),
    "no JSON": (lambda _: b"<html>bad gateway</html>", Malformed),
    "truncated JSON": (lambda a: json.dumps(a).encode()[:-9], Malformed),
    "empty": (lambda _: b"", Malformed),
    "null": (lambda _: b"null", Malformed),
    "short batch": (lambda a: a[:-1], Malformed),
    "one answer twice": (lambda a: [*a[:-1], a[0]], Malformed),
    "answers to other questions": (lambda a: [{**x, "id": x["id"] + 100} for x in a], Malformed),
    "ids as text": (lambda a: [{**x, "id": str(x["id"])} for x in a], Malformed),
    "no ids": (lambda a: [{"result": x["result"]} for x in a], Malformed),
    "neither result nor error": (each(), Malformed),
    "entries that are no objects": (lambda a: [1 for _ in a], Malformed),
    "batch refused as a whole": (
        lambda a: json.dumps({"id": None, **error(-32600, "batch too large")}).encode(),
        NodeRefused,
    ),
    "result of another type": (lambda a: [{**x, "result": "0x1"} for x in a], Malformed),
    "block without bloom": (
        lambda a: [{**x, "result": {**x["result"], "logsBloom": "0x"}} for x in a],
        Malformed,
    ),
    "hash cut off": (
        lambda a: [{**x, "result": {**x["result"], "hash": "0x12"}} for x in a],
        Malformed,
    ),
    "number that is none": (
        lambda a: [{**x, "result": {**x["result"], "number": "ten"}} for x in a],
        Malformed,
    ),
    "other heights": (lambda a: [{**x, "result": a[0]["result"]} for x in a], NotFound),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_its_kind_and_is_tried_again(name: str) -> None:
    """Alone it is raised after all attempts, with growing pauses; a second endpoint takes over."""
    spoil, kind = FAILURES[name]
    bad, good = Fake("bad"), Fake("good")
    bad.spoil = spoil
    alone, clock = source_of(bad)
    with pytest.raises(kind) as caught:
        alone.blocks(3, 6)
    assert isinstance(caught.value, Transient) and caught.value.exit_code == 75
    assert "secret-address" not in str(caught.value)
    assert alone.pool.members[0].failures == 4
    assert len(clock.slept) == 3
    both, clock = source_of(bad, good)
    assert [b.number for b in both.blocks(3, 6)] == [3, 4, 5, 6]
    assert clock.slept == []  # the other one is free at once
    # and it recovers
    bad.spoil = None
    clock.now += 100
    assert [b.number for b in alone.blocks(3, 6)] == [3, 4, 5, 6]
    assert alone.pool.members[0].failures == 0


def test_answers_in_any_order_are_matched() -> None:
    fake = Fake("a")
    fake.spoil = lambda answers: answers[::-1]
    source, clock = source_of(fake)
    assert [b.number for b in source.blocks(1, 9)] == list(range(1, 10))
    assert clock.slept == []


def test_a_lost_connection_is_opened_anew() -> None:
    """What an old connection still holds can never answer a later question."""
    fake = Fake("a")
    source, _ = source_of(fake)
    fake.spoil = lambda a: a[:-1]
    with pytest.raises(Malformed):
        source.blocks(1, 3)
    assert fake.opened == 4


def test_pauses_grow_are_seeded_and_respect_a_429() -> None:
    def pauses(seed: int, spoil: Any) -> list[float]:
        fake = Fake("a")
        fake.spoil = spoil
        source, clock = source_of(fake)
        source.pool.rng = Random(seed)
        with pytest.raises(SourceError):
            source.block(fake.hash_at(1))
        return clock.slept

    lost = raising(TransportError(""))
    assert pauses(5, lost) == pauses(5, lost) != pauses(6, lost)
    for seed in range(30):
        for i, pause in enumerate(pauses(seed, lost)):
            assert 0 < pause <= 2**i
    assert min(pauses(3, raising(RateLimited("", "", 5.0)))) >= 5.0


def test_the_deadline_ends_the_attempts() -> None:
    fake = Fake("a")
    fake.spoil = raising(RateLimited("a", "HTTP 429", 7.0))
    source, clock = source_of(fake)
    source.pool.policy = Policy(attempts=100, deadline=10.0, base=1.0, cap=8.0)
    with pytest.raises(RateLimited):
        source.block(fake.hash_at(1))
    assert clock.now <= 1010.0


def test_a_revert_is_an_outcome() -> None:
    fake = Fake("a")
    fake.spoil = each(**error(3, "execution reverted", data="0x08c379a0"))
    source, clock = source_of(fake)
    head = Fake("b")
    block, _ = source_of(head)
    with pytest.raises(NodeRefused) as caught:
        source.call(VAULT, b"", block.head())
    assert caught.value.data == bytes.fromhex("08c379a0")
    assert (len(fake.asked), clock.slept, source.pool.members[0].failures) == (1, [], 0)
    replies = source.calls(VAULT, [b"", b"\1"], block.head())
    assert [isinstance(r.failure, NodeRefused) for r in replies] == [True, True]


# ── heads ────────────────────────────────────────────────────────────────────────────────────────


def test_quorum_takes_the_height_that_enough_have() -> None:
    fakes = [Fake("a", height=12), Fake("b", height=10), Fake("c", height=9)]
    for quorum, height, who in ((1, 12, {"a"}), (2, 10, {"a", "b"}), (3, 9, {"a", "b", "c"})):
        source, _ = source_of(*fakes, rule=HeadRule(quorum))
        assert source.head().number == height
        assert set(source.agreeing) == who


def test_two_that_disagree() -> None:
    a, b = Fake("a"), Fake("b", fork="b")
    for quorum in (1, 2):
        source, _ = source_of(a, b, rule=HeadRule(quorum))
        with pytest.raises(Disagreement) as caught:
            source.head()
        assert a.hash_at(10) in str(caught.value) and b.hash_at(10) in str(caught.value)


def test_a_majority_is_believed_and_only_they_are_asked() -> None:
    a, b, liar = Fake("a"), Fake("b"), Fake("liar", fork="b")
    source, _ = source_of(liar, a, b, rule=HeadRule(2))
    head = source.head()
    assert head.hash == a.hash_at(10)
    liar.asked.clear()
    source.blocks(1, 10)
    source.logs([head], VAULT)
    assert liar.asked == []


def test_fewer_answers_than_the_quorum() -> None:
    a, dead = Fake("a"), Fake("dead")
    dead.spoil = raising(TransportError(""))
    source, _ = source_of(a, dead, rule=HeadRule(2))
    with pytest.raises(Unreachable, match="1 of 2"):
        source.head()


def test_an_old_head_is_stale() -> None:
    fake = Fake("a")  # block 10 is of 1 000 120, now is 1 000 150
    assert source_of(fake, rule=HeadRule(age=30))[0].head().number == 10
    with pytest.raises(StaleHead, match="30 s old, the limit is 29"):
        source_of(fake, rule=HeadRule(age=29))[0].head()


def test_a_head_that_falls_back_is_stale() -> None:
    fake = Fake("a")
    source, _ = source_of(fake, rule=HeadRule(lag=3))
    source.head()
    fake.height = 7
    assert source.head().number == 7
    fake.height = 6
    with pytest.raises(StaleHead, match="block 6 lies far below 10"):
        source.head()


def test_another_chain() -> None:
    source, _ = source_of(Fake("a"), Fake("b", chain=2))
    with pytest.raises(WrongChain, match="b serves chain 2, expected 1"):
        source.require_chain(1)
    source_of(Fake("a"))[0].require_chain(1)
    dead = Fake("dead")
    dead.spoil = raising(TransportError(""))
    with pytest.raises(Unreachable):
        source_of(dead)[0].require_chain(1)


def test_blocks_of_two_histories_are_not_mixed() -> None:
    fake = Fake("a")
    source, _ = source_of(fake)

    def spoil(answers: list[dict[str, Json]]) -> Json:
        answers[-1]["result"]["parentHash"] = "0x" + "99" * 32
        return answers

    fake.spoil = spoil
    with pytest.raises(NotFound, match="not linked"):
        source.blocks(2, 4)


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────


def with_logs() -> Fake:
    fake = Fake("a")
    for number, index, address in ((3, 0, VAULT), (3, 2, OTHER), (3, 5, VAULT), (4, 0, OTHER)):
        fake.put_log(number, index, address)
    return fake


def test_logs_in_order_and_only_where_the_bloom_allows() -> None:
    fake = with_logs()
    fake.logs_at[3].reverse()
    source, _ = source_of(fake)
    blocks = source.blocks(1, 6)
    fake.asked.clear()
    logs = source.logs(blocks, VAULT)
    assert [[x["data"] for x in found] for found in logs] == [
        [],
        [],
        ["0x0300", "0x0305"],
        [],
        [],
        [],
    ]
    assert fake.asked == ["eth_getLogs"]


def spoil_logs(change: Callable[[list[dict[str, Json]]], Json]) -> Any:
    def spoil(answers: list[dict[str, Json]]) -> Json:
        for a in answers:
            result = a.get("result")
            if isinstance(result, list) and (not result or "logIndex" in result[0]):
                a["result"] = change(result)
        return answers

    return spoil


LIES: dict[str, tuple[Callable[[list[dict[str, Json]]], Json], type[SourceError]]] = {
    "of another block": (lambda r: [{**x, "blockHash": "0x" + "77" * 32} for x in r], LyingLogs),
    "of another contract": (lambda r: [{**x, "address": OTHER} for x in r], LyingLogs),
    "removed": (lambda r: [{**x, "removed": True} for x in r], LyingLogs),
    "twice": (lambda r: [*r, *r], Malformed),
    "no list": (lambda _: {}, Malformed),
    "null": (lambda _: None, Malformed),
    "without data": (lambda r: [{**x, "data": None} for x in r], Malformed),
    "half a byte": (lambda r: [{**x, "data": "0x123"} for x in r], Malformed),
    "topics of another shape": (lambda r: [{**x, "topics": ["0x"]} for x in r], Malformed),
}


@pytest.mark.parametrize("name", LIES)
def test_logs_that_contradict_are_refused(name: str) -> None:
    change, kind = LIES[name]
    fake = with_logs()
    source, _ = source_of(fake)
    blocks = source.blocks(3, 3)
    fake.spoil = spoil_logs(change)
    with pytest.raises(kind):
        source.logs(blocks, VAULT)


def test_a_lagging_node_that_gives_no_logs_is_noticed() -> None:
    """No error, just nothing: the block's own bloom says otherwise."""
    fake = with_logs()
    source, _ = source_of(fake)
    blocks = source.blocks(3, 3)

    def nothing(answers: list[dict[str, Json]]) -> Json:
        return [{**a, "result": []} for a in answers]

    fake.spoil = nothing
    with pytest.raises(LyingLogs, match="0 receipts of 3 transactions"):
        source.logs(blocks, VAULT)
    honest = with_logs()
    honest.name = "b"
    both, _ = source_of(fake, honest)
    assert len(both.logs(blocks, VAULT)[0]) == 2


def test_a_bloom_that_is_right_by_chance_is_settled_by_the_receipts() -> None:
    fake = Fake("a")
    for i in range(300):  # a busy block: every second bit is set
        fake.put_log(3, i, OTHER)
        fake.logs_at[3][i]["topics"] = [f"0x{i:064x}"]
    source, _ = source_of(fake)
    address = chance_of(of_logs(fake.logs_at[3]))
    blocks = source.blocks(3, 3)
    assert may_hold(blocks[0].logs_bloom, bytes.fromhex(address[2:]))
    assert source.logs(blocks, address) == [[]]
    assert fake.asked[-2:] == ["eth_getLogs", "eth_getBlockReceipts"]


def chance_of(bloom: int) -> str:
    """An address whose bits all lie in ``bloom``."""
    rng = Random(1)
    while True:
        raw = rng.randbytes(20)
        if bits(raw) & ~bloom == 0:
            return "0x" + raw.hex()


def test_one_log_of_several_held_back_is_seen_with_receipts() -> None:
    """``eth_getLogs`` alone cannot show it; the bloom over all receipts does."""
    fake = with_logs()
    fake.logs_at[3][2]["topics"] = ["0x" + "22" * 32]
    source, _ = source_of(fake, receipts=True)
    blocks = source.blocks(3, 3)
    assert [x["logIndex"] for x in source.logs(blocks, VAULT)[0]] == ["0x0", "0x5"]

    def drop(answers: list[dict[str, Json]]) -> Json:
        for a in answers:
            a["result"][2]["logs"] = []
        return answers

    fake.spoil = drop
    with pytest.raises(LyingLogs, match="bloom"):
        source.logs(blocks, VAULT)


def test_a_chain_without_blooms() -> None:
    fake = with_logs()
    fake.bloom_only = dict.fromkeys(range(11), 0)
    source, _ = source_of(fake, bloom=False)
    assert [len(x) for x in source.logs(source.blocks(2, 4), VAULT)] == [0, 2, 0]


def test_ranges_are_halved_and_pinned_to_the_block() -> None:
    fake = with_logs()
    fake.put_log(9, 1)
    source, _ = source_of(fake)
    head = source.head()
    found = source.logs_between(0, head, VAULT, step=100)
    assert [x["data"] for x in found] == ["0x0300", "0x0305", "0x0901"]
    fake.fork = "c"
    fake.logs_at.clear()
    with pytest.raises(NotFound, match="another one by now"):
        source.logs_between(0, head, VAULT, step=3)


def test_a_range_of_two_histories_is_refused() -> None:
    fake = with_logs()
    fake.logs_at[3][2]["blockHash"] = "0x" + "55" * 32
    source, _ = source_of(fake)
    with pytest.raises(LyingLogs, match="two blocks of height 3"):
        source.logs_between(2, source.head(), VAULT, step=3)
