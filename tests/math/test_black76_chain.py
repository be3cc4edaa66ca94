"""Black76: Solidity = Python bit for bit, and the gas of the kernel."""

from __future__ import annotations

import random
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from risk.exact.math import black76 as b76
from risk.exact.math.svi import SviParams
from tests.math.reference import WAD, black76_grid, black76_random

if TYPE_CHECKING:
    from tests.math.conftest import Harness

pytestmark = pytest.mark.chain

MAX = b76.MAX_PRICE
KERNEL_GAS = 750  # per evaluation in a loop, internal call included; the hard limit was 1 150
LOGS = 2**128 - 1
PRICES = 2**170 - 1
EDGE_PRICES = [0, 1, 2, WAD, MAX, PRICES - 1, PRICES]
EDGE_LOGS = [0, 1, -1, WAD, -WAD, 7 * WAD, -41 * WAD, LOGS, -LOGS]
EDGE_DEVIATIONS = [0, 1, 2, 3, 10**6, 10**12, WAD // 5, WAD, 10 * WAD, 38 * WAD, 2**120, LOGS]


def kernel_cases() -> list[tuple[int, int, int, int]]:
    """(log, F, K, s): edges, consistent points, and points where the logarithm is anything."""
    rng = random.Random(51)
    cases = [
        (log, f, k, s)
        for log in EDGE_LOGS
        for f in EDGE_PRICES
        for k in EDGE_PRICES
        for s in EDGE_DEVIATIONS
    ]
    for f, k, s in chain(black76_grid(31, 31), black76_random(3000, 52)):
        log = b76.log_moneyness(f, k)
        cases.append((log, f, k, s))
        # a = 0, ±1 and where the power of two or the cut changes: ln = s²/2 + a·s
        for a in (0, 1, -1, rng.uniform(-20, 20)):
            log = s * s // (2 * WAD) + int(a * s) + rng.randint(-1, 1)
            cases.append((rng.choice([1, -1]) * log, f, k, s))
    for _ in range(3000):
        log = rng.randint(-LOGS, LOGS) >> rng.randint(0, 128)
        f, k = (rng.getrandbits(rng.randint(1, 170)) for _ in range(2))
        cases.append((log, f, k, rng.getrandbits(rng.randint(1, 128))))
    return cases


def test_kernel(harness: Harness) -> None:
    count, reverts = harness.compare("callFromLog", b76.call_from_log, kernel_cases())
    assert count > 25_000 and reverts == 0


def test_delta(harness: Harness) -> None:
    cases = [(log, s) for log, _, _, s in kernel_cases()[::5]]
    count, reverts = harness.compare("deltaFromLog", b76.delta_from_log, cases)
    assert count > 5_000 and reverts == 0


def test_prices(harness: Harness) -> None:
    prices = [0, 1, 2, WAD, MAX - 1, MAX, MAX + 1, 2**256 - 1]
    deviations = [0, 1, WAD, 100 * WAD, 100 * WAD + 1, 2**256 - 1]
    cases = [(f, k, s) for f in prices for k in prices for s in deviations]
    cases += [*black76_grid(21, 21), *black76_random(2000, 53)]
    for name, twin in (("price", b76.price), ("priceAndDelta", b76.price_and_delta)):
        count, reverts = harness.compare(name, twin, cases)
        assert count > 2500 and 200 < reverts < 400
    pairs = [(f, k) for f, k, _ in cases]
    harness.compare("logMoneyness", b76.log_moneyness, pairs)


@pytest.mark.parametrize("moneyness", [0.01, 0.7, 0.97, 1.0, 1.03, 1.4, 100])
@pytest.mark.parametrize("deviation", [0, 0.0001, 0.05, 0.3, 2])
def test_kernel_gas(harness: Harness, moneyness: float, deviation: float) -> None:
    """The same on every path: there are no branches."""
    forward, strike = 2500 * WAD, int(2500 * moneyness * 10**6) * 10**12
    log = b76.log_moneyness(forward, strike)
    n = 64
    used, empty, _ = harness.call(
        "gasCallFromLog", log, forward, strike, int(deviation * 10**6) * 10**12, n
    )
    print(f"kernel: {(used - empty) / n:.0f} gas")
    assert used - empty <= KERNEL_GAS * n


def test_gas_of_the_others(harness: Harness) -> None:
    params = SviParams(WAD // 50, WAD // 10, -2 * WAD // 5, WAD // 100, WAD // 5)
    (used,) = harness.call("gasOnce", 2500 * WAD, 2600 * WAD, WAD // 4, params)
    names = ("price", "priceAndDelta", "cdf", "lnWad", "expWad", "Svi.stdDev", "Svi.validate")
    limits = (2400, 3100, 600, 650, 550, 1400, 1350)
    print(dict(zip(names, used, strict=True)))
    for name, gas, limit in zip(names, used, limits, strict=True):
        assert gas <= limit, f"{name}: {gas} gas"
