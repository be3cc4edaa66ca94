"""What a run came to: how long accounts were unhealthy, what the transactions cost, what was lost.

An account's episode begins with the first block at whose end it was unhealthy as the contract sees
it (live prices included) and ends with the first block at whose end it no longer is. Where it was
liquidated in between the episode is LIQUIDATED, else it RECOVERED with the prices; what is open at
the end of the run is LEFT. One block is the least there can be: nobody acts in the block that makes
an account unhealthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from risk.chain.events import EventDecoder
from risk.keeper.measure.path import BLOCK_SECONDS
from risk.keeper.ports import Sweep

WAD: Final = 10**18
LIQUIDATIONS: Final = ("Liquidated", "LegsLiquidated")


@dataclass
class Transactions:
    """Mined transactions of the keepers."""

    mined: int = 0
    failed: int = 0
    gas: int = 0
    failed_gas: int = 0
    cost_wei: int = 0
    failed_cost_wei: int = 0
    cost_cash_wad: int = 0  # at the price of the native token in each block

    def add(self, receipt: Mapping[str, Any], native_wad: int) -> None:
        """One receipt; ``native_wad``: cash for 10^18 wei."""
        gas, price = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
        self.mined += 1
        self.gas += gas
        self.cost_wei += gas * price
        self.cost_cash_wad += gas * price * native_wad // WAD
        if receipt["status"] != "0x1":
            self.failed += 1
            self.failed_gas += gas
            self.failed_cost_wei += gas * price


@dataclass
class Tally:
    """Feed it every block in order; ``result`` at the end. ``senders``: hex, lower case."""

    decoder: EventDecoder
    vault: str
    senders: frozenset[str]
    insurance_wad: int
    transactions: Transactions = field(default_factory=Transactions)
    since: dict[int, int] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)  # liquidated in their present episode
    waited: list[int] = field(default_factory=list)  # blocks, of the liquidated
    liquidations: int = 0
    recovered: int = 0
    most_unhealthy: int = 0
    most_bad_debt_wad: int = 0
    bad_debt_wad: int = 0
    unknown: int = 0
    blocks: int = 0

    def block(
        self, number: int, receipts: Iterable[Mapping[str, Any]], sweep: Sweep, native_wad: int
    ) -> None:
        """A block and the sweep at its end."""
        self.blocks += 1
        for receipt in receipts:
            if receipt["from"].lower() in self.senders:
                self.transactions.add(receipt, native_wad)
                self._events(receipt["logs"])
        bad = [a for a in self.since if a not in sweep.unhealthy and a not in sweep.unknown]
        for account in bad:
            began = self.since.pop(account)
            if account in self.touched:
                self.touched.discard(account)
                self.waited.append(number - began)
            else:
                self.recovered += 1
        for account in sweep.unhealthy:
            self.since.setdefault(account, number)
        self.unknown = max(self.unknown, len(sweep.unknown))
        self.most_unhealthy = max(self.most_unhealthy, len(sweep.unhealthy))
        self.bad_debt_wad = sum(-r.equity_wad for r in sweep.unhealthy.values() if r.equity_wad < 0)
        self.most_bad_debt_wad = max(self.most_bad_debt_wad, self.bad_debt_wad)

    def _events(self, logs: Iterable[Mapping[str, Any]]) -> None:
        for log in logs:
            if log["address"].lower() != self.vault.lower():
                continue
            event = self.decoder.decode(log)
            if event.name in LIQUIDATIONS:
                self.liquidations += 1
                if event.arguments["account"] in self.since:
                    self.touched.add(event.arguments["account"])

    def result(self, last: int, insurance_wad: int) -> dict[str, Any]:
        """Numbers for a report; cash in whole units, gas in units."""
        left = [last - began for began in self.since.values()]
        t = self.transactions
        return {
            "episodes": len(self.waited) + self.recovered + len(left),
            "liquidated": len(self.waited),
            "recovered": self.recovered,
            "left": len(left),
            "left_longest_blocks": max(left, default=0),
            "liquidations": self.liquidations,
            "blocks_to_liquidation": spread(self.waited),
            "seconds_to_liquidation": spread([n * BLOCK_SECONDS for n in self.waited]),
            # those left count with the age that they have
            "blocks_with_those_left": spread([*self.waited, *left]),
            "most_unhealthy_at_once": self.most_unhealthy,
            "most_unknown_at_once": self.unknown,
            "transactions_mined": t.mined,
            "transactions_failed": t.failed,
            "failed_share": t.failed / t.mined if t.mined else 0.0,
            "gas": t.gas,
            "gas_of_failed": t.failed_gas,
            "gas_a_liquidation": t.gas // self.liquidations if self.liquidations else None,
            "cost_ether": t.cost_wei / WAD,
            "cost_of_failed_ether": t.failed_cost_wei / WAD,
            "cost_cash": t.cost_cash_wad / WAD,
            "bad_debt_cash": self.bad_debt_wad / WAD,
            "most_bad_debt_cash": self.most_bad_debt_wad / WAD,
            "insurance_paid_cash": (self.insurance_wad - insurance_wad) / WAD,
        }


def spread(values: Sequence[int]) -> dict[str, float | int | None]:
    """Count, median, 99th percentile (nearest rank), largest."""
    ordered = sorted(values)
    n = len(ordered)
    if not n:
        return {"count": 0, "median": None, "p99": None, "most": None}
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return {
        "count": n,
        "median": median,
        "p99": ordered[-(-99 * n // 100) - 1],
        "most": ordered[-1],
    }
