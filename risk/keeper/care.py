"""What the loop does every so many blocks: the histogram, and the comparison with the chain."""

from __future__ import annotations

import logging

from risk.keeper.errors import Divergence, Transient
from risk.keeper.parts import Settings
from risk.keeper.ports import Follower
from risk.keeper.show import Board, Turn
from risk.keeper.types import Head

log = logging.getLogger("plumbline.keeper.care")


class Care:
    """``take`` once a turn. A full comparison goes over as many turns as it needs, some accounts a
    turn (``Book.compare_part``), so that it never holds up a turn.
    """

    def __init__(self, book: Follower, settings: Settings, board: Board) -> None:
        self._book, self._s, self._board = book, settings, board
        self._marks: dict[str, int] = {}  # heights at which something periodic was done
        self._full = False  # a full comparison is under way

    def take(self, turn: Turn) -> None:
        """Raises ``Divergence``; where the chain cannot be read it is tried again at the next
        head.
        """
        head, s = turn.head, self._s
        if self._due("survey", head, s.survey_every_blocks):
            self._board.survey(self._book.state, head)
        self._full |= self._due("full", head, s.full_reconcile_every_blocks, first=False)
        if self._due("reconcile", head, s.reconcile_every_blocks):
            try:
                done = self._sample(turn)
            except BaseException:
                self._marks.pop("reconcile", None)  # it was not compared
                raise
            if not done:
                self._marks.pop("reconcile", None)
        if self._full:
            self._part(turn)

    def _sample(self, turn: Turn) -> bool:
        try:
            checked = self._book.reconcile(
                self._s.reconcile_accounts, margins=self._s.reconcile_margins
            )
        except Transient as error:
            self._not_compared(error)
            return False
        except Divergence:
            self._board.counters["divergences_total"] += 1
            raise
        turn.reconciled = turn.head.number
        self._board.counters["reconciliations_total"] += 1
        log.info("reconciled", extra={"block": turn.head.number, "checked": str(checked)})
        return True

    def _part(self, turn: Turn) -> None:
        try:
            part = self._book.compare_part(self._s.full_reconcile_accounts)
        except Transient as error:
            self._not_compared(error)
            return
        except Divergence:
            self._board.counters["divergences_total"] += 1
            raise
        if part.finished:
            self._full = False
            self._board.counters["full_reconciliations_total"] += 1
            log.info("reconciled in full", extra={"block": part.block, "accounts": part.done})

    def _not_compared(self, error: Transient) -> None:
        self._board.error(error)
        log.warning("not reconciled", extra={"reason": str(error)})

    def _due(self, what: str, head: Head, every: int, *, first: bool = True) -> bool:
        last = self._marks.get(what)
        if last is None and not first:
            self._marks[what] = head.number
            return False
        if last is not None and 0 <= head.number - last < every:
            return False
        self._marks[what] = head.number
        return True
