"""Measures `risk.quant.pnl_tiles` against the plain numpy way and against this machine's GEMM.

One run, one book, one number of threads for BLAS and for the tiles:

* *plain*: `matmul` in float64, the whole (N, K) matrix, then `np.quantile`: VaR only. *plain with
  ES* adds the mean of what is at or beyond VaR; the ratio is to the first, which is less work.
  Where the matrix and the copy that `np.quantile` makes do not fit into half of the free memory,
  it runs on the first accounts that do, and the report says on how many;
* *tiles*: `tails`, VaR and ES of all accounts, float32 and float64, with its checks and casts;
* *gemm tiles*: only the products of those tiles, float32: what no tail can be faster than;
* *gemm peak*: a square float32 product, the most that BLAS gets out of the machine.

Instruments: on each of four underlyings a perp and seven 30-day options, revalued in full
(Black-76) under 24-hour moves of generated prices. Accounts: about half of the instruments each,
lognormal sizes in currency. All tails of the plain accounts are compared with those of the float64
matrix.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from risk.quant import pnl_tiles
from risk.quant.errors import QuantError

Floats = NDArray[np.float64]
Tell = Callable[[str], None]
T = TypeVar("T")

UNDERLYINGS: Final = 4
EACH: Final = 8  # a perp and seven options
PERIOD: Final = 24  # hours
VOL_BETA: Final = 2.0  # a fall of 10 % raises volatility by 20 % of itself
VOL_NOISE: Final = 0.08
PEAK_SIDE: Final = 1536
FLOAT32_TILE: Final = 256
FLOAT64_TILE: Final = 128


@dataclass(frozen=True)
class Size:
    """What is measured. `plain_accounts` None: as many as fit."""

    accounts: int = 100_000
    scenarios: int = 1_000
    alpha: float = 0.975
    threads: int = 2
    seed: int = 1
    repeats: int = 5
    plain_accounts: int | None = None


@dataclass(frozen=True)
class Timing:
    """The fastest of its repeats, by the clock and of the processor."""

    what: str
    accounts: int
    seconds: float
    cpu_seconds: float

    @property
    def per_account(self) -> float:
        """Seconds by the clock."""
        return self.seconds / self.accounts


@dataclass(frozen=True)
class Measured:
    """`error_*`: largest |difference| of VaR and ES from the float64 matrix, in units of the
    account's gross (Σ|size|·max|change|); `bound_*` the proven bound in the same units.
    `outside` counts accounts beyond their bound: 0, or something is wrong.
    """

    size: Size
    instruments: int
    rows: dict[str, Timing]
    gflops: dict[str, float]
    error_float32: float
    bound_float32: float
    error_float64: float
    outside: int

    @property
    def ratio(self) -> float:
        """How many times as fast the float32 tiles are as the plain way, by the clock."""
        return self.rows["plain"].per_account / self.rows["tiles float32"].per_account

    @property
    def cpu_ratio(self) -> float:
        """The same by the processor's seconds, which other jobs disturb less."""
        plain, tiled = self.rows["plain"], self.rows["tiles float32"]
        return (plain.cpu_seconds / plain.accounts) / (tiled.cpu_seconds / tiled.accounts)

    @property
    def of_gemm(self) -> float:
        """Share of the time of the tiles that their products alone would take."""
        return self.rows["gemm tiles"].per_account / self.rows["tiles float32"].per_account


def instruments(scenarios: int, seed: int) -> Floats:
    """(32, K) change of the value of one currency unit of notional of each instrument."""
    from risk.quant.generate import generate
    from risk.quant.scenarios.book import make_book, value_changes

    rng = np.random.default_rng([seed, 1])
    table = generate(seed, 24 * 90 + PERIOD)
    every = table.log_returns(PERIOD)[:, :UNDERLYINGS]
    rows = rng.integers(0, len(every), scenarios)
    x = np.exp(every[rows]) - 1.0
    v = np.clip(-VOL_BETA * x + VOL_NOISE * rng.standard_normal(x.shape), -0.6, 3.0)
    implied = np.array([0.5, 0.65, 0.85, 0.9])
    return value_changes(make_book(implied, (30,)), x, v, aged=True)


def accounts(count: int, width: int, seed: int) -> Floats:
    """(N, M) sizes in currency: about half of the instruments, both signs, lognormal."""
    rng = np.random.default_rng([seed, 2])
    out = rng.lognormal(8.0, 1.5, (count, width))
    out *= rng.choice([-1.0, 0.0, 0.0, 1.0], (count, width))
    return out


