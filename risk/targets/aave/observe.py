"""The complete state as words, in the order of AaveLens.sol, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from risk.chain.keccak import keccak
from risk.diff.adapter import Observation
from risk.diff.kit.adapter import Refused
from risk.targets.aave.admin import Market
from risk.targets.aave.reserve import Reserve
from risk.targets.aave.world import HOLDERS, TRADERS

REFUSED = int.from_bytes(keccak(b"refused"), "big")  # where a view reverts

RESERVE_WORDS = (
    "liquidityIndex",
    "borrowIndex",
    "updated",
    "accruedToTreasury",
    "liquidityRate",
    "borrowRate",
    "deficit",
    "virtualBalance",
    "normalizedIncome",
    "normalizedDebt",
    "aScaledSupply",
    "dScaledSupply",
    "aSupply",
    "dSupply",
    "vault",
    "configuration",
    "pendingLtv",
    "graceUntil",
    "id",
    "isolationDebt",
    "optimal",
    "base",
    "slope1",
    "slope2",
    "price",
)
ACCOUNT_WORDS = ("flags", "collateral", "debt", "available", "threshold", "ltv", "health")
POSITION_WORDS = ("aScaled", "dScaled", "aIndex", "dIndex", "balance", "allowance")


@cache
def names(assets: tuple[str, ...]) -> tuple[str, ...]:
    """``USDC.liquidityIndex``, …, ``alice.health``, ``alice.USDC.aScaled``, …,
    ``USDC.delegated[alice,bob]``.
    """
    found: list[str] = []
    for asset in assets:
        found += (f"{asset}.{word}" for word in RESERVE_WORDS)
    for user in HOLDERS:
        found += (f"{user}.{word}" for word in ACCOUNT_WORDS)
        for asset in assets:
            found += (f"{user}.{asset}.{word}" for word in POSITION_WORDS)
    for asset in assets:
        for i in TRADERS:
            found += (f"{asset}.delegated[{i},{j}]" for j in TRADERS if i != j)
    return tuple(found)


def words(market: Market) -> Iterator[int]:
    """Their values in the model."""
    for reserve in market.reserves.values():
        yield from _reserve(market, reserve)
    for user in HOLDERS:
        yield market.flags.get(user, 0)
        try:
            yield from market.account(user).words()
        except Refused:
            yield from [REFUSED] * 6
        for reserve in market.reserves.values():
            yield from (
                reserve.a.of(user),
                reserve.d.of(user),
                reserve.a.indices.get(user, 0),
                reserve.d.indices.get(user, 0),
                reserve.underlying.of(user),
                reserve.underlying.allowances.get(user, 0),
            )
    for reserve in market.reserves.values():
        for i in TRADERS:
            yield from (reserve.d.allowances.get((i, j), 0) for j in TRADERS if i != j)


def _account(market: Market, user: str) -> tuple[int, ...]:
    try:
        return market.account(user).words()
    except Refused:
        return (REFUSED,) * 6


def _reserve(market: Market, reserve: Reserve) -> tuple[int, ...]:
    income, debt_index = reserve.income(market.now), reserve.debt_index(market.now)
    price = market.prices[reserve.asset]
    return (
        reserve.liquidity_index,
        reserve.borrow_index,
        reserve.updated,
        reserve.accrued,
        reserve.liquidity_rate,
        reserve.borrow_rate,
        reserve.deficit,
        reserve.virtual,
        income,
        debt_index,
        reserve.a.total,
        reserve.d.total,
        reserve.a.balance(reserve.a.total, income),
        reserve.d.balance(reserve.d.total, debt_index),
        reserve.underlying.of(reserve.vault),
        reserve.config.word(),
        reserve.pending_ltv,
        reserve.grace_until,
        reserve.id,
        0,
        reserve.rates.optimal,
        reserve.rates.base,
        reserve.rates.slope1,
        reserve.rates.slope2,
        price if price > 0 else REFUSED,
    )


def observation(assets: tuple[str, ...], found: Sequence[int | str]) -> Observation:
    """Names with values; a lens that reverted as a whole shows as one word."""
    if len(found) == 1:
        return {"lens": found[0]}
    return dict(zip(names(assets), found, strict=True))
