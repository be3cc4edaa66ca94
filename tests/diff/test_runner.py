"""The runner on a small scale, and what it promises about its own cases."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from risk.diff.compare import compare
from risk.diff.coverage import Tally
from risk.diff.plumbline.cases import make_case
from risk.diff.plumbline.session import VaultSession
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan, run, run_case, run_sequence
from risk.exact.margin import margin_engine

pytestmark = pytest.mark.chain
SEED = 20


def test_cases_agree(target: PlumblineTarget) -> None:
    tally = Tally()
    for index in range(40):
        run_case(target, SEED, index, tally)
    assert not tally.counterexamples
    assert tally.mismatches == 0
    assert tally.values_compared > 10_000
    assert tally.liquidations > 0
    assert tally.reverts["AccountHealthy"] > 0


def test_sequences_agree(target: PlumblineTarget) -> None:
    tally, plan = Tally(), Plan(seed=SEED, actions=24)
    for index in range(5):
        run_sequence(target, plan, index, tally)
    assert not tally.counterexamples
    assert tally.mismatches == 0
    assert tally.actions == 120
    refused = sum(n for kind, n in tally.action_kinds.items() if kind.endswith(":revert"))
    assert refused >= tally.actions // 4
    assert refused == tally.reverts_compared


def test_mix_is_what_the_issue_asks_for() -> None:
    cases = [make_case(SEED, index) for index in range(250)]
    tags: Counter[str] = Counter()
    for case in cases:
        tags.update(case.tags)
    share = {name: count / len(cases) for name, count in tags.items()}
    assert share[">= 16 instruments"] >= 0.30
    assert share[">= 64 instruments"] >= 0.10
    assert share[">= 3 underlyings held"] >= 0.50
    assert share["within 1e-6 of a boundary"] >= 0.25
    for k in (1, 31, 32, 33, 64):
        assert share[f"K = {k}"] > 0.05
    assert tags["positions: none"] > 0
    assert tags["positions: 128"] > 0


def test_boundary_cases_stand_where_their_tag_says() -> None:
    checked: Counter[str] = Counter()
    for index in range(120):
        case = make_case(SEED, index)
        if not case.boundary:
            continue
        margin = margin_engine.compute(case.state, case.account, case.state.accounts[case.account])
        assert case.state.params is not None
        goal = {
            "HF=1": margin.mm,
            "IM": margin.im,
            "target": margin.mm * case.state.params.target_bps / 10_000,
        }[case.boundary]
        assert abs(margin.equity - goal) <= max(3, goal * 1e-6)
        checked[case.boundary] += 1
    assert min(checked.values()) > 0
    assert len(checked) == 3


def test_same_seed_same_case() -> None:
    first, second = make_case(SEED, 3), make_case(SEED, 3)
    assert first.state == second.state
    assert first.world == second.world
    assert make_case(SEED, 4).state != first.state
    assert make_case(SEED + 1, 3).state != first.state


def test_same_seed_same_sequence(target: PlumblineTarget) -> None:
    def story(index: int) -> list[str]:
        session = target.start(SEED, index)
        rng = Random(1)
        lines = []
        for _ in range(8):
            action = session.propose(rng)
            lines.append(f"{action.describe()} {session.on_model(action)}")
            session.on_chain(action)
        return [hex(session.deployment.vault), *lines]

    assert story(0) == story(0)
    assert story(0) != story(1)


def test_a_difference_on_the_chain_is_a_readable_counterexample(target: PlumblineTarget) -> None:
    """The other way round: the model is right and the chain's storage is wrong by one wei."""

    class Wrong(PlumblineTarget):
        def __init__(self) -> None:
            self.__dict__.update(target.__dict__)

        def case_on_chain(self, case):  # type: ignore[no-untyped-def]
            state = case.state.clone()
            state.accounts[case.account].cash_wad += 1
            return target.case_on_chain(replace(case, state=state))

    tally = Tally()
    assert not run_case(Wrong(), SEED, 0, tally)
    (example,) = tally.counterexamples
    assert example.rerun == f"plumbline verify --seed {SEED} --only-case 0"
    cash = [m for m in example.mismatches if m.where.endswith("cashWad")]
    assert cash
    assert cash[0].difference == 1
    assert example.details


def test_compare_counts_missing_and_surplus_values() -> None:
    count, mismatches = compare({"a": 1, "b": True}, {"a": 1, "c": 3})
    assert count == 3
    assert [(m.where, m.model, m.chain) for m in mismatches] == [
        ("b", True, "(absent)"),
        ("c", "(absent)", 3),
    ]
    assert compare({"a": 1}, {"a": True})[1], "1 and True are different observations"


def test_two_workers_give_the_same_tally_as_one() -> None:
    one = run(PlumblineTarget, Plan(seed=SEED, cases=12, sequences=2, actions=6, workers=1))
    two = run(PlumblineTarget, Plan(seed=SEED, cases=12, sequences=2, actions=6, workers=2))
    assert one.summary() == two.summary()
    assert one.cases == 12
    assert one.sequences == 2


def test_invariants_notice_a_missing_wei(deployed: VaultSession) -> None:
    assert list(deployed.invariants()) == []
    account = next(a for a in deployed.state.accounts.values() if a.cash_wad > 0)
    account.cash_wad -= 1
    assert any("claims" in line for line in deployed.invariants())
