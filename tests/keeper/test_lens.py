"""The lens contract: what it packs, what it refuses, and its reader."""

from __future__ import annotations

from random import Random

import pytest

from risk.chain import layout
from risk.chain.abi import Errors
from risk.chain.keccak import mapping_slot
from risk.diff.plumbline.chain import address
from risk.exact.state import Account, Linear, Option
from risk.keeper.book import Lens, lens_code
from risk.keeper.book.lens import decode_accounts
from risk.keeper.source import Malformed, NodeRefused, Source
from tests.support.book_ground import Ground

pytestmark = pytest.mark.chain

EMPTY, FULL = 0xE0 << 8, 0xF0 << 8 | 255


@pytest.fixture(scope="module")
def ground(furnished: Ground) -> Ground:
    return furnished


@pytest.fixture(scope="module")
def source(ground: Ground) -> Source:
    return ground.source()


def full_account(rng: Random, linear: int, options: int) -> Account:
    """Every field at a bound of its type or anywhere inside."""

    def signed(bits: int) -> int:
        bound = 1 << (bits - 1)
        return rng.choice([-bound, bound - 1, -1, 1, rng.randrange(-bound, bound)])

    a = Account(cash_wad=signed(128), interest_index=rng.getrandbits(63))
    a.margin_call, a.flagged_at = bool(rng.getrandbits(1)), rng.getrandbits(32)
    a.collateral = [rng.choice([0, 0, 1, rng.getrandbits(128), 2**128 - 1]) for _ in range(16)]
    a.linear = [Linear(rng.getrandbits(32), signed(96), signed(128)) for _ in range(linear)]
    a.options = [Option(rng.getrandbits(32), signed(96)) for _ in range(options)]
    return a


