"""The keeper's loop: one turn a head, pauses in between, and what it does when something is wrong.

A turn: head → tick → advance → prices → scan → plan → simulate → submit (``deal.py``); then the
nonces whose account recovered, the comparison with the chain (``care.py``), and the snapshot. What
goes wrong:

* the chain cannot be read, providers disagree, the head is stale (``Transient``): nothing is sent,
  everybody is shown as unknown with his last values, the next try comes after a random pause that
  grows (full jitter). Without a head for ``give_up_seconds`` the keeper ends with exit code 75;
* the nonces cannot be read, or one answer says that the balance is too low (``purse.py``): the book
  is followed and judged, nothing is sent;
* the limit of a day's fees is reached: the same, and the turn is finished;
* an unexpected exception while judging or planning: everybody is unknown, and after ``FAULTS``
  turns in a row the keeper ends, because a defect does not go away by trying;
* ``Divergence``, ``BalanceTooLow``, ``StateError``, ``WrongChain``: the keeper ends.

In a dry run there is no dispatcher: the loop logs what it would send, and cannot sign.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from random import Random

from risk.keeper.act import Actions, merged, tick
from risk.keeper.book import Advance
from risk.keeper.care import Care
from risk.keeper.costs import GasPrice
from risk.keeper.deal import Deals
from risk.keeper.errors import BalanceTooLow, KeeperError, Transient
from risk.keeper.left import LeftAlone
from risk.keeper.parts import Parts, Settings
from risk.keeper.purse import Doubted
from risk.keeper.show import Board, Turn
from risk.keeper.source import Block
from risk.keeper.types import Head

FAULTS = 5
log = logging.getLogger("plumbline.keeper.loop")


class Turned(Enum):
    """Outcome of a turn: finished; no new head; to be done again, because something was missing,
    or only because a simulation had no answer.
    """

    DONE = "done"
    IDLE = "idle"
    AGAIN = "again"
    MISSED = "missed"


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
        self._blind = False  # something at the head could not be read: look at it once more
        self._pending: Advance | None = None  # what the scanner has not seen yet
        self._last_head = 0.0
        self._failures = 0
        self._faults = 0
        self._gas = GasPrice(
            settings.native_wad, settings.native_underlying, parts.tip, board.error
        )
        self._deals = Deals(parts, actions, self._gas, self._suspend, self._stop.is_set)
        self._care = Care(parts.book, settings, board)
        self._left = LeftAlone()

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
        reason = "it was asked to"
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
        self._left.tell(turn)
        self._care.take(turn)
        self._board.turn(turn, self._p.book.state, self._clock() - began)
        self._faults = 0
        if turn.suspended or self._blind:
            return Turned.AGAIN
        if self._deals.missed:
            return Turned.MISSED
        self._done = head.hash
        self._board.counters["heads_total"] += 1
        return Turned.DONE

    def _tick(self, turn: Turn) -> None:
        """Every nonce up to date; where that fails nothing is sent in this turn."""
        if self._p.sender is None:
            return
        try:
            events, error = tick(self._p.sender, turn.head)
        except BalanceTooLow as poor:  # what happened until then is told by the next tick
            self._deals.poor(turn, poor)
            return
        for event in events:
            self._actions.happened(event, turn.head)
        if error is not None:
            self._suspend(turn, f"nonces: {error}", error)
        elif self._p.purse is not None:
            self._look_into(turn)

    def _look_into(self, turn: Turn) -> None:
        """The purse: balance, and fees of the last day."""
        purse = self._p.purse
        assert purse is not None
        means = purse.means(turn.head)
        turn.spending, turn.held = means.spending, means.held
        try:
            turn.balance_wei = purse.balance(turn.head)
        except Doubted as doubt:
            self._suspend(turn, f"balance: {doubt}", doubt)
        except Transient as error:
            self._board.error(error)

    def _follow(self, head: Block) -> None:
        """The book to the head; what changed waits for the scanner."""
        book = self._p.book
        if not self._started:
            step = book.start(head, behind=self._s.behind_blocks)
            self._started = True
            self._gas.require(book.state)
        else:
            step = book.advance(head)
        self._board.counters["blocks_applied_total"] += step.applied
        self._board.counters["blocks_undone_total"] += step.undone
        self._board.counters["rebuilds_total"] += int(step.rebuilt)
        self._pending = merged(self._pending, step)

    def _judge(self, turn: Turn) -> None:
        """Scan, plan, act. An unexpected exception leaves ``turn.sweep`` None."""
        book, head = self._p.book, turn.head
        assert self._pending is not None
        prices = book.prices()
        self._blind = bool(prices.unknown)
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
            self._deals.make(turn, sweep, prices)
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

    def _suspend(self, turn: Turn, why: str, error: Transient) -> None:
        """Nothing more is sent in this turn, which is repeated."""
        turn.suspended = why
        self._board.error(error)
        log.warning("suspended", extra={"reason": why})


def _plain(block: Block) -> Head:
    return Head(block.number, block.hash, block.parent, block.timestamp, block.base_fee_wei)
