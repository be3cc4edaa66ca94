"""Standard normal distribution function.  Twin: ``contracts/math/NormalCdf.sol``, bit for bit.

With κ = √(log2(e)/2) and t = κ·x ≥ 0:  N(−x) = 2**(−t²)·ρ(t),  ρ(t) = ½·erfcx(x/√2).  ρ is a
minimax rational function of degree 6/7 written as a continued fraction, with C3, D1 and D3 negative
(their absolute values below)::

    ρ(t) = C0/(t+D0 + C1/(t+D1 + C2/(t+D2 + C3/(t+D3 + C4/(t+D4 + C5/(t+D5 + C6/(t+D6)))))))

2**(−z) = 2**(−n)·(G − f)/(G + f), n = round(z), f = z − n, G = E0 − E1/(f²+F1 − E2/(f²+F2)).
t, f, ρ, the D, E0 and the F are Q80 (value·2**80); the C, E1 and E2 are Q160.  Derivation and
bounds: docs/math.md.
"""

from __future__ import annotations

from typing import Final

RHO_C0: Final = 495207840287756821074467382681117410567886209024
RHO_C1: Final = 1026425972751771815803430540143762224608448610304
RHO_C2: Final = 11714595329448167491985648938676239911921957994496
RHO_C3: Final = 3546036633271146327129178610569930765944173363200
RHO_C4: Final = 2033410193247416847502549793629113276354733004554240
RHO_C5: Final = 472693219959391955470504843555666221786422312960
RHO_C6: Final = 21457019441425106458855048171880481094022243287040
RHO_D0: Final = 868227677852685753454
RHO_D1: Final = 578333580304316066154142
RHO_D2: Final = 11107697206964434001900014
RHO_D3: Final = 41968980494371808174609393
RHO_D4: Final = 47581922470702328440030442
RHO_D5: Final = 3185333084602846450517083
RHO_D6: Final = 784706537275929258307957

EXP2_E0: Final = 52349497661272090237266976
EXP2_E1: Final = 40605695043239804225377873624468290783592059380957184
EXP2_E2: Final = 12824552198772942396902806996062265684802356671152128
EXP2_F1: Final = 942278439506153186989942579
EXP2_F2: Final = 115289299134664203621390029

KAPPA_Q80: Final = 1026767053529765814280678
HALF_KAPPA_Q180_WAD: Final = 650790935850789091218010688785786889  # κ/2·2**180/1e18

HALF_Q80: Final = 1 << 79
MASK_Q80: Final = (1 << 80) - 1

_WAD: Final = 10**18
_CUT_WAD: Final = 1 << 64  # N(x) is 0 or 1 to the last unit from here on


def rho(t: int) -> int:
    """½·erfcx(t/(κ√2)): t ≥ 0 and the result Q80, rounding inside (floor of every quotient)."""
    r = RHO_C5 // (RHO_C6 // (t + RHO_D6) + RHO_D5 + t)
    r = RHO_C3 // (RHO_C4 // (r + RHO_D4 + t) + t - RHO_D3)
    r = RHO_C1 // (RHO_C2 // (RHO_D2 - r + t) + t - RHO_D1)
    return RHO_C0 // (r + RHO_D0 + t)


def exp2_neg(z: int) -> tuple[int, int]:
    """2**(−z) = m·2**(−96−n) for z ≥ 0 in Q80: (m, n); m = 2**96 and n = 0 at z = 0."""
    h = z + HALF_Q80
    f = (h & MASK_Q80) - HALF_Q80
    u = f * f >> 80
    g = EXP2_E0 - EXP2_E1 // (u + EXP2_F1 - EXP2_E2 // (u + EXP2_F2))
    return (g - f << 96) // (g + f), h >> 80


def cdf(x: int) -> int:
    """N(x); x and the result WAD, rounded to nearest; error ≤ 1.07e−16 (107 units).

    cdf(x) + cdf(−x) = WAD exactly, cdf(0) = WAD/2, monotone, never raises.
    """
    a = abs(x)
    tail = 0
    if a < _CUT_WAD:
        t = a * KAPPA_Q80 // _WAD
        m, n = exp2_neg(t * t >> 80)
        tail = (m * rho(t) * _WAD >> 175 + n) + 1 >> 1
    return _WAD - tail if x >= 0 else tail
