"""Markets and large books of accounts for benches and tests, all different, from a seed.

The market is one of the differential runner's generator; accounts are drawn in numpy, because a
million of them are wanted.
"""

from __future__ import annotations

from random import Random
from typing import Final

import numpy as np

from risk.diff.plumbline.world import make_world, to_state
from risk.exact.state import State
from risk.vector import exact, limbs
from risk.vector.accounts import CASH_WORDS, SIZE_WORDS, AccountBatch
from risk.vector.limbs import Ints
from risk.vector.market import MarketTable

_WAD: Final = 10**18
_E9: Final = 10**9
_BPS: Final = 10**4
_CHUNK: Final = 8192


def market(
    seed: int, *, instruments: int = 500, underlyings: int = 4, scenarios: int = 32
) -> State:
    """A tame market with at least so many instruments and underlyings, and K = ``scenarios``.

    Funding has accrued, the open interest is above some depths, and one stable price is apart.
    """
    draw = seed << 16
    while True:
        rng = Random(draw)
        spec = make_world(rng, wild=False, capacity=instruments)
        fits = len(spec.underlyings) >= underlyings and spec.params.scenarios == scenarios
        if fits and len(spec.collaterals) >= 2 and len(spec.instruments()) >= instruments:
            break
        draw += 1
    state, _ = to_state(spec, rng, 1)
    for u, data in enumerate(state.underlyings):
        data.funding_e12 = rng.randint(-(10**10), 10**10)
        data.open_interest_wad = (
            spec.params.underlyings[u].depth_wad * rng.randint(500, 1050) // 1000
        )
        data.stable_price_wad = data.price_wad
    last = state.underlyings[-1]
    last.stable_price_wad, last.stable_apart = last.price_wad * 93 // 100, True
    return state


def move(state: State, seed: int, ppm: int = 20_000) -> State:
    """The same vault after every price moved by at most ``ppm`` millionths."""
    rng = Random(seed)
    out = state.clone()
    for data in out.underlyings:
        data.price_wad += data.price_wad * rng.randint(-ppm, ppm) // 10**6
        data.epoch += 1
    return out


def accounts(table: MarketTable, count: int, width: int = 16, seed: int = 1) -> AccountBatch:
    """``count`` accounts of ``width`` different instruments each, most with one collateral.

    Cash is set by the exact engine so that E/MM lies between about 1 and 4, log-uniformly, for all
    but one in a hundred, which is below 1; of one in a thousand E − MM is −1, 0 or 1 wei.  No two
    are alike: sizes are random to the wei.
    """
    rng = np.random.default_rng(seed)
    return AccountBatch.concat(
        [
            _chunk(table, range(first, min(count, first + _CHUNK)), width, rng)
            for first in range(0, count, _CHUNK)
        ]
    )


def _chunk(
    table: MarketTable, numbers: range, width: int, rng: np.random.Generator
) -> AccountBatch:
    count, n = len(numbers), len(table.ids)
    columns = np.sort(rng.integers(0, n - width + 1, (count, width)), axis=1) + np.arange(width)
    column = columns.ravel()
    price = np.array([u.price / _WAD for u in table.underlyings])[table.underlying_of[column]]
    notional = np.repeat(np.exp(rng.uniform(np.log(1e2), np.log(1e5), count)), width)
    units = notional * rng.uniform(0.1, 2.0, column.size) / price
    size = _wei(units, rng)
    size = limbs.negate_where(size, rng.random(column.size) < 0.5)
    holds = rng.random(count) < 0.7
    token = rng.integers(0, len(table.collaterals), count)[holds]
    amount = _native(table, token, notional[::width][holds] * rng.uniform(0, 4, len(token)), rng)
    batch = AccountBatch(
        instruments=table.ids,
        ids=[i + 1 << 8 for i in numbers],
        cash=np.zeros((count, CASH_WORDS), dtype=np.int64),
        quote=limbs.to_words(_quotes(table, columns, size, price, rng), CASH_WORDS),
        pointer=np.arange(count + 1, dtype=np.int64) * width,
        column=column.astype(np.int32),
        size=limbs.to_words(size, SIZE_WORDS),
        collateral_pointer=np.concatenate([[0], np.cumsum(holds)]),
        collateral=token.astype(np.int32),
        amount=limbs.to_words(amount, SIZE_WORDS),
        apart=np.zeros(count, dtype=np.bool_),
    )
    return _with_health(table, batch, rng)


def _wei(units: limbs.Floats, rng: np.random.Generator) -> Ints:
    """Wide of about ``units``·10^18, random in the low half."""
    high = np.maximum(units * 1e9, 1).astype(np.int64)[None]
    return limbs.add(
        limbs.mul_small(limbs.canonical(high), _E9), rng.integers(0, _E9, units.size)[None]
    )


def _native(table: MarketTable, token: Ints, money: limbs.Floats, rng: np.random.Generator) -> Ints:
    """Native units worth about ``money``."""
    price = np.array([table.underlyings[c.underlying].price / _WAD for c in table.collaterals])
    scale = np.array([float(c.scale) for c in table.collaterals])
    native = money / price[token] * 1e18 / scale[token]
    high = np.maximum(native / 2**20, 1).astype(np.int64)[None]
    return limbs.add(
        limbs.mul_small(limbs.canonical(high), 2**20), rng.integers(0, 2**20, token.size)[None]
    )


def _quotes(
    table: MarketTable, columns: Ints, size: Ints, price: limbs.Floats, rng: np.random.Generator
) -> Ints:
    """−size·entry price of the perps and futures, entered within 5 % of the index."""
    entry = limbs.canonical(
        (price * 1e6 * rng.uniform(0.95, 1.05, price.size)).astype(np.int64)[None]
    )
    value = limbs.floor_div_small(limbs.mul(limbs.neg(size), entry), 10**6)
    value = np.where(table.is_option[columns.ravel()], 0, value)
    pointer = np.arange(len(columns) + 1, dtype=np.int64) * columns.shape[1]
    return limbs.segment_sum(value, pointer)


def _with_health(table: MarketTable, batch: AccountBatch, rng: np.random.Generator) -> AccountBatch:
    m = exact.margins(table, batch)
    mm, equity = (limbs.from_words(m.words[name]) for name in ("mm", "equity"))
    count = len(batch)
    ratio = np.exp(rng.uniform(0, np.log(4), count))
    ratio = np.where(rng.random(count) < 0.01, rng.uniform(0.7, 1, count), ratio)
    goal = limbs.floor_div_small(limbs.mul_small(mm, (ratio * _BPS).astype(np.int64)), _BPS)
    near = rng.random(count) < 0.001
    goal = limbs.select(near, limbs.add(mm, rng.integers(-1, 2, count)[None]), goal)
    batch.cash[:] = limbs.to_words(limbs.sub(goal, equity), CASH_WORDS)
    return batch
