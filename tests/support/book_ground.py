"""An Anvil with a vault in use, and books over it.

``tests/keeper`` and ``tests/quant`` import the fixtures in their ``conftest.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from risk.chain import layout
from risk.chain.vault_abi import vault_abi
from risk.diff.plumbline.chain import Chain, address
from risk.diff.plumbline.session import VaultSession
from risk.errors import RpcError
from risk.exact.state import Account, State
from risk.keeper.book import Book, Lens, LensLoader, LogLoader, lens_code
from risk.keeper.book.load import Loader
from risk.keeper.source import HeadRule, Policy, Source, open_source

CHAIN_ID = 31337
QUICK = Policy(attempts=3, deadline=5.0, base=0.001, cap=0.01)


def open_chain() -> Chain:
    """A node that keeps the state of old blocks, unlike that of the differential tests."""
    chain = Chain(extra=("--gas-price", "0"))
    chain.open()
    return chain


@dataclass
class Ground:
    """A vault with a market, users and deposits, and ways to read it."""

    chain: Chain
    session: VaultSession
    first: int  # height at which the vault was deployed, or below
    sources: list[Source] = field(default_factory=list)

    @classmethod
    def new(cls, chain: Chain, seed: int = 1, index: int = 0) -> Ground:
        chain.reset()
        first = chain.rpc.block_number()
        return cls(chain, VaultSession(chain, seed, index), first)

    def again(self) -> Ground:
        """The same on a node that went back to ``keep``; the original stays as it is."""
        self.chain.reset()
        shared = {id(self.chain): self.chain}
        return Ground(self.chain, copy.deepcopy(self.session, shared), self.first)

    @property
    def vault(self) -> str:
        return address(self.session.deployment.vault)

    @property
    def abi(self) -> list[dict[str, Any]]:
        return vault_abi(self.chain.artifacts)

    def source(self, **options: Any) -> Source:
        rule = HeadRule(lag=None)  # tests take blocks back
        made = open_source([str(self.chain.node.endpoint)], rule=rule, policy=QUICK, **options)
        self.sources.append(made)
        return made

    def lens(self, source: Source, **options: Any) -> Lens:
        return Lens(source, self.vault, lens_code(self.chain.artifacts), **options)

    def loader(self, source: Source, kind: str) -> Loader:
        if kind == "logs":
            return LogLoader(source, self.vault, self.abi, self.first)
        return LensLoader(source, self.lens(source), self.vault, self.abi, self.first)

    def book(self, kind: str = "logs", *, ring: int = 64, **options: Any) -> Book:
        """Started at the head."""
        source = self.source(**options)
        book = Book(
            source,
            self.loader(source, kind),
            self.lens(source),
            self.vault,
            self.abi,
            CHAIN_ID,
            ring=ring,
        )
        book.start(source.head())
        return book

    def act(self, rng: Random, steps: int) -> None:
        """Random actions on chain and model; refused ones too."""
        for _ in range(steps):
            action = self.session.propose(rng)
            self.session.on_model(action)
            self.session.on_chain(action)

    def deposit(self, user: int, sub: int, amount: int) -> None:
        """On the chain alone, in a block of its own."""
        d = self.session.deployment
        who = d.users[user].address
        data = self.chain.vault_functions["deposit"].encode(who << 8 | sub, d.cash, amount)
        assert self.chain.transact(who, d.vault, data, output=False).outcome.ok

    def close(self) -> None:
        for source in self.sources:
            source.close()


def furnish(chain: Chain, seed: int = 1, steps: int = 30) -> Ground:
    """A vault with positions.  The set-up names its times; a machine that pauses for seconds lets
    the node's clock pass them: then once more.
    """
    for attempt in range(5):
        try:
            made = Ground.new(chain, seed)
            made.act(Random(0), steps)
            return made
        except RpcError as error:
            if "lower than previous block" not in str(error) or attempt == 4:
                raise
    raise AssertionError


@pytest.fixture(scope="module")
def archive() -> Iterator[Chain]:
    """A node of this file alone that keeps the state of old blocks."""
    opened = open_chain()
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def furnished(archive: Chain) -> Iterator[Ground]:
    """Set up once, with positions; ``reset`` of the node comes back to it."""
    made = furnish(archive)
    assert sum(len(a.linear) + len(a.options) for a in made.session.state.accounts.values()) >= 6
    archive.keep()
    yield made
    made.close()


def shown(state: State, *, orders: bool = True) -> dict[str, int]:
    """Every field by name; what events do not say (see ledger.py) and empty accounts left out."""
    twin = State(**vars(state))
    twin.accounts = {n: a for n, a in state.accounts.items() if a != Account()}
    twin.open_interest = {i: n for i, n in state.open_interest.items() if n}
    if not orders:
        twin.filled_wad, twin.cancelled, twin.operators, twin.min_nonce = {}, set(), {}, {}
    fields = {f.name: f.value for f in layout.state_fields(twin)}
    if state.borrow_wad == 0:
        del fields["vault.interestTime"]
    return fields
