"""Margin cases by the million: the generator, the comparison, and that it finds planted faults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from risk.chain import layout
from risk.chain.abi import Errors
from risk.chain.compile import Artifact, compile_contracts
from risk.chain.node import project_root
from risk.cli.diff_bench import MarginOptions, margin_command
from risk.diff.bench import bench
from risk.diff.kit.batch import BatchEngine
from risk.diff.kit.engine import Probe
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine
from risk.diff.margin_cases import run as run_module
from risk.diff.margin_cases.accounts import MarginCase, Mix
from risk.diff.margin_cases.check import CasePlan, CaseTally, check_market, make_cases
from risk.diff.margin_cases.market import Market
from risk.diff.margin_cases.model import Answer, decode, encode, exact_answers, margin_of
from risk.diff.margin_cases.run import check_case, run
from risk.diff.margin_cases.stand import Stand
from risk.diff.margin_cases.words import account_slot, account_words
from risk.exact.margin.margin_engine import Margin

PLAN = CasePlan(seed=11, cases=240, cases_a_market=80)
MIXED = replace(PLAN, mix=Mix(None))
# PUSH2 9999: what IM and a few others add before they divide by 10,000, to round up
ROUND_UP, ROUND_DOWN = "61270f", "610000"


@lru_cache(maxsize=8)
def market(plan: CasePlan, number: int) -> Market:
    return plan.market(number)


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    made = Stand(RevmEngine())
    made.open()
    yield made
    made.close()


# ── the generator ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", range(12))
def test_markets_are_wide(number: int) -> None:
    m = market(PLAN, number)
    assert len(m.linear) + len(m.options) >= 500
    assert len(m.state.underlyings) >= 4
    assert not m.state.accounts


def test_words_are_those_of_the_layout() -> None:
    for plan in (PLAN, MIXED):
        for case in make_cases(plan, market(plan, 0), plan.indices(0)):
            number, account = case.account_id, case.account
            fields = layout.account_fields("a", account, account_slot(number))
            named = {slot: word for slot, word in layout.to_words(fields).items() if word}
            packed = {s: w for s, w in account_words(number, account).items() if w}
            assert packed == named


def test_a_case_depends_on_seed_and_index_alone() -> None:
    whole = make_cases(PLAN, market(PLAN, 1), PLAN.indices(1))
    backwards = make_cases(PLAN, PLAN.market(1), reversed(PLAN.indices(1)))
    assert whole == backwards[::-1]
    other = replace(PLAN, seed=12)
    assert whole != make_cases(other, other.market(1), PLAN.indices(1))
    both = [c.account_id for c in whole + make_cases(PLAN, market(PLAN, 0), PLAN.indices(0))]
    assert len(set(both)) == len(both)


def test_boundaries_are_met_to_the_wei() -> None:
    seen = set()
    for number in range(3):
        m = market(PLAN, number)
        ask = margin_of(m)
        for case in make_cases(PLAN, m, PLAN.indices(number)):
            if case.boundary:
                margin = ask(case.account_id, case.account)
                assert margin is not None
                goal = margin.mm if case.boundary.startswith("MM") else margin.im
                assert margin.equity - goal == int(case.boundary[2:])
                seen.add(case.boundary)
    assert seen == {f"{name}{offset}" for name in ("MM", "IM") for offset in ("-1", "+0", "+1")}


def test_mixed_accounts_go_from_empty_to_full() -> None:
    plan = replace(MIXED, cases=600, cases_a_market=600)
    cases = make_cases(plan, market(plan, 0), plan.indices(0))
    counts = {len(c.account.linear) + len(c.account.options) for c in cases}
    assert {0, 1, 16, 128} <= counts
    assert max(counts) == 128
    fixed = make_cases(PLAN, market(PLAN, 0), PLAN.indices(0))
    assert {len(c.account.linear) + len(c.account.options) for c in fixed} == {16}


def test_return_data_decodes_to_what_was_encoded() -> None:
    names = Margin.__dataclass_fields__
    values = {n: -i if n in ("equity", "mark_equity") else i for i, n in enumerate(names)}
    values["has_obligations"] = True
    margin = Margin(**values)  # type: ignore[arg-type]
    assert decode(encode(margin)) == values


# ── agreement ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plan", [PLAN, MIXED], ids=["16", "mixed"])
def test_contract_and_model_agree(stand: Stand, plan: CasePlan) -> None:
    total = CaseTally()
    for number in range(plan.markets):
        total.merge(check_market(stand, plan, number))
    assert total.mismatches == 0, total.examples
    assert total.cases == plan.cases
    assert total.values > 11 * plan.cases
    assert total.mix["with options"] > plan.cases // 2
    assert plan.cases // 5 < total.mix["liquidatable (E < MM)"] < plan.cases
    assert total.mix["at a boundary"] > plan.cases // 5


@pytest.mark.chain
def test_the_vault_answers_alike_on_the_three_engines() -> None:
    plan = replace(PLAN, cases=40, cases_a_market=40)
    cases = make_cases(plan, market(plan, 0), plan.indices(0))
    answers = []
    for engine in (RevmEngine(), NodeEngine(), BatchEngine()):
        made = Stand(engine)
        try:
            made.open()
            made.enter(market(plan, 0))
            overlaid = [(r.ok, r.data) for r in made.answers(cases)]
            empty = engine.call([made.call(case) for case in cases])  # nothing was kept
            assert len({r.data for r in empty}) == 1
            assert made.vault in made.probes(cases)[0].storage
            answers.append(overlaid)
            answers.append([(r.ok, r.data) for r in empty])
        finally:
            made.close()
    assert answers[0] == answers[2] == answers[4]
    assert answers[1] == answers[3] == answers[5]
    assert answers[0] != answers[1]


@pytest.mark.chain
def test_any_number_of_workers_and_a_second_run_give_the_same(tmp_path: Path) -> None:
    alone = run(PLAN, workers=1, folder=tmp_path)
    assert (alone.markets, alone.resumed, alone.new_cases) == (3, 0, 240)
    again = run(PLAN, workers=1, folder=tmp_path)
    assert (again.resumed, again.new_cases) == (3, 0)
    (tmp_path / "market-000001.json").unlink()
    rest = run(PLAN, workers=1, folder=tmp_path)
    assert (rest.resumed, rest.new_cases) == (2, 80)
    pair = run(PLAN, workers=2)
    for other in (again, rest, pair):
        assert other.tally.mix == alone.tally.mix
        assert (other.tally.values, other.tally.mismatches) == (alone.tally.values, 0)


# ── planted faults ───────────────────────────────────────────────────────────────────────────────


def wrong_by_one(m: Market, cases: Sequence[MarginCase], errors: Errors) -> list[Answer]:
    """A model whose maintenance margin is one wei too high."""
    out = []
    for ok, data in exact_answers(m, cases, errors):
        if ok:
            mm = int.from_bytes(data[224:256], "big") + 1
            data = data[:224] + mm.to_bytes(32, "big") + data[256:]
        out.append((ok, data))
    return out


def test_a_wei_in_the_model_is_found(stand: Stand) -> None:
    tally = check_market(stand, PLAN, 0, wrong_by_one, range(20))
    reverts = sum(n for name, n in tally.mix.items() if name.startswith("revert"))
    assert tally.mismatches == 20 - reverts
    (difference,) = tally.examples[0]["differences"]
    assert (difference["field"], difference["difference"]) == ("mm", -1)
    assert int(difference["model_hex"], 16) == difference["model"] == difference["chain"] + 1


class Flipped(Stand):
    """Changes the lowest bit of one storage word of every case."""

    def probes(self, cases: Sequence[MarginCase]) -> list[Probe]:
        out = []
        for case, probe in zip(cases, super().probes(cases), strict=True):
            words = dict(probe.storage[self.vault])
            slot = Random(case.index).choice(sorted(words))
            words[slot] ^= 1
            out.append(Probe(probe.call, {self.vault: words}))
        return out


def test_a_changed_storage_word_is_found(stand: Stand) -> None:
    flipped = Flipped(RevmEngine())
    try:
        flipped.open()
        tally = check_market(flipped, PLAN, 0)
    finally:
        flipped.close()
    # the lowest bit: a wei of cash, quote, collateral or size. A wei of an option's size or of
    # a collateral can round away; cash and quotes cannot
    assert tally.mismatches > 30


def test_a_contract_that_rounds_down_is_found_and_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    faulty = _faulty_vault()
    monkeypatch.setattr(run_module, "Stand", lambda engine: Stand(engine, faulty))
    plan = replace(PLAN, cases=30, cases_a_market=30)
    found = run(plan, workers=1, folder=tmp_path)
    assert found.tally.mismatches > 10
    assert not list(tmp_path.iterdir())  # a market with a mismatch is done again
    example = found.tally.examples[0]
    assert [d["field"] for d in example["differences"]] == ["im"]
    assert example["differences"][0]["difference"] == -1
    assert f"--seed 11 --only-case {example['case']}" in example["command"]
    again = check_case(plan, example["case"])
    assert again.examples == [example]


def _faulty_vault() -> dict[str, Artifact]:
    artifacts = dict(compile_contracts(project_root()))
    vault = artifacts["Vault"]
    assert ROUND_UP in vault.bytecode
    code = vault.bytecode.replace(ROUND_UP, ROUND_DOWN)
    artifacts["Vault"] = replace(vault, bytecode=code)
    return artifacts


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


def test_the_command_writes_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.json"
    options = MarginOptions(cases=50, seed=3, workers=1, fresh=True, cases_a_market=25, json=out)
    assert margin_command(options) == 0
    result = json.loads(out.read_text())
    assert (result["cases"], result["mismatches"], result["markets"]) == (50, 0, 2)
    assert result["share"]["with options"] > 0.5
    assert "0 mismatches" in capsys.readouterr().out
    assert margin_command(replace(options, only_case=30, json=None)) == 0
    assert margin_command(replace(options, engine="none")) == 2
    assert margin_command(replace(options, positions="many")) == 2


@pytest.mark.chain
def test_the_bench_measures_every_engine_on_right_answers() -> None:
    result: dict[str, Any] = bench(0.3, workers=1, cases=30)
    assert result["mismatches"] == 0
    names = {"web3", "web3_raw", "revm", "batch", "transactions", "revm_whole", "batch_whole"}
    assert names <= result["rows"].keys()
    for name in names:
        row = result["rows"][name]
        assert row["cases"] > 0 and row["cases_per_second"] > 0 and row["wrong"] == 0
    assert result["ratio_to_web3"]["revm"] > 5
    assert result["market"]["instruments"] >= 500 and result["market"]["underlyings"] >= 4
