"""The book against a fresh rebuild, the lens and the model, through reorganisations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

import pytest

from risk.chain import layout
from risk.diff.plumbline.chain import Chain
from risk.exact.state import Account
from risk.keeper.book import Book, Lens, LensLoader
from risk.keeper.errors import Divergence, StateError
from risk.keeper.source import Unreachable
from risk.keeper.types import Head
from tests.support.book_ground import Ground, shown

pytestmark = pytest.mark.chain


@pytest.fixture
def ground(furnished: Ground) -> Iterator[Ground]:
    made = furnished.again()
    yield made
    made.close()


def follow(book: Book) -> None:
    book.advance(book._source.head())


def assert_is_chain(ground: Ground, book: Book) -> None:
    """Equal to a rebuild from all logs and to the chain's storage; totals as summed anew."""
    fresh = ground.book("logs")
    assert book.head == fresh.head
    assert shown(book.state) == shown(fresh.state)
    assert book.state.params is not None and fresh.state.params is not None
    assert book.state.params.blob == fresh.state.params.blob
    accounts = book.state.accounts.values()
    assert book._ledger.cash_total == sum(a.cash_wad for a in accounts)
    for j, collateral in enumerate(book.state.collaterals):
        assert collateral.total_held == sum(a.collateral[j] for a in accounts)
    checked = book.reconcile(margins=1000)
    assert checked.accounts == len(book.state.accounts) == checked.margins


@pytest.mark.parametrize("seed", [3, 11])
def test_follows_a_random_sequence(ground: Ground, seed: int) -> None:
    book, rng = ground.book(), Random(seed)
    for _ in range(5):
        ground.act(rng, 5)
        follow(book)
    model = shown(ground.session.state)
    model.pop("vault.interestTime", None)
    ours = shown(book.state)
    ours.pop("vault.interestTime", None)
    # the model also holds accounts that only a refused action named
    assert {n: v for n, v in model.items() if n in ours or v} == ours
    assert_is_chain(ground, book)


def test_loaders_agree(ground: Ground) -> None:
    ground.act(Random(5), 25)
    logs, lens = ground.book("logs"), ground.book("lens")
    assert shown(logs.state, orders=False) == shown(lens.state, orders=False)
    assert logs.params_pointer == lens.params_pointer != 0
    assert logs._ledger.params_hash == lens._ledger.params_hash != 0
    held = {n for n, a in logs.state.accounts.items() if a != Account()}
    assert held == set(lens.state.accounts)
    listed = LensLoader(
        lens._source,
        ground.lens(lens._source),
        ground.vault,
        ground.abi,
        ground.first,
        accounts=sorted(held)[:2],
    ).load(lens._source.head())
    assert set(listed.state.accounts) == set(sorted(held)[:2])
    # both go on from where they stand
    ground.act(Random(6), 10)
    follow(logs)
    follow(lens)
    assert shown(logs.state, orders=False) == shown(lens.state, orders=False)


def test_the_time_of_a_first_debt(ground: Ground) -> None:
    """While nobody owes, the clock of interest moves without an event; from the first debt on it
    must be right.
    """
    book, chain, d = ground.book(), ground.chain, ground.session.deployment
    assert book.state.borrow_wad == 0
    who, f = d.users[0].address, chain.vault_functions
    lent = 10**d.spec.cash_decimals
    later(chain, 5)
    for j, token in enumerate(d.tokens):  # some have a margin above their value
        account, spec = who << 8 | 2 + j, d.spec.collaterals[j]
        price = d.spec.underlyings[spec.underlying].price_wad
        amount = 10**4 * 10**18 * 10**spec.decimals // price
        assert chain.transact(who, d.vault, f["deposit"].encode(account, token, amount)).outcome.ok
        data = f["withdraw"].encode(account, d.cash, lent, who)
        if chain.transact(who, d.vault, data).outcome.ok:
            break
    follow(book)
    assert shown(book.state, orders=False) == shown(ground.book("lens").state, orders=False)
    assert book.state.borrow_wad > 0
    for wait in (1, 86_400):
        later(chain, wait)
        ground.deposit(0, account & 0xFF, 7)
        follow(book)
        assert shown(book.state, orders=False) == shown(ground.book("lens").state, orders=False)
    assert book.state.borrow_index_e15 > 10**15
    assert_is_chain(ground, book)


