"""Margin calls to a web address, without ever holding up the keeper.

``Webhook.post`` only puts calls into a bounded queue; a thread of its own delivers them, many in
one request. An unsent call of an account is replaced by its newer one. Delivery is at least once:
a receiver drops what it knows by ``id``. What failed for good is counted and logged, never raised.

Body of a request (amounts are decimal strings, WAD of cash; ``text`` is what Slack and Mattermost
show)::

    {"source": "plumbline-keeper", "chain_id": 1, "vault": "0x…", "text": "…", "calls": [
      {"id": "…", "account": "0x…", "owner": "0x…", "sub": 0, "line": "warned" | "liquidatable",
       "equity_wad": "…", "mm_wad": "…", "im_wad": "…", "block": 1, "timestamp": 1}]}

The address often is the password: only scheme and host are ever shown.
"""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from risk.keeper.errors import ConfigError
from risk.keeper.monitor.margin_calls import MarginCall
from risk.keeper.source.http import masked

log = logging.getLogger("plumbline.keeper.webhook")
_AGAIN = frozenset({408, 425, 429})  # statuses below 500 that a later attempt may mend


@dataclass(frozen=True)
class Delivery:
    """How hard to try. Seconds; ``attempts`` for one batch, ``batch`` calls in one request,
    ``queue`` accounts waiting at most: beyond it the oldest warnings are lost and counted.
    """

    attempts: int = 6
    timeout: float = 10.0
    base: float = 1.0
    cap: float = 60.0
    batch: int = 100
    queue: int = 10_000

    def pause(self, attempt: int, rng: Random, asked: float = 0.0) -> float:
        """Before attempt ``attempt`` + 1: doubling, half of it drawn; at least what the receiver
        asked for, as far as ``cap``.
        """
        full = min(self.cap, self.base * 2.0 ** min(attempt, 60))
        return max(full * (0.5 + 0.5 * rng.random()), min(asked, self.cap))


class Refused(Exception):
    """The receiver did not take it. ``again``: a later attempt may succeed, after ``wait``."""

    def __init__(self, reason: str, again: bool, wait: float = 0.0) -> None:
        self.again, self.wait = again, wait
        super().__init__(reason)


@dataclass
class Counts:
    """Since the start: calls delivered, and lost (full queue, refused, no more attempts); requests
    that had to be repeated.
    """

    delivered: int = 0
    lost: int = 0
    retries: int = 0


class Webhook:
    """Starts its thread with the first call. ``close`` gives it some time to finish.

    Raises ``ConfigError`` for an address that is no http(s) address.
    """

    def __init__(
        self,
        url: str,
        *,
        chain_id: int = 0,
        vault: str = "",
        delivery: Delivery | None = None,
        rng: Random | None = None,
        send: Callable[[bytes], None] | None = None,
    ) -> None:
        self.delivery = delivery or Delivery()
        self.counts = Counts()
        self._where = {"source": "plumbline-keeper", "chain_id": chain_id, "vault": vault}
        self._send = send or sender(url, self.delivery.timeout)
        self._name = masked(url)
        self._rng = rng or Random()
        self._waiting: OrderedDict[int, MarginCall] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"Webhook({self._name})"

    @property
    def waiting(self) -> int:
        """Calls not yet handed to a request."""
        return len(self._waiting)

    def post(self, calls: Sequence[MarginCall]) -> None:
        """Queues; returns at once, whatever the receiver does."""
        if not calls:
            return
        with self._changed:
            if self._closing:
                self.counts.lost += len(calls)
                return
            for call in calls:
                self._waiting[call.reading.account] = call
            self._shorten(len(self._waiting) - self.delivery.queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _shorten(self, over: int) -> None:
        """Drops so many, warnings before the worse calls, the oldest first."""
        if over <= 0:
            return
        order = sorted(self._waiting.values(), key=lambda call: call.line)
        for call in order[:over]:
            del self._waiting[call.reading.account]
        self.counts.lost += over
        log.error("margin calls lost: the queue is full", extra={"lost": over})

    def close(self, timeout: float = 5.0) -> None:
        """Takes no more; waits up to ``timeout`` seconds for what is queued, drops the rest."""
        end = time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)
            self._closing = True
            self.counts.lost += len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                count = min(len(self._waiting), self.delivery.batch)
                batch = [self._waiting.popitem(last=False)[1] for _ in range(count)]
                self._busy = True
            try:
                done = self._deliver(batch)
            except Exception as error:  # a fault of ours must not end the thread
                log.error("margin calls lost", extra={"error": type(error).__name__})
                done = False
            with self._changed:
                self._busy = False
                self.counts.delivered += len(batch) if done else 0
                self.counts.lost += 0 if done else len(batch)
                self._changed.notify_all()

    def _deliver(self, batch: Sequence[MarginCall]) -> bool:
        body = json.dumps({**self._where, **payload(batch)}, separators=(",", ":")).encode()
        for attempt in range(self.delivery.attempts):
            try:
                self._send(body)
                log.info("margin calls sent", extra={"calls": len(batch), "webhook": self._name})
                return True
            except Refused as refusal:
                last = attempt + 1 >= self.delivery.attempts
                facts = {"webhook": self._name, "reason": str(refusal), "attempt": attempt + 1}
                if last or not refusal.again:
                    log.error("margin calls lost", extra={**facts, "calls": len(batch)})
                    return False
                log.warning("margin calls not taken yet", extra=facts)
                self.counts.retries += 1
                pause = self.delivery.pause(attempt, self._rng, refusal.wait)
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, pause):
                    return False
        return False


