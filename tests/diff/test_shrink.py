"""The shrinker on a toy contract with a planted fault, and on our vault with planted faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from risk.diff.adapter import Mismatch
from risk.diff.coverage import Tally
from risk.diff.findings import write_findings
from risk.diff.findings.adapter_replays import AdapterReplays, GivenReplays
from risk.diff.kit.adapter import Step
from risk.diff.kit.errors import DeployFailed, NotDeterministic
from risk.diff.plumbline.faults import planted
from risk.diff.plumbline.lone import Nowhere
from risk.diff.plumbline.replay import ModelPair, VaultReplays
from risk.diff.plumbline.sequence_faults import SEQUENCE_FAULTS
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan
from risk.diff.shrink import Budget, Failure, NothingToShrink, Shrunk, kind_of, shrink
from tests.diff.bank import bank_target

PLAN = Plan(seed=1, actions=60)


# ── the search alone, on steps that are numbers ──────────────────────────────────────────────────


class Numbers:
    """Steps are (wait, number). Fails where the numbers contain ``needed`` in this order and the
    time until then is at least ``time``; replays are counted.
    """

    def __init__(self, needed: Sequence[int], time: int = 0) -> None:
        self.needed, self.time = list(needed), time
        self.steps = [(2, n) for n in Random(5).sample(range(100, 900), 57)]
        for place, number in zip((9, 31, 55), self.needed, strict=False):
            self.steps.insert(place, (2, number))

    def record(self, plan: Plan, index: int) -> tuple[int, list[tuple[int, int]]]:
        del plan, index
        return 8, list(self.steps)

    def replay(self, world: int, steps: Sequence[tuple[int, int]]) -> Failure | None:
        left, now = list(self.needed), 0
        for at, (wait, number) in enumerate(steps):
            now += wait
            if left and self.hits(number, left[0]):
                left.pop(0)
            if not left and now >= self.time and world >= 3:
                return Failure(at, (Mismatch(f"state.x[{at}]", 1, 2),))
        return None

    def hits(self, number: int, wanted: int) -> bool:
        return number == wanted

    def is_action(self, step: Any) -> bool:
        return bool(step)

    def waits(self, step: tuple[int, int]) -> int:
        return step[0]

    def with_wait(self, step: tuple[int, int], wait: int) -> tuple[int, int]:
        return wait, step[1]

    def numbers(self, step: tuple[int, int]) -> list[int]:
        return [step[1]]

    def with_number(self, step: tuple[int, int], position: int, value: int) -> tuple[int, int]:
        assert position == 0
        return step[0], value

    def others(self, world: int, steps: Sequence[Any]) -> Iterator[tuple[int, list[Any]]]:
        yield from ((smaller, list(steps)) for smaller in range(world))

    def instruments(self, world: int, steps: Sequence[Any]) -> int:
        return world

    def key(self, world: int, steps: Sequence[Any]) -> tuple[int, str]:
        return world, repr(list(steps))


def test_only_what_is_needed_stays() -> None:
    shrunk = shrink(Numbers([-1, -2, -3]), PLAN, 0)
    assert shrunk.steps == [(0, -1), (0, -2), (0, -3)]
    assert (shrunk.world, shrunk.recorded, shrunk.actions) == (3, 60, 3)
    assert shrunk.complete and shrunk.kind == "state.x[]"


def test_the_time_of_dropped_steps_is_kept_where_it_matters() -> None:
    shrunk = shrink(Numbers([-1], time=77), PLAN, 0)
    assert sum(wait for wait, _ in shrunk.steps) == 77
    assert len(shrunk.steps) == 1


@pytest.mark.parametrize("threshold", [1, 7, 1011, 65_537])
def test_a_threshold_is_found_to_the_last_unit(threshold: int) -> None:
    class Over(Numbers):
        def hits(self, number: int, wanted: int) -> bool:
            return number >= threshold

    target = Over([])
    target.needed, target.steps = [0], [(0, 123_456_789)]
    assert shrink(target, PLAN, 0).steps == [(0, threshold)]


def test_large_thresholds_end_at_a_round_number_near_it() -> None:
    class Over(Numbers):
        def hits(self, number: int, wanted: int) -> bool:
            return number <= -7_123_456_789_012_345_678

    target = Over([])
    target.needed, target.steps = [0], [(0, -987_654_321_098_765_432_109)]
    ((_, found),) = shrink(target, PLAN, 0).steps
    assert -2 * 7_123_456_789_012_345_678 < found <= -7_123_456_789_012_345_678
    assert str(found).rstrip("0").lstrip("-").__len__() <= 2


def test_the_budget_ends_the_search_with_what_it_has() -> None:
    shrunk = shrink(Numbers([-1, -2, -3]), PLAN, 0, Budget(replays=12))
    assert not shrunk.complete
    assert shrunk.replays <= 12 + 2  # the last two confirm the result
    assert 3 < len(shrunk.steps) < 60


def test_another_disagreement_is_not_accepted() -> None:
    """Without the first step the sequence fails too, but in another quantity."""

    class Two(Numbers):
        def replay(self, world: int, steps: Sequence[tuple[int, int]]) -> Failure | None:
            names = [number for _, number in steps]
            if -9 not in names:
                return None
            where = "state.fee[a]" if -1 in names else "state.total"
            return Failure(len(steps) - 1, (Mismatch(where, 1, 2),))

    shrunk = shrink(Two([-1, -9]), PLAN, 0)
    assert sorted(number for _, number in shrunk.steps) == [-9, -1]
    assert shrunk.kind == "state.fee[]"


def test_errors_of_the_tool_are_not_accepted() -> None:
    class Breaks(Numbers):
        def replay(self, world: int, steps: Sequence[tuple[int, int]]) -> Failure | None:
            if world < 5:
                raise DeployFailed("too small a world")
            return super().replay(world, steps)

    shrunk = shrink(Breaks([-1]), PLAN, 0)
    assert shrunk.world == 5 and shrunk.rejected >= 1


def test_disagreement_with_itself_is_reported() -> None:
    class Moody(Numbers):
        count = 0

        def replay(self, world: int, steps: Sequence[tuple[int, int]]) -> Failure | None:
            self.count += 1
            return Failure(0, (Mismatch("state.time", 1, self.count),))

    with pytest.raises(NotDeterministic, match=r"state\.time = 1 and 1; then .* 1 and 2"):
        shrink(Moody([-1]), PLAN, 0)


def test_agreement_is_nothing_to_shrink() -> None:
    with pytest.raises(NothingToShrink):
        shrink(Numbers([-1], time=10**6), PLAN, 0)


@pytest.mark.parametrize(
    "mismatch, kind",
    [
        (Mismatch("state.balance[0][alice]", 1, 2), "state.balance[][]"),
        (Mismatch("outcome.error", "", "Late"), "outcome.error: accepted, Late"),
        (Mismatch("outcome.error", "Poor", "Late"), "outcome.error: Poor, Late"),
        (Mismatch("invariant", "holds", "account 0xa1 owes 17"), "invariant: account # owes #"),
    ],
)
def test_kinds(mismatch: Mismatch, kind: str) -> None:
    assert kind_of(mismatch) == kind


# ── an adapter ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def faulty() -> Iterator[Any]:
    target = bank_target("faulty")
    target.open()
    yield target
    target.close()


def test_bank_with_a_planted_fault(faulty: Any) -> None:
    shrunk: Shrunk[Any, Step] = shrink(faulty, PLAN, 3)
    assert shrunk.recorded > 20 and shrunk.complete
    assert [step.kind for step in shrunk.steps] == ["put", "send"]
    assert [step.arguments[-1] for step in shrunk.steps] == [1, 1]
    assert {step.sender for step in shrunk.steps} == {"alice"} and shrunk.instruments == 1
    assert all(step.wait == 0 for step in shrunk.steps)
    assert shrunk.world["rates"] == [0]
    assert shrunk.rerun.endswith("--seed 1 --only-sequence 3 --actions 60")


def test_given_steps_replace_the_seed(faulty: Any) -> None:
    world = {"fee_bps": 30, "rates": [5, 6]}
    steps = [
        Step("put", "bob", (1, 10**20), 60),
        Step("grow", "carol", (0,), 9),
        Step("send", "bob", (1, "carol", 10**19 + 1), 7),
    ]
    shrunk = shrink(GivenReplays(faulty, world, steps), PLAN, 0)
    assert [step.kind for step in shrunk.steps] == ["put", "send"]
    assert replace(shrunk.steps[0], arguments=()) == Step("put", "alice")


def test_numbers_of_nested_arguments(faulty: Any) -> None:
    replays = AdapterReplays(faulty)
    step = Step("x", "bob", (1, (2, "bob", (3, True)), b"a", 4), value=9)
    assert list(replays.numbers(step)) == [9, 1, 2, 3, 4]
    assert replays.with_number(step, 3, 0).arguments == (1, (2, "bob", (0, True)), b"a", 4)
    assert replays.with_number(step, 0, 8).value == 8
    with pytest.raises(IndexError):
        replays.with_number(step, 5, 0)


# ── our vault ────────────────────────────────────────────────────────────────────────────────────

# fault -> sequence of seed 1 that finds it; docs/findings.md has what all of them shrink to
VAULT_FAULTS = {
    "fee rounded down": 4,
    "fee not credited": 4,
    "transfer mints a wei": 1,
    "withdrawal bucket never empties": 1,
    "funding with the other sign": 1,
}


@pytest.fixture(scope="module")
def nowhere() -> Nowhere:
    return Nowhere()


@pytest.fixture(scope="module")
def vault() -> Iterator[PlumblineTarget]:
    target = PlumblineTarget()
    target.open()
    yield target
    target.close()


@pytest.mark.chain
@pytest.mark.parametrize("name", VAULT_FAULTS)
def test_a_fault_of_the_vault(
    nowhere: Nowhere, vault: PlumblineTarget, tmp_path: Path, name: str
) -> None:
    """Found and shrunk between two models, then the same on the chain."""
    fault = next(f for f in SEQUENCE_FAULTS if f.name == name)
    shrunk = shrink(ModelPair(fault, nowhere), PLAN, VAULT_FAULTS[name], Budget(seconds=60))
    assert shrunk.recorded == 60
    assert shrunk.actions <= 4 and shrunk.instruments <= 3
    replays = VaultReplays(vault)
    assert replays.replay(shrunk.world, shrunk.steps) is None
    with planted(fault):
        failure = replays.replay(shrunk.world, shrunk.steps)
        assert failure is not None and shrunk.kind in failure.kinds
        paths = write_findings(tmp_path, replays, shrunk, Tally(), ["text", "pytest", "json"])
    assert [p.suffix for p in paths] == [".txt", ".py", ".json"]
    first = shrunk.mismatches[0]
    assert f"first diverging quantity  {first.where}" in paths[0].read_text()
    names: dict[str, Any] = {}
    exec(compile(paths[1].read_text(), str(paths[1]), "exec"), names)
    assert (names["WORLD"], names["STEPS"]) == (shrunk.world, shrunk.steps)


@pytest.mark.chain
def test_vault_sequences_replay_on_the_chain(vault: PlumblineTarget) -> None:
    """What is recorded on the chain is replayed there without a disagreement, all of it."""
    replays = VaultReplays(vault)
    world, steps = replays.record(Plan(seed=3, actions=25), 2)
    assert sum(map(replays.is_action, steps)) == 25
    assert replays.replay(world, steps) is None
