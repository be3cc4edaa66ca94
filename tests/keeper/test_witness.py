"""Who is asked whether the book is right, and what happens where he does not answer."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from risk.keeper.book.witness import BEHIND_SECONDS, PATIENCE, Witnesses
from risk.keeper.errors import Divergence
from risk.keeper.source import NotFound, Source, Unreachable
from tests.keeper.test_source import VAULT, Fake, source_of


@dataclass
class Asked:
    """A source that only remembers who alone is asked."""

    names: list[str]
    now: str = ""
    heard: list[str] = field(default_factory=list)
    failing: dict[str, list[Exception]] = field(default_factory=dict)

    @contextmanager
    def asking(self, name: str) -> Any:
        self.now = name
        try:
            yield
        finally:
            self.now = ""

    def compare(self) -> str:
        left = self.failing.get(self.now, [])
        if left:
            raise left.pop(0)
        self.heard.append(self.now)
        return self.now


def over(*names: str) -> tuple[Asked, Witnesses, list[float]]:
    made, pauses = Asked(list(names)), list[float]()
    return made, Witnesses(cast(Source, made), pauses.append), pauses


def hear(asked: Asked, witnesses: Witnesses, times: int) -> list[str]:
    asked.heard.clear()
    for _ in range(times):
        witnesses.hear(asked.compare)
    return list(asked.heard)


def test_those_who_fed_the_book_are_not_asked() -> None:
    asked, witnesses, _ = over("a", "b", "c")
    witnesses.fed_by({"a", ""})
    assert set(hear(asked, witnesses, 4)) == {"b", "c"}
    witnesses.fed_by({"b"})
    assert hear(asked, witnesses, 3) == ["c"] * 3
    witnesses.fed_by({"c"})  # all have: what one told is met by another within three
    assert set(hear(asked, witnesses, 3)) == {"a", "b", "c"}
    witnesses.begin()
    witnesses.fed_by({"c"})
    assert "c" not in hear(asked, witnesses, 4)


def test_one_endpoint_is_asked_about_itself() -> None:
    asked, witnesses, _ = over("a")
    witnesses.fed_by({"a"})
    assert hear(asked, witnesses, 2) == ["", ""]


def test_a_witness_that_is_a_moment_behind_is_asked_again() -> None:
    asked, witnesses, pauses = over("a", "b")
    witnesses.fed_by({"a"})
    asked.failing["b"] = [NotFound("b", "unknown block")]
    assert hear(asked, witnesses, 1) == ["b"] and pauses == [BEHIND_SECONDS]
    asked.failing["b"] = [NotFound("b", "unknown block")] * 2
    with pytest.raises(NotFound):
        witnesses.hear(asked.compare)


def test_the_next_witness_stands_in(caplog: pytest.LogCaptureFixture) -> None:
    asked, witnesses, _ = over("a", "b", "c")
    witnesses.fed_by({"a"})
    for name in "bc":
        asked.failing = {name: [Unreachable(name, "gone")] * 9}
        other = "c" if name == "b" else "b"
        assert hear(asked, witnesses, 2) == [other] * 2
    assert not caplog.records


def test_without_a_witness_for_long_one_that_fed_it_will_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, witnesses, _ = over("a", "b")
    witnesses.fed_by({"a"})
    asked.failing["b"] = [Unreachable("b", "gone")] * (2 * PATIENCE)
    for _ in range(PATIENCE - 1):
        with pytest.raises(Unreachable):
            witnesses.hear(asked.compare)
    with caplog.at_level(logging.WARNING):
        assert hear(asked, witnesses, 2) == ["", ""]
    assert "no other endpoint answers" in caplog.text
    asked.failing.clear()
    assert hear(asked, witnesses, 1) == ["b"]


def test_a_difference_names_both_sides() -> None:
    asked, witnesses, _ = over("a", "b")
    witnesses.fed_by({"a"})
    asked.failing["b"] = [Divergence("cash is 1 in the book and 2 on the chain")]
    with pytest.raises(Divergence, match="2 on the chain; the chain as b tells it, the book as a"):
        witnesses.hear(asked.compare)


def test_the_source_asks_only_whom_it_should() -> None:
    """Also one that did not name the head; one that just failed is left alone."""
    a, b = Fake("a"), Fake("b", height=9)
    source = source_of(a, b)[0]
    head = source.head()
    assert source.told_by == "a"
    with source.noting() as tellers:
        source.block(a.hash_at(3))
    assert tellers == {"a"}
    b.height = 10
    b.asked.clear()
    with source.asking("b"):
        assert source.call(VAULT, b"", head) == bytes.fromhex("1234")
    assert b.asked == ["eth_call"]
    b.height = 9
    with source.asking("b"):
        with pytest.raises(NotFound):
            source.call(VAULT, b"", head)
        with pytest.raises(Unreachable, match="left alone"):
            source.call(VAULT, b"", head)
    assert a.asked.count("eth_call") == 0 and b.asked.count("eth_call") == 2
    source.call(VAULT, b"", head)
    assert a.asked.count("eth_call") == 1
