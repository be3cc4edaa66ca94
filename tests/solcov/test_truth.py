"""The mapping from program counters to lines and branches, on a contract with known answers:
optimised code, an inlined library, a linked one, a modifier, a constructor, short circuits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from risk.chain.node import Anvil
from risk.chain.rpc import Rpc
from risk.solcov import collect
from risk.solcov.collect import Collector
from risk.solcov.store import Hits, Writer
from tests.solcov.sample import Sample, call_data, compiled, coverage, missed

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def node() -> Iterator[Anvil]:
    with Anvil() as running:
        yield running


@pytest.fixture
def rpc(node: Anvil) -> Iterator[Rpc]:
    with node.rpc() as client:
        client.observer = None
        yield client


def watched(rpc: Rpc, folder: Path) -> Collector:
    """A collector that sees every exchange of ``rpc`` and writes to ``folder``."""
    collector = Collector(compiled(), Writer(folder))
    rpc.observer = collector
    return collector


def test_nothing_but_what_ran(rpc: Rpc, tmp_path: Path) -> None:
    collector = watched(rpc, tmp_path)
    s = Sample(rpc)
    result = coverage(tmp_path)
    # the constructor ran in the creation code; its condition was never true
    assert missed(result, ["constructor"]) == {
        "if (start_ > 5) revert Big(start_) [if true]",
    }
    assert missed(result, ["half"]) == {
        "if (x == 0) revert Zero();",
        "if (x == 0) revert Zero() [if true]",
        "if (x == 0) revert Zero() [if false]",
        "return x / 2;",
        "return Inner.half(x);",
    }
    # a function that nobody calls has no code: neither reached nor missed
    assert missed(result, ["unused"]) == set()
    assert any("return x * 3" in item for f in result.files for item in f.no_code)
    s.call("half(uint256)", 8, to=s.b)  # the copy in B counts for the source
    assert missed(coverage(tmp_path), ["half"]) == {"if (x == 0) revert Zero() [if true]"}
    assert s.send("add(uint256)", 8)
    assert s.call("add(uint256)", 0) is None  # a side that only a revert takes, in A's copy
    assert missed(coverage(tmp_path), ["half"]) == set()
    assert not collector.errors


def test_short_circuits(rpc: Rpc, tmp_path: Path) -> None:
    watched(rpc, tmp_path)
    s = Sample(rpc)
    both, choice = "x > 1 && y > 1", "x > y ? x : y"
    assert s.call("pick(uint256,uint256)", 1, 0) == 1
    assert missed(coverage(tmp_path), ["pick"]) == {
        f"{both} [&& left true]",
        "if (x > 1 && y > 1) { return start; } [if true]",
        "return start;",
        f"{choice} [?: false]",
    }
    assert s.call("pick(uint256,uint256)", 3, 0) == 3  # the right side decides
    assert missed(coverage(tmp_path), ["pick"]) == {
        "if (x > 1 && y > 1) { return start; } [if true]",
        "return start;",
        f"{choice} [?: false]",
    }
    assert s.call("pick(uint256,uint256)", 0, 1) == 1
    assert s.call("pick(uint256,uint256)", 2, 2) == 1
    assert missed(coverage(tmp_path), ["pick"]) == set()


def test_library_by_delegatecall_modifier_and_require(rpc: Rpc, tmp_path: Path) -> None:
    watched(rpc, tmp_path)
    s = Sample(rpc)
    either = "x > 100 || list.length > 2"
    refused = "if (x > 100 || list.length > 2) { revert Big(x); }"
    assert s.send("add(uint256)", 8)
    assert missed(coverage(tmp_path), ["store"]) == {
        f"{either} [|| left true]",
        f"{refused} [if true]",
        "revert Big(x);",
    }
    guard = "if (msg.sender != owner) revert Zero()"
    assert missed(coverage(tmp_path), ["onlyOwner"]) == {f"{guard} [if true]"}
    # `require` has failed never: one of its sides is missing
    (missing,) = missed(coverage(tmp_path), ["add"])
    assert missing.startswith('require(length == before + 1, "length") [require ')
    assert not s.send("add(uint256)", 500)
    assert missed(coverage(tmp_path), ["store"]) == set()
    # `this.add` comes from A itself, which is not the owner
    assert missed(coverage(tmp_path), ["guarded"]) >= {"return true;", "return false;"}
    assert s.send("guarded(uint256)", 8)
    assert missed(coverage(tmp_path), ["onlyOwner"]) == set()
    left = missed(coverage(tmp_path), ["guarded"])
    assert {m for m in left if "[" not in m} == {"return true;"}
    assert {m.rsplit(" [", 1)[1] for m in left if "[" in m} == {"try success]"}


def test_loops_and_assembly(rpc: Rpc, tmp_path: Path) -> None:
    watched(rpc, tmp_path)
    s = Sample(rpc)
    assert s.call("sum(uint256)", 0) == 7
    left = missed(coverage(tmp_path), ["sum"])
    assert {m for m in left if "[" not in m} == {"s += i;", "s := 10", "s := 8", "s := add(s, 1)"}
    sides = sorted(m.rsplit(" [", 1)[1] for m in left if "[" in m)
    assert sides == ["case other]", "case other]", "case this]", "for enters]", "if true]"]
    assert s.call("sum(uint256)", 2) == 8
    left = missed(coverage(tmp_path), ["sum"])
    assert {m for m in left if "[" not in m} == {"s := 10", "s := add(s, 1)"}
    assert sorted(m.rsplit(" [", 1)[1] for m in left if "[" in m) == ["case other]", "if true]"]
    assert s.call("sum(uint256)", 9) == 11
    assert missed(coverage(tmp_path), ["sum"]) == set()


def test_traps_find_what_a_trace_of_everything_finds(
    rpc: Rpc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls thrice: filtered by traps, searched with traps only, and everything traced."""
    results = []
    for name, limit in (("traced", 10**9), ("searched", -1)):
        monkeypatch.setattr(collect, "TRACED_GAS", limit)
        collector = watched(rpc, tmp_path / name)
        _exercise(rpc)
        assert not collector.errors
        assert collector.counts["searched"] == 0 if limit > 0 else collector.counts["searched"] > 3
        results.append(_missed_sides(tmp_path / name))
    monkeypatch.setattr(collect, "TRACED_GAS", 10**9)
    monkeypatch.setattr(collect.Filter, "wants", lambda self, key: True)
    monkeypatch.setattr(Collector, "_armed", lambda self, targets, points=None: {})
    endings = itertools.count()
    monkeypatch.setattr(collect, "call_ending", lambda rpc, params: next(endings))
    collector = watched(rpc, tmp_path / "everything")
    _exercise(rpc)
    asked = collector.counts["transaction"] + collector.counts["call"]
    assert collector.counts["traced"] == asked - 2  # Outer and B have no constructor
    results.append(_missed_sides(tmp_path / "everything"))
    assert results[0] == results[2]
    # a search alone does not see into a call whose failure the caller catches
    assert results[1] - results[0] == {
        (40, "if true", "if (msg.sender != owner) revert Zero()"),
    }
    assert not results[0] - results[1]


