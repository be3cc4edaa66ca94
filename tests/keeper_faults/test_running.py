"""ATTACKS H58 to H63 on the program itself: `plumbline keeper run --live` between a proxy and a
chain that misbehave. At the end of each scenario everybody who could be liquidated is, once, by
nonces that were mined once with journalled bytes (`Home.audit`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest

from risk.chain.rpc import from_hex
from tests.keeper_faults import proxy as faults
from tests.keeper_faults.home import PATIENCE, Home, Life
from tests.keeper_faults.proxy import SEND, Proxy
from tests.keeper_faults.scene import CRASH, GWEI, KEEPER, RIVAL, Scene
from tests.keeper_faults.test_reading import FAILURES
from tests.market.market_twin import key_address

pytestmark = pytest.mark.chain


def wait(what: Callable[[], bool], life: Life, seconds: float = PATIENCE) -> None:
    """Without new blocks."""
    home_end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < home_end, life.said[-4_000:]
        time.sleep(0.01)


def running(home: Home) -> Life:
    """A keeper that has seen a head and found nobody to liquidate."""
    life = home.live()
    home.until(lambda: home.counter("heads") > 0, life=life)
    return life


def finish(home: Home, life: Life, **left: object) -> None:
    """All is done; SIGTERM, exit code 0, and the audit."""
    home.until(home.clean, life=life)
    outcome = life.stop()
    assert outcome.code == 0, outcome.said[-4_000:]
    home.audit(**left)  # type: ignore[arg-type]


# ── H58: the endpoint fails ──────────────────────────────────────────────────────────────────────


def test_H58_every_failure_in_turn(home: Home, scene: Scene, proxy: Proxy) -> None:
    """While any of them lasts nothing is sent; accounts are unknown with their last values."""
    home.configure(chain={"request_timeout_seconds": 0.7})
    life = running(home)
    proxy.add(faults.status(503))
    scene.crash()
    for name, fault in FAILURES.items():
        rule = proxy.add(fault, name=name)
        wait(lambda r=rule: r.hits >= 2, life)  # type: ignore[misc]
        assert not proxy.sent
    told = home.accounts()
    assert not told.unhealthy and told.unknown >= len(scene.weak)
    proxy.heal()
    finish(home, life)


def test_H58_prices_alone_cannot_be_read(home: Home, scene: Scene, proxy: Proxy) -> None:
    """The book follows, every reading of feeds fails: nobody is judged, nothing is sent. When they
    can be read again, the head at hand is judged: no new block is waited for.
    """
    life = running(home)
    rule = proxy.add(faults.error_200, "eth_call")
    scene.crash()
    top = scene.rpc.block_number()
    wait(lambda: home.height() == top and rule.hits >= 3, life)
    assert not proxy.sent and home.accounts().unknown >= len(scene.weak)
    proxy.heal()
    wait(lambda: bool(proxy.sent), life)
    assert scene.rpc.block_number() == top
    finish(home, life)


def test_H58_one_question_fails(home: Home, scene: Scene, proxy: Proxy) -> None:
    """The nonces cannot be read, then the simulation fails: asked again at the same head."""
    life = running(home)
    nonces = proxy.add(faults.error_200, "eth_getTransactionCount")
    scene.crash()
    top = scene.rpc.block_number()
    wait(lambda: nonces.hits >= 3, life)
    assert not proxy.sent
    proxy.heal()
    simulation = proxy.add(not_simulated, "eth_call")
    wait(lambda: home.counter("simulations_unavailable") >= 2, life)
    assert not proxy.sent and simulation.hits and home.accounts().unhealthy == len(scene.weak)
    proxy.heal()
    wait(lambda: bool(proxy.sent), life)
    assert scene.rpc.block_number() == top
    finish(home, life)


def not_simulated(x: faults.Exchange) -> None:
    """Calls of the keeper itself fail; those of the lens, which name no sender, pass."""
    if any("from" in e["params"][0] for e in x.entries if e["method"] == "eth_call"):
        faults.error_200(x)
    else:
        x.raw(x.forward())


def test_H58_H64_sending_fails(home: Home, scene: Scene, proxy: Proxy) -> None:
    """Answers to a sending are lost, refused, late or nonsense: nobody knows what arrived."""
    life = running(home)
    rules = [
        proxy.add(fault, SEND, times=1)
        for fault in (
            faults.says("0x" + "77" * 32, SEND),
            faults.error_200,
            faults.status(429),
            faults.disconnect,
            faults.cut_json,
            faults.disconnect_after,
        )
    ]
    scene.crash()
    finish(home, life)
    assert all(rule.hits == 1 for rule in rules)


# ── H59: the endpoint lies ───────────────────────────────────────────────────────────────────────


def test_H59_two_providers(home: Home, scene: Scene, proxy: Proxy) -> None:
    """They disagree, then one lags: with a quorum of two nothing is sent until they agree."""
    with Proxy(scene.node.url, secret="0ther-pr0vider") as other:
        home.secrets.append(other.secret)
        home.urls = [proxy.url, other.url]
        home.configure(chain={"quorum": 2})
        life = running(home)
        rule = other.add(faults.other_branch)
        scene.crash()
        wait(lambda: rule.hits >= 6, life)
        assert not proxy.sent and not other.sent
        snapshot = home.snapshot()
        assert snapshot is not None and "Disagreement" in snapshot.suspended
        other.heal()
        lag = other.add(faults.stuck_at(scene.rpc.block_number()))
        finish_lag = lag.hits + 10
        home.until(lambda: lag.hits >= finish_lag, life=life)
        other.heal()
        finish(home, life)


def test_H59_lies_of_the_only_provider(home: Home, scene: Scene, proxy: Proxy) -> None:
    """A head far below what was seen; blocks whose logs it hides; receipts of other transactions.
    Nothing is sent on the first two, no nonce is closed on the third.
    """
    home.configure(chain={"max_lag_blocks": 2})
    scene.mine(4)
    life = running(home)
    top = scene.rpc.block_number()
    rule = proxy.add(faults.stuck_at(top - 3))
    scene.crash()
    wait(lambda: rule.hits >= 4, life)
    assert not proxy.sent and "StaleHead" in life.said
    scene.mine()
    scene.compete(scene.weak[0])
    scene.mine()
    proxy.heal()
    hide = proxy.add(
        faults.says([], "eth_getLogs", "eth_getBlockReceipts"),
        "eth_getLogs",
        "eth_getBlockReceipts",
    )
    wait(lambda: hide.hits >= 4, life)
    assert not proxy.sent and "LyingLogs" in life.said
    proxy.heal()
    wrong = proxy.add(faults.other_receipt, "eth_getTransactionReceipt")
    home.until(lambda: wrong.hits >= 4, life=life)
    assert not [r for r in home.records() if r["t"] == "mined"]
    proxy.heal()
    finish(home, life, rivals=[scene.weak[0]])


# ── H60: the chain is reorganised ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("depth", "ring"), [(2, 16), (5, 3)])
def test_H60_reorg(home: Home, scene: Scene, depth: int, ring: int) -> None:
    """Our liquidations are taken out of the chain, within the ring of blocks and below it."""
    home.configure(book={"ring_blocks": ring}, dispatch={"confirmations": 8})
    life = running(home)
    scene.crash()
    home.until(lambda: bool(scene.taken()), life=life)
    scene.mine(depth - 1)
    wait(lambda: home.height() == scene.rpc.block_number(), life)  # the book has them, too
    assert any(r["t"] == "mined" for r in home.records())
    scene.rpc.call("anvil_reorg", depth, [])
    finish(home, life)
    assert any(r["t"] == "reopened" for r in home.records())
    rebuilt = home.counter("rebuilds")  # the first was the start
    assert rebuilt > 1 if depth > ring else rebuilt == 1 and home.counter("blocks_undone") >= depth


# ── H61, H62: transactions that are not mined ────────────────────────────────────────────────────


def test_H61_dropped_then_taken_by_a_stranger(home: Home, scene: Scene) -> None:
    """The pool loses the lower of two transactions, which leaves a gap: the same bytes come again.
    Then another program uses a nonce with our key: the account gets another nonce.
    """
    life = running(home)
    scene.crash()
    wait(lambda: len(home.pooled()) == 2, life)
    nonce, lost = min(home.pooled().items())
    scene.rpc.call("anvil_dropTransaction", lost["hash"])
    home.until(lambda: nonce + 1 in scene.mined_by(), life=life)
    assert scene.mined_by()[nonce]["hash"] == lost["hash"]
    wait(lambda: len(home.pooled()) == 2, life)
    nonce, lost = min(home.pooled().items())
    scene.rpc.call("anvil_dropTransaction", lost["hash"])
    to = key_address(RIVAL)
    stranger = scene.send(KEEPER.address, to, b"", nonce=hex(nonce), gas=hex(21_000))
    scene.mine()
    assert scene.mined_by()[nonce]["hash"] == stranger
    finish(home, life, strangers=[nonce])
    kinds = [r["t"] for r in home.records() if r["nonce"] == nonce]
    assert "taken" in kinds and "abandoned" in kinds


def bumped_beyond(last: Mapping[str, int]) -> int:
    """Max fee of the next replacement."""
    return last["max_fee"] * 1_125 // 1_000


@pytest.mark.parametrize(
    "limit",
    [{"max_fee_cap_gwei": "60", "max_tip_gwei": "20"}, {"budget_native": "0.008"}],
    ids=["cap", "budget"],
)
def test_H62_gas_spike(home: Home, scene: Scene, proxy: Proxy, limit: dict[str, str]) -> None:
    """Both fees rise by the node's rule while cap or budget allows it; then the nonce is kept."""
    home.configure(dispatch={"pipeline": 1}, fees=limit)
    life = running(home)
    scene.crash()
    wait(lambda: bool(home.pooled()), life)
    (nonce,) = home.pooled()
    for _ in range(7):  # always a little above what is offered
        offered = max(r["max_fee"] for r in home.records() if "max_fee" in r)
        scene.mine(base_fee=offered + 1)
        wait(lambda: home.height() >= scene.rpc.block_number(), life)
    assert not scene.taken()
    tried = [r for r in home.records() if r["t"] in ("signed", "replaced")]
    assert len(tried) >= 4 and {r["nonce"] for r in tried} == {nonce}
    most = 8 * 10**15 // tried[0]["gas"] if "budget_native" in limit else 60 * GWEI
    assert bumped_beyond(tried[-1]) > most, "it gave up before it had to"
    for old, new in pairwise(tried):
        assert new["max_fee"] * 100 >= old["max_fee"] * 110
        assert new["tip"] * 100 >= old["tip"] * 110
    if "budget_native" in limit:
        assert tried[0]["budget"] == 8 * 10**15
        assert all(r["max_fee"] * r["gas"] <= 8 * 10**15 for r in tried)
    else:
        assert all(r["max_fee"] <= 60 * GWEI for r in tried)
    assert nonce in home.open_nonces()
    finish(home, life)


