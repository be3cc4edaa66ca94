"""What transactions have cost in the last 24 hours, and how much more they may cost.

A fee counts from the head at which its transaction was seen mined, by that head's own time, for one
day. It is *lost* where the transaction brought nothing: it reverted, took another one back, filled
a gap, or flagged an account that no liquidation of ours followed. Fees of open nonces are not
known yet: their whole budgets are set aside, so that limits hold whatever becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from risk.keeper.types import Way

DAY_SECONDS = 86_400
SMALLEST_GAS = 100_000  # no transaction for an account needs less (docs/keeper-planner.md §5)
_WEI = 10**18


@dataclass(frozen=True)
class Fee:
    """Fee of a mined transaction of ours. ``time``: Unix seconds of the head at which it was seen.
    ``key``: the intent's. ``worked``: it had the effect of its intent.
    """

    time: int
    wei: int
    key: str
    worked: bool


@dataclass(frozen=True)
class Spending:
    """Wei of the last day: ``spent`` on all transactions, ``lost`` on those that brought nothing,
    ``reserved`` for those that are open. A limit of None is none.
    """

    spent_wei: int = 0
    lost_wei: int = 0
    reserved_wei: int = 0
    loss_limit_wei: int | None = None
    spend_limit_wei: int | None = None

    @property
    def left_wei(self) -> int | None:
        """What one more transaction may cost at most; None: no limit. Negative where a reorg has
        opened nonces again.
        """
        left = self._left()
        return None if left is None else left - self.reserved_wei

    def _left(self) -> int | None:
        limits = ((self.loss_limit_wei, self.lost_wei), (self.spend_limit_wei, self.spent_wei))
        return min((limit - used for limit, used in limits if limit is not None), default=None)

    def held(self, least_wei: int) -> str:
        """Why nothing more is sent, where the day's fees leave less than ``least_wei``; else
        empty.
        """
        left = self._left()
        if left is None or left >= least_wei:
            return ""
        lost = self.loss_limit_wei is not None and self.loss_limit_wei - self.lost_wei == left
        name = "loss_native_per_day" if lost else "spend_native_per_day"
        used = self.lost_wei if lost else self.spent_wei
        limit = used + left
        what = "transactions that brought nothing" if lost else "transactions"
        return f"[fees] {name}: {what} have cost {used / _WEI:g} of {limit / _WEI:g} in 24 hours"


def lost_fees(fees: Iterable[Fee]) -> list[Fee]:
    """Those of ``fees`` (oldest first) that brought nothing."""
    lost: list[Fee] = []
    flags: dict[str, list[Fee]] = {}  # account -> flags that nothing followed yet
    for fee in fees:
        account, way = _parts(fee.key)
        if not fee.worked:
            lost.append(fee)
        elif way == Way.FLAG.value:
            flags.setdefault(account, []).append(fee)
        else:
            flags.pop(account, None)
    return lost + [fee for waiting in flags.values() for fee in waiting]


def flag_wei(fees: Iterable[Fee], account: str) -> int:
    """Fees of the flags of ``account`` (42 hex digits) that no liquidation of ours followed."""
    mine = [fee for fee in fees if _parts(fee.key)[0] == account]
    return sum(fee.wei for fee in lost_fees(mine) if fee.worked)


def _parts(key: str) -> tuple[str, str]:
    account, _, way = key.partition(":")
    return account, way
