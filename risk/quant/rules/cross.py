"""Ours: MM of the exact model, all positions of a portfolio in one account.

The parameters of every day are those in force then (`risk.quant.rolling_margin`). Whole numbers of
the reference model, in USD; nothing is imitated in floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from risk.exact.params.risk_params import RiskParams
from risk.quant.errors import QuantError
from risk.quant.rolling_margin import Day
from risk.quant.rules.common import Floats
from risk.quant.scenarios import exact

WAD = exact.WAD


@dataclass(frozen=True)
class Cross:
    """`params`: by opening time, in Unix seconds."""

    params: Mapping[int, RiskParams]
    name: str = "cross"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """MM (P,) in USD: whole wei divided by 1e18."""
        if day.time not in self.params:
            raise QuantError(f"no parameters for the day that opens at {day.time}")
        prices = [float(p) for p in day.price]
        state = exact.make_state(day.book, prices, day.time, self.params[day.time])
        # the account builder wants a whole notional: sizes in USD, notional 1
        found = exact.margins(sizes_usd, day.book, state, day.time, 1)
        return np.array([m.mm / WAD for m in found])
