"""Svi: stated error, validity checks and their order, Solidity = Python."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.exact.errors import ModelRevert
from risk.exact.math import svi
from risk.exact.math.svi import SviParams
from tests.math.reference import MP, WAD, exact_svi

if TYPE_CHECKING:
    from tests.math.conftest import Harness

I_MAX = 2**255 - 1
I_MIN = -(2**255)
U_MAX = 2**256 - 1
GOOD = SviParams(a=WAD // 50, b=WAD // 10, rho=-2 * WAD // 5, m=WAD // 100, sigma=WAD // 5)


@st.composite
def slices(draw) -> SviParams:
    """Admissible slices, also at the ends: minimum variance down to 0, wings up to 2."""
    rho = draw(st.integers(-WAD + 1, WAD - 1))
    b = draw(st.integers(0, 2 * WAD * WAD // (WAD + abs(rho))))
    sigma = draw(st.integers(svi.MIN_SIGMA, svi.MAX_SIGMA) | st.integers(svi.MIN_SIGMA, WAD))
    least = -(b * sigma * int(MP.sqrt(WAD * WAD - rho * rho)) // WAD**2)
    a = draw(st.integers(max(least, -svi.MAX_A), svi.MAX_A) | st.just(max(least, -svi.MAX_A)))
    m = draw(st.integers(-svi.MAX_M, svi.MAX_M) | st.integers(-WAD, WAD))
    return SviParams(a, b, rho, m, sigma)


logs = st.integers(-svi.MAX_LOG_STRIKE, svi.MAX_LOG_STRIKE) | st.integers(-3 * WAD, 3 * WAD)


@given(slices(), logs)
def test_error(p: SviParams, k: int) -> None:
    """w is at most b·1e-18 + 1 unit below the exact value (0 from below where that is negative)."""
    svi.validate(p)
    w = svi.total_variance(p, k)
    error = w - exact_svi(*p, k)
    assert -(MP.mpf(p.b) / WAD) - 1 <= error <= MP.mpf(10) ** -20
    assert w >= 0
    d = svi.std_dev(p, k)
    assert d * d <= w * WAD < (d + 1) ** 2


def test_shape() -> None:
    """Minimum at k = m − ρσ/√(1 − ρ²), slopes b(ρ ± 1) in the wings."""
    p = GOOD
    root = int(MP.sqrt(WAD * WAD - p.rho * p.rho))
    k = p.m - p.rho * p.sigma // root
    assert abs(svi.total_variance(p, k) - (p.a + p.b * p.sigma * root // WAD**2)) <= 2
    right = svi.total_variance(p, 170 * WAD) - svi.total_variance(p, 160 * WAD)
    left = svi.total_variance(p, -170 * WAD) - svi.total_variance(p, -160 * WAD)
    assert abs(right - 10 * p.b * (WAD + p.rho) // WAD) < 10**13
    assert abs(left - 10 * p.b * (WAD - p.rho) // WAD) < 10**13


REFUSED = [
    (GOOD._replace(a=svi.MAX_A + 1, rho=WAD), "SviAOutOfRange", (svi.MAX_A + 1,)),
    (GOOD._replace(a=I_MIN), "SviAOutOfRange", (I_MIN,)),
    (GOOD._replace(rho=WAD, m=I_MAX), "SviRhoOutOfRange", (WAD,)),
    (GOOD._replace(rho=-WAD), "SviRhoOutOfRange", (-WAD,)),
    (GOOD._replace(rho=I_MIN), "SviRhoOutOfRange", (I_MIN,)),
    (GOOD._replace(m=svi.MAX_M + 1, sigma=0), "SviMOutOfRange", (svi.MAX_M + 1,)),
    (GOOD._replace(m=I_MIN), "SviMOutOfRange", (I_MIN,)),
    (GOOD._replace(sigma=0, b=U_MAX), "SviSigmaOutOfRange", (0,)),
    (GOOD._replace(sigma=svi.MIN_SIGMA - 1), "SviSigmaOutOfRange", (svi.MIN_SIGMA - 1,)),
    (GOOD._replace(sigma=svi.MAX_SIGMA + 1), "SviSigmaOutOfRange", (svi.MAX_SIGMA + 1,)),
    (GOOD._replace(b=U_MAX), "SviWingTooSteep", (U_MAX, GOOD.rho)),
    (GOOD._replace(b=2 * WAD, rho=1), "SviWingTooSteep", (2 * WAD, 1)),
    (GOOD._replace(b=WAD + 1, rho=WAD - 1), "SviWingTooSteep", (WAD + 1, WAD - 1)),
    (GOOD._replace(a=-1, b=0), "SviNegativeVariance", (-1,)),
]
ACCEPTED = [
    GOOD,
    GOOD._replace(a=svi.MAX_A, m=svi.MAX_M, sigma=svi.MAX_SIGMA),
    GOOD._replace(b=2 * WAD, rho=0),
    GOOD._replace(b=WAD, rho=WAD - 1, sigma=svi.MIN_SIGMA),
    GOOD._replace(a=-(WAD // 100), b=WAD // 10, rho=0, sigma=WAD // 10),
    SviParams(0, 0, 0, 0, svi.MIN_SIGMA),
]


def test_validate() -> None:
    for p, name, args in REFUSED:
        with pytest.raises(ModelRevert) as caught:
            svi.validate(p)
        assert caught.value == ModelRevert(name, args)
    for p in ACCEPTED:
        svi.validate(p)
    for k in (svi.MAX_LOG_STRIKE + 1, -svi.MAX_LOG_STRIKE - 1, I_MIN, I_MAX):
        with pytest.raises(ModelRevert, match="SviLogStrikeOutOfRange"):
            svi.total_variance(GOOD, k)


def random_slice(rng: random.Random) -> SviParams:
    """Often admissible, often just not."""
    rho = rng.choice([rng.randint(-WAD, WAD), rng.randint(-WAD // 2, WAD // 2)])
    b = rng.randint(0, 2 * WAD * WAD // (WAD + abs(rho)) + rng.choice([0, 0, 1, WAD]))
    sigma = rng.choice([rng.randint(svi.MIN_SIGMA, WAD), rng.randint(0, svi.MAX_SIGMA + WAD)])
    least = b * sigma * int(MP.sqrt(abs(WAD * WAD - rho * rho))) // WAD**2
    a = rng.choice([rng.randint(0, WAD), -least + rng.randint(-2, 2), rng.randint(-least, WAD)])
    m = rng.choice([rng.randint(-WAD, WAD), rng.randint(-svi.MAX_M - WAD, svi.MAX_M + WAD)])
    return SviParams(a, b, rho, m, sigma)


@pytest.mark.chain
def test_chain(harness: Harness) -> None:
    rng = random.Random(41)
    params = [p for p, _, _ in REFUSED] + ACCEPTED + [random_slice(rng) for _ in range(3000)]
    cases = [tuple(p) for p in params]
    count, reverts = harness.compare("validate", lambda *p: svi.validate(SviParams(*p)), cases)
    assert count > 3000 and 200 < reverts < 2800
    good = []
    for p in params:
        try:
            svi.validate(p)
        except ModelRevert:
            continue
        edge = rng.choice([-1, 1]) * (svi.MAX_LOG_STRIKE + rng.randint(-1, 1))
        good += [(*p, k) for k in (rng.randint(-3 * WAD, 3 * WAD), p.m, edge, I_MIN, I_MAX)]
    for name, twin in (("totalVariance", svi.total_variance), ("stdDev", svi.std_dev)):
        count, reverts = harness.compare(
            name, lambda a, b, r, m, s, k, f=twin: f(SviParams(a, b, r, m, s), k), good
        )
        assert count > 5000 and 1000 < reverts < count / 2
