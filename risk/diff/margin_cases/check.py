"""One market's cases on both sides: generate, answer, compare, count.

Case ``index`` of a seed lies in market ``index // cases_a_market``, so a case is the same on each
engine and with any number of workers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from risk.diff.kit.engine import Result
from risk.diff.margin_cases.accounts import MarginCase, Mix, make_case
from risk.diff.margin_cases.market import Market, make_market
from risk.diff.margin_cases.model import (
    FIELDS,
    Answer,
    BatchModel,
    decode,
    exact_answers,
    margin_of,
)
from risk.diff.margin_cases.stand import Stand

COMMAND = "plumbline diff-margin"
CASES_A_MARKET = 10_000
ROUND = 500  # cases generated, answered and compared together
EXAMPLES = 5  # counterexamples kept of one market


@dataclass(frozen=True)
class CasePlan:
    """Which cases. ``scenarios`` and ``calm``: see ``make_market``."""

    seed: int = 1
    cases: int = 1_000_000
    cases_a_market: int = CASES_A_MARKET
    mix: Mix = field(default_factory=Mix)
    scenarios: int = 0
    calm: bool = False

    @property
    def markets(self) -> int:
        """Number of markets."""
        return -(-self.cases // self.cases_a_market)

    def market(self, number: int) -> Market:
        """A market of the plan."""
        return make_market(self.seed, number, scenarios=self.scenarios, calm=self.calm)

    def indices(self, number: int) -> range:
        """Case indices of a market."""
        first = number * self.cases_a_market
        return range(first, min(first + self.cases_a_market, self.cases))

    def command(self, index: int, engine: str) -> str:
        """The command line that repeats one case."""
        positions = "mixed" if self.mix.positions is None else str(self.mix.positions)
        words = [f"{COMMAND} --seed {self.seed} --only-case {index}"]
        words += [f"--engine {engine} --positions {positions}"]
        if self.cases_a_market != CASES_A_MARKET:
            words.append(f"--cases-a-market {self.cases_a_market}")
        if self.scenarios:
            words.append(f"--scenarios {self.scenarios}")
        if self.calm:
            words.append("--calm")
        return " ".join(words)


@dataclass
class CaseTally:
    """What was compared and what the cases were like."""

    cases: int = 0
    values: int = 0  # fields of margins, and revert data
    mismatches: int = 0  # cases
    cpu_seconds: float = 0.0  # of the workers, without a node
    mix: Counter[str] = field(default_factory=Counter)  # cases by property
    examples: list[dict[str, Any]] = field(default_factory=list)

    def merge(self, other: CaseTally) -> None:
        """Add another tally to this one."""
        self.cases += other.cases
        self.values += other.values
        self.mismatches += other.mismatches
        self.cpu_seconds += other.cpu_seconds
        self.mix.update(other.mix)
        self.examples += other.examples

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json`` reads them back."""
        return {**vars(self), "mix": dict(sorted(self.mix.items()))}

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> CaseTally:
        """Inverse of ``to_json``."""
        return cls(**{**item, "mix": Counter(item["mix"])})


def make_cases(plan: CasePlan, market: Market, indices: Iterable[int]) -> list[MarginCase]:
    """The cases of these indices, all of ``market``."""
    ask = margin_of(market)
    return [make_case(market, i, plan.mix, ask) for i in indices]


def check_market(
    stand: Stand,
    plan: CasePlan,
    number: int,
    model: BatchModel = exact_answers,
    indices: Sequence[int] | None = None,
) -> CaseTally:
    """Every case of one market (or those of ``indices``) on the engine and on the model."""
    started = time.process_time()
    market = plan.market(number)
    stand.enter(market)
    tally = CaseTally()
    todo = plan.indices(number) if indices is None else indices
    for i in range(0, len(todo), ROUND):
        cases = make_cases(plan, market, todo[i : i + ROUND])
        expected = model(market, cases, stand.errors)
        compare(stand, plan, market, cases, expected, stand.answers(cases), tally)
    tally.cpu_seconds = time.process_time() - started
    return tally


