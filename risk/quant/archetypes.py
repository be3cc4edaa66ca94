"""Portfolio archetypes: seeded random portfolios of the kinds that a margin model must serve.

A portfolio is a row of sizes (M,), one per column of the `Book`, in units of the underlying at
S = 1 (so in currency of notional); collateral is part of the linear column of its underlying. Rows
are scaled to a gross notional of 1.

==================  =============================================================================
directional         perps: one underlying, all one way, or a random mix; one in four adds options
                    bought in the same direction
delta-neutral       one to four random options of an underlying (a third of them net long), the
                    delta hedged with the perp
calendar            one option against the same kind two expiries apart or one, near leg short in
                    two of three, half of them delta-hedged
short strangle      short put and short call of one expiry, in one or more underlyings
cross-asset pair    long one underlying against another, hedge ratio by volatility, perps or
                    options with the same deltas
collateral-heavy    large collateral, a partial or full short perp against it, half of them with
                    covered calls or protective puts
mixed               random sums of two of the above: for the fit and the certificate only
==================  =============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.errors import QuantError
from risk.quant.scenarios.book import Book, deltas

Floats = NDArray[np.float64]
Generator = np.random.Generator

ARCHETYPES: Final = (
    "directional",
    "delta-neutral",
    "calendar",
    "short strangle",
    "cross-asset pair",
    "collateral-heavy",
)
MIXED: Final = "mixed"


def sample(kind: str, book: Book, count: int, seed: int) -> Floats:
    """(count, M) portfolios of one kind; the same for the same seed."""
    stream = [seed, _number(kind)]
    if kind == MIXED:
        return _normalised(_mixed(book, count, seed))
    rng, maker, delta = np.random.default_rng(stream), _MAKERS[kind], deltas(book)
    return _normalised(np.array([maker(rng, book, delta) for _ in range(count)]))


def sample_all(book: Book, count: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """About `count` portfolios, equal parts of the archetypes and of `mixed`, and their kinds."""
    kinds = (*ARCHETYPES, MIXED)
    parts = [count // len(kinds) + (i < count % len(kinds)) for i in range(len(kinds))]
    rows = [sample(kind, book, n, seed) for kind, n in zip(kinds, parts, strict=True)]
    return np.vstack(rows), np.repeat(np.arange(len(kinds)), parts)


def linear_directions(book: Book, count: int, seed: int) -> Floats:
    """(count, M) perps only, notionals drawn from a sphere: all directions count the same."""
    rng = np.random.default_rng([seed, 99])
    rows = np.zeros((count, book.size))
    rows[:, np.flatnonzero(book.linear)] = rng.standard_normal((count, book.underlyings))
    return _normalised(rows)


def _number(kind: str) -> int:
    kinds = (*ARCHETYPES, MIXED)
    if kind not in kinds:
        raise QuantError(f"no archetype {kind!r}; there are {', '.join(kinds)}")
    return kinds.index(kind)


def _normalised(rows: Floats) -> Floats:
    return np.asarray(rows / np.abs(rows).sum(axis=1, keepdims=True))


def _linear(book: Book, u: int) -> int:
    return int(np.flatnonzero(book.linear & (book.owner == u))[0])


def _options(
    book: Book, u: int, *, call: bool | None = None, expiry: int = -1
) -> NDArray[np.int64]:
    mask = ~book.linear & (book.owner == u)
    if call is not None:
        mask &= book.call == call
    if expiry >= 0:
        mask &= book.expiry_index == expiry
    return np.flatnonzero(mask)


def _subset(rng: Generator, n: int) -> NDArray[np.int64]:
    return np.asarray(rng.permutation(n)[: int(rng.integers(1, n + 1))])


def _hedge(row: Floats, book: Book, delta: Floats, u: int, share: float = 1.0) -> None:
    mine = book.owner == u
    row[_linear(book, u)] -= share * float(row[mine] @ delta[mine])


def _directional(rng: Generator, book: Book, delta: Floats) -> Floats:
    row, n = np.zeros(book.size), book.underlyings
    way = rng.choice([-1.0, 1.0])
    style = rng.integers(3)
    weights: Floats = np.zeros(n)
    if style == 0:
        weights[rng.integers(n)] = way
    elif style == 1:
        weights = way * rng.dirichlet(np.ones(n))
    else:
        weights = rng.standard_normal(n)
    for u in range(n):
        row[_linear(book, u)] = weights[u]
    if rng.random() < 0.25:
        u = int(np.argmax(np.abs(weights)))
        bought = rng.choice(_options(book, u, call=bool(weights[u] > 0)))
        row[bought] = abs(weights[u]) * rng.uniform(0.2, 1.5)
    return row


def _delta_neutral(rng: Generator, book: Book, delta: Floats) -> Floats:
    row = np.zeros(book.size)
    for u in _subset(rng, book.underlyings):
        chosen = rng.choice(_options(book, int(u)), int(rng.integers(1, 5)), replace=False)
        sign = 1.0 if rng.random() < 1 / 3 else -1.0
        flips = np.where(rng.random(chosen.size) < 0.25, -1.0, 1.0)
        row[chosen] = sign * flips * rng.uniform(0.3, 1.5, chosen.size)
        _hedge(row, book, delta, int(u))
    return row


def _calendar(rng: Generator, book: Book, delta: Floats) -> Floats:
    row = np.zeros(book.size)
    for u in _subset(rng, book.underlyings):
        near, far = sorted(rng.choice(len(book.expiries[int(u)]), 2, replace=False))
        call = bool(rng.random() < 0.5)
        legs = [_options(book, int(u), call=call, expiry=int(e)) for e in (near, far)]
        # the same place in the strip: the strikes lie apart as the standard deviations do
        place = int(rng.integers(min(len(leg) for leg in legs)))
        sign = 1.0 if rng.random() < 2 / 3 else -1.0
        size = rng.uniform(0.3, 1.5)
        row[legs[0][place]] = -sign * size
        row[legs[1][place]] = sign * size * rng.uniform(0.5, 1.2)
        if rng.random() < 0.5:
            _hedge(row, book, delta, int(u))
    return row


def _short_strangle(rng: Generator, book: Book, delta: Floats) -> Floats:
    row = np.zeros(book.size)
    for u in _subset(rng, book.underlyings):
        expiry, size = int(rng.integers(len(book.expiries[int(u)]))), rng.uniform(0.3, 1.5)
        row[rng.choice(_options(book, int(u), call=False, expiry=expiry))] = -size
        row[rng.choice(_options(book, int(u), call=True, expiry=expiry))] = -size
    return row


def _pair(rng: Generator, book: Book, delta: Floats) -> Floats:
    row, n = np.zeros(book.size), book.underlyings
    if n == 1:
        return _directional(rng, book, delta)
    a, b = (int(u) for u in rng.permutation(n)[:2])
    level = [float(book.sd[_options(book, u)].mean()) for u in (a, b)]
    ratio = level[0] / level[1] * rng.uniform(0.7, 1.3)
    if rng.random() < 0.6:
        row[_linear(book, a)], row[_linear(book, b)] = 1.0, -ratio
        return row
    for u, size in ((a, 1.0), (b, -ratio)):
        option = rng.choice(_options(book, u, call=bool(rng.random() < 0.5)))
        row[option] = size / delta[option] * 0.5  # long delta in a, short delta in b
        if abs(row[option]) > 4.0:
            row[option] = np.sign(row[option]) * 4.0
    return row


def _collateral_heavy(rng: Generator, book: Book, delta: Floats) -> Floats:
    row = np.zeros(book.size)
    for u in _subset(rng, book.underlyings):
        amount = rng.uniform(0.5, 2.0)
        row[_linear(book, int(u))] = amount * (1.0 - rng.choice([0.0, 0.5, 1.0, rng.random()]))
        if rng.random() < 0.5:
            covered = bool(rng.random() < 0.6)
            option = rng.choice(_options(book, int(u), call=covered))
            row[option] = amount * rng.uniform(0.3, 1.0) * (-1.0 if covered else 1.0)
    if not row.any():  # fully hedged everywhere: nothing left to margin
        row[_linear(book, 0)] = 1.0
    return row


def _mixed(book: Book, count: int, seed: int) -> Floats:
    rng = np.random.default_rng([seed, 7])
    parts = [sample(kind, book, count, seed + 1_000_003) for kind in ARCHETYPES]
    first, second = rng.integers(len(parts), size=(2, count))
    share = rng.random(count)[:, None]
    at = np.arange(count)
    stacked = np.stack(parts)
    partner = rng.permutation(count)
    return np.asarray(share * stacked[first, at] + (1.0 - share) * stacked[second, partner])


_MAKERS: Final[dict[str, Callable[[Generator, Book, Floats], Floats]]] = {
    "directional": _directional,
    "delta-neutral": _delta_neutral,
    "calendar": _calendar,
    "short strangle": _short_strangle,
    "cross-asset pair": _pair,
    "collateral-heavy": _collateral_heavy,
}