@pytest.mark.parametrize(("depth", "ring"), [(1, 64), (6, 64), (6, 6), (7, 6), (12, 4)])
def test_reorganisation(ground: Ground, depth: int, ring: int) -> None:
    """Deeper than the ring: a start anew; else exactly ``depth`` blocks are taken back."""
    rng = Random(depth)
    ground.act(rng, 4)
    book = ground.book(ring=ring)
    before = ground.chain.rpc.call("evm_snapshot")
    height = book.head.number
    while ground.chain.rpc.block_number() < height + depth:
        ground.act(rng, 1)
        follow(book)
    abandoned = shown(book.state)
    assert ground.chain.rpc.call("evm_revert", before)
    for i in range(depth + 1):
        ground.deposit(i % 4, i % 3, 1_000_003 + i)
    head = book._source.head()
    result = book.advance(head)
    if depth > ring:
        assert result.rebuilt and result.touched is None
    else:
        assert (result.rebuilt, result.undone, result.applied) == (False, depth, depth + 1)
        assert result.touched
    assert shown(book.state) != abandoned
    assert_is_chain(ground, book)


def test_reorganisation_by_the_node(ground: Ground) -> None:
    """``anvil_reorg``: the same heights, other blocks, transactions gone."""
    ground.act(Random(2), 3)
    book = ground.book()
    at = shown(book.state)
    for i in range(3):
        ground.deposit(i, 0, 5_000_000)
    follow(book)
    assert shown(book.state) != at
    ground.chain.rpc.call("anvil_reorg", 3, [])
    result = book.advance(book._source.head())
    assert (result.undone, result.rebuilt) == (3, False)
    assert shown(book.state) == at
    assert_is_chain(ground, book)


def test_back_to_an_ancestor_and_forward(ground: Ground) -> None:
    """Undone to the byte, block by block, then the same blocks again."""
    source = ground.source()
    book = ground.book()
    rng, heads, states = Random(8), [], []
    for _ in range(8):
        heads.append(source.head())
        follow(book)
        states.append((book.head, shown(book.state), copy.deepcopy(book.state.accounts)))
        ground.act(rng, 1)
    for head, (_, fields, accounts) in zip(reversed(heads), reversed(states), strict=True):
        book.advance(head)
        assert shown(book.state) == fields
        assert dict(book.state.accounts) == dict(accounts)
    follow(book)
    assert_is_chain(ground, book)


def test_a_start_behind_the_head_fills_the_ring(ground: Ground) -> None:
    ground.act(Random(4), 12)
    source = ground.source()
    book = ground.book()
    late = Book(
        source, ground.loader(source, "lens"), ground.lens(source), ground.vault, ground.abi, 31337
    )
    late.start(source.head(), behind=8)
    assert len(late._entries) == 9
    assert shown(late.state, orders=False) == shown(book.state, orders=False)


def test_new_parameters_and_listings_are_followed(ground: Ground) -> None:
    """The parameters' bytes come from the code at that block; nothing else announces them."""
    book = ground.book()
    d, chain = ground.session.deployment, ground.chain
    params = d.spec.params
    params.underlyings[0].liq_bps += 7
    blob = params.blob()
    owner = ground.session.state.owner
    data = chain.vault_functions["setRiskParams"].encode(blob)
    assert chain.transact(owner, d.vault, data, output=False).outcome.ok
    pointer = book.params_pointer
    follow(book)
    assert book.state.params is not None and book.state.params.blob == blob
    assert book.params_pointer != pointer
    book.reconcile()
    # and back
    chain.rpc.call("anvil_reorg", 1, [])
    follow(book)
    assert book.state.params.blob != blob
    assert book.params_pointer == pointer
    book.reconcile(margins=4)


