"""Every operation on wides against Python integers, at random and at the ends of the ranges."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from risk.vector import limbs
from risk.vector.limbs import Ints

EDGES = [0, 1, -1, 2**29, 2**30 - 1, 2**30, -(2**30), -(2**30) - 1, 2**60, 10**18, -(10**18)]
EDGES += [s * 2**b + d for s in (1, -1) for b in (90, 119, 127, 180) for d in (-1, 0, 1)]


def numbers(seed: int, bits: int, count: int = 400) -> list[int]:
    rng = Random(seed)
    drawn = [rng.getrandbits(rng.randint(1, bits)) * rng.choice([1, -1]) for _ in range(count)]
    return drawn + [x for x in EDGES if abs(x) < 2**bits]


def is_canonical(x: Ints) -> bool:
    low = x[:-1]
    inside = low.size == 0 or (low.min() >= 0 and low.max() < limbs.BASE)
    return bool(inside and x[-1].min() >= -limbs.BASE and x[-1].max() < limbs.BASE)


@pytest.mark.parametrize("bits", [8, 30, 62, 96, 127, 190, 250])
def test_conversions(bits: int) -> None:
    values = numbers(bits, bits)
    wide = limbs.from_ints(values)
    assert is_canonical(wide)
    assert limbs.to_ints(wide) == values
    for words in range(-(-(bits + 1) // 64), 5):
        assert limbs.words_to_ints(limbs.to_words(wide, words)) == values
        back = limbs.from_words(limbs.to_words(wide, words))
        assert limbs.to_ints(back) == values


def test_words_refuse_what_does_not_fit() -> None:
    with pytest.raises(OverflowError):
        limbs.to_word_array([2**127], 2)


BINARY: list[tuple[str, Callable[[Ints, Ints], Ints], Callable[[int, int], int]]] = [
    ("add", limbs.add, lambda a, b: a + b),
    ("sub", limbs.sub, lambda a, b: a - b),
    ("mul", limbs.mul, lambda a, b: a * b),
    ("maximum", limbs.maximum, max),
]


@pytest.mark.parametrize("left", [20, 100, 250])
@pytest.mark.parametrize("right", [28, 127, 250])
@pytest.mark.parametrize("name, operation, reference", BINARY, ids=[x[0] for x in BINARY])
def test_two_operands(
    name: str,
    operation: Callable[[Ints, Ints], Ints],
    reference: Callable[[int, int], int],
    left: int,
    right: int,
) -> None:
    rng = Random(left * 1000 + right)
    a = numbers(left, left)
    others = numbers(right + 1, right)
    b = [rng.choice(others) for _ in a]
    out = operation(limbs.from_ints(a), limbs.from_ints(b))
    assert is_canonical(out)
    assert limbs.to_ints(out) == [reference(x, y) for x, y in zip(a, b, strict=True)]


def test_products_of_the_largest_limbs_do_not_overflow() -> None:
    for count in (1, 7, 8, 9, 15):
        for value in (2 ** (30 * count) - 1, -(2 ** (30 * count))):
            wide = np.repeat(limbs.constant(value), 3, axis=1)
            assert limbs.to_ints(limbs.mul(wide, wide)) == [value * value] * 3


@pytest.mark.parametrize("d", [1, 2, 511, 10**4, 10**6, 10**9, 2**30, 2**32 - 1])
def test_division_by_small_constants(d: int) -> None:
    values = numbers(d, 250) + [q * d + r for q in (-(2**100), -1, 0, 2**100) for r in (-1, 0, 1)]
    wide = limbs.from_ints(values)
    floor, ceil = limbs.floor_div_small(wide, d), limbs.ceil_div_small(wide, d)
    assert is_canonical(floor) and is_canonical(ceil)
    assert limbs.to_ints(floor) == [v // d for v in values]
    assert limbs.to_ints(ceil) == [-(-v // d) for v in values]


def test_division_by_a_wad_in_two_steps() -> None:
    near = [q * 10**18 + r for q in (-(2**90), -1, 0, 1, 2**90) for r in (-1, 0, 1)]
    near += [2 ** (30 * j) - 1 for j in range(1, 9)]
    values = numbers(5, 250, 2000) + near
    wide = limbs.from_ints(values)
    assert limbs.to_ints(limbs.floor_wad(wide)) == [v // 10**18 for v in values]
    assert limbs.to_ints(limbs.ceil_wad(wide)) == [-(-v // 10**18) for v in values]


@pytest.mark.parametrize("d", [3, 2**32, 2**84 - 1, 10**25, 2**104 * 10**4 - 7, 2**118])
def test_division_by_any_constant(d: int) -> None:
    values = [abs(v) for v in numbers(d & 0xFFFF, 250)]
    values += [q * d + r for q in (1, 2, 2**60, 2**120) for r in (-1, 0, 1)]
    wide = limbs.from_ints(values)
    assert limbs.to_ints(limbs.floor_div(wide, d)) == [v // d for v in values]
    assert limbs.to_ints(limbs.ceil_div(wide, d)) == [-(-v // d) for v in values]
    signed = [v * s for v in values for s in (1, -1)]
    assert limbs.to_ints(limbs.floor_div_signed(limbs.from_ints(signed), d)) == [
        v // d for v in signed
    ]


def test_division_by_a_divisor_of_each() -> None:
    rng = Random(17)
    drawn = numbers(21, 230, 3000)
    divisors = [rng.getrandbits(rng.randint(1, 62)) or 1 for _ in drawn]
    near = [(q * d + r, d) for d in (1, 7, 10**15, 2**62 - 1) for q in (-(2**100), -1, 0, 1, 2**60)
            for r in (-1, 0, 1)]  # fmt: skip
    values = drawn + [x for x, _ in near]
    divisors += [d for _, d in near]
    out = limbs.floor_div_each(limbs.from_ints(values), np.array(divisors, dtype=np.int64))
    assert limbs.to_ints(out) == [x // d for x, d in zip(values, divisors, strict=True)]
    small = limbs.floor_div_each(limbs.constant(10**6), np.array([1], dtype=np.int64))
    assert limbs.to_ints(small) == [10**6]


def test_sums_of_segments_and_groups() -> None:
    rng = Random(9)
    values = numbers(11, 180, 300)
    cuts = sorted(rng.choices(range(len(values) + 1), k=60))
    pointer = np.array([0, *cuts, len(values)], dtype=np.int64)  # some are empty
    wide = limbs.from_ints(values)
    pairs = list(pairwise(pointer.tolist()))
    assert any(a == b for a, b in pairs)
    assert limbs.to_ints(limbs.segment_sum(wide, pointer)) == [sum(values[a:b]) for a, b in pairs]
    group = np.array([rng.randrange(7) for _ in values], dtype=np.int64)
    assert limbs.to_ints(limbs.group_sum(wide, group, 9)) == [
        sum(v for v, g in zip(values, group, strict=True) if g == n) for n in range(9)
    ]


def test_floats_are_within_the_stated_error() -> None:
    values = [v for v in numbers(3, 250, 3000) if v]
    wide = limbs.from_ints(values)
    for value, got in zip(values, limbs.to_float(wide).tolist(), strict=True):
        assert abs(int(got) - value) * 2**53 <= 2 * len(wide) * abs(value)


def test_signs_and_selection() -> None:
    values = numbers(8, 127)
    wide = limbs.from_ints(values)
    assert limbs.sign(wide).tolist() == [(v > 0) - (v < 0) for v in values]
    assert limbs.to_ints(limbs.absolute(wide)) == [abs(v) for v in values]
    assert limbs.to_ints(limbs.neg(wide)) == [-v for v in values]
    where = np.arange(len(values)) % 3 == 0
    assert limbs.to_ints(limbs.select(where, wide, limbs.constant(-7))) == [
        v if w else -7 for v, w in zip(values, where, strict=True)
    ]
