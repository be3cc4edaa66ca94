"""What sequences propose, what their invariants notice, and long runs; on the model alone where no
chain is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from risk.chain.node import project_root
from risk.diff.campaign import campaign
from risk.diff.coverage import GOAL, Tally, reached
from risk.diff.plumbline import reach, samples, seekers
from risk.diff.plumbline.chain import load_artifacts
from risk.diff.plumbline.lone import LoneSession, Nowhere
from risk.diff.plumbline.target import PlumblineTarget
from risk.diff.runner import Plan, run_alone
from risk.exact.state import Account, Linear

SEED = 5
SEQUENCES = 60


@pytest.fixture(scope="module")
def alone() -> PlumblineTarget:
    target = PlumblineTarget()
    target.open_alone()
    return target


@pytest.fixture(scope="module")
def tally(alone: PlumblineTarget) -> Tally:
    out, plan = Tally(), Plan(seed=SEED, actions=60, alone=True)
    for index in range(SEQUENCES):
        run_alone(alone, plan, index, out)
    return out


@pytest.fixture
def session() -> LoneSession:
    """A vault with positions, some twenty actions in."""
    nowhere = Nowhere()
    for index in range(50):
        out, rng = LoneSession(nowhere, SEED, index), Random(index)
        for _ in range(20):
            out.on_model(out.propose(rng))
        if sum(bool(a.linear) for a in out.state.accounts.values()) >= 2:
            assert list(out.invariants()) == []
            return out
    raise AssertionError("no sequence opens perps or futures")


# ── what is proposed ─────────────────────────────────────────────────────────────────────────────


def test_the_model_breaks_no_invariant(tally: Tally) -> None:
    assert tally.counterexamples == []
    assert tally.actions == SEQUENCES * 60


def test_every_function_is_called_and_most_succeed(tally: Tally) -> None:
    wanted = {
        name.removeprefix("call:")
        for name in reach.goals(load_artifacts(project_root()))
        if name.startswith("call:")
    }
    views = {"explain", "scenarioArray"}  # asked by the account-level cases
    assert wanted - views - set(tally.calls) - _sampled() == set()
    kinds = Counter(k.split(":")[0] for k in tally.action_kinds)
    assert len(kinds) >= 30
    accepted = sum(n for k, n in tally.action_kinds.items() if k.endswith(":ok"))
    assert 0.4 < accepted / tally.actions < 0.8


def test_groups_are_met_often(tally: Tally) -> None:
    """In a quarter of the worlds; as often as a goal of a full run."""
    assert tally.reverts["MixedGroups"] >= GOAL


def _sampled() -> set[str]:
    """Views that the comparison with a chain reads."""
    out, nowhere = set(), Nowhere()
    for index in range(12):
        session, rng = LoneSession(nowhere, SEED, index), Random(index)
        for _ in range(60):
            session.on_model(session.propose(rng))
            out |= {name.removeprefix("view.") for name, _, _ in samples.of(session)}
    return out


def test_most_errors_are_reached_in_a_few_sequences(tally: Tally) -> None:
    aimed = set(seekers.RECIPES)
    met = aimed & set(tally.reverts)
    assert len(met) >= 0.9 * len(aimed), sorted(aimed - met)


def test_worlds_with_and_without_features() -> None:
    """A share of the worlds has everything off, and every field of the tail is on in some."""
    nowhere, on, off = Nowhere(), Counter[str](), 0
    for index in range(60):
        tail = LoneSession(nowhere, SEED, index).deployment.spec.params.tail
        names = [name for name, value in vars(tail).items() if value]
        on.update(names)
        off += not names
    assert off >= 3
    assert set(on) == set(vars(tail))


def test_an_action_can_be_tried_without_doing_it(session: LoneSession) -> None:
    before = session.state.clone()
    rng = Random(3)
    answers = {session.outcome_of(session.propose(rng)) for _ in range(30)}
    assert session.state == before
    assert "" in answers
    assert len(answers) > 3


# ── what the invariants notice ───────────────────────────────────────────────────────────────────


def _complaints(session: LoneSession, word: str) -> bool:
    return any(word in line for line in session.invariants())


def test_a_wei_of_quote_from_nowhere(session: LoneSession) -> None:
    number, account = next((n, a) for n, a in session.state.accounts.items() if a.linear)
    first = account.linear[0]
    entry = replace(first, quote_wad=first.quote_wad + 10**7)
    session.state.accounts[number] = replace(account, linear=[entry, *account.linear[1:]])
    assert _complaints(session, "exceed pool and debts")


def test_a_vanished_quote(session: LoneSession) -> None:
    number, account = next((n, a) for n, a in session.state.accounts.items() if a.linear)
    first = account.linear[0]
    entry = replace(first, quote_wad=first.quote_wad - 10**7)
    session.state.accounts[number] = replace(account, linear=[entry, *account.linear[1:]])
    assert _complaints(session, "lost")


def test_a_position_without_its_other_side(session: LoneSession) -> None:
    number, account = next((n, a) for n, a in session.state.accounts.items() if a.linear)
    ghost = Linear(account.linear[0].instrument, account.linear[0].size_wad + 5, 0)
    session.state.accounts[number] = replace(account, linear=[ghost, *account.linear[1:]])
    assert _complaints(session, "sum to")
    session.state.accounts[number] = replace(account, linear=[*account.linear, account.linear[0]])
    assert _complaints(session, "holds an instrument twice")


def test_open_interest_of_one_instrument(session: LoneSession) -> None:
    item = next(i for i, units in session.state.open_interest.items() if units)
    session.state.open_interest[item] -= 1
    assert _complaints(session, f"open interest of {item:#010x}")


def test_flags_and_indices(session: LoneSession) -> None:
    number = next(iter(session.state.accounts))
    account = session.state.accounts[number]
    session.state.accounts[number] = replace(account, flagged_at=session.now + 1)
    assert _complaints(session, "flagged in the future")
    session.state.accounts[number] = replace(account, cash_wad=0, interest_index=10**15)
    assert _complaints(session, "index without cash")
    session.state.deferred = [number]
    assert _complaints(session, "still deferred")


def test_time_and_indices_only_move_forward(session: LoneSession) -> None:
    assert session.on_model(session.proposer.accrual(5)).ok
    assert list(session.invariants()) == []
    session.state.supply_index_e15 -= 1
    assert _complaints(session, "supply index fell")
    session.state.supply_index_e15 += 1
    session.state.underlyings[0].epoch -= 1
    assert _complaints(session, "epoch of underlying 0 moved back")


def test_nobody_falls_below_initial_margin_by_an_action(session: LoneSession) -> None:
    """A withdrawal that forgets the check (the ATTACKS B10 kind) is noticed."""
    vault, rng = session.vault, Random(2)
    for _ in range(200):
        owing = [
            n
            for n in session.state.accounts
            if (m := session.proposer._margin(n)) is not None
            and m.has_obligations
            and m.equity > m.im > 0
        ]
        if owing:
            break
        session.on_model(session.propose(rng))
    number = owing[0]
    session.on_model(session.proposer.accrual(1))
    account = session.state.accounts[number]
    gone = session.proposer._margin(number)
    assert gone is not None
    taken = gone.equity - gone.im + 10**6
    session.state.accounts[number] = replace(account, cash_wad=account.cash_wad - taken)
    vault.state.insurance_wad += taken
    assert _complaints(session, "fell below initial margin")


def test_a_stranger_who_moves_money_is_noticed(session: LoneSession) -> None:
    number = next(n for n, a in session.state.accounts.items() if a.cash_wad > 10**18)
    action = session.proposer.make.deposit(number ^ 1, session.deployment.cash, 1)
    assert session.on_model(action).ok
    assert list(session.invariants()) == []
    other = next(n for n in session.state.accounts if n >> 8 != number >> 8)
    session.state.accounts[other] = replace(session.state.accounts[other])
    assert _complaints(session, "of somebody else")


# ── long runs ────────────────────────────────────────────────────────────────────────────────────


def test_goals_have_reasons_for_what_exists_only() -> None:
    goals = reach.goals(load_artifacts(project_root()))
    names = {name.split(":")[1] for name in goals}
    assert set(reach.UNREACHABLE) <= names
    assert all(reason.strip() for reason in reach.UNREACHABLE.values())
    assert len(goals) > 150
    assert set(seekers.RECIPES) <= names
    tally = Tally()
    tally.events["revert:ZeroAmount"] = GOAL
    by_name = {item.name: item for item in reached(tally, goals)}
    assert not by_name["revert:ZeroAmount"].missed
    assert by_name["revert:UnknownToken"].missed
    assert not by_name["revert:FeedGasTooLow"].missed


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    plan = Plan(cases=0, sequences=2, actions=15, workers=1, alone=True)
    first = campaign(PlumblineTarget, plan, range(1, 3), tmp_path)
    assert (first.seeds, first.resumed, first.totals["actions"]) == (2, 0, 60)
    again = campaign(PlumblineTarget, plan, range(1, 4), tmp_path)
    assert (again.seeds, again.resumed, again.totals["actions"]) == (3, 2, 90)
    assert again.totals["mismatches"] == 0
    assert again.summary()["actions_per_second"] > 0


def test_a_broken_invariant_of_the_model_alone_is_a_counterexample(
    alone: PlumblineTarget,
) -> None:
    class Broken(LoneSession):
        def invariants(self) -> Iterator[str]:
            if self.proposer.count == 3:
                yield "three is too many"

    class Target(PlumblineTarget):
        def start_alone(self, seed: int, index: int) -> LoneSession:
            return Broken(alone.nowhere, seed, index)

    tally = Tally()
    assert not run_alone(Target(), Plan(seed=SEED, actions=60, alone=True), 4, tally)
    (example,) = tally.counterexamples
    assert example.step == 3
    assert "--profile model" in example.rerun
    assert "--only-sequence 4" in example.rerun


def test_accounts_are_never_changed_in_place(session: LoneSession) -> None:
    """What the comparisons of before and after rest on."""
    kept = dict(session.state.accounts)
    copies = {n: Account(**vars(a)) for n, a in session.state.clone().accounts.items()}
    rng = Random(9)
    for _ in range(40):
        session.on_model(session.propose(rng))
    assert all(kept[n] == copies[n] for n in kept)
