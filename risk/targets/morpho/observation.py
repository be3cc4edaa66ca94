"""The complete state by name, from the model and from the words of ``MorphoLens.snapshot``.

Both sides list the same names in the same order: totals of markets first, because the first
difference is reported as the first diverging quantity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from risk.diff.adapter import Observation, Value
from risk.targets.morpho.model import ZERO, Market, MarketParams, Morpho, Position
from risk.targets.morpho.surroundings import (
    EMPTY_IRM,
    IRM_NAMES,
    NO_IRM,
    NOWHERE,
    ODD_TOKEN,
    Token,
)
from risk.targets.morpho.world import HOLDERS, LLTVS

DESERT = "desert"  # an address without code
TOTALS = (
    *("total_supply_assets", "total_supply_shares", "total_borrow_assets"),
    *("total_borrow_shares", "last_update", "fee"),
)
PARAMS = ("loan_token", "collateral_token", "oracle", "irm", "lltv")
POSITION = ("supply_shares", "borrow_shares", "collateral")


@lru_cache(maxsize=64)
def names(markets: int, tokens: int, oracles: int) -> tuple[str, ...]:
    """Names of all words of a snapshot behind the six of its header."""
    return tuple(_names(markets, tokens, oracles))


def _names(markets: int, tokens: int, oracles: int) -> Iterator[str]:
    yield from ("owner", "fee_recipient")
    for i in range(markets):
        yield from (f"market[{i}].{name}" for name in (*TOTALS, *PARAMS))
        yield from (f"position[{i}][{who}].{name}" for who in HOLDERS for name in POSITION)
    for i in range(tokens):
        yield f"token[{i}].total_supply"
        for who in HOLDERS:
            yield from (f"token[{i}].balance[{who}]", f"token[{i}].allowance[{who}]")
    yield from (f"price[{i}]" for i in range(oracles))
    for who in HOLDERS:
        yield f"nonce[{who}]"
        yield from (f"authorized[{who}][{other}]" for other in HOLDERS)
    yield from (f"irm_enabled[{name}]" for name in IRM_NAMES)
    yield from (f"lltv_enabled[{lltv}]" for lltv in LLTVS)
    yield from ("rate", "odd_mode")


def from_words(packed: bytes, label: Callable[[int], str]) -> Observation:
    """A snapshot by name; ``label`` says who or what an address is.

    Raises ``ValueError`` where its size is another.
    """
    words = [int.from_bytes(packed[i : i + 32], "big") for i in range(0, len(packed), 32)]
    markets, holders, tokens, oracles, irms, lltvs = words[:6]
    if (holders, irms, lltvs) != (len(HOLDERS), len(IRM_NAMES), len(LLTVS)):
        raise ValueError(f"the lens was configured for other parts: {words[:6]}")
    values: list[Value] = list(words[6:])
    addresses = [0, 1]
    for i in range(markets):
        first = 2 + i * (len(TOTALS) + len(PARAMS) + len(POSITION) * holders) + len(TOTALS)
        addresses += range(first, first + len(PARAMS) - 1)
    for at in addresses:
        values[at] = label(words[6 + at])
    return dict(zip(names(markets, tokens, oracles), values, strict=True))


def from_model(model: Morpho) -> Observation:
    """The model's state."""
    tokens = [token for token in model.tokens.values() if token.code]
    values: list[Value] = [model.owner, model.fee_recipient]
    for market in model.listed:
        state = model.markets.get(market)
        values += _totals(state or Market())
        values += _parameters(market) if state else (*[ZERO] * 4, 0)
        for who in HOLDERS:
            values += _position(model.positions.get((market, who)))
    for token in tokens:
        values.append(token.total_supply)
        for who in HOLDERS:
            values += _held(token, who)
    values += model.prices
    for who in HOLDERS:
        values.append(model.nonces.get(who, 0))
        values += [int((who, other) in model.authorized) for other in HOLDERS]
    values += [int(irm in model.irms) for irm in range(len(IRM_NAMES))]
    values += [int(lltv in model.lltvs) for lltv in LLTVS]
    values += [model.rate, model.tokens[ODD_TOKEN].mode]
    wanted = names(len(model.listed), len(tokens), len(model.prices))
    return dict(zip(wanted, values, strict=True))


@lru_cache(maxsize=256)
def _parameters(m: MarketParams) -> tuple[Value, ...]:
    return (
        token_label(m.loan_token),
        token_label(m.collateral_token),
        oracle_label(m.oracle),
        irm_label(m.irm),
        m.lltv,
    )


def token_label(token: int) -> str:
    """Name of a token's contract."""
    return DESERT if token == NOWHERE else f"token {token}"


def oracle_label(oracle: int) -> str:
    """Name of an oracle's contract."""
    return DESERT if oracle == NOWHERE else f"oracle {oracle}"


def irm_label(irm: int) -> str:
    """Name of an interest rate model's contract."""
    return {NO_IRM: ZERO, EMPTY_IRM: DESERT}.get(irm, f"irm {irm}")


def _totals(m: Market) -> tuple[int, ...]:
    return (
        m.total_supply_assets,
        m.total_supply_shares,
        m.total_borrow_assets,
        m.total_borrow_shares,
        m.last_update,
        m.fee,
    )


def _position(p: Position | None) -> tuple[int, int, int]:
    return (0, 0, 0) if p is None else (p.supply_shares, p.borrow_shares, p.collateral)


def _held(token: Token, who: str) -> tuple[int, int]:
    return (token.balance.get(who, 0), token.allowance.get(who, 0))
