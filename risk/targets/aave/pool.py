"""The pool: what users do. Methods are named like the contract's functions.

Source: Pool, SupplyLogic, BorrowLogic, PoolLogic, ValidationLogic of @aave-dao/aave-v3-origin
3.6.0. Users and assets are names. A method that refuses leaves a half-changed pool: the caller
works on a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from risk.diff.kit.adapter import Refused
from risk.diff.kit.chain import role_address
from risk.targets.aave.liquidation import TREASURY, eliminate_deficit, liquidate
from risk.targets.aave.math import MAX, add, cast, ray_div_ceil, ray_div_floor
from risk.targets.aave.reserve import Cache, Reserve, debt_balance, require, supply_balance
from risk.targets.aave.user import (
    BORROWING,
    Account,
    account,
    check_borrow,
    check_healthy,
    check_ltv_zero,
    price_of,
)

VARIABLE = 2  # the only interest rate mode left
PANIC_ENUM = 0x21
COVERAGE = "umbrella"  # the role that may cover deficits


@dataclass
class Clock:
    """Block time in seconds. Copies of a pool share it: time passes in refused actions too."""

    now: int


@dataclass
class Pool:
    """State of the market."""

    clock: Clock
    reserves: dict[str, Reserve]  # in the order of their ids
    prices: dict[str, int]  # answers of the feeds, base currency with 8 decimals
    flags: dict[str, int] = field(default_factory=dict)  # user configuration bitmaps

    @property
    def now(self) -> int:
        """Block time."""
        return self.clock.now

    def __deepcopy__(self, _memo: dict[int, Any]) -> Pool:
        return type(self)(
            self.clock,
            {asset: reserve.copy() for asset, reserve in self.reserves.items()},
            dict(self.prices),
            dict(self.flags),
        )

    # ── lookups ──────────────────────────────────────────────────────────────────────────────────

    def known(self, asset: str) -> Reserve:
        """A listed reserve; for others the contract asks address 0 and reverts without data."""
        if asset not in self.reserves:
            raise Refused()
        return self.reserves[asset]

    def price(self, asset: str) -> int:
        """Oracle price. Raises ``Refused``."""
        return price_of(self.prices, asset)

    def account(self, user: str) -> Account:
        """The user's sums now."""
        return account(self.reserves, self.prices, self.flags.get(user, 0), user, self.now)

    def borrows(self, user: str, reserve: Reserve) -> bool:
        """The borrowing flag."""
        return bool(self.flags.get(user, 0) >> 2 * reserve.id & 1)

    def uses(self, user: str, reserve: Reserve) -> bool:
        """The collateral flag."""
        return bool(self.flags.get(user, 0) >> 2 * reserve.id + 1 & 1)

    def borrows_any(self, user: str) -> bool:
        """Any borrowing flag."""
        return bool(self.flags.get(user, 0) & BORROWING)

    def set_borrows(self, user: str, reserve: Reserve, on: bool) -> None:
        """Set or clear the borrowing flag."""
        self._flag(user, 2 * reserve.id, on)

    def set_uses(self, user: str, reserve: Reserve, on: bool) -> None:
        """Set or clear the collateral flag."""
        self._flag(user, 2 * reserve.id + 1, on)

    def _flag(self, user: str, bit: int, on: bool) -> None:
        flags = self.flags.get(user, 0)
        self.flags[user] = flags | 1 << bit if on else flags & ~(1 << bit)

    def _updated(self, reserve: Reserve) -> Cache:
        cache = reserve.cache()
        reserve.update(cache, self.now)
        return cache

    # ── supply side ──────────────────────────────────────────────────────────────────────────────

    def supply(self, sender: str, asset: str, amount: int, holder: str) -> tuple[int, ...]:
        """Deposit; the first deposit of an asset with an LTV becomes collateral."""
        reserve = self.known(asset)
        cache = self._updated(reserve)
        scaled = ray_div_floor(amount, cache.next_liquidity_index)
        self._validate_supply(reserve, cache, scaled, holder)
        reserve.update_rates(cache, amount, 0)
        reserve.pay_in(sender, amount)
        first = reserve.a.mint(holder, scaled, cache.next_liquidity_index)
        if first and reserve.config.ltv != 0:
            self.set_uses(holder, reserve, True)
        return ()

    def _validate_supply(self, reserve: Reserve, cache: Cache, scaled: int, holder: str) -> None:
        require(scaled != 0, "InvalidAmount")
        config = reserve.config
        require(config.active, "ReserveInactive")
        require(not config.paused, "ReservePaused")
        require(not config.frozen, "ReserveFrozen")
        require(holder != reserve.vault, "SupplyToAToken")
        if config.supply_cap:
            total = add(add(reserve.a.total, scaled), reserve.accrued)
            supplied = supply_balance(total, cache.next_liquidity_index)
            require(supplied <= config.supply_cap * config.unit, "SupplyCapExceeded")

    def withdraw(self, sender: str, asset: str, amount: int, to: str) -> tuple[int, ...]:
        """Take a deposit out; MAX takes all. The amount."""
        reserve = self.known(asset)
        cache = reserve.cache()
        require(to != reserve.vault, "WithdrawToAToken")
        reserve.update(cache, self.now)
        have = reserve.a.of(sender)
        index = cache.next_liquidity_index
        if amount == MAX:
            scaled, amount = have, supply_balance(have, index)
        else:
            scaled = ray_div_ceil(amount, index)
        require(scaled != 0, "InvalidAmount")
        require(scaled <= have, "NotEnoughAvailableUserBalance")
        require(reserve.config.active, "ReserveInactive")
        require(not reserve.config.paused, "ReservePaused")
        reserve.update_rates(cache, 0, amount)
        none_left = reserve.a.burn(sender, scaled, index)
        reserve.pay_out(to, amount)
        if self.uses(sender, reserve):
            if none_left:
                self.set_uses(sender, reserve, False)
            if self.borrows_any(sender):
                check_ltv_zero(self.account(sender), reserve)
        return (amount,)

    def setUserUseReserveAsCollateral(self, sender: str, asset: str, use: int) -> tuple[int, ...]:
        """Switch a deposit's use as collateral."""
        require(asset in self.reserves, "ReserveInactive")
        reserve = self.reserves[asset]
        require(reserve.config.active, "ReserveInactive")
        require(not reserve.config.paused, "ReservePaused")
        if bool(use) == self.uses(sender, reserve):
            return ()
        if use:
            require(reserve.a.of(sender) != 0, "UnderlyingBalanceZero")
            require(reserve.config.ltv != 0, "UserInIsolationModeOrLtvZero")
            self.set_uses(sender, reserve, True)
        else:
            self.set_uses(sender, reserve, False)
            check_ltv_zero(self.account(sender), reserve)
        return ()

    def transfer(self, sender: str, asset: str, to: str, amount: int) -> tuple[int, ...]:
        """aTokens to somebody else; they do not become collateral there."""
        reserve = self.reserves[asset]
        cast(amount, 120)
        index = reserve.income(self.now)
        before = reserve.a.of(sender)
        scaled = ray_div_ceil(amount, index)
        reserve.a.move(sender, to, scaled, index)
        require(not reserve.config.paused, "ReservePaused")
        if sender != to and scaled != 0 and self.uses(sender, reserve):
            if before == scaled:
                self.set_uses(sender, reserve, False)
            if self.borrows_any(sender):
                check_ltv_zero(self.account(sender), reserve)
        return (1,)

    # ── debt side ────────────────────────────────────────────────────────────────────────────────

    def borrow(
        self, sender: str, asset: str, amount: int, mode: int, holder: str
    ) -> tuple[int, ...]:
        """Borrow to the sender on the holder's account."""
        if mode > VARIABLE:
            raise Refused("Panic", PANIC_ENUM)
        reserve = self.known(asset)
        cache = self._updated(reserve)
        index = cache.next_borrow_index
        scaled = ray_div_ceil(amount, index)
        self._validate_borrow(reserve, cache, scaled, mode, holder)
        if sender != holder:
            try:
                reserve.d.spend_delegation(holder, sender, amount, scaled, index)
            except Refused as refused:
                if refused.name != "InsufficientBorrowAllowance":
                    raise
                raise Refused(
                    refused.name, role_address(sender), *refused.arguments[1:]
                ) from refused
        reserve.d.mint(holder, scaled, index)
        cache.next_scaled_debt = reserve.d.total
        self.set_borrows(holder, reserve, True)
        reserve.update_rates(cache, 0, amount)
        reserve.pay_out(sender, amount)
        check_borrow(self.account(holder))
        return ()

    def _validate_borrow(
        self, reserve: Reserve, cache: Cache, scaled: int, mode: int, holder: str
    ) -> None:
        require(scaled != 0, "InvalidAmount")
        amount = debt_balance(scaled, cache.next_borrow_index)
        config = reserve.config
        require(config.active, "ReserveInactive")
        require(not config.paused, "ReservePaused")
        require(not config.frozen, "ReserveFrozen")
        require(config.borrowing, "BorrowingNotEnabled")
        supplied = supply_balance(reserve.a.total, reserve.income(self.now))
        require(supplied >= amount, "InvalidAmount")
        require(mode == VARIABLE, "InvalidInterestRateModeSelected")
        if config.borrow_cap:
            total = debt_balance(add(cache.curr_scaled_debt, scaled), cache.next_borrow_index)
            require(total <= config.borrow_cap * config.unit, "BorrowCapExceeded")
        if self.borrows_any(holder):
            borrowed = [r for r in self.reserves.values() if self.borrows(holder, r)]
            if len(borrowed) == 1 and borrowed[0].config.siloed:
                require(borrowed[0] is reserve, "SiloedBorrowingViolation")
            else:
                require(not config.siloed, "SiloedBorrowingViolation")

    def repay(
        self, sender: str, asset: str, amount: int, mode: int, holder: str
    ) -> tuple[int, ...]:
        """Pay the holder's debt with underlying of the sender; MAX pays all of one's own."""
        return self._repay(sender, asset, amount, mode, holder, with_a=False)

    def repayWithATokens(self, sender: str, asset: str, amount: int, mode: int) -> tuple[int, ...]:
        """Pay one's debt with aTokens of the same asset."""
        return self._repay(sender, asset, amount, mode, sender, with_a=True)

    def _repay(
        self, sender: str, asset: str, amount: int, mode: int, holder: str, *, with_a: bool
    ) -> tuple[int, ...]:
        if mode > VARIABLE:
            raise Refused("Panic", PANIC_ENUM)
        reserve = self.known(asset)
        cache = self._updated(reserve)
        index = cache.next_borrow_index
        scaled_debt = reserve.d.of(holder)
        debt = debt_balance(scaled_debt, index)
        require(amount != 0, "InvalidAmount")
        require(mode == VARIABLE, "InvalidInterestRateModeSelected")
        require(amount != MAX or sender == holder, "NoExplicitAmountToRepayOnBehalf")
        require(reserve.config.active, "ReserveInactive")
        require(not reserve.config.paused, "ReservePaused")
        require(scaled_debt != 0, "NoDebtOfSelectedType")
        if with_a and amount == MAX:
            amount = supply_balance(reserve.a.of(sender), cache.next_liquidity_index)
        paid = min(amount, debt)
        no_more = reserve.d.burn(holder, ray_div_floor(paid, index), index)
        cache.next_scaled_debt = reserve.d.total
        reserve.update_rates(cache, 0 if with_a else paid, 0)
        if no_more:
            self.set_borrows(holder, reserve, False)
        if with_a:
            self._burn_supply(sender, reserve, cache.next_liquidity_index, paid)
        else:
            reserve.pay_in(sender, paid)
        return (paid,)

    def _burn_supply(self, sender: str, reserve: Reserve, index: int, amount: int) -> None:
        none_left = reserve.a.burn(sender, ray_div_ceil(amount, index), index)
        if self.uses(sender, reserve):
            if none_left:
                self.set_uses(sender, reserve, False)
            if self.borrows_any(sender):
                check_healthy(self.account(sender))

    def approveDelegation(self, sender: str, asset: str, to: str, amount: int) -> tuple[int, ...]:
        """Allow somebody to borrow on one's account."""
        self.reserves[asset].d.allowances[sender, to] = amount
        return ()

    # ── liquidation and treasury ─────────────────────────────────────────────────────────────────

    def liquidationCall(
        self, sender: str, collateral: str, debt: str, borrower: str, cover: int, receive_a: int
    ) -> tuple[int, ...]:
        """Repay a borrower's debt for collateral and a bonus."""
        owed, seized = self.known(debt), self.known(collateral)
        liquidate(self, sender, seized, owed, borrower, cover, bool(receive_a))
        return ()

    def eliminateReserveDeficit(self, sender: str, asset: str, amount: int) -> tuple[int, ...]:
        """Cover bad debt with aTokens of the coverage role. The amount covered."""
        require(sender == COVERAGE, "CallerNotUmbrella")
        return (eliminate_deficit(self, sender, self.reserves[asset], amount),)

    def mintToTreasury(self, sender: str, mask: int) -> tuple[int, ...]:
        """Turn what accrued to the treasury into aTokens, for the reserves whose bit is set."""
        del sender
        for reserve in self.reserves.values():
            if mask >> reserve.id & 1 and reserve.config.active and reserve.accrued:
                scaled, reserve.accrued = reserve.accrued, 0
                index = reserve.income(self.now)
                supply_balance(scaled, index)
                reserve.a.mint(TREASURY, scaled, index)
        return ()

    # ── surroundings ─────────────────────────────────────────────────────────────────────────────

    def approve(self, sender: str, asset: str, amount: int) -> tuple[int, ...]:
        """What the pool may take of the sender's underlying."""
        self.reserves[asset].underlying.allowances[sender] = amount
        return (1,)

    def donate(self, sender: str, asset: str, amount: int) -> tuple[int, ...]:
        """Underlying straight to the aToken contract: nobody's, and not in the rates."""
        reserve = self.reserves[asset]
        reserve.underlying.transfer(sender, reserve.vault, amount)
        return (1,)

    def setPrice(self, sender: str, asset: str, price: int) -> tuple[int, ...]:
        """A new answer of a feed; not positive means none."""
        del sender
        self.prices[asset] = price
        return ()
