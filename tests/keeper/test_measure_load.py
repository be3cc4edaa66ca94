"""``plumbline bench load`` and ``soak`` on small books, with real nodes, keepers and faults."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from risk.chain.rpc import IpcTransport
from risk.cli import bench, keeper_load
from risk.keeper.errors import Divergence, KeeperError, Transient
from risk.keeper.measure import soak as soaking
from risk.keeper.measure.faulty import LAG_BLOCKS, Fault, FaultyEndpoint
from risk.keeper.measure.host import Host
from risk.keeper.measure.soak import SoakPlan
from risk.keeper.measure.stage import Stage
from risk.keeper.source import (
    BadStatus,
    Malformed,
    RateLimited,
    Unreachable,
)
from risk.keeper.source.endpoint import connect

LOAD = ["--accounts", "300", "--keepers", "3", "--blocks", "45", "--start-hour", "21.1"]


def test_keepers_race_on_a_small_town(tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    done = CliRunner().invoke(bench.app, ["load", *LOAD, "--json", str(out)])
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    ours, naive = report["keepers"], report["baseline"]
    for run in (ours, naive):
        assert run["episodes"] == run["liquidated"] + run["recovered"] + run["left"] > 10
        assert run["liquidated"] > 5
        assert run["transactions_mined"] - run["transactions_failed"] == run["liquidations"]
        assert run["blocks_to_liquidation"]["median"] >= 1
        assert run["reconciled_accounts"] == 300 + 20 + 3  # book and chain agree at the end
        assert run["most_unknown_at_once"] == 0
        assert run["gas"] > run["gas_of_failed"] >= 0 and run["cost_ether"] > 0
        # every failure has a reason and an answer to who had the account; none is left unnamed
        for key in ("failed_because", "failed_by_rival"):
            assert sum(run[key].values()) == run["transactions_failed"]
        assert not {"no data", "execution reverted"} & set(run["failed_because"])
    assert sum(ours["left_because"].values()) == ours["left"]
    assert ours["counts"]["lost_races"] > 0 and ours["failed_by_rival"]["rival_same_block"] > 0
    assert ours["counts"]["sent"] >= ours["transactions_mined"]
    assert naive["accounts_a_block"] == int(12 * naive["accounts_a_second"])
    assert "blocks from unhealthy to liquidated" in done.output


def test_the_keeper_lives_through_faults() -> None:
    plan = SoakPlan(
        blocks=100, accounts=120, start_hour=20.95, reconcile_every=50, reorg_every=12,
        endpoint_every=6, outage_every=15, spike_every=25, restart_every=30,
        deep_reorg_every=40,
    )  # fmt: skip
    keeper_load.quiet()
    report = soaking.soak(plan, lambda _: None)
    assert report["divergence"] == ""
    assert report["blocks"] == 100
    for fault in ("reorg", "endpoint", "both_endpoints", "restart", "base_fee_spike"):
        assert report["faults"][fault] >= 1, fault
    keeper = report["keeper"]
    assert keeper["blocks_undone_total"] >= 1
    assert keeper["sent_total"] >= 3
    assert report["accounts_compared_in_full_reconciliations"] >= 2 * 141
    assert len(report["requests_that_met_a_fault"]) >= 3
    assert report["memory"]["flat"] is None  # too short to say
    assert keeper_load.soak_failures(report) == []
    keeper_load.soak_table(report)


def test_a_drift_ends_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness must notice: one trader's storage changes behind everybody's back."""
    from risk.diff.margin_cases.words import account_slot

    plan = SoakPlan(blocks=8, accounts=20, reconcile_every=4, reorg_every=0, endpoint_every=0,
                    outage_every=0, spike_every=0, restart_every=0, deep_reorg_every=0)  # fmt: skip
    trade = soaking._Soak._trade

    def meddle(self: Any) -> None:
        trade(self)
        if self.arena.height == self.arena.first_height + 2:
            number = self.arena.town.traders[3]
            slot, cash = account_slot(number), self.arena.town.state.accounts[number].cash_wad
            word = (cash + 1) & (1 << 128) - 1 | 10**15 << 160
            self.arena.stage.write(self.arena.stage.vault, {slot: word})

    monkeypatch.setattr(soaking._Soak, "_trade", meddle)
    report = soaking.soak(plan, lambda _: None)
    assert "cash_wad" in report["divergence"] or "Mask" in report["divergence"]
    assert report["blocks"] < 8
    assert keeper_load.soak_failures(report)[0].startswith("book and chain differ")


