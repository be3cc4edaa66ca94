"""The three engines behind one interface: the same calls and cases, the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from risk.chain.compile import Artifact
from risk.diff.kit import batch
from risk.diff.kit.artifacts import from_sources
from risk.diff.kit.batch import BatchEngine
from risk.diff.kit.chain import Chain, role_address
from risk.diff.kit.engine import Call, Engine, Probe, Result
from risk.diff.kit.errors import DiffError
from risk.diff.kit.node import NodeEngine
from risk.diff.kit.revm import RevmEngine

pytestmark = pytest.mark.chain

TOY = """
// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;
contract Toy {
    uint256[8] public words;
    Toy public other; // slot 8
    uint256 private immutable MARK = block.number + 41;
    error Refused(uint256 why, address who);
    function sum() public view returns (uint256 s) {
        for (uint256 i; i < 8; ++i) { unchecked { s = s * 31 + words[i]; } }
    }
    function mark() external view returns (uint256, uint256) { return (MARK, block.timestamp); }
    function bump(uint256 i, uint256 by) external returns (uint256, uint256) {
        uint256 old = words[i];
        words[i] = old + by;
        return (old, words[i]);
    }
    function who() external payable returns (address, address, uint256) {
        return (msg.sender, address(this), msg.value);
    }
    function selfSum() external view returns (uint256, address) {
        return (this.sum(), this.caller_());
    }
    function caller_() external view returns (address) { return msg.sender; }
    function otherSum() external view returns (uint256) { return other.sum(); }
    function otherBump(uint256 by) external returns (uint256, uint256) { return other.bump(0, by); }
    function refuse(uint256 kind) external view {
        if (kind == 0) revert Refused(words[0], msg.sender);
        if (kind == 1) revert("no");
        if (kind == 2) { assembly { revert(0, 0) } }
        if (kind == 3) { assembly { invalid() } }
        if (kind == 4) { uint256 x = words[0]; x = 1 / (x - x); }
        while (true) {}
    }
    function remember(uint256 v) external returns (uint256 before) {
        assembly { before := tload(0) tstore(0, v) }
    }
    function text(uint256 n) external pure returns (bytes memory) { return new bytes(n); }
    function nothing() external {}
}
contract Proxy {
    constructor(address to) {
        assembly { sstore(0xf00d, to) }
    }
    fallback() external payable {
        assembly {
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), sload(0xf00d), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(ok) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}
"""
UINT = 2**256 - 1
NAMES = ("toy", "second", "proxy")
CALLS = (
    ("sum", 0),
    ("mark", 0),
    ("bump", 2),
    ("who", 0),
    ("selfSum", 0),
    ("caller_", 0),
    ("otherSum", 0),
    ("otherBump", 1),
    ("refuse", 1),
    ("remember", 1),
    ("text", 1),
    ("nothing", 0),
)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("toys")
    Path(folder, "Toy.sol").write_text(TOY)
    return from_sources(folder, ["Toy.sol"], solc="0.8.37", evm_version="cancun")


@dataclass
class Side:
    """An engine with the toys on it."""

    engine: Engine
    chain: Chain

    def call(self, to: str, name: str, *arguments: int, **more: Any) -> Call:
        data = self.chain["toy"].encode(name, arguments)
        return Call(self.chain[to].address, data, role_address("alice"), **more)

    def storage(self, words: dict[str, dict[int, int]]) -> dict[int, dict[int, int]]:
        return {self.chain[name].address: dict(w) for name, w in words.items()}

    def kept(self) -> list[list[int]]:
        slots = [*range(9), 0xF00D]
        return [self.engine.storage(self.chain[name].address, slots) for name in NAMES]


@pytest.fixture(scope="module")
def sides(toys: dict[str, Artifact]) -> Iterator[list[Side]]:
    engines: list[Engine] = [RevmEngine("cancun"), NodeEngine("cancun"), BatchEngine("cancun")]
    try:
        yield [_side(engine, toys) for engine in engines]
    finally:
        for engine in engines:
            engine.close()


def _side(engine: Engine, toys: dict[str, Artifact]) -> Side:
    engine.open()
    chain = Chain(engine, toys)
    chain.fund(("alice", "bob"))
    toy = chain.deploy("Toy", name="toy")
    second = chain.deploy("Toy", name="second")
    proxy = chain.deploy("Proxy", toy.address, name="proxy")
    for contract, peer in ((toy, proxy), (second, toy), (proxy, second)):
        engine.place(contract.address, None, {0: 5, 3: 7, 8: peer.address}, None)
    return Side(engine, chain)


def outcomes(results: Sequence[Result]) -> list[tuple[bool, bytes, str]]:
    return [(r.ok, r.data, "OutOfGas" if "Gas" in r.halt else r.halt) for r in results]


words = st.one_of(st.sampled_from((0, 1, 2, UINT, UINT - 1, 2**255)), st.integers(0, UINT))
laid_over = st.dictionaries(
    st.sampled_from(NAMES), st.dictionaries(st.integers(0, 7), words, max_size=4), max_size=3
)


@st.composite
def asked(draw: Any) -> tuple[str, str, tuple[int, ...], int, str, dict[str, dict[int, int]]]:
    """Contract, function, arguments, value, sender, words laid over."""
    name, count = draw(st.sampled_from(CALLS))
    arguments = tuple(draw(words) for _ in range(count))
    if name in ("bump", "refuse", "text"):
        arguments = (draw(st.integers(0, 9)), *arguments[1:])
    value = draw(st.sampled_from((0, 0, 1, 10**18)))
    sender = draw(st.sampled_from(("alice", "alice", "bob")))
    return draw(st.sampled_from(NAMES)), name, arguments, value, sender, draw(laid_over)


@given(st.lists(asked(), min_size=1, max_size=12))
@example(  # each of these was wrong once: code under a proxy, a slot nobody read, a halt's name
    [
        ("toy", "sum", (), 0, "alice", {"toy": {}}),
        ("proxy", "sum", (), 0, "alice", {"toy": {6: 1}}),
        ("toy", "sum", (), 0, "alice", {"second": {5: 9}}),
        ("second", "sum", (), 0, "alice", {}),
        ("toy", "refuse", (3,), 0, "alice", {}),
    ]
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_three_engines_answer_alike(sides: list[Side], todo: list[Any]) -> None:
    answers, called = [], []
    for side in sides:
        before = side.kept()
        probes = []
        for to, name, arguments, value, sender, over in todo:
            call = side.call(to, name, *arguments, value=value, gas=400_000)
            call = replace(call, sender=role_address(sender))
            probes.append(Probe(call, side.storage(over)))
        answers.append(outcomes(side.engine.probe(probes)))
        called.append(outcomes(side.engine.call([p.call for p in probes])))
        assert side.kept() == before
    assert answers[0] == answers[1] == answers[2]
    assert called[0] == called[1] == called[2]


def test_most_answers_come_from_the_harness(
    sides: list[Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the engine would be right, but slow: only failures without data are asked again."""
    alone: list[int] = []
    plain = NodeEngine.probe

    def counted(self: NodeEngine, probes: Sequence[Probe]) -> list[Result]:
        alone.append(len(probes))
        return plain(self, probes)

    monkeypatch.setattr(NodeEngine, "probe", counted)
    side = sides[2]
    calls = [side.call(to, "bump", i % 8, i) for to in NAMES for i in range(100)]
    calls += [side.call("toy", "refuse", k) for k in (0, 1, 4)]
    results = side.engine.call([*calls, side.call("toy", "refuse", 2), side.call("toy", "text", 4)])
    assert [r.ok for r in results] == [True] * 300 + [False] * 4 + [True]
    assert alone == [1]


def test_words_of_a_case_do_not_leak_into_the_next(sides: list[Side]) -> None:
    for side in sides:
        call = side.call("toy", "sum")
        over = side.storage({"toy": {i: 1 + i for i in range(8)}})
        bump, remember = side.call("toy", "bump", 0, 3), side.call("toy", "remember", 9)
        probes = [
            Probe(call),
            Probe(call, over),
            Probe(bump, over),
            Probe(remember),
            Probe(remember),
            Probe(bump),
            Probe(call),
        ]
        r = side.engine.probe(probes)
        assert r[0] == replace(r[6], gas_used=r[0].gas_used)
        assert r[1].data != r[0].data
        assert r[2].data == (1).to_bytes(32, "big") + (4).to_bytes(32, "big")
        assert r[3].data == r[4].data == bytes(32)  # transient storage begins empty
        assert r[5].data == (5).to_bytes(32, "big") + (8).to_bytes(32, "big")


def test_a_target_that_comes_near_its_gas_limit_is_asked_alone(sides: list[Side]) -> None:
    """With the gas a call of its own has: the harness must not decide it."""
    for limit in range(44_000, 56_000, 1_500):  # around the 21,000 + 8 cold slots of sum()
        found = []
        for side in sides[1:]:
            calls = [side.call("toy", "sum", gas=limit)] * 2
            found.append(outcomes(side.engine.call(calls)))
        assert found[0] == found[1]


def test_the_harness_runs_under_old_rules(toys: dict[str, Artifact]) -> None:
    """No PUSH0 in it: a target of 2021 is tested under the rules of 2021."""
    engine = BatchEngine("berlin")
    engine.open()
    try:
        # returns its slot 0: PUSH1 0 SLOAD PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN
        engine.place(0x1234, bytes.fromhex("60005460005260206000f3"), {0: 6}, None)
        call = Call(0x1234, b"", role_address("alice"))
        results = engine.probe([Probe(call), Probe(call, {0x1234: {0: 7}}), Probe(call)])
        assert [int.from_bytes(r.data, "big") for r in results] == [6, 7, 6]
    finally:
        engine.close()


def test_an_answer_that_is_cut_short_is_an_error() -> None:
    whole = bytes([1]) + (3).to_bytes(31, "big") + b"abc" + bytes(32)
    assert batch.split(whole, 2) == [(1, b"abc"), (0, b"")]
    for broken in (whole[:-1], whole + b"\0"):
        with pytest.raises(DiffError):
            batch.split(broken, 2)
