"""Plans that are really sent: the chain ends where the planner said, to the wei, and the gas is
within what was estimated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from risk.chain.keccak import keccak
from risk.deploy.artifacts import link_order
from risk.errors import RevertError
from risk.keeper.health import judge, refresh
from risk.keeper.ports import Bucket, Outcome
from risk.keeper.simulate import Simulator
from risk.keeper.source import HeadRule, Policy, Source, open_source
from risk.keeper.types import Health, Intent, Way
from tests.keeper.planner_scene import (
    BOOK,
    FREE,
    LONG,
    PERP,
    PRICES,
    SECONDS,
    WAD,
    A,
    C,
    D,
    Keeper,
    abi,
    at_health,
    bucket,
    flat,
    settle_in,
)
from tests.liquidation.scene import BTC_PERP, FUTURE, Market, option, set_insurance
from tests.support.vault_fixtures import market  # noqa: F401
from tests.support.vault_twin import address, iid

pytestmark = pytest.mark.chain
_FIELDS = "(uint168,uint168,uint256,int256,uint256)"
PAID = {"0x" + keccak((e + _FIELDS).encode()).hex() for e in ("Liquidated", "LegsLiquidated")}
SLICES: dict[str, Any] = {"max_legs": 0}
QUICK = Policy(attempts=2, deadline=5.0, base=0.001, cap=0.01)
CAROL = address(C >> 8)


class Live(Keeper):
    """A keeper whose heads are the node's."""

    def __init__(self, m: Market, source: Source, **changes: Any) -> None:
        super().__init__(m, **changes)
        self.source = source
        names = link_order("Vault", m.artifacts.__getitem__)
        libraries = [m.artifacts[n].abi for n in names]
        self.simulator = Simulator(source, [abi(), *libraries], CAROL, block_seconds=SECONDS)

    def next_head(self) -> Any:
        """The newest block; the next one comes ``SECONDS`` later."""
        self.m.rpc.call("evm_setNextBlockTimestamp", self.m.world.timestamp)
        self.m.rpc.call("evm_mine")
        self.head = self.source.head()
        assert self.head.timestamp == self.m.world.timestamp
        return self.head

    def send(self, intent: Intent) -> dict[str, Any]:
        """Mined at the time that was planned for."""
        self.m.world.timestamp = self.head.timestamp + SECONDS
        transaction = {
            "from": CAROL,
            "to": address(intent.to),
            "data": "0x" + intent.data.hex(),
            "gas": hex(intent.gas_limit),
            "gasPrice": "0x0",
        }
        self.m.rpc.call("evm_setNextBlockTimestamp", self.m.world.timestamp)
        receipt: dict[str, Any] = self.m.rpc.receipt(self.m.rpc.send(transaction))
        return receipt


@pytest.fixture
def source(market: Market) -> Iterator[Source]:  # noqa: F811
    made = open_source([str(market.node.endpoint)], rule=HeadRule(lag=None), policy=QUICK)  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def m(market: Market) -> Market:  # noqa: F811
    settle_in(market)
    return market


def paid(receipt: dict[str, Any]) -> int:
    """Payment of the event."""
    data = next(x["data"] for x in receipt["logs"] if x["topics"][0] in PAID)
    return int.from_bytes(bytes.fromhex(data[66:130]), "big", signed=True)


def worth(m: Market) -> int:
    return int(m.read("margin", C)[0][0])


SHAPES: dict[str, dict[str, Any]] = {
    "perp": LONG,
    "options": BOOK,
    "everything": {
        "linear": [(PERP, 10 * WAD, -30_000 * WAD), (BTC_PERP, WAD, -60_000 * WAD)],
        "options": [(option(30), 2 * WAD), (option(36), -3 * WAD), (option(20, iid.PUT), -WAD - 7)],
        "collateral": {0: 10**17, 1: 10**6, 2: 10**5},
    },
    "sixteen": {
        "linear": [*LONG["linear"], (FUTURE, WAD, -3_000 * WAD)],
        "options": [(option(20 + i), WAD * (1 if i % 2 else -1)) for i in range(16)],
    },
}


