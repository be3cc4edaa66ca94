"""NormalCdf:

stated bound, exact symmetry, monotonicity, the ranges the kernel's proof needs, Solidity = Python.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import iv

from risk.exact.math import normal_cdf as nc
from tests.math.reference import MP, WAD, exact_cdf

if TYPE_CHECKING:
    from tests.math.conftest import Harness

I_MAX = 2**255 - 1
I_MIN = -(2**255)
Q80 = 1 << 80
BOUND = 107  # units of 1e-18; the target is 1000
CUT = 1 << 64
B_MINUS_T = 1_026_766  # units: the least b − t of the kernel's first branch, at stdDev = 1

arguments = (
    st.integers(-9 * WAD, 9 * WAD) | st.integers(-40 * WAD, 40 * WAD) | st.integers(I_MIN, I_MAX)
)


def test_error_on_a_grid() -> None:
    worst = max(
        abs(nc.cdf(x) - exact_cdf(x)) for x in range(-10 * WAD, 10 * WAD, WAD // 500 + 7919)
    )
    assert worst <= BOUND


@given(arguments)
def test_error_symmetry_and_range(x: int) -> None:
    p = nc.cdf(x)
    assert 0 <= p <= WAD
    assert p + nc.cdf(-x) == WAD
    if abs(x) < 100 * WAD:
        assert abs(p - exact_cdf(x)) <= BOUND


def test_special_values() -> None:
    assert nc.cdf(0) == WAD // 2
    assert nc.cdf(40 * WAD) == nc.cdf(I_MAX) == WAD
    assert nc.cdf(-40 * WAD) == nc.cdf(I_MIN) == 0
    assert nc.cdf(CUT - 1) == nc.cdf(CUT) == WAD


@given(arguments, st.integers(1, 1000) | st.integers(1, WAD))
def test_monotone(x: int, step: int) -> None:
    assert nc.cdf(x + step) >= nc.cdf(x)


def test_monotone_where_the_power_of_two_changes() -> None:
    """The only places where the approximation could step upwards:

    t² = n + ½, that is x = √(n + ½)/κ.
    """
    for n in range(90):
        x = int(MP.sqrt((n + MP.mpf(1) / 2) * 2 / MP.log(MP.e, 2)) * WAD)
        values = [nc.cdf(x + i) for i in range(-60, 61)]
        assert values == sorted(values)
    values = [nc.cdf(x) for x in range(-3000, 3000)]
    assert values == sorted(values)


def test_power_of_two() -> None:
    """Relative error ≤ 1.7e-18, exactly 1 at 0, never rising (checked across every change of n)."""
    for i in range(4000):
        z = i * Q80 // 1999
        m, n = nc.exp2_neg(z)
        exact = MP.mpf(2) ** (-MP.mpf(z) / Q80)
        assert abs(MP.mpf(m) / 2**96 / MP.mpf(2) ** n / exact - 1) <= MP.mpf("1.7e-18")
    assert nc.exp2_neg(0) == (1 << 96, 0)
    for n in range(1, 256):
        below, above = nc.exp2_neg((2 * n - 1 << 79) - 1), nc.exp2_neg(2 * n - 1 << 79)
        assert (below[1], above[1]) == (n - 1, n)
        assert above[0] <= 2 * below[0]


def intervals() -> list:
    """A cover of [0, 1e60], beyond every b of the kernel: steps of 1/32 up to 64, then one."""
    return [*(iv.mpf([i / 32, (i + 1) / 32]) for i in range(64 * 32)), iv.mpf([64, 10**60])]


def test_rho_by_interval_arithmetic() -> None:
    """Proof, for every real t ≥ 0, of what the NatSpec of the kernel says about ρ.

    No denominator vanishes. Rounding (each floor adds less than a unit, and a unit in the inner
    quotient moves the outer one by C/den² units) stays below 32 units. ρ falls; below t = 16 with
    a slope beyond −1.1e-3, so by more than 1 100 units over B_MINUS_T.
    """
    iv.dps = 30
    c = [iv.mpf(getattr(nc, f"RHO_C{i}")) / 2**160 for i in range(7)]
    d = [iv.mpf(getattr(nc, f"RHO_D{i}")) / 2**80 for i in range(7)]
    c[3], d[1], d[3] = -c[3], -d[1], -d[3]
    for t in intervals():
        value, slope, rounding = iv.mpf(0), iv.mpf(0), iv.mpf(0)
        for i in range(6, -1, -1):
            den = t + d[i] + value
            assert den.a > 0.5
            factor = c[i] / (den * den)
            value, slope = c[i] / den, -factor * (1 + slope)
            rounding = 1 + abs(factor) * rounding * (1 + iv.mpf(2) ** -60)
        assert rounding.b < 32
        assert slope.b < 0
        if t.b <= 16:
            assert slope.b < -0.0011


def exact_rho(t: int) -> Fraction:
    r = Fraction(nc.RHO_C6) / (t + nc.RHO_D6)
    r = nc.RHO_C5 / (t + nc.RHO_D5 + r)
    r = nc.RHO_C4 / (t + nc.RHO_D4 + r)
    r = nc.RHO_C3 / (t - nc.RHO_D3 + r)
    r = nc.RHO_C2 / (t + nc.RHO_D2 - r)
    r = nc.RHO_C1 / (t - nc.RHO_D1 + r)
    return nc.RHO_C0 / (t + nc.RHO_D0 + r)


def test_rho() -> None:
    """½ at 0 and nowhere above; falling as the kernel's proof says; rounding < 3 units."""
    rng = random.Random(21)
    assert nc.rho(0) == 1 << 79
    assert max(nc.rho(t) for t in range(1, 20_000)) <= 1 << 79
    for _ in range(4000):
        t = int(rng.uniform(0, 24) * Q80)
        assert abs(exact_rho(t) - nc.rho(t)) < 3
        t = int(rng.uniform(0, 16) * Q80)
        assert nc.rho(t) - nc.rho(t + B_MINUS_T) >= 1000
    assert 0 <= nc.rho(2**176) <= nc.rho(2**100) <= nc.rho(16 * Q80)


@pytest.mark.chain
def test_chain(harness: Harness) -> None:
    rng = random.Random(22)
    cases = [0, 1, -1, CUT - 1, CUT, -CUT, 1 - CUT, I_MAX, I_MIN, I_MIN + 1, WAD, -WAD]
    cases += [rng.randint(-9 * WAD, 9 * WAD) for _ in range(4000)]
    cases += [rng.randint(-25 * WAD, 25 * WAD) for _ in range(1000)]
    cases += [rng.randint(I_MIN, I_MAX) >> rng.randint(0, 255) for _ in range(1000)]
    count, reverts = harness.compare("cdf", nc.cdf, [(x,) for x in cases])
    assert count > 6000 and reverts == 0
