"""Logs that leave out an account, without an error: the book must not begin without it."""

from __future__ import annotations

import pytest

from risk.keeper.book import LensLoader
from risk.keeper.source import LyingLogs
from tests.support.book_ground import Ground

pytestmark = pytest.mark.chain


def test_an_account_that_the_logs_left_out(furnished: Ground) -> None:
    source = furnished.source()
    head = source.head()
    loader = furnished.loader(source, "lens")
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
