"""ATTACKS H58 to H60 where a keeper reads: a real node behind a proxy that fails, lies or lags, and
a chain that is reorganised. Nothing half-read is believed, and after the fault the book equals one
that is read anew.
"""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from risk.keeper.book import Book
from risk.keeper.errors import Divergence, WrongChain
from risk.keeper.ports import Sweep
from risk.keeper.scan import Scanner
from risk.keeper.source import (
    Disagreement,
    HeadRule,
    Policy,
    Source,
    SourceError,
    StaleHead,
)
from risk.keeper.types import Health
from tests.keeper_faults import proxy as faults
from tests.keeper_faults.proxy import Fault, Proxy
from tests.keeper_faults.scene import RIVAL, Scene
from tests.support.book_ground import shown

pytestmark = pytest.mark.chain

FAILURES: dict[str, Fault] = {
    "429": faults.status(429),
    "429 with a time": faults.status(429, Retry_After="1"),
    "503": faults.status(503),
    "error with 200": faults.error_200,
    "one error with 200": faults.error_200_whole,
    "page with 200": faults.html_200,
    "short batch": faults.short_batch,
    "cut off": faults.cut_off,
    "half a text": faults.cut_json,
    "disconnect": faults.disconnect,
    "disconnect after": faults.disconnect_after,
    "silence": faults.silence,
}


def same_as_anew(scene: Scene, book: Book) -> None:
    """The book holds what a new one reads straight from the node, and what the lens sees."""
    fresh = scene.book(scene.source())
    assert book.head.hash == fresh.head.hash
    assert shown(book.state) == shown(fresh.state)
    fresh.reconcile()


@pytest.mark.parametrize("name", FAILURES)
def test_H58_nothing_half_read_is_believed(scene: Scene, proxy: Proxy, name: str) -> None:
    """Every failure, first of everything, then of the price reading alone."""
    quick = Policy(attempts=2, deadline=2.0, base=0.001, cap=0.01)
    source = scene.source(proxy.url, policy=quick, timeout=0.6 if name == "silence" else 5.0)
    book = scene.book(source)
    before, old = shown(book.state), book.head
    known = book.prices()
    assert not known.unknown
    taken = scene.compete_quietly()
    rule = proxy.add(FAILURES[name])
    with pytest.raises(SourceError) as caught:
        book.advance(source.head())
    assert rule.hits and proxy.secret not in str(caught.value)
    assert book.head == old and shown(book.state) == before
    proxy.heal()
    rule = proxy.add(FAILURES[name], "eth_call")
    _until_ready(source)
    book.advance(source.head())
    prices = book.prices()
    assert rule.hits and prices.unknown == frozenset(range(2)) and prices.reason
    assert proxy.secret not in prices.reason and not prices.world.feeds
    proxy.heal()
    _until_ready(source)
    assert not book.prices().unknown
    assert book.state.accounts[taken].cash_wad == scene.cash(taken)
    same_as_anew(scene, book)
    assert not proxy.sent


def _until_ready(source: Source) -> None:
    """A back-off that a 429 asked for is over."""
    for member in source.pool.members:
        member.not_before = 0.0


def test_H58_unread_accounts_are_unknown(scene: Scene, proxy: Proxy) -> None:
    """Never healthy; the last values stay and grow old; when prices come back, so do verdicts."""
    source = scene.source(proxy.url)
    book = scene.book(source)
    scanner = Scanner()

    def scan() -> Sweep:
        _until_ready(source)
        advance = book.advance(source.head())
        return scanner.scan(book.state, book.prices(), book.head, advance)

    everybody = {*scene.weak, *scene.sound}
    assert not everybody & {*(sweep := scan()).unhealthy, *sweep.unknown}
    scene.crash()
    true = scan()
    assert set(true.unhealthy) == set(scene.weak) and not true.unknown
    for _ in range(2):
        scene.rpc.call("evm_increaseTime", 30)
        scene.mine()
        proxy.add(faults.status(503), "eth_call")
        blind = scan()
        proxy.heal()
        assert everybody <= set(blind.unknown) and not blind.unhealthy
        for number in scene.weak:
            reading, known = blind.unknown[number], true.unhealthy[number]
            assert (reading.equity_wad, reading.mm_wad) == (known.equity_wad, known.mm_wad)
            assert reading.reason and reading.health is Health.UNKNOWN
            assert reading.age(blind.head.timestamp) >= 30
    assert set(scan().unhealthy) == set(scene.weak)


