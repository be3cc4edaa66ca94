"""Liquidates everybody on a private fork of the chain, to prove that it could be done.

The fork is an Anvil over the configured endpoints (``fork.py``). The signer is impersonated there:
no key is read, nothing is sent to the real chain. Book, scanner, planner and simulator are the
keeper's own; a smaller profit than configured is accepted, because the question is whether it
*could* be done, and counted as ``below_terms``.

A shock replaces the code of a feed by one that answers what it is told. Where only the time is
missing (grace), the clock of the fork goes on and every feed repeats its answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

from risk.chain.node import Anvil
from risk.chain.rpc import Rpc, to_hex
from risk.deploy.liquidation import account_text
from risk.deploy.record import read_record
from risk.errors import RpcError
from risk.exact.state import Feed
from risk.keeper.act import merged
from risk.keeper.book import Advance, Book, Loaded, Prices
from risk.keeper.config import KeeperConfig, wad
from risk.keeper.drill_report import Done, Left, Report, Shock
from risk.keeper.errors import ConfigError
from risk.keeper.fork import fork, on_fork
from risk.keeper.ground import Ground, open_ground, terms_of
from risk.keeper.planner import Planner
from risk.keeper.ports import Bucket, Costs, Outcome, Passed, Sweep
from risk.keeper.scan import Scanner
from risk.keeper.source import Block
from risk.keeper.types import Intent, Way

WAD = 10**18
ROUNDS = 400
WAITS = 8  # times that the clock is moved on
ANY_PROFIT = -(10**36)
log = logging.getLogger("plumbline.keeper.drill")


def drill(config: KeeperConfig, shocks: Sequence[Shock], *, block: int | None = None) -> Report:
    """See the module. Raises ``ConfigError`` for an unknown underlying, and what ``open_ground``
    does.
    """
    real = open_ground(config)
    try:
        head = real.source.head()
        at = head if block is None else real.source.blocks(block, block)[0]
        # read here: through the fork every word would be a request of its own
        loaded = real.loader.load(at)
    finally:
        real.close()
    with fork(config, at.number) as node:
        made = open_ground(on_fork(config, node.url))
        try:
            with Stage(made, node, at, loaded) as stage:
                stage.shock(shocks)
                return stage.run()
        finally:
            made.close()


# ── the play ─────────────────────────────────────────────────────────────────────────────────────


class _Given:
    """A loader that has the state already."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def load(self, at: Block) -> Loaded:
        """Of the block that it was read at."""
        return self._loaded


