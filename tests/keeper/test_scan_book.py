"""The scan over a book that follows a chain: random actions, moved feeds, a reorganisation; every
verdict against the vault's own test.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from risk.chain.rpc import to_hex
from risk.diff.plumbline.chain import Chain
from risk.errors import RevertError
from risk.keeper.book import Advance, Book
from risk.keeper.planner import Planner, Terms
from risk.keeper.ports import Bucket, Costs, Sweep
from risk.keeper.scan import Scanner
from tests.support.book_ground import Ground, furnish

pytestmark = pytest.mark.chain


@pytest.fixture
def ground(archive: Chain) -> Iterator[Ground]:
    made = furnish(archive, seed=5, steps=25)
    yield made
    made.close()


def verdicts(ground: Ground, book: Book) -> dict[int, str]:
    """What ``flag`` says of every account at the head: "" where it would be flagged."""
    out = {}
    for account in sorted(book.state.accounts):
        data = ground.chain.vault_functions["flag"].encode(account)
        call = {"to": ground.vault, "data": to_hex(data), "gas": hex(10**8)}
        try:
            at = {"blockHash": book.head.hash}
            time = {"time": hex(book.head.timestamp)}
            ground.chain.rpc.call("eth_call", call, at, {}, time)
            out[account] = ""
        except RevertError as error:
            out[account] = ground.chain.errors.name(error.data)
    return out


def assert_is_chain(ground: Ground, book: Book, sweep: Sweep) -> None:
    for account, said in verdicts(ground, book).items():
        where = f"{account:#x}: {said or 'flagged'}"
        if said == "":
            assert account in sweep.unhealthy, where
        elif said == "AccountHealthy":
            assert account not in sweep.unhealthy, where
        elif said not in ("AlreadyFlagged", "SequencerDown", "SequencerGrace"):
            assert account in sweep.unknown, where


def test_follows_the_chain(ground: Ground) -> None:
    rng, scanner, book = Random(5), Scanner(), ground.book()
    advance = Advance(book.head, touched=None, market=True)
    kinds = set()
    for step in range(8):
        prices = book.prices()
        sweep = scanner.scan(book.state, prices, book.head, advance)
        fresh = Scanner().scan(book.state, prices, book.head, Advance(book.head, touched=None))
        assert (sweep.unhealthy, sweep.warned) == (fresh.unhealthy, fresh.warned)
        assert sweep.unknown.keys() == fresh.unknown.keys()
        assert_is_chain(ground, book, sweep)
        kinds |= {k for k in ("unhealthy", "warned", "unknown") if getattr(sweep, k)}
        taker = max(book.state.accounts, key=lambda a: book.state.accounts[a].cash_wad)
        terms = Terms(liquidator=taker, min_profit_wad=-(10**40))
        plan = Planner(ground.vault, ground.abi, terms).plan(
            book.state, prices, sweep, Costs(10**9, 10**18), frozenset()
        )
        planned = {i.account for i in plan.intents} | {p.account for p in plan.passed}
        assert planned == sweep.unhealthy.keys() | sweep.unknown.keys()
        assert all(
            p.bucket is not Bucket.UNKNOWN or p.account in sweep.unknown for p in plan.passed
        )
        ground.act(rng, 6 if step < 6 else 12)
        advance = book.advance(book._source.head())
    assert kinds >= {"unhealthy", "unknown"}


def test_a_block_that_is_taken_back(ground: Ground) -> None:
    """Verdicts follow the chain that won."""
    scanner, book = Scanner(), ground.book()
    first = scanner.scan(
        book.state, book.prices(), book.head, Advance(book.head, touched=None, market=True)
    )
    snapshot = ground.chain.rpc.call("evm_snapshot")
    ground.act(Random(6), 8)
    advance = book.advance(book._source.head())
    assert advance.applied
    scanner.scan(book.state, book.prices(), book.head, advance)
    ground.chain.rpc.call("evm_revert", snapshot)
    ground.chain.rpc.call("evm_mine")
    advance = book.advance(book._source.head())
    assert advance.undone
    sweep = scanner.scan(book.state, book.prices(), book.head, advance)
    fresh = Scanner().scan(
        book.state, book.prices(), book.head, Advance(book.head, touched=None, market=True)
    )
    assert (sweep.unhealthy, sweep.warned) == (fresh.unhealthy, fresh.warned)
    assert sweep.unknown.keys() == fresh.unknown.keys() and sweep.accounts == first.accounts
    assert_is_chain(ground, book, sweep)
