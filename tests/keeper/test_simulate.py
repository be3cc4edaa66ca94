"""Simulation over endpoints that fail, do not know block overrides, or answer nonsense; what a
real node says is in test_planner_anvil.py.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from risk.chain.abi import Errors, functions
from risk.keeper.ports import Outcome, Simulation
from risk.keeper.simulate import Simulator
from risk.keeper.source import Endpoint, HeadRule, Policy, Pool, Source
from risk.keeper.types import Head, Intent, Way
from tests.keeper.planner_scene import abi
from tests.keeper.test_source import Clock, Fake

HEAD = Head(10, "0x" + "a10".rjust(64, "0"), "0x0", 1_000_000, 7)
VICTIM, LIQUIDATOR = 0xA11CE << 8, 0xCA401 << 8
SIGNER = "0x" + "ca" * 20
F = functions(abi())


def intent(way: Way = Way.SLICE, account: int = VICTIM) -> Intent:
    data = {
        Way.FLAG: F["flag"].encode(account),
        Way.SLICE: F["liquidate"].encode(account, LIQUIDATOR, 10**18, 5),
        Way.LEGS: F["liquidateLegs"].encode(account, LIQUIDATOR, [1], 5, b""),
    }[way]
    return Intent(account, way, 0xAA, data, 500_000, 5, 0, 0, 0, 10)


class Node(Fake):
    """Answers ``eth_call`` with ``says``; ``overrides`` False: it refuses four arguments."""

    def __init__(self, says: dict[str, Any], *, overrides: bool = True) -> None:
        super().__init__("node")
        self.says, self.overrides = says, overrides
        self.calls: list[list[Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] != "eth_call":
            return super().answer(request)
        self.calls.append(request["params"])
        if len(request["params"]) > 3 and not self.overrides:
            return {"error": {"code": -32602, "message": "too many arguments, want at most 3"}}
        return self.says


def simulator(*nodes: Fake, seconds: int | None = 12) -> tuple[Simulator, Pool]:
    clock = Clock()
    pool = Pool.of(
        [Endpoint(n.name, n.open) for n in nodes],
        policy=Policy(attempts=3, deadline=30.0, base=0.1, cap=1.0),
        rng=Random(1),
        clock=clock,
        sleep=clock.sleep,
    )
    source = Source(pool, HeadRule(lag=None))
    return Simulator(source, [abi()], SIGNER, block_seconds=seconds), pool


def check(says: dict[str, Any], asked: Intent | None = None, **options: Any) -> Simulation:
    return simulator(Node(says, **options))[0].check(asked or intent(), HEAD)


def reverts(name: str, *arguments: Any) -> dict[str, Any]:
    data = Errors([abi()]).encode(name, arguments)
    return {"error": {"code": 3, "message": "execution reverted", "data": "0x" + data.hex()}}


def returns(way: Way, *values: Any) -> dict[str, Any]:
    name = {Way.FLAG: "flag", Way.SLICE: "liquidate", Way.LEGS: "liquidateLegs"}[way]
    return {"result": "0x" + F[name].encode_outputs(*values).hex()}


@pytest.mark.parametrize("payment", [-(10**20), 0, 10**20])
def test_payment(payment: int) -> None:
    found = check(returns(Way.SLICE, 10**17, payment))
    assert (found.outcome, found.payment_wad, found.gas) == (Outcome.OK, payment, 500_000)
    assert check(returns(Way.LEGS, payment), intent(Way.LEGS)).payment_wad == payment
    assert check(returns(Way.FLAG), intent(Way.FLAG)).outcome is Outcome.OK


def test_what_is_asked() -> None:
    """From the signer, at the head by hash, with the intent's gas, at the next block's time."""
    node = Node(returns(Way.SLICE, 1, 2))
    asked = intent()
    simulator(node)[0].check(asked, HEAD)
    (request, at, state, block) = node.calls[0]
    assert request == {
        "from": SIGNER,
        "to": f"0x{0xAA:040x}",
        "data": "0x" + asked.data.hex(),
        "gas": hex(500_000),
    }
    assert at == {"blockHash": HEAD.hash} and state == {}
    assert int(block["time"], 16) == HEAD.timestamp + 12


def test_without_block_overrides() -> None:
    """A node that does not know them is asked without, and is no failing endpoint for it."""
    node = Node(returns(Way.SLICE, 1, 2), overrides=False)
    sim, pool = simulator(node)
    assert sim.check(intent(), HEAD).outcome is Outcome.OK
    assert [len(c) for c in node.calls] == [4, 2]
    assert pool.members[0].total_failures == 0
    plain = Node(returns(Way.SLICE, 1, 2))
    simulator(plain, seconds=None)[0].check(intent(), HEAD)
    assert [len(c) for c in plain.calls] == [2]


@pytest.mark.parametrize(
    ("error", "arguments", "want"),
    [
        ("AccountHealthy", (VICTIM, 5, 4), Outcome.HEALTHY),
        ("AccountHealthy", (VICTIM, 0, 0), Outcome.TAKEN),
        ("PaymentAboveLimit", (6, 5), Outcome.BOUND),
        ("InsufficientMargin", (LIQUIDATOR, 1, 2), Outcome.LIQUIDATOR),
        ("TooManyPositions", (LIQUIDATOR, 128), Outcome.LIQUIDATOR),
        ("CashOutOfRange", (LIQUIDATOR,), Outcome.LIQUIDATOR),
        ("CashOutOfRange", (VICTIM,), Outcome.REVERTED),
        ("NotFlagged", (VICTIM,), Outcome.GRACE),
        ("GracePeriod", (VICTIM, 9), Outcome.GRACE),
        ("AlreadyFlagged", (VICTIM, 9), Outcome.TAKEN),
        ("LegInvalid", (7,), Outcome.TAKEN),
        ("NotAccountOwner", (LIQUIDATOR, 1), Outcome.REVERTED),
    ],
)
def test_reverts_by_kind(error: str, arguments: tuple[int, ...], want: Outcome) -> None:
    found = check(reverts(error, *arguments))
    assert found.outcome is want and found.detail.startswith(error)


@pytest.mark.parametrize(
    "says",
    [
        {"error": {"code": 3, "message": "execution reverted", "data": "0x"}},
        {"error": {"code": 3, "message": "execution reverted", "data": "0xdeadbeef"}},
        {"error": {"code": -32000, "message": "execution reverted"}},
        {"error": {"code": -32000, "message": "out of gas: gas required exceeds 500000"}},
        # a selector that is known, with arguments that are cut off
        {
            "error": {
                "code": 3,
                "message": "execution reverted",
                "data": "0x" + reverts("PaymentAboveLimit", 6, 5)["error"]["data"][2:40],
            }
        },
    ],
)
def test_other_reverts(says: dict[str, Any]) -> None:
    sim, pool = simulator(Node(says))
    assert sim.check(intent(), HEAD).outcome is Outcome.REVERTED
    assert pool.members[0].total_failures == 0  # the chain's answer, not the endpoint's fault


@pytest.mark.parametrize(
    "says",
    [
        {"error": {"code": -32000, "message": "header not found"}},
        {"error": {"code": 429, "message": "too many requests"}},
        {"error": {"code": -32601, "message": "the method is not available"}},
        {"result": None},
        {"result": "0xzz"},
        {"result": "0x"},
        {"result": "0x1234"},
        {"result": ["0x"]},
    ],
)
def test_no_usable_answer(says: dict[str, Any]) -> None:
    found = check(says)
    assert found.outcome is Outcome.UNAVAILABLE and found.detail


@pytest.mark.parametrize("raw", [b"", b"[", b"{}", b'{"jsonrpc":"2.0","id":99,"result":"0x"}'])
def test_broken_transport(raw: bytes) -> None:
    node = Node({"result": "0x"})
    node.spoil = lambda _: raw
    sim, _ = simulator(node)
    assert sim.check(intent(), HEAD).outcome is Outcome.UNAVAILABLE


def test_the_next_endpoint_is_asked() -> None:
    broken, good = Node({"result": "0x"}), Node(returns(Way.SLICE, 1, 7))
    broken.spoil = lambda _: b"["
    sim, _ = simulator(broken, good)
    assert sim.check(intent(), HEAD).payment_wad == 7


# ── the pending block ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("says", "want"),
    [
        (returns(Way.SLICE, 1, 7), Outcome.OK),
        (reverts("AccountHealthy", VICTIM, 5, 4), Outcome.TAKEN),
        (reverts("LegInvalid", 7), Outcome.TAKEN),
        # not for somebody else's sake: what the head says counts
        (reverts("PaymentAboveLimit", 6, 5), Outcome.OK),
        (reverts("InsufficientMargin", LIQUIDATOR, 1, 2), Outcome.OK),
        ({"error": {"code": -32000, "message": "pending block is not available"}}, Outcome.OK),
        ({"error": {"code": 3, "message": "execution reverted", "data": "0x"}}, Outcome.OK),
        ({"result": 5}, Outcome.OK),
    ],
)
def test_what_the_pool_holds(says: dict[str, Any], want: Outcome) -> None:
    node = Node(says)
    assert simulator(node)[0].pool(intent()).outcome is want
    ((request, at),) = node.calls
    assert at == "pending" and request["from"] == SIGNER


def test_a_pool_that_nobody_can_ask() -> None:
    broken = Node({"result": "0x"})
    broken.spoil = lambda _: b"["
    assert simulator(broken)[0].pool(intent()).outcome is Outcome.UNAVAILABLE