def measure(size: Size, tell: Tell) -> Measured:
    """Everything of the module. `QuantError` for sizes that make no sense."""
    from threadpoolctl import threadpool_limits

    if min(size.accounts, size.scenarios, size.threads, size.repeats) < 1:
        raise QuantError("accounts, scenarios, threads and repeats must be at least 1")
    tell(f"drawing {size.accounts:,} accounts")
    changes = instruments(size.scenarios, size.seed)
    sizes = accounts(size.accounts, len(changes), size.seed)
    with threadpool_limits(size.threads, user_api="blas"):
        rows = {}
        tell("GEMM of this machine")
        peak = _peak(size)
        rows["gemm tiles"] = _gemm_tiles(sizes, changes, size)
        for name, dtype, tile in (
            ("tiles float32", np.float32, FLOAT32_TILE),
            ("tiles float64", np.float64, FLOAT64_TILE),
        ):
            tell(name)

            def run(dtype: Any = dtype, tile: int = tile) -> pnl_tiles.Tails:
                return pnl_tiles.tails(
                    sizes, changes, size.alpha, dtype=dtype, tile=tile, threads=size.threads
                )

            got, spent = _best(run, size.repeats)
            rows[name] = Timing("VaR and ES, " + name, size.accounts, *spent)
            if dtype is np.float32:
                single = got
            else:
                double = got
        count = _plain_accounts(size)
        tell(f"plain numpy on {count:,} accounts")
        part = sizes[:count]
        repeats = min(size.repeats, 2)
        (pnl, var), spent = _best(lambda: pnl_tiles.plain(part, changes, size.alpha), repeats)
        rows["plain"] = Timing("matmul and np.quantile, float64: VaR only", count, *spent)
        _, more = _best(lambda: _plain_es(pnl, var), 1)
        both = (spent[0] + more[0], spent[1] + more[1])
        rows["plain with ES"] = Timing("the same, and the mean of the tail", count, *both)
    flops = 2.0 * changes.size
    gflops = {"peak": peak} | {
        name: flops * row.accounts / row.seconds * 1e-9 for name, row in rows.items()
    }
    return Measured(
        size,
        len(changes),
        rows,
        gflops,
        *_compare(part, changes, pnl, single, double, size.alpha),
    )


def _plain_es(pnl: Floats, var: Floats) -> Floats:
    """Mean of the losses at or beyond `var`, masked."""
    tail = pnl <= -var[:, None]
    return np.asarray(-np.where(tail, pnl, 0.0).sum(axis=1) / tail.sum(axis=1))


def _compare(
    sizes: Floats,
    changes: Floats,
    pnl: Floats,
    single: pnl_tiles.Tails,
    double: pnl_tiles.Tails,
    alpha: float,
) -> tuple[float, float, float, int]:
    n, k = pnl.shape
    at = pnl_tiles.rank(k, alpha)
    pnl.partition(at - 1, axis=1)
    var = -pnl[:, at - 1]
    es = var + (-pnl[:, :at] - var[:, None]).sum(axis=1) / (k * (1.0 - alpha))
    gross = np.maximum(np.abs(sizes) @ np.abs(changes).max(axis=1), 1e-300)
    # the float64 matrix has rounding errors of its own
    own = pnl_tiles.error_bound(sizes, changes, alpha, np.float64)

    def distance(got: pnl_tiles.Tails) -> Floats:
        return np.asarray(np.maximum(np.abs(got.var[:n] - var), np.abs(got.es[:n] - es)))

    bound = pnl_tiles.error_bound(sizes, changes, alpha, np.float32)
    outside = (distance(single) > bound + own) | (distance(double) > 2.0 * own)
    return (
        float((distance(single) / gross).max()),
        float((bound / gross).max()),
        float((distance(double) / gross).max()),
        int(outside.sum()),
    )


def _gemm_tiles(sizes: Floats, changes: Floats, size: Size) -> Timing:
    """The products of the float32 tiles alone, split over the threads as `tails` splits them."""
    from threadpoolctl import threadpool_limits

    left, right = sizes.astype(np.float32), changes.astype(np.float32)
    n, share = len(left), -(-len(left) // size.threads)

    def work(worker: int) -> None:
        buffer = np.empty((min(FLOAT32_TILE, n), right.shape[1]), dtype=np.float32)
        for first in range(worker * share, min(n, (worker + 1) * share), FLOAT32_TILE):
            last = min(n, (worker + 1) * share, first + FLOAT32_TILE)
            np.matmul(left[first:last], right, out=buffer[: last - first])

    def run() -> None:
        with ThreadPoolExecutor(size.threads) as pool:
            for done in [pool.submit(work, i) for i in range(size.threads)]:
                done.result()

    with threadpool_limits(1, user_api="blas"):
        _, spent = _best(run, size.repeats)
    return Timing("the products of the float32 tiles alone", n, *spent)


def _peak(size: Size) -> float:
    """GFLOP/s of a square float32 product on the same number of threads."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((PEAK_SIDE, PEAK_SIDE), dtype=np.float32)
    out = np.empty_like(a)
    _, (seconds, _) = _best(lambda: np.matmul(a, a, out=out), size.repeats)
    return 2.0 * PEAK_SIDE**3 / seconds * 1e-9


def _plain_accounts(size: Size) -> int:
    if size.plain_accounts is not None:
        return min(size.accounts, size.plain_accounts)
    fit = int(free_memory() // 2 // (2 * 8 * size.scenarios))
    return max(1, min(size.accounts, fit))


def free_memory() -> int:
    """Bytes that can be had without swapping; where the system does not say, 2 GiB."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 2**31


def _best(body: Callable[[], T], repeats: int) -> tuple[T, tuple[float, float]]:
    """(what the last call returned, the least seconds by the clock and of the processor)."""
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        started, cpu = perf_counter(), process_time()
        result = body()
        seconds.append(perf_counter() - started)
        cpu_seconds.append(process_time() - cpu)
    return result, (min(seconds), min(cpu_seconds))
