"""The metrics page of a monitor: what the snapshot says, in the grammar, whatever the texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from risk.keeper.monitor import Monitor
from tests.keeper.monitor_scene import busy, hostile, quiet, sweep
from tests.keeper.test_monitor_exposition import parse


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(port=None)


def metrics(monitor: Monitor) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return {name: values for name, (_, _, values) in parse(monitor.metrics()).items()}


def test_metrics_say_what_the_snapshot_says(monitor: Monitor) -> None:
    s = busy()
    monitor.seen(s, sweep(warned=(1, 2), unhealthy=(3,)))
    found = metrics(monitor)

    def one(name: str, **labels: str) -> float:
        return found[f"plumbline_keeper_{name}"][tuple(sorted(labels.items()))]

    assert s.head is not None
    assert one("head_number") == s.head.number
    assert one("head_time_seconds") == s.head.timestamp
    assert one("head_seen_time_seconds") == s.head_seen
    assert one("base_fee_wei") == s.head.base_fee_wei
    assert one("info", chain_id="31337", vault=s.vault, signer=s.signer, mode="live") == 1
    by_state = {k: one("accounts", state=k) for k in ("healthy", "warned", "unhealthy", "unknown")}
    assert by_state == {"healthy": 50_189, "warned": 12, "unhealthy": 9, "unknown": 3}
    assert sum(by_state.values()) == s.accounts.total
    bins = found["plumbline_keeper_health_factor_accounts"]
    assert len(bins) == len(s.histogram) and sum(bins.values()) == sum(b.count for b in s.histogram)
    assert one("health_factor_accounts", low="-Inf", high="0") == 1
    assert one("health_factor_accounts", low="5", high="+Inf") == 8_700
    assert one("health_factor_lowest") == pytest.approx(0.7)
    assert one("passed_over_accounts", bucket="unsafe_but_unprofitable") == 4
    assert one("passed_over_profit_cash", bucket="liquidator_too_small") == pytest.approx(
        71_200.33, abs=0.01
    )
    assert one("nonces", status="open") == 1 and one("nonces", status="taken") == 0
    assert one("balance_wei") == pytest.approx(s.balance_wei)
    assert one("oldest_unknown_seconds") == 480
    assert one("margin_calls_total") == 3
    assert one("heads_total") == 812
    assert one("liquidated_total") == 37
    assert one("suspended") == 0 and one("stopped") == 0 and one("planned_intents") == 3


def test_fees_of_the_day_and_their_limits(monitor: Monitor) -> None:
    spent = replace(busy(), spent_wei=5, lost_wei=4, loss_limit_wei=4, suspended="[fees] …")
    monitor.seen(spent, None)
    found = {k.removeprefix("plumbline_keeper_"): v for k, v in metrics(monitor).items()}
    assert found["day_spent_wei"] == {(): 5} and found["day_lost_wei"] == {(): 4}
    assert found["day_loss_limit_wei"] == {(): 4} and "day_spend_limit_wei" not in found
    assert found["suspended"] == {(): 1}
    monitor.seen(replace(spent, live=False), None)
    assert "plumbline_keeper_day_spent_wei" not in metrics(monitor)


def test_counters_of_any_name(monitor: Monitor) -> None:
    counters = {
        "errors_total": 5,
        "errors_RateLimited_total": 3,
        "errors_KeyError__total": 2,
        "a-b_total": 1,
        "a.b_total": 2,
        "gas_spent_wei_total": 10**20,
        "no_ending": 4,
        "margin_calls_total": 99,  # a name that the monitor itself uses
    }
    monitor.seen(replace(busy(), counters=counters), None)
    found = metrics(monitor)
    assert found["plumbline_keeper_errors_total"] == {(): 5}
    assert found["plumbline_keeper_errors_by_kind_total"] == {
        (("kind", "RateLimited"),): 3,
        (("kind", "KeyError_"),): 2,
    }
    assert found["plumbline_keeper_a_b_total"] == {(): 3}
    assert found["plumbline_keeper_gas_spent_wei_total"] == {(): 1e20}
    assert found["plumbline_keeper_no_ending_total"] == {(): 4}
    assert found["plumbline_keeper_margin_calls_total"] == {(): 0}


def test_metrics_of_hostile_texts_are_of_the_grammar(monitor: Monitor) -> None:
    s = hostile()
    monitor.seen(s, None)
    labels = [dict(key) for key in metrics(monitor)["plumbline_keeper_info"]]
    assert labels == [{"chain_id": "31337", "vault": s.vault, "signer": s.signer, "mode": "live"}]


def test_every_snapshot_has_metrics(monitor: Monitor) -> None:
    for s in (quiet(), replace(quiet(), head=None, histogram=(), balance_wei=None), busy()):
        monitor.seen(s, None)
        assert "plumbline_keeper_info" in metrics(monitor)
