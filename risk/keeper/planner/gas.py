"""What a liquidation takes of gas, from what it touches.

The book does not know which scenario arrays the vault has cached, so every array counts as missing;
the work limit of the vault measures exactly that (docs/liquidation.md §6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from risk.exact.accounts import work_load
from risk.exact.margin import instrument_id
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Option

LOAD_GAS: Final = 1_250  # a unit of work load
TRANSACTION_LIMIT: Final = 16_777_216  # EIP-7825


@dataclass(frozen=True)
class GasTable:
    """Gas units. Measured by ``tests/keeper/test_planner_gas.py``; docs/keeper-planner.md §5.

    ``underlying``: feed, snapshot and charges of one of either account. ``entry``: one perp, future
    or collateral, ``entry_read`` where nothing moves; options are all in the work load.
    ``settled``: one position that is settled on the way. ``margin_bps`` comes on top for the limit,
    not for the cost.
    """

    flag: int = 60_000
    slice: int = 120_000
    legs: int = 125_000
    underlying: int = 55_000
    entry: int = 35_000
    entry_read: int = 12_000
    settled: int = 60_000
    margin_bps: int = 2_500

    def estimate(
        self,
        base: int,
        p: RiskParams,
        account: Account,
        taker: Account,
        *,
        passes: int = 1,
        settled: int = 0,
        moves: bool = True,
    ) -> int:
        """Of ``base`` and everything that ``account`` (as it was) and ``taker`` (as it will be)
        hold; ``passes``: how often arrays are computed, twice where live prices decide;
        ``settled``: positions settled on the way; ``moves`` False: a flag.
        """
        linear = {x.instrument for x in [*account.linear, *taker.linear]}
        options = {x.instrument for x in [*account.options, *taker.options]}
        pairs = zip(account.collateral, taker.collateral, strict=True)
        backing = [j for j, (a, b) in enumerate(pairs) if a or b]
        underlyings = {instrument_id.underlying(i) for i in linear | options}
        underlyings |= {p.collaterals[j].underlying for j in backing}
        both = Account(options=[Option(i, 1) for i in options])
        load = work_load.load(p.scenario_count, both) * LOAD_GAS
        return (
            base
            + passes * load
            + self.underlying * len(underlyings)
            + (self.entry if moves else self.entry_read) * (len(linear) + len(backing))
            + self.settled * settled
        )

    def limit(self, estimate: int) -> int:
        """With the margin, within what a transaction may have."""
        return min(TRANSACTION_LIMIT, estimate + -(-estimate * self.margin_bps // 10_000))
