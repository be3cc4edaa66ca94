"""What the health of one account is, by the contract's own rule, and what is remembered of it.

"Liquidatable" is what ``liquidate`` would find (docs/liquidation.md §1, steps 2 to 4): interest
accrued, due snapshots taken, E < MM at the snapshots, at the live prices, and with every market
without a usable price at its most favourable. ``refresh`` does the part of it that is the same for
everybody once a head; ``judge`` does the rest for one account, with the model's own functions.

An account that depends on a price which is not to be had is ``UNKNOWN``, unless it fails even so.
Accounts without obligations are healthy at every price (docs/margin.md §5).
"""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, cast

from risk.exact.accounts import account_lib
from risk.exact.custody import interest_lib
from risk.exact.errors import ModelRevert
from risk.exact.liquidation import health_test
from risk.exact.liquidation.health_test import Case
from risk.exact.margin import drift, margin_engine
from risk.exact.margin.margin_engine import Margin
from risk.exact.market import feed_reader
from risk.exact.state import Account, State, World
from risk.keeper.book import Prices
from risk.keeper.types import Head, Health, Reading

# ── copies ───────────────────────────────────────────────────────────────────────────────────────


def scratch(state: State) -> State:
    """A state that interest, snapshots, settlement and liquidations may change while ``state``
    stays as it is.

    Costs as much as the market, whatever the number of accounts: accounts and open interest are
    layers over those of ``state``, which must not change while the copy is in use.
    """
    twin = copy.copy(state)
    twin.underlyings = [copy.copy(u) for u in state.underlyings]
    twin.collaterals = [copy.copy(c) for c in state.collaterals]
    twin.settlements = {key: copy.copy(item) for key, item in state.settlements.items()}
    twin.accounts = _layer(state.accounts)
    twin.open_interest = _layer(state.open_interest)
    twin.deferred = list(state.deferred)
    return twin


def adopt(state: State, twin: State) -> None:
    """``state``, itself a ``scratch``, becomes what its copy ``twin`` is."""
    for name in ("accounts", "open_interest"):
        over, under = (cast("ChainMap[Any, Any]", getattr(s, name)) for s in (twin, state))
        under.maps[0].update(over.maps[0])
        setattr(twin, name, under)
    state.__dict__.update(twin.__dict__)


def _layer(held: MutableMapping[Any, Any]) -> Any:
    """A dictionary that shows ``held`` until a key is written."""
    return held.new_child() if isinstance(held, ChainMap) else ChainMap({}, held)


# ── one head ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Market:
    """A copy of the book's state at a head, with everything that a liquidation brings up to date
    before it looks at an account: interest, funding, snapshots that are due.

    ``dead`` are the underlyings without a usable live price, ``unknown`` those whose feeds could
    not be asked; ``reason`` is why.
    """

    state: State
    world: World
    head: Head
    dead: frozenset[int]
    unknown: frozenset[int]
    reason: str = ""

    def missing(self, mask: Iterable[int]) -> str:
        """Why an account that depends on ``mask`` cannot be called healthy; empty where it can."""
        held = set(mask)
        if held & self.unknown:
            return f"no price of underlying {_names(held & self.unknown)}: {self.reason}"
        if held & self.dead:
            states = {u: _oracle(self, u) for u in sorted(held & self.dead)}
            return "no usable price: " + ", ".join(f"underlying {u} {s}" for u, s in states.items())
        return ""

    def since(self, mask: Iterable[int]) -> int:
        """Time of the oldest snapshot among those of ``mask`` whose price is missing; the head's
        where none is.
        """
        gone = set(mask) & (self.dead | self.unknown)
        return min((self.state.underlyings[u].time for u in gone), default=self.head.timestamp)


def refresh(state: State, prices: Prices, head: Head) -> Market:
    """The market at ``head``; ``RiskParamsMissing`` where there are no parameters."""
    twin, world = scratch(state), prices.world
    p = feed_reader.load_params(twin)
    everything = set(range(min(len(twin.underlyings), len(p.underlyings))))
    c = Case(p, 0, Account(), everything)
    interest_lib.accrue(twin, world)
    health_test.poke(twin, world, c, set())
    dead = frozenset(everything - c.live.prices.keys()) - prices.unknown
    return Market(twin, world, head, dead, prices.unknown, prices.reason)