def compare(
    stand: Stand,
    plan: CasePlan,
    market: Market,
    cases: Sequence[MarginCase],
    expected: Sequence[Answer],
    found: Sequence[Result],
    tally: CaseTally,
) -> None:
    """Answers of both sides, byte by byte."""
    tally.cases += len(cases)
    for tag in market.tags:
        tally.mix[tag] += len(cases)
    for case, (ok, data), result in zip(cases, expected, found, strict=True):
        tally.values += len(FIELDS) if ok else 1
        _count(tally.mix, case, ok, data, stand)
        if (result.ok, result.data, result.halt) != (ok, data, ""):
            tally.mismatches += 1
            if len(tally.examples) < EXAMPLES:
                tally.examples.append(_example(stand, plan, market, case, (ok, data), result))


def _count(mix: Counter[str], case: MarginCase, ok: bool, data: bytes, stand: Stand) -> None:
    account = case.account
    if not ok:
        mix[f"revert: {stand.errors.name(data)}"] += 1
    else:
        equity = int.from_bytes(data[32:64], "big", signed=True)
        obliged, mm = data[351], int.from_bytes(data[224:256], "big")
        mix["with obligations"] += obliged
        mix["liquidatable (E < MM)"] += obliged and equity < mm
    mix["with options"] += bool(account.options)
    mix["with short options"] += any(o.size_wad < 0 for o in account.options)
    mix["with perps or futures"] += bool(account.linear)
    mix["with collateral"] += any(account.collateral)
    mix["in debt"] += account.cash_wad < 0
    mix[_size_class(len(account.linear) + len(account.options))] += 1
    if case.boundary:
        mix["at a boundary"] += 1
        mix[f"boundary: E = {case.boundary}"] += 1


def _size_class(count: int) -> str:
    for low, high in ((0, 0), (1, 3), (4, 15), (16, 63), (64, 127), (128, 128)):
        if low <= count <= high:
            return f"positions: {low}" if low == high else f"positions: {low}-{high}"
    return "positions: more than 128"


# ── counterexamples ──────────────────────────────────────────────────────────────────────────────


def _example(
    stand: Stand,
    plan: CasePlan,
    market: Market,
    case: MarginCase,
    expected: Answer,
    found: Result,
) -> dict[str, Any]:
    """Both answers, the fields that differ (base quantities first), the account, the command."""
    account = case.account
    return {
        "seed": plan.seed,
        "case": case.index,
        "market": market.number,
        "command": plan.command(case.index, stand.engine.name),
        "boundary": case.boundary,
        "differences": differences(stand, expected, found),
        "account": {
            "id": hex(case.account_id),
            "cash_wad": account.cash_wad,
            "interest_index": account.interest_index,
            "collateral": {j: a for j, a in enumerate(account.collateral) if a},
            "linear": [[hex(p.instrument), p.size_wad, p.quote_wad] for p in account.linear],
            "options": [[hex(o.instrument), o.size_wad] for o in account.options],
        },
    }


def differences(stand: Stand, expected: Answer, found: Result) -> list[dict[str, Any]]:
    """Name, model, chain (decimal and hex) and chain − model of every field that differs."""
    ok, data = expected
    if ok and found.ok and len(found.data) == len(data):
        model, chain = decode(data), decode(found.data)
        return [
            {
                "field": name,
                "model": model[name],
                "chain": chain[name],
                "model_hex": hex(model[name]),
                "chain_hex": hex(chain[name]),
                "difference": chain[name] - model[name],
            }
            for name in FIELDS
            if model[name] != chain[name]
        ]
    return [
        {
            "field": "outcome",
            "model": "margin" if ok else stand.errors.show(data),
            "chain": found.halt or ("margin" if found.ok else stand.errors.show(found.data)),
            "model_hex": "0x" + data.hex(),
            "chain_hex": "0x" + found.data.hex(),
        }
    ]
