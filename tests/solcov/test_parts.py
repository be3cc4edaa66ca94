"""The parts without a node: source maps, matching, the store, the filter, the table of unreachable
code, LCOV.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from risk.solcov.build import RUNTIME, Unit
from risk.solcov.command import percent
from risk.solcov.cover import Index, Point
from risk.solcov.errors import SolcovError
from risk.solcov.evaluate import Coverage, evaluate, lcov
from risk.solcov.match import Matcher
from risk.solcov.novelty import WIDEST, Filter
from risk.solcov.points import FALL, JUMP, sources
from risk.solcov.sourcemap import JUMPI, Range, by_counter, decode
from risk.solcov.store import Hits, Writer, read
from risk.solcov.traps import INVALID, JUMPDEST, Traps
from risk.solcov.unreachable import Claim, load
from tests.solcov.sample import PATH, SOURCE, compiled, unit


def test_source_maps_repeat_what_is_left_out() -> None:
    assert decode("1:2:0;:9;2::1;;") == [
        Range(0, 1, 3),
        Range(0, 1, 10),
        Range(1, 2, 11),
        Range(1, 2, 11),
        Range(1, 2, 11),
    ]
    # PUSH2 takes three bytes; what stands behind the last entry is data
    assert by_counter(bytes.fromhex("61000056fe"), "1:2:0;3:4") == {
        0: Range(0, 1, 3),
        3: Range(0, 3, 7),
    }
    assert decode("") == []


def test_matching_ignores_only_what_a_deployment_fills_in() -> None:
    code = bytes(range(1, 41))
    ours = Unit("s.sol", "C", RUNTIME, code, ((4, 20),), "")
    matcher = Matcher([ours])
    linked = code[:4] + b"\xaa" * 20 + code[24:]
    assert matcher.runtime(linked) is ours
    assert matcher.runtime(linked[:-1] + b"\x00") is None
    assert matcher.runtime(linked + b"\x00") is None
    a = unit("A", "creation")
    assert Matcher(compiled().units).creation(a.code + bytes(32)) is a
    assert Matcher(compiled().units).creation(a.code[:-1]) is None


def test_store_keeps_what_was_flushed(tmp_path: Path) -> None:
    key = unit("B", RUNTIME).key
    for counters, edges in (([1, 2], [(2, 3)]), ([2, 9], [(2, 7)])):
        writer = Writer(tmp_path)
        writer.hits(key, counters, edges)
        writer.hits("of:other:sources", [5], [])
        writer.note(counts={"call": 1})
        writer.note(counts={"call": 2})
    (first, _) = sorted(tmp_path.glob("*.jsonl"))
    with first.open("a") as file:
        file.write('{"unit": "cut o')  # killed while it wrote
    hits, notes = read(tmp_path, {key})
    assert dict(hits.counters) == {key: {1, 2, 9}}
    assert dict(hits.edges) == {key: {(2, 3), (2, 7)}}
    assert notes == [{"counts": {"call": 2}}] * 2


def test_filter_backs_off_and_comes_back() -> None:
    chosen = Filter()
    traced = 0
    for _ in range(2_000):
        if chosen.wants("kind"):
            traced += 1
            chosen.learn("kind", new=False, gas=0)
    assert 30 < traced < 90
    gap = 0
    while not chosen.wants("kind"):
        gap += 1
    assert gap < WIDEST
    for _ in range(12):
        chosen.learn("kind", new=True, gas=0)
    assert chosen.wants("kind")
    assert chosen.wants("another kind")


def test_traps_change_nothing_but_their_places() -> None:
    index = Index(compiled(), sources(compiled()))
    traps = Traps(compiled(), index)
    for one in compiled().units:
        places = index.places[one.key]
        if one.kind != RUNTIME or not places.statements:
            continue
        for point in traps.points(one.key):
            code = bytes.fromhex(traps.with_traps(one, one.code, [point])[2:])
            assert len(code) == len(one.code)
            changed = {i for i in range(len(code)) if code[i] != one.code[i]}
            assert changed
            starts = {pc for pc in one.ranges if pc in changed}
            if point.edge == JUMP:  # the target of the push, never an instruction
                assert not starts
                assert all(code[i] == 0 for i in changed)
            else:
                assert all(code[i] == INVALID for i in changed)
            if point.edge == FALL:
                (start,) = starts
                assert one.code[start - 1] == JUMPI
                assert one.code[start] != JUMPDEST
            counters, edges = traps.shown_by(one.key, point)
            assert index.reached(one.key, counters, edges) == {point}
    everything = set(traps._units)
    assert traps.clear(everything) == len(everything)
    assert all(traps.armed(u, u.code) is None for u in compiled().units)


def test_nearly_every_side_has_a_trap() -> None:
    index = Index(compiled(), sources(compiled()))
    traps = Traps(compiled(), index)
    assert len(index.points - set(traps._units)) == 0


def full() -> Hits:
    """Everything of the sample reached."""
    hits = Hits()
    index = Index(compiled(), sources(compiled()))
    for one in compiled().units:
        jumps = index.places[one.key].jumps
        edges = [(pc, to) for pc in jumps for to in (pc + 1, 0)]
        hits.add(one.key, one.ranges, edges)
    return hits


def test_all_and_nothing() -> None:
    everything, nothing = evaluate(compiled(), full()), evaluate(compiled(), Hits())
    totals = everything.totals()
    assert totals["lines_hit"] == totals["lines"] > 25
    assert totals["branches_hit"] == totals["branches"] > 25
    assert [m for f in everything.files for m in f.missed] == []
    none = nothing.totals()
    assert (none["lines"], none["branches"]) == (totals["lines"], totals["branches"])
    assert none["lines_hit"] == none["branches_hit"] == none["statements_hit"] == 0
    assert percent(0, 0) == 100.0


def test_every_construct_of_the_sample_is_found() -> None:
    source = sources(compiled())[PATH]
    kinds = sorted(b.kind for b in source.branches.values())
    assert kinds == sorted(
        ["if"] * 8 + ["for"] * 2 + ["&&", "||", "?:", "require", "try", "case", "case"]
    )
    for (start, end), branch in source.branches.items():
        assert source.line(start) == branch.line
        assert SOURCE.encode()[start:end].strip()


def test_lcov_counts_itself() -> None:
    text = lcov(evaluate(compiled(), Hits()))
    lines = text.splitlines()
    assert lines[1] == f"SF:{PATH}"
    assert f"LF:{sum(x.startswith('DA:') for x in lines)}" in lines
    assert f"BRF:{sum(x.startswith('BRDA:') for x in lines)}" in lines
    assert "LH:0" in lines and "BRH:0" in lines
    assert len({x.rsplit(",", 1)[0] for x in lines if x.startswith("BRDA:")}) == sum(
        x.startswith("BRDA:") for x in lines
    )


def test_claims_are_explained_or_wrong() -> None:
    text = "if (start_ > 5) revert Big(start_)"
    claim = Claim(PATH, "constructor", text, "if true", "the tests never do")
    result = evaluate(compiled(), Hits(), [claim])
    assert result.wrong_claims == []
    assert result.totals()["branches_explained"] == 1
    assert result.totals()["branches_hit"] == 0  # explained is not reached
    assert _reasons(result) == ["the tests never do"]
    assert len(evaluate(compiled(), full(), [claim]).wrong_claims) == 1
    nowhere = Claim("contracts/No.sol", "f", text, "", "none")
    assert evaluate(compiled(), Hits(), [nowhere]).wrong_claims == [
        "contracts/No.sol is no file of the contracts"
    ]


def _reasons(result: Coverage) -> list[str]:
    return [m.reason for f in result.files for m in f.missed if m.reason]


@pytest.mark.parametrize(
    "text",
    [
        '[[line]]\nfile = "a"\n',
        '[[branch]]\nfile = "a"\nfunction = "f"\ntext = "t"\nreason = "r"\n',
        '[[line]]\nfile = "a"\nfunction = "f"\ntext = "t"\nreason = ""\n',
        '[other]\nfile = "a"\n',
        "not toml",
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    with pytest.raises(SolcovError):
        load(path)
    assert load(tmp_path / "none.toml") == []


def test_points_are_places_not_texts() -> None:
    """Two equal statements of different functions are two points."""
    index = Index(compiled(), sources(compiled()))
    text = "s += i"
    found = {p for p in index.points if SOURCE.encode()[p.start : p.end].decode().startswith(text)}
    assert len(found) == 2
    assert all(isinstance(p, Point) for p in found)
