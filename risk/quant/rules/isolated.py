"""Isolated margin: every position is an account of its own, nothing offsets anything.

Two kinds. `Isolated(rule)` margins each position alone by another rule set, so that the cost of not
netting is seen at the same parameters; on our vault it is a sub-account a position. `Standard` has
rates of its own, those of Derive's standard manager (repository derivexyz/v2-core,
scripts/config-mainnet.sol): perp 6.5 % of notional for maintenance, 10 % where the underlying is
none of BTC and ETH; a short option 9 % of S, a put at least 9 % of its mark; a long option counts
nothing, so its whole mark is required. Left out: the offset of option spreads (that manager
gives the maximal loss of a closed spread, so it is cheaper there than here) and depegging.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from risk.quant.rolling_margin import Day
from risk.quant.rules.common import Floats, Rule

PERP: Final = {"BTC": 0.065, "ETH": 0.065}
OTHER_PERP: Final = 0.10
SHORT_OPTION: Final = 0.09


@dataclass(frozen=True)
class Isolated:
    """The sum of what `rule` requires for every position alone."""

    rule: Rule
    name: str = "isolated"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        owner, column = np.nonzero(sizes_usd)
        alone = np.zeros((owner.size, sizes_usd.shape[1]))
        alone[np.arange(owner.size), column] = sizes_usd[owner, column]
        out = np.zeros(sizes_usd.shape[0])
        np.add.at(out, owner, self.rule.margin(day, alone))
        return out


@dataclass(frozen=True)
class Standard:
    """Rates by position. `perp`: by asset, `OTHER_PERP` where it is not named."""

    perp: dict[str, float] = field(default_factory=lambda: dict(PERP))
    short_option: float = SHORT_OPTION
    name: str = "isolated standard"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        book = day.book
        rates = np.array([self.perp.get(a, OTHER_PERP) for a in day.assets])[book.owner]
        short = np.where(
            book.call,
            self.short_option,
            np.maximum(self.short_option, self.short_option * book.mark),
        )
        long = book.mark
        per_long = np.where(book.linear, rates, long)
        per_short = np.where(book.linear, rates, short)
        return np.asarray(
            np.maximum(sizes_usd, 0.0) @ per_long + np.maximum(-sizes_usd, 0.0) @ per_short
        )
