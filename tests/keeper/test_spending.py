"""What a keeper may lose in a day, by the journal, whatever becomes of process and chain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from risk.keeper.act import budget
from risk.keeper.config import LOSS_BUDGETS, SPEND_BUDGETS
from risk.keeper.dispatch import Declined
from risk.keeper.dispatch.spending import DAY_SECONDS, Fee, Spending, flag_wei, lost_fees
from risk.keeper.errors import BalanceTooLow, StateError
from risk.keeper.ports import Costs
from risk.keeper.types import Head, Intent, Way
from tests.keeper.dispatch_support import GWEI, FakeChain, Rig, intent, open_journal, ready
from tests.keeper.test_config import content, parsed, refusal
from tests.keeper.test_loop import intent as planned

WAD = 10**18
FEE = 100_000 * 11 * GWEI  # of an intent of 100 000 gas at 10 + 1 gwei
A, B = f"{0xA00:042x}", f"{0xB00:042x}"


class Clocked(FakeChain):
    """Its clock may jump; transactions with calldata in ``reverting`` revert."""

    def __init__(self, **how: Any) -> None:
        self.ahead = 0
        self.reverting: set[bytes] = set()
        super().__init__(**how)

    def head(self) -> Head:
        found = super().head()
        return replace(found, timestamp=found.timestamp + self.ahead)

    def eth_getTransactionReceipt(self, tx_hash: str) -> Any:
        found = super().eth_getTransactionReceipt(tx_hash)
        for block in self.blocks:
            for tx in block.txs:
                if tx.hash == tx_hash and tx.data in self.reverting:
                    found["status"] = "0x0"
        return found


@pytest.fixture
def chain() -> Clocked:
    return Clocked()


def lose(rig: Rig, chain: Clocked, account: int) -> None:
    """An intent is sent, and reverts."""
    chain.reverting.add(intent(account).data)
    assert rig.dispatcher.submit(intent(account), chain.head()).accepted
    assert "reverted" in rig.block()


# ── what counts ──────────────────────────────────────────────────────────────────────────────────


def test_what_brought_nothing() -> None:
    fees = [
        Fee(1, 1, f"{A}:slice", True),
        Fee(1, 2, f"{A}:slice", False),  # reverted, or taken back
        Fee(1, 4, "fill:7", False),
        Fee(1, 8, f"{A}:flag", True),  # a slice follows
        Fee(1, 16, f"{B}:flag", True),  # nothing follows
        Fee(1, 32, f"{B}:legs", False),
        Fee(1, 64, f"{A}:slice", True),
        Fee(1, 128, f"{A}:flag", True),
    ]
    assert sum(f.wei for f in lost_fees(fees)) == 2 + 4 + 16 + 32 + 128
    assert (flag_wei(fees, A), flag_wei(fees, B)) == (128, 16)


def test_reverted_and_taken_back_is_lost_and_a_success_is_spent(
    chain: Clocked, tmp_path: Path
) -> None:
    rig = ready(chain, tmp_path)
    lose(rig, chain, 1)
    rig.dispatcher.submit(intent(2), chain.head())
    rig.block()
    rig.dispatcher.submit(intent(3), chain.head())
    chain.mine(empty=True)
    assert rig.dispatcher.cancel(intent(3).key, chain.head()).accepted
    open_ = rig.dispatcher.spending(chain.head())
    assert (open_.spent_wei, open_.lost_wei) == (2 * FEE, FEE)
    assert open_.reserved_wei == rig.policy.fees.budget_wei
    assert "cancelled" in rig.block()
    now = rig.dispatcher.spending(chain.head())
    cancelled = now.spent_wei - 2 * FEE
    assert 21_000 * 10 * GWEI < cancelled < FEE
    assert now.lost_wei == FEE + cancelled and now.reserved_wei == 0


# ── the limits ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", ["loss_wei_per_day", "spend_wei_per_day"])
def test_the_limit_holds_and_the_window_opens_it_again(
    chain: Clocked, tmp_path: Path, limit: str
) -> None:
    """Two and a half fees: the third intent is not signed, nor after a restart, and is a day
    later. Its budget shrinks to what is left.
    """
    rig = ready(chain, tmp_path, **{limit: 5 * FEE // 2 + FEE})
    for account in (1, 2):
        lose(rig, chain, account)
    assert rig.dispatcher.held(chain.head()) == ""
    lose(rig, chain, 3)
    assert rig.journal.slots.by_nonce[2].budget_wei == 5 * FEE // 2 + FEE - 2 * FEE
    for _ in range(2):
        told = rig.dispatcher.held(chain.head())
        name = "loss" if limit.startswith("loss") else "spend"
        assert f"[fees] {name}_native_per_day" in told and "0.0033 of 0.00385" in told
        records = rig.journal.records
        assert rig.dispatcher.submit(intent(4), chain.head()).declined is Declined.LIMIT
        assert rig.journal.records == records
        rig.restart()
        rig.tick()
    chain.ahead += DAY_SECONDS - 13
    rig.block()
    assert rig.dispatcher.spending(chain.head()).lost_wei == 3 * FEE - 2 * FEE
    assert rig.dispatcher.held(chain.head()) == ""
    assert rig.dispatcher.submit(intent(4), chain.head()).accepted


def test_success_does_not_use_the_loss_limit(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, loss_wei_per_day=2 * FEE)
    for account in range(1, 6):
        assert rig.dispatcher.submit(intent(account), chain.head()).accepted
        rig.block()
    assert rig.dispatcher.spending(chain.head()).spent_wei == 5 * FEE


def test_open_nonces_have_their_budgets_set_aside(chain: Clocked, tmp_path: Path) -> None:
    """Both might fail: the second gets no more than what the first leaves."""
    rig = ready(chain, tmp_path, loss_wei_per_day=3 * FEE, pipeline=3)
    assert rig.dispatcher.submit(intent(1), chain.head(), budget_wei=2 * FEE).accepted
    assert rig.dispatcher.submit(intent(2), chain.head(), budget_wei=2 * FEE).declined is (
        Declined.LIMIT  # one fee is left, a base fee one eighth higher needs more
    )
    assert rig.dispatcher.held(chain.head()) == ""  # nothing was spent yet
    rig.block()
    assert rig.dispatcher.submit(intent(2), chain.head(), budget_wei=2 * FEE).accepted


def test_nobody_fills_a_gap_beyond_the_limit(chain: Clocked, tmp_path: Path) -> None:
    """A stranger's transaction vanishes below ours: filling is a fee too."""
    rig = ready(chain, tmp_path, loss_wei_per_day=5 * FEE // 2)
    chain.stranger(0)
    assert rig.dispatcher.submit(intent(1), chain.head()).nonce == 1
    del chain.pool[0]
    told = rig.block(empty=True)
    assert "filled" not in told
    assert rig.dispatcher.spending(chain.head()).left_wei == 0


def test_the_operator_forgives(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, loss_wei_per_day=3 * FEE // 2)
    lose(rig, chain, 1)
    assert rig.dispatcher.held(chain.head())
    rig.dispatcher.forgive(chain.head())
    for _ in range(2):
        assert rig.dispatcher.spending(chain.head()).lost_wei == 0
        rig.restart()
        rig.tick()
    rig.block()
    lose(rig, chain, 2)
    assert rig.dispatcher.spending(chain.head()).lost_wei == FEE


def test_a_reorg_takes_a_fee_back(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, loss_wei_per_day=2 * FEE)
    lose(rig, chain, 1)
    chain.reorg(1, back=True)
    assert "reopened" in rig.tick()
    now = rig.dispatcher.spending(chain.head())
    assert now.lost_wei == 0 and now.reserved_wei > 0
    rig.block()
    assert rig.dispatcher.spending(chain.head()).lost_wei == FEE


def test_compaction_keeps_the_days_fees_and_no_older_ones(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, retain_blocks=2)
    lose(rig, chain, 1)
    chain.ahead = DAY_SECONDS
    for account in (2, 3):
        lose(rig, chain, account)
    for _ in range(6):
        rig.block()
    before = rig.dispatcher.spending(chain.head())
    assert (before.lost_wei, before.spent_wei) == (2 * FEE, 2 * FEE)  # the first is a day old
    rig.journal.compact_after = 1
    rig.block()
    assert rig.journal.slots.by_nonce == {} and len(rig.journal.slots.old_fees) == 2
    for _ in range(2):
        assert rig.dispatcher.spending(chain.head()) == before
        rig.restart()
        rig.tick()


def test_forgiving_survives_compaction(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path, retain_blocks=2)
    lose(rig, chain, 1)
    rig.dispatcher.forgive(chain.head())
    for _ in range(6):
        rig.block()
    rig.journal.compact_after = 1
    rig.block()
    assert rig.journal.slots.by_nonce == {} and rig.journal.slots.old_fees == []
    chain.ahead -= 1_000  # and where the clock was cut back
    rig.restart()
    rig.tick()
    assert rig.dispatcher.spending(chain.head()).lost_wei == 0


def test_a_journal_without_times_is_read(chain: Clocked, tmp_path: Path) -> None:
    """Of an older version: its fees count as long past."""
    rig = ready(chain, tmp_path)
    append = rig.journal.append
    rig.journal.append = lambda record: append(  # type: ignore[method-assign]
        {k: v for k, v in record.items() if k != "time"}
    )
    lose(rig, chain, 1)
    rig.restart()
    rig.tick()
    assert rig.dispatcher.spending(chain.head()).spent_wei == 0


def test_bad_records_of_fees_are_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for record in (
        {"t": "fee", "time": -1, "wei": 1, "key": "a", "worked": 1},
        {"t": "fee", "time": 1, "wei": 1},
        {"t": "forgiven", "time": "now"},
    ):
        with pytest.raises(StateError):
            journal.append(record)


@pytest.mark.parametrize("seed", range(3))
def test_no_day_ever_costs_more_than_the_limits(tmp_path: Path, seed: int) -> None:
    """Random fees, reverts, cancellations, reorgs, restarts, operators who forgive nothing: what
    was mined within any 24 hours stays within both limits.
    """
    rng = Random(seed)
    chain = Clocked()
    limits = {"loss_wei_per_day": 6 * FEE, "spend_wei_per_day": 15 * FEE}
    rig = ready(chain, tmp_path, pipeline=3, retain_blocks=4, budget_wei=5 * FEE, **limits)
    rig.journal.compact_after = 40
    declined = 0
    for step in range(160):
        if rng.random() < 0.5:
            if rng.random() < 0.6:
                chain.reverting.add(intent(step).data)
            try:
                verdict = rig.dispatcher.submit(intent(step), chain.head())
            except BalanceTooLow:
                continue
            declined += verdict.declined is Declined.LIMIT
        if rig.dispatcher.slots and rng.random() < 0.15:
            rig.dispatcher.cancel(rng.choice(rig.dispatcher.slots).key, chain.head())
        if rng.random() < 0.05:
            rig.restart()
        if rng.random() < 0.03 and len(chain.blocks) > 6:
            chain.reorg(1, back=True)
        chain.base = max(GWEI, min(100 * GWEI, chain.base * rng.randint(7, 9) // 8))
        chain.ahead += rng.choice([0, 600, 7_200])
        rig.block(empty=rng.random() < 0.2)
        now = rig.dispatcher.spending(chain.head())
        assert now.lost_wei <= limits["loss_wei_per_day"]
        assert now.spent_wei <= limits["spend_wei_per_day"]
    assert declined > 5 and len(chain.effects()) > 8


# ── configuration, flags ─────────────────────────────────────────────────────────────────────────


def test_limits_of_the_configuration() -> None:
    policy = parsed().dispatch_policy()
    assert policy.loss_wei_per_day == LOSS_BUDGETS * 5 * 10**16
    assert policy.spend_wei_per_day == SPEND_BUDGETS * 5 * 10**16
    wide = parsed(dispatch={"pipeline": 3}).dispatch_policy()
    assert wide.loss_wei_per_day == 3 * LOSS_BUDGETS * 5 * 10**16
    given = parsed(fees={"loss_native_per_day": "0.2", "spend_native_per_day": "3"})
    assert given.dispatch_policy().loss_wei_per_day == 2 * 10**17
    assert given.dispatch_policy().spend_wei_per_day == 3 * WAD
    assert "must be positive" in refusal(content(fees={"loss_native_per_day": "0"}))


def test_a_flag_and_its_liquidation_cost_at_most_what_is_earned() -> None:
    costs = Costs(1, 2_000 * WAD)
    flag = planned(way=Way.FLAG, profit=5 * WAD)
    for_flag = budget(flag, costs)
    assert for_flag == (5 * WAD // 2 + WAD) // 2_000
    for_slice = budget(planned(profit=5 * WAD), costs, for_flag)
    assert for_flag + for_slice == 6 * WAD // 2_000
    assert budget(planned(profit=5 * WAD), costs, 10**18) == 1, "nothing is left: declined"


def test_what_a_flag_has_cost_is_remembered(chain: Clocked, tmp_path: Path) -> None:
    rig = ready(chain, tmp_path)
    flag = Intent(7, Way.FLAG, 0xC0FFEE, b"flag", 100_000, 0, 0, 0, 0, 0)
    rig.dispatcher.submit(flag, chain.head())
    rig.block()
    rig.restart()
    rig.tick()
    assert rig.dispatcher.flag_wei(7, chain.head()) == FEE
    assert rig.dispatcher.spending(chain.head()).lost_wei == FEE
    rig.dispatcher.submit(intent(7), chain.head())
    rig.block()
    assert rig.dispatcher.flag_wei(7, chain.head()) == 0
    assert rig.dispatcher.spending(chain.head()).lost_wei == 0


def test_no_limit_is_none() -> None:
    assert Spending(10**30, 10**30).left_wei is None and Spending(10**30).held(1) == ""
