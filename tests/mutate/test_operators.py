"""Generation: which mutants a file has, and that each replaces exactly what it names."""

from __future__ import annotations

from collections import Counter

import pytest

from risk.errors import CompileError
from risk.mutate.compiler import Project, Solc
from risk.mutate.mutant import KINDS, Mutant
from risk.mutate.operators import mutants_of
from risk.mutate.source import Source

FILE = "src/Bank.sol"


@pytest.fixture
def mutants(bank: Project, solc: Solc) -> list[Mutant]:
    """All of the small project."""
    return mutants_of(Source(FILE, bank.sources[FILE].encode()), bank.trees(solc, [FILE])[FILE])


def test_every_kind_is_generated(mutants: list[Mutant]) -> None:
    assert set(Counter(m.kind for m in mutants)) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("arithmetic", "held[from] -= amount;", "held[from] += amount;"),
        ("arithmetic", "return x * y / d;", "return x / y / d;"),
        ("rounding", "Rounding.mulDivDown(amount,", "Rounding.mulDivUp(amount,"),
        ("rounding", "return (x * y + d - 1) / d;", "return (x * y + d) / d;"),
        ("comparison", "if (amount > held[from])", "if (amount >= held[from])"),
        ("comparison", "iszero(lt(i, 4))", "iszero(gt(i, 4))"),
        ("comparison", "iszero(lt(i, 4))", "iszero(iszero(gt(i, 4)))"),
        ("sign", "drift[i] = -by;", "drift[i] = by;"),
        ("sign", "sdiv(by, 3)", "div(by, 3)"),
        ("constant", "FEE = 30;", "FEE = 31;"),
        ("constant", "FEE = 30;", "FEE = 0;"),
        ("constant", "sstore(0x20,", "sstore(0x40,"),
        ("statement", "held[from] -= amount;", "{}"),
        ("statement", "sstore(0x20, add(sdiv(by, 3), 7))", "{}"),
        ("arguments", "mulDivDown(amount, 10_000 - FEE, 10_000)",
         "mulDivDown(amount, 10_000, 10_000 - FEE)"),
        ("require", "if (amount > held[from]) revert", "if (false) revert"),
        ("require", 'require(from != to, "same");', 'require(true, "same");'),
        ("require", "if iszero(lt(i, 4)) {", "if 0 {"),
        ("index", "held[to] +=", "held[to + 1] +="),
        ("boolean", "return !(amount == 0) && to < 100;", "return !(amount == 0) || to < 100;"),
        ("boolean", "return a > b ? a : b;", "return !(a > b) ? a : b;"),
    ],
)  # fmt: skip
def test_a_mutant(bank: Project, mutants: list[Mutant], kind: str, before: str, after: str) -> None:
    source = bank.sources[FILE]
    wanted = source.replace(before, after, 1)
    assert wanted != source
    assert [m for m in mutants if m.kind == kind and m.apply(source.encode()).decode() == wanted]


def test_the_larger_of_two_equal_values_is_not_a_mutant(mutants: list[Mutant]) -> None:
    line = next(m.line for m in mutants if m.original == "a > b")
    changes = {m.replacement for m in mutants if m.line == line and m.kind == "comparison"}
    assert changes == {"<"}  # a >= b ? a : b is the same number


def test_the_first_two_arguments_of_a_product_are_not_swapped(mutants: list[Mutant]) -> None:
    assert not [m for m in mutants if m.replacement.startswith("10_000 - FEE, amount")]


def test_nearly_all_compile(bank: Project, solc: Solc, mutants: list[Mutant]) -> None:
    stillborn = []
    for mutant in mutants:
        text = mutant.apply(bank.sources[FILE].encode()).decode()
        try:
            bank.code(solc, [(FILE, "Bank")], {FILE: text})
        except CompileError:
            stillborn.append(mutant)
    assert len(stillborn) <= len(mutants) // 10, [m.as_json() for m in stillborn]


def test_ids_differ_and_do_not_depend_on_the_run(
    bank: Project, solc: Solc, mutants: list[Mutant]
) -> None:
    again = mutants_of(Source(FILE, bank.sources[FILE].encode()), bank.trees(solc, [FILE])[FILE])
    assert [m.id for m in again] == [m.id for m in mutants]
    assert len({m.id for m in mutants}) == len(mutants)


def test_a_mutant_of_another_text_is_refused(mutants: list[Mutant]) -> None:
    with pytest.raises(ValueError, match="has changed"):
        mutants[0].apply(b"something else")


def test_diff_and_lines(bank: Project, mutants: list[Mutant]) -> None:
    mutant = next(m for m in mutants if m.replacement == "mulDivUp")
    source = bank.sources[FILE].encode()
    before, after = mutant.lines(source)
    assert before.replace("mulDivDown", "mulDivUp") == after
    diff = mutant.diff(source)
    assert f"-        {before}" in diff
    assert f"+        {after}" in diff
