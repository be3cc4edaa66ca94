"""The loop with fakes in place of chain, scanner, planner and dispatcher: order of a turn, what it
does about every kind of failure, and that nothing is ever sent on what is not known.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from risk.exact.state import Feed, State, Underlying, World
from risk.keeper.act import Actions, budget, merged
from risk.keeper.book import Advance, Part, Prices
from risk.keeper.dispatch import Declined, Event, Fees, Verdict, What
from risk.keeper.dispatch.slots import CANCEL, INTENT, Attempt, Slot, Status
from risk.keeper.dispatch.spending import Spending
from risk.keeper.errors import BalanceTooLow, Divergence, KeeperError, StateError, Transient
from risk.keeper.loop import FAULTS, Loop
from risk.keeper.parts import Parts, Settings
from risk.keeper.ports import Bucket, Costs, Outcome, Passed, Plan, Simulation, Sweep
from risk.keeper.purse import Purse
from risk.keeper.results import Paid
from risk.keeper.show import About, Board
from risk.keeper.snapshot import Snapshot
from risk.keeper.source import Block, Disagreement, StaleHead, Unreachable
from risk.keeper.store import Store, read_report, store_path
from risk.keeper.types import Head, Health, Intent, Reading, Way

WAD = 10**18
VAULT = "0x" + "0" * 38 + "aa"
VICTIM, FINE, LOST = 0xA00, 0xB00, 0xC00


def block(number: int, fork: str = "") -> Block:
    return Block(
        number, f"0x{number:064x}{fork}", f"0x{number - 1:064x}", 1_000 + 12 * number, 10**9, 0
    )


def reading(account: int, health: Health) -> Reading:
    return Reading(account, health, 90 * WAD, 100 * WAD, 120 * WAD, 1, 1_000)


def intent(account: int = VICTIM, way: Way = Way.SLICE, profit: int = 5 * WAD) -> Intent:
    return Intent(account, way, int(VAULT, 16), b"\x01", 500_000, 100, 7, WAD, profit, 1)


@dataclass
class World_:
    """Everything that the loop drives, and what it was asked, in order."""

    asked: list[str] = field(default_factory=list)
    heads: list[Any] = field(default_factory=list)  # blocks, or errors to raise
    prices_unknown: bool = False
    unhealthy: set[int] = field(default_factory=lambda: {VICTIM})
    scan_error: Exception | None = None
    plan_error: Exception | None = None
    tick_error: Exception | None = None
    submit_error: Exception | None = None
    reconcile_error: Exception | None = None
    intents: list[Intent] = field(default_factory=lambda: [intent()])
    outcome: Simulation = field(default_factory=lambda: Simulation(Outcome.OK, 50))
    declined: Declined | None = None
    events: list[Event] = field(default_factory=list)
    live: list[Slot] = field(default_factory=list)
    advances: list[Advance] = field(default_factory=list)
    budgets: list[int] = field(default_factory=list)
    planned: list[frozenset[int]] = field(default_factory=list)
    sent: list[Intent] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    wei: list[int] = field(default_factory=lambda: [WAD])  # what each endpoint says
    fees: Spending = field(default_factory=Spending)
    reason: str = ""  # why the day's fees hold the sending
    flagged: int = 0
    forgiven: int = 0
    parts: list[Part] = field(default_factory=list)
    paid: Paid | None = None
    first: bool | None = None
    at: Block | None = None
    on_end: Any = None
    _state: State = field(default_factory=lambda: State(owner=0, cash_token=0, cash_decimals=6))

    # source
    def head(self) -> Block:
        self.asked.append("head")
        if not self.heads:
            if self.on_end is not None:
                self.on_end()
            assert self.at is not None
            return self.at
        found = self.heads.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    # book
    @property
    def state(self) -> State:
        return self._state

    def start(self, head: Block, *, behind: int = 0) -> Advance:
        self.asked.append("start")
        self.at = head
        return Advance(head, rebuilt=True, touched=None, market=True)

    def advance(self, head: Block) -> Advance:
        self.asked.append("advance")
        self.at = head
        return Advance(head, applied=1, touched=frozenset({head.number}))

    def prices(self) -> Prices:
        self.asked.append("prices")
        feeds = {7: Feed(8, 3_000 * 10**8, 1_000)}
        return Prices(World(feeds=feeds), frozenset({0} if self.prices_unknown else ()))

    def reconcile(self, sample: int | None = None, *, margins: int = 0) -> object:
        self.asked.append(f"reconcile {sample}")
        if self.reconcile_error is not None:
            raise self.reconcile_error
        return "equal"

    def compare_part(self, count: int) -> Part:
        self.asked.append(f"part {count}")
        if self.reconcile_error is not None:
            raise self.reconcile_error
        return self.parts.pop(0) if self.parts else Part(1, 1, 1)

    # scanner
    def scan(self, state: State, prices: Prices, head: Head, advance: Advance) -> Sweep:
        self.asked.append("scan")
        self.advances.append(advance)
        if self.scan_error is not None:
            raise self.scan_error
        bad = {a: reading(a, Health.UNHEALTHY) for a in sorted(self.unhealthy)}
        unknown = {LOST: replace(reading(LOST, Health.UNKNOWN), reason="no price")}
        return Sweep(head, bad, unknown, {}, 10, 10)

    # planner
    def plan(
        self, state: State, prices: Prices, sweep: Sweep, costs: Costs, open_keys: frozenset[str]
    ) -> Plan:
        self.asked.append("plan")
        self.costs, self.open_keys = costs, open_keys
        self.planned.append(frozenset(sweep.unhealthy))
        if self.plan_error is not None:
            raise self.plan_error
        return Plan(sweep.head, tuple(self.intents), (Passed(LOST, Bucket.UNKNOWN, "no price"),))

    # simulator
    def check(self, wanted: Intent, head: Head) -> Simulation:
        self.asked.append("check")
        return self.outcome

    # dispatcher
    def is_open(self, key: str) -> bool:
        return any(s.key == key for s in self.live)

    def tick(self, head: Head | None = None) -> list[Event]:
        self.asked.append("tick")
        if self.tick_error is not None:
            raise self.tick_error
        events, self.events = self.events, []
        return events

    def submit(self, wanted: Intent, head: Head | None = None, *, budget_wei: int = 0) -> Verdict:
        self.asked.append("submit")
        if self.submit_error is not None:
            raise self.submit_error
        self.budgets.append(budget_wei)
        if self.declined is not None:
            return Verdict(self.declined)
        self.sent.append(wanted)
        return Verdict(None, 4, "0xdd", "accepted")

    def cancel(self, key: str, head: Head | None = None) -> Verdict:
        self.cancelled.append(key)
        return Verdict(None, 4, "0xee", "accepted")

    def spending(self, head: Head) -> Spending:
        return self.fees

    def held(self, head: Head) -> str:
        return self.reason

    def flag_wei(self, account: int, head: Head) -> int:
        return self.flagged

    def forgive(self, head: Head) -> None:
        self.forgiven = head.number

    # results
    def of(self, event: Event, wanted: Intent) -> Paid | None:
        return self.paid

    def rival(self, event: Event, account: int) -> bool | None:
        return self.first


class Seen:
    """An observer."""

    def __init__(self) -> None:
        self.all: list[tuple[Snapshot, Sweep | None]] = []

    def seen(self, snapshot: Snapshot, sweep: Sweep | None) -> None:
        self.all.append((snapshot, sweep))


@dataclass
class Bench:
    """A loop over a `World_`."""

    world: World_
    loop: Loop
    board: Board
    store: Store
    seen: Seen
    path: Path

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.board.counters)


def bench(folder: Path, world: World_, *, live: bool = True, **settings: Any) -> Bench:
    path = store_path(folder, 5, VAULT, live=live)
    store = Store(path, chain_id=5, vault=VAULT)
    seen = Seen()

    def slots() -> Sequence[Slot]:
        return world.live

    about = About(5, VAULT, "0xbb", live, 60.0)
    board = Board(about, store, observers=[seen], slots=slots)
    least = settings.pop("min_balance_wei", 0)
    purse = Purse(
        world,
        lambda: world.wei,
        endpoints=len(world.wei),
        least_wei=least,
        resume=folder / "resume",
    )
    parts = Parts(
        source=world,
        book=world,
        scanner=world,
        planner=world,
        simulator=world,
        sender=world if live else None,
        purse=purse if live else None,
        tip=lambda: 10**9,
    )
    actions = Actions(
        world, world if live else None, store, board.counters, results=world, slots=slots
    )
    given = {"poll_seconds": 0.001, "retry_cap_seconds": 0.002, "native_wad": 2_000 * WAD}
    loop = Loop(parts, Settings(**{**given, **settings}), board, actions)
    world.on_end = loop.stop
    return Bench(world, loop, board, store, seen, path)


def ran(folder: Path, world: World_, **options: Any) -> Bench:
    """To the end of the heads."""
    made = bench(folder, world, **options)
    made.loop.run()
    return made


# ── a turn ───────────────────────────────────────────────────────────────────────────────────────


def test_the_order_of_a_turn(tmp_path: Path) -> None:
    world = World_(heads=[block(1)])
    made = ran(tmp_path, world)
    assert world.asked[:9] == [
        "head",
        "tick",
        "start",
        "prices",
        "scan",
        "plan",
        "check",
        "submit",
        "reconcile 200",
    ]
    assert world.sent == [intent()]
    assert world.costs == Costs(10**9 * 9 // 8 + 10**9, 2_000 * WAD)
    # 6 of cash at 2000 a native token: the transaction may not cost more than it brings
    assert world.budgets == [6 * WAD // 2_000]
    last = made.seen.all[-1][0]
    assert last.stopped == "it was asked to" and last.live
    full = next(s for s, sweep in made.seen.all if sweep is not None)
    assert (full.accounts.unhealthy, full.accounts.unknown, full.accounts.total) == (1, 1, 10)
    assert full.buckets["unknown"].count == 1
    assert [e.status for e in full.endangered] == ["unhealthy", "unknown"]
    report = read_report(made.path, chain_id=5, vault=VAULT)
    assert report.intents[0]["verdict"] == "sent"
    assert {r.account for r in report.readings} == {VICTIM, LOST}


def test_a_dry_run_never_ticks_nor_submits(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(2)])
    made = ran(tmp_path, world, live=False)
    assert not {"tick", "submit"} & set(world.asked)
    assert made.counters["dry_run_intents_total"] == 2
    assert made.counters["heads_total"] == 2


def test_the_same_head_is_worked_on_once(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(1), block(1), block(2)])
    made = ran(tmp_path, world)
    assert world.asked.count("scan") == 2
    assert made.counters["heads_total"] == 2


def test_once_ends_after_the_first_finished_turn(tmp_path: Path) -> None:
    world = World_(heads=[Unreachable("a", "gone"), block(1), block(2)])
    made = bench(tmp_path, world)
    made.loop.run(once=True)
    assert world.asked.count("scan") == 1 and len(world.heads) == 1


@pytest.mark.parametrize(
    ("outcome", "bucket"),
    [
        (Outcome.HEALTHY, "healthy_at_live_prices"),
        (Outcome.TAKEN, "healthy_at_live_prices"),
        (Outcome.BOUND, "simulation_refused"),
        (Outcome.LIQUIDATOR, "liquidator_too_small"),
        (Outcome.GRACE, "in_grace"),
        (Outcome.REVERTED, "simulation_refused"),
        (Outcome.UNAVAILABLE, "unknown"),
    ],
)
def test_H63_only_a_good_simulation_is_sent(tmp_path: Path, outcome: Outcome, bucket: str) -> None:
    world = World_(heads=[block(1)], outcome=Simulation(outcome, detail="why"))
    made = ran(tmp_path, world)
    assert not world.sent
    assert made.counters[f"simulations_{outcome.name.lower()}_total"] == 1
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert bucket in shown.buckets
    victim = next(e for e in shown.endangered if e.account == f"{VICTIM:#044x}")
    assert "why" in victim.note


def test_a_declined_intent_is_counted_and_stays(tmp_path: Path) -> None:
    world = World_(heads=[block(1)], declined=Declined.TOO_EXPENSIVE)
    made = ran(tmp_path, world)
    assert made.counters["declined_too_expensive_total"] == 1
    assert "sent_total" not in made.counters


# ── what is not known ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "error", [Unreachable("a", "gone"), StaleHead("", "old"), Disagreement("", "0x1; 0x2")]
)
def test_H58_H59_without_a_head_nobody_is_healthy_and_nothing_is_sent(
    tmp_path: Path, error: Exception
) -> None:
    world = World_(heads=[block(1), error, error])
    made = ran(tmp_path, world)
    assert world.asked.count("tick") == 1 and len(world.sent) == 1
    failed = [s for s, _ in made.seen.all if s.suspended.startswith(type(error).__name__)]
    assert len(failed) >= 2
    shown = failed[0]
    assert (shown.accounts.total, shown.accounts.unknown, shown.accounts.healthy) == (10, 10, 0)
    victim = next(e for e in shown.endangered if e.account == f"{VICTIM:#044x}")
    assert victim.status == "unknown" and victim.equity_wad == 90 * WAD
    assert victim.age_seconds > 0 and str(error) in victim.reason
    assert made.counters[f"errors_{type(error).__name__}_total"] == 2
    assert shown.head is not None and shown.head.number == 1


def test_H58_too_long_without_a_head(tmp_path: Path) -> None:
    world = World_(heads=[block(1), *[Unreachable("a", "gone")] * 500])
    made = bench(tmp_path, world, give_up_seconds=0.02)
    with pytest.raises(Transient, match="no usable head") as caught:
        made.loop.run()
    assert caught.value.exit_code == 75
    assert "Transient" in made.seen.all[-1][0].stopped


def test_unreadable_nonces_suspend_sending_only(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(1)], tick_error=Transient("no count"))
    made = ran(tmp_path, world)
    assert world.asked.count("scan") == 3, "the head is worked on again"
    assert "submit" not in world.asked and "check" not in world.asked
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert shown.accounts.unhealthy == 1 and "no count" in shown.suspended


def test_a_sending_that_fails_suspends_the_rest_of_the_turn(tmp_path: Path) -> None:
    world = World_(
        heads=[block(1), block(1)],
        intents=[intent(), intent(FINE)],
        submit_error=Transient("who knows"),
    )
    made = ran(tmp_path, world)
    assert world.asked.count("submit") == 2, "one each turn, and the turn is repeated"
    shown = [s for s, sweep in made.seen.all if sweep is not None]
    assert all("who knows" in s.suspended for s in shown[:2])


def test_pauses_grow_with_failures_and_are_random(tmp_path: Path) -> None:
    made = bench(tmp_path, World_(), poll_seconds=1.0, retry_cap_seconds=8.0)
    assert made.loop._pause() == 1.0
    pauses = []
    for failures in (1, 2, 3, 10):
        made.loop._failures = failures
        drawn = [made.loop._pause() for _ in range(300)]
        assert len(set(drawn)) > 200
        pauses.append(max(drawn))
    assert pauses[0] <= 2.0 < pauses[1] <= 4.0 < pauses[2] <= 8.0 and pauses[3] <= 8.0


def test_a_scan_that_failed_sees_everything_that_changed(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(2)])
    made = bench(tmp_path, world)
    error = Unreachable("a", "gone")
    prices = world.prices
    calls = []

    def failing() -> Prices:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return prices()

    world.prices = failing  # type: ignore[method-assign]
    world.heads.append(block(3))
    made.loop.run()
    # block 2 was applied, its scan never ran: the scan of block 3 is told of both
    assert world.advances[-1].touched == frozenset({2, 3}) and world.advances[-1].applied == 2


@pytest.mark.parametrize("field_name", ["scan_error", "plan_error"])
def test_a_defect_makes_everybody_unknown_and_ends_the_keeper_in_time(
    tmp_path: Path, field_name: str
) -> None:
    world = World_(heads=[block(i) for i in range(1, 20)])
    setattr(world, field_name, ZeroDivisionError("a bug"))
    made = bench(tmp_path, world)
    with pytest.raises(KeeperError, match="a bug") as caught:
        made.loop.run()
    assert caught.value.exit_code == 1
    assert not world.sent
    assert world.asked.count("scan") == FAULTS
    if field_name == "scan_error":
        assert all(a.touched is None for a in world.advances[1:])
    assert made.seen.all[-1][0].accounts.healthy == 0


def test_gas_has_no_price_until_a_feed_has_said_one(tmp_path: Path) -> None:
    world = World_(heads=[block(1), block(2), block(3)], prices_unknown=True)
    world.state.underlyings.append(Underlying(feed=7, feed_decimals=8))
    made = bench(tmp_path, world, native_wad=None, native_underlying=0)
    head = world.head

    def next_head() -> Block:
        found = head()
        world.prices_unknown = found.number != 2
        return found

    world.head = next_head  # type: ignore[method-assign]
    made.loop.run()
    suspended = [s.suspended for s, sweep in made.seen.all if sweep is not None]
    assert "price of the native token" in suspended[0]
    assert world.costs.native_wad == 3_000 * WAD, "block 3 plans with the last known price"
    assert len(world.sent) == 2


# ── what ends a keeper ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"reconcile_error": Divergence("cash is 1 in the book and 2 on the chain")}, Divergence),
        ({"tick_error": StateError("journal")}, StateError),
        ({"submit_error": BalanceTooLow("poor", 9), "wei": [8, 8]}, BalanceTooLow),
        ({"scan_error": Divergence("both values")}, Divergence),
        ({"wei": [5, 5]}, BalanceTooLow),
    ],
)
def test_H64_H65_what_ends_a_keeper(
    tmp_path: Path, change: dict[str, Any], error: type[KeeperError]
) -> None:
    world = World_(heads=[block(1), block(2)], **change)
    made = bench(tmp_path, world, min_balance_wei=6)
    with pytest.raises(error) as caught:
        made.loop.run()
    assert str(caught.value) in made.seen.all[-1][0].stopped
    assert world.asked.count("head") == 1
    report = read_report(made.path, chain_id=5, vault=VAULT)
    assert report.snapshot is not None and report.snapshot.stale()
    assert report.errors[0]["message"] == str(caught.value)


def test_reconciliation_at_its_intervals(tmp_path: Path) -> None:
    world = World_(heads=[block(i) for i in range(1, 13)], unhealthy=set())
    world.parts = [Part(11, 1_000, 2_500), Part(11, 2_000, 2_500), Part(11, 2_500, 2_500)]
    made = ran(tmp_path, world, reconcile_every_blocks=5, full_reconcile_every_blocks=8)
    done = [a for a in world.asked if a.startswith(("head", "reconcile", "part"))]
    at = {i: a for i, a in enumerate(" ".join(done).split("head")) if a.strip()}
    sample, part = " reconcile 200 ", " part 1000 "
    assert at == {1: sample, 6: sample, 9: part, 10: part, 11: sample[:-1] + part}
    assert made.counters["full_reconciliations_total"] == 1
    assert made.counters["reconciliations_total"] == 3


def test_a_part_that_cannot_be_read_is_taken_again(tmp_path: Path) -> None:
    world = World_(heads=[block(i) for i in range(1, 6)], unhealthy=set())
    made = bench(tmp_path, world, full_reconcile_every_blocks=2)
    part = world.compare_part

    def failing(count: int) -> Part:
        if len([a for a in world.asked if a == "part 1000"]) == 0:
            world.asked.append("part 1000")
            raise Unreachable("a", "gone")
        return part(count)

    world.compare_part = failing  # type: ignore[method-assign]
    made.loop.run()
    assert made.counters["heads_total"] == 5
    assert made.counters["full_reconciliations_total"] >= 1
    assert made.counters["errors_Unreachable_total"] == 1


def test_a_reconciliation_that_cannot_be_read_is_done_again(tmp_path: Path) -> None:
    world = World_(
        heads=[block(1), block(2)], unhealthy=set(), reconcile_error=Unreachable("a", "gone")
    )
    made = ran(tmp_path, world)
    assert world.asked.count("reconcile 200") == 2
    assert made.counters["heads_total"] == 2


def test_H64_stop_finishes_the_step(tmp_path: Path) -> None:
    world = World_(heads=[block(1)], intents=[intent(), intent(FINE)])
    made = bench(tmp_path, world)
    submit = world.submit

    def stopping(wanted: Intent, head: Head | None = None, *, budget_wei: int = 0) -> Verdict:
        threading.Thread(target=made.loop.stop).run()
        return submit(wanted, head, budget_wei=budget_wei)

    world.submit = stopping  # type: ignore[method-assign]
    made.loop.run()
    assert world.sent == [intent()], "what was begun is done, nothing new is begun"
    assert made.seen.all[-1][0].stopped == "it was asked to"


def test_an_observer_that_fails_harms_nobody(tmp_path: Path) -> None:
    world = World_(heads=[block(1)])
    made = bench(tmp_path, world)

    def failing(snapshot: Snapshot, sweep: Sweep | None) -> None:
        raise RuntimeError("of the monitor")

    made.seen.seen = failing  # type: ignore[method-assign]
    made.loop.run()
    assert world.sent


# ── what became of it ────────────────────────────────────────────────────────────────────────────


def slot(key: str, *, purpose: str = INTENT, status: Status = Status.OPEN) -> Slot:
    made = Slot(4, key, VAULT, b"\x01", 500_000, WAD, status=status)
    made.attempts.append(Attempt("0xdd", b"", purpose, 500_000, Fees(10, 1), 1))
    return made


@pytest.mark.parametrize(
    ("actual", "result"),
    [
        (Paid(50), "as_simulated"),
        (Paid(49), "cheaper"),
        (Paid(99), "dearer"),
        (Paid(101), "beyond_bound"),
        (None, "unmeasured"),
    ],
)
def test_H63_a_mined_intent_is_compared_with_what_was_expected(
    tmp_path: Path, actual: Paid | None, result: str
) -> None:
    world = World_(heads=[block(1), block(2)], paid=actual)
    made = bench(tmp_path, world)
    tick = world.tick

    def mined(head: Head | None = None) -> list[Event]:
        assert head is not None
        found = tick(head)
        if head.number == 2:
            found.append(Event(What.MINED, intent().key, 4, "0xdd", 2, 777))
            found.append(Event(What.CLOSED, intent().key, 4, "0xdd", 2, 777))
        return found

    world.tick = mined  # type: ignore[method-assign]
    made.loop.run()
    assert made.counters[f"results_{result}_total"] == 1
    assert made.counters["gas_spent_wei_total"] == 777
    report = read_report(made.path, chain_id=5, vault=VAULT)
    assert [i["result"] for i in report.intents] == ["", result]


def test_H63_mined_but_reverted(tmp_path: Path) -> None:
    world = World_(heads=[block(1)])
    made = ran(tmp_path, world)
    world.heads = [block(2)]
    world.outcome = Simulation(Outcome.HEALTHY)
    world.events = [Event(What.REVERTED, intent().key, 4, "0xdd", 2, 5)]
    made.loop._stop.clear()
    made.loop.run()
    assert made.counters["results_reverted_healthy_total"] == 1


def lose(made: Bench, world: World_, number: int, others: list[Intent]) -> None:
    """At head ``number`` it turns out that somebody else was first."""
    world.heads = [block(number)]
    world.events = [Event(What.REVERTED, intent().key, 4, "0xdd", number, 5)]
    world.intents, world.asked = others, []
    made.loop._stop.clear()
    made.loop.run()


@pytest.mark.parametrize("first", [True, False, None])
def test_after_a_lost_race_the_account_rests(tmp_path: Path, first: bool | None) -> None:
    world = World_(heads=[block(1)], unhealthy={VICTIM, FINE}, first=first)
    made = ran(tmp_path, world)
    lose(made, world, 2, [intent(FINE)])
    lost = made.counters.get("results_lost_race_total", 0)
    assert lost == int(first is True)
    for number in (3, 4, 5):
        world.heads = [block(number)]
        made.loop._stop.clear()
        made.loop.run()
    both = frozenset({VICTIM, FINE})
    rested = [frozenset({FINE})] * 3 if first else [both] * 3  # heads 2, 3, 4
    assert world.planned == [both, *rested, both]
    if first:
        notes = [e.note for s, sweep in made.seen.all if sweep is not None for e in s.endangered]
        assert "somebody else was first, again at block 5" in notes


def test_it_does_not_rest_where_nothing_else_is_left(tmp_path: Path) -> None:
    """Neither alone, nor where the others get no transaction."""
    for case, others in enumerate([{VICTIM}, {VICTIM, FINE}]):
        world = World_(heads=[block(1)], unhealthy=others, first=True)
        made = ran(tmp_path / str(case), world)
        lose(made, world, 2, [])
        assert world.planned[1:] == [frozenset(others - {VICTIM}), frozenset(others)]


def test_what_the_pool_takes_is_left_at_one_head(tmp_path: Path) -> None:
    world = World_(heads=[block(1)])
    made = bench(tmp_path, world)
    made.loop._actions._pool = lambda _: Simulation(Outcome.TAKEN, detail="in the pool: x")
    made.loop.run()
    assert not world.sent and made.counters["left_to_the_pool_total"] == 1
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert shown.buckets["open"].count == 1
    world.heads = [block(2)]
    made.loop._stop.clear()
    made.loop.run()
    assert world.sent == [intent()]  # still there: nothing in a pool protects him


@pytest.mark.parametrize("says", [Outcome.OK, Outcome.UNAVAILABLE])
def test_a_pool_that_says_nothing_changes_nothing(tmp_path: Path, says: Outcome) -> None:
    world = World_(heads=[block(1)])
    made = bench(tmp_path, world)
    made.loop._actions._pool = lambda _: Simulation(says)
    made.loop.run()
    assert world.sent == [intent()]


@pytest.mark.parametrize(
    ("unhealthy", "outcome", "purpose", "cancels"),
    [
        (set(), Outcome.HEALTHY, INTENT, True),
        (set(), Outcome.OK, INTENT, False),
        (set(), Outcome.UNAVAILABLE, INTENT, False),
        ({VICTIM}, Outcome.HEALTHY, INTENT, False),
        (set(), Outcome.HEALTHY, CANCEL, False),
    ],
)
def test_a_nonce_whose_account_recovered_is_cancelled(
    tmp_path: Path, unhealthy: set[int], outcome: Outcome, purpose: str, cancels: bool
) -> None:
    world = World_(heads=[block(1)], unhealthy=unhealthy, intents=[], outcome=Simulation(outcome))
    world.live = [slot(intent().key, purpose=purpose), slot("fill:9")]
    ran(tmp_path, world)
    assert world.cancelled == ([intent().key] if cancels else [])


def test_an_account_of_unknown_health_keeps_its_transaction(tmp_path: Path) -> None:
    world = World_(
        heads=[block(1)], unhealthy=set(), intents=[], outcome=Simulation(Outcome.HEALTHY)
    )
    world.live = [slot(intent(LOST).key)]
    ran(tmp_path, world)
    assert world.cancelled == []


def test_open_keys_reach_the_planner(tmp_path: Path) -> None:
    world = World_(heads=[block(1)])
    world.live = [slot(intent().key), slot(intent(FINE).key)]
    made = ran(tmp_path, world)
    assert world.open_keys == {intent().key}
    shown = next(s for s, sweep in made.seen.all if sweep is not None)
    assert [n.key for n in shown.nonces] == [intent().key, intent(FINE).key]


def test_budgets() -> None:
    costs = Costs(1, 2_000 * WAD)
    assert budget(intent(profit=5 * WAD), costs) == 6 * WAD // 2_000
    assert budget(intent(way=Way.FLAG, profit=-WAD), costs) == 0, "the policy's own limit"
    assert budget(intent(), Costs(1, 0)) == 0


def test_merging_advances() -> None:
    one = Advance(block(1), 1, 2, False, frozenset({1}), False)
    two = Advance(block(2), 3, 0, True, frozenset({2}), True)
    assert merged(one, two) == Advance(block(2), 4, 2, True, frozenset({1, 2}), True)
    assert merged(None, one) is one
    assert merged(replace(one, touched=None), two).touched is None
