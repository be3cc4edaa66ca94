"""Margins of a batch: words for all, the model's ``Margin`` for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.errors import ModelRevert
from risk.exact.margin.margin_engine import Margin
from risk.exact.margin.scenario_scan import NO_SCENARIO
from risk.exact.math.wad_math import INT256_MAX, INT256_MIN
from risk.vector import limbs
from risk.vector.limbs import Bools, Ints

WORDS: Final = 4
FIELDS: Final = (
    "mark_equity",
    "equity",
    "scan",
    "floor_charge",
    "basis",
    "liq",
    "liq_im",
    "mm",
    "im",
)
WAD: Final = 10**18


@dataclass(frozen=True)
class Margins:
    """Every field of the model's ``Margin``, as int256 words (n, 4), little end first.

    ``binding`` −1: no scenario.  ``health``, ``initial``: sign of E − MM and E − IM, 1 without
    obligations.  Of the accounts in ``errors`` nothing else holds: the model refused them.
    """

    words: dict[str, Ints]
    binding: NDArray[np.int16]
    obliged: Bools
    health: NDArray[np.int8]
    initial: NDArray[np.int8]
    errors: dict[int, ModelRevert]
    fallbacks: int  # accounts that the model computed

    def __len__(self) -> int:
        return len(self.binding)

    def values(self, field: str) -> list[int]:
        """One field of all accounts."""
        return limbs.words_to_ints(self.words[field])

    def row(self, i: int) -> Margin:
        """The margin of account i; raises what the model raised for it."""
        if i in self.errors:
            raise self.errors[i]
        v = {name: limbs.words_to_ints(self.words[name][i : i + 1])[0] for name in FIELDS}
        obliged = bool(self.obliged[i])
        return Margin(
            **v,
            health_factor=health_factor(v["equity"], v["mm"], obliged),
            has_obligations=obliged,
            binding_scenario=NO_SCENARIO if self.binding[i] < 0 else int(self.binding[i]),
        )

    def health_factors(self) -> list[int]:
        """HF of all accounts, WAD; those in ``errors`` mean nothing."""
        return [
            health_factor(e, mm, bool(o))
            for e, mm, o in zip(self.values("equity"), self.values("mm"), self.obliged, strict=True)
        ]


def health_factor(equity: int, mm: int, obliged: bool) -> int:
    """⌊E·1e18/MM⌋; within the ranges of this package it fits int256."""
    if not obliged or (mm == 0 and equity >= 0):
        return INT256_MAX
    return equity * WAD // mm if mm else INT256_MIN
