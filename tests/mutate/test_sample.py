"""The order of the mutants."""

from __future__ import annotations

from collections import Counter

from risk.mutate.mutant import Mutant
from risk.mutate.sample import ordered


def _mutants() -> list[Mutant]:
    sizes = {("a.sol", "constant"): 400, ("a.sol", "sign"): 4, ("b.sol", "constant"): 100}
    return [
        Mutant(file, kind, i, 1, "y", "x", 1) for (file, kind), n in sizes.items() for i in range(n)
    ]


def test_same_seed_same_order_whatever_the_input_order() -> None:
    mutants = _mutants()
    assert ordered(mutants, 3) == ordered(reversed(mutants), 3)
    assert ordered(mutants, 3) != ordered(mutants, 4)
    assert Counter(ordered(mutants, 3)) == Counter(mutants)


def test_strata_are_drawn_by_the_root_of_their_size() -> None:
    drawn = Counter((m.file, m.kind) for m in ordered(_mutants(), 1)[:64])
    assert drawn["a.sol", "sign"] in (3, 4)  # 2 of 32 parts of 64, at most all
    assert 36 <= drawn["a.sol", "constant"] <= 44  # 20 parts
    assert 18 <= drawn["b.sol", "constant"] <= 22  # 10 parts


def test_another_file_does_not_change_the_order_within_the_others() -> None:
    mutants = _mutants()
    more = [*mutants, *(Mutant("c.sol", "sign", i, 1, "y", "x", 1) for i in range(50))]
    assert [m for m in ordered(more, 1) if m.file != "c.sol"] == ordered(mutants, 1)
