"""Liquidation of one collateral against one debt of a borrower, and covering what it leaves unpaid.

Source: LiquidationLogic of @aave-dao/aave-v3-origin 3.6.0; close factor and dust rules are those of
v3.3. Values are in base currency with 8 decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from risk.targets.aave.math import (
    WAD,
    add,
    cast,
    mul,
    mul_div_ceil,
    percent_div,
    percent_div_ceil,
    percent_mul,
    ray_div_ceil,
    ray_div_floor,
    sub,
)
from risk.targets.aave.reserve import Cache, Reserve, debt_balance, require, supply_balance
from risk.targets.aave.user import HEALTHY, Account

if TYPE_CHECKING:
    from risk.targets.aave.pool import Pool

CLOSE_FACTOR = 5_000  # bps of the whole debt that a position near health may lose
FULL_CLOSE_HEALTH = 95 * WAD // 100  # at this health factor or below everything may be repaid
FULL_CLOSE_VALUE = 2_000 * 10**8  # likewise where debt or collateral is worth less than this
MIN_LEFTOVER = FULL_CLOSE_VALUE // 2
TREASURY = "treasury"


@dataclass(frozen=True)
class Seizure:
    """What a liquidation takes: amounts in the assets' units, the value in base currency."""

    collateral: int  # to the liquidator, without the fee
    debt: int  # paid by the liquidator
    fee: int  # collateral to the treasury
    value: int  # of collateral and fee


def max_repay(
    sums: Account, debt: int, collateral: int, prices: tuple[int, int], units: tuple[int, int]
) -> int:
    """Largest debt that may be repaid, in the debt's units, down. ``prices`` and ``units`` are
    (collateral's, debt's).
    """
    debt_value = mul_div_ceil(debt, prices[1], units[1])
    collateral_value = mul(collateral, prices[0]) // units[0]
    if (
        collateral_value >= FULL_CLOSE_VALUE
        and debt_value >= FULL_CLOSE_VALUE
        and sums.health > FULL_CLOSE_HEALTH
    ):
        closable = percent_mul(sums.debt, CLOSE_FACTOR)
        if debt_value > closable:
            return mul(closable, units[1]) // prices[1]
    return debt


def seize(
    repay: int,
    balance: int,
    prices: tuple[int, int],
    units: tuple[int, int],
    bonus: int,
    protocol_fee: int,
) -> Seizure:
    """Collateral for a repayment, bounded by the borrower's balance (which lowers the repayment,
    up). The fee is a share of the bonus.
    """
    base = mul(mul(prices[1], repay), units[0]) // mul(prices[0], units[1])
    amount = percent_mul(base, bonus)
    if amount > balance:
        amount = balance
        worth = mul(mul(prices[0], amount), units[1]) // mul(prices[1], units[0])
        repay = percent_div_ceil(worth, bonus)
    value = mul(amount, prices[0]) // units[0]
    fee = 0
    if protocol_fee != 0:
        fee = percent_mul(sub(amount, percent_div(amount, bonus)), protocol_fee)
    return Seizure(sub(amount, fee), repay, fee, value)


def check_dust(
    taken: Seizure, debt: int, balance: int, prices: tuple[int, int], units: tuple[int, int]
) -> None:
    """Either all debt goes, or all collateral, or enough of both stays."""
    if taken.debt >= debt or add(taken.collateral, taken.fee) >= balance:
        return
    left = mul_div_ceil(debt - taken.debt, prices[1], units[1])
    kept = mul(balance - taken.collateral - taken.fee, prices[0]) // units[0]
    require(left >= MIN_LEFTOVER and kept >= MIN_LEFTOVER, "MustNotLeaveDust")


def validate(
    pool: Pool, sums: Account, debt: int, who: tuple[str, str], pair: tuple[Reserve, Reserve]
) -> None:
    """Order of the contract's checks; ``who`` is (liquidator, borrower), ``pair`` (collateral,
    debt).
    """
    require(who[0] != who[1], "SelfLiquidation")
    collateral, owed = pair
    require(collateral.config.active and owed.config.active, "ReserveInactive")
    require(not (collateral.config.paused or owed.config.paused), "ReservePaused")
    require(
        collateral.grace_until < pool.now and owed.grace_until < pool.now,
        "LiquidationGraceSentinelCheckFailed",
    )
    require(sums.health < HEALTHY, "HealthFactorNotBelowThreshold")
    require(pool.uses(who[1], collateral), "CollateralCannotBeLiquidated")
    require(debt != 0, "SpecifiedCurrencyNotBorrowedByUser")


