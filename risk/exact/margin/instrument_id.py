"""Instrument identifiers.  Twin: ``contracts/margin/InstrumentId.sol``.

uint32: underlying(4) | kind(2) | expiry_day(16) | strike_index(10), high to low.
"""

from __future__ import annotations

from typing import Final

PERP: Final = 0
FUTURE: Final = 1
CALL: Final = 2
PUT: Final = 3

DAY: Final = 86_400
EXPIRY_TIME_OF_DAY: Final = 8 * 3_600  # 08:00 UTC


def underlying(instrument: int) -> int:
    """Index of the underlying."""
    return instrument >> 28 & 0xF


def kind(instrument: int) -> int:
    """PERP, FUTURE, CALL or PUT."""
    return instrument >> 26 & 0x3


def expiry_day(instrument: int) -> int:
    """Unix day number of the expiry."""
    return instrument >> 10 & 0xFFFF


def strike_index(instrument: int) -> int:
    """Index into the strikes of the expiry."""
    return instrument & 0x3FF


def bucket_key(instrument: int) -> int:
    """underlying << 16 | expiry_day: key of the (underlying, expiry) bucket."""
    return instrument >> 28 << 16 | instrument >> 10 & 0xFFFF


def strike_key(instrument: int) -> int:
    """underlying << 26 | expiry_day << 10 | strike_index: key of the strike, the same for call and
    put.
    """
    return instrument >> 28 << 26 | instrument & 0x3FFFFFF


def expiry(instrument: int) -> int:
    """Unix time of the expiry."""
    return expiry_day(instrument) * DAY + EXPIRY_TIME_OF_DAY


def encode(underlying_: int, kind_: int, expiry_day_: int, strike_index_: int) -> int:
    """The identifier."""
    return underlying_ << 28 | kind_ << 26 | expiry_day_ << 10 | strike_index_
