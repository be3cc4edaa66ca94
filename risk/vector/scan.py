"""The scan of many accounts: Σ s·ℓ_k as products of float64 matrices that are exact.

Exposures |s| < 2^90 are split into three limbs below 2^30, lanes are at most 4095 < 2^12 in size.
A sum over R rows of limb·lane is a whole number below R·2^42, and so is every partial sum in every
order, with or without fused multiply-add; R ≤ 2047 keeps it below 2^53, where float64 holds every
whole number.  R is checked at run time.

Which scenario binds is decided on whole numbers.  Float64 only picks the candidates: the weighted
loss f_k computed from the three limb products differs from the true one by at most 2^-49·w·A with
A = 4095·Σ|s| + Σ deductions (at most 16 roundings of relative size 2^-53, on terms whose absolute
values sum to A).  Every scenario within twice that, and 2·10^4 (one wei of the rounded-up loss on
either side), of the largest is a candidate.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from risk.exact.margin.option_rows import ROW_DEDUCTION
from risk.exact.margin.scenario_array import MAX_LANE
from risk.vector import limbs
from risk.vector.errors import VectorError
from risk.vector.limbs import Bools, Floats, Ints

EXPOSURE_LIMBS: Final = 3  # 2^90 is the model's MAX_EXPOSURE
MAX_ROWS: Final = 2047
_BPS: Final = 10**4
_RELATIVE: Final = 2.0**-49


def products(
    exposure: Ints, column: NDArray[np.int32], pointer: Ints, lanes: Floats
) -> list[Floats]:
    """Σ limb_j·ℓ_k of every account, (n, K) for each of the limbs; ``exposure`` is signed: a wide
    magnitude times its sign, limb by limb.
    """
    n = len(pointer) - 1
    if n and int(np.diff(pointer).max()) > MAX_ROWS:
        raise VectorError(f"more than {MAX_ROWS} rows in one account")
    assert not exposure.size or int(np.abs(exposure).max()) < limbs.BASE
    assert not lanes.size or float(np.abs(lanes).max()) <= MAX_LANE
    out = []
    for limb in exposure:
        if limb.any():
            rows = csr_array((limb.astype(np.float64), column, pointer), shape=(n, len(lanes)))
            out.append(np.asarray(rows @ lanes))
        else:
            out.append(np.zeros((n, lanes.shape[1])))
    return out


def worst(
    sums: list[Floats], gross: Ints, rows: Ints, short: Ints, weights: Ints
) -> tuple[Ints, NDArray[np.int16]]:
    """(Scan, binding scenario or −1) of every account.

    ``sums``: products of the limbs, (n, K) each; ``gross`` Σ|s|; ``rows``: number of rows;
    ``short``: Σ(|s| + 1) of the short options.
    """
    n = len(rows)
    deduction = limbs.add(short, rows[None] * ROW_DEDUCTION)
    amplitude = MAX_LANE * limbs.to_float(gross) + limbs.to_float(deduction)
    loss = limbs.to_float(deduction)[:, None] - sums[0]
    for j in range(1, len(sums)):
        loss -= sums[j] * float(limbs.BASE) ** j
    loss *= weights.astype(np.float64)
    slack = _RELATIVE * float(weights.max()) * amplitude + _BPS
    floor = np.maximum(loss.max(axis=1, initial=-np.inf) - 2 * slack, -slack)
    account, scenario = np.nonzero(loss >= floor[:, None])
    scan, binding = np.zeros((5, n), dtype=np.int64), np.full(n, -1, dtype=np.int16)
    if not len(account):
        return limbs.trim(scan), binding
    value = _weighted(sums, deduction, account, scenario, weights)
    keep = _best(value, account, scenario)
    keep = keep[limbs.sign(value[:, keep]) > 0]
    value = limbs.pad(value, 5)
    assert len(value) == 5
    scan[:, account[keep]] = value[:, keep]
    binding[account[keep]] = scenario[keep]
    return limbs.trim(scan), binding


def _weighted(
    sums: list[Floats], deduction: Ints, account: Ints, scenario: Ints, weights: Ints
) -> Ints:
    """⌈w_k·(−PnL_k)/10^4⌉ of the pairs, exact."""
    pnl = np.stack([s[account, scenario] for s in sums]).astype(np.int64)
    loss = limbs.sub(deduction[:, account], limbs.canonical(pnl))
    return limbs.ceil_div_small(limbs.mul_small(loss, weights[scenario]), _BPS)


def _best(value: Ints, account: Ints, scenario: Ints) -> Ints:
    """Of each account the pair with the largest value, the lowest scenario among equals."""
    single: Bools = np.ones(len(account), dtype=np.bool_)
    same = account[1:] == account[:-1]
    single[1:] &= ~same
    single[:-1] &= ~same
    rest = np.flatnonzero(~single)
    if not len(rest):
        return np.arange(len(account))
    wide = limbs.pad(value[:, rest], 5)
    keys = [-limb for limb in wide]  # low limb first: lexsort's last key is the primary one
    order = np.lexsort((scenario[rest], *keys, account[rest]))
    ranked = rest[order]
    first = np.ones(len(ranked), dtype=np.bool_)
    first[1:] = account[ranked[1:]] != account[ranked[:-1]]
    return np.sort(np.concatenate([np.flatnonzero(single), ranked[first]]))
