"""A snapshot as metrics. All names begin with ``plumbline_keeper_``.

Counters of the loop appear under their own names; the gauges are listed in ``families``. Times are
Unix seconds (the reader subtracts), amounts of cash are in cash, those of the chain in wei.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from risk.keeper.monitor.exposition import Family, Sample, counter, gauge
from risk.keeper.monitor.webhook import Counts
from risk.keeper.snapshot import Bin, Snapshot

PREFIX = "plumbline_keeper_"
WAD = 10**18


def families(
    snapshot: Snapshot | None, now: float, calls: int, hook: Counts | None, waiting: int
) -> list[Family]:
    """``calls``: margin calls made. ``hook``: None where none is configured. Before the first
    snapshot only these and ``stale`` are known.
    """
    out = [_gauge("stale", "1 while no head can be trusted.", _is_stale(snapshot, now))]
    out.append(_counter("margin_calls_total", "Accounts that fell below IM or MM.", calls))
    if hook is not None:
        out += [
            _counter("webhook_delivered_total", "Margin calls delivered.", hook.delivered),
            _counter("webhook_lost_total", "Margin calls given up.", hook.lost),
            _counter("webhook_retries_total", "Requests that were repeated.", hook.retries),
            _gauge("webhook_waiting", "Margin calls in the queue.", waiting),
        ]
    if snapshot is not None:
        out += [*_about(snapshot), *_accounts(snapshot), *_sending(snapshot)]
        taken = {family.name for family in out}
        out += [f for f in _counters(snapshot.counters) if f.name not in taken]
    return out


def _is_stale(snapshot: Snapshot | None, now: float) -> int:
    return int(snapshot is None or snapshot.stale(now))


def _about(s: Snapshot) -> Iterator[Family]:
    labels = {
        "chain_id": str(s.chain_id),
        "vault": s.vault,
        "signer": s.signer,
        "mode": "live" if s.live else "dry_run",
    }
    yield gauge(PREFIX + "info", "What this keeper works on; always 1.", Sample(1, labels))
    yield _gauge("start_time_seconds", "When the process started.", s.started)
    yield _gauge("snapshot_time_seconds", "When these numbers were made.", s.written)
    yield _gauge("suspended", "1 while nothing is sent.", int(bool(s.suspended)))
    yield _gauge("stopped", "1 once the keeper has ended.", int(bool(s.stopped)))
    if s.head is not None:
        yield _gauge("head_number", "The block that the keeper works on.", s.head.number)
        yield _gauge("head_time_seconds", "Timestamp of that block.", s.head.timestamp)
        yield _gauge("head_seen_time_seconds", "When a head was last trusted.", s.head_seen)
        yield _gauge("base_fee_wei", "Base fee of that block.", s.head.base_fee_wei)
    yield _gauge(
        "reconciled_block", "Last block at which the book was checked; 0: none.", s.reconciled_block
    )


def _accounts(s: Snapshot) -> Iterator[Family]:
    a = s.accounts
    states = {
        "healthy": a.healthy - a.warned,
        "warned": a.warned,
        "unhealthy": a.unhealthy,
        "unknown": a.unknown,
    }
    yield _by("accounts", "Accounts; warned: MM <= E < IM.", "state", states)
    yield _gauge(
        "oldest_unknown_seconds",
        "Age of the oldest value of an account whose health is unknown.",
        s.oldest_unknown_seconds,
    )
    yield gauge(
        PREFIX + "health_factor_accounts",
        "Accounts with low <= E/MM < high.",
        *(Sample(b.count, _bounds(b)) for b in s.histogram),
    )
    known = [e.health_factor for e in s.endangered if e.health_factor is not None]
    if known:
        yield _gauge("health_factor_lowest", "Lowest E/MM of the accounts shown.", min(known))
    counts = {name: line.count for name, line in s.buckets.items()}
    yield _by("passed_over_accounts", "Accounts that got no transaction, by why.", "bucket", counts)
    profits = {name: line.profit_wad / WAD for name, line in s.buckets.items()}
    yield _by("passed_over_profit_cash", "What their best ways would bring.", "bucket", profits)


def _sending(s: Snapshot) -> Iterator[Family]:
    yield _gauge("planned_intents", "Transactions planned at this head.", s.intents)
    states = {"open": 0, "mined": 0, "taken": 0}
    for nonce in s.nonces:
        states[nonce.status] = states.get(nonce.status, 0) + 1
    yield _by("nonces", "Transactions that are not final.", "status", states)
    if s.balance_wei is not None:
        yield _gauge("balance_wei", "Balance of the signer.", s.balance_wei)
    if not s.live:
        return
    yield _gauge("day_spent_wei", "Fees of the last 24 hours.", s.spent_wei)
    yield _gauge("day_lost_wei", "Of that, fees that brought nothing.", s.lost_wei)
    if s.spend_limit_wei is not None:
        yield _gauge("day_spend_limit_wei", "Limit of the former.", s.spend_limit_wei)
    if s.loss_limit_wei is not None:
        yield _gauge("day_loss_limit_wei", "Limit of the latter.", s.loss_limit_wei)


def _counters(counters: Mapping[str, int]) -> Iterator[Family]:
    """Names are the loop's. ``errors_KIND_total`` becomes ``errors_by_kind_total`` with a label;
    what the format does not allow in a name becomes ``_``.
    """
    sums: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for given, value in counters.items():
        name = given.removeprefix(PREFIX).removesuffix("_total")
        kind = re.fullmatch(r"errors_([A-Z]\w*)", name)
        if kind:
            kinds[kind[1]] = value
            continue
        full = f"{PREFIX}{re.sub(r'[^a-zA-Z0-9_]', '_', name)}_total"
        sums[full] = sums.get(full, 0) + value
    for name in sorted(sums):
        words = name.removeprefix(PREFIX).removesuffix("_total").replace("_", " ")
        yield counter(name, f"Since the start: {words}.", Sample(sums[name]))
    samples = (Sample(value, {"kind": kind}) for kind, value in sorted(kinds.items()))
    yield counter(PREFIX + "errors_by_kind_total", "Failures survived, by class.", *samples)


def _bounds(b: Bin) -> dict[str, str]:
    low = "-Inf" if b.low is None else f"{b.low:g}"
    return {"low": low, "high": "+Inf" if b.high is None else f"{b.high:g}"}


def _gauge(name: str, text: str, value: int | float) -> Family:
    return gauge(PREFIX + name, text, Sample(value))


def _counter(name: str, text: str, value: int) -> Family:
    return counter(PREFIX + name, text, Sample(value))


def _by(name: str, text: str, label: str, values: Mapping[str, int | float]) -> Family:
    return gauge(PREFIX + name, text, *(Sample(v, {label: k}) for k, v in values.items()))
