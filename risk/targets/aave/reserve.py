"""One reserve: configuration, indices, rates, and its two tokens.

Source: ReserveLogic, ReserveConfiguration, DefaultReserveInterestRateStrategyV2 of
@aave-dao/aave-v3-origin 3.6.0. Amounts are in the asset's smallest unit, scaled amounts are amounts
divided by an index, indices and rates are rays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from risk.diff.kit.adapter import Refused
from risk.targets.aave.math import (
    PERCENT,
    RAY,
    add,
    cast,
    compound_interest,
    linear_interest,
    percent_mul,
    ray_div,
    ray_div_floor,
    ray_mul,
    ray_mul_ceil,
    ray_mul_floor,
    sub,
)
from risk.targets.aave.tokens import Erc20, ScaledToken

BPS_TO_RAY = 10**23


@dataclass
class Config:
    """The packed configuration word; percentages in basis points, caps in whole units."""

    decimals: int
    ltv: int = 0
    threshold: int = 0
    bonus: int = 0
    active: bool = True
    frozen: bool = False
    borrowing: bool = False
    paused: bool = False
    siloed: bool = False
    factor: int = 0
    borrow_cap: int = 0
    supply_cap: int = 0
    protocol_fee: int = 0

    @property
    def unit(self) -> int:
        """Smallest units in one whole."""
        unit: int = 10**self.decimals
        return unit

    def word(self) -> int:
        """As ReserveConfiguration packs it; bit 252 is set for each reserve since v3.4."""
        return (
            self.ltv
            | self.threshold << 16
            | self.bonus << 32
            | self.decimals << 48
            | self.active << 56
            | self.frozen << 57
            | self.borrowing << 58
            | self.paused << 60
            | self.siloed << 62
            | self.factor << 64
            | self.borrow_cap << 80
            | self.supply_cap << 116
            | self.protocol_fee << 152
            | 1 << 252
        )


@dataclass(frozen=True)
class Rates:
    """Two-slope curve of the variable rate over usage; basis points."""

    optimal: int
    base: int
    slope1: int
    slope2: int

    def at(
        self, debt: int, available: int, deficit: int, factor: int, added: int, taken: int
    ) -> tuple[int, int]:
        """(liquidity rate, variable borrow rate) in ray after liquidity came and went.

        Usage for borrowers is debt / (available + debt); suppliers' income is spread over the
        deficit as well.
        """
        base, optimal = self.base * BPS_TO_RAY, self.optimal * BPS_TO_RAY
        if debt == 0:
            return 0, base
        liquid = sub(add(available, added), taken)
        total = add(liquid, debt)
        borrow_usage = ray_div(debt, total)
        supply_usage = ray_div(debt, add(total, deficit))
        if borrow_usage > optimal:
            excess = ray_div(borrow_usage - optimal, RAY - optimal)
            rate = base + self.slope1 * BPS_TO_RAY + ray_mul(self.slope2 * BPS_TO_RAY, excess)
        else:
            rate = base + ray_div(ray_mul(self.slope1 * BPS_TO_RAY, borrow_usage), optimal)
        return percent_mul(ray_mul(rate, supply_usage), PERCENT - factor), rate


@dataclass
class Cache:
    """What an action has read of a reserve at its start, and carries along (ReserveCache)."""

    curr_liquidity_index: int
    next_liquidity_index: int
    curr_borrow_index: int
    next_borrow_index: int
    liquidity_rate: int
    borrow_rate: int
    updated: int
    curr_scaled_debt: int
    next_scaled_debt: int
    factor: int


@dataclass
class Reserve:
    """State of one asset of the pool."""

    asset: str
    id: int
    config: Config
    rates: Rates
    underlying: Erc20
    a: ScaledToken
    d: ScaledToken
    liquidity_index: int = RAY
    borrow_index: int = RAY
    liquidity_rate: int = 0
    borrow_rate: int = 0
    updated: int = 0
    accrued: int = 0  # to the treasury, scaled
    deficit: int = 0
    virtual: int = 0  # underlying that the pool accounts for; donations are not in it
    grace_until: int = 0
    pending_ltv: int = 0

    @property
    def vault(self) -> str:
        """Holder name of the aToken contract, which keeps the underlying."""
        return f"a{self.asset}"

    def copy(self) -> Reserve:
        """An independent copy."""
        return replace(
            self,
            config=replace(self.config),
            underlying=self.underlying.copy(),
            a=self.a.copy(),
            d=self.d.copy(),
        )

    # ── indices ──────────────────────────────────────────────────────────────────────────────────

    def income(self, now: int) -> int:
        """Liquidity index as of ``now`` (getNormalizedIncome)."""
        if self.updated == now:
            return self.liquidity_index
        return ray_mul(
            linear_interest(self.liquidity_rate, self.updated, now), self.liquidity_index
        )

    def debt_index(self, now: int) -> int:
        """Borrow index as of ``now`` (getNormalizedDebt).

        It grows even while nobody borrows, where ``update`` leaves the stored index alone.
        """
        if self.updated == now:
            return self.borrow_index
        return ray_mul(compound_interest(self.borrow_rate, self.updated, now), self.borrow_index)

    def cache(self) -> Cache:
        """The reserve as an action reads it."""
        return Cache(
            self.liquidity_index,
            self.liquidity_index,
            self.borrow_index,
            self.borrow_index,
            self.liquidity_rate,
            self.borrow_rate,
            self.updated,
            self.d.total,
            self.d.total,
            self.config.factor,
        )

    def update(self, cache: Cache, now: int) -> None:
        """Bring indices to ``now`` and accrue the treasury's share (updateState).

        Whether there is something to do is read from the cache, not from the reserve: two caches
        taken before the first update accrue twice (see docs/targets/aave.md).
        """
        if cache.updated == now:
            return
        if cache.liquidity_rate != 0:
            growth = linear_interest(cache.liquidity_rate, cache.updated, now)
            cache.next_liquidity_index = ray_mul(growth, cache.curr_liquidity_index)
            self.liquidity_index = cast(cache.next_liquidity_index, 128)
        if cache.curr_scaled_debt != 0:
            growth = compound_interest(cache.borrow_rate, cache.updated, now)
            cache.next_borrow_index = ray_mul(growth, cache.curr_borrow_index)
            self.borrow_index = cast(cache.next_borrow_index, 128)
        self._accrue(cache)
        self.updated = cache.updated = now

    def _accrue(self, cache: Cache) -> None:
        """The reserve factor's share of the interest since the last update; each step down, but
        the share itself half up.
        """
        if cache.factor == 0:
            return
        grown = sub(cache.next_borrow_index, cache.curr_borrow_index)
        interest = ray_mul_floor(cache.curr_scaled_debt, grown)
        share = percent_mul(interest, cache.factor)
        if share != 0:
            scaled = cast(ray_div_floor(share, cache.next_liquidity_index), 128)
            self.accrued = add(self.accrued, scaled, 128)

    def update_rates(self, cache: Cache, added: int, taken: int) -> None:
        """New rates, and the virtual balance after the action's liquidity."""
        debt = debt_balance(cache.next_scaled_debt, cache.next_borrow_index)
        liquidity_rate, borrow_rate = self.rates.at(
            debt, self.virtual, self.deficit, cache.factor, added, taken
        )
        self.liquidity_rate = cast(liquidity_rate, 128)
        self.borrow_rate = cast(borrow_rate, 128)
        if added > 0:
            self.virtual = add(self.virtual, cast(added, 128), 128)
        if taken > 0:
            self.virtual = sub(self.virtual, cast(taken, 128))

    # ── the underlying ───────────────────────────────────────────────────────────────────────────

    def pay_in(self, sender: str, amount: int) -> None:
        """The pool takes underlying from a sender, who has allowed it."""
        self.underlying.transfer_from(sender, self.vault, amount)

    def pay_out(self, receiver: str, amount: int) -> None:
        """The aToken sends underlying away."""
        self.underlying.transfer(self.vault, receiver, amount)


def supply_balance(scaled: int, index: int) -> int:
    """aToken balance, down: the holder never gets more than the pool has."""
    return ray_mul_floor(scaled, index)


def debt_balance(scaled: int, index: int) -> int:
    """Debt, up: the borrower never owes less than the pool gave."""
    return ray_mul_ceil(scaled, index)


def require(condition: bool, error: str) -> None:
    """Solidity's require with a custom error without arguments."""
    if not condition:
        raise Refused(error)
