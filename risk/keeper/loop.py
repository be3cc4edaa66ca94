"""The keeper's loop: one turn a head, pauses in between, and what it does when something is wrong.

A turn: head → tick → advance → prices → scan → plan → simulate → submit; then the nonces whose
account recovered, the comparison with the chain, and the snapshot. What goes wrong:

* the chain cannot be read, providers disagree, the head is stale (``Transient``): nothing is sent,
  everybody is shown as unknown with his last values, the next try comes after a random pause that
  grows (full jitter). Without a head for ``give_up_seconds`` the keeper ends with exit code 75;
* the nonces cannot be read: the book is followed and judged, nothing is sent;
* an unexpected exception while judging or planning: everybody is unknown, and after ``FAULTS``
  turns in a row the keeper ends, because a defect does not go away by trying;
* ``Divergence``, ``BalanceTooLow``, ``StateError``, ``WrongChain``: the keeper ends.

In a dry run there is no dispatcher: the loop logs what it would send, and cannot sign.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from risk.exact.state import State
from risk.keeper.act import Actions, budget, merged, tick
from risk.keeper.book import Advance, Prices
from risk.keeper.dispatch import Declined
from risk.keeper.dispatch.slots import Slot
from risk.keeper.errors import BalanceTooLow, ConfigError, Divergence, KeeperError, Transient
from risk.keeper.ports import (
    Bucket,
    Costs,
    Follower,
    HeadSource,
    Passed,
    Planning,
    Scanning,
    Sending,
    Simulating,
    Sweep,
)
from risk.keeper.results import Results
from risk.keeper.show import Board, Turn
from risk.keeper.source import Block
from risk.keeper.types import Head, Way

WAD = 10**18
FAULTS = 5
PATIENCE = 3  # refusals in a row, while others wait for their place
LONGEST_REST = 8  # blocks
CANCEL_GAS = 42_000  # what freeing a nonce may cost, twice a transfer: less waiting is not worth it
NEXT_BASE = (9, 8)  # EIP-1559: a base fee rises by at most one eighth a block
log = logging.getLogger("plumbline.keeper.loop")


class Turned(Enum):
    """Outcome of a turn: finished; no new head; to be done again, because something was missing,
    or only because a simulation had no answer.
    """

    DONE = "done"
    IDLE = "idle"
    AGAIN = "again"
    MISSED = "missed"


@dataclass(frozen=True)
class Settings:
    """Times in seconds, distances in blocks. ``native_wad``: price of 10^18 wei in cash (WAD), or
    None with the index of the underlying whose feed says it.
    """

    poll_seconds: float = 1.0
    retry_cap_seconds: float = 30.0
    give_up_seconds: float = 900.0
    behind_blocks: int = 0
    reconcile_every_blocks: int = 25
    reconcile_accounts: int = 200
    reconcile_margins: int = 5
    full_reconcile_every_blocks: int = 1_800
    survey_every_blocks: int = 5
    native_wad: int | None = 0
    native_underlying: int = 0
    min_balance_wei: int = 0


@dataclass(frozen=True)
class Parts:
    """What the loop drives. ``sender`` None is a dry run. ``balance`` and ``tip`` ask the chain for
    the signer's wei and the priority fee to expect; both may raise ``Transient``.
    """

    source: HeadSource
    book: Follower
    scanner: Scanning
    planner: Planning
    simulator: Simulating
    sender: Sending | None = None
    results: Results | None = None
    slots: Callable[[], Sequence[Slot]] = tuple
    balance: Callable[[], int] | None = None
    tip: Callable[[], int] | None = None


@dataclass
class _Refused:
    """Simulations of an account that refused one after the other while others waited: how many,
    the last head of them, and the head from which it is planned for again.
    """

    count: int = 0
    at: int = 0
    until: int = 0


class Loop:
    """See the module. ``stop`` may be called from a signal handler or another thread."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        board: Board,
        actions: Actions,
        *,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self._p, self._s, self._board, self._actions = parts, settings, board, actions
        self._stop = stop or threading.Event()
        self._clock, self._rng = clock, rng or Random()
        self._started = False  # the book is
        self._done = ""  # hash of the head that a turn was finished for
        self._missed = False  # a simulation at the head had no answer: ask once more
        self._blind = False  # something at the head could not be read: look at it once more
        self._pending: Advance | None = None  # what the scanner has not seen yet
        self._refused: dict[int, _Refused] = {}
        self._last_head = 0.0
        self._failures = 0
        self._faults = 0
        self._native: int | None = settings.native_wad
        self._marks: dict[str, int] = {}  # heights at which something periodic was done

    def stop(self) -> None:
        """Ends after the step under way."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """``stop`` was called."""
        return self._stop.is_set()

    # ── pacing ───────────────────────────────────────────────────────────────────────────────────

    def run(self, *, once: bool = False) -> None:
        """Turns until ``stop`` (``once``: until one is finished). Raises what ends a keeper."""
        self._last_head = self._clock()
        self._board.start()
        reason = "stopped"
        try:
            while not self.stopping:
                if self._step() and once:
                    reason = "one turn was asked for"
                    return
                self._stop.wait(self._pause())
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, KeeperError):
                log.critical("the keeper ends", extra={"kind": type(error).__name__, "why": reason})
                self._last_words(error)
            raise
        finally:
            self._board.stopped(reason)

    def _step(self) -> bool:
        """One turn; True where it was finished."""
        try:
            turned = self._turn()
        except Transient as error:
            self._failed(error)
            return False
        except KeeperError:
            raise
        except Exception as error:
            self._fault(error)
            turned = Turned.AGAIN
        self._failures = self._failures + 1 if turned is Turned.AGAIN else 0
        return turned is Turned.DONE

    def _failed(self, error: Transient) -> None:
        self._failures += 1
        log.warning(
            "the chain cannot be read",
            extra={"kind": type(error).__name__, "reason": str(error), "failures": self._failures},
        )
        self._board.error(error)
        state = self._p.book.state if self._started else None
        self._board.failure(f"{type(error).__name__}: {error}", state)
        waited = self._clock() - self._last_head
        if waited > self._s.give_up_seconds:
            raise Transient(f"no usable head for {waited:.0f} s; the last reason: {error}")

    def _pause(self) -> float:
        """Seconds to the next look; after failures uniform below a bound that doubles."""
        if not self._failures:
            return self._s.poll_seconds
        most = min(self._s.retry_cap_seconds, self._s.poll_seconds * 2 ** min(self._failures, 20))
        return self._rng.uniform(0.0, most) or most

    def _last_words(self, error: KeeperError) -> None:
        try:
            self._board.error(error)
        except KeeperError as another:
            log.error("the store is lost", extra={"reason": str(another)})

    # ── a turn ───────────────────────────────────────────────────────────────────────────────────

    def _turn(self) -> Turned:
        """Raises ``Transient`` where the chain is unusable."""
        began = self._clock()
        head = self._p.source.head()
        self._board.head_seen()
        if head.hash == self._done:
            self._last_head = self._clock()
            self._board.idle()
            return Turned.IDLE
        turn = Turn(_plain(head))
        self._tick(turn)
        self._follow(head)
        self._last_head = self._clock()
        self._judge(turn)
        if turn.sweep is None:
            return Turned.AGAIN
        self._take_care(turn)
        self._board.turn(turn, self._p.book.state, self._clock() - began)
        self._faults = 0
        if turn.suspended or self._blind:
            return Turned.AGAIN
        if self._missed:
            return Turned.MISSED
        self._done = head.hash
        self._board.counters["heads_total"] += 1
        return Turned.DONE

    def _tick(self, turn: Turn) -> None:
        """Every nonce up to date; where that fails nothing is sent in this turn."""
        if self._p.sender is None:
            return
        events, error = tick(self._p.sender, turn.head)
        for event in events:
            self._actions.happened(event, turn.head)
        if error is not None:
            self._suspend(turn, f"nonces: {error}", error)
        elif self._p.balance is not None:
            self._watch_balance(turn)

    def _watch_balance(self, turn: Turn) -> None:
        assert self._p.balance is not None
        try:
            turn.balance_wei = self._p.balance()
        except Transient as error:
            self._board.error(error)
            return
        least = self._s.min_balance_wei
        if turn.balance_wei < least:
            raise BalanceTooLow(f"the signer has {turn.balance_wei} wei, the limit is {least} wei")

    def _follow(self, head: Block) -> None:
        """The book to the head; what changed waits for the scanner."""
        book = self._p.book
        if not self._started:
            step = book.start(head, behind=self._s.behind_blocks)
            self._started = True
            self._require_native()
        else:
            step = book.advance(head)
        self._board.counters["blocks_applied_total"] += step.applied
        self._board.counters["blocks_undone_total"] += step.undone
        self._board.counters["rebuilds_total"] += int(step.rebuilt)
        self._pending = merged(self._pending, step)

    def _require_native(self) -> None:
        """The configured underlying must exist: asked now, and not in the first fall."""
        u, count = self._s.native_underlying, len(self._p.book.state.underlyings)
        if self._s.native_wad is None and u >= count:
            raise ConfigError(f"[profit] native_underlying: {u}, the vault has {count} underlyings")

    def _judge(self, turn: Turn) -> None:
        """Scan, plan, act. An unexpected exception leaves ``turn.sweep`` None."""
        book, head = self._p.book, turn.head
        assert self._pending is not None
        prices = book.prices()
        self._blind, self._missed = bool(prices.unknown), False
        try:
            sweep = self._p.scanner.scan(book.state, prices, head, self._pending)
        except KeeperError:
            raise
        except Exception as error:
            # nobody knows how far it came: the next scan judges everybody anew
            self._pending = replace(self._pending, rebuilt=True, touched=None, market=True)
            self._fault(error)
            return
        self._pending = None
        if sweep.failed:
            # everybody is unknown, at every head to come perhaps: that must not look like health
            self._fault(KeeperError(sweep.failed))
            return
        try:
            self._plan_and_act(turn, sweep, prices)
        except KeeperError:
            raise
        except Exception as error:
            self._fault(error)
            return
        turn.sweep = sweep

    def _fault(self, error: Exception) -> None:
        """A defect of ours: told loudly, survived a few times."""
        self._faults += 1
        log.error("unexpected failure", exc_info=error, extra={"faults": self._faults})
        self._board.counters["faults_total"] += 1
        self._board.error(error)
        self._board.failure(f"defect: {type(error).__name__}", self._p.book.state)
        if self._faults >= FAULTS:
            raise KeeperError(
                f"{FAULTS} turns in a row failed unexpectedly: {type(error).__name__}: {error}"
            ) from error

    def _plan_and_act(self, turn: Turn, sweep: Sweep, prices: Prices) -> None:
        p, head = self._p, turn.head
        costs = self._costs(head, p.book.state, prices) if sweep.unhealthy else Costs(0, 0)
        if costs is None:
            turn.suspended = turn.suspended or "the price of the native token is unknown"
            return
        refused, lost = self._resting(sweep, head), self._lost(sweep, head)
        resting = {**lost, **refused}
        plan = p.planner.plan(
            p.book.state, prices, _without(sweep, resting), costs, self._open(sweep)
        )
        if lost and not plan.intents and not turn.suspended:  # nothing else is left
            resting = refused
            plan = p.planner.plan(
                p.book.state, prices, _without(sweep, resting), costs, self._open(sweep)
            )
        turn.passed = {item.account: item for item in (*resting.values(), *plan.passed)}
        contended = any(item.bucket is Bucket.LATER for item in plan.passed)
        turn.intents = len(plan.intents)
        if turn.suspended:
            return
        waiting = 0  # the best profit that waits for a nonce
        for intent in plan.intents:
            if self.stopping:
                break
            try:
                contested = self._actions.rests.trusts(intent.account, sweep.unhealthy, head.number)
                why = self._actions.act(intent, head, budget(intent, costs), contested=contested)
            except (
                Transient
            ) as error:  # what was signed is in the journal: the next tick sees to it
                self._suspend(turn, f"sending: {error}", error)
                return
            self._note(intent.account, why if contended else None, head)
            if why is not None:
                # one account alone must not make the pauses of all grow
                self._missed = self._missed or why.bucket is Bucket.UNKNOWN
                turn.passed[why.account] = why
                if why.note == Declined.WINDOW_FULL.value:
                    waiting = max(waiting, intent.profit_wad)
        if not self.stopping:
            self._take_back(turn, sweep, waiting > costs.of(CANCEL_GAS))

    def _resting(self, sweep: Sweep, head: Head) -> dict[int, Passed]:
        """Accounts that are left out of the plan for a while, so that what the model would do and
        the chain refuses does not hold the places of everybody else for ever.
        """
        self._refused = {a: r for a, r in self._refused.items() if a in sweep.unhealthy}
        return {
            a: Passed(a, Bucket.LATER, f"refused {r.count} times, again at block {r.until}")
            for a, r in self._refused.items()
            if r.at <= head.number < r.until
        }

    def _lost(self, sweep: Sweep, head: Head) -> dict[int, Passed]:
        """Accounts that rest because somebody else was first (``rest.py``)."""
        resting = self._actions.rests.resting(sweep.unhealthy, head.number)
        return {
            a: Passed(a, Bucket.LATER, f"somebody else was first, again at block {n}")
            for a, n in resting.items()
        }

    def _note(self, account: int, why: Passed | None, head: Head) -> None:
        """Counts a refusal of the chain, once a head. No answer and our own limits are none."""
        if why is None or why.bucket in (Bucket.UNKNOWN, Bucket.OPEN, Bucket.UNPROFITABLE):
            if why is None:
                self._refused.pop(account, None)
            return
        found = self._refused.setdefault(account, _Refused())
        if found.count and found.at == head.number:
            return
        found.count, found.at = found.count + 1, head.number
        if found.count >= PATIENCE:
            blocks = min(LONGEST_REST, 2 ** (found.count - PATIENCE))
            found.until = head.number + 1 + blocks

    def _take_back(self, turn: Turn, sweep: Sweep, crowded: bool) -> None:
        try:
            self._actions.take_back(sweep, turn.head)
            if crowded:
                self._actions.make_room(turn.head)
        except Transient as error:
            self._suspend(turn, f"cancelling: {error}", error)

    def _suspend(self, turn: Turn, why: str, error: Transient) -> None:
        """Nothing more is sent in this turn, which is repeated."""
        turn.suspended = why
        self._board.error(error)
        log.warning("suspended", extra={"reason": why})

    def _open(self, sweep: Sweep) -> frozenset[str]:
        sender = self._p.sender
        if sender is None:
            return frozenset()
        keys = (f"{account:042x}:{way.value}" for account in sweep.unhealthy for way in Way)
        return frozenset(key for key in keys if sender.is_open(key))

    def _costs(self, head: Head, state: State, prices: Prices) -> Costs | None:
        """Gas of the next block at its dearest; None while nobody has said what a wei is worth."""
        native = self._native_price(state, prices)
        if native is None:
            return None
        up, down = NEXT_BASE
        tip = 0
        if self._p.tip is not None:
            try:
                tip = self._p.tip()
            except Transient as error:
                self._board.error(error)
        return Costs(-(-head.base_fee_wei * up // down) + tip, native)

    def _native_price(self, state: State, prices: Prices) -> int | None:
        """WAD of cash; the last known one where the feed does not answer."""
        u = self._s.native_underlying
        if self._s.native_wad is not None or u >= len(state.underlyings):
            return self._native
        feed = prices.world.feeds.get(state.underlyings[u].feed)
        if u not in prices.unknown and feed is not None and not feed.reverts and feed.answer > 0:
            self._native = feed.answer * WAD // 10**feed.decimals
        return self._native

    def _take_care(self, turn: Turn) -> None:
        """What is done every so many blocks."""
        head, s = turn.head, self._s
        if self._due("survey", head, s.survey_every_blocks):
            self._board.survey(self._p.book.state, head)
        full = self._due("full", head, s.full_reconcile_every_blocks, first=False)
        if not self._due("reconcile", head, s.reconcile_every_blocks) and not full:
            return
        try:
            checked = self._p.book.reconcile(
                None if full else s.reconcile_accounts, margins=s.reconcile_margins
            )
        except Transient as error:
            self._marks.pop("full" if full else "reconcile", None)  # again at the next head
            self._board.error(error)
            log.warning("not reconciled", extra={"reason": str(error)})
            return
        except Divergence:
            self._board.counters["divergences_total"] += 1
            raise
        except Exception:
            self._marks.pop("full" if full else "reconcile", None)  # it was not compared
            raise
        turn.reconciled = head.number
        self._board.counters["reconciliations_total"] += 1
        log.info("reconciled", extra={"block": head.number, "checked": str(checked), "full": full})

    def _due(self, what: str, head: Head, every: int, *, first: bool = True) -> bool:
        last = self._marks.get(what)
        if last is None and not first:
            self._marks[what] = head.number
            return False
        if last is not None and 0 <= head.number - last < every:
            return False
        self._marks[what] = head.number
        return True


def _without(sweep: Sweep, resting: Container[int]) -> Sweep:
    rest = {a: r for a, r in sweep.unhealthy.items() if a not in resting}
    return sweep if len(rest) == len(sweep.unhealthy) else replace(sweep, unhealthy=rest)


def _plain(block: Block) -> Head:
    return Head(block.number, block.hash, block.parent, block.timestamp, block.base_fee_wei)
