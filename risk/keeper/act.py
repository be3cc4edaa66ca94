"""From intents to transactions: simulate, submit, take back, and compare what came of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from risk.keeper.book import Advance
from risk.keeper.dispatch import Declined, Event, Verdict, What
from risk.keeper.dispatch.slots import INTENT, Slot, Status
from risk.keeper.errors import Transient
from risk.keeper.ports import Bucket, Costs, Outcome, Passed, Sending, Simulating, Simulation, Sweep
from risk.keeper.rest import Rests
from risk.keeper.results import Results, classify
from risk.keeper.store import Store
from risk.keeper.types import Head, Intent, Way

WAD = 10**18
STUCK_BLOCKS = 4  # the dispatcher replaces what is too cheap at the next head, where it may
log = logging.getLogger("plumbline.keeper.act")

_REFUSED = {
    Outcome.HEALTHY: Bucket.HEALTHY_LIVE,
    Outcome.TAKEN: Bucket.HEALTHY_LIVE,
    Outcome.LIQUIDATOR: Bucket.LIQUIDATOR_TOO_SMALL,
    Outcome.GRACE: Bucket.IN_GRACE,
    Outcome.UNAVAILABLE: Bucket.UNKNOWN,
}
_DECLINED = {
    Declined.KEY_OPEN: Bucket.OPEN,
    Declined.WINDOW_FULL: Bucket.OPEN,
    Declined.UNRESOLVED: Bucket.OPEN,
    Declined.RESERVED: Bucket.OPEN,
    Declined.LIMIT: Bucket.LATER,
}


def account_of(key: str) -> int | None:
    """The account of an intent's key; None where the key is none of ours (a filled gap)."""
    number, _, way = key.partition(":")
    try:
        Way(way)
        return int(number, 16)
    except ValueError:
        return None


class Actions:
    """See the module. ``sender`` None: a dry run, nothing is signed.

    ``results`` reads what a mined transaction has paid; ``slots`` gives the open nonces; ``pool``
    simulates in the node's pending block, None: nobody asks there.
    """

    def __init__(
        self,
        simulator: Simulating,
        sender: Sending | None,
        store: Store,
        counters: Counter[str],
        *,
        results: Results | None = None,
        slots: Callable[[], Sequence[Slot]] = tuple,
        rests: Rests | None = None,
        pool: Callable[[Intent], Simulation] | None = None,
    ) -> None:
        self._simulator, self._sender, self._store = simulator, sender, store
        self._counters, self._results, self._slots = counters, results, slots
        self.rests, self._pool = rests or Rests(), pool

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def act(
        self, intent: Intent, head: Head, budget_wei: int, *, contested: bool = False
    ) -> Passed | None:
        """Simulates and submits one intent; ``contested``: the pool is asked too. Says
        why it got no transaction, None where it did (or, in a dry run, would have).

        Raises what ``Sending.submit`` does.
        """
        found = self._simulator.check(intent, head)
        self._counters["simulations_total"] += 1
        self._counters[f"simulations_{found.outcome.name.lower()}_total"] += 1
        if found.outcome is not Outcome.OK:
            self._store.intent(intent, found, sending=False)
            log.info("simulation refused", extra=_shown(intent, found))
            bucket = _REFUSED.get(found.outcome, Bucket.SIMULATION)
            note = f"{found.outcome.value}: {found.detail}" if found.detail else found.outcome.value
            return Passed(intent.account, bucket, note, intent.profit_wad)
        if contested and self._pool is not None:
            ahead = self._pool(intent)
            if ahead.outcome is Outcome.TAKEN:
                self._counters["left_to_the_pool_total"] += 1
                self.rests.left(intent.account, head.number)
                self._store.intent(intent, ahead, sending=False)
                log.info("somebody is about to", extra=_shown(intent, ahead))
                return Passed(intent.account, Bucket.OPEN, ahead.detail, intent.profit_wad)
        row = self._store.intent(intent, found, sending=self._sender is not None)
        if self._sender is None:
            self._counters["dry_run_intents_total"] += 1
            log.info("would send", extra=_shown(intent, found))
            return None
        verdict = self._sender.submit(intent, head, budget_wei=budget_wei)
        self._store.verdict(row, verdict)
        return self._told(intent, found, verdict)

    def _told(self, intent: Intent, found: Simulation, verdict: Verdict) -> Passed | None:
        if verdict.declined is None:
            self._counters["sent_total"] += 1
            more = {"nonce": verdict.nonce, "hash": verdict.hash, "answer": verdict.answer}
            log.info("sent", extra={**_shown(intent, found), **more})
            return None
        name = verdict.declined.name.lower()
        self._counters[f"declined_{name}_total"] += 1
        log.info("declined", extra={**_shown(intent, found), "reason": verdict.declined.value})
        bucket = _DECLINED.get(verdict.declined, Bucket.UNPROFITABLE)
        return Passed(intent.account, bucket, verdict.declined.value, intent.profit_wad)

    def take_back(self, sweep: Sweep, head: Head) -> None:
        """Cancels open nonces whose account is healthy now and whose simulation reverts: mined,
        they would only cost gas. An account of unknown health keeps its transaction.
        """
        if self._sender is None:
            return
        for slot in self._slots():
            if slot.status is not Status.OPEN or slot.last.purpose != INTENT:
                continue
            account = account_of(slot.key)
            if account is None or account in sweep.unhealthy or account in sweep.unknown:
                continue
            found = self._simulator.check(_intent(slot, account), head)
            if found.outcome in (Outcome.OK, Outcome.UNAVAILABLE):
                continue
            verdict = self._sender.cancel(slot.key, head)
            self._counters["cancel_asked_total"] += 1
            log.info(
                "taking back",
                extra={
                    "key": slot.key,
                    "nonce": slot.nonce,
                    "why": found.outcome.value,
                    "declined": verdict.declined.value if verdict.declined else "",
                },
            )

    def _first(self, event: Event, account: int) -> bool:
        """Whether somebody else took the account in the block in which ours failed."""
        return self._results is not None and bool(self._results.rival(event, account))

    def make_room(self, head: Head) -> None:
        """Cancels the lowest open intent where no block has been able to hold it for
        ``STUCK_BLOCKS`` and its budget allows no higher fee: everything behind it waits for that
        nonce, and a cancellation needs so little gas that the same budget pays a far higher fee.
        For the moment in which others wait. Raises what ``Sending.cancel`` does.
        """
        first = min((s for s in self._slots() if s.unmined), key=lambda s: s.nonce, default=None)
        if self._sender is None or first is None or first.last.purpose != INTENT:
            return
        stuck = head.number - first.last.block >= STUCK_BLOCKS
        if not stuck or first.last.fees.includable(head.base_fee_wei):
            return
        verdict = self._sender.cancel(first.key, head)
        self._counters["cancel_asked_total"] += 1
        why = verdict.declined.value if verdict.declined else ""
        shown = {"key": first.key, "nonce": first.nonce, "declined": why}
        log.warning("an open transaction is too cheap and blocks others", extra=shown)

    # ── what came of it ──────────────────────────────────────────────────────────────────────────

    def happened(self, event: Event, head: Head) -> None:
        """Counts, logs and stores an event of the dispatcher; a mined intent is compared with what
        was expected of it.
        """
        self._counters[f"transactions_{event.what.value}_total"] += 1
        if event.what in (What.MINED, What.REVERTED, What.CANCELLED):  # closing repeats the cost
            self._counters["gas_spent_wei_total"] += event.cost_wei
        self._store.event(event)
        log.info("transaction", extra={**vars(event), "what": event.what.value})
        if event.what not in (What.MINED, What.REVERTED, What.TAKEN):
            return
        account = account_of(event.key)
        sent = self._store.sent(event.key, event.nonce) if account is not None else None
        if sent is None:
            return
        actual: int | None = None
        if event.what is What.MINED:
            paid = self._results.of(event, sent.intent) if self._results else None
            result = classify(sent.intent, sent.payment_wad, paid)
            actual = paid.payment_wad if paid else None
        elif event.what is What.TAKEN:
            result = "nonce_taken"
        else:
            # the state of its block is gone; what the call says now tells most of it
            now = self._simulator.check(sent.intent, head)
            result = "reverted_" + now.outcome.name.lower()
            if self._first(event, sent.intent.account):
                result = "lost_race"
                self.rests.lost(sent.intent.account, head.number)
        self._counters[f"results_{result}_total"] += 1
        self._store.result(sent.id, result, actual)
        extra = {"key": event.key, "nonce": event.nonce, "result": result, "hash": event.hash}
        level = logging.ERROR if result == "beyond_bound" else logging.INFO
        log.log(
            level,
            "result",
            extra={**extra, "expected_wad": sent.payment_wad, "actual_wad": actual},
        )