def judge(market: Market, account_id: int) -> tuple[Reading, Margin | None]:
    """Health of one account, and its margin at the prices that decided (None where the model
    refuses). Never raises for the account's sake: what the model refuses is ``UNKNOWN``.
    """
    twin = scratch(market.state)
    try:
        c = health_test.open_case(twin, market.world, account_id)
        obliged = account_lib.has_obligations(c.a)
        if obliged and c.mask & market.unknown:
            m = margin_engine.compute(twin, account_id, c.a)
            return reading(market, account_id, m, Health.UNKNOWN, c.mask), m
        health_test.poke(twin, market.world, c, set())
        try:
            m = health_test.require_unhealthy(twin, market.world, c)
            health = Health.UNHEALTHY
        except ModelRevert as error:
            if error.name != "AccountHealthy":
                raise
            m = margin_engine.compute(twin, account_id, c.a)
            health = Health.UNKNOWN if obliged and c.mask & market.dead else Health.HEALTHY
        return reading(market, account_id, m, health, c.mask), m
    except (ModelRevert, ArithmeticError, LookupError, ValueError) as error:
        return blind(account_id, f"the model refuses: {error!r}"), None


def reading(
    market: Market, account_id: int, m: Margin, health: Health, mask: Iterable[int]
) -> Reading:
    """As of the head; of an unknown account as of the oldest snapshot that it hangs on."""
    unknown = health is Health.UNKNOWN
    return Reading(
        account_id,
        health,
        m.equity,
        m.mm,
        m.im,
        market.head.number,
        market.since(mask) if unknown else market.head.timestamp,
        market.missing(mask) if unknown else "",
    )


def blind(account_id: int, reason: str) -> Reading:
    """Unknown, and no value was ever known: its age is that of the epoch."""
    return Reading(account_id, Health.UNKNOWN, 0, 0, 0, 0, 0, reason)


def underlyings_of(state: State, account_id: int) -> set[int]:
    """Underlyings whose price the account depends on."""
    p = feed_reader.load_params(state)
    return drift.underlying_mask(p, account_lib.load(state, account_id))


def _names(underlyings: Iterable[int]) -> str:
    return ", ".join(str(u) for u in sorted(underlyings))


def _oracle(market: Market, u: int) -> str:
    p = feed_reader.load_params(market.state)
    oracle_state, _, _ = feed_reader.live(market.state, market.world, p, u)
    return oracle_state.name


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


class HealthBook:
    """The last reading of every account that is not simply healthy, and the queue of those whose
    health is unknown.

    A reading of an unknown account keeps the newest values that were ever true, so its age grows
    until the account can be read again.
    """

    def __init__(self) -> None:
        self._last: dict[int, Reading] = {}
        self._since: dict[int, int] = {}  # unknown accounts: time of the head that lost them

    def last(self, account: int) -> Reading | None:
        """Last reading; None for an account that was healthy, or was never read."""
        return self._last.get(account)

    def unsure(self, found: Reading, now: int) -> Reading:
        """The reading to report for an account that is unknown at a head of time ``now``: the
        reason of ``found`` with the newer of its values and those remembered.
        """
        self._since.setdefault(found.account, now)
        old = self._last.get(found.account)
        if old is not None and (old.timestamp, old.block) > (found.timestamp, found.block):
            found = replace(old, health=Health.UNKNOWN, reason=found.reason)
        self._last[found.account] = found
        return found

    def known(self, readings: Iterable[Reading]) -> None:
        """Readings that are true at a head."""
        for item in readings:
            self._last[item.account] = item
            self._since.pop(item.account, None)

    def keep(self, accounts: Iterable[int]) -> None:
        """Forget everybody else: they are healthy."""
        kept = set(accounts)
        self._last = {a: r for a, r in self._last.items() if a in kept}
        self._since = {a: t for a, t in self._since.items() if a in kept}

    def queue(self, now: int) -> list[Reading]:
        """The unknown accounts, the oldest value first, then the longest unknown."""
        waiting = [self._last[a] for a in self._since]
        return sorted(waiting, key=lambda r: (-r.age(now), self._since[r.account], r.account))

    def unknown_since(self, account: int) -> int | None:
        """Time of the head at which the account became unknown; None where it is not."""
        return self._since.get(account)
