"""What the parts of the keeper hand each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Health(Enum):
    """``UNKNOWN`` is its own answer: an error, a stale head, a missing price is never healthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Head:
    """A block that the keeper works on. Fees in wei, times in Unix seconds."""

    number: int
    hash: str
    parent: str
    timestamp: int
    base_fee_wei: int


@dataclass(frozen=True)
class Reading:
    """Health of one account as of a block. The amounts are the last known ones, WAD of cash;
    ``reason`` says why it is unknown.
    """

    account: int
    health: Health
    equity_wad: int
    mm_wad: int
    im_wad: int
    block: int
    timestamp: int
    reason: str = ""

    def age(self, now: int) -> int:
        """Seconds since the value was true."""
        return max(0, now - self.timestamp)


class Way(Enum):
    """How an account is liquidated."""

    FLAG = "flag"
    SLICE = "slice"
    LEGS = "legs"


@dataclass(frozen=True)
class Intent:
    """A transaction that the planner wants sent.

    ``max_payment_wad`` is the bound that the contract enforces; ``profit_wad`` is expected after
    gas, in cash. The dispatcher sends the calldata as it stands.
    """

    account: int
    way: Way
    to: int
    data: bytes
    gas_limit: int
    max_payment_wad: int
    reward_wad: int
    gas_cost_wad: int
    profit_wad: int
    block: int

    @property
    def key(self) -> str:
        """One open intent per account and way."""
        return f"{self.account:042x}:{self.way.value}"
