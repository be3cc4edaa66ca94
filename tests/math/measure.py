"""Largest errors and speed of the exact mathematics, measured again.

python -m tests.math.measure [--points N] [--seed S] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

from risk.exact.math import black76, exp_ln, normal_cdf, svi
from tests.math.reference import (
    MP,
    WAD,
    black76_grid,
    black76_random,
    exact_call,
    exact_cdf,
    exact_svi,
)


def largest(errors: Iterable) -> float:
    """Largest absolute value."""
    return float(max(abs(e) for e in errors))


def ln_errors(points: int, rng: random.Random) -> dict[str, float]:
    values = [rng.getrandbits(rng.randint(1, 255)) + 1 for _ in range(points)]
    values += [WAD + rng.randint(-(10**17), 10**17) for _ in range(points)]
    errors = [exp_ln.ln_wad(x) - MP.log(MP.mpf(x) / WAD) * WAD for x in values]
    return {"lnWad lowest, units": float(min(errors)), "lnWad highest, units": float(max(errors))}


def exp_errors(points: int, rng: random.Random) -> dict[str, float]:
    absolute, relative = [], []
    for _ in range(points):
        x = rng.randint(exp_ln.EXP_ZERO_AT, exp_ln.EXP_OVERFLOW_AT - 1)
        exact = MP.exp(MP.mpf(x) / WAD) * WAD
        error = exp_ln.exp_wad(x) - exact
        (absolute if exact < 10 * WAD else relative).append((error, exact))
    return {
        "expWad below 10, units": largest(e for e, _ in absolute),
        "expWad above 1e9, relative": largest(e / x for e, x in relative if x > 10**27),
    }


def cdf_errors(points: int, rng: random.Random) -> dict[str, float]:
    values = [rng.randint(-9 * WAD, 9 * WAD) for _ in range(points)]
    return {
        "cdf": largest((normal_cdf.cdf(x) - exact_cdf(x)) / WAD for x in values),
    }


def black76_errors(points: int, rng: random.Random) -> dict[str, float]:
    near, far, share = [], [], []
    for f, k, s in chain(black76_grid(121, 101), black76_random(points, rng.randrange(2**32))):
        error = max(abs(black76.price(f, k, s)[0] - exact_call(f, k, s)) - 1, MP.mpf(0))
        low, high = min(f, k), max(f, k)
        (near if high <= 20 * low else far).append(error / f)
        share.append(error / (MP.mpf("2.3e-16") * low + MP.mpf("6.5e-18") * high + 1))
    return {
        "Black-76 of the forward, K/F in [1/20, 20]": largest(near),
        "Black-76 of the forward, K/F in [1/1000, 1000]": largest(far),
        "Black-76, share of the stated bound": largest(share),
    }


def monotone_losses(points: int, rng: random.Random) -> dict[str, float]:
    """Largest fall where the exact value rises, in units of 1e-18 of min(F, K), above 2 units."""
    worst = 0.0
    for f, k, s in black76_random(points, rng.randrange(2**32)):
        step = rng.choice([1, 1, 2, 10, 10**3, 10**6])
        base = black76.price(f, k, s)[0]
        rises = [
            black76.price(f + step, k, s)[0] - base,
            base - black76.price(f, k + step, s)[0],
            black76.price(f, k, s + step)[0] - base,
        ]
        worst = max(worst, (-min(rises) - 2) * WAD / min(f, k))
    return {"Black-76, fall against the order, 1e-18 of min(F, K)": worst}


def svi_errors(points: int, rng: random.Random) -> dict[str, float]:
    errors = []
    for _ in range(points):
        rho = rng.randint(-WAD + 1, WAD - 1)
        b = rng.randint(0, WAD)
        p = svi.SviParams(
            rng.randint(0, WAD), b, rho, rng.randint(-WAD, WAD), rng.randint(10**12, WAD)
        )
        k = rng.randint(-5 * WAD, 5 * WAD)
        errors.append((svi.total_variance(p, k) - exact_svi(*p, k)) / (1 + MP.mpf(b) / WAD))
    return {"SVI lowest, units of (1 + b)": float(min(errors)), "SVI highest": float(max(errors))}


def kernel_speed(rng: random.Random) -> dict[str, float]:
    cases = [
        (rng.randint(-WAD, WAD), 2500 * WAD, (2000 + i % 1000) * WAD, rng.randint(10**16, WAD))
        for i in range(50_000)
    ]
    start = time.perf_counter()
    for case in cases:
        black76.call_from_log(*case)
    return {"kernel evaluations per second, Python": len(cases) / (time.perf_counter() - start)}


def main() -> None:
    """Print the table; write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.math.measure", description=__doc__)
    parser.add_argument("--points", type=int, default=20_000, help="random points per function")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    parts: list[Callable[[int, random.Random], dict[str, float]]]
    parts = [ln_errors, exp_errors, cdf_errors, black76_errors, monotone_losses, svi_errors]
    figures: dict[str, float] = {}
    for part in parts:
        print(f"{part.__name__} …", file=sys.stderr)
        figures |= part(options.points, rng)
    figures |= kernel_speed(rng)
    for name, value in figures.items():
        print(f"{name:<56}{value:>14.5g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
