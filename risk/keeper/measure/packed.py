"""The lens's answer straight into an ``AccountBatch``, without an ``Account`` object in between.

``decode_accounts`` (risk/keeper/book/lens.py) gives the book what it keeps; who only wants the
verdict of everybody at a block needs no Python object an account. The answer is words of 32 bytes,
an account after the other: header, pairs of collateral amounts, linear entries, pairs of options
(docs/accounts.md). Everything but the search for the headers is numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.state import Account, State
from risk.keeper.book.lens import ACCOUNT_BYTES, Lens, decode_accounts
from risk.keeper.source import Malformed
from risk.keeper.types import Head
from risk.vector import limbs
from risk.vector.accounts import AMOUNT_LIMIT, CASH_WORDS, SIZE_WORDS, AccountBatch
from risk.vector.limbs import Bools, Ints
from risk.vector.market import MarketTable

WORD: Final = 32
_PAIRS: Final = 8
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]


class PackedLens(Lens):
    """A lens that can leave its answers packed."""

    def packed(self, numbers: Sequence[int], block: Head) -> list[tuple[Sequence[int], bytes]]:
        """(accounts, words) of every call."""
        out: list[tuple[Sequence[int], bytes]] = []

        def take(part: Sequence[int], data: bytes) -> None:
            out.append((part, data))

        self._read(0, ACCOUNT_BYTES, numbers, self._accounts_a_call, block, take)
        return out


@dataclass(frozen=True)
class _Layout:
    """Where the words of each account are; ``first`` its header."""

    first: Ints
    pairs: Bools  # (n, 8): which words of collateral there are
    linear: Ints
    options: Ints


def decode_batch(
    table: MarketTable, state: State, numbers: Sequence[int], data: bytes
) -> AccountBatch:
    """Accounts with interest up to the indices of ``state``. ``Malformed`` where lengths do not
    fit or an amount contradicts its mask.
    """
    if len(data) % WORD:
        raise Malformed("", f"the lens gave {len(data)} bytes")
    raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, WORD)
    words = raw.view(">u8").astype(np.uint64)  # most significant first
    at = _find(raw, len(numbers))
    n = len(numbers)
    recorded = _wide(words[at.first, 2], words[at.first, 3], CASH_WORDS)
    index = (words[at.first, 0] & np.uint64(2**31 - 1)).astype(np.int64) << 32
    index |= (words[at.first, 1] >> np.uint64(32)).astype(np.int64)
    start = at.first + 1
    holder, token, amount = _collateral(words, raw, at, start)
    start = start + at.pairs.sum(axis=1)
    rows = _runs(start, at.linear)
    quotes = limbs.segment_sum(
        limbs.from_words(_wide(words[rows, 2], words[rows, 3], CASH_WORDS)), _pointer(at.linear)
    )
    owners = [np.repeat(np.arange(n), at.linear)]
    ids = [words[rows, 0] >> np.uint64(32)]
    sizes = [_size(words[rows, 0], words[rows, 1])]
    start = start + at.linear
    count = (at.options + 1) // 2
    rows = _runs(start, count)
    owner = np.repeat(np.arange(n), count)
    order = np.arange(len(rows)) - np.repeat(_pointer(count)[:-1], count)
    for half, (high, low) in enumerate(((2, 3), (0, 1))):
        there = 2 * order + half < at.options[owner]
        owners.append(owner[there])
        ids.append(words[rows[there], high] >> np.uint64(32))
        sizes.append(_size(words[rows[there], high], words[rows[there], low]))
    holders, size = np.concatenate(owners), np.concatenate(sizes)
    column, known = _columns(table, np.concatenate(ids).astype(np.int64))
    real = (size != 0).any(axis=1) | (column < 0)  # a claim has no size, only its quote
    apart = np.zeros(n, dtype=np.bool_)
    apart[holders[real & ~known]] = True
    limit = AMOUNT_LIMIT >> 64
    apart[holder[(amount[:, 1] < 0) | (amount[:, 1] >= limit)]] = True
    apart[holder[token >= len(table.collaterals)]] = True
    keep = real & ~apart[holders]
    holders, column, size = holders[keep], column[keep], size[keep]
    sort = np.lexsort((column, holders))
    backed = ~apart[holder]
    quote = limbs.to_words(quotes, CASH_WORDS)
    quote[apart] = 0
    ends = np.append(at.first[1:], len(raw))

    def account(i: int) -> Account:
        part = data[WORD * int(at.first[i]) : WORD * int(ends[i])]
        return decode_accounts([0], part)[0]

    batch = AccountBatch(
        instruments=table.ids,
        ids=numbers,
        cash=recorded,
        quote=quote,
        pointer=_pointer(np.bincount(holders, minlength=n)),
        column=column[sort].astype(np.int32),
        size=size[sort],
        collateral_pointer=_pointer(np.bincount(holder[backed], minlength=n)),
        collateral=token[backed].astype(np.int32),
        amount=amount[backed],
        apart=apart,
        recorded=recorded,
        index=index,
        source=account,
    )
    return batch.accrued(state)


def _find(raw: Bytes, count: int) -> _Layout:
    """The headers: what a word says of itself if it is one, then from one to the next."""
    mask = raw[:, 14].astype(np.int64) << 8 | raw[:, 15]
    pairs = np.stack([mask >> 2 * j & 3 != 0 for j in range(_PAIRS)], axis=1)
    linear, options = raw[:, 13].astype(np.int64), raw[:, 12].astype(np.int64)
    length = (1 + pairs.sum(axis=1) + linear + (options + 1) // 2).tolist()
    first, at, end = [], 0, len(length)
    for _ in range(count):
        if at >= end:
            raise Malformed("", "the lens's answer ends too early")
        first.append(at)
        at += length[at]
    if at != end:
        raise Malformed("", f"the lens gave {end} words, expected {at}")
    rows = np.array(first, dtype=np.int64)
    return _Layout(rows, pairs[rows], linear[rows], options[rows])


def _collateral(words: Words, raw: Bytes, at: _Layout, start: Ints) -> tuple[Ints, Ints, Ints]:
    """(account, token, native units as two words) of what the masks name, by account and token."""
    owner, pair = np.nonzero(at.pairs)
    place = at.pairs.cumsum(axis=1)[owner, pair] - 1
    row = start[owner] + place
    mask = raw[at.first, 14].astype(np.int64) << 8 | raw[at.first, 15]
    token = np.stack([2 * pair, 2 * pair + 1], axis=1).ravel()
    holder = np.repeat(owner, 2)
    amount = np.empty((len(row), 2, SIZE_WORDS), dtype=np.int64)
    for half, (high, low) in enumerate(((2, 3), (0, 1))):
        amount[:, half, 0] = words[row, low].view(np.int64)
        amount[:, half, 1] = words[row, high].view(np.int64)
    flat = amount.reshape(-1, SIZE_WORDS)
    named = (mask[holder] >> token & 1).astype(np.bool_)
    if (named != (flat != 0).any(axis=1)).any():
        raise Malformed("", "the lens gave a collateral that its mask does not name")
    return holder[named], token[named], flat[named]


def _columns(table: MarketTable, ids: Ints) -> tuple[Ints, Bools]:
    """Column of each instrument (−1: none), and whether the table has it."""
    known = np.array(table.ids, dtype=np.int64)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], ids), len(known) - 1)
    column = order[place]
    found = known[column] == ids
    return np.where(found, column, -1), found


def _wide(high: Words, low: Words, count: int) -> Ints:
    """Signed 128 bits as ``count`` two's complement words, little end first."""
    out = np.empty((len(low), count), dtype=np.int64)
    out[:, 0], out[:, 1] = low.view(np.int64), high.view(np.int64)
    out[:, 2:] = (out[:, 1] >> 63)[:, None]
    return out


def _size(high: Words, low: Words) -> Ints:
    """Signed 96 bits below an instrument as two words."""
    out = np.empty((len(low), SIZE_WORDS), dtype=np.int64)
    out[:, 0] = low.view(np.int64)
    out[:, 1] = (high & np.uint64(2**32 - 1)).astype(np.uint32).view(np.int32)
    return out


def _pointer(counts: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _runs(start: Ints, count: Ints) -> Ints:
    """start_i … start_i + count_i − 1, one after the other."""
    ends = _pointer(count)
    return np.arange(ends[-1]) + np.repeat(start - ends[:-1], count)