def liquidate(
    pool: Pool,
    liquidator: str,
    collateral: Reserve,
    owed: Reserve,
    borrower: str,
    cover: int,
    receive_a: bool,
) -> None:
    """The whole call (executeLiquidationCall). Raises ``Refused``."""
    now = pool.now
    debt_cache, collateral_cache = owed.cache(), collateral.cache()
    owed.update(debt_cache, now)
    collateral.update(collateral_cache, now)
    sums = pool.account(borrower)
    index = collateral_cache.next_liquidity_index
    balance = supply_balance(collateral.a.of(borrower), index)
    debt = debt_balance(owed.d.of(borrower), debt_cache.next_borrow_index)
    validate(pool, sums, debt, (liquidator, borrower), (collateral, owed))

    prices = (pool.price(collateral.asset), pool.price(owed.asset))
    units = (collateral.config.unit, owed.config.unit)
    repay = min(cover, max_repay(sums, debt, balance, prices, units))
    config = collateral.config
    taken = seize(repay, balance, prices, units, config.bonus, config.protocol_fee)
    check_dust(taken, debt, balance, prices, units)
    if taken.collateral + taken.fee == balance:
        pool.set_uses(borrower, collateral, False)

    nothing_left = sums.collateral == taken.value
    burn_debt(pool, owed, debt_cache, borrower, debt, taken.debt, nothing_left)
    if receive_a:
        scaled = ray_div_ceil(taken.collateral, index)
        collateral.a.move(borrower, liquidator, scaled, index)
    else:
        if collateral is owed:
            collateral_cache.next_scaled_debt = debt_cache.next_scaled_debt
        collateral.update_rates(collateral_cache, 0, taken.collateral)
        collateral.a.burn(borrower, ray_div_ceil(taken.collateral, index), index)
        collateral.pay_out(liquidator, taken.collateral)
    if taken.fee != 0:
        scaled = min(ray_div_ceil(taken.fee, index), collateral.a.of(borrower))
        collateral.a.move(borrower, TREASURY, scaled, index)
    if nothing_left:
        burn_bad_debt(pool, borrower)
    owed.pay_in(liquidator, taken.debt)


def burn_debt(
    pool: Pool,
    owed: Reserve,
    cache: Cache,
    borrower: str,
    debt: int,
    repaid: int,
    nothing_left: bool,
) -> None:
    """Burn what is repaid, or all of it where no collateral is left: the rest becomes deficit."""
    no_more = True
    if debt != 0:
        index = cache.next_borrow_index
        no_more = owed.d.burn(
            borrower, ray_div_floor(debt if nothing_left else repaid, index), index
        )
        cache.next_scaled_debt = owed.d.total
    outstanding = sub(debt, repaid)
    if nothing_left and outstanding != 0:
        owed.deficit = add(owed.deficit, cast(outstanding, 128), 128)
    if no_more:
        pool.set_borrows(borrower, owed, False)
    owed.update_rates(cache, repaid, 0)


def burn_bad_debt(pool: Pool, borrower: str) -> None:
    """All debt of a borrower without collateral, in the order of the reserves' ids."""
    for reserve in pool.reserves.values():
        if pool.borrows(borrower, reserve) and reserve.config.active:
            cache = reserve.cache()
            reserve.update(cache, pool.now)
            debt = debt_balance(reserve.d.of(borrower), cache.next_borrow_index)
            burn_debt(pool, reserve, cache, borrower, debt, 0, True)


def eliminate_deficit(pool: Pool, who: str, reserve: Reserve, amount: int) -> int:
    """Burn aTokens of the coverage role against a deficit; the amount covered."""
    require(amount != 0, "InvalidAmount")
    require(reserve.deficit != 0, "ReserveNotInDeficit")
    require(not pool.borrows_any(who), "UserCannotHaveDebt")
    cache = reserve.cache()
    reserve.update(cache, pool.now)
    require(reserve.config.active, "ReserveInactive")
    covered = min(amount, reserve.deficit)
    scaled = ray_div_ceil(covered, cache.next_liquidity_index)
    have = reserve.a.of(who)
    require(scaled <= have, "NotEnoughAvailableUserBalance")
    if pool.uses(who, reserve) and scaled == have:
        pool.set_uses(who, reserve, False)
    reserve.a.burn(who, scaled, cache.next_liquidity_index)
    reserve.deficit -= covered
    reserve.update_rates(cache, 0, 0)
    return covered
