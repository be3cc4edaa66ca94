"""A batch of accounts: cash, positions and collateral in CSR form.

Entries of an account are sorted by bucket.  Claims (size 0) leave no entry, only their quote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.exact.accounts import account_lib
from risk.exact.state import MAX_COLLATERALS, Account, Linear, Option, State
from risk.vector import limbs
from risk.vector.errors import VectorError
from risk.vector.limbs import Bools, Ints
from risk.vector.market import MarketTable

AMOUNT_LIMIT: Final = 2**119  # of sizes and collateral amounts
CASH_LIMIT: Final = 2**160  # of cash and of the sum of the quotes
MAX_ENTRIES: Final = 1024
SIZE_WORDS: Final = 2
CASH_WORDS: Final = 3


@dataclass(frozen=True)
class AccountBatch:
    """n accounts.  Words are two's complement, little end first.

    ``instruments`` are the columns, as in the table that the batch was built for.  ``apart`` marks
    accounts that do not fit and always go to the model.  ``source`` gives the account as it was
    handed in; without it ``account`` puts one together whose margin is the same.
    """

    instruments: tuple[int, ...]
    ids: Sequence[int]
    cash: Ints  # (n, 3): with interest
    quote: Ints  # (n, 3): Σ of the quotes
    pointer: Ints  # (n + 1,): positions of account i are pointer[i] … pointer[i+1] − 1
    column: NDArray[np.int32]
    size: Ints  # (positions, 2)
    collateral_pointer: Ints  # (n + 1,)
    collateral: NDArray[np.int32]
    amount: Ints  # (collateral entries, 2): native units
    apart: Bools
    recorded: Ints | None = None  # (n, 3): cash as the vault has it written down
    index: Ints | None = None  # (n,): at which interest index (E15), 0: bears none
    source: Callable[[int], Account] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.apart)

    @classmethod
    def from_state(
        cls, table: MarketTable, state: State, ids: Iterable[int] | None = None
    ) -> AccountBatch:
        """The accounts ``ids`` (all, ascending, where none are named) with interest up to the last
        accrual.
        """
        names = sorted(state.accounts) if ids is None else list(ids)
        batch = cls.from_accounts(table, names, [account_lib.load(state, i) for i in names])
        stored = [state.accounts.get(i, Account()) for i in names]
        return replace(
            batch,
            recorded=limbs.to_word_array([a.cash_wad for a in stored], CASH_WORDS),
            index=np.array([a.interest_index for a in stored], dtype=np.int64),
        )

    def accrued(self, state: State) -> AccountBatch:
        """The same accounts with interest up to the indices of ``state``:
        ⌊recorded·index/recorded index⌋, towards −∞.

        ``VectorError`` where the batch does not come from a state.
        """
        if self.recorded is None or self.index is None:
            raise VectorError("the batch does not know at which index its cash was recorded")
        cash, bearing = self.recorded.copy(), self.index > 0
        for positive, index in ((True, state.supply_index_e15), (False, state.borrow_index_e15)):
            rows = np.flatnonzero(bearing & ((self.recorded[:, -1] >= 0) == positive))
            if len(rows):
                product = limbs.mul(limbs.from_words(cash[rows]), limbs.constant(index))
                value = limbs.floor_div_each(product, self.index[rows])
                cash[rows] = limbs.to_words(value, CASH_WORDS)

        def account(i: int) -> Account:
            return replace(self.account(i), cash_wad=limbs.words_to_ints(cash[i : i + 1])[0])

        return replace(self, cash=cash, source=account)

    @classmethod
    def from_accounts(
        cls, table: MarketTable, ids: Sequence[int], accounts: Sequence[Account]
    ) -> AccountBatch:
        """Accounts whose cash already holds the interest."""
        n = len(accounts)
        apart = np.zeros(n, dtype=np.bool_)
        owners: list[int] = []
        columns: list[int] = []
        sizes: list[int] = []
        holders: list[int] = []
        tokens: list[int] = []
        amounts: list[int] = []
        quotes = [0] * n
        for i, a in enumerate(accounts):
            held = [(x.instrument, x.size_wad) for x in a.linear if x.size_wad != 0]
            held += [(y.instrument, y.size_wad) for y in a.options]
            backing = [(j, amount) for j, amount in enumerate(a.collateral) if amount]
            quotes[i] = sum(x.quote_wad for x in a.linear)
            if not _fits(table, a, held, backing, quotes[i]):
                apart[i], quotes[i] = True, 0
                continue
            owners += [i] * len(held)
            columns += [table.column[instrument] for instrument, _ in held]
            sizes += [size for _, size in held]
            holders += [i] * len(backing)
            tokens += [j for j, _ in backing]
            amounts += [amount for _, amount in backing]
        owner, column = np.array(owners, dtype=np.int64), np.array(columns, dtype=np.int64)
        order = np.lexsort((column, owner))  # columns ascend with buckets
        cash = [a.cash_wad if abs(a.cash_wad) < CASH_LIMIT else 0 for a in accounts]
        return cls(
            instruments=table.ids,
            ids=ids,
            cash=limbs.to_word_array(cash, CASH_WORDS),
            quote=limbs.to_word_array(quotes, CASH_WORDS),
            pointer=_pointer(owner, n),
            column=column[order].astype(np.int32),
            size=limbs.to_word_array(sizes, SIZE_WORDS)[order],
            collateral_pointer=_pointer(np.array(holders, dtype=np.int64), n),
            collateral=np.array(tokens, dtype=np.int32),
            amount=limbs.to_word_array(amounts, SIZE_WORDS),
            apart=apart,
            source=accounts.__getitem__,
        )

    @classmethod
    def concat(cls, batches: Sequence[AccountBatch]) -> AccountBatch:
        """One batch after the other; ``VectorError`` where their columns differ."""
        head = batches[0]
        if any(b.instruments != head.instruments for b in batches):
            raise VectorError("batches of different instruments cannot be joined")
        return cls(
            instruments=head.instruments,
            ids=[i for b in batches for i in b.ids],
            cash=np.concatenate([b.cash for b in batches]),
            quote=np.concatenate([b.quote for b in batches]),
            pointer=_join([b.pointer for b in batches]),
            column=np.concatenate([b.column for b in batches]),
            size=np.concatenate([b.size for b in batches]),
            collateral_pointer=_join([b.collateral_pointer for b in batches]),
            collateral=np.concatenate([b.collateral for b in batches]),
            amount=np.concatenate([b.amount for b in batches]),
            apart=np.concatenate([b.apart for b in batches]),
            recorded=_join_optional([b.recorded for b in batches]),
            index=_join_optional([b.index for b in batches]),
            source=_source(batches),
        )

    def take(self, rows: Ints) -> AccountBatch:
        """The accounts ``rows``, in this order."""
        entries, pointer = take_segments(self.pointer, rows)
        backing, collateral_pointer = take_segments(self.collateral_pointer, rows)
        source = self.source
        return AccountBatch(
            instruments=self.instruments,
            ids=[self.ids[int(i)] for i in rows],
            cash=self.cash[rows],
            quote=self.quote[rows],
            pointer=pointer,
            column=self.column[entries],
            size=self.size[entries],
            collateral_pointer=collateral_pointer,
            collateral=self.collateral[backing],
            amount=self.amount[backing],
            apart=self.apart[rows],
            recorded=None if self.recorded is None else self.recorded[rows],
            index=None if self.index is None else self.index[rows],
            source=None if source is None else lambda i: source(int(rows[i])),
        )

    def account(self, i: int) -> Account:
        """Account i for the model."""
        if self.source is not None:
            return self.source(i)
        first, last = int(self.pointer[i]), int(self.pointer[i + 1])
        out = Account(cash_wad=limbs.words_to_ints(self.cash[i : i + 1])[0])
        quote = limbs.words_to_ints(self.quote[i : i + 1])[0]
        sizes = limbs.words_to_ints(self.size[first:last])
        for column, size in zip(self.column[first:last], sizes, strict=True):
            instrument = self.instruments[column]
            if instrument >> 26 & 3 < 2:
                out.linear.append(Linear(instrument, size, quote))
                quote = 0
            else:
                out.options.append(Option(instrument, size))
        if quote:
            out.linear.append(Linear(0, 0, quote))
        first, last = int(self.collateral_pointer[i]), int(self.collateral_pointer[i + 1])
        amounts = limbs.words_to_ints(self.amount[first:last])
        out.collateral = [0] * MAX_COLLATERALS
        for j, amount in zip(self.collateral[first:last], amounts, strict=True):
            out.collateral[j] = amount
        return out

    def require_columns_of(self, table: MarketTable) -> None:
        """``VectorError`` unless ``table`` has the columns of this batch."""
        if self.instruments is not table.ids and self.instruments != table.ids:
            raise VectorError("the batch was built for other instruments than the table has")

    def obliged(self, table: MarketTable) -> Bools:
        """cash < 0, a perp or future, or a short option (docs/margin.md §5)."""
        binding = ~table.is_option[self.column] | (self.size[:, -1] < 0)
        counts = np.concatenate([[0], np.cumsum(binding)])
        held = counts[self.pointer[1:]] - counts[self.pointer[:-1]]
        return np.asarray((self.cash[:, -1] < 0) | (held > 0))

    def entry_count(self) -> Ints:
        """Positions and collaterals of each account."""
        return np.asarray(np.diff(self.pointer) + np.diff(self.collateral_pointer))


def take_segments(pointer: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """(indices of the entries of the segments ``rows`` in order, their new pointer)."""
    start, count = pointer[rows], pointer[rows + 1] - pointer[rows]
    new = np.concatenate([[0], np.cumsum(count)])
    return np.arange(new[-1]) + np.repeat(start - new[:-1], count), new


def _fits(
    table: MarketTable,
    a: Account,
    held: Sequence[tuple[int, int]],
    backing: Sequence[tuple[int, int]],
    quote: int,
) -> bool:
    return (
        abs(a.cash_wad) < CASH_LIMIT
        and abs(quote) < CASH_LIMIT
        and len(held) + len(backing) <= MAX_ENTRIES
        and all(i in table.column and abs(size) < AMOUNT_LIMIT for i, size in held)
        and all(j < len(table.collaterals) and 0 < x < AMOUNT_LIMIT for j, x in backing)
    )


def _pointer(owner: Ints, n: int) -> Ints:
    counts = np.bincount(owner, minlength=n) if n else np.zeros(0, dtype=np.int64)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _join(pointers: Sequence[Ints]) -> Ints:
    counts = np.concatenate([np.diff(p) for p in pointers])
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _join_optional(parts: Sequence[Ints | None]) -> Ints | None:
    known = [p for p in parts if p is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _source(batches: Sequence[AccountBatch]) -> Callable[[int], Account] | None:
    """Where any batch knows its accounts, or has some that do not fit, each answers for its own."""
    if all(b.source is None for b in batches):
        return None
    ends = np.cumsum([len(b) for b in batches])

    def account(i: int) -> Account:
        at = int(np.searchsorted(ends, i, side="right"))
        return batches[at].account(i - int(ends[at]) + len(batches[at]))

    return account
