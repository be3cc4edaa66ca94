"""What the keeper knows and does as of its last head, for people: the page, ``watch``, ``status``.

The loop makes a new ``Snapshot`` at every head and after every failure, keeps the last one in
memory (``Latest``), writes it to the store and shows it to every ``Observer``. It is never changed
once made, so other threads may read it. ``to_json`` gives plain JSON: amounts of cash are strings
of integers in WAD (they exceed what JavaScript counts exactly), keys end in the unit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from risk.keeper.ports import Sweep
from risk.keeper.types import Head

VERSION = 1
MOST = 50  # endangered accounts in a snapshot
EDGES = (0.0, 0.5, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0)
"""Bounds of the histogram's bins: below the first, between two, from the last on."""


@dataclass(frozen=True)
class Bin:
    """Accounts with ``low`` <= E/MM < ``high``; None: no bound."""

    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Endangered:
    """An account near or below its limits. ``status``: unhealthy | unknown | warned | healthy.

    ``health_factor`` is E/MM, None where there is no maintenance margin; ``binding`` says what
    makes the margin: "scenario 7" or the name of the largest charge. For unknown accounts the
    amounts are the last known ones, ``age_seconds`` old at the head, and ``reason`` says why.
    """

    account: str  # 0x + 42 hex digits
    status: str
    equity_wad: int
    mm_wad: int
    im_wad: int
    health_factor: float | None
    binding: str = ""
    block: int = 0
    age_seconds: int = 0
    reason: str = ""
    bucket: str = ""  # why it gets no transaction now, see ports.Bucket
    note: str = ""


@dataclass(frozen=True)
class OpenNonce:
    """A transaction of ours that is not final. ``status``: open | mined | taken."""

    nonce: int
    key: str  # account (hex) : way
    status: str
    hash: str
    attempts: int
    max_fee_wei: int
    tip_wei: int
    since_block: int
    purpose: str = "intent"


@dataclass(frozen=True)
class ErrorLine:
    """A failure that the keeper survived. ``kind`` is the class of the error; no secrets."""

    time: float  # Unix seconds
    kind: str
    message: str


@dataclass(frozen=True)
class Counts:
    """Accounts by state: ``healthy`` includes ``warned`` (MM <= E < IM)."""

    total: int = 0
    healthy: int = 0
    warned: int = 0
    unhealthy: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class BucketLine:
    """``profit_wad``: Σ of what the best ways would have brought."""

    count: int
    profit_wad: int = 0


