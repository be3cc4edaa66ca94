"""On what terms a keeper liquidates."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from risk.keeper.planner.gas import GasTable

_BPS = 10_000


@dataclass(frozen=True)
class Terms:
    """``ValueError`` where a number is out of its range.

    ``liquidator``: the account that takes over; ``sender``: who signs, its owner where 0.
    ``min_profit_wad``: cash; less is ``UNPROFITABLE``.
    ``slippage_bps``: of the notional taken; by so much may the payment exceed what was planned.
    ``unwind_bps``: of the notional taken; what closing it again is expected to cost.
    ``max_intents``: a head. ``max_examined``: accounts a head that are looked at closely.
    ``max_legs``: of one liquidation by legs; 0: slices only.
    ``patience_seconds``: how long after its grace an account may be left while the reward grows.
    ``spread_bps``: 0: strictly by promise and profit; else an order drawn by signer and head
    (``draw.py``), 10 000: with a probability proportional to profit; more: flatter.
    ``block_seconds``: from the head to the block that includes a transaction.
    """

    liquidator: int
    sender: int = 0
    min_profit_wad: int = 10**18
    slippage_bps: int = 50
    unwind_bps: int = 2
    max_intents: int = 8
    max_examined: int = 64
    max_legs: int = 6
    patience_seconds: int = 0
    spread_bps: int = 0
    block_seconds: int = 12
    gas: GasTable = field(default_factory=GasTable)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int) and item.name != "min_profit_wad" and value < 0:
                raise ValueError(f"{item.name}: {value} is negative")
        for name in ("slippage_bps", "unwind_bps"):
            if getattr(self, name) > _BPS:
                raise ValueError(f"{name}: {getattr(self, name)} is above {_BPS}")
        if not 0 < self.liquidator < 2**168 or self.sender >= 2**160:
            raise ValueError("liquidator or sender is no account or address")
        if not self.max_intents or not self.max_examined:
            raise ValueError("max_intents and max_examined are at least 1")

    @property
    def signer(self) -> int:
        """Address that sends."""
        return self.sender or self.liquidator >> 8
