"""What the signer has and may spend.

*Balance.* One answer that it is too low may be a lie, or that of a node which lags. It ends the
keeper only where two endpoints say it, or, where only one is configured, that one at two heads
``APART`` blocks apart. Until then nothing is sent, and everybody is asked again.

*Fees of a day* (``dispatch/spending.py``). Once they leave too little the keeper sends nothing
more, and stays: it goes on when the window does, or when the operator says so (``ask_to_resume``).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from risk.keeper.dispatch.spending import Spending
from risk.keeper.errors import BalanceTooLow, StateError, Transient
from risk.keeper.ports import Sending
from risk.keeper.types import Head

APART = 2  # blocks
log = logging.getLogger("plumbline.keeper.purse")


class Doubted(Transient):
    """An answer says that the balance is too low, and nothing confirms it yet."""


@dataclass(frozen=True)
class Means:
    """As of a head. ``held``: why nothing more is sent, empty where it is."""

    spending: Spending
    held: str = ""


class Purse:
    """See the module. ``balances`` asks every one of ``endpoints`` endpoints for the signer's wei
    and returns the answers that came (``Transient`` where none did); ``least_wei`` is the balance
    below which the keeper ends; ``resume`` the operator's file.
    """

    def __init__(
        self,
        sender: Sending,
        balances: Callable[[], Sequence[int]],
        *,
        endpoints: int = 1,
        least_wei: int = 0,
        resume: Path | None = None,
    ) -> None:
        self._sender, self._balances = sender, balances
        self._endpoints, self._least, self._resume = endpoints, least_wei, resume
        # (head, wei): where one endpoint first said that there is less than this
        self._doubted: tuple[int, int] | None = None

    # ── balance ──────────────────────────────────────────────────────────────────────────────────

    def balance(self, head: Head) -> int:
        """The signer's wei, the lowest of all answers.

        Raises ``Transient`` where nobody answers, ``Doubted``, and ``BalanceTooLow`` where it is
        certainly below the limit.
        """
        answers = self._balances()
        lowest = min(answers)
        if lowest < self._least:
            self._judge(answers, self._least, head, "[dispatch] min_balance_native")
        if self._doubted is not None and lowest >= self._doubted[1]:
            self._doubted = None
        return lowest

    def settle(self, error: BalanceTooLow, head: Head) -> NoReturn:
        """What to think of an ``error`` that rests on one answer: raises it where it is confirmed,
        else ``Doubted`` or ``Transient``.
        """
        answers = self._balances()
        self._judge(answers, error.needed_wei, head, str(error))
        raise Doubted(f"{error}; asked again, the balance is {min(answers)} wei")

    def _judge(self, answers: Sequence[int], needed: int, head: Head, why: str) -> None:
        low = [wei for wei in answers if wei < needed]
        if not low:
            self._doubted = None
            return
        text = f"the signer has {low[0]} wei, {needed} wei are needed: {why}"
        if len(low) >= 2:
            raise BalanceTooLow(text, needed)
        if self._endpoints > 1:
            others = f"others say {max(answers)} wei" if len(answers) > 1 else "nobody else answers"
            raise Doubted(f"one endpoint says that {text}; {others}")
        first, least = self._doubted or (head.number, needed)
        first = min(first, head.number)  # a chain that was cut back
        self._doubted = first, min(least, needed)
        if head.number - first >= APART:
            raise BalanceTooLow(text, needed)
        raise Doubted(f"{text}; asked again {APART} blocks later")

    # ── fees of a day ────────────────────────────────────────────────────────────────────────────

    def means(self, head: Head) -> Means:
        """What the day has cost, and whether more may be sent. Forgets it where the operator asked
        for that.
        """
        if self._resume is not None and self._resume.exists():
            self._sender.forgive(head)
            with contextlib.suppress(FileNotFoundError):
                self._resume.unlink()
        return Means(self._sender.spending(head), self._sender.held(head))


def resume_path(folder: Path, chain_id: int, signer: str) -> Path:
    """The file whose existence tells the keeper of (chain, signer) to forget the day's fees."""
    return folder / f"resume-{chain_id}-{signer.lower()}"


def ask_to_resume(folder: Path, chain_id: int, signer: str) -> Path:
    """Tells a keeper, running or not, to forget the day's fees; it does so at its next head.

    Raises ``StateError`` where the folder cannot be written.
    """
    path = resume_path(folder, chain_id, signer)
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from None
    return path
