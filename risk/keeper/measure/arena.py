"""A town on a node whose blocks come every 12 seconds of its own time, and a book that follows.

Nothing is mined by itself: ``mine`` sets time and base fee of the next block, sends what the feeds
have to say (first in the block, as their operators bid for it) and mines it with whatever the
keepers have put into the pool. ``follow`` brings book and scanner to the head. Several keepers
share this one book and scan, because twenty copies would only measure the machine; everything
that decides a race is each one's own (``racer.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from risk.chain.abi import Errors, functions
from risk.chain.rpc import Json, Rpc
from risk.diff.plumbline.chain import address
from risk.diff.plumbline.world import FIRST_FEED
from risk.keeper.book import Advance, Book, Lens, LensLoader, Prices, lens_code
from risk.keeper.measure.path import BLOCK_SECONDS, GWEI, Oracle, Tick
from risk.keeper.measure.stage import Stage
from risk.keeper.measure.town import Town
from risk.keeper.ports import Scanning, Sweep
from risk.keeper.scan import Scanner
from risk.keeper.source import Block, HeadRule, Source, open_source
from risk.keeper.types import Head

BLOCK_GAS: Final = 60_000_000
FEEDERS: Final = 0xFE << 152
FEED_GAS: Final = 100_000
FEED_TIP_WEI: Final = 1_000 * GWEI
RICH_WEI: Final = 10**24
CHAIN_ID: Final = 31337


@dataclass(frozen=True)
class Mined:
    """A block and its receipts."""

    block: int
    receipts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """The head as the keepers see it."""

    head: Head
    advance: Advance
    prices: Prices
    sweep: Sweep


class Arena:
    """See the module. ``with Arena(town) as arena``; blocks are taken from a path by ``mine``."""

    def __init__(self, town: Town, **node: Any) -> None:
        self.town = town
        self.stage = Stage(**node)
        self.oracle = Oracle((1.0, 1.0, 1.0))
        self.scanner: Scanning = Scanner()
        self.height = 0
        self.pending: Advance | None = None
        self._sources: list[Source] = []

    def __enter__(self) -> Arena:
        self.stage.__enter__()
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Connections and node."""
        for source in self._sources:
            source.close()
        self.stage.__exit__(None, None, None)

    def _open(self) -> None:
        town, stage = self.town, self.stage
        stage.list_market(town.state, town.now, town.feeds)
        stage.name_accounts(list(town.state.accounts))
        stage.place(town.state, town.now, town.feeds)
        self.rpc: Rpc = stage.chain.rpc
        self.abi = stage.abi
        self.errors = Errors([self.abi, *(a.abi for a in stage.chain.artifacts.values())])
        self.functions = functions(self.abi)
        self.feed_set = functions(stage.chain.artifacts["MockFeed"].abi)["set"]
        self.rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS))
        self.rpc.call("evm_setAutomine", False)
        for u in range(len(town.feeds)):
            self.rpc.call("anvil_setBalance", address(FEEDERS + u), hex(RICH_WEI))
        self.source = self.open_source([self.endpoint])
        self.lens = Lens(self.source, self.vault, lens_code(stage.chain.artifacts))
        self.book = self.new_book(self.source, self.lens)
        self.last_time = town.now
        self.first_height = self.height = self.rpc.block_number()

    @property
    def vault(self) -> str:
        """Address of the vault."""
        return self.stage.vault_hex

    @property
    def endpoint(self) -> str:
        """Of the node."""
        return str(self.stage.chain.node.endpoint)

    def open_source(self, urls: list[str], **options: Any) -> Source:
        """A source that is closed with the arena."""
        made = open_source(urls, timeout=60.0, rule=HeadRule(lag=None), **options)
        self._sources.append(made)
        return made

    def new_book(self, source: Source, lens: Lens) -> Book:
        """Not started; it finds the accounts in the logs and reads them by the lens."""
        loader = LensLoader(source, lens, self.vault, self.abi, 0)
        return Book(source, loader, lens, self.vault, self.abi, CHAIN_ID)

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────

    def mine(self, tick: Tick) -> Mined:
        """The next block of the path, with what is in the pool."""
        time = max(self.town.now + BLOCK_SECONDS + tick.second, self.last_time + 1)
        calls: list[tuple[str, list[Json]]] = [
            ("evm_setNextBlockTimestamp", [time]),
            ("anvil_setNextBlockBaseFeePerGas", [hex(tick.base_fee_wei)]),
        ]
        moved = self.oracle.update(tick)
        for u, name in enumerate(self.town.names):
            if path_column(name) in moved:
                data = self.feed_set.encode(self.town.answer(u, self.oracle.shown), time)
                calls.append(("eth_sendTransaction", [self._feed(u, data, tick.base_fee_wei)]))
        calls.append(("evm_mine", []))
        self.rpc.batch(calls)
        self.height, self.last_time = self.height + 1, time
        receipts = self.rpc.call("eth_getBlockReceipts", hex(self.height))
        return Mined(self.height, receipts)

    def _feed(self, u: int, data: bytes, base_fee_wei: int) -> dict[str, Json]:
        return {
            "from": address(FEEDERS + u),
            "to": address(FIRST_FEED + u),
            "data": "0x" + data.hex(),
            "gas": hex(FEED_GAS),
            "maxFeePerGas": hex(base_fee_wei + FEED_TIP_WEI),
            "maxPriorityFeePerGas": hex(FEED_TIP_WEI),
        }

    def reorganise(self, depth: int) -> None:
        """The last ``depth`` blocks are replaced by as many others, without transactions."""
        self.rpc.call("anvil_reorg", depth, [])
        head = self.rpc.call("eth_getBlockByNumber", "latest", False)
        self.height, self.last_time = int(head["number"], 16), int(head["timestamp"], 16)

    # ── following ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> View:
        """The book from the chain."""
        head = self.source.head()
        return self._view(head, self.book.start(head))

    def follow(self) -> View:
        """Book and scanner at the head."""
        head = self.source.head()
        return self._view(head, self.book.advance(head))

    def _view(self, head: Block, advance: Advance) -> View:
        plain = Head(head.number, head.hash, head.parent, head.timestamp, head.base_fee_wei)
        prices = self.book.prices()
        sweep = self.scanner.scan(self.book.state, prices, plain, advance)
        return View(plain, advance, prices, sweep)


def path_column(name: str) -> int:
    """Column of the path that an underlying follows."""
    from risk.keeper.measure.town import PATH_ASSET

    return PATH_ASSET[name]
