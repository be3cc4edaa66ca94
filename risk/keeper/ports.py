"""What the loop needs of the parts that read, judge, plan and send; the real ones are put together
in ``assemble.py``, tests put fakes in their place.

One turn of the loop: ``Sending.tick`` first, so that every open nonce is known before a new one is
signed; then ``HeadSource.head``, ``Follower.advance`` and ``prices``, ``Scanning.scan``,
``Planning.plan``, and for every intent ``Simulating.check`` and ``Sending.submit``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from risk.exact.state import State
from risk.keeper.book import Advance, Part, Prices
from risk.keeper.dispatch import Event, Verdict
from risk.keeper.dispatch.spending import Spending
from risk.keeper.source import Block
from risk.keeper.types import Head, Intent, Reading

# ── scan ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sweep:
    """Outcome of a scan at ``head``: every account below its limits or unknown, and those in the
    warning zone (MM <= E < IM). Healthy accounts are only counted; ``fresh`` is how many accounts
    were judged anew, the others kept their verdict because nothing they depend on changed.
    ``failed``: why the scan itself failed, which is a defect; everybody is unknown then.
    """

    head: Head
    unhealthy: Mapping[int, Reading]
    unknown: Mapping[int, Reading]
    warned: Mapping[int, Reading]
    accounts: int
    fresh: int
    failed: str = ""


class Scanning(Protocol):
    """Health of everybody."""

    def scan(self, state: State, prices: Prices, head: Head, advance: Advance) -> Sweep: ...


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────


class Bucket(Enum):
    """Why an account that is not healthy gets no transaction now."""

    UNPROFITABLE = "unsafe_but_unprofitable"
    IN_GRACE = "in_grace"
    LIQUIDATOR_TOO_SMALL = "liquidator_too_small"
    UNKNOWN = "unknown"
    OPEN = "open"  # a transaction of ours for it is open already
    HEALTHY_LIVE = "healthy_at_live_prices"
    SIMULATION = "simulation_refused"
    WAIT = "discount_still_grows"
    LATER = "left_for_a_later_head"  # more accounts than one head's limits


@dataclass(frozen=True)
class Passed:
    """An account that was passed over; ``profit_wad`` is what the best way would bring."""

    account: int
    bucket: Bucket
    note: str = ""
    profit_wad: int = 0


@dataclass(frozen=True)
class Plan:
    """``intents`` in the order in which they should be sent."""

    head: Head
    intents: Sequence[Intent] = ()
    passed: Sequence[Passed] = field(default=())


@dataclass(frozen=True)
class Costs:
    """What a unit of gas costs: ``gas_price_wei`` expected for the next block, ``native_wad`` the
    price of 1e18 wei in cash (WAD). Both are at least zero.
    """

    gas_price_wei: int
    native_wad: int

    def of(self, gas: int) -> int:
        """Cash WAD of ``gas``, rounded up."""
        return -(-gas * self.gas_price_wei * self.native_wad // 10**18)


class Planning(Protocol):
    """What to send for whom."""

    def plan(
        self, state: State, prices: Prices, sweep: Sweep, costs: Costs, open_keys: frozenset[str]
    ) -> Plan: ...


class Outcome(Enum):
    """What a simulation at the head says."""

    OK = "ok"
    HEALTHY = "healthy now"
    TAKEN = "somebody else took it"
    BOUND = "beyond the bound"
    LIQUIDATOR = "own margin too small"
    GRACE = "flag or grace"
    REVERTED = "other revert"
    UNAVAILABLE = "no answer"


@dataclass(frozen=True)
class Simulation:
    """``payment_wad`` and ``gas`` are meaningful where ``outcome`` is OK; ``detail`` is the decoded
    revert or the transport's message.
    """

    outcome: Outcome
    payment_wad: int = 0
    gas: int = 0
    detail: str = ""


class Simulating(Protocol):
    """The intent at the head, from the signer, before anything is signed."""

    def check(self, intent: Intent, head: Head) -> Simulation: ...


# ── chain ────────────────────────────────────────────────────────────────────────────────────────


class HeadSource(Protocol):
    """The block the keeper works on; raises ``SourceError`` where no head may be trusted."""

    def head(self) -> Block: ...


class Follower(Protocol):
    """The book."""

    @property
    def state(self) -> State: ...

    @property
    def head(self) -> Head: ...

    def start(self, head: Block, *, behind: int = 0) -> Advance: ...

    def advance(self, head: Block) -> Advance: ...

    def prices(self) -> Prices: ...

    def reconcile(self, sample: int | None = None, *, margins: int = 0) -> object: ...

    def compare_part(self, count: int) -> Part: ...


class Sending(Protocol):
    """The dispatcher."""

    def is_open(self, key: str) -> bool: ...

    def tick(self, head: Head | None = None) -> list[Event]: ...

    def submit(
        self, intent: Intent, head: Head | None = None, *, budget_wei: int = 0
    ) -> Verdict: ...

    def cancel(self, key: str, head: Head | None = None) -> Verdict: ...

    def spending(self, head: Head) -> Spending: ...

    def held(self, head: Head) -> str: ...

    def flag_wei(self, account: int, head: Head) -> int: ...

    def forgive(self, head: Head) -> None: ...
