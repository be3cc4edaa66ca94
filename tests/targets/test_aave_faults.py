"""The comparison with Aave can fail: each fault planted in the model is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from risk.diff.coverage import Tally
from risk.diff.kit.revm import RevmEngine
from risk.diff.kit.target import AdapterTarget
from risk.diff.runner import Plan, run_sequence
from risk.targets.aave import liquidation, pool, reserve, tokens, user
from risk.targets.aave import target as aave
from risk.targets.aave.math import (
    PERCENT,
    RAY,
    WAD,
    YEAR_SECONDS,
    percent_div,
    ray_div_floor,
    ray_mul,
    ray_mul_floor,
)
from risk.targets.aave.reserve import Cache, Rates, Reserve

PLAN = Plan(seed=3, actions=60)
LIMIT = 25  # sequences


@dataclass(frozen=True)
class Fault:
    """What replaces which attribute, and the sequence of ``PLAN`` to look at first."""

    name: str
    where: Any
    attribute: str
    instead: Any
    first: int = 0


def floor_percent(value: int, percentage: int) -> int:
    return value * percentage // PERCENT


def floor_mul_div(a: int, b: int, c: int) -> int:
    return a * b // c


def floor_percent_div(value: int, percentage: int) -> int:
    return value * PERCENT // percentage


def two_terms(rate: int, since: int, now: int) -> int:
    x = rate * (now - since) // YEAR_SECONDS
    return RAY + x + ray_mul(x, x // 2)


def update_once(self: Reserve, cache: Cache, now: int) -> None:
    """Asks the reserve, as earlier versions did: the second of two caches accrues nothing."""
    if self.updated == now and cache.updated != now:
        stale = replace(cache, factor=0)
        _update(self, stale, now)
        cache.next_liquidity_index = stale.next_liquidity_index
        cache.next_borrow_index = stale.next_borrow_index
        cache.updated = now
        return
    _update(self, cache, now)


def without_deficit(
    self: Rates, debt: int, available: int, deficit: int, factor: int, added: int, taken: int
) -> tuple[int, int]:
    del deficit
    return _rates(self, debt, available, 0, factor, added, taken)


def donated(self: Any, sender: str, asset: str, amount: int) -> tuple[int, ...]:
    self.reserves[asset].virtual += amount
    return _donate(self, sender, asset, amount)


def bad_debt_kept(_pool: Any, _borrower: str) -> None:
    """Only the debt that was liquidated is written off."""


_update, _rates, _donate = Reserve.update, Rates.at, pool.Pool.donate

FAULTS = (
    Fault("debt rounded down", reserve, "ray_mul_ceil", ray_mul_floor),
    Fault("aTokens burned rounded down", pool, "ray_div_ceil", ray_div_floor),
    Fault("treasury share rounded down", reserve, "percent_mul", floor_percent, 1),
    Fault("third-order interest left out", reserve, "compound_interest", two_terms),
    Fault("close factor one basis point more", liquidation, "CLOSE_FACTOR", 5_001, 5),
    Fault("full close a percent lower", liquidation, "FULL_CLOSE_HEALTH", 94 * WAD // 100, 8),
    Fault("dust rule forgotten", liquidation, "check_dust", lambda *_: None, 5),
    Fault("repayment for all collateral half up", liquidation, "percent_div_ceil", percent_div, 5),
    Fault("debt value rounded down", user, "mul_div_ceil", floor_mul_div),
    Fault("bonus part rounded up", liquidation, "percent_div", floor_percent_div, 6),
    Fault("zero LTV forgotten", pool, "check_ltv_zero", lambda sums, _: user.check_healthy(sums)),
    Fault("second accrual skipped", Reserve, "update", update_once, 1),
    Fault("deficit left out of the rate", Rates, "at", without_deficit),
    Fault("donation counted", pool.Pool, "donate", donated),
    Fault("other bad debt kept", liquidation, "burn_bad_debt", bad_debt_kept, 21),
    Fault("supply of a debt token down", tokens, "ray_mul_ceil", ray_mul_floor),
)


@pytest.fixture(scope="module")
def revm() -> Iterator[AdapterTarget]:
    opened = aave(RevmEngine())
    opened.open()
    yield opened
    opened.close()


def found_in(target: AdapterTarget, indices: range) -> int | None:
    """The first sequence that disagrees."""
    for index in indices:
        if not run_sequence(target, PLAN, index, Tally()):
            return index
    return None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault_is_found(revm: AdapterTarget, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fault.where, fault.attribute, fault.instead)
        found = found_in(revm, range(fault.first, fault.first + 1))
        if found is None:
            found = found_in(revm, range(LIMIT))
    assert found is not None, f"{fault.name} was not found in {LIMIT} sequences"
    # the model without the fault agrees on the same sequence
    assert found_in(revm, range(found, found + 1)) is None
