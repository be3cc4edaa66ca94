"""A comparison of everybody that never holds up a turn: parts, pinned to one block."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from risk.exact.state import Account, Linear, Option, State
from risk.keeper.book import Book, Lens, Loaded
from risk.keeper.book.audit import PINNED
from risk.keeper.errors import Divergence
from risk.keeper.source import Block, NodeRefused, NotFound, Source, Unreachable
from risk.keeper.types import Head

VAULT = "0x" + "aa" * 20
INSTRUMENTS = 16
PART = 1_000
MANY = int(os.environ.get("PLUMBLINE_AUDIT_ACCOUNTS", "8000"))
_M = [(1 << n) - 1 for n in range(257)]


def packed(a: Account) -> bytes:
    """As contracts/lens/VaultLens.sol packs an account (``decode_accounts`` reads it)."""
    mask = sum(1 << j for j, held in enumerate(a.collateral) if held)
    header = a.cash_wad & _M[128] | mask << 128 | len(a.linear) << 144 | len(a.options) << 152
    words = [header | a.interest_index << 160 | int(a.margin_call) << 223 | a.flagged_at << 224]
    words += [
        a.collateral[j] | a.collateral[j + 1] << 128 for j in range(0, 16, 2) if mask >> j & 3
    ]
    for x in a.linear:
        words.append(x.instrument << 224 | (x.size_wad & _M[96]) << 128 | x.quote_wad & _M[128])
    halves = [o.instrument << 96 | o.size_wad & _M[96] for o in a.options] + [0]
    for i in range(0, len(a.options), 2):
        words.append(halves[i] | halves[i + 1] << 128)
    return b"".join(w.to_bytes(32, "big") for w in words)


class Chain:
    """A source whose chain is a dictionary a block; ``forgotten`` blocks are not known any more."""

    def __init__(self, accounts: Mapping[int, Account]) -> None:
        self.at: dict[str, dict[int, bytes]] = {}
        self.forgotten: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.told_by = "fake"
        self.names = ["fake"]
        self.fail: Exception | None = None
        self.unknown: Exception = NotFound("fake", "unknown block")
        self.put(head(100), accounts)

    def put(self, at: Head, accounts: Mapping[int, Account]) -> None:
        self.at[at.hash] = {n: packed(a) for n, a in accounts.items()}

    def noting(self) -> Any:
        from contextlib import nullcontext

        return nullcontext(set())

    def call(self, to: str, data: bytes, block: Head, **_: Any) -> bytes:
        assert data[0] == 0
        if self.fail is not None:
            raise self.fail
        if block.hash in self.forgotten:
            raise self.unknown
        numbers = [int.from_bytes(data[i : i + 21], "big") for i in range(1, len(data), 21)]
        self.asked.append((block.hash, len(numbers)))
        return b"".join(self.at[block.hash].get(n, bytes(32)) for n in numbers)


def head(number: int) -> Block:
    return Block(number, f"0x{number:064x}", f"0x{number - 1:064x}", 12 * number, 7, 0)


def crowd(count: int, instruments: int = 3) -> dict[int, Account]:
    """Accounts with a few words each."""
    rng, out = Random(count), {}
    for n in range(1, count + 1):
        a = Account(cash_wad=rng.randrange(-(10**24), 10**24), interest_index=rng.getrandbits(60))
        a.collateral[n % 16] = rng.getrandbits(80)
        for i in range(instruments):
            size = rng.randrange(-(10**21), 10**21)
            if i % 2:
                a.options.append(Option(rng.getrandbits(32), size))
            else:
                a.linear.append(Linear(rng.getrandbits(32), size, -size))
        out[n << 8] = a
    return out


class Given:
    """A loader of what is there."""

    def __init__(self, accounts: Mapping[int, Account]) -> None:
        self.state = State(owner=0, cash_token=1, cash_decimals=6)
        self.state.accounts = dict(accounts)

    def load(self, at: Block) -> Loaded:
        return Loaded(self.state, 0, 0)


def book_over(accounts: Mapping[int, Account]) -> tuple[Chain, Book]:
    chain = Chain(accounts)
    source = cast(Source, chain)
    lens = Lens(source, VAULT, b"\x00", accounts_a_call=PART)
    book = Book(source, Given(accounts), lens, VAULT, [], 1, pause=lambda _: None)
    book.start(head(100))
    return chain, book


def go_on(chain: Chain, book: Book, number: int, change: Mapping[int, Account]) -> None:
    """Book and chain at block ``number``, where these accounts are others."""
    book._ledger.block([], 12 * number, None, {})
    for n, a in change.items():
        book._ledger.state.accounts[n] = a
    at = head(number)
    book._entries.append(replace(book._entries[-1], head=at))
    chain.put(at, book.state.accounts)


def test_the_packing_is_the_lenses() -> None:
    accounts = crowd(7, 5)
    chain = Chain(accounts)
    lens = Lens(cast(Source, chain), VAULT, b"\x00")
    assert lens.accounts(list(accounts), head(100)) == accounts


def test_everybody_is_compared_once_at_one_block() -> None:
    accounts = crowd(23)
    chain, book = book_over(accounts)
    parts = [book.compare_part(5)]
    for number in range(101, 105):
        # what changes meanwhile is compared as it was
        go_on(chain, book, number, {n: Account(cash_wad=number) for n in list(accounts)[-3:]})
        parts.append(book.compare_part(5))
    assert [p.done for p in parts] == [5, 10, 15, 20, 23]
    assert [p.finished for p in parts] == [False] * 4 + [True]
    assert {p.block for p in parts} == {100}
    assert Counter(h for h, _ in chain.asked) == {head(100).hash: 5}
    assert book.compare_part(99).block == 104, "the next one begins at the head"


@pytest.mark.parametrize("at", [0, 11, 22])
def test_a_difference_is_found_wherever_it_is(at: int) -> None:
    accounts = crowd(23)
    chain, book = book_over(accounts)
    victim = sorted(accounts)[at]
    wrong = replace(accounts[victim], cash_wad=accounts[victim].cash_wad + 1)
    chain.put(head(100), {**accounts, victim: wrong})
    found = 0
    for _ in range(5):
        try:
            book.compare_part(5)
        except Divergence as error:
            assert f"{victim:#044x}" in str(error) and f"{wrong.cash_wad} on the chain" in str(
                error
            )
            found += 1
            break
    assert found == 1


@pytest.mark.parametrize("failure", [NotFound("fake", "x"), NodeRefused("fake", "missing trie")])
def test_a_block_that_nobody_knows_any_more(failure: Exception) -> None:
    """A reorganisation, or a node that keeps no old state: the rest at the head."""
    accounts = crowd(20)
    chain, book = book_over(accounts)
    chain.unknown = failure
    book.compare_part(8)
    gone = sorted(accounts)[12]
    go_on(chain, book, 101, {gone: Account()})
    chain.forgotten.add(head(100).hash)
    part = book.compare_part(8)
    assert (part.block, part.done) == (101, 16)
    assert book.compare_part(8).finished


def test_a_pin_does_not_outlive_the_state_of_the_node() -> None:
    accounts = crowd(20)
    chain, book = book_over(accounts)
    book.compare_part(8)
    go_on(chain, book, 100 + PINNED - 1, {})
    assert book.compare_part(4).block == 100
    go_on(chain, book, 100 + PINNED, {})
    assert book.compare_part(4).block == 100 + PINNED


def test_what_could_not_be_read_is_read_again() -> None:
    accounts = crowd(9)
    chain, book = book_over(accounts)
    chain.fail = Unreachable("fake", "gone")
    for _ in range(3):
        with pytest.raises(Unreachable):
            book.compare_part(4)
    chain.fail = None
    assert [book.compare_part(4).done for _ in range(3)] == [4, 8, 9]


def test_a_turn_with_a_part_of_many_accounts_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    """Accounts of 16 instruments: a part costs about its share of the whole."""
    accounts = crowd(MANY, INSTRUMENTS)
    _, book = book_over(accounts)
    began = time.process_time()
    book._compare_accounts(sorted(accounts), accounts, book.head)
    whole = time.process_time() - began
    times = []
    while True:
        began = time.process_time()
        part = book.compare_part(PART)
        times.append(time.process_time() - began)
        if part.finished:
            break
    with capsys.disabled():
        print(
            f" {len(accounts)} accounts: at once {whole:.3f} s; {len(times)} parts,"
            f" first {times[0]:.3f} s, longest other {max(times[1:]):.3f} s"
        )
    assert len(times) == MANY // PART and sorted(times)[len(times) // 2] < whole / 3