class Stage:
    """A fork with the keeper's parts on it."""

    def __init__(self, ground: Ground, node: Anvil, at: Block, loaded: Loaded) -> None:
        c, place = ground.config, ground.place
        self._ground, self._config, self._at = ground, c, at
        self._rpc: Rpc = node.rpc()
        self._book = Book(
            ground.source, _Given(loaded), ground.lens, place.address, ground.abi, c.chain.id
        )
        self._scanner = Scanner(warnings=False)
        self._terms = terms_of(c)
        crowd = max(1, len(loaded.state.accounts))
        terms = replace(
            self._terms,
            min_profit_wad=ANY_PROFIT,
            max_intents=64,
            max_examined=crowd,
            patience_seconds=0,
        )
        self._planner = Planner(place.address, ground.abi, terms)
        self._simulator = ground.simulator()
        self._pending: Advance | None = None
        self._why: dict[int, str] = {}
        self.report = Report(at.number, len(loaded.state.accounts), ())

    def __enter__(self) -> Stage:
        rpc = self._rpc
        rpc.call("evm_setAutomine", False)
        self.report.balance_wei = rpc.balance(self._config.signer.address)
        rpc.call("anvil_setBalance", self._config.signer.address, hex(10**24))
        self._pending = self._book.start(self._at)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rpc.close()

    # ── time and prices ──────────────────────────────────────────────────────────────────────────

    def _mine(self, seconds: int) -> None:
        """One block, ``seconds`` after the last, with what is in the pool; the book follows."""
        self._rpc.call("evm_setNextBlockTimestamp", self._book.head.timestamp + seconds)
        self._rpc.call("evm_mine")
        self._pending = merged(self._pending, self._book.advance(self._ground.source.head()))

    def _hold(self, feed: int, item: Feed, answer: int, time: int) -> None:
        """From now on the feed answers this."""
        at = f"0x{feed:040x}"
        code = bytes.fromhex(self._ground.artifacts["MockFeed"].deployed_bytecode)
        self._rpc.call("anvil_setCode", at, to_hex(code))
        for slot, word in enumerate((answer % 2**256, time, item.decimals, 0)):
            self._rpc.call("anvil_setStorageAt", at, f"0x{slot:064x}", f"0x{word:064x}")

    def shock(self, shocks: Sequence[Shock]) -> None:
        """Moves prices, in the next block. Raises ``ConfigError`` for an unknown underlying."""
        state, prices = self._book.state, self._book.prices()
        time = self._book.head.timestamp + self._config.chain.block_seconds
        for wanted in shocks:
            u = self._underlying(wanted.underlying)
            feed = state.underlyings[u].feed
            item = prices.world.feeds.get(feed)
            if u in prices.unknown or item is None or item.reverts:
                raise ConfigError(f"--shock: the feed of {wanted.underlying} does not answer")
            self._hold(feed, item, item.answer * wanted.factor_wad // WAD, time)
        self.report.shocks = tuple(shocks)
        self._mine(self._config.chain.block_seconds)

    def _underlying(self, name: str) -> int:
        """Index of an underlying that is given by index, or by its name in the record."""
        count = len(self._book.state.underlyings)
        record = self._config.vault.record
        names = {} if record is None else {u.name: u.index for u in read_record(record).underlyings}
        found = names.get(name, int(name) if name.isdigit() else -1)
        if not 0 <= found < count:
            known = ", ".join([*names, f"0 to {count - 1}"])
            raise ConfigError(f"--shock: no underlying {name}; there are {known}")
        return found

    def _wait(self) -> int:
        """Until the grace of everybody flagged is over, at the same prices; seconds."""
        state, now = self._book.state, self._book.head.timestamp
        grace = state.params.grace_seconds if state.params else 0
        ends = [a.flagged_at + grace - now for a in state.accounts.values() if a.flagged_at]
        seconds = max(60, *ends, 0) if ends else 60
        for feed, item in self._book.prices().world.feeds.items():
            if feed != state.sequencer_feed and not item.reverts:
                self._hold(feed, item, item.answer, now + seconds)
        self._mine(seconds)
        return seconds

    # ── rounds ───────────────────────────────────────────────────────────────────────────────────

    def run(self) -> Report:
        """Until nothing more can be sent."""
        report, waits = self.report, 0
        sweep, prices = self._scan()
        report.liquidatable, report.unknown = tuple(sweep.unhealthy), len(sweep.unknown)
        while sweep.unhealthy and report.rounds < ROUNDS:
            costs = self._costs(prices)
            plan = self._planner.plan(self._book.state, prices, sweep, costs, frozenset())
            self._why = {p.account: _why(p) for p in plan.passed}
            sent = self._send(plan.intents)
            graced = any(p.bucket in (Bucket.IN_GRACE, Bucket.WAIT) for p in plan.passed)
            if sent:
                self._mine(self._config.chain.block_seconds)
                self._receive(sent)
                report.rounds += 1
            elif graced and waits < WAITS:
                waits += 1
                report.waited_seconds += self._wait()
            else:
                break
            sweep, prices = self._scan()
        for group in (sweep.unhealthy, sweep.unknown):
            for r in group.values():
                why = self._why.get(r.account) or r.reason or "no way was found"
                report.left.append(Left(r.account, r.health.value, r.equity_wad, r.mm_wad, why))
        return report

    def _scan(self) -> tuple[Sweep, Prices]:
        prices, head = self._book.prices(), self._book.head
        assert self._pending is not None
        sweep = self._scanner.scan(self._book.state, prices, head, self._pending)
        self._pending = Advance(head)
        return sweep, prices

    def _costs(self, prices: Prices) -> Costs:
        """Gas at the fork's base fee, the native token at the configured price."""
        p, state = self._config.profit, self._book.state
        native = 0
        if p.native_price_cash is not None:
            native = wad(p.native_price_cash)
        elif (p.native_underlying or 0) < len(state.underlyings):
            item = prices.world.feeds.get(state.underlyings[p.native_underlying or 0].feed)
            if item is not None and item.answer > 0:
                native = item.answer * WAD // 10**item.decimals
        return Costs(self._at.base_fee_wei, native)

    def _send(self, intents: Sequence[Intent]) -> list[tuple[Intent, int, str]]:
        """(intent, simulated payment, hash) of what the simulation lets through."""
        sent: list[tuple[Intent, int, str]] = []
        head = self._book.head
        for intent in intents:
            found = self._simulator.check(intent, head)
            if found.outcome is not Outcome.OK:
                self._why[intent.account] = f"simulation: {found.outcome.value} {found.detail}"
                continue
            body = {
                "from": self._config.signer.address,
                "to": f"0x{intent.to:040x}",
                "data": to_hex(intent.data),
                "gas": hex(intent.gas_limit),
                "maxFeePerGas": hex(10**13),
                "maxPriorityFeePerGas": "0x0",
            }
            try:
                sent.append((intent, found.payment_wad, self._rpc.send(body)))
            except RpcError as error:
                self._why[intent.account] = f"refused by the fork: {error.message}"
        return sent

    def _receive(self, sent: Sequence[tuple[Intent, int, str]]) -> None:
        for intent, payment, tx in sent:
            receipt = self._rpc.receipt(tx)
            gas = int(receipt["gasUsed"], 16)
            where = f"{account_text(intent.account)} {intent.way.value}"
            if int(receipt["status"], 16) != 1:
                self.report.failed.append(f"{where}: reverted, {gas:,} gas")
                self._why[intent.account] = "its transaction reverted"
                continue
            least = self._terms.min_profit_wad
            below = intent.way is not Way.FLAG and intent.profit_wad < least
            self.report.done.append(
                Done(intent.account, intent.way, payment, intent.profit_wad, gas, below)
            )


def _why(passed: Passed) -> str:
    return f"{passed.bucket.value}: {passed.note}" if passed.note else passed.bucket.value
