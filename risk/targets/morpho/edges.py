"""Amounts at which something changes: exact health boundaries, full shares, roundings.

Plain arithmetic on a model that has accrued; never refuses. Used to choose actions only: a number
here that is off by one makes a test weaker, not wrong.
"""

from __future__ import annotations

from risk.targets.morpho.math import (
    ORACLE_PRICE_SCALE,
    VIRTUAL_ASSETS,
    VIRTUAL_SHARES,
    WAD,
    liquidation_incentive_factor,
)
from risk.targets.morpho.model import Market, MarketParams, Morpho


def up(x: int, y: int, d: int) -> int:
    """x·y/d rounded up."""
    return -(-x * y // d)


def shares_of(assets: int, total_assets: int, total_shares: int) -> int:
    """Rounded down."""
    return assets * (total_shares + VIRTUAL_SHARES) // (total_assets + VIRTUAL_ASSETS)


def assets_of(shares: int, total_assets: int, total_shares: int) -> int:
    """Rounded down."""
    return shares * (total_assets + VIRTUAL_ASSETS) // (total_shares + VIRTUAL_SHARES)


class Edges:
    """Boundary amounts of one holder in one market."""

    def __init__(self, model: Morpho, market: MarketParams, who: str) -> None:
        self.model, self.params = model, market
        self.state = model.markets.get(market) or Market()
        self.position = model.position(market, who)
        known = 0 <= market.oracle < len(model.prices)
        self.price = model.prices[market.oracle] if known else 0

    # ── debt ─────────────────────────────────────────────────────────────────────────────────────

    def debt_assets(self, shares: int) -> int:
        """Debt shares in assets, rounded down."""
        return assets_of(shares, self.state.total_borrow_assets, self.state.total_borrow_shares)

    def debt_shares(self, assets: int) -> int:
        """Assets in debt shares, rounded down."""
        return shares_of(assets, self.state.total_borrow_assets, self.state.total_borrow_shares)

    @property
    def borrowed(self) -> int:
        """What the position owes, rounded up."""
        s = self.state
        return up(
            self.position.borrow_shares,
            s.total_borrow_assets + VIRTUAL_ASSETS,
            s.total_borrow_shares + VIRTUAL_SHARES,
        )

    @property
    def max_borrow(self) -> int:
        """What its collateral allows it to owe."""
        value = self.position.collateral * self.price // ORACLE_PRICE_SCALE
        return value * self.params.lltv // WAD

    @property
    def healthy(self) -> bool:
        return self.position.borrow_shares == 0 or self.max_borrow >= self.borrowed

    @property
    def liquidity(self) -> int:
        """What can leave the market."""
        return max(0, self.state.total_supply_assets - self.state.total_borrow_assets)

    def borrow(self) -> list[int]:
        """Assets: to the boundary of health and just around it, and the liquidity."""
        room = max(0, self.max_borrow - self.borrowed)
        return [room, max(0, room - 1), room + 1, min(room, self.liquidity), self.liquidity]

    def borrow_in_shares(self) -> list[int]:
        """The same in shares, and the smallest number that is worth an asset."""
        one = self.debt_shares(1)
        return [*(self.debt_shares(a) for a in self.borrow()), one, one + 1]

    def repay(self) -> list[int]:
        """Assets: all of the debt, rounded either way."""
        return [self.borrowed, self.debt_assets(self.position.borrow_shares), self.borrowed // 2]

    def repay_in_shares(self) -> list[int]:
        shares = self.position.borrow_shares
        return [shares, shares, shares // 2, 1]

    # ── supply ───────────────────────────────────────────────────────────────────────────────────

    def withdraw(self) -> list[int]:
        """Assets: all that is owned, all that is there."""
        s = self.state
        owned = assets_of(self.position.supply_shares, s.total_supply_assets, s.total_supply_shares)
        return [owned, min(owned, self.liquidity), self.liquidity, owned // 2]

    def withdraw_in_shares(self) -> list[int]:
        s, shares = self.state, self.position.supply_shares
        there = shares_of(self.liquidity, s.total_supply_assets, s.total_supply_shares)
        return [shares, shares, min(shares, there), there, shares // 2]

    # ── collateral ───────────────────────────────────────────────────────────────────────────────

    def withdraw_collateral(self) -> list[int]:
        """All of it, and what the debt does not need."""
        collateral = self.position.collateral
        if self.position.borrow_shares == 0 or not self.params.lltv or not self.price:
            return [collateral, collateral // 2]
        value = up(self.borrowed, WAD, self.params.lltv)
        needed = up(value, ORACLE_PRICE_SCALE, self.price)
        free = max(0, collateral - needed)
        return [free, free, free + 1, collateral]

    def seized(self) -> list[int]:
        """Collateral: all, all but one, what pays the whole debt."""
        collateral = self.position.collateral
        edges = [collateral, collateral, max(0, collateral - 1), collateral // 2]
        if self.price and self.params.lltv <= WAD:
            factor = liquidation_incentive_factor(self.params.lltv)
            worth = self.debt_assets(self.position.borrow_shares) * factor // WAD
            edges.append(worth * ORACLE_PRICE_SCALE // self.price)
        return edges

    def repaid_shares(self) -> list[int]:
        """Debt shares: all, and what buys all of the collateral."""
        shares = self.position.borrow_shares
        edges = [shares, shares, shares // 2, 1]
        if self.params.lltv <= WAD:
            factor = liquidation_incentive_factor(self.params.lltv)
            quoted = up(self.position.collateral, self.price, ORACLE_PRICE_SCALE)
            edges.append(self.debt_shares(up(quoted, WAD, factor)))
        return edges

    # ── prices ───────────────────────────────────────────────────────────────────────────────────

    def boundary_price(self) -> int | None:
        """The lowest price at which the position is healthy; None without debt or collateral."""
        if not self.position.borrow_shares or not self.position.collateral or not self.params.lltv:
            return None
        value = up(self.borrowed, WAD, self.params.lltv)
        return up(value, ORACLE_PRICE_SCALE, self.position.collateral)