LEAKY = """
from risk.keeper.measure import host
turn, held = host.Child.turn, []
def leak(child):
    turn(child)
    held.append(b"x" * 2**20)
host.Child.turn = leak
host.main()
"""
BROKEN = """
from risk.keeper.errors import Divergence, KeeperError, Transient
from risk.keeper.measure import host
from risk.keeper.source import Unreachable
def start(child):
    raise Unreachable("node", "lost")
def turn(child):
    print("this is no answer")
    raise Divergence("1 is 2")
def reconcile(child, margins):
    raise ValueError(f"a defect with {margins} margins")
host.Child.__init__ = lambda *_: None
host.Child.start, host.Child.turn, host.Child.reconcile = start, turn, reconcile
host.Child.stop = lambda _: {"sent_total": 3}
host.main()
"""


def test_what_a_keeper_does_not_give_back_fails_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MiB a turn in the keeper's process, none in the harness."""
    plan = SoakPlan(blocks=25, accounts=20, reconcile_every=100, reorg_every=0, endpoint_every=0,
                    outage_every=0, spike_every=0, restart_every=0, deep_reorg_every=0)  # fmt: skip
    monkeypatch.setattr(soaking, "Host", partial(Host, command=(sys.executable, "-c", LEAKY)))
    monkeypatch.setattr(soaking, "JUDGED", 20)
    report = soaking.soak(plan, lambda _: None)
    assert report["memory"]["growth_mib_a_day"] == pytest.approx(7_200, rel=0.2)
    assert report["memory"]["flat"] is False
    assert keeper_load.soak_failures(report)[0].startswith("memory grows by")
    curve = report["memory_mib"]
    assert curve[-1][1] - curve[0][1] > 20 > 5 > curve[-1][3] - curve[0][3]


def test_what_ends_a_keeper_comes_through(tmp_path: Path) -> None:
    """Its kind and words; a defect ends the process, which is told too."""
    with Host({}, tmp_path, (sys.executable, "-c", BROKEN)) as host:
        with pytest.raises(Transient, match="lost"):
            host.start()
        with pytest.raises(Divergence, match="1 is 2"):
            host.turn()
        assert host.stop() == {"sent_total": 3}
        with pytest.raises(KeeperError, match="process ended: exit 1"):
            host.reconcile(7)
        with pytest.raises(KeeperError, match="process ended: exit 1"):
            host.turn()


def test_a_soak_that_grows_or_stops_early_fails() -> None:
    fine = {"divergence": "", "blocks": 5, "plan": {"blocks": 5}, "memory": {"flat": True}}
    assert keeper_load.soak_failures(fine) == []
    assert keeper_load.soak_failures({**fine, "blocks": 4}) == ["the run ended after 4 blocks"]
    grown = {**fine, "memory": {"flat": False, "growth_mib_a_day": 99}}
    assert keeper_load.soak_failures(grown) == ["memory grows by 99 MiB a simulated day"]
    assert Divergence.exit_code == 10


# ── the endpoint that fails ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultyEndpoint]:
    with Stage() as stage:
        stage.chain.rpc.call("anvil_mine", hex(10))
        with FaultyEndpoint(str(stage.chain.node.endpoint)) as made:
            yield made


def test_each_fault_is_what_it_says_and_wears_off(proxy: FaultyEndpoint) -> None:
    end = connect(proxy.url, 10)
    ask = [("eth_getBlockByNumber", ["latest", False])]
    head = end.exchange(ask)[0].get()
    for fault, error in (
        (Fault.DOWN, Unreachable),
        (Fault.ERROR, BadStatus),
        (Fault.LIMIT, RateLimited),
        (Fault.CUT, (Malformed, Unreachable)),
    ):
        met = proxy.met[fault.name.lower()]
        # a client opens a kept connection once again by itself
        count = 2 if fault is Fault.DOWN else 1
        proxy.fail(fault, count)
        with pytest.raises(error):
            end.exchange(ask)
        assert proxy.met[fault.name.lower()] == met + count
        assert end.exchange(ask)[0].get() == head
    proxy.fail(Fault.LAG, 1)
    old = end.exchange(ask)[0].get()
    assert int(head["number"], 16) - int(old["number"], 16) == LAG_BLOCKS
    assert end.exchange(ask)[0].get() == head
    end.close()
    IpcTransport(proxy.upstream, 5).close()