def _exercise(rpc: Rpc) -> None:
    s = Sample(rpc)
    s.call("pick(uint256,uint256)", 3, 0)
    s.call("pick(uint256,uint256)", 0, 3)
    s.send("add(uint256)", 8)
    s.send("add(uint256)", 900)
    s.call("burn(uint256)", 900)
    s.call("sum(uint256)", 3)
    s.send("guarded(uint256)", 8)


def _missed_sides(folder: Path) -> set[tuple[int, str, str]]:
    return {(m.line, m.side, m.text) for f in coverage(folder).files for m in f.missed}


def test_simulated_blocks(rpc: Rpc, tmp_path: Path) -> None:
    """The second call of a block sees what the first one left, with the sender of each."""
    s = Sample(rpc)
    watched(rpc, tmp_path)

    def add(x: int, sender: str) -> dict[str, str]:
        return {"from": sender, "to": s.a, "data": "0x" + call_data("add(uint256)", x).hex()}

    other = rpc.call("eth_accounts")[1]
    calls = [add(2, s.sender), add(4, s.sender), add(6, s.sender), add(8, s.sender), add(8, other)]
    state = {"blockStateCalls": [{"calls": calls}], "validation": False}
    (block,) = rpc.call("eth_simulateV1", state, "latest")
    assert [c["status"] for c in block["calls"]] == ["0x1", "0x1", "0x1", "0x0", "0x0"]
    left = missed(coverage(tmp_path), ["store", "onlyOwner"])
    assert left == {"x > 100 || list.length > 2 [|| left true]"}


def test_what_is_known_is_not_traced_again(rpc: Rpc, tmp_path: Path) -> None:
    collector = watched(rpc, tmp_path)
    s = Sample(rpc)
    for x in range(2, 30):
        s.call("pick(uint256,uint256)", x, 0)
    first = collector.counts["traced"]
    assert collector.counts["call"] == 28
    assert first <= 5  # three contracts were created, one call was new
    again = Collector(compiled(), Writer(tmp_path))
    known = Hits()
    for key in collector.hits.counters:
        known.add(key, collector.hits.counters[key], collector.hits.edges[key])
    again.know(known)
    rpc.observer = again
    for x in range(2, 30):
        s.call("pick(uint256,uint256)", x, 0)
    assert again.counts["call"] == 28
    assert again.counts["traced"] == 1  # the first of its kind, in any case


def test_other_code_is_nobodys(rpc: Rpc, tmp_path: Path) -> None:
    """A contract that differs in one byte is not taken for ours."""
    s = Sample(rpc)
    code = bytearray(rpc.code(s.b))
    collector = Collector(compiled(), Writer(tmp_path))
    assert collector.matcher.runtime(bytes(code)) is not None
    code[-30] ^= 1  # in the metadata hash, as a changed source would
    assert collector.matcher.runtime(bytes(code)) is None
