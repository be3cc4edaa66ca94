"""Each planted fault is found within the runner's first 200 cases, and nothing is found without
one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from risk.diff.adapter import Observation
from risk.diff.compare import compare
from risk.diff.plumbline.cases import MarginCase
from risk.diff.plumbline.faults import FAULTS, Fault, planted
from risk.diff.plumbline.target import PlumblineTarget

pytestmark = pytest.mark.chain
SEED = 1
LIMIT = 200
SUBJECTS = {
    "rounding",
    "sign",
    "lane",
    "weight",
    "epoch",
    "haircut",
    "floor",
    "bucket",
    "Liq",
    "fraction",
}


class Recorded:
    """Cases and what the chain says of them, evaluated once and only as far as a test needs."""

    def __init__(self, target: PlumblineTarget) -> None:
        self.target = target
        self.done: list[tuple[MarginCase, Observation]] = []

    def __iter__(self) -> Iterator[tuple[MarginCase, Observation]]:
        for index in range(LIMIT):
            if index == len(self.done):
                case = self.target.make_case(SEED, index)
                self.done.append((case, self.target.case_on_chain(case)))
            yield self.done[index]


@pytest.fixture(scope="module")
def recorded(target: PlumblineTarget) -> Recorded:
    whole = Recorded(target)
    for _ in zip(range(60), whole, strict=False):  # cases are made before any fault is planted
        pass
    return whole


def test_the_issues_subjects_are_all_covered() -> None:
    assert {fault.subject for fault in FAULTS} >= SUBJECTS
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 12


def test_nothing_is_found_without_a_fault(recorded: Recorded) -> None:
    for case, chain in recorded.done:
        assert compare(recorded.target.case_on_model(case), chain)[1] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault_is_found(recorded: Recorded, fault: Fault) -> None:
    for index, (case, chain) in enumerate(recorded):
        with planted(fault):
            mismatches = compare(recorded.target.case_on_model(case), chain)[1]
        if mismatches:
            assert index < LIMIT
            return
    pytest.fail(f"{fault.name} was not found in {LIMIT} cases")
