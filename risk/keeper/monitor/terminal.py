"""A snapshot as a screen of text. Twin of ``page.html``: same words, same order."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from risk.keeper.ports import Bucket
from risk.keeper.snapshot import Bin, Endangered, Snapshot

WAD = 10**18
WIDE = 120
BAR = 24  # columns of the longest bar
BUCKETS = {
    Bucket.UNPROFITABLE: "unsafe, but a loss for the liquidator",
    Bucket.IN_GRACE: "flagged, grace has not passed",
    Bucket.LIQUIDATOR_TOO_SMALL: "own margin is too small",
    Bucket.UNKNOWN: "health is unknown",
    Bucket.OPEN: "a transaction of ours is open",
    Bucket.HEALTHY_LIVE: "healthy at live prices",
    Bucket.SIMULATION: "the simulation refused",
    Bucket.WAIT: "waits for a better discount",
    Bucket.LATER: "left for a later head",
}
_BUCKET_WORDS = {bucket.value: words for bucket, words in BUCKETS.items()}
_STYLES = {
    "unhealthy": "bold red",
    "liquidatable": "bold red",
    "unknown": "magenta",
    "warned": "yellow",
    "healthy": "green",
}


def verdict(s: Snapshot, now: float, failing: str = "") -> tuple[str, str]:
    """Style and words for the state of the whole. ``failing``: why no newer data came."""
    if failing:
        return "bold red", f"{failing} What is shown is old."
    if s.stopped:
        return "bold red", f"The keeper has stopped: {s.stopped}"
    if s.seen_age(now) is None:
        return "bold red", "The keeper has no head yet."
    if s.stale(now):
        limit = span(s.stale_seconds)
        return "bold red", f"Stale: no trusted head within {limit}. What is shown is old."
    if s.suspended:
        return "bold yellow", f"Nothing is sent now: {s.suspended}"
    dry = "" if s.live else " Dry run: nothing is signed."
    return "bold green", f"Following the chain.{dry}"


def screen(
    data: Mapping[str, Any], now: float, *, width: int, failing: str = "", top: int = 15
) -> RenderableType:
    """``data`` is what ``/data.json`` says. ``top``: how many accounts. Texts of the chain, of
    nodes and of errors are shown as text: no markup, no control characters. Below ``WIDE`` columns
    the amounts are left out: half a number would be a wrong one.
    """
    s = Snapshot.from_json(data)
    style, words = verdict(s, now, failing)
    parts: list[RenderableType] = [
        _text(f"Plumbline keeper, chain {s.chain_id}, vault {s.vault}", "bold"),
        Panel(Group(_text(words, style), _text(_age(s, now))), border_style=style.split()[-1]),
        _counts(s),
        _accounts(s.endangered, top, amounts=width >= WIDE),
    ]
    right = Group(_buckets(s), *_calls(data))
    both: list[RenderableType] = [_histogram(s.histogram), Text(), right]
    if width >= WIDE:
        side = Table.grid(padding=(0, 4))
        side.add_row(both[0], right)
        both = [side]
    return Group(*parts, Text(), *both, *_own(s))


def clean(text: object) -> str:
    """Without control characters and marks that turn the direction of writing."""
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else "�" for c in str(text)
    )


def cash(wad: int) -> str:
    """Two decimals, towards zero."""
    whole, cents = divmod(abs(wad) // 10**16, 100)
    return f"{'-' if wad < 0 else ''}{whole:,}.{cents:02d}"


def factor(value: float | None) -> str:
    """Rounded down: 1.0000 is never below 1."""
    return "-" if value is None else f"{math.floor(value * 10_000) / 10_000:.4f}"


def span(seconds: float) -> str:
    """A time in words."""
    s = max(0, round(seconds))
    if s < 120:
        return f"{s} s"
    if s < 7200:
        return f"{s // 60} min" + (f" {s % 60} s" if s % 60 else "")
    if s < 172_800:
        return f"{s // 3600} h {s % 3600 // 60} min"
    return f"{s // 86_400} days"


def owner(account: str) -> str:
    """``0x`` + 42 digits as ``0xOWNER:SUB``; another text as it is."""
    try:
        return f"{account[:42]}:{int(account[42:], 16)}" if len(account) == 44 else account
    except ValueError:
        return account


def _short(account: str) -> str:
    full = owner(account)
    return f"{full[:10]}…{full[36:]}" if len(full) > 42 else full


def _text(words: object, style: str = "") -> Text:
    return Text(clean(words), style)


def _age(s: Snapshot, now: float) -> str:
    age = s.seen_age(now)
    if s.head is None or age is None:
        return "no block yet"
    return f"block {s.head.number}, trusted {span(age)} ago"


def _counts(s: Snapshot) -> Text:
    a = s.accounts
    out = Text(f"{a.total:,} accounts: ")
    for n, (name, value) in enumerate(
        (
            ("unhealthy", a.unhealthy),
            ("unknown", a.unknown),
            ("warned", a.warned),
            ("healthy", a.healthy - a.warned),
        )
    ):
        out.append(", " if n else "")
        out.append(f"{value:,} {name}", _STYLES[name] if value else "dim")
    if a.unknown:
        out.append(f" (oldest value {span(s.oldest_unknown_seconds)})")
    return out


def _accounts(entries: Sequence[Endangered], top: int, *, amounts: bool) -> RenderableType:
    if not entries:
        return _text("No account is near its limits.", "dim")
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.add_column("Account", no_wrap=True, min_width=19)
    table.add_column("State", no_wrap=True, max_width=12)
    table.add_column("E / MM", justify="right", no_wrap=True, min_width=6)
    for name in ("Equity", "Maintenance", "Initial") if amounts else ():
        table.add_column(name, justify="right", overflow="fold")
    for name in ("Bound by", "Why not sent"):
        table.add_column(name, overflow="fold")
    for e in entries[:top]:
        why = [_BUCKET_WORDS.get(e.bucket, e.bucket), e.reason, e.note]
        if e.age_seconds:
            why.append(f"{span(e.age_seconds)} old")
        table.add_row(
            _text(_short(e.account)),
            _text(e.status, _STYLES.get(e.status, "")),
            factor(e.health_factor),
            *(map(cash, (e.equity_wad, e.mm_wad, e.im_wad)) if amounts else ()),
            _text(e.binding),
            _text("; ".join(w for w in why if w)),
        )
    more = len(entries) - top
    return Group(table, _text(f"and {more} more", "dim")) if more > 0 else table


def _histogram(histogram: Sequence[Bin]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.add_column("E / MM")
    table.add_column("logarithmic", header_style="dim")
    table.add_column("Accounts", justify="right")
    most = max((b.count for b in histogram), default=0)
    for b in histogram:
        style = ""
        if b.high is not None and b.high <= 1.1:
            style = "red" if b.high <= 1 else "yellow"
        length = math.ceil(BAR * math.log1p(b.count) / math.log1p(most)) if b.count else 0
        low, high = (f"{x:g}" if x is not None else "" for x in (b.low, b.high))
        words = f"below {high}" if not low else f"{low} and more" if not high else f"{low} – {high}"
        table.add_row(Text(words, style), Text("█" * length, style), f"{b.count:,}")
    return table


def _buckets(s: Snapshot) -> RenderableType:
    if not any(line.count for line in s.buckets.values()):
        return _text("Nobody was passed over.", "dim")
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    table.add_column("No transaction now")
    table.add_column("Accounts", justify="right")
    table.add_column("Profit left", justify="right")
    for name, line in sorted(s.buckets.items(), key=lambda item: -item[1].count):
        if line.count:
            words = _text(_BUCKET_WORDS.get(name, name))
            table.add_row(words, f"{line.count:,}", cash(line.profit_wad))
    return table


def _calls(data: Mapping[str, Any], shown: int = 5) -> list[RenderableType]:
    about = data.get("monitor")
    if not isinstance(about, dict) or not about.get("calls"):
        return []
    out: list[RenderableType] = [Text(), _text(f"Margin calls ({about['calls_made']})", "bold")]
    for call in about["calls"][:shown]:
        line = str(call["line"])
        out.append(
            Text.assemble(
                (clean(f"{line:13}"), _STYLES.get(line, "")),
                clean(f"{_short(str(call['account']))}  {_moment(float(call['timestamp']))}"),
            )
        )
    hook = about.get("webhook")
    if isinstance(hook, dict):
        words = ", ".join(f"{hook[name]} {name}" for name in ("delivered", "waiting", "lost"))
        out.append(_text(f"webhook: {words}", "red" if hook["lost"] else "dim"))
    return out


def _own(s: Snapshot, shown: int = 5) -> list[RenderableType]:
    """The keeper's own state."""
    out: list[RenderableType] = [Text()]
    facts = [f"{s.intents} planned", f"{len(s.nonces)} transactions not final"]
    if s.balance_wei is not None:
        facts.append(f"balance {s.balance_wei // 10**14 / 10**4:,.4f}")
    if s.loss_limit_wei is not None:
        lost, limit = (wei // 10**14 / 10**4 for wei in (s.lost_wei, s.loss_limit_wei))
        facts.append(f"lost {lost:,.4f} of {limit:,.4f} in 24 hours")
    checked = f"checked at block {s.reconciled_block}" if s.reconciled_block else "not checked yet"
    facts.append(f"book {checked}")
    out.append(_text("; ".join(facts)))
    for n in s.nonces[:shown]:
        words = f"nonce {n.nonce} {n.status} {n.purpose} {n.key} attempts {n.attempts} {n.hash}"
        out.append(_text(f"  {words}"))
    for error in s.errors[:shown]:
        out.append(_text(f"  {_moment(error.time)} {error.kind}: {error.message}", "red"))
    return out


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "?"
