"""Puts the real parts together from a configuration, in the order in which things may fail:
lock, key, chain, code, state, and only then the book.

``Ground`` is everything that only reads (``watch`` and ``drill`` use it too); ``Keeper`` adds what
signs, unless it is a dry run, which has no key, no lock and no journal.
"""

from __future__ import annotations

import getpass
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from risk.chain.compile import Artifact, compile_contracts
from risk.chain.keccak import keccak
from risk.chain.node import project_root
from risk.chain.vault_abi import vault_abi
from risk.deploy.artifacts import VAULT, is_code_of, link_order
from risk.errors import ChainError
from risk.keeper.act import Actions
from risk.keeper.book import Book, Lens, LensLoader, Loader, LogLoader, lens_code
from risk.keeper.config import KeeperConfig, Place, vault_place, wad
from risk.keeper.dispatch import Dispatcher, DispatchPolicy, Journal, journal_path
from risk.keeper.errors import BalanceTooLow, ConfigError, StateError, Transient, WrongChain
from risk.keeper.keys import load_signer
from risk.keeper.lock import Lock, default_folder
from risk.keeper.loop import Loop, Parts, Settings
from risk.keeper.planner import Planner, Terms
from risk.keeper.rest import Rests
from risk.keeper.results import ChainResults
from risk.keeper.scan import Scanner
from risk.keeper.show import About, Board
from risk.keeper.simulate import Simulator
from risk.keeper.snapshot import Latest, Observer, Snapshot
from risk.keeper.source import NotFound, Policy, Source, open_source
from risk.keeper.store import Store, read_report, store_path
from risk.keeper.types import Head
from risk.keeper.wire import PoolWire

T = TypeVar("T")
log = logging.getLogger("plumbline.keeper.assemble")


class Stopped(Exception):
    """``stop`` was set before the keeper ran: no error."""


# ── what only reads ──────────────────────────────────────────────────────────────────────────────


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


# ── the keeper ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class Keeper:
    """A keeper that is ready to run; close it, or use it in ``with``."""

    config: KeeperConfig
    loop: Loop
    board: Board
    ground: Ground
    dispatcher: Dispatcher | None
    page: str = ""  # address of the monitor's page
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Everything is on the disk already; releases lock, files and connections."""
        self.stack.close()


def assemble(
    config: KeeperConfig,
    *,
    live: bool,
    stop: threading.Event | None = None,
    prompt: Callable[[str], str] = getpass.getpass,
    locks: Path | None = None,
    observers: Sequence[Observer] = (),
) -> Keeper:
    """See the module. Raises every error of ``errors.py`` except ``Divergence``; what was opened by
    then is closed again.
    """
    stop = stop or threading.Event()
    with ExitStack() as stack:
        signer = None
        if live:
            source_of_key = config.key_source()
            stack.enter_context(
                Lock(locks or default_folder(), config.chain.id, config.signer.address)
            )
            # the folder above depends on user and environment (a service has its own); whoever
            # shares the journal meets here
            stack.enter_context(Lock(config.state.folder, config.chain.id, config.signer.address))
            signer = load_signer(source_of_key, config.signer.address, prompt=prompt)
        place = vault_place(config)
        # a damaged journal or database is told before the chain is asked for anything
        at = store_path(config.state.folder, config.chain.id, place.address, live=live)
        earlier = _earlier(at, config, place)
        store = Store(
            at, chain_id=config.chain.id, vault=place.address, keep_rows=config.state.keep_rows
        )
        stack.callback(store.close)
        ground = open_ground(config, stop=stop)
        stack.callback(ground.close)
        dispatcher, wire = None, PoolWire.of(ground.source)
        if signer is not None:
            policy = _policy(config)
            genesis = patiently(lambda: _genesis(ground.source), config, stop)
            journal = stack.enter_context(
                Journal(
                    journal_path(config.state.folder, config.chain.id, signer.address),
                    chain_id=config.chain.id,
                    signer=signer.address,
                    genesis=genesis,
                )
            )
            relay = None
            if config.relay is not None:
                url = config.relay.url.get_secret_value()
                relay = PoolWire.single(url, config.chain.request_timeout_seconds)
                stack.callback(relay.close)
            dispatcher = Dispatcher(wire, signer, journal, policy, relay)
            _require_balance(config, wire, stop)
        shown: list[Observer] = list(observers)
        page = ""
        latest = Latest()
        if config.monitor.enabled or config.monitor.webhook_url is not None:
            monitor = _monitor(config, place, earlier)
            monitor.start()
            stack.callback(monitor.close)
            shown.append(monitor)
            page = monitor.address
        keeper = _keeper(config, ground, dispatcher, wire, store, latest, shown, stop)
        keeper.page = page
        keeper.stack = stack.pop_all()
    return keeper


def _keeper(
    config: KeeperConfig,
    ground: Ground,
    dispatcher: Dispatcher | None,
    wire: PoolWire,
    store: Store,
    latest: Latest,
    observers: Sequence[Observer],
    stop: threading.Event,
) -> Keeper:
    def slots() -> Sequence[Any]:
        return dispatcher.slots if dispatcher is not None else ()

    chain, address = config.chain, config.signer.address
    about = About(
        chain_id=chain.id,
        vault=ground.place.address,
        signer=address,
        live=dispatcher is not None,
        stale_seconds=max(30.0, 3 * chain.poll_seconds, chain.max_head_age_seconds),
    )
    board = Board(about, store, latest=latest, observers=observers, slots=slots)
    simulator = ground.simulator()
    results = ChainResults(ground.source, ground.place.address, ground.abi)
    parts = Parts(
        source=ground.source,
        book=ground.book,
        scanner=Scanner(),
        planner=ground.planner(),
        simulator=simulator,
        sender=dispatcher,
        slots=slots,
        balance=(lambda: balance(wire, address)) if dispatcher is not None else None,
        tip=lambda: tip(wire, _policy(config)),
    )
    actions = Actions(
        simulator,
        dispatcher,
        store,
        board.counters,
        results=results,
        slots=slots,
        rests=Rests(config.profit.retry_blocks),
        pool=simulator.pool if config.profit.ask_pool else None,
    )
    loop = Loop(parts, settings_of(config), board, actions, stop=stop)
    return Keeper(config, loop, board, ground, dispatcher)


def settings_of(config: KeeperConfig) -> Settings:
    """The loop's own numbers."""
    c, b, p = config.chain, config.book, config.profit
    return Settings(
        poll_seconds=c.poll_seconds,
        retry_cap_seconds=c.retry_cap_seconds,
        give_up_seconds=c.give_up_seconds,
        behind_blocks=b.behind_blocks,
        reconcile_every_blocks=b.reconcile_every_blocks,
        reconcile_accounts=b.reconcile_accounts,
        reconcile_margins=b.reconcile_margins,
        full_reconcile_every_blocks=b.full_reconcile_every_blocks,
        survey_every_blocks=b.survey_every_blocks,
        native_wad=None if p.native_price_cash is None else wad(p.native_price_cash),
        native_underlying=p.native_underlying or 0,
        min_balance_wei=wad(config.dispatch.min_balance_native),
    )