def test_prices_are_those_of_the_block(ground: Ground) -> None:
    ground.act(Random(9), 10)
    book = ground.book()
    prices = book.prices()
    world = ground.session.vault.world
    assert prices.unknown == frozenset()
    assert prices.world.timestamp == book.head.timestamp
    for feed, item in prices.world.feeds.items():
        assert item.reverts == world.feeds[feed].reverts
        if not item.reverts:
            assert (item.answer, item.updated_at) == (
                world.feeds[feed].answer,
                world.feeds[feed].updated_at,
            )
    assert {u.feed for u in book.state.underlyings} <= set(prices.world.feeds)


def test_a_broken_feed_is_a_fact(ground: Ground) -> None:
    session = ground.session
    feed = session.deployment.feeds[0]
    set_mode = session.deployment.feed_functions["setMode"].encode(1)
    assert ground.chain.transact(session.state.owner, feed, set_mode, output=False).outcome.ok
    prices = ground.book().prices()
    assert prices.unknown == frozenset()
    assert prices.world.feeds[feed].reverts
    assert (
        not prices.world.feeds[session.deployment.feeds[-1]].reverts
        or len(session.deployment.feeds) == 1
    )


# ── divergence ───────────────────────────────────────────────────────────────────────────────────


def later(chain: Chain, seconds: int) -> None:
    """The next block's time; the clock of a ``Chain`` stands still in between."""
    now = int(chain.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    chain.rpc.call("evm_setNextBlockTimestamp", now + seconds)


def poke(ground: Ground, slot: int, change: int) -> None:
    """Change a word of the vault behind everybody's back, in a new block."""
    rpc = ground.chain.rpc
    word = int(rpc.call("eth_getStorageAt", ground.vault, f"0x{slot:064x}", "latest"), 16)
    rpc.call("anvil_setStorageAt", ground.vault, f"0x{slot:064x}", f"0x{word + change:064x}")
    rpc.call("evm_mine")


def test_an_account_that_differs_stops_with_both_values(ground: Ground) -> None:
    book = ground.book()
    number = max(book.state.accounts, key=lambda n: book.state.accounts[n].cash_wad)
    cash = book.state.accounts[number].cash_wad
    slot = next(
        f.slot for f in layout.state_fields(book.state) if f.name == f"account[{number:#x}].cashWad"
    )
    poke(ground, slot, 1)
    follow(book)
    with pytest.raises(Divergence) as caught:
        book.reconcile()
    for part in (f"{number:#044x}", f"cash_wad is {cash} in the book", f"{cash + 1} on the chain"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 10


def test_a_difference_that_is_gone_when_asked_again_is_none(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node in the middle of a block answers with what the next one changes."""
    book = ground.book()
    number = max(book.state.accounts, key=lambda n: book.state.accounts[n].cash_wad)
    lens, reads = book._lens, []

    def torn(numbers: Sequence[int], block: Head) -> dict[int, Account]:
        found = Lens.accounts(lens, numbers, block)
        reads.append(len(numbers))
        if len(reads) <= torn_reads:
            found[number] = replace(found[number], cash_wad=found[number].cash_wad + 1)
        return found

    monkeypatch.setattr(lens, "accounts", torn)
    pauses: list[float] = []
    monkeypatch.setattr(book, "_pause", pauses.append)
    torn_reads = 2
    assert book.reconcile().accounts == len(book.state.accounts)
    assert len(reads) == 3 and len(pauses) == 2
    reads.clear()
    torn_reads = 3
    with pytest.raises(Divergence, match="cash_wad"):
        book.reconcile()


def test_a_sample_meets_every_account(ground: Ground) -> None:
    book = ground.book()
    number = sorted(book.state.accounts)[-1]
    slot = next(
        f.slot
        for f in layout.state_fields(book.state)
        if f.name == f"account[{number:#x}].flaggedAt"
    )
    poke(ground, slot, 1 << 224)
    follow(book)
    rounds = len(book.state.accounts)
    with pytest.raises(Divergence, match="flagged_at is 0 in the book and 1 on the chain"):
        for _ in range(rounds):
            book.reconcile(1)


def test_the_market_is_compared_too(ground: Ground) -> None:
    book = ground.book()
    poke(ground, layout.UNDERLYINGS, 1)
    follow(book)
    with pytest.raises(Divergence, match=r"underlying\[0\].priceWad"):
        book.reconcile(0)


def test_margins_are_compared(ground: Ground) -> None:
    """The model is wrong here, not the book: only the margin shows it."""
    ground.act(Random(12), 20)
    book = ground.book()
    book.reconcile(margins=100)
    params = book.state.params
    assert params is not None
    assert any(a.linear or a.options for a in book.state.accounts.values())
    ground.session.deployment.spec.params.underlyings[0].liq_bps += 500
    for u in ground.session.deployment.spec.params.underlyings:
        u.price_lanes = [x // 2 for x in u.price_lanes]
    blob = ground.session.deployment.spec.params.blob()
    book.state.params = type(params).decode(blob)
    with pytest.raises(Divergence, match=r"margin is .* in the book and .* on the chain"):
        book.reconcile(margins=100)


def test_an_event_that_does_not_fit_leaves_the_book_as_it_was(ground: Ground) -> None:
    book = ground.book()
    before, head = shown(book.state), book.head
    book._ledger.state.buckets.clear()  # a report of a slice will find no expiry
    session = ground.session
    action = session.proposer.make.report(
        0,
        session.state.underlyings[0].report_nonce + 1,
        _slices(ground),
        session.deployment.signers[: session.deployment.threshold],
    )
    assert session.on_model(action).ok and session.on_chain(action).ok
    with pytest.raises(Divergence, match="does not fit the book"):
        follow(book)
    assert book.head == head
    after = shown(book.state)
    assert after == {n: v for n, v in before.items() if n in after}


def _slices(ground: Ground) -> list[object]:
    from risk.diff.plumbline.setup import slice_of

    buckets = ground.session.deployment.spec.underlyings[0].buckets
    assert buckets
    return [slice_of(b) for b in buckets]


@pytest.mark.parametrize("name", ["logs", "blocks", "block", "code"])
def test_nothing_changes_where_something_cannot_be_read(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also not what is taken back: everything is read before the first undo."""
    ground.act(Random(2), 2)
    book = ground.book()
    snapshot = ground.chain.rpc.call("evm_snapshot")
    ground.deposit(0, 0, 1_000)
    ground.deposit(1, 0, 1_000)
    follow(book)
    head, before = book.head, shown(book.state)
    assert ground.chain.rpc.call("evm_revert", snapshot)
    blob = ground.session.deployment.spec.params.blob()
    data = ground.chain.vault_functions["setRiskParams"].encode(blob)
    owner, vault = ground.session.state.owner, ground.session.deployment.vault
    for _ in range(4):
        assert ground.chain.transact(owner, vault, data, output=False).outcome.ok
    new = book._source.head()

    def fail(*_: object, **__: object) -> None:
        raise Unreachable("", "injected")

    with monkeypatch.context() as patch:
        patch.setattr(book._source, name, fail)
        with pytest.raises(Unreachable, match="injected"):
            book.advance(new)
    assert (book.head, shown(book.state)) == (head, before)
    assert book.advance(new).undone == 2
    book.reconcile(margins=4)


def test_a_book_that_was_not_started(ground: Ground) -> None:
    source = ground.source()
    book = Book(
        source, ground.loader(source, "logs"), ground.lens(source), ground.vault, ground.abi, 31337
    )
    with pytest.raises(StateError):
        _ = book.head