def store(ground: Ground, number: int, account: Account, *, junk: bool) -> None:
    """Into the chain's storage; ``junk`` fills what lies beyond the counts, which is never read."""
    slot = mapping_slot(number, layout.ACCOUNTS)
    fields = list(layout.account_fields("", account, slot))
    words = {slot + i: (1 << 256) - 1 for i in range(9, 9 + 128 + 64)} if junk else {}
    used = {f.slot: 0 for f in fields}
    if junk and len(account.options) % 2:
        used[slot + 137 + len(account.options) // 2] = (1 << 256) - (1 << 128)
    for f in fields:
        used[f.slot] |= (f.value & ((1 << f.bits) - 1)) << f.shift
    words |= used
    ground.chain.rpc.batch(
        ("anvil_setStorageAt", [ground.vault, f"0x{s:064x}", f"0x{w:064x}"])
        for s, w in words.items()
    )


@pytest.mark.parametrize("junk", [False, True])
def test_any_account_comes_back_as_stored(ground: Ground, source: Source, junk: bool) -> None:
    rng = Random(int(junk))
    shapes = [(0, 0), (0, 1), (1, 0), (3, 5), (8, 8), (127, 1), (0, 128), (128, 0), (0, 127)]
    stored = {}
    for i, (linear, options) in enumerate(shapes):
        stored[0xACC0 + i << 8 | i] = full_account(rng, linear, options)
    for number, account in stored.items():
        store(ground, number, account, junk=junk)
    ground.chain.rpc.call("evm_mine")
    head = source.head()
    wanted = {EMPTY: Account(), **stored, FULL: Account()}
    assert ground.lens(source).accounts(list(wanted), head) == wanted
    # one by one gives the same
    small = ground.lens(source, accounts_a_call=1)
    assert small.accounts(list(stored), head) == stored


def test_an_amount_without_its_bit_shows(ground: Ground, source: Source) -> None:
    number = 0xBAD << 8
    account = Account(collateral=[5, 7] + [0] * 14)
    store(ground, number, account, junk=False)
    slot = mapping_slot(number, layout.ACCOUNTS)
    ground.chain.rpc.call(
        "anvil_setStorageAt", ground.vault, f"0x{slot:064x}", f"0x{1 << 128:064x}"
    )
    ground.chain.rpc.call("evm_mine")
    read = ground.lens(source).accounts([number], source.head())[number]
    assert read.collateral[:2] == [5, -8]


def test_words_are_those_of_storage(ground: Ground, source: Source) -> None:
    head = source.head()
    slots = sorted({f.slot for f in layout.state_fields(ground.session.state)})
    assert len(slots) > 100
    words = ground.lens(source, words_a_call=37).words(slots, head)
    assert words == source.storage(ground.vault, slots, head)
    assert words == ground.chain.read_words(ground.session.deployment.vault, slots)


def test_feeds_as_the_vault_reads_them(ground: Ground, source: Source) -> None:
    """Good, negative, reverting, without code."""
    session, chain = ground.session, ground.chain
    feed, owner = session.deployment.feeds[0], session.state.owner
    f = session.deployment.feed_functions
    plain = session.deployment.feeds[1]
    nobody = 0xDEAD
    chain.transact(owner, feed, f["set"].encode(-5, 77), output=False)
    read = ground.lens(source).feeds([feed, nobody, plain], source.head())
    assert (read[feed].answered, read[feed].answer, read[feed].updated_at) == (True, -5, 77)
    assert not read[nobody].answered
    world = session.vault.world.feeds[plain]
    assert (read[plain].answer, read[plain].updated_at) == (world.answer, world.updated_at)
    chain.transact(owner, feed, f["setMode"].encode(1), output=False)
    assert not ground.lens(source).feeds([feed], source.head())[feed].answered


def test_the_block_is_the_one_asked_for(ground: Ground, source: Source) -> None:
    """An older block gives its own storage, not the latest."""
    lens, number = ground.lens(source), ground.session.deployment.users[0].address << 8 | 3
    before = source.head()
    ground.deposit(0, 3, 1_000_000)
    after = source.head()
    assert lens.accounts([number], before)[number] == Account()
    assert lens.accounts([number], after)[number].cash_wad > 0


@pytest.mark.parametrize("data", [b"", b"\x03", b"\x00" * 21, b"\x01" * 32, b"\x02" * 20, b"\xff"])
def test_a_request_that_is_none(ground: Ground, source: Source, data: bytes) -> None:
    overrides = {ground.vault: {"code": "0x" + lens_code(ground.chain.artifacts).hex()}}
    with pytest.raises(NodeRefused) as caught:
        source.call(ground.vault, data, source.head(), overrides=overrides)
    errors = Errors([ground.chain.artifacts["VaultLens"].abi])
    assert caught.value.data is not None and errors.name(caught.value.data) == "RequestInvalid"


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_no_items_no_answer(ground: Ground, source: Source, kind: int) -> None:
    overrides = {ground.vault: {"code": "0x" + lens_code(ground.chain.artifacts).hex()}}
    assert source.call(ground.vault, bytes([kind]), source.head(), overrides=overrides) == b""


def test_a_call_that_is_too_large_is_halved(ground: Ground, source: Source) -> None:
    """200 000 gas are enough for some accounts but not for all of them."""
    numbers = [0xACC0 + i << 8 | i for i in range(9)]
    head = source.head()
    tight = ground.lens(source, gas=600_000)
    assert tight.accounts(numbers, head) == ground.lens(source).accounts(numbers, head)
    with pytest.raises(NodeRefused):  # a single one that does not fit
        ground.lens(source, gas=100_000).accounts(numbers, head)


def test_it_is_not_deployed_and_writes_nothing(ground: Ground) -> None:
    assert ground.chain.artifacts["VaultLens"].libraries == ()
    assert "VaultLens" not in ground.chain.libraries
    vault = int(ground.vault, 16)
    code = ground.chain.rpc.code(address(vault))
    assert code != lens_code(ground.chain.artifacts)


def test_storage_of_the_lens_is_that_of_the_vault(ground: Ground) -> None:
    """Same first variable, same type: the compiler's own layout of both."""

    def first(name: str) -> tuple[str, str, str]:
        item = ground.chain.artifacts[name].storage_layout["storage"][0]
        kind = str(item["type"]).split(")")[0]
        return item["label"], item["slot"], kind

    assert first("VaultLens") == first("Vault")


def test_a_short_or_long_answer_is_malformed() -> None:
    header = (1 << 144 | 3).to_bytes(32, "big")  # one linear entry, cash 3
    entry = (7 << 224 | 5 << 128 | 9).to_bytes(32, "big")
    assert decode_accounts([1], header + entry)[1].linear == [Linear(7, 5, 9)]
    for data in (b"", header, header + entry[:-1], header + entry + b"\0", entry):
        with pytest.raises(Malformed):
            decode_accounts([1], data)


def test_the_reader_needs_no_account_twice(ground: Ground, source: Source) -> None:
    lens: Lens = ground.lens(source)
    assert lens.accounts([], source.head()) == {}
    assert list(lens.accounts([FULL, EMPTY], source.head())) == [FULL, EMPTY]
