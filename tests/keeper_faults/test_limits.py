"""What a keeper may lose, and what one provider alone may make it believe: the program itself
between a lying proxy and a true node.
"""

from __future__ import annotations

import pytest

from risk.chain.rpc import from_hex
from risk.keeper.purse import APART, ask_to_resume
from tests.keeper_faults import proxy as faults
from tests.keeper_faults.home import Home, alive
from tests.keeper_faults.proxy import Proxy
from tests.keeper_faults.scene import CHAIN_ID, KEEPER, RIVAL, Scene
from tests.keeper_faults.test_running import finish, running, wait
from tests.market.market_twin import address
from tests.support.vault_twin import CAROL, USD, account

pytestmark = pytest.mark.chain


# ── money ────────────────────────────────────────────────────────────────────────────────────────


def test_H63_no_day_costs_more_than_allowed(home: Home, scene: Scene, proxy: Proxy) -> None:
    """A lost race leaves less than another transaction might cost: nothing more is sent, also by
    the next process, and heads are followed. Then the operator says go on.
    """
    home.configure(dispatch={"pipeline": 1}, fees={"loss_native_per_day": "0.0007"})
    life = running(home)
    scene.crash()
    wait(lambda: bool(home.pooled()), life)
    (sent,) = home.pooled().values()
    victim = int.from_bytes(from_hex(sent["input"])[4:36], "big")
    scene.compete(victim)
    scene.mine()
    assert scene.rpc.receipt(sent["hash"])["status"] == "0x0"
    for _ in range(2):
        home.until(lambda: home.counter("heads") > 6, life=life)
        found = home.snapshot()
        assert found is not None and "limit" in found.suspended
        assert found.loss_limit_wei == 7 * 10**14
        assert 0 < found.lost_wei == found.spent_wei < found.loss_limit_wei
        assert found.accounts.unhealthy == len(scene.weak) - 1
        assert len(proxy.sent) == 1 and not home.pooled()
        assert life.stop().code == 0
        life = home.live()
    ask_to_resume(home.folder / "state", CHAIN_ID, KEEPER.address)
    finish(home, life, rivals=[victim], reverted=range(1, 2))
    assert [r["t"] for r in home.records()].count("forgiven") == 1


def test_H64_too_little_ether(home: Home, scene: Scene, proxy: Proxy) -> None:
    """It ends with 6, but not by the first answer of the only endpoint: two blocks later."""
    scene.crash()
    scene.rpc.call("anvil_setBalance", KEEPER.address, hex(10**9))
    life = home.live()
    wait(lambda: "suspended" in life.said, life)
    first = scene.rpc.block_number()
    for _ in range(APART):
        wait(lambda: home.height() == scene.rpc.block_number(), life)
        assert home.snapshot() is not None
        scene.mine()
    outcome = life.end()
    assert outcome.code == 6 and "wei are needed" in outcome.said, outcome.said[-3_000:]
    assert scene.rpc.block_number() == first + APART
    assert not proxy.sent and "Traceback" not in outcome.said
    home.audit_secrets(outcome)


def test_H59_one_answer_that_there_is_no_ether(home: Home, scene: Scene, proxy: Proxy) -> None:
    """While it is given nothing is sent; then everything is as before."""
    life = running(home)
    rule = proxy.add(faults.says("0x0", "eth_getBalance"), "eth_getBalance")
    scene.crash()
    wait(lambda: rule.hits >= 6, life)
    found = home.snapshot()
    assert found is not None and "balance" in found.suspended and not proxy.sent
    assert found.accounts.unhealthy == len(scene.weak)
    proxy.heal()
    finish(home, life)


def test_H59_one_of_two_says_that_there_is_no_ether(home: Home, scene: Scene, proxy: Proxy) -> None:
    """However many blocks come: the other one contradicts."""
    home.configure(chain={"endpoints": [proxy.url, scene.node.url]})
    life = running(home)
    proxy.add(faults.says("0x0", "eth_getBalance"), "eth_getBalance")
    scene.crash()
    for _ in range(2 * APART):
        wait(lambda: home.height() == scene.rpc.block_number(), life)
        scene.mine()
    wait(lambda: "others say" in life.said, life)
    assert not home.pooled()
    proxy.heal()
    finish(home, life)


# ── a provider that lies consistently ────────────────────────────────────────────────────────────


def test_H59_a_provider_that_lies_in_everything(home: Home, scene: Scene, proxy: Proxy) -> None:
    """Its headers, logs and lens agree that a deposit never was. Of two endpoints the other one is
    asked whether the book is right: exit 10 with both values and both names.
    """
    home.configure(
        chain={"endpoints": [proxy.url, scene.node.url]}, book={"reconcile_every_blocks": 1}
    )
    life = running(home)
    home.until(lambda: home.counter("reconciliations") > 0, life=life)
    market, victim = scene.market, scene.sound[0]
    proxy.add(faults.silent_since(scene.rpc.block_number() + 1))
    before = scene.cash(victim)
    data = market.functions["deposit"].encode(account(CAROL), market.cash, 5 * USD)
    sent = scene.send(address(account(CAROL) >> 8), market.world.vault, data)
    scene.mine()
    assert scene.rpc.receipt(sent)["status"] == "0x1"
    after = scene.cash(victim)
    assert after > before
    # every head is compared; whoever fed the book at this one is the witness of another
    home.until(lambda: not alive(life.pid))
    outcome = life.end()
    assert outcome.code == 10, outcome.said[-3_000:]
    for name in (f"127.0.0.1:{proxy.port}", f"127.0.0.1:{scene.node.port}"):
        assert name in outcome.said
    assert "in the book and" in outcome.said and not proxy.sent
    home.audit_secrets(outcome)
    assert not scene.taken(RIVAL)
