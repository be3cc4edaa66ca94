"""Initial situations of the Aave target, the model of one, and its names.

A world is plain JSON: ``{"reserves": [...], "wealth": [...]}``; see ``draw_world``.
"""

from __future__ import annotations

from typing import Any

from risk.diff.kit.adapter import World
from risk.diff.kit.draw import Draw
from risk.targets.aave.admin import ADMIN, Market
from risk.targets.aave.liquidation import TREASURY
from risk.targets.aave.math import MAX
from risk.targets.aave.pool import COVERAGE, Clock
from risk.targets.aave.reserve import Config, Rates, Reserve
from risk.targets.aave.tokens import Erc20, ScaledToken

TRADERS = ("alice", "bob", "carol")
ROLES = (*TRADERS, COVERAGE, ADMIN)
HOLDERS = (*TRADERS, COVERAGE, TREASURY)  # whose positions are observed
UNLISTED = "NONE"
USD = 10**8  # one dollar in base currency

#: asset -> (decimals, price in dollars)
ASSETS = {"USDC": (6, 1), "WBTC": (8, 60_000), "WETH": (18, 2_500), "EXO": (12, 7)}

#: (ltv, threshold, bonus) in bps, with threshold · bonus ≤ 100 %
COLLATERALS = (
    (7_500, 7_800, 10_500),
    (8_000, 8_250, 10_500),
    (4_000, 6_500, 11_000),
    (9_500, 9_500, 10_500),
    (0, 7_000, 10_750),
    (5_000, 5_000, 20_000),
    (9_998, 9_998, 10_001),
    (1, 9_000, 11_111),
)
#: (optimal, base, slope 1, slope 2) in bps
CURVES = (
    (9_000, 0, 400, 6_000),
    (4_500, 0, 700, 30_000),
    (8_000, 100, 350, 8_000),
    (100, 0, 0, 100_000),
    (9_900, 10_000, 45_000, 45_000),
    (6_500, 1, 333, 333),
)


def draw_world(draw: Draw) -> World:
    """Four reserves with random parameters; per trader and asset a wealth in dollars.

    The fourth asset is the odd one: other decimals, siloed, not active, or no collateral at all.
    """
    reserves = []
    for asset, (decimals, price) in ASSETS.items():
        ltv, threshold, bonus = draw.choice(COLLATERALS[:4] if draw.chance(70) else COLLATERALS)
        reserves.append(
            {
                "asset": asset,
                "decimals": decimals,
                "price": price * USD,
                "collateral": [ltv, threshold, bonus],
                "curve": list(draw.choice(CURVES)),
                "factor": draw.choice((1_000, 0, 2_000, 10_000, 1, 9_999)),
                "fee": draw.choice((1_000, 0, 2_000, 10_000, 1)),
                "borrow_cap": 0 if draw.chance(70) else max(2_000_000 // price, 1),
                "supply_cap": 0 if draw.chance(70) else max(9_000_000 // price, 1),
                "borrowing": not draw.chance(5),
                "siloed": False,
                "active": True,
            }
        )
    odd = reserves[-1]
    odd["decimals"] = draw.choice((12, 6, 18, 21, 24))
    odd["siloed"] = draw.chance(20)
    odd["active"] = not draw.chance(5)
    if draw.chance(10):
        odd["collateral"] = [0, 0, 0]
    wealth = [draw.choice((1_000_000, 3_000, 50_000_000)) for _ in HOLDERS[:-1]]
    return {"reserves": reserves, "wealth": wealth}


def smaller(world: World) -> list[World]:
    """The same world with plainer reserves, one at a time."""
    plain = {"factor": 0, "fee": 0, "borrow_cap": 0, "supply_cap": 0, "siloed": False}
    found = []
    for i, reserve in enumerate(world["reserves"]):
        changed = {**reserve, **plain}
        if changed != reserve:
            reserves = [*world["reserves"][:i], changed, *world["reserves"][i + 1 :]]
            found.append({**world, "reserves": reserves})
    return found


def wealth_of(world: World, holder: int, raw: dict[str, Any]) -> int:
    """Underlying that a holder starts with, in smallest units."""
    dollars: int = world["wealth"][holder]
    return int(dollars * USD * 10 ** raw["decimals"] // raw["price"])


def build(world: World, now: int) -> Market:
    """The model as the set-up leaves the contracts at block time ``now``: rates are those of an
    unused reserve, everybody's underlying is allowed to the pool.
    """
    reserves = {}
    for i, raw in enumerate(world["reserves"]):
        ltv, threshold, bonus = raw["collateral"]
        config = Config(
            decimals=raw["decimals"],
            ltv=ltv,
            threshold=threshold,
            bonus=bonus,
            active=raw["active"],
            borrowing=raw["borrowing"],
            siloed=raw["siloed"],
            factor=raw["factor"],
            borrow_cap=raw["borrow_cap"],
            supply_cap=raw["supply_cap"],
            protocol_fee=raw["fee"],
        )
        holders = HOLDERS[:-1]
        underlying = Erc20(
            {name: wealth_of(world, n, raw) for n, name in enumerate(holders)},
            dict.fromkeys(holders, MAX),
        )
        reserve = Reserve(
            raw["asset"],
            i,
            config,
            Rates(*raw["curve"]),
            underlying,
            ScaledToken(up=False),
            ScaledToken(up=True),
        )
        cache = reserve.cache()
        reserve.update(cache, now)
        reserve.update_rates(cache, 0, 0)
        reserves[reserve.asset] = reserve
    prices = {raw["asset"]: raw["price"] for raw in world["reserves"]}
    return Market(Clock(now), reserves, prices)
