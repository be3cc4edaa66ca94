"""Everything of a configured keeper that only reads: connections, checks, book. ``keeper run``,
``watch`` and ``drill`` stand on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from risk.chain.compile import Artifact, compile_contracts
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.vault_abi import vault_abi
from risk.deploy.artifacts import VAULT, is_code_of, link_order
from risk.keeper.book import Book, Lens, LensLoader, Loader, LogLoader, lens_code
from risk.keeper.config import KeeperConfig, Place, vault_place, wad
from risk.keeper.errors import ConfigError, Transient, WrongChain
from risk.keeper.planner import Planner, Terms
from risk.keeper.simulate import Simulator
from risk.keeper.source import Policy, Source, open_source
from risk.keeper.types import Head

T = TypeVar("T")
log = logging.getLogger("plumbline.keeper.ground")


class Stopped(Exception):
    """``stop`` was set before the keeper ran: no error."""


@dataclass
class Ground:
    """Chain, vault and book of a configuration. ``book`` is not started."""

    config: KeeperConfig
    place: Place
    source: Source
    artifacts: dict[str, Artifact]
    abi: list[dict[str, Any]]
    lens: Lens
    loader: Loader
    book: Book

    @property
    def error_abis(self) -> list[Sequence[dict[str, Any]]]:
        """The vault's, its extension's and those of all libraries, for decoding reverts."""
        names = link_order(VAULT, self.artifacts.__getitem__)
        return [self.abi, *(self.artifacts[name].abi for name in names)]

    def simulator(self) -> Simulator:
        """From the signer's address; needs no key."""
        c = self.config
        return Simulator(
            self.source, self.error_abis, c.signer.address, block_seconds=c.chain.block_seconds
        )

    def planner(self) -> Planner:
        """On the configured terms; ``ConfigError`` where they are out of range."""
        return Planner(self.place.address, self.abi, terms_of(self.config))

    def close(self) -> None:
        """Releases the connections."""
        self.source.close()


def terms_of(config: KeeperConfig) -> Terms:
    """What is worth a transaction."""
    p = config.profit
    try:
        return Terms(
            liquidator=config.liquidator_account,
            sender=int(config.signer.address, 16),
            min_profit_wad=wad(p.min_profit_cash),
            slippage_bps=p.slippage_bps,
            unwind_bps=p.unwind_bps,
            max_intents=p.max_intents_per_head,
            max_examined=p.max_examined_per_head,
            max_legs=p.max_legs,
            patience_seconds=p.patience_seconds,
            spread_bps=p.spread_bps,
            block_seconds=config.chain.block_seconds,
        )
    except ValueError as error:
        raise ConfigError(f"[profit] or [liquidator]: {error}") from None


def open_ground(config: KeeperConfig, *, stop: threading.Event | None = None) -> Ground:
    """Connects and checks chain id and code. Raises ``ConfigError``, ``WrongChain``, ``Transient``
    (after ``give_up_seconds``), ``Stopped``.
    """
    stop = stop or threading.Event()
    place = vault_place(config)
    chain = config.chain
    source = open_source(
        config.urls,
        timeout=chain.request_timeout_seconds,
        rule=config.head_rule(),
        policy=pool_policy(config),
        bloom=chain.blooms,
        receipts=chain.always_receipts,
    )
    source.pool.sleep = lambda seconds: _sleep(stop, seconds)
    try:
        patiently(lambda: source.require_chain(chain.id), config, stop)
        artifacts = compile_contracts(project_root())
        head = patiently(source.head, config, stop)
        patiently(lambda: require_code(source, place, artifacts, head), config, stop)
    except BaseException:
        source.close()
        raise
    abi = vault_abi(artifacts)
    lens = Lens(source, place.address, lens_code(artifacts), gas=config.book.lens_gas)
    loader: Loader
    if config.vault.loader == "logs":
        loader = LogLoader(source, place.address, abi, place.deployed_block)
    else:
        loader = LensLoader(source, lens, place.address, abi, place.deployed_block)
    ring = config.book.ring_blocks
    book = Book(source, loader, lens, place.address, abi, chain.id, ring=ring)
    return Ground(config, place, source, artifacts, abi, lens, loader, book)


def pool_policy(config: KeeperConfig) -> Policy:
    """How long an endpoint that failed is left alone: never longer than the loop itself waits."""
    cap = config.chain.retry_cap_seconds
    return Policy(base=min(Policy.base, cap), cap=cap)


def require_code(source: Source, place: Place, artifacts: dict[str, Artifact], head: Head) -> None:
    """``WrongChain`` unless the vault's code is the expected one, and of these very sources: the
    model is right about no other.
    """
    code = source.code(place.address, head)
    if not code:
        raise WrongChain(f"no contract at {place.address} in block {head.number}")
    found = "0x" + keccak(code).hex()
    if place.code_hash is not None and found != place.code_hash:
        raise WrongChain(f"code at {place.address} has hash {found}, expected {place.code_hash}")
    if not is_code_of(artifacts[VAULT], code):
        raise WrongChain(
            f"the code at {place.address} was not compiled from these sources: the model that the "
            "keeper decides with is not that vault's"
        )


def patiently(work: Callable[[], T], config: KeeperConfig, stop: threading.Event) -> T:
    """``work`` until the chain answers. ``Transient`` after ``give_up_seconds``."""
    began, failures, rng = time.monotonic(), 0, Random()
    while True:
        if stop.is_set():
            raise Stopped
        try:
            return work()
        except Transient as error:
            failures += 1
            waited = time.monotonic() - began
            log.warning("the chain cannot be read yet", extra={"reason": str(error)})
            if waited > config.chain.give_up_seconds:
                raise Transient(f"no usable chain for {waited:.0f} s; last: {error}") from None
            most = min(config.chain.retry_cap_seconds, 0.25 * 2 ** min(failures, 20))
            stop.wait(rng.uniform(0.0, most))


def _sleep(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
