"""Blobs for the tests of governance: random ones, and copies with single fields planted."""

from __future__ import annotations

from random import Random

from risk.exact.governance import param_layout as pl
from risk.exact.governance.param_layout import Field


def random_blob(rng: Random, scenarios: int, underlyings: int, collaterals: int) -> bytes:
    """Every field random over its whole range, with the ends drawn often; counts as given."""
    words = []
    for index in range(pl.length_of(underlyings, collaterals) // 32):
        kind, _, _ = pl.locate(index, underlyings, collaterals)
        word = 0
        for _, field in pl.fields(kind):
            word = field.put(word, random_value(rng, field))
        words.append(word)
    words[0] = words[0] >> 24 << 24 | collaterals << 16 | underlyings << 8 | scenarios
    return pl.blob_of(words)


def random_value(rng: Random, field: Field) -> int:
    """Any value of the field."""
    top = (1 << field.bits) - 1
    return rng.choice((0, 1, top, rng.randrange(top + 1), rng.randrange(min(top, 20_000) + 1)))


def mutate(rng: Random, blob: bytes, changes: int) -> bytes:
    """``blob`` with some fields changed; the counts of underlyings and collaterals stay."""
    words = pl.words_of(blob)
    _, u, c = pl.counts(words)
    for _ in range(changes):
        index = rng.randrange(len(words))
        kind, _, _ = pl.locate(index, u, c)
        field = rng.choice(pl.TABLES[kind])
        if kind == pl.HEADER and field.name.endswith("_count"):
            words[0] = words[0] >> 8 << 8 | rng.randint(1, 64)
            continue
        old = field.get(words[index])
        near = min(max(old + rng.randint(-300, 300), 0), (1 << field.bits) - 1)
        value = rng.choice((near, near, random_value(rng, field)))
        words[index] = field.put(words[index], value)
    return pl.blob_of(words)


def with_bit(blob: bytes, index: int, bit: int) -> bytes:
    """``blob`` with one bit of word ``index`` flipped."""
    words = pl.words_of(blob)
    words[index] ^= 1 << bit
    return pl.blob_of(words)


def with_field(blob: bytes, index: int, field: Field, value: int) -> bytes:
    """``blob`` with one field of word ``index`` replaced."""
    words = pl.words_of(blob)
    words[index] = field.put(words[index], value)
    return pl.blob_of(words)
