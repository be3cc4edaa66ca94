"""Plain collateral weights, as lending markets have them: every asset alone, by a fixed rate.

Requirement of a long USD in an asset: 1 − w; of a short one (a debt): 1/w − 1, w the weight of the
asset. Weights: base margin factors of Derive's standard manager (derivexyz/v2-core,
scripts/config-mainnet.sol): BTC 0.75, ETH 0.80; an asset that it does not have gets the 0.70 of the
only other freely moving coin there. Options are foreign to such a market; a long one is worth
nothing as collateral, a short call is a debt of one unit, a short put a holding of one unit. Long
and short of one underlying net in the linear column only.

Liquidation with a bonus i: paying back a debt of 1 takes 1 + i of collateral, so it improves the
health of an account only below a loan-to-value of 1/(1 + i).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from risk.quant.rolling_margin import Day
from risk.quant.rules.common import Floats

WEIGHTS: Final = {"BTC": 0.75, "ETH": 0.80}
OTHER: Final = 0.70


@dataclass(frozen=True)
class CollateralWeights:
    """`weights`: by asset, `OTHER` where it is not named."""

    weights: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    name: str = "collateral weights"

    def margin(self, day: Day, sizes_usd: Floats) -> Floats:
        """(P,) in USD."""
        book = day.book
        weight = np.array([self.weights.get(a, OTHER) for a in day.assets])[book.owner]
        held, owed = 1.0 - weight, 1.0 / weight - 1.0
        per_long = np.where(book.linear, held, book.mark)
        per_short = np.where(book.linear | book.call, owed, held)
        return np.asarray(
            np.maximum(sizes_usd, 0.0) @ per_long + np.maximum(-sizes_usd, 0.0) @ per_short
        )


def loan_to_value_after(collateral: float, debt: float, repaid: float, bonus: float) -> float:
    """Debt over collateral after a liquidator repaid a part and took it with the bonus."""
    return (debt - repaid) / (collateral - repaid * (1.0 + bonus))


def highest_improvable(bonus: float) -> float:
    """Loan-to-value from which on a liquidation worsens it."""
    return 1.0 / (1.0 + bonus)


def socialised_share(claims: float, assets: float) -> float:
    """Loss of every claimant where claims exceed assets."""
    return max(0.0, 1.0 - assets / claims)
