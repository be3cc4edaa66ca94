"""What proposals read of the model, and how they draw a user, an asset, an amount."""

from __future__ import annotations

from collections.abc import Callable

from risk.diff.kit.adapter import Argument, Refused
from risk.diff.kit.draw import Draw
from risk.targets.aave.admin import Market
from risk.targets.aave.math import MAX, RAY, WAD
from risk.targets.aave.reserve import Reserve
from risk.targets.aave.user import Account
from risk.targets.aave.world import ASSETS, TRADERS, UNLISTED

Choice = Callable[[Draw, Market], tuple[str, tuple[Argument, ...]]]

ODD_AMOUNTS = (0, MAX, 2**120, 2**128, MAX // RAY, MAX // RAY + 1)


def sums_of(view: Market, user: str) -> Account | None:
    """The user's sums, or None where a price is missing or a value overflows."""
    try:
        return view.account(user)
    except Refused:
        return None


def sick_users(view: Market) -> list[str]:
    """Traders below a health factor of one who still have collateral to lose."""
    found = []
    for user in TRADERS:
        sums = sums_of(view, user)
        used = any(view.uses(user, r) for r in view.reserves.values())
        if sums is not None and sums.health < WAD and used:
            found.append(user)
    return found


def deficits(view: Market) -> list[str]:
    """Assets with bad debt."""
    return [a for a, r in view.reserves.items() if r.deficit]


def draw_asset(draw: Draw, preferred: list[str]) -> str:
    """Mostly one of those preferred, seldom one that is not listed."""
    if preferred and not draw.chance(10):
        return draw.choice(preferred)
    return draw.choice((*ASSETS, UNLISTED)) if draw.chance(5) else draw.choice(tuple(ASSETS))


def draw_amount(draw: Draw, high: int, edges: list[int]) -> int:
    """Mostly within what makes sense, sometimes far out of it."""
    if draw.chance(4):
        return draw.choice(ODD_AMOUNTS)
    return draw.integer(0, max(high, 1), [e for e in edges if 0 <= e <= MAX] or [high])


def supplied_by(view: Market, user: str) -> list[str]:
    """Assets of which the user has aTokens."""
    return [a for a, r in view.reserves.items() if r.a.of(user)]


def owed_by(view: Market, user: str) -> list[str]:
    """Assets of which the user has debt."""
    return [a for a, r in view.reserves.items() if r.d.of(user)]


def one_with(draw: Draw, users: tuple[str, ...], has: Callable[[str], bool]) -> str:
    """Mostly somebody for whom the action makes sense."""
    able = tuple(user for user in users if has(user))
    return draw.choice(able if able and not draw.chance(8) else users)


def held_by(view: Market, reserve: Reserve, user: str) -> int:
    """aToken balance now, down."""
    return reserve.a.balance(reserve.a.of(user), reserve.income(view.now))


def debt_of(view: Market, reserve: Reserve, user: str) -> int:
    """Debt now, up."""
    return reserve.d.balance(reserve.d.of(user), reserve.debt_index(view.now))
