"""Snapshots and sweeps for the tests of the monitor."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

from risk.keeper.ports import Bucket, Sweep
from risk.keeper.snapshot import (
    EDGES,
    BucketLine,
    Counts,
    Endangered,
    ErrorLine,
    OpenNonce,
    Snapshot,
    bins,
)
from risk.keeper.types import Head, Health, Reading

WAD = 10**18
HASH = "0x" + "ab" * 32


def head(number: int = 21_000_000, timestamp: int | None = None) -> Head:
    when = int(time.time()) - 4 if timestamp is None else timestamp
    return Head(number, HASH, "0x" + "cd" * 32, when, 12_345_678_901)


def account(index: int) -> int:
    return Random(index).getrandbits(160) << 8 | index % 4


def reading(
    index: int, health: Health, equity: int, mm: int, im: int, block: int = 21_000_000
) -> Reading:
    now = int(time.time())
    return Reading(account(index), health, equity, mm, im, block, now)


def sweep(
    *,
    warned: tuple[int, ...] = (),
    unhealthy: tuple[int, ...] = (),
    unknown: tuple[int, ...] = (),
    block: int = 21_000_000,
) -> Sweep:
    """Accounts by index."""

    def made(indices: tuple[int, ...], health: Health, equity: int) -> dict[int, Reading]:
        return {
            account(i): reading(i, health, equity * WAD, 100 * WAD, 150 * WAD, block)
            for i in indices
        }

    return Sweep(
        head=head(block),
        unhealthy=made(unhealthy, Health.UNHEALTHY, 90),
        unknown=made(unknown, Health.UNKNOWN, 0),
        warned=made(warned, Health.HEALTHY, 120),
        accounts=1000,
        fresh=1000,
    )


def quiet(now: float | None = None) -> Snapshot:
    """Nothing wrong, nobody endangered."""
    moment = time.time() if now is None else now
    return Snapshot(
        chain_id=31337,
        vault="0x" + "5f" * 20,
        signer="",
        live=False,
        started=moment - 3600,
        written=moment,
        stale_seconds=60.0,
        head=head(timestamp=int(moment) - 4),
        head_seen=moment - 1,
        accounts=Counts(total=3, healthy=3),
        histogram=bins([0] * len(EDGES) + [3]),
        histogram_block=21_000_000,
    )


def busy(now: float | None = None) -> Snapshot:
    """A market that falls: every part of the page has something to show."""
    moment = time.time() if now is None else now
    rng = Random(5)
    endangered = []
    for i in range(24):
        status = "unhealthy" if i < 9 else "unknown" if i < 12 else "warned"
        mm = rng.randrange(10**3, 10**6) * WAD + rng.randrange(WAD)
        equity = mm * (700 + 25 * i) // 1000 if i < 9 else mm * (1000 + 9 * i) // 1000
        endangered.append(
            Endangered(
                account=f"0x{account(i):042x}",
                status=status,
                equity_wad=equity,
                mm_wad=mm,
                im_wad=mm * 3 // 2,
                health_factor=equity / mm,
                binding=("scenario 7", "basis charge", "scenario 31", "liquidity")[i % 4],
                block=21_000_000 - (40 if status == "unknown" else 0),
                age_seconds=480 if status == "unknown" else 0,
                reason="price of underlying 3 is stale" if status == "unknown" else "",
                bucket=(Bucket.UNPROFITABLE.value if i % 3 else Bucket.LIQUIDATOR_TOO_SMALL.value)
                if i < 6
                else Bucket.UNKNOWN.value
                if status == "unknown"
                else "",
                note="gas 41.20 for a reward of 12.77" if 0 < i < 6 and i % 3 else "",
            )
        )
    return replace(
        quiet(moment),
        signer="0x" + "a1" * 20,
        live=True,
        accounts=Counts(total=50_213, healthy=50_201, warned=12, unhealthy=9, unknown=3),
        oldest_unknown_seconds=480,
        histogram=bins([1, 1, 2, 5, 0, 4, 8, 220, 3100, 9100, 17_000, 12_000, 8_700]),
        endangered=tuple(endangered),
        buckets={
            Bucket.UNPROFITABLE.value: BucketLine(4, -(29 * WAD)),
            Bucket.LIQUIDATOR_TOO_SMALL.value: BucketLine(2, 71_200 * WAD + WAD // 3),
            Bucket.UNKNOWN.value: BucketLine(3),
        },
        intents=3,
        nonces=(
            OpenNonce(
                41,
                f"{account(6):042x}:slice",
                "open",
                HASH,
                3,
                61_000_000_000,
                2 * 10**9,
                20_999_998,
            ),
            OpenNonce(
                42,
                f"{account(7):042x}:legs",
                "mined",
                "0x" + "0e" * 32,
                1,
                40 * 10**9,
                10**9,
                21_000_000,
            ),
        ),
        balance_wei=2_345_678_901_234_567_890,
        errors=(
            ErrorLine(moment - 42, "RateLimited", "https://rpc.example: HTTP 429"),
            ErrorLine(moment - 400, "StaleHead", "the newest block is 75 s old"),
        ),
        counters={
            "heads_total": 812,
            "intents_sent_total": 40,
            "outcome_reverted_total": 2,
            "liquidated_total": 37,
        },
        reconciled_block=20_999_900,
    )


HOSTILE = (
    "<img src=x onerror=\"document.title='pwned';window.pwned=1\">"
    "</td></table></script><script>window.pwned=1</script>\"'&lt;b&gt;\u202e\x1b[31m\x07"
)


def hostile(now: float | None = None) -> Snapshot:
    """Every text that could come from a chain, a node or an error is an attempt to inject."""
    s = busy(now)
    bad = HOSTILE
    return replace(
        s,
        vault=bad,
        signer=bad,
        suspended=bad,
        head=replace(s.head or head(), hash=bad),
        endangered=tuple(
            replace(e, status=bad, binding=bad, reason=bad, bucket=bad, note=bad)
            for e in s.endangered[:2]
        ),
        buckets={bad: BucketLine(1, 1)},
        nonces=tuple(replace(n, key=bad, status=bad, hash=bad, purpose=bad) for n in s.nonces),
        errors=(ErrorLine(1.0, bad, bad),),
        counters={bad: 1},
    )
