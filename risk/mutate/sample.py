"""An order of all mutants in which every beginning is a fair sample.

A stratum is a file and a kind.  The i-th of the n mutants of a stratum, in random order, stands at
(i + u)/√n with u uniform in [0, 1): each stratum is drawn evenly, a large one more often than a
small one, but only by the root of its size.  Otherwise constants in assembly would be half of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from random import Random

from risk.mutate.mutant import Mutant


def ordered(mutants: Iterable[Mutant], seed: int) -> list[Mutant]:
    """Same mutants and same seed, same order; each stratum has its own random stream, so that a
    change in one file leaves the order within the others alone.
    """
    strata: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in mutants:
        strata.setdefault((mutant.file, mutant.kind), []).append(mutant)
    placed: list[tuple[float, str, Mutant]] = []
    for (file, kind), members in sorted(strata.items()):
        rng = Random(f"mutants {seed} {file} {kind}")
        members.sort(key=lambda m: (m.start, m.length, m.replacement))
        rng.shuffle(members)
        root = sqrt(len(members))
        placed += [((i + rng.random()) / root, m.id, m) for i, m in enumerate(members)]
    return [mutant for _, _, mutant in sorted(placed, key=lambda item: item[:2])]
