"""WadMath:

exact against rational arithmetic, and Solidity = Python bit for bit, reverts included.
"""

from __future__ import annotations

import random
from fractions import Fraction
from math import ceil, floor, isqrt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.math import wad_math as wm

if TYPE_CHECKING:
    from tests.math.conftest import Harness

U = 2**256 - 1
I_MAX = 2**255 - 1
I_MIN = -(2**255)
EDGES = [0, 1, 2, 3, 10**18 - 1, 10**18, 10**18 + 1, 2**127, 2**128 - 1, 2**128, 2**128 + 1]
EDGES += [2**255 - 1, 2**255, 2**255 + 1, U - 1, U]
SIGNED = [0, 1, -1, 7, -7, 10**18, -(10**18), 2**128, -(2**128), I_MAX, I_MAX - 1, I_MIN, I_MIN + 1]

unsigned = st.integers(0, U) | st.sampled_from(EDGES) | st.integers(0, 2**130)
signed = st.integers(I_MIN, I_MAX) | st.sampled_from(SIGNED)


def check(call, low: int, high: int, exact) -> None:
    """call() is exact() if that lies in [low, high], else MulDivOverflow."""
    want = exact()
    if low <= want <= high:
        assert call() == want
    else:
        with pytest.raises(ModelRevert) as caught:
            call()
        assert caught.value == ModelRevert("MulDivOverflow")


@given(unsigned, unsigned, unsigned)
def test_unsigned_is_exact(x: int, y: int, d: int) -> None:
    if d == 0:
        for f in (wm.mul_div_down, wm.mul_div_up):
            with pytest.raises(ModelRevert, match="DivisionByZero"):
                f(x, y, d)
        return
    check(lambda: wm.mul_div_down(x, y, d), 0, U, lambda: floor(Fraction(x * y, d)))
    check(lambda: wm.mul_div_up(x, y, d), 0, U, lambda: ceil(Fraction(x * y, d)))
    check(lambda: wm.div_wad_down(x, d), 0, U, lambda: floor(Fraction(x * wm.WAD, d)))
    check(lambda: wm.div_wad_up(x, d), 0, U, lambda: ceil(Fraction(x * wm.WAD, d)))
    check(lambda: wm.mul_wad_down(x, y), 0, U, lambda: floor(Fraction(x * y, wm.WAD)))
    check(lambda: wm.mul_wad_up(x, y), 0, U, lambda: ceil(Fraction(x * y, wm.WAD)))


@given(signed, unsigned, unsigned)
def test_signed_is_exact(x: int, y: int, d: int) -> None:
    if d == 0:
        for f in (wm.mul_div_floor, wm.mul_div_ceil):
            with pytest.raises(ModelRevert, match="DivisionByZero"):
                f(x, y, d)
        return
    check(lambda: wm.mul_div_floor(x, y, d), I_MIN, I_MAX, lambda: floor(Fraction(x * y, d)))
    check(lambda: wm.mul_div_ceil(x, y, d), I_MIN, I_MAX, lambda: ceil(Fraction(x * y, d)))


@given(unsigned)
def test_sqrt_is_the_floor(x: int) -> None:
    r = wm.sqrt(x)
    assert r * r <= x < (r + 1) ** 2


def triples(seed: int, x_edges: list[int], low: int, high: int) -> list[tuple[int, int, int]]:
    """All edge triples and random ones whose quotient is near the end of the range."""
    rng = random.Random(seed)
    cases = [(x, y, d) for x in x_edges for y in EDGES for d in EDGES]
    for _ in range(1500):
        x = rng.choice([rng.randint(low, high), rng.randint(low >> 128, high >> 128)])
        y = rng.getrandbits(rng.choice([8, 64, 130, 256]))
        d = rng.getrandbits(rng.choice([8, 64, 130, 256]))
        cases.append((x, y, d))
        # a divisor that puts the quotient within a unit of the end
        near = abs(x) * y // high + rng.randint(-1, 1) if high else 0
        cases.append((x, y, min(max(near, 0), U)))
    return cases


@pytest.mark.parametrize("name", ["mulDivDown", "mulDivUp"])
@pytest.mark.chain
def test_chain_unsigned(harness: Harness, name: str) -> None:
    twin = {"mulDivDown": wm.mul_div_down, "mulDivUp": wm.mul_div_up}[name]
    count, reverts = harness.compare(name, twin, triples(1, EDGES, 0, U))
    assert count > 6000 and reverts > 1500


@pytest.mark.parametrize("name", ["mulDivFloor", "mulDivCeil"])
@pytest.mark.chain
def test_chain_signed(harness: Harness, name: str) -> None:
    twin = {"mulDivFloor": wm.mul_div_floor, "mulDivCeil": wm.mul_div_ceil}[name]
    count, reverts = harness.compare(name, twin, triples(2, SIGNED, I_MIN, I_MAX))
    assert count > 5000 and reverts > 1500


@pytest.mark.chain
def test_chain_wad_forms(harness: Harness) -> None:
    rng = random.Random(3)
    pairs = [(x, y) for x in EDGES for y in EDGES]
    pairs += [
        (rng.getrandbits(rng.randint(1, 256)), rng.getrandbits(rng.randint(1, 256)))
        for _ in range(800)
    ]
    for name, twin in (
        ("mulWadDown", wm.mul_wad_down),
        ("mulWadUp", wm.mul_wad_up),
        ("divWadDown", wm.div_wad_down),
        ("divWadUp", wm.div_wad_up),
    ):
        harness.compare(name, twin, pairs)


@pytest.mark.chain
def test_chain_abs_clamp_sqrt(harness: Harness) -> None:
    rng = random.Random(4)
    harness.compare("abs", abs, [(x,) for x in SIGNED])
    bounds = [tuple(rng.choice(SIGNED) for _ in range(3)) for _ in range(500)]
    harness.compare("clampSigned", wm.clamp, bounds)
    bounds = [tuple(rng.choice(EDGES) for _ in range(3)) for _ in range(500)]
    harness.compare("clampUnsigned", wm.clamp, bounds)
    roots = [rng.getrandbits(rng.randint(1, 128)) for _ in range(500)]
    squares = [r * r + e for r in roots for e in (-1, 0, 1) if 0 <= r * r + e <= U]
    cases = [
        *range(300),
        *EDGES,
        *squares,
        *(rng.getrandbits(rng.randint(1, 256)) for _ in range(500)),
    ]
    harness.compare("sqrt", wm.sqrt, [(x,) for x in cases])
    assert wm.sqrt(U) == isqrt(U) == 2**128 - 1
