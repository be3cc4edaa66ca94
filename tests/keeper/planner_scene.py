"""A market with accounts in trouble, on the model alone or beside a chain, and what the keeper
makes of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from risk.chain.abi import functions
from risk.chain.node import project_root
from risk.chain.vault_abi import vault_abi
from risk.diff.plumbline.chain import load_artifacts
from risk.exact.errors import ModelRevert
from risk.exact.state import State
from risk.keeper.book import Advance, Prices
from risk.keeper.planner import Planner, Terms
from risk.keeper.planner.trial import Offer
from risk.keeper.ports import Bucket, Costs, Plan, Sweep
from risk.keeper.scan import Scanner
from risk.keeper.types import Head, Intent, Way
from tests.attacks.scene import ModelMarket
from tests.liquidation.scene import PERP, A, B, C, D, at_health, option
from tests.support.vault_fixtures import PRICES, Market, params
from tests.support.vault_twin import WAD, iid

SECONDS = 12
FREE = Costs(0, 0)
GWEI = 10**9
ETH_PRICE = 3_000 * WAD
SHORT_CALL, PUT = option(36), option(20, iid.PUT)
MIXED = [(option(30), 2 * WAD), (SHORT_CALL, -3 * WAD), (PUT, -WAD - 7)]
LONG = {"linear": [(PERP, 10 * WAD, -30_000 * WAD)]}
BOOK = {**LONG, "options": MIXED}


@lru_cache(maxsize=1)
def abi() -> list[dict[str, Any]]:
    return vault_abi(load_artifacts(project_root()))


def terms(**changes: Any) -> Terms:
    """Carol's, without a least profit or costs of closing."""
    fields: dict[str, Any] = {
        "liquidator": C,
        "min_profit_wad": 0,
        "unwind_bps": 0,
        "block_seconds": SECONDS,
    }
    return Terms(**{**fields, **changes})


def settle_in(m: Market, cash: int = 10**8, **changes: Any) -> None:
    """Parameters with these changes, fresh prices and snapshots, Carol with cash."""
    if changes:
        m.set_params(params(**changes))
    for u, price in enumerate(PRICES):
        m.set_price(u, price)
    m.put(C, cash=cash * WAD)


class Keeper:
    """Scanner and planner over a market; a head is the moment before the market's next action."""

    def __init__(self, m: Market, **changes: Any) -> None:
        self.m = m
        self.scanner = Scanner()
        self.planner = Planner(m.world.vault, abi(), terms(**changes))
        self.number = 0
        self.head = Head(0, "0x0", "", 0, 0)

    def next_head(self) -> Head:
        """A block later; its time is that of the market."""
        self.number += 1
        name = f"0x{self.number:064x}"
        self.head = Head(self.number, name, self.head.hash, self.m.world.timestamp, 0)
        return self.head

    def prices(self, unknown: Iterable[int] = (), reason: str = "") -> Prices:
        return Prices(copy.deepcopy(self.m.world), frozenset(unknown), reason)

    def sweep(
        self, unknown: Iterable[int] = (), touched: frozenset[int] | None = None, **options: Any
    ) -> Sweep:
        """At a new head; everybody may have changed unless told otherwise."""
        head = self.next_head()
        advance = Advance(head, applied=1, touched=touched, market=True)
        return self.scanner.scan(self.m.state, self.prices(unknown, "no answer"), head, advance)

    def plan(
        self, sweep: Sweep | None = None, costs: Costs = FREE, opened: Iterable[str] = ()
    ) -> Plan:
        found = self.sweep() if sweep is None else sweep
        unknown = frozenset[int]()
        return self.planner.plan(
            self.m.state, replace(self.prices(), unknown=unknown), found, costs, frozenset(opened)
        )

    def offer(self, intent: Intent) -> Offer:
        """What the planner expects of an intent of the last plan."""
        return self.planner._planned[intent.key]


def arguments(intent: Intent) -> tuple[str, list[Any]]:
    """Function and arguments of the calldata."""
    f = functions(abi())[
        {Way.FLAG: "flag", Way.SLICE: "liquidate"}.get(intent.way, "liquidateLegs")
    ]
    return f.name, f.arguments(intent.data)


def run(m: ModelMarket, intent: Intent, time: int) -> tuple[Any, ModelMarket]:
    """What the model returns or raises for the calldata at this time, and the market afterwards."""
    twin = m.copy()
    twin.world.timestamp = time
    sender = C >> 8
    name, given = arguments(intent)
    try:
        if name == "flag":
            return twin.model.flag(sender, *given), twin
        if name == "liquidate":
            return twin.model.liquidate(sender, *given)[1], twin
        return twin.model.liquidate_legs(sender, *given[:4], None), twin
    except ModelRevert as error:
        return error, twin


def bucket(plan: Plan, account: int = A) -> Bucket | None:
    """The bucket of the account, None where it has none."""
    found = [p.bucket for p in plan.passed if p.account == account]
    assert len(found) <= 1
    return found[0] if found else None


def flat(state: State) -> State:
    """A plain copy of a layered state."""
    twin = copy.copy(state)
    twin.accounts = dict(state.accounts)
    twin.open_interest = dict(state.open_interest)
    return twin


__all__ = [
    "BOOK",
    "ETH_PRICE",
    "FREE",
    "GWEI",
    "LONG",
    "MIXED",
    "PERP",
    "PRICES",
    "SECONDS",
    "WAD",
    "A",
    "B",
    "C",
    "D",
    "Keeper",
    "arguments",
    "at_health",
    "bucket",
    "flat",
    "params",
    "run",
    "settle_in",
    "terms",
]
