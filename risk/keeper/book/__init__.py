"""The book: the exact model's state of all accounts, as of the head."""

from __future__ import annotations

from risk.keeper.book.audit import Part
from risk.keeper.book.book import Advance, Book
from risk.keeper.book.lens import FeedAnswer, Lens, lens_code
from risk.keeper.book.load import LensLoader, Loaded, Loader, LogLoader
from risk.keeper.book.prices import Prices
from risk.keeper.book.reconcile import Checked

__all__ = [
    "Advance",
    "Book",
    "Checked",
    "FeedAnswer",
    "Lens",
    "LensLoader",
    "Loaded",
    "Loader",
    "LogLoader",
    "Part",
    "Prices",
    "lens_code",
]