@dataclass(frozen=True)
class Snapshot:
    """See the module. ``head`` is None before the first one; ``written`` is when this was made
    (wall clock), ``stale_seconds`` how old the head may be before the keeper is not well.
    ``suspended`` says why nothing is sent now, empty where it is not suspended: something is not
    known, or the limit of a day's fees is reached.
    """

    chain_id: int
    vault: str
    signer: str
    live: bool  # False: dry run, nothing is ever signed
    started: float
    written: float
    stale_seconds: float
    head: Head | None = None
    head_seen: float = 0.0  # wall clock at which the keeper last had a trusted head
    suspended: str = ""
    stopped: str = ""  # why the keeper ended, empty while it runs
    accounts: Counts = field(default_factory=Counts)
    oldest_unknown_seconds: int = 0
    histogram: tuple[Bin, ...] = ()
    histogram_block: int = 0
    endangered: tuple[Endangered, ...] = ()
    buckets: Mapping[str, BucketLine] = field(default_factory=dict)
    intents: int = 0  # planned at this head
    nonces: tuple[OpenNonce, ...] = ()
    balance_wei: int | None = None  # None: not asked (dry run) or unknown
    spent_wei: int = 0  # on all transactions of the last 24 hours
    lost_wei: int = 0  # of that, on those that brought nothing
    spend_limit_wei: int | None = None  # None: there is none
    loss_limit_wei: int | None = None
    errors: tuple[ErrorLine, ...] = ()  # the last ones, newest first
    counters: Mapping[str, int] = field(default_factory=dict)  # names end in _total
    reconciled_block: int = 0  # 0: not yet

    def head_age(self, now: float | None = None) -> float | None:
        """Seconds since the head's own time; None before the first head."""
        if self.head is None:
            return None
        return max(0.0, (time.time() if now is None else now) - self.head.timestamp)

    def seen_age(self, now: float | None = None) -> float | None:
        """Seconds since the keeper last had a trusted head; None before the first one."""
        if not self.head_seen:
            return None
        return max(0.0, (time.time() if now is None else now) - self.head_seen)

    def stale(self, now: float | None = None) -> bool:
        """No trusted head within ``stale_seconds``, or the keeper has stopped."""
        age = self.seen_age(now)
        return bool(self.stopped) or age is None or age > self.stale_seconds

    def to_json(self, now: float | None = None) -> dict[str, Any]:
        """Plain JSON values; adds ``version``, ``head_age_seconds``, ``head_seen_age_seconds`` and
        ``stale`` as of ``now``.
        """
        moment = time.time() if now is None else now
        out = _plain(asdict(self))
        assert isinstance(out, dict)
        out["version"] = VERSION
        out["head_age_seconds"] = self.head_age(moment)
        out["head_seen_age_seconds"] = self.seen_age(moment)
        out["stale"] = self.stale(moment)
        return out

    @staticmethod
    def from_json(item: Mapping[str, Any]) -> Snapshot:
        """The inverse of ``to_json``; ``ValueError`` where it is none, or of another version."""
        if item.get("version") != VERSION:
            raise ValueError(f"snapshot of version {item.get('version')}, expected {VERSION}")
        try:
            given = {k: v for k, v in item.items() if k in Snapshot.__dataclass_fields__}
            given["accounts"] = Counts(**item["accounts"])
            given["histogram"] = tuple(Bin(**x) for x in item["histogram"])
            given["endangered"] = tuple(Endangered(**_ints(x)) for x in item["endangered"])
            given["buckets"] = {k: BucketLine(**_ints(v)) for k, v in item["buckets"].items()}
            given["nonces"] = tuple(OpenNonce(**_ints(x)) for x in item["nonces"])
            given["errors"] = tuple(ErrorLine(**x) for x in item["errors"])
            given["head"] = Head(**_ints(item["head"])) if item["head"] else None
            return Snapshot(**_ints(given))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a snapshot: {error}") from None


class Observer(Protocol):
    """Shown every snapshot, with the sweep of that head (None after a failure). Called from the
    loop's thread: must return at once; what it raises is logged and dropped.
    """

    def seen(self, snapshot: Snapshot, sweep: Sweep | None) -> None: ...


class Latest:
    """The last snapshot; one thread puts it, others read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: Snapshot | None = None

    def get(self) -> Snapshot | None:
        """None before the first."""
        with self._lock:
            return self._value

    def put(self, value: Snapshot) -> None:
        """Replaces it."""
        with self._lock:
            self._value = value


def bins(counts: Mapping[int, int] | list[int]) -> tuple[Bin, ...]:
    """The histogram of counts by bin index 0 … len(EDGES)."""
    bounds: list[float | None] = [None, *EDGES, None]
    get = counts.get if isinstance(counts, Mapping) else None
    number = [get(i, 0) if get else counts[i] for i in range(len(EDGES) + 1)]
    return tuple(Bin(bounds[i], bounds[i + 1], n) for i, n in enumerate(number))


def _plain(item: Any, key: str = "") -> Any:
    if isinstance(item, dict):
        return {k: _plain(v, k) for k, v in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(v) for v in item]
    if isinstance(item, int) and not isinstance(item, bool) and key.endswith(("_wad", "_wei")):
        return str(item)
    return item


def _ints(item: Mapping[str, Any]) -> dict[str, Any]:
    def back(key: str, value: Any) -> Any:
        return int(value) if key.endswith(("_wad", "_wei")) and isinstance(value, str) else value

    return {k: back(k, v) for k, v in item.items()}