def test_H58_batches_in_another_order_are_right(scene: Scene, proxy: Proxy) -> None:
    source = scene.source(proxy.url)
    book = scene.book(source)
    rule = proxy.add(faults.shuffled())
    scene.compete_quietly()
    scene.mine(3)
    book.advance(source.head())
    assert rule.hits and source.pool.members[0].total_failures == 0
    same_as_anew(scene, book)


def test_H58_one_answer_twice(scene: Scene, proxy: Proxy) -> None:
    """A batch with an answer that stands in another's place."""
    source = scene.source(proxy.url)
    book = scene.book(source)
    before = shown(book.state)
    scene.compete_quietly()
    scene.mine(3)
    rule = proxy.add(faults.doubled_batch)
    with pytest.raises(SourceError, match="two answers"):
        book.advance(source.head())
    assert rule.hits and shown(book.state) == before
    proxy.heal()
    _until_ready(source)
    book.advance(source.head())
    same_as_anew(scene, book)


def test_H58_back_off_grows_with_jitter(scene: Scene, proxy: Proxy) -> None:
    policy = Policy(attempts=7, deadline=10.0, base=0.02, cap=0.2)
    source = scene.source(proxy.url, policy=policy)
    book = scene.book(source)
    proxy.forget()
    proxy.add(faults.status(503))
    with pytest.raises(SourceError):
        source.head()
    gaps = [b.at - a.at for a, b in pairwise(proxy.seen)]
    assert len(proxy.seen) == 8 and len(set(gaps)) == len(gaps)  # one look, then seven attempts
    proxy.heal()
    proxy.forget()
    proxy.add(faults.status(429, Retry_After="1"), times=1)
    _until_ready(source)
    began = time.monotonic()
    book.advance(source.head())
    assert time.monotonic() - began >= 0.2  # what was asked for, up to the cap
    assert [s.rule for s in proxy.seen[:2]] == ["HTTP 429", ""]


def test_H58_late_answers_are_not_taken_for_others(scene: Scene, proxy: Proxy) -> None:
    """An answer that comes after its time does not become the answer to the next question."""
    source = scene.source(proxy.url, timeout=0.6, policy=Policy(4, 9.0, 0.001, 0.01))
    book = scene.book(source)
    scene.compete_quietly()
    proxy.add(faults.delay(0.9), times=2)
    book.advance(source.head())
    same_as_anew(scene, book)


def test_H59_stale_head(scene: Scene, proxy: Proxy) -> None:
    scene.mine(3)
    source = scene.source(proxy.url, rule=HeadRule(lag=2))
    book = scene.book(source)
    top = source.head()
    proxy.add(faults.stuck_at(top.number - 3))
    with pytest.raises(StaleHead, match=str(top.number)):
        source.head()
    assert book.head.hash == top.hash
    proxy.heal()
    late = scene.source(proxy.url, rule=HeadRule(age=60.0), now=lambda: top.timestamp + 61.0)
    with pytest.raises(StaleHead, match="61 s old"):
        late.head()


def test_H59_providers_that_disagree(scene: Scene, proxy: Proxy) -> None:
    with Proxy(scene.node.url, secret="an0ther-s3cret") as other:
        source = scene.source(proxy.url, other.url, rule=HeadRule(quorum=2, lag=None))
        book = scene.book(source)
        true = source.head()
        other.add(faults.other_branch)
        with pytest.raises(Disagreement) as caught:
            source.head()
        said = str(caught.value)
        assert true.hash in said and other.secret not in said and proxy.secret not in said
        assert str(proxy.port) in said and str(other.port) in said  # who said which
        other.heal()
        scene.compete_quietly()
        book.advance(source.head())
        same_as_anew(scene, book)


