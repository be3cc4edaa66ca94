"""What the loop shows and through what it speaks: survey, the dispatcher's wire, logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from risk.errors import RevertError, RpcError, TransportError
from risk.exact.margin import instrument_id as iid
from risk.keeper import log as logs
from risk.keeper.dispatch.answers import Answer, classify
from risk.keeper.errors import ConfigError
from risk.keeper.ports import Sweep
from risk.keeper.snapshot import EDGES, MOST, Snapshot, bins
from risk.keeper.source import Endpoint, Policy, Pool
from risk.keeper.survey import endangered, ratio, survey
from risk.keeper.types import Head, Health, Reading
from risk.keeper.wire import PoolWire
from tests.attacks.scene import ModelMarket, model_market
from tests.support.vault_twin import ALICE, BOB, USD, WAD, account

HEAD = Head(5, "0x05", "0x04", 2_000, 7)
PERP = iid.encode(0, iid.PERP, 0, 0)


def traded(count: int = 4) -> ModelMarket:
    """Longs of Alice with ever more cash against Bob."""
    m = model_market()
    assert m.do(BOB, "deposit", account(BOB), m.cash, 10**6 * USD) is None
    for i in range(count):
        alice = account(ALICE, i)
        assert m.do(ALICE, "deposit", alice, m.cash, (12_000 + 10_000 * i) * USD) is None
        buy = m.order(ALICE, PERP, 10 * WAD, 3_000 * WAD, sub=i)
        sell = m.order(BOB, PERP, -10 * WAD, 3_000 * WAD)
        outcome = m.fill(buy, sell, 10 * WAD, 3_000 * WAD)
        assert outcome is None or isinstance(outcome, tuple), outcome
    return m


def test_the_survey_counts_exact_health_factors() -> None:
    m = traded()
    found = survey(m.state, HEAD)
    expected: dict[int, int] = {}
    factors = []
    for number in m.state.accounts:
        margin = m.model.margin(number)
        if margin.mm:
            factor = margin.equity / margin.mm
            factors.append((factor, number))
            expected[sum(factor >= edge for edge in EDGES)] = (
                expected.get(sum(factor >= edge for edge in EDGES), 0) + 1
            )
    assert found.histogram == bins(expected)
    assert sum(b.count for b in found.histogram) == 5, "Bob and four accounts of Alice"
    assert [n for n, _ in found.nearest] == [n for f, n in sorted(factors) if f >= 1]
    assert found.nearest[0][1] == m.model.margin(found.nearest[0][0])
    assert sum(b.count for b in survey(m.state, HEAD, sample=2).histogram) <= 3


def test_the_endangered_are_the_worst_first_and_told_why() -> None:
    m = traded()
    known = survey(m.state, HEAD)
    first, second = account(ALICE, 0), account(ALICE, 1)
    bad = Reading(first, Health.UNHEALTHY, 90, 100, 120, 5, 2_000)
    lost = Reading(second, Health.UNKNOWN, 95, 100, 120, 3, 1_940, "no price")
    sweep = Sweep(HEAD, {first: bad}, {second: lost}, {}, 6, 6)
    shown = endangered(sweep, known, m.state, 2_000, {})
    assert [e.status for e in shown] == ["unhealthy", "unknown", "healthy", "healthy", "healthy"]
    assert shown[0].health_factor == 0.9 and shown[0].binding.startswith("scenario ")
    assert (shown[1].age_seconds, shown[1].reason) == (60, "no price")
    failed = endangered(sweep, known, m.state, 2_030, {}, failure="gone")
    assert {(e.status, e.reason) for e in failed} == {("unknown", "gone")}
    assert failed[0].age_seconds == 30 and failed[0].equity_wad == 90
    crowd = {i: Reading(i, Health.UNHEALTHY, i, 100, 120, 5, 2_000) for i in range(200, 0, -1)}
    most = endangered(Sweep(HEAD, crowd, {}, {}, 200, 200), None, m.state, 2_000, {})
    assert [e.equity_wad for e in most] == list(range(1, MOST + 1))


def test_ratios_never_divide_by_nothing() -> None:
    assert ratio(5, 0) is None and ratio(10**400, 1) is None and ratio(-1, 2) == -0.5


def test_a_snapshot_is_stale_without_heads_and_when_stopped() -> None:
    s = Snapshot(1, "0xaa", "0xbb", True, 0.0, 0.0, 60.0)
    assert s.stale(10.0), "never a head"
    seen = Snapshot(1, "0xaa", "0xbb", True, 0.0, 0.0, 60.0, head=HEAD, head_seen=100.0)
    assert not seen.stale(160.0) and seen.stale(161.0)
    assert seen.to_json(150.0)["head_seen_age_seconds"] == 50.0
    with pytest.raises(ValueError, match="version"):
        Snapshot.from_json({**seen.to_json(150.0), "version": 2})


# ── wire ─────────────────────────────────────────────────────────────────────────────────────────


class Scripted:
    """A transport that answers each request with the next error or result."""

    endpoint = "http://scripted"

    def __init__(self, answers: Sequence[dict[str, Any] | None]) -> None:
        self.answers = list(answers)

    def exchange(self, payload: bytes) -> bytes:
        request = json.loads(payload)
        single = not isinstance(request, list)
        out = []
        for entry in [request] if single else request:
            answer = self.answers.pop(0)
            if answer is None:
                raise TransportError("http://scripted/secret lost")
            out.append({"jsonrpc": "2.0", "id": entry["id"], **answer})
        return json.dumps(out[0] if single else out).encode()

    def close(self) -> None:
        """Nothing."""


def wire(*scripts: Sequence[dict[str, Any] | None]) -> PoolWire:
    """Over one endpoint for each script."""

    def endpoint(name: str, transport: Scripted) -> Endpoint:
        return Endpoint(name, lambda: transport)

    ends = [endpoint(f"end {i}", Scripted(s)) for i, s in enumerate(scripts)]
    return PoolWire(Pool.of(ends, policy=Policy(attempts=2, base=1e-4, cap=1e-3)))


def error(code: int, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def test_a_refusal_keeps_the_nodes_own_words() -> None:
    """The dispatcher tells refusals apart by them."""
    made = wire([error(-32000, "replacement transaction underpriced")])
    with pytest.raises(RpcError) as caught:
        made.call("eth_sendRawTransaction", "0x00")
    assert caught.value.message == "replacement transaction underpriced"
    assert caught.value.code == -32000
    assert classify(caught.value) is Answer.REPLACEMENT_UNDERPRICED


def test_outcomes_of_a_batch_in_order() -> None:
    made = wire(
        [{"result": "0x1"}, error(3, "execution reverted", data="0x1234"), {"result": None}]
    )
    first, second, third = made.try_batch([("a", []), ("b", []), ("c", [])])
    assert first.ok and first.value == "0x1"
    assert isinstance(second.error, RevertError) and second.error.data == b"\x12\x34"
    assert third.ok and third.value is None


def test_another_endpoint_answers_where_one_fails() -> None:
    assert wire([None], [{"result": "0x7"}]).call("eth_chainId") == "0x7"


def test_H58_a_lost_answer_is_neither_sent_nor_refused_and_names_no_secret() -> None:
    made = wire([None, None])
    with pytest.raises(TransportError) as caught:
        made.call("eth_sendRawTransaction", "0x00")
    assert classify(caught.value) is Answer.UNKNOWN
    assert "secret" not in str(caught.value)


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────


def test_H64_log_lines_are_json_without_secrets(tmp_path: Path) -> None:
    stream = io.StringIO()
    file = tmp_path / "log" / "keeper.log"
    logs.set_up("info", file, ["pr0ject", "pr0ject/longer"], stream=stream)
    try:
        log = logging.getLogger("plumbline.keeper.test")
        log.info("asked %s", "http://x/pr0ject/longer", extra={"url": "pr0ject", "raw": b"\x01"})
        log.debug("not shown")
        try:
            raise RuntimeError("GET /pr0ject failed")
        except RuntimeError:
            log.exception("failed")
    finally:
        logs.tear_down()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 2 and stream.getvalue() == file.read_text()
    assert lines[0]["message"] == "asked http://x/***"
    assert lines[0]["url"] == "***" and lines[0]["raw"] == "0x01"
    assert lines[0]["logger"] == "plumbline.keeper.test" and lines[0]["time"].endswith("Z")
    assert "RuntimeError: GET /*** failed" in lines[1]["trace"]
    with pytest.raises(ConfigError, match="log_file"):
        logs.set_up("info", tmp_path / "log" / "keeper.log" / "x", [])
