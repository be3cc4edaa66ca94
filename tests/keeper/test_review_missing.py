"""Logs that leave out an account, without an error: the book must not begin without it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from risk.diff.plumbline.chain import Chain
from risk.keeper.book import LensLoader
from risk.keeper.source import LyingLogs
from tests.keeper.book_ground import Ground, open_chain

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    opened = open_chain()
    try:
        yield opened
    finally:
        opened.close()


def test_an_account_that_the_logs_left_out(chain: Chain) -> None:
    ground = Ground.new(chain)
    ground.act(Random(0), 30)
    source = ground.source()
    head = source.head()
    loader = ground.loader(source, "lens")
    assert isinstance(loader, LensLoader)
    full = loader.load(head).state
    found = loader.discover(head)
    rich = next(n for n, a in full.accounts.items() if a.cash_wad)
    loader.discover = lambda at: [n for n in found if n != rich]  # type: ignore[method-assign]
    with pytest.raises(LyingLogs, match="logs since its deployment are missing"):
        loader.load(head)
    loader.discover = lambda at: []  # type: ignore[method-assign]
    with pytest.raises(LyingLogs, match="0 accounts were found"):
        loader.load(head)
