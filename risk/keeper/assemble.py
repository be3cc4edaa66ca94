"""Puts the real parts together from a configuration, in the order in which things may fail:
lock, key, chain, code, state, and only then the book.

``ground.Ground`` is everything that only reads; ``Keeper`` adds what signs, unless it is a dry run,
which has no key, no lock and no journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from risk.errors import ChainError
from risk.keeper.act import Actions
from risk.keeper.config import KeeperConfig, Place, vault_place, wad
from risk.keeper.dispatch import Dispatcher, DispatchPolicy, Journal, journal_path
from risk.keeper.errors import ConfigError, StateError, Transient
from risk.keeper.ground import Ground, open_ground, patiently
from risk.keeper.keys import ask, load_signer
from risk.keeper.lock import Lock, default_folder
from risk.keeper.loop import Loop
from risk.keeper.parts import Parts, Settings
from risk.keeper.purse import Purse, resume_path
from risk.keeper.rest import Rests
from risk.keeper.results import ChainResults
from risk.keeper.scan import Scanner
from risk.keeper.show import About, Board
from risk.keeper.snapshot import Latest, Observer, Snapshot
from risk.keeper.source import NotFound, Source
from risk.keeper.store import Store, read_report, store_path
from risk.keeper.wire import PoolWire

log = logging.getLogger("plumbline.keeper.assemble")


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
    prompt: Callable[[str], str] = ask,
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
        genesis = patiently(lambda: _genesis(ground.source), config, stop)
        store.belong(genesis)
        dispatcher, wire = None, PoolWire.of(ground.source)
        if signer is not None:
            policy = _policy(config)
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
        purse=_purse(config, dispatcher, wire) if dispatcher is not None else None,
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
        full_reconcile_accounts=b.full_reconcile_accounts,
        survey_every_blocks=b.survey_every_blocks,
        native_wad=None if p.native_price_cash is None else wad(p.native_price_cash),
        native_underlying=p.native_underlying or 0,
    )


def _purse(config: KeeperConfig, dispatcher: Dispatcher, wire: PoolWire) -> Purse:
    address = config.signer.address
    return Purse(
        dispatcher,
        lambda: balances(wire, address),
        endpoints=len(config.urls),
        least_wei=wad(config.dispatch.min_balance_native),
        resume=resume_path(config.state.folder, config.chain.id, address),
    )


# ── small questions to the chain ─────────────────────────────────────────────────────────────────


def balances(wire: PoolWire, address: str) -> list[int]:
    """Wei of an address at the latest block of every endpoint that answers. ``Transient`` where
    none does.
    """
    try:
        return [int(told, 16) for told in wire.everyone("eth_getBalance", address, "latest")]
    except (ChainError, TypeError, ValueError) as error:
        raise Transient(f"eth_getBalance: {error}") from None


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