@pytest.mark.parametrize("loader", ["logs", "lens"])
def test_H59_empty_logs_without_an_error(scene: Scene, proxy: Proxy, loader: str) -> None:
    """The lagging node says that nothing happened in a block that holds a liquidation."""
    source = scene.source(proxy.url)
    book = scene.book(source, lens=loader == "lens")
    before = shown(book.state)
    taken = scene.compete_quietly()
    proxy.add(faults.no_logs)
    rule = proxy.add(faults.says([], "eth_getBlockReceipts"), "eth_getBlockReceipts")
    with pytest.raises(SourceError):
        book.advance(source.head())
    assert rule.hits and shown(book.state) == before
    assert "LyingLogs" in source.pool.members[0].last_failure
    proxy.heal()
    # the receipts alone are true: the logs are taken from there
    proxy.add(faults.no_logs)
    _until_ready(source)
    book.advance(source.head())
    assert book.state.accounts[taken].cash_wad == scene.cash(taken)
    book.reconcile()


def test_H59_only_those_who_know_the_head_are_asked(scene: Scene, proxy: Proxy) -> None:
    """One provider lags and answers everything later with nothing: the other is believed."""
    with Proxy(scene.node.url) as slow:
        source = scene.source(slow.url, proxy.url)
        book = scene.book(source)
        slow.add(faults.stuck_at(book.head.number))
        scene.compete_quietly()
        slow.forget()
        book.advance(source.head())
        assert {m for s in slow.seen for m in s.methods} == {"eth_getBlockByNumber"}
        same_as_anew(scene, book)


@pytest.mark.parametrize(("depth", "ring"), [(1, 8), (4, 8), (6, 3)])
def test_H60_reorg(scene: Scene, depth: int, ring: int) -> None:
    """Within the ring the blocks are taken back, below it the book is read anew."""
    source = scene.source()
    scene.crash()
    scene.mine(depth)
    book = scene.book(source, ring=ring)
    for victim in scene.weak[:depth]:
        scene.compete(victim)
        scene.mine()
        book.advance(source.head())
    assert sum(scene.taken(by=RIVAL).values()) == depth
    scene.rpc.call("anvil_reorg", depth, [])
    assert not scene.liquidations()
    scene.rpc.call("anvil_dropAllTransactions")
    scene.compete(scene.weak[-1])
    scene.mine()
    told = book.advance(source.head())
    assert told.rebuilt is (depth > ring) and told.undone == (0 if told.rebuilt else depth)
    same_as_anew(scene, book)


def test_H64_wrong_chain_id(scene: Scene, proxy: Proxy) -> None:
    source = scene.source(proxy.url)
    source.require_chain(31337)
    proxy.add(faults.says("0x1", "eth_chainId"))
    with pytest.raises(WrongChain) as caught:
        source.require_chain(31337)
    assert proxy.secret not in str(caught.value)


@pytest.mark.parametrize("first", ["the liar", "the honest one"])
def test_H59_a_provider_that_lies_in_everything(scene: Scene, proxy: Proxy, first: str) -> None:
    """In headers, logs and lens alike. Asked about itself it is right; another one tells."""
    urls = [proxy.url, scene.node.url]
    source = scene.source(*(urls if first == "the liar" else urls[::-1]))
    alone = scene.source(proxy.url)
    books = [scene.book(source), scene.book(alone)]
    for book in books:
        book.reconcile(margins=9)
    proxy.add(faults.silent_since(scene.rpc.block_number() + 1))
    taken = scene.compete_quietly()
    for book, asked in zip(books, (source, alone), strict=True):
        book.advance(asked.head())
    believed = [book.state.accounts[taken].cash_wad == scene.cash(taken) for book in books]
    assert believed == [first != "the liar", False]
    assert books[1].reconcile(margins=9).accounts == len(books[1].state.accounts)
    while not (part := books[1].compare_part(3)).finished:
        assert part.done % 3 == 0
    for compare in (lambda: books[0].reconcile(), lambda: books[0].compare_part(10**6)):
        with pytest.raises(Divergence) as caught:
            compare()
        names = [f"127.0.0.1:{port}" for port in (proxy.port, scene.node.port)]
        liar, honest = (name in str(caught.value) for name in names)
        assert liar and honest and proxy.secret not in str(caught.value)
    assert not proxy.sent