def payload(calls: Sequence[MarginCall]) -> dict[str, Any]:
    """``text`` and ``calls`` of the body."""
    return {"text": _text(calls), "calls": [entry(call) for call in calls]}


def entry(call: MarginCall) -> dict[str, Any]:
    """A call as receivers and the page get it."""
    reading = call.reading
    return {
        "id": call.id,
        "account": f"0x{reading.account:042x}",
        "owner": f"0x{reading.account >> 8:040x}",
        "sub": reading.account & 0xFF,
        "line": call.line.label,
        "equity_wad": str(reading.equity_wad),
        "mm_wad": str(reading.mm_wad),
        "im_wad": str(reading.im_wad),
        "block": reading.block,
        "timestamp": reading.timestamp,
    }


def _text(calls: Sequence[MarginCall]) -> str:
    """The first few in words."""
    shown = [
        f"0x{c.reading.account >> 8:040x}:{c.reading.account & 0xFF} {c.line.label} "
        f"(E {_cash(c.reading.equity_wad)}, MM {_cash(c.reading.mm_wad)}, "
        f"IM {_cash(c.reading.im_wad)})"
        for c in calls[:10]
    ]
    more = len(calls) - len(shown)
    return "Margin call: " + "; ".join(shown) + (f"; and {more} more" if more else "")


def _cash(wad: int) -> str:
    """Two decimals, towards zero; for people only."""
    whole, cents = divmod(abs(wad) // 10**16, 100)
    return f"{'-' if wad < 0 else ''}{whole}.{cents:02d}"


def sender(url: str, timeout: float) -> Callable[[bytes], None]:
    """Posts a body on a connection of its own; raises ``Refused``. Redirections are not followed:
    they would carry accounts to a place that nobody configured.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigError(f"webhook {masked(url)}: not an http(s) address")
    if "@" in parts.netloc:
        raise ConfigError(f"webhook {masked(url)}: no user:password in an address")
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise ConfigError(f"webhook {masked(url)}: spaces and other signs must be percent-encoded")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "User-Agent": "plumbline-keeper"}
    secure = ssl.create_default_context() if parts.scheme == "https" else None

    def send(body: bytes) -> None:
        connection: http.client.HTTPConnection
        if secure is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=secure)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            status, asked = response.status, response.getheader("Retry-After") or ""
        except (OSError, http.client.HTTPException) as error:
            # neither the text nor the cause: both may hold the address
            raise Refused(type(error).__name__, again=True) from None
        finally:
            connection.close()
        if not 200 <= status < 300:
            wait = float(asked) if asked.isascii() and asked.isdigit() else 0.0
            raise Refused(f"HTTP {status}", status >= 500 or status in _AGAIN, wait)

    return send