# ── H63: others act, prices move ─────────────────────────────────────────────────────────────────


def test_H63_competitor_and_price(home: Home, scene: Scene) -> None:
    """The rival is first in the block: ours is mined and reverts, counted. The price recovers
    while ours wait: they revert or are withdrawn, and nothing is paid.
    """
    home.configure(dispatch={"pipeline": 1})
    life = running(home)
    scene.crash()
    wait(lambda: bool(home.pooled()), life)
    (sent,) = home.pooled().values()
    victim = int.from_bytes(from_hex(sent["input"])[4:36], "big")
    scene.compete(victim)
    scene.mine()
    receipt = scene.rpc.receipt(sent["hash"])
    assert receipt["status"] == "0x0" and scene.taken(RIVAL)[victim] == 1
    wait(lambda: bool(home.pooled()), life)
    (sent,) = home.pooled().values()
    before = scene.cash(home.liquidator)
    scene.price(3_000)
    assert scene.rpc.receipt(sent["hash"])["status"] == "0x0"
    home.until(lambda: not home.open_nonces(), life=life)
    assert scene.cash(home.liquidator) == before and not scene.taken()
    home.until(lambda: home.counter("transactions_reverted") == 2, life=life)
    scene.crash()
    wait(lambda: bool(home.pooled()), life)
    scene.price(CRASH + 30)  # dearer, still unhealthy: paid within the bound, or refused
    finish(home, life, rivals=[victim], reverted=range(2, 4))