@pytest.mark.parametrize("move", [1.0, 0.993, 0.96])
@pytest.mark.parametrize("shape", SHAPES)
def test_sent_gives_what_was_planned(m: Market, source: Source, shape: str, move: float) -> None:
    """Both ways; the whole state of the vault afterwards is the planner's, and the gas fits."""
    at_health(m, A, 9 * WAD // 10, **SHAPES[shape])
    for u, price in enumerate(PRICES):
        m.set_price(u, price * move)
    snapshot, saved = m.rpc.call("evm_snapshot"), m.clone()
    ways = set()
    for changes in (SLICES, {"unwind_bps": 20}):
        k = Live(m, source, min_profit_wad=-(10**30), **changes)
        plan = k.plan()
        assert len(plan.intents) == 1 and not plan.passed, plan
        intent, before = plan.intents[0], worth(m)
        offer = k.offer(intent)
        ways.add(intent.way)
        simulated = k.simulator.check(intent, k.head)
        assert simulated.outcome is Outcome.OK, simulated
        assert simulated.payment_wad == offer.payment_wad <= intent.max_payment_wad
        receipt = k.send(intent)
        assert receipt["status"] == "0x1"
        assert paid(receipt) == offer.payment_wad
        assert worth(m) - before == intent.reward_wad
        m.state = flat(offer.after)
        m.compare_state()
        used = int(receipt["gasUsed"], 16)
        assert used <= offer.gas <= intent.gas_limit and offer.gas <= 2 * used
        m.rpc.call("evm_revert", snapshot)
        snapshot = m.rpc.call("evm_snapshot")
        m.restore((saved[0].clone(), saved[1]))
    assert Way.SLICE in ways


@pytest.mark.parametrize("shape", ["options", "sixteen"])
def test_live_prices_that_decide_cost_a_second_pass(m: Market, source: Source, shape: str) -> None:
    """Inside the band, and near enough to matter: everything is computed twice."""
    at_health(m, A, 995 * WAD // 1_000, **SHAPES[shape])
    m.set_price(0, PRICES[0] * 0.9995)
    k = Live(m, source, min_profit_wad=-(10**30), **SLICES)
    intent = k.plan().intents[0]
    offer = k.offer(intent)
    receipt = k.send(intent)
    assert receipt["status"] == "0x1" and paid(receipt) == offer.payment_wad
    used = int(receipt["gasUsed"], 16)
    assert used <= offer.gas <= 2.2 * used
    m.state = flat(offer.after)
    m.compare_state()


def test_the_fund_pays(m: Market, source: Source) -> None:
    set_insurance(m, 10**6)
    at_health(m, A, -WAD, **BOOK)
    k = Live(m, source, **SLICES)
    intent = k.plan().intents[0]
    offer, before = k.offer(intent), worth(m)
    assert offer.payment_wad < 0
    receipt = k.send(intent)
    assert receipt["status"] == "0x1" and paid(receipt) == offer.payment_wad
    assert worth(m) - before == intent.reward_wad
    assert int(receipt["gasUsed"], 16) <= intent.gas_limit
    m.state = flat(offer.after)
    m.compare_state()


def test_flag_grace_and_growth(m: Market, source: Source) -> None:
    """From the flag to the liquidation on the chain; the simulation agrees at every step."""
    settle_in(m, grace_seconds=600, reward_time_bps=300, emergency_bps=5_000)
    at_health(m, A, 95 * WAD // 100, **LONG)
    k = Live(m, source, **SLICES)
    flag = k.plan().intents[0]
    assert flag.way is Way.FLAG and k.simulator.check(flag, k.head).outcome is Outcome.OK
    receipt = k.send(flag)
    assert receipt["status"] == "0x1" and int(receipt["gasUsed"], 16) <= k.offer(flag).gas
    m.state = flat(k.offer(flag).after)
    m.compare_state()
    m.restore((m.state, m.world))
    since = m.world.timestamp
    assert m.state.accounts[A].flagged_at == since
    m.world.timestamp += 60
    assert bucket(k.plan()) is Bucket.IN_GRACE
    assert k.simulator.check(flag, k.head).outcome is Outcome.TAKEN  # flagged already
    m.world.timestamp = since + 600 - SECONDS
    plan = k.plan()
    slice_ = plan.intents[0]
    before = worth(m)
    assert k.simulator.check(slice_, k.head).outcome is Outcome.OK
    receipt = k.send(slice_)
    assert receipt["status"] == "0x1" and worth(m) - before == slice_.reward_wad


def test_several_in_one_block(m: Market, source: Source) -> None:
    """Sent in the plan's order they all give what was planned, although own margin is shared."""
    for account, percent in ((A, 90), (D, 70)):
        at_health(m, account, percent * WAD // 100, **LONG)
    m.put(C, cash=10**5 * WAD)
    k = Live(m, source, **SLICES)
    plan = k.plan()
    assert len(plan.intents) == 2
    time = k.head.timestamp + SECONDS
    m.rpc.call("evm_setAutomine", False)
    try:
        hashes = []
        for intent in plan.intents:
            fields = {"from": CAROL, "to": address(intent.to), "data": "0x" + intent.data.hex()}
            fields |= {"gas": hex(intent.gas_limit), "gasPrice": "0x0"}
            hashes.append(m.rpc.send(fields))
        m.rpc.call("evm_setNextBlockTimestamp", time)
        m.rpc.call("evm_mine")
    finally:
        m.rpc.call("evm_setAutomine", True)
    receipts = [m.rpc.receipt(h) for h in hashes]
    assert [r["status"] for r in receipts] == ["0x1", "0x1"]
    assert [paid(r) for r in receipts] == [k.offer(i).payment_wad for i in plan.intents]
    m.state = flat(k.offer(plan.intents[1]).after)
    m.compare_state()


# ── health against the chain ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("move", [0.97, 0.992, 1.0, 1.008, 1.03])
def test_readings_are_what_a_liquidation_would_find(m: Market, source: Source, move: float) -> None:
    """``flag`` has the same test as a liquidation; every account, and the prices not refreshed."""
    crowd = {}
    for n, percent in enumerate((85, 93, 97, 99, 100, 101, 103, 107, 115)):
        account = (0xCAFE + n) << 8
        crowd[account] = percent
        at_health(m, account, percent * WAD // 100, **(BOOK if n % 2 else LONG))
    for u, price in enumerate(PRICES):
        m.set_price(u, price * move)
    k = Live(m, source)
    sweep = k.sweep()
    assert not sweep.unknown
    known = refresh(m.state, k.prices(), k.head)
    for account in crowd:
        data = m.functions["flag"].encode(account)
        call = {"from": CAROL, "to": address(m.world.vault), "data": "0x" + data.hex()}
        at = {"blockHash": k.head.hash}
        try:
            m.rpc.call("eth_call", call, at, {}, {"time": hex(k.head.timestamp)})
            refused = None
        except RevertError as error:
            assert m.errors.name(error.data) == "AccountHealthy"
            refused = m.errors.by_name["AccountHealthy"].arguments(error.data)
        assert (refused is None) == (account in sweep.unhealthy)
        if refused:
            found = judge(known, account)[0]
            assert found.health is Health.HEALTHY
            if account not in sweep.warned:
                continue
            assert found == sweep.warned[account]


# ── simulation ───────────────────────────────────────────────────────────────────────────────────


def test_what_a_simulation_says(m: Market, source: Source) -> None:
    at_health(m, A, 9 * WAD // 10, **LONG)
    k = Live(m, source, **SLICES)
    intent = k.plan().intents[0]
    check = k.simulator.check
    snapshot, saved = m.rpc.call("evm_snapshot"), m.clone()

    def outcome() -> Outcome:
        k.next_head()
        return check(intent, k.head).outcome

    def back() -> None:
        nonlocal snapshot
        m.rpc.call("evm_revert", snapshot)
        snapshot = m.rpc.call("evm_snapshot")
        m.restore((saved[0].clone(), replace(saved[1])))

    assert outcome() is Outcome.OK
    back()
    m.put(A, cash=10**6 * WAD, **LONG)
    assert outcome() is Outcome.HEALTHY
    back()
    m.put(A, cash=0)
    assert outcome() is Outcome.TAKEN
    back()
    m.put(C, cash=0)
    assert outcome() is Outcome.LIQUIDATOR
    back()
    cheap = k.planner._functions["liquidate"].encode(A, C, WAD, 5)
    k.next_head()
    found = check(replace(intent, data=cheap), k.head)
    assert found.outcome is Outcome.BOUND and "PaymentAboveLimit" in found.detail
    nobody = k.planner._functions["liquidate"].encode(A, D, WAD, 5)
    found = check(replace(intent, data=nobody), k.head)
    assert found.outcome is Outcome.REVERTED and "NotAccountOwner" in found.detail
    found = check(replace(intent, gas_limit=60_000), k.head)
    assert found.outcome is Outcome.REVERTED, found
    gone = replace(k.head, hash="0x" + "77" * 32)
    assert check(intent, gone).outcome is Outcome.UNAVAILABLE
    assert FREE.of(1) == 0
