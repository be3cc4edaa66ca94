"""ExpLn: stated error bounds against mpmath, monotonicity, and Solidity = Python bit for bit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.math import exp_ln as el
from tests.math.reference import MP, WAD

if TYPE_CHECKING:
    from tests.math.conftest import Harness

I_MAX = 2**255 - 1
I_MIN = -(2**255)
U_MAX = 2**256 - 1
RELATIVE = MP.mpf("2e-20")


def ln_error(x: int):
    return el.ln_wad(x) - MP.log(MP.mpf(x) / WAD) * WAD


def exp_bounds_hold(x: int) -> bool:
    exact = MP.exp(MP.mpf(x) / WAD) * WAD
    error = el.exp_wad(x) - exact
    return -1.1 - RELATIVE * exact <= error <= 0.1 + RELATIVE * exact


LN_EDGES = [1, 2, 3, WAD - 1, WAD, WAD + 1, I_MAX - 1, I_MAX]
LN_EDGES += [2**k + e for k in range(2, 255) for e in (-1, 0, 1)]
EXP_EDGES = [
    el.EXP_ZERO_AT - 1,
    el.EXP_ZERO_AT,
    el.EXP_ZERO_AT + 1,
    el.EXP_OVERFLOW_AT - 1,
    el.EXP_OVERFLOW_AT,
    el.EXP_OVERFLOW_AT + 1,
    *range(-3, 4),
    WAD,
    -WAD,
    I_MIN,
    I_MAX,
]


@given(st.integers(1, I_MAX) | st.integers(1, 10**30) | st.integers(WAD - 10**6, WAD + 10**6))
def test_ln_error(x: int) -> None:
    assert -1.1 <= ln_error(x) <= 0.1


def test_ln_error_at_edges() -> None:
    assert all(-1.1 <= ln_error(x) <= 0.1 for x in LN_EDGES)
    assert el.ln_wad(WAD) == 0
    assert el.ln_wad(1) == el.EXP_ZERO_AT
    assert el.ln_wad(I_MAX) == el.EXP_OVERFLOW_AT


@given(st.integers(el.EXP_ZERO_AT + 1, el.EXP_OVERFLOW_AT - 1) | st.integers(-5 * WAD, 5 * WAD))
def test_exp_error(x: int) -> None:
    assert exp_bounds_hold(x)


def test_exp_edges() -> None:
    assert el.exp_wad(0) == WAD
    assert el.exp_wad(el.EXP_ZERO_AT) == el.exp_wad(I_MIN) == 0
    for x in (el.EXP_OVERFLOW_AT, I_MAX):
        with pytest.raises(ModelRevert, match="ExpOverflow"):
            el.exp_wad(x)
    for x in (0, -1, I_MIN):
        with pytest.raises(ModelRevert, match="LnWadUndefined"):
            el.ln_wad(x)


@given(st.integers(1, I_MAX - 1) | st.integers(1, 10**22), st.integers(1, 10**6))
def test_ln_monotone(x: int, step: int) -> None:
    assert el.ln_wad(min(x + step, I_MAX)) >= el.ln_wad(x)


@given(st.integers(el.EXP_ZERO_AT, el.EXP_OVERFLOW_AT - 2), st.integers(1, 10**6))
def test_exp_monotone(x: int, step: int) -> None:
    assert el.exp_wad(min(x + step, el.EXP_OVERFLOW_AT - 1)) >= el.exp_wad(x)


@given(st.integers(0, U_MAX))
def test_sqrt_wad_is_the_floor(x: int) -> None:
    r = el.sqrt_wad(x)
    assert r * r <= x * WAD < (r + 1) ** 2


@pytest.mark.chain
def test_chain_ln(harness: Harness) -> None:
    rng = random.Random(11)
    cases = [0, -1, I_MIN, *LN_EDGES, *(rng.getrandbits(rng.randint(1, 255)) for _ in range(3000))]
    cases += [
        WAD + rng.randint(-(10 ** rng.randint(1, 17)), 10 ** rng.randint(1, 18))
        for _ in range(1000)
    ]
    count, reverts = harness.compare("lnWad", el.ln_wad, [(x,) for x in cases])
    assert count > 4700 and 3 <= reverts <= 20


@pytest.mark.chain
def test_chain_exp(harness: Harness) -> None:
    rng = random.Random(12)
    cases = [*EXP_EDGES, *(rng.randint(I_MIN, I_MAX) for _ in range(50))]
    cases += [
        rng.randint(el.EXP_ZERO_AT - 10**18, el.EXP_OVERFLOW_AT + 10**18) for _ in range(3000)
    ]
    cases += [rng.randint(-(10**19), 10**19) for _ in range(1000)]
    # where k = round(x / ln 2) changes
    cases += [
        693147180559945309 * (2 * k + 1) // 2 + e for k in range(-60, 195) for e in (-1, 0, 1)
    ]
    count, reverts = harness.compare("expWad", el.exp_wad, [(x,) for x in cases])
    assert count > 4500 and reverts >= 10


@pytest.mark.chain
def test_chain_sqrt_wad(harness: Harness) -> None:
    rng = random.Random(13)
    cases = [0, 1, 2, WAD - 1, WAD, WAD + 1, U_MAX // WAD, U_MAX // WAD + 1, U_MAX - 1, U_MAX]
    cases += [rng.getrandbits(rng.randint(1, 256)) for _ in range(2000)]
    roots = [rng.randint(0, el.sqrt_wad(U_MAX)) for _ in range(500)]
    cases += [max(r * r // WAD + e, 0) for r in roots for e in (-1, 0, 1)]
    harness.compare("sqrtWad", el.sqrt_wad, [(x,) for x in cases])