def tick(sender: Sending, head: Head) -> tuple[list[Event], Transient | None]:
    """Events of a tick, or why the nonces could not be read."""
    try:
        return sender.tick(head), None
    except Transient as error:
        return [], error


def merged(before: Advance | None, step: Advance) -> Advance:
    """Two advances as one, for a scanner that has not seen the first."""
    if before is None:
        return step
    touched = None
    if before.touched is not None and step.touched is not None:
        touched = before.touched | step.touched
    return Advance(
        head=step.head,
        applied=before.applied + step.applied,
        undone=before.undone + step.undone,
        rebuilt=before.rebuilt or step.rebuilt,
        touched=touched,
        market=before.market or step.market,
    )


def budget(intent: Intent, costs: Costs, flag_wei: int = 0) -> int:
    """Wei that the transaction may cost with all replacements: what the expected profit allows, so
    that it never turns into a loss; 0 (the policy's own limit) where nothing is promised or gas has
    no price.

    A flag earns nothing itself: it may take half of what the liquidation after it promises. What it
    has cost (``flag_wei``) is taken off that one's budget, so both together never cost more than is
    earned.
    """
    if intent.profit_wad <= 0 or costs.native_wad <= 0:
        return 0
    profit = intent.profit_wad // 2 if intent.way is Way.FLAG else intent.profit_wad
    return max(1, (profit + intent.gas_cost_wad) * WAD // costs.native_wad - flag_wei)


def _intent(slot: Slot, account: int) -> Intent:
    """What an open nonce would do, for a simulation."""
    return Intent(
        account=account,
        way=Way(slot.key.partition(":")[2]),
        to=int(slot.to, 16),
        data=slot.data,
        gas_limit=slot.gas_limit,
        max_payment_wad=0,
        reward_wad=0,
        gas_cost_wad=0,
        profit_wad=0,
        block=slot.attempts[0].block,
    )


def _shown(intent: Intent, found: Simulation) -> dict[str, object]:
    return {
        "account": f"{intent.account:#044x}",
        "way": intent.way.value,
        "block": intent.block,
        "max_payment_wad": intent.max_payment_wad,
        "payment_wad": found.payment_wad,
        "profit_wad": intent.profit_wad,
        "outcome": found.outcome.value,
        "detail": found.detail,
    }
