"""The log names an account that is left alone, once for each reason, and never floods."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from risk.keeper.left import LINES, LeftAlone
from risk.keeper.ports import Bucket, Passed, Sweep
from risk.keeper.show import Turn
from risk.keeper.types import Health
from tests.keeper.test_loop import LOST, VICTIM, WAD, World_, block, reading
from tests.keeper.test_loop import bench as loop_bench

GRACE, POOR, OPEN, LATER = (
    Bucket.IN_GRACE,
    Bucket.UNPROFITABLE,
    Bucket.OPEN,
    Bucket.LATER,
)


def turn(number: int, passed: Iterable[Passed], *also: int, suspended: str = "") -> Turn:
    """Everybody passed over and ``also`` is unhealthy."""
    items = {p.account: p for p in passed}
    readings = {a: reading(a, Health.UNHEALTHY) for a in (*items, *also)}
    sweep = Sweep(block(number), readings, {}, {}, 10_000, 0)
    return Turn(block(number), sweep, items, suspended=suspended)


class Told:
    """What the log says of one turn after the other."""

    def __init__(self, caplog: pytest.LogCaptureFixture, lines: int = LINES) -> None:
        caplog.set_level(logging.INFO, "plumbline.keeper.left")
        self._log, self._left = caplog, LeftAlone(lines)

    def all(self, turned: Turn) -> list[dict[str, Any]]:
        self._log.clear()
        self._left.tell(turned)
        return [vars(r) for r in self._log.records]

    def __call__(self, turned: Turn) -> list[tuple[str, str]]:
        return [(r["message"], r.get("bucket", "")) for r in self.all(turned)]


def test_one_line_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    [line] = told.all(turn(1, [Passed(VICTIM, GRACE, "flagged at 7", 3)]))
    expected = {"message": "left alone", "account": f"{VICTIM:#044x}", "block": 1, "before": ""}
    expected |= {"bucket": "in_grace", "note": "flagged at 7", "profit_wad": 3}
    expected |= {"equity_wad": 90 * WAD, "mm_wad": 100 * WAD}
    assert {k: line[k] for k in expected} == expected
    assert told(turn(2, [Passed(VICTIM, GRACE, "flagged at 7", 4)])) == []
    [line] = told.all(turn(3, [Passed(VICTIM, POOR)]))
    assert (line["bucket"], line["before"]) == ("unsafe_but_unprofitable", "in_grace")
    [line] = told.all(turn(4, []))
    assert (line["message"], line["before"]) == ("healthy again", "unsafe_but_unprofitable")
    assert told(turn(5, [])) == []
    assert told(turn(6, [Passed(VICTIM, POOR)])) == [("left alone", POOR.value)]


def test_a_transaction_has_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """Sent, open, mined: nothing more is said; but what comes after it is."""
    told = Told(caplog)
    assert told(turn(1, [Passed(VICTIM, POOR)])) == [("left alone", POOR.value)]
    assert told(turn(2, [], VICTIM)) == [], "sent"
    assert told(turn(3, [Passed(VICTIM, OPEN)])) == []
    assert told(turn(4, [Passed(VICTIM, POOR)])) == [("left alone", POOR.value)]
    assert told(turn(5, [Passed(VICTIM, OPEN)])) == []
    assert told(turn(6, [])) == [], "the transaction's own lines say it"


def test_a_head_without_room_is_no_news_of_an_account(caplog: pytest.LogCaptureFixture) -> None:
    """Of a crowd, every head draws others to look at."""
    told = Told(caplog)
    assert told(turn(1, [Passed(VICTIM, LATER)])) == [("left alone", LATER.value)]
    assert told(turn(2, [Passed(VICTIM, POOR)])) == [("left alone", POOR.value)]
    assert told(turn(3, [Passed(VICTIM, LATER)])) == []
    assert told(turn(4, [Passed(VICTIM, POOR)])) == []


def test_a_suspended_turn_forgets_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    assert told(turn(1, [Passed(VICTIM, POOR)])) == [("left alone", POOR.value)]
    assert told(turn(2, [], VICTIM, suspended="no price")) == []
    assert told(turn(3, [Passed(VICTIM, POOR)])) == []


def test_a_crowd_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    crowd = {a: Passed(a, GRACE if a % 2 else POOR) for a in range(1, 5_001)}
    fallen = turn(1, crowd.values())
    assert fallen.sweep is not None
    worst = replace(reading(3_000, Health.UNHEALTHY), equity_wad=-(10**6) * WAD)
    readings = {**fallen.sweep.unhealthy, 3_000: worst}
    fallen.sweep = replace(fallen.sweep, unhealthy=readings)
    lines = told.all(fallen)
    assert [r["message"] for r in lines] == ["left alone"] * LINES + ["more accounts"]
    assert lines[0]["account"] == f"{3_000:#044x}", "the largest shortfall first"
    named = [r["bucket"] for r in lines[:LINES]]
    assert lines[-1]["accounts"] == 5_000 - LINES
    assert lines[-1]["buckets"] == {b.value: 2_500 - named.count(b.value) for b in (GRACE, POOR)}
    assert told(turn(2, crowd.values())) == [], "and that was it"
    some = {**crowd, 7: Passed(7, POOR)}
    assert told(turn(3, some.values())) == [("left alone", POOR.value)]


def test_the_limit_is_one_of_all_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Those who recover come after those who do not."""
    told = Told(caplog, lines=3)
    told(turn(1, [Passed(a, GRACE) for a in range(1, 9)]))
    lines = told.all(turn(2, [Passed(1, POOR), Passed(2, POOR)]))
    assert [r["message"] for r in lines] == [
        *["left alone"] * 2,
        "healthy again",
        "more accounts",
    ]
    assert lines[-1]["buckets"] == {"healthy again": 5} and lines[-1]["accounts"] == 5
    lines = told.all(turn(3, [Passed(a, GRACE) for a in range(1, 6)]))
    assert [r["message"] for r in lines] == [*["left alone"] * 3, "more accounts"]
    assert told(turn(4, [Passed(a, GRACE) for a in range(1, 6)])) == []
    # exactly as many as there is room for: nothing is left to count
    assert told(turn(5, [Passed(4, GRACE), Passed(5, GRACE)])) == [("healthy again", "")] * 3


def test_the_loop_tells_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the planner's own word, at the first of three heads; unknown is not healthy either."""
    caplog.set_level(logging.INFO, "plumbline.keeper.left")
    world = World_(heads=[block(1), block(2), block(3)], intents=[])
    made = loop_bench(tmp_path, world)
    plan = world.plan

    def planned(*args: Any) -> Any:
        found = plan(*args)
        return replace(found, passed=(*found.passed, Passed(VICTIM, POOR, "worth 0.5", WAD // 2)))

    world.plan = planned  # type: ignore[method-assign]
    made.loop.run()
    assert made.counters["heads_total"] == 3
    lines = [vars(r) for r in caplog.records if r.name == "plumbline.keeper.left"]
    assert [(r["account"], r["bucket"], r["note"], r["block"]) for r in lines] == [
        (f"{VICTIM:#044x}", "unsafe_but_unprofitable", "worth 0.5", 1),
        (f"{LOST:#044x}", "unknown", "no price", 1),
    ]