# ── small questions to the chain ─────────────────────────────────────────────────────────────────


def balance(wire: PoolWire, address: str) -> int:
    """Wei of an address at the node's latest block. Raises ``Transient``."""
    return _quantity(wire, "eth_getBalance", address, "latest")


def tip(wire: PoolWire, policy: DispatchPolicy) -> int:
    """Priority fee that the dispatcher would offer; the policy's least where no node says."""
    if policy.fees.tip_wei is not None:
        return policy.fees.tip(0)
    try:
        return policy.fees.tip(_quantity(wire, "eth_maxPriorityFeePerGas"))
    except Transient:
        return policy.fees.tip(0)


def _quantity(wire: PoolWire, method: str, *params: Any) -> int:
    try:
        return int(wire.call(method, *params), 16)
    except (ChainError, TypeError, ValueError) as error:
        raise Transient(f"{method}: {error}") from None


def _genesis(source: Source) -> str:
    """Hash of block 0. A node that has pruned it answers nothing useful: ``Transient``."""
    try:
        return source.blocks(0, 0)[0].hash
    except NotFound as error:
        raise Transient(f"block 0 cannot be read: {error}") from None


def _require_balance(config: KeeperConfig, wire: PoolWire, stop: threading.Event) -> None:
    least = wad(config.dispatch.min_balance_native)
    held = patiently(lambda: balance(wire, config.signer.address), config, stop)
    if held < least:
        raise BalanceTooLow(
            f"{config.signer.address} has {held} wei, [dispatch] min_balance_native asks for "
            f"{least} wei"
        )


def _policy(config: KeeperConfig) -> DispatchPolicy:
    try:
        return config.dispatch_policy()
    except ValueError as error:
        raise ConfigError(f"[fees] or [dispatch]: {error}") from None


def _earlier(at: Path, config: KeeperConfig, place: Place) -> Snapshot | None:
    """What the process before left; None where there is nothing readable (``Store`` judges it)."""
    try:
        return read_report(at, chain_id=config.chain.id, vault=place.address, rows=0).snapshot
    except StateError:
        return None


def _monitor(config: KeeperConfig, place: Place, earlier: Snapshot | None) -> Any:
    from risk.keeper.monitor import Monitor

    m = config.monitor
    return Monitor(
        host=m.host,
        port=m.port if m.enabled else None,
        webhook=m.webhook_url.get_secret_value() if m.webhook_url else None,
        chain_id=config.chain.id,
        vault=place.address,
        earlier=earlier,
    )


def _sleep(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)
