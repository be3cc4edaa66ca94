"""VaR and ES of very many portfolios under very many scenarios, without the matrix of their P&L.

P&L = sizes (N, M) · changes (M, K). For 100 000 portfolios and 1 000 scenarios the product holds
10⁸ numbers; only two a portfolio are wanted. Here a tile of `TILE` portfolios is multiplied into a
buffer that stays in the second-level cache, its tail is partitioned to the front in place, two
numbers a row are kept and the buffer is used again. Threads share the tiles: BLAS and the
partition both release the interpreter's lock, and BLAS itself is held to one thread.

VaR and ES are those of `risk.quant.var.sample_tails`: of K equally weighted losses, VaR the
⌈K·(1 − alpha)⌉-th worst, ES the Rockafellar-Uryasev tail mean.

**Precision.** In float32 (u = 2^-24) sizes and changes are rounded once each and M products are
summed in some order, so |computed − real| ≤ ((1 + u)²·(1 + γ_M) − 1)·Σ|size|·|change|, with
γ_M = M·u/(1 − M·u) (Higham, *Accuracy and Stability of Numerical Algorithms*, §3.1). An order
statistic moves no further than the largest error of its sample, and so does a mean of the worst;
the sum over the tail of r losses adds γ_(r+2) of itself. `error_bound` gives that in money.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from risk.quant.errors import QuantError
from risk.quant.var import WEIGHT_TOLERANCE, check_alpha

Floats = NDArray[np.float64]

TILE: Final = 128  # rows; 128 × 1 000 float32 is 512 KB, a quarter of a usual second-level cache


@dataclass(frozen=True, eq=False)
class Tails:
    """(N,) VaR and ES of each portfolio; losses positive, in the units of the P&L."""

    alpha: float
    var: Floats
    es: Floats


def rank(scenarios: int, alpha: float) -> int:
    """Which of K equally weighted losses, counted from the worst, is VaR."""
    check_alpha(alpha)
    wanted = int(np.ceil(scenarios * (1.0 - alpha) - scenarios * WEIGHT_TOLERANCE))
    return min(max(wanted, 1), scenarios)


def tails(
    sizes: NDArray[Any],
    changes: NDArray[Any],
    alpha: float,
    *,
    dtype: type[np.floating[Any]] = np.float32,
    tile: int = TILE,
    threads: int = 1,
) -> Tails:
    """VaR and ES of portfolios `sizes` (N, M) whose instruments change by `changes` (M, K).

    `dtype` float32 or float64 is that of the product and the partition. `QuantError` where shapes
    do not match, an entry is not finite, or a P&L could leave the range of `dtype`.
    """
    portfolios, moves = _checked(sizes, changes, dtype)
    if tile < 1 or threads < 1:
        raise QuantError(f"tile = {tile} and threads = {threads} must be at least 1")
    n, k = len(portfolios), moves.shape[1]
    at = rank(k, alpha)
    var: Floats = np.empty(n)
    es: Floats = np.empty(n)
    starts = iter(range(0, n, tile))
    lock = threading.Lock()

    def work() -> None:
        buffer = np.empty((min(tile, max(n, 1)), k), dtype=dtype)
        ones = np.ones(at, dtype=dtype)
        while True:
            with lock:
                first = next(starts, None)
            if first is None:
                return
            rows = slice(first, min(n, first + tile))
            block = buffer[: rows.stop - first]
            np.matmul(portfolios[rows], moves, out=block)
            block.partition(at - 1, axis=1)  # the `at` lowest P&L to the front, VaR last of them
            worst = block[:, at - 1]
            var[rows] = worst
            es[rows] = block[:, :at] @ ones

    with _one_blas_thread():
        if threads == 1:
            work()
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(work) for _ in range(threads)]:
                    done.result()
    # Σ of the worst losses above VaR, over K·(1 − alpha): exact where that is not whole, too
    var = -var
    es = var + (-es - at * var) / (k * (1.0 - alpha))
    return Tails(alpha, var, np.maximum(es, var))


def error_bound(
    sizes: NDArray[Any], changes: NDArray[Any], alpha: float, dtype: type[np.floating[Any]]
) -> Floats:
    """(N,) proven bound of |VaR − real| and |ES − real| of `tails`, see the module."""
    u = float(np.finfo(dtype).eps) / 2.0
    m, k = changes.shape
    at = rank(k, alpha)
    product = (1.0 + u) ** 2 * (1.0 + _gamma(m, u)) - 1.0
    gross = np.abs(np.asarray(sizes, dtype=np.float64)) @ np.abs(changes).max(axis=1)
    # the tail sum is of numbers below `gross`, and is divided by K·(1 − alpha) ≤ `at`
    amplify = at / (k * (1.0 - alpha))
    return np.asarray(gross * (product * (1.0 + 2.0 * amplify) + 2.0 * amplify * _gamma(at + 2, u)))


def plain(sizes: NDArray[Any], changes: NDArray[Any], alpha: float) -> tuple[Floats, Floats]:
    """(P&L (N, K), VaR (N,)) the way one writes it first: `matmul`, then `np.quantile`."""
    pnl = np.matmul(sizes, changes)
    return pnl, -np.quantile(pnl, 1.0 - alpha, axis=1)


def _gamma(n: int, u: float) -> float:
    return n * u / (1.0 - n * u)


def _checked(
    sizes: NDArray[Any], changes: NDArray[Any], dtype: type[np.floating[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    if dtype not in (np.float32, np.float64):
        raise QuantError(f"dtype {dtype} is neither float32 nor float64")
    if sizes.ndim != 2 or changes.ndim != 2 or sizes.shape[1] != changes.shape[0]:
        raise QuantError(
            f"sizes {sizes.shape} and changes {changes.shape} do not match: (N, M) and (M, K)"
        )
    if changes.shape[1] == 0:
        raise QuantError("there are no scenarios")
    for name, array in (("sizes", sizes), ("changes", changes)):
        if array.size and not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise QuantError(f"{name}[{row}, {column}] is not finite")
    if dtype is np.float32 and sizes.size and changes.size:
        largest = float(np.abs(sizes).max()) * float(np.abs(changes).max()) * sizes.shape[1]
        if largest * changes.shape[1] > float(np.finfo(np.float32).max):
            raise QuantError(f"P&L up to {largest:.3g} may leave float32; use float64")
    return (
        np.ascontiguousarray(sizes, dtype=dtype),
        np.ascontiguousarray(changes, dtype=dtype),
    )


def _one_blas_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
