"""From a sweep to transactions: who is left out, the plan, and what becomes of its intents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import replace

from risk.keeper.act import Actions, budget
from risk.keeper.book import Prices
from risk.keeper.costs import GasPrice
from risk.keeper.dispatch import Declined
from risk.keeper.errors import BalanceTooLow, Transient
from risk.keeper.parts import Parts
from risk.keeper.ports import Bucket, Costs, Passed, Plan, Sweep
from risk.keeper.show import Turn
from risk.keeper.types import Head, Intent, Way

CANCEL_GAS = 42_000  # what freeing a nonce may cost, twice a transfer: less waiting is not worth it
UNDECIDED = (Bucket.UNKNOWN, Bucket.OPEN, Bucket.UNPROFITABLE, Bucket.LATER)  # no refusal
log = logging.getLogger("plumbline.keeper.deal")


class Deals:
    """See the module. ``suspend`` is told why nothing more is sent in a turn that must be repeated;
    ``stopping`` says that the keeper is about to end.
    """

    def __init__(
        self,
        parts: Parts,
        actions: Actions,
        gas: GasPrice,
        suspend: Callable[[Turn, str, Transient], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._p, self._actions, self._gas = parts, actions, gas
        self._suspend, self._stopping = suspend, stopping
        self.missed = False  # a simulation of the last ``make`` had no answer

    def make(self, turn: Turn, sweep: Sweep, prices: Prices) -> None:
        """Plans, and sends unless the turn is suspended or held by the day's fees."""
        self.missed = False
        p, head = self._p, turn.head
        costs = Costs(0, 0)
        if sweep.unhealthy:
            found = self._gas.costs(head, p.book.state, prices)
            if found is None:
                turn.suspended = turn.suspended or "the price of the native token is unknown"
                return
            costs = found
        plan = self._plan(turn, sweep, prices, costs)
        turn.intents = len(plan.intents)
        if turn.suspended:
            return
        try:
            waiting = self._send(turn, sweep, plan, costs)
            if not self._stopping():
                self._actions.take_back(sweep, head)
                if waiting > costs.of(CANCEL_GAS):
                    self._actions.make_room(head)
        except BalanceTooLow as error:
            self.poor(turn, error)
        except Transient as error:
            # what was signed is in the journal: the next tick sees to it
            self._suspend(turn, f"sending: {error}", error)

    def poor(self, turn: Turn, error: BalanceTooLow) -> None:
        """Raises ``error`` where it is certain; until then the turn is suspended."""
        if self._p.purse is None:
            raise error
        try:
            self._p.purse.settle(error, turn.head)
        except Transient as doubt:
            self._suspend(turn, f"balance: {doubt}", doubt)

    # ── planning ─────────────────────────────────────────────────────────────────────────────────

    def _plan(self, turn: Turn, sweep: Sweep, prices: Prices, costs: Costs) -> Plan:
        """Without those who rest; those who rest after a lost race come back where nobody else gets
        a transaction.
        """
        head, rests = turn.head, self._actions.rests
        refusing = {
            a: Passed(a, Bucket.LATER, f"refused {r.count} times, again at block {r.until}")
            for a, r in rests.refusing(sweep.unhealthy, head.number).items()
        }
        lost = {
            a: Passed(a, Bucket.LATER, f"somebody else was first, again at block {n}")
            for a, n in rests.resting(sweep.unhealthy, head.number).items()
        }

        open_keys = self._open(sweep)

        def planned(resting: Container[int]) -> Plan:
            state, asked = self._p.book.state, _without(sweep, resting)
            return self._p.planner.plan(state, prices, asked, costs, open_keys)

        resting = {**lost, **refusing}
        plan = planned(resting)
        if lost and not plan.intents and not turn.suspended:  # nothing else is left
            resting = refusing
            plan = planned(resting)
        turn.passed = {item.account: item for item in (*resting.values(), *plan.passed)}
        return plan

    def _open(self, sweep: Sweep) -> frozenset[str]:
        sender = self._p.sender
        if sender is None:
            return frozenset()
        keys = (f"{account:042x}:{way.value}" for account in sweep.unhealthy for way in Way)
        return frozenset(key for key in keys if sender.is_open(key))

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def _send(self, turn: Turn, sweep: Sweep, plan: Plan, costs: Costs) -> int:
        """The best profit that waits for a nonce. Raises what ``Actions.act`` does."""
        head, rests = turn.head, self._actions.rests
        contended = any(item.bucket is Bucket.LATER for item in plan.passed)
        waiting, short = 0, ""
        for intent in plan.intents:
            account = intent.account
            if self._stopping():
                break
            if turn.held:
                turn.passed[account] = Passed(account, Bucket.LATER, turn.held, intent.profit_wad)
                continue
            contested = rests.trusts(account, sweep.unhealthy, head.number)
            why = self._actions.act(
                intent, head, self._budget(intent, costs, head), contested=contested
            )
            if why is None:
                rests.accepted(account)
                continue
            if contended and why.bucket not in UNDECIDED:
                rests.refused(account, head.number)
            elif not contended:
                rests.accepted(account)
            # one account alone must not make the pauses of all grow
            self.missed = self.missed or why.bucket is Bucket.UNKNOWN
            turn.passed[account] = why
            if why.note == Declined.WINDOW_FULL.value:
                waiting = max(waiting, intent.profit_wad)
            if why.note == Declined.LIMIT.value and self._nothing_open(head):
                short = why.note
        turn.held = turn.held or short
        return waiting

    def _nothing_open(self, head: Head) -> bool:
        """No budget of an open nonce is set aside: waiting for one would not help."""
        return self._p.sender is not None and self._p.sender.spending(head).reserved_wei == 0

    def _budget(self, intent: Intent, costs: Costs, head: Head) -> int:
        flagged = 0
        if self._p.sender is not None and intent.way is not Way.FLAG:
            flagged = self._p.sender.flag_wei(intent.account, head)
        return budget(intent, costs, flagged)


def _without(sweep: Sweep, resting: Container[int]) -> Sweep:
    rest = {a: r for a, r in sweep.unhealthy.items() if a not in resting}
    return sweep if len(rest) == len(sweep.unhealthy) else replace(sweep, unhealthy=rest)
