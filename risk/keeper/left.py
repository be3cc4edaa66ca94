"""What the log says about accounts that are not healthy and get no transaction: a line when the
reason changes, none at the heads in between.

Of a crowd that falls at once the largest shortfalls are named and the others counted: never more
than ``LINES`` lines a head, and one with the numbers.
"""

from __future__ import annotations

import logging
from collections import Counter

from risk.keeper.ports import Bucket, Passed, Sweep
from risk.keeper.show import Turn

LINES = 20
AGAIN = "healthy again"
log = logging.getLogger("plumbline.keeper.left")


class LeftAlone:
    """Remembers the reason told last of every account that is passed over; memory: one entry for
    each of them.
    """

    def __init__(self, lines: int = LINES) -> None:
        self._lines = lines
        self._told: dict[int, Bucket] = {}

    def tell(self, turn: Turn) -> None:
        """After a turn that judged everybody. ``OPEN`` gets no line, because its transaction has
        its own; nor has ``LATER`` after another reason, because it is the head's and not the
        account's.
        """
        sweep = turn.sweep
        assert sweep is not None
        told: list[tuple[Passed, Bucket | None]] = []
        for account, item in turn.passed.items():
            before = self._told.get(account)
            if item.bucket is before or (item.bucket is Bucket.LATER and before is not None):
                continue
            self._told[account] = item.bucket
            if item.bucket is not Bucket.OPEN:
                told.append((item, before))
        over = self._forget(turn, sweep)
        told.sort(key=lambda x: _order(x[0].account, sweep))
        lines = [*(_reason(item, was, sweep) for item, was in told[: self._lines]), *over]
        for message, fields in lines[: self._lines]:
            log.info(message, extra={"block": turn.head.number, **fields})
        counts = Counter(item.bucket.value for item, _ in told[self._lines :])
        counts[AGAIN] += max(0, len(over) - max(0, self._lines - len(told)))
        if more := +counts:
            extra = {"accounts": more.total(), "buckets": dict(sorted(more.items()))}
            log.info("more accounts", extra={"block": turn.head.number, **extra})

    def _forget(self, turn: Turn, sweep: Sweep) -> list[tuple[str, dict[str, object]]]:
        """Lines for those who are healthy. Who is not, and is passed over no more, has got a
        transaction; in a suspended turn nobody gets one.
        """
        over: list[tuple[str, dict[str, object]]] = []
        for account in sorted(self._told.keys() - turn.passed.keys()):
            if account in sweep.unhealthy or account in sweep.unknown:
                if not turn.suspended:
                    del self._told[account]
                continue
            before = self._told.pop(account)
            if before is not Bucket.OPEN:
                over.append((AGAIN, {"account": f"{account:#044x}", "before": before.value}))
        return over


def _order(account: int, sweep: Sweep) -> tuple[bool, int, int]:
    """The largest shortfall first, unknown health last."""
    reading = sweep.unhealthy.get(account)
    return reading is None, reading.equity_wad - reading.mm_wad if reading else 0, account


def _reason(item: Passed, before: Bucket | None, sweep: Sweep) -> tuple[str, dict[str, object]]:
    fields: dict[str, object] = {
        "account": f"{item.account:#044x}",
        "bucket": item.bucket.value,
        "before": before.value if before else "",
        "note": item.note,
        "profit_wad": item.profit_wad,
    }
    reading = sweep.unhealthy.get(item.account) or sweep.unknown.get(item.account)
    if reading is not None:
        fields |= {"equity_wad": reading.equity_wad, "mm_wad": reading.mm_wad}
    return "left alone", fields
