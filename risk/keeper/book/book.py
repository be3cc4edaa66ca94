"""All accounts of a vault as of the head, followed block by block along parent links.

The book is at exactly one block. ``advance`` brings it to another: it takes back the blocks that
are no ancestors of the new head and applies the others, or, where the common ancestor lies below
the ring, starts anew. Everything is read before anything is changed: where an answer is missing
the book stays where it is and the error is raised.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from risk.chain.abi import AbiError, Errors, functions
from risk.chain.events import Event, EventDecoder
from risk.errors import ChainError
from risk.exact.errors import ModelRevert
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State
from risk.keeper.book import facts, reconcile
from risk.keeper.book.audit import Audit, Part
from risk.keeper.book.ledger import Ledger, Undo
from risk.keeper.book.lens import Lens
from risk.keeper.book.load import Abi, Loader
from risk.keeper.book.prices import Prices, read_prices
from risk.keeper.book.witness import Witnesses
from risk.keeper.errors import Divergence, StateError
from risk.keeper.source import Block, Source
from risk.keeper.types import Head

T = TypeVar("T")
RING = 64
FAR = 5_000
LOOKS = 3  # times that a difference must be seen
SECOND_LOOK_SECONDS = 0.4
log = logging.getLogger("plumbline.keeper.book")


@dataclass(frozen=True)
class Advance:
    """What brought the book to ``head``. ``touched`` are the accounts that changed, None where all
    may have (a start anew); ``market`` says that something else than accounts may have changed.
    """

    head: Head
    applied: int = 0
    undone: int = 0
    rebuilt: bool = False
    touched: frozenset[int] | None = frozenset()
    market: bool = False


@dataclass(frozen=True)
class _Entry:
    """A block of the ring; ``undo`` is None where the block changed nothing."""

    head: Head
    undo: Undo | None


@dataclass(frozen=True)
class _Ready:
    """A block with everything that applying it needs."""

    block: Block
    events: Sequence[Event]
    params: RiskParams | None
    rate_decimals: dict[int, int]


class Book:
    """See the module. ``start`` first.

    ``ring``: how many blocks can be taken back. ``loader`` starts the book, and starts it anew
    after a deeper reorganisation. ``lens`` reads feeds and reconciles. ``pause`` sleeps between two
    looks at a difference.
    """

    def __init__(
        self,
        source: Source,
        loader: Loader,
        lens: Lens,
        vault: str,
        abi: Abi,
        chain_id: int,
        *,
        ring: int = RING,
        seed: int = 0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pause = pause
        self._source, self._loader, self._lens = source, loader, lens
        self._vault, self._chain_id, self._ring = vault, chain_id, ring
        self._decoder = EventDecoder(abi)
        self._functions, self._errors = functions(abi), Errors([abi])
        self._ledger = Ledger()
        self._entries: deque[_Entry] = deque()
        self._rota = reconcile.Rota(seed)
        self._audit: Audit | None = None
        self._witnesses = Witnesses(source, pause)

    @property
    def state(self) -> State:
        """As of ``head``. The next ``advance`` changes it, but never an account in place: whoever
        keeps it copies it as risk/diff/plumbline/twin.py does.
        """
        return self._ledger.state

    @property
    def head(self) -> Head:
        """The block that the book is at. ``StateError`` before ``start``."""
        if not self._entries:
            raise StateError("the book has not been started")
        return self._entries[-1].head

    @property
    def params_pointer(self) -> int:
        """Address of the code that holds the risk parameters."""
        return self._ledger.params_pointer

    # ── start ────────────────────────────────────────────────────────────────────────────────────

    def start(self, head: Block, *, behind: int = 0) -> Advance:
        """Load the state ``behind`` blocks below ``head`` and follow from there, so that the ring
        is filled from the start. Nodes without an archive keep the state of 128 blocks.
        """
        base = head
        if behind:
            height = max(0, head.number - min(behind, self._ring))
            path = self._source.blocks(height, head.number)
            base = path[0] if path[-1].hash == head.hash else head
        self._load(base)
        if base.hash != head.hash:
            self.advance(head)
        return Advance(self.head, rebuilt=True, touched=None, market=True)

    def _load(self, at: Block) -> None:
        self._witnesses.begin()
        self._audit = None
        with self._source.noting() as tellers:
            loaded = self._loader.load(at)
        self._witnesses.fed_by({self._source.told_by, *tellers})
        ledger = Ledger()
        ledger.adopt(loaded.state, loaded.params_pointer, loaded.params_hash, at.timestamp)
        self._ledger = ledger
        self._entries = deque([_Entry(_plain(at), None)])

    # ── following ────────────────────────────────────────────────────────────────────────────────

    def advance(self, head: Block) -> Advance:
        """Bring the book to ``head``.

        Raises a ``SourceError`` where something cannot be read (the book is unchanged), and
        ``Divergence`` where an event does not fit the state.
        """
        if head.hash == self.head.hash:
            return Advance(self.head)
        with self._source.noting() as tellers:
            path = self._path(head)
            ready = self._read(path[1]) if path is not None else []
        if path is None:
            log.warning("reorganisation below the ring", extra={"block": head.number})
            self._load(head)
            return Advance(self.head, rebuilt=True, touched=None, market=True)
        keep = path[0]
        self._witnesses.fed_by({self._source.told_by, *tellers})
        touched: set[int] = set()
        market = False
        undone = 0
        while len(self._entries) > keep:
            undo = self._entries.pop().undo
            undone += 1
            if undo is not None:
                market = True
                touched |= undo.touched
                self._ledger.revert(undo)
        for item in ready:
            undo = self._apply(item)
            if undo is not None:
                market = True
                touched |= undo.touched
        if undone:
            log.warning("reorganisation", extra={"undone": undone, "block": head.number})
        return Advance(self.head, len(ready), undone, False, frozenset(touched), market)

    def _path(self, head: Block) -> tuple[int, list[Block]] | None:
        """(entries of the ring to keep, blocks to apply in order), None where they do not meet."""
        known = {entry.head.hash: i for i, entry in enumerate(self._entries)}
        if head.hash in known:
            return known[head.hash] + 1, []
        lowest, gap = self._entries[0].head.number, head.number - self.head.number
        blocks = [head]
        if gap > FAR:
            return None
        if gap > 1:  # the usual case first: nothing was reorganised while we were away
            between = self._source.blocks(self.head.number + 1, head.number - 1)
            if between[-1].hash == head.parent:
                blocks = [*between, head]
        while blocks[0].parent not in known:
            if blocks[0].number <= lowest + 1:
                return None
            blocks.insert(0, self._source.block(blocks[0].parent))
        return known[blocks[0].parent] + 1, blocks

    def _read(self, blocks: Sequence[Block]) -> list[_Ready]:
        """Logs of all blocks, and what they point to."""
        out: list[_Ready] = []
        for block, logs in zip(blocks, self._source.logs(blocks, self._vault), strict=True):
            try:
                events = [self._decoder.decode(item) for item in logs]
            except AbiError as error:
                raise Divergence(f"block {block.number} {block.hash}: {error}") from error
            out.append(
                _Ready(
                    block,
                    events,
                    facts.params_of(self._source, events, block),
                    facts.rate_decimals(self._source, self._vault, events, block),
                )
            )
        return out

    def _apply(self, item: _Ready) -> Undo | None:
        undo = None
        if item.events:
            try:
                undo = self._ledger.block(
                    item.events, item.block.timestamp, item.params, item.rate_decimals
                )
            except (ChainError, ModelRevert, LookupError) as error:
                where = f"block {item.block.number} {item.block.hash}"
                raise Divergence(f"{where}: an event does not fit the book: {error!r}") from error
        self._entries.append(_Entry(_plain(item.block), undo))
        while len(self._entries) > self._ring + 1:
            self._entries.popleft()
        return undo

    # ── prices, reconciliation ───────────────────────────────────────────────────────────────────

    def prices(self) -> Prices:
        """The world at ``head``; what could not be read is unknown."""
        return read_prices(self._lens, self.state, self.head, self._chain_id, self._vault)

    def reconcile(self, sample: int | None = None, *, margins: int = 0) -> reconcile.Checked:
        """Compare with the chain at ``head``: the market, ``sample`` accounts (None: all), and the
        margins of ``margins`` of them; by an endpoint that the book was not made from, where there
        is one (``witness.py``). Raises ``Divergence`` with both values.
        """
        head, state = self.head, self.state
        chosen = (
            sorted(state.accounts) if sample is None else self._rota.take(state.accounts, sample)
        )

        def compare() -> reconcile.Checked:
            words = reconcile.compare_market(self._lens, state, self.params_pointer, head)
            self._compare_accounts(chosen, state.accounts, head)
            self._compare_margins(chosen[:margins], head)
            return reconcile.Checked(len(chosen), words, min(margins, len(chosen)))

        return self._witnesses.hear(lambda: self._surely(compare))

    def compare_part(self, count: int) -> Part:
        """The next ``count`` accounts of a comparison of all (``audit.py``); the one after the last
        part begins a new one. Raises as ``reconcile``.
        """
        accounts, head = self.state.accounts, self.head
        audit = self._audit = self._audit or Audit(accounts, head, self._compare_accounts)
        part = self._witnesses.hear(lambda: self._surely(lambda: audit.take(count, accounts, head)))
        if part.finished:
            self._audit = None
        return part

    def _compare_accounts(
        self, chosen: Sequence[int], accounts: Mapping[int, Account], head: Head
    ) -> None:
        reconcile.compare_accounts(accounts, self._lens.accounts(chosen, head), head)

    def _compare_margins(self, chosen: Sequence[int], head: Head) -> None:
        if chosen:
            reconcile.compare_margins(
                self._source,
                self._functions,
                self._errors,
                self._vault,
                self.state,
                chosen,
                head,
                self._chain_id,
            )

    def _surely(self, compare: Callable[[], T]) -> T:
        """A difference counts where it is still there when the same block is asked again: a node
        that is taking a new block may answer of a block by its hash with what has changed since.
        """
        for left in reversed(range(LOOKS)):
            try:
                return compare()
            except Divergence as difference:
                if not left:
                    raise
                log.warning("a difference, asked again", extra={"reason": str(difference)})
                self._pause(SECOND_LOOK_SECONDS)
        raise AssertionError("unreachable")


def _plain(block: Block) -> Head:
    """Without the bloom: a ring keeps many."""
    return Head(block.number, block.hash, block.parent, block.timestamp, block.base_fee_wei)
