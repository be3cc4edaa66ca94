"""Random worlds of the Morpho target and the steps that set them up on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from risk.diff.kit.adapter import Step, World
from risk.diff.kit.draw import Draw
from risk.targets.morpho.math import ORACLE_PRICE_SCALE, UINT256_MAX, WAD
from risk.targets.morpho.model import MORPHO, ROBOT, SIGNERS, ZERO, MarketParams
from risk.targets.morpho.surroundings import (
    EMPTY_IRM,
    NO_IRM,
    NOWHERE,
    RATE_IRM,
    SECONDS_A_YEAR,
    UTILISATION_IRM,
)

ROLES = ("owner", "alice", "bob", "carol", ROBOT)
HOLDERS = (*ROLES, *SIGNERS, MORPHO, ZERO)

# LLTVs that governance has enabled on the main network, and the edges
LLTVS = (
    *(0, 385 * 10**15, 625 * 10**15, 77 * 10**16, 86 * 10**16, 915 * 10**15, 945 * 10**15),
    *(965 * 10**15, 98 * 10**16, 1, WAD - 1, WAD, WAD + 1, UINT256_MAX),
)
USUAL_LLTVS = LLTVS[1:9]
DIGITS = (6, 8, 18)  # decimals of tokens; only the size of amounts follows from them
SPARE_MARKETS = 3  # of each world, not created at first
SIZES = {"dust": 10**3, "usual": 0, "huge": 10**30}


def random_world(draw: Draw) -> World:
    """Two or three tokens with code and one without, one to three markets that exist, and spare
    ones that actions may create: with the same tokens on both sides, without an oracle, with an
    interest rate model that has no code or is not enabled, with an LLTV that is not.
    """
    tokens = [draw.choice(DIGITS) for _ in range(draw.integer(2, 3))]
    oracles = draw.integer(1, 2)
    size = draw.choice(("usual",) * 7 + ("dust", "huge"))
    markets: list[list[int]] = []
    for _ in range(draw.integer(1, 3)):
        loan = draw.integer(0, len(tokens) - 1)
        markets.append(
            [
                loan,
                loan if draw.chance(5) else (loan + 1) % len(tokens),
                draw.integer(0, oracles - 1),
                draw.choice((UTILISATION_IRM, RATE_IRM, RATE_IRM, NO_IRM)),
                draw.choice((*USUAL_LLTVS, *USUAL_LLTVS, 0, 1, WAD - 1)),
            ]
        )
    created = len(markets)
    for _ in range(SPARE_MARKETS):
        loan, collateral = (draw.choice((*range(len(tokens)), NOWHERE)) for _ in range(2))
        oracle = NOWHERE if draw.chance(40) else draw.integer(0, oracles - 1)
        markets.append(
            [loan, collateral, oracle, draw.integer(NO_IRM, EMPTY_IRM + 1), draw.choice(LLTVS[:11])]
        )
    unique = [m for i, m in enumerate(markets) if m not in markets[:i]]
    created = sum(1 for m in unique if m in markets[:created])
    return {
        "tokens": tokens,
        "size": size,
        "oracles": oracles,
        "markets": unique,
        "created": created,
        "prices": [fair_price(draw, tokens, unique, i) for i in range(oracles)],
        "rate": draw.choice((0, usual_rate(5), usual_rate(30), usual_rate(400))),
        "fee": draw.choice((0, 0, WAD // 10, WAD // 4, 1)),
        "fee_recipient": draw.choice((ZERO, "carol", "owner", "alice", ROBOT)),
        "enabled_irms": [NO_IRM, UTILISATION_IRM, RATE_IRM, *([EMPTY_IRM] * draw.chance(60))],
        "enabled_lltvs": sorted({m[4] for m in unique[:created]} | {draw.choice(USUAL_LLTVS)}),
    }


def usual_rate(percent: int) -> int:
    """``percent`` a year as WAD per second, rounded down."""
    return percent * WAD // 100 // SECONDS_A_YEAR


def fair_price(draw: Draw, tokens: list[int], markets: list[list[int]], oracle: int) -> int:
    """A price at which the first market of the oracle is sound."""
    for loan, collateral, number, _, _ in markets:
        if number == oracle and NOWHERE not in (loan, collateral):
            unit = int(ORACLE_PRICE_SCALE * 10 ** tokens[loan] // 10 ** tokens[collateral])
            return unit * draw.choice((1, 1, 30, 2500, 60_000)) + draw.integer(0, unit)
    return ORACLE_PRICE_SCALE


def markets_of(world: World) -> tuple[MarketParams, ...]:
    """The markets that exist and may be created."""
    return tuple(MarketParams(*m) for m in world["markets"])


def unit_of(world: World, token: int) -> int:
    """An amount of a token that is neither small nor large in this world."""
    tokens = world["tokens"]
    digits = tokens[token] if token < len(tokens) else 18
    return SIZES[world["size"]] or int(10 ** (digits + 3))


def setup(world: World) -> Iterable[Step]:
    """From an empty Morpho to the beginning of a sequence; every step succeeds."""
    for irm in world["enabled_irms"]:
        yield Step("enableIrm", "owner", (irm,))
    for lltv in world["enabled_lltvs"]:
        yield Step("enableLltv", "owner", (lltv,))
    if world["fee_recipient"] != ZERO:
        yield Step("setFeeRecipient", "owner", (world["fee_recipient"],))
    yield Step("setRate", "owner", (world["rate"],))
    for oracle, price in enumerate(world["prices"]):
        yield Step("setPrice", "owner", (oracle, price))
    for token in range(len(world["tokens"])):
        for role in ROLES:
            yield Step("setBalance", "owner", (token, role, 1000 * unit_of(world, token)))
            yield Step("approve", role, (token, UINT256_MAX))
    for market in markets_of(world)[: world["created"]]:
        yield Step("createMarket", "owner", (market,))
        if world["fee"]:
            yield Step("setFee", "owner", (market, world["fee"]))
        amount = 10 * unit_of(world, market.loan_token)
        yield Step("supply", "bob", (market, amount, 0, "bob", ()))
        amount = 10 * unit_of(world, market.collateral_token)
        yield Step("supplyCollateral", "alice", (market, amount, "alice", ()))


def smaller(world: World) -> Iterable[World]:
    """Less in it, the boldest first: no spare markets, one market, no fee, no rate, round prices.
    Actions on a market that left refer to one that was not created.
    """
    markets: list[Any] = world["markets"]
    for keep in (1, world["created"], len(markets) - 1):
        if 1 <= keep < len(markets):
            yield {**world, "markets": markets[:keep], "created": min(world["created"], keep)}
    if world["fee"]:
        yield {**world, "fee": 0}
    if world["rate"]:
        yield {**world, "rate": 0}
    if world["fee_recipient"] != ZERO:
        yield {**world, "fee_recipient": ZERO}
    for i, price in enumerate(world["prices"]):
        if price != ORACLE_PRICE_SCALE:
            prices = [*world["prices"][:i], ORACLE_PRICE_SCALE, *world["prices"][i + 1 :]]
            yield {**world, "prices": prices}
