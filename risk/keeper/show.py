"""Makes the snapshots: what the loop knows, put together for people, shown and stored."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from risk.exact.state import State
from risk.keeper import survey
from risk.keeper.dispatch.slots import Slot, Status
from risk.keeper.dispatch.spending import Spending
from risk.keeper.errors import StateError
from risk.keeper.ports import Passed, Sweep
from risk.keeper.snapshot import (
    BucketLine,
    Counts,
    ErrorLine,
    Latest,
    Observer,
    OpenNonce,
    Snapshot,
)
from risk.keeper.store import Store
from risk.keeper.survey import Survey
from risk.keeper.types import Head

ERRORS = 20  # shown
STORE_EVERY = 10.0  # seconds between two writes while nothing happens
log = logging.getLogger("plumbline.keeper.loop")


@dataclass(frozen=True)
class About:
    """Whose keeper this is."""

    chain_id: int
    vault: str
    signer: str
    live: bool
    stale_seconds: float


@dataclass
class Turn:
    """What one turn found out; filled as it goes."""

    head: Head
    sweep: Sweep | None = None
    passed: dict[int, Passed] = field(default_factory=dict)
    intents: int = 0
    balance_wei: int | None = None
    spending: Spending = field(default_factory=Spending)
    suspended: str = ""  # something is not known: the turn is repeated
    held: str = ""  # all is known, but the limit of a day's fees is reached
    reconciled: int = 0


class Board:
    """Keeps the last of everything. ``slots`` gives the open nonces."""

    def __init__(
        self,
        about: About,
        store: Store,
        *,
        latest: Latest | None = None,
        observers: Sequence[Observer] = (),
        slots: Callable[[], Sequence[Slot]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._about, self._store, self._slots, self._clock = about, store, slots, clock
        self.latest = latest or Latest()
        self._observers = tuple(observers)
        self.counters: Counter[str] = Counter()
        self._errors: deque[ErrorLine] = deque(maxlen=ERRORS)
        self._survey: Survey | None = None
        self._sweep: Sweep | None = None
        self._stored = 0.0
        self._value = Snapshot(
            chain_id=about.chain_id,
            vault=about.vault,
            signer=about.signer,
            live=about.live,
            started=clock(),
            written=clock(),
            stale_seconds=about.stale_seconds,
            suspended="starting",
        )

    @property
    def value(self) -> Snapshot:
        """The last snapshot."""
        return self._value

    def start(self) -> None:
        """Shows that there is a keeper, before its first head."""
        self._publish(self._value, None, stored=True)

    def head_seen(self) -> None:
        """A trusted head came in, though perhaps the one before."""
        self._value = replace(self._value, head_seen=self._clock())

    def error(self, error: BaseException) -> None:
        """Counts, keeps and stores a failure."""
        kind, message = type(error).__name__, str(error)
        self._errors.appendleft(ErrorLine(self._clock(), kind, message))
        self.counters["errors_total"] += 1
        self.counters[f"errors_{kind}_total"] += 1
        self._store.error(kind, message)

    def survey(self, state: State, head: Head) -> None:
        """A new histogram. It is a picture only: where it fails the old one stays."""
        try:
            self._survey = survey.survey(state, head)
        except Exception as error:
            self.counters["survey_failures_total"] += 1
            log.warning("no histogram", extra={"reason": f"{type(error).__name__}: {error}"})

    def turn(self, turn: Turn, state: State, seconds: float) -> None:
        """After a turn that knows everybody's health."""
        assert turn.sweep is not None
        sweep, self._sweep = turn.sweep, turn.sweep
        unknown = len(sweep.unknown)
        healthy = max(0, sweep.accounts - len(sweep.unhealthy) - unknown)
        now = turn.head.timestamp
        known = self._survey
        self._value = replace(
            self._value,
            head=turn.head,
            suspended=turn.suspended or turn.held,
            accounts=Counts(
                sweep.accounts, healthy, len(sweep.warned), len(sweep.unhealthy), unknown
            ),
            oldest_unknown_seconds=max((r.age(now) for r in sweep.unknown.values()), default=0),
            histogram=known.histogram if known else (),
            histogram_block=known.block if known else 0,
            endangered=survey.endangered(sweep, known, state, now, turn.passed),
            buckets=buckets(turn.passed.values()),
            intents=turn.intents,
            balance_wei=turn.balance_wei,
            spent_wei=turn.spending.spent_wei,
            lost_wei=turn.spending.lost_wei,
            spend_limit_wei=turn.spending.spend_limit_wei,
            loss_limit_wei=turn.spending.loss_limit_wei,
            reconciled_block=turn.reconciled or self._value.reconciled_block,
        )
        readings = [*sweep.unhealthy.values(), *sweep.unknown.values(), *sweep.warned.values()]
        self._publish(self._fresh(), sweep)
        self._store.turn(self._value, readings, seconds)
        self._stored = self._clock()

    def failure(self, reason: str, state: State | None) -> None:
        """Nothing is known now: nobody is healthy, everybody keeps his last values."""
        now = int(self._clock())
        total = self._value.accounts.total
        endangered = self._value.endangered
        if state is not None and self._sweep is not None:
            endangered = survey.endangered(
                self._sweep, self._survey, state, now, {}, failure=reason
            )
        head = self._value.head
        self._value = replace(
            self._value,
            suspended=reason,
            accounts=Counts(total=total, unknown=total),
            oldest_unknown_seconds=max(0, now - head.timestamp) if head else 0,
            endangered=endangered,
            buckets={},
            intents=0,
        )
        self._publish(self._fresh(), None, stored=True)

    def idle(self) -> None:
        """The same head again."""
        self._publish(self._fresh(), None, stored=self._clock() - self._stored >= STORE_EVERY)

    def stopped(self, reason: str) -> None:
        """The last snapshot of this process."""
        self._value = replace(self._fresh(), stopped=reason)
        try:
            self._publish(self._value, None, stored=True)
        except StateError as error:
            log.error("the last snapshot is lost", extra={"reason": str(error)})

    def _fresh(self) -> Snapshot:
        return replace(
            self._value,
            written=self._clock(),
            nonces=tuple(map(open_nonce, self._slots())),
            errors=tuple(self._errors),
            counters=dict(self.counters),
        )

    def _publish(self, value: Snapshot, sweep: Sweep | None, *, stored: bool = False) -> None:
        self._value = value
        self.latest.put(value)
        for observer in self._observers:
            try:
                observer.seen(value, sweep)
            except Exception:
                log.exception("an observer failed")
        if stored:
            self._store.snapshot(value)
            self._stored = self._clock()


def open_nonce(slot: Slot) -> OpenNonce:
    """For people."""
    last = slot.last
    shown = slot.winner if slot.status is not Status.OPEN and slot.winner else last.hash
    return OpenNonce(
        nonce=slot.nonce,
        key=slot.key,
        status=slot.status.value,
        hash=shown,
        attempts=len(slot.attempts),
        max_fee_wei=last.fees.max_fee_wei,
        tip_wei=last.fees.tip_wei,
        since_block=slot.attempts[0].block,
        purpose=last.purpose,
    )


def buckets(passed: Iterable[Passed]) -> Mapping[str, BucketLine]:
    """Counts and lost profits by bucket."""
    counts: Counter[str] = Counter()
    profit: Counter[str] = Counter()
    for item in passed:
        counts[item.bucket.value] += 1
        profit[item.bucket.value] += item.profit_wad
    return {name: BucketLine(counts[name], profit[name]) for name in sorted(counts)}
