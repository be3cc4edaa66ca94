"""What a user's position is worth: the sums behind health factor and borrowing power.

Source: GenericLogic, UserConfiguration and the health checks of ValidationLogic of
@aave-dao/aave-v3-origin 3.6.0. Values are in the oracle's base currency, 8 decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from risk.diff.kit.adapter import Refused
from risk.targets.aave.math import (
    MAX,
    PERCENT,
    WAD,
    add,
    mul,
    mul_div_ceil,
    percent_div_ceil,
    percent_mul_floor,
    wad_div,
)
from risk.targets.aave.reserve import Reserve, debt_balance, require, supply_balance

HEALTHY = WAD  # health factor from which a position cannot be liquidated
BORROWING = int("01" * 128, 2)  # bit 2·id of a user's bitmap
COLLATERAL = BORROWING << 1  # bit 2·id + 1


@dataclass(frozen=True)
class Account:
    """Sums over a user's flagged reserves; ltv and threshold are value-weighted means, down."""

    collateral: int
    debt: int
    ltv: int
    threshold: int
    health: int  # wad; MAX without debt
    zero_ltv: bool  # some collateral has an LTV of 0

    def words(self) -> tuple[int, ...]:
        """As getUserAccountData returns them."""
        power = percent_mul_floor(self.collateral, self.ltv)
        available = power - self.debt if power > self.debt else 0
        return (
            self.collateral,
            self.debt,
            available,
            self.threshold,
            self.ltv,
            self.health,
        )


def price_of(prices: Mapping[str, int], asset: str) -> int:
    """Price of one whole in base currency. The oracle has no fallback: without a positive answer
    the call ends in an address without code, which reverts without data.
    """
    price = prices[asset]
    if price <= 0:
        raise Refused()
    return price


def account(
    reserves: Mapping[str, Reserve], prices: Mapping[str, int], flags: int, user: str, now: int
) -> Account:
    """The user's sums at ``now``: collateral rounded down, debt up, health factor half up and then
    down. Raises ``Refused`` where a price is missing or a value overflows.
    """
    if flags == 0:
        return Account(0, 0, 0, 0, MAX, False)
    collateral = debt = weighted_ltv = weighted_threshold = 0
    zero_ltv = False
    for reserve in reserves.values():
        borrowed, used = flags >> 2 * reserve.id & 1, flags >> 2 * reserve.id + 1 & 1
        if not (borrowed or used):
            continue
        config = reserve.config
        price = price_of(prices, reserve.asset)
        if used:
            balance = supply_balance(reserve.a.of(user), reserve.income(now))
            value = mul(balance, price) // config.unit
            collateral = add(collateral, value)
            if config.ltv == 0:
                zero_ltv = True
            else:
                weighted_ltv = add(weighted_ltv, mul(value, config.ltv))
            weighted_threshold = add(weighted_threshold, mul(value, config.threshold))
        if borrowed:
            owed = debt_balance(reserve.d.of(user), reserve.debt_index(now))
            debt = add(debt, mul_div_ceil(owed, price, config.unit))
    health = MAX if debt == 0 else wad_div(weighted_threshold, debt) // PERCENT
    return Account(
        collateral,
        debt,
        weighted_ltv // collateral if collateral else 0,
        weighted_threshold // collateral if collateral else 0,
        health,
        zero_ltv,
    )


def check_healthy(sums: Account) -> None:
    """After anything that takes collateral away from a borrower."""
    require(sums.health >= HEALTHY, "HealthFactorLowerThanLiquidationThreshold")


def check_ltv_zero(sums: Account, reserve: Reserve) -> None:
    """Healthy, and collateral with an LTV of 0 leaves first."""
    check_healthy(sums)
    require(not sums.zero_ltv or reserve.config.ltv == 0, "LtvValidationFailed")


def check_borrow(sums: Account) -> None:
    """After a borrow: below the mean LTV, not only below the threshold."""
    require(sums.ltv != 0, "LtvValidationFailed")
    check_healthy(sums)
    require(
        sums.collateral >= percent_div_ceil(sums.debt, sums.ltv), "CollateralCannotCoverNewBorrow"
    )
