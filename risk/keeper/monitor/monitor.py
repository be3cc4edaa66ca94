"""The observer of the loop: keeps what it was shown last, makes margin calls, serves both."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from risk.keeper.monitor import metrics
from risk.keeper.monitor.exposition import render
from risk.keeper.monitor.margin_calls import QUIET_SECONDS, Crossings, Line, MarginCall
from risk.keeper.monitor.server import Answer, Server
from risk.keeper.monitor.webhook import Delivery, Webhook, entry
from risk.keeper.ports import Sweep
from risk.keeper.snapshot import Snapshot

SHOWN_CALLS = 50
REMEMBERED_SECONDS = 3600.0  # an older snapshot says nothing about who has been told


class Monitor:
    """See the package.

    ``port``: 0 takes a free one, None serves nothing. ``webhook``: address for margin calls, None
    keeps them to the page. ``earlier``: the snapshot that the previous process left; those whom it
    showed below a line are not called about that line again. ``clock`` is wall time.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int | None = 0,
        webhook: str | None = None,
        chain_id: int = 0,
        vault: str = "",
        earlier: Snapshot | None = None,
        delivery: Delivery | None = None,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._calls: deque[MarginCall] = deque(maxlen=SHOWN_CALLS)
        self._made = 0
        self._crossings = Crossings(time.monotonic, quiet_seconds)
        if earlier is not None and clock() - earlier.written <= REMEMBERED_SECONDS:
            self._crossings.prime(_below(earlier))
        self.webhook = (
            None
            if webhook is None
            else Webhook(webhook, chain_id=chain_id, vault=vault, delivery=delivery)
        )
        self._server = None if port is None else Server(host, port, self._answer)

    def start(self) -> None:
        """Serves from now on. Raises ``ConfigError`` where it cannot listen there."""
        if self._server is not None:
            self._server.start()

    @property
    def address(self) -> str:
        """``http://host:port`` of the page; empty where none is served."""
        return "" if self._server is None else self._server.address

    def seen(self, snapshot: Snapshot, sweep: Sweep | None) -> None:
        """Takes the snapshot, makes the calls of the sweep. Waits for nobody."""
        calls: list[MarginCall] = []
        if sweep is not None:
            calls = self._crossings.observe(sweep.warned, sweep.unhealthy, sweep.unknown)
        with self._lock:
            self._snapshot = snapshot
            self._calls.extendleft(reversed(calls))  # the worst comes first
            self._made += len(calls)
        if self.webhook is not None:
            self.webhook.post(calls)

    def close(self, timeout: float = 5.0) -> None:
        """Stops serving; gives undelivered calls up to ``timeout`` seconds."""
        if self.webhook is not None:
            self.webhook.close(timeout)
        if self._server is not None:
            self._server.close()

    def data(self) -> dict[str, Any] | None:
        """What the page shows: the snapshot's JSON with ``monitor`` added; None before the first.

        ``monitor``: ``calls`` as the webhook's, newest first; ``calls_made``; ``webhook`` with its
        counts, None where there is none; ``now``, wall clock of this machine.
        """
        now = self._clock()
        with self._lock:
            snapshot, calls, made = self._snapshot, list(self._calls), self._made
        if snapshot is None:
            return None
        hook = self.webhook
        about = {
            "now": now,
            "calls": [entry(call) for call in calls],
            "calls_made": made,
            "webhook": None if hook is None else {**vars(hook.counts), "waiting": hook.waiting},
        }
        out = finite({**snapshot.to_json(now), "monitor": about})
        assert isinstance(out, dict)
        return out

    def health(self) -> tuple[bool, str]:
        """Whether a trusted head is recent, and in words."""
        with self._lock:
            snapshot = self._snapshot
        if snapshot is None:
            return False, "no head yet"
        return well(snapshot, self._clock())

    def metrics(self) -> str:
        """The page for Prometheus."""
        with self._lock:
            snapshot, made = self._snapshot, self._made
        hook = self.webhook
        counts = None if hook is None else hook.counts
        waiting = 0 if hook is None else hook.waiting
        return render(metrics.families(snapshot, self._clock(), made, counts, waiting))

    def _answer(self, path: str) -> Answer | None:
        if path == "/metrics":
            return Answer.metrics(self.metrics())
        if path == "/healthz":
            good, words = self.health()
            return Answer.json({"ok": good, "reason": words}, 200 if good else 503)
        if path == "/data.json":
            data = self.data()
            return Answer.json(data or {"error": "no head yet"}, 200 if data else 503)
        return None


def well(snapshot: Snapshot, now: float) -> tuple[bool, str]:
    """Whether the keeper follows the chain, and in words if not."""
    if snapshot.stopped:
        return False, f"the keeper has stopped: {snapshot.stopped}"
    age = snapshot.seen_age(now)
    if age is None:
        return False, "no head yet"
    if snapshot.stale(now):
        return False, f"no trusted head for {age:.0f} s, the limit is {snapshot.stale_seconds:g} s"
    return True, "ok"


def finite(item: Any) -> Any:
    """JSON has neither NaN nor infinity: null takes their place."""
    if isinstance(item, dict):
        return {key: finite(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [finite(value) for value in item]
    if isinstance(item, float) and not math.isfinite(item):
        return None
    return item


def _below(snapshot: Snapshot) -> Iterator[tuple[int, Line]]:
    lines = {"warned": Line.WARNED, "unhealthy": Line.LIQUIDATABLE}
    for at_risk in snapshot.endangered:
        if at_risk.status in lines:
            yield int(at_risk.account, 16), lines[at_risk.status]
