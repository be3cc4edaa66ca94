"""Each fault that only actions show is found by the runner's sequences, and the sequences that find
them find nothing without one (tests/diff/test_runner.py, ``make verify``).
"""

from __future__ import annotations

import pytest

from risk.diff.coverage import Tally
from risk.diff.plumbline.faults import FAULTS, Fault, planted
from risk.diff.plumbline.sequence_faults import SEQUENCE_FAULTS
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan, run_sequence

pytestmark = pytest.mark.chain
PLAN = Plan(seed=1, actions=60)
LIMIT = 80  # sequences, 4,800 actions

# where a fault is found late, the sequence to look at first: a matter of time only
FIRST = {
    "groups ignored": 14,
    "any collateral let in": 35,
    "a mixed book is for nobody": 50,
    "grace one second longer": 15,
    "insurance bucket ignored": 40,
    "haircut rounded down in ADL": 60,
    "left-over to the last": 53,
    "abandoned at once": 15,
}


def test_there_are_many_more() -> None:
    names = {fault.name for fault in (*FAULTS, *SEQUENCE_FAULTS)}
    assert len(names) == len(FAULTS) + len(SEQUENCE_FAULTS)
    assert len(SEQUENCE_FAULTS) >= 20
    assert len({fault.subject for fault in SEQUENCE_FAULTS}) >= 12


@pytest.mark.parametrize("fault", SEQUENCE_FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault_is_found(target: PlumblineTarget, fault: Fault) -> None:
    first = FIRST.get(fault.name, 0)
    for index in (first, *range(LIMIT)):
        tally = Tally()
        with planted(fault):
            agreed = run_sequence(target, PLAN, index, tally)
        if not agreed:
            (example,) = tally.counterexamples
            assert example.mismatches
            return
    pytest.fail(f"{fault.name} was not found in {LIMIT} sequences")
