"""Accounts that can never be taken must not keep the others out of sight."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from risk.exact.state import State
from risk.keeper.book import Advance, Prices
from risk.keeper.ports import Bucket, Costs, Outcome, Passed, Plan, Simulation, Sweep
from risk.keeper.rest import LONGEST, PATIENCE
from risk.keeper.types import Head, Intent
from tests.attacks.scene import model_market
from tests.keeper.planner_scene import LONG, PERP, WAD, Keeper, at_health, bucket, settle_in
from tests.keeper.test_loop import VICTIM, World_, block, intent, ran

SMALL = {"linear": [(PERP, WAD // 100, -30 * WAD)]}
WHALES = [(0xCAFE + n) << 8 for n in range(4)]
WEAK = 0xBEEF << 8


def test_those_who_promise_much_and_cannot_be_taken_leave_room_to_look_at_others() -> None:
    """Four large accounts wait for their grace; a small one, flagged long ago, could be taken."""
    m = model_market()
    settle_in(m, grace_seconds=3_600, emergency_bps=0)
    for whale in WHALES:
        at_health(m, whale, 94 * WAD // 100, **LONG)
    at_health(m, WEAK, 94 * WAD // 100, **SMALL)
    now = m.world.timestamp
    accounts = m.state.accounts
    for whale in WHALES:
        accounts[whale] = replace(accounts[whale], flagged_at=now)
    accounts[WEAK] = replace(accounts[WEAK], flagged_at=now - 7_200)
    k = Keeper(m, max_examined=2)
    first = k.plan()
    assert bucket(first, WEAK) is Bucket.LATER  # promises least
    for _ in range(4):
        plan = k.plan()
        if plan.intents:
            break
    assert [i.account for i in plan.intents] == [WEAK]
    assert any(p.bucket is Bucket.IN_GRACE for p in plan.passed)


class Poisoned(World_):
    """One place a head; the model offers ``VICTIM`` first, the chain always refuses it."""

    def plan(
        self, state: State, prices: Prices, sweep: Sweep, costs: Costs, open_keys: frozenset[str]
    ) -> Plan:
        self.asked.append("plan")
        first, *later = sorted(sweep.unhealthy)
        return Plan(sweep.head, (intent(first),), tuple(Passed(a, Bucket.LATER) for a in later))

    def check(self, wanted: Intent, head: Head) -> Simulation:
        if wanted.account == VICTIM:
            return Simulation(Outcome.REVERTED, detail="out of gas")
        return Simulation(Outcome.OK, 50)

    def advance(self, head: Head) -> Advance:  # type: ignore[override]
        return Advance(head, applied=1)


def test_a_refusal_that_never_ends_gives_its_place_to_others(tmp_path: Path) -> None:
    other = VICTIM + 1
    heads = 40
    world = Poisoned(heads=[block(n) for n in range(1, heads + 1)], unhealthy={VICTIM, other})
    made = ran(tmp_path, world)
    assert {i.account for i in world.sent} == {other}
    refused = made.counters["simulations_reverted_total"]
    assert PATIENCE <= refused <= heads - 2 * LONGEST  # it is still tried now and then
    assert len(world.sent) == heads - refused
