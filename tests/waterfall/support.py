"""Books whose first account is bankrupt, and what a keeper computes before it deleverages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from risk.exact.custody import interest_lib
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, Linear, Option
from risk.exact.waterfall import deleverage, insurance_lib, theta, waterfall_logic
from tests.support.vault_fixtures import EXPIRIES, PRICES, Market, params
from tests.support.vault_twin import ALICE, BOB, CAROL, DAVE, WAD, account, iid

A = account(ALICE)
LENDER = account(DAVE, 255)
PERP = iid.encode(0, iid.PERP, 0, 0)
BTC_PERP = iid.encode(1, iid.PERP, 0, 0)
FUTURE = iid.encode(0, iid.FUTURE, EXPIRIES[1], 0)
CALL = iid.encode(0, iid.CALL, EXPIRIES[1], 30)
PUT = iid.encode(0, iid.PUT, EXPIRIES[1], 36)
KINDS = {"perp": PERP, "future": FUTURE, "call": CALL, "put": PUT}
PRICE = PRICES[0]


@dataclass
class Holding:
    """``linear``: (instrument, size, quote); ``options``: (instrument, size)."""

    cash: int = 0
    collateral: dict[int, int] = field(default_factory=dict)
    linear: Sequence[tuple[int, int, int]] = ()
    options: Sequence[tuple[int, int]] = ()


def position(instrument: int, size: int, price: int = PRICE) -> dict[str, Any]:
    """A position entered at ``price``."""
    if iid.kind(instrument) >= iid.CALL:
        return {"options": [(instrument, size)]}
    return {"linear": [(instrument, size, -size * price)]}


def others(n: int) -> list[int]:
    """``n`` accounts of three owners, ascending."""
    return sorted(account((BOB, CAROL, DAVE)[i % 3], i // 3) for i in range(n))


def write(market: Market, book: dict[int, Holding], *, chain: bool = True, **totals: int) -> None:
    """The book into both sides; cash as of the present indices, so that it earns and loses."""
    state = market.state
    for identity, h in book.items():
        amounts = [h.collateral.get(j, 0) for j in range(16)]
        index = state.supply_index_e15 if h.cash > 0 else state.borrow_index_e15
        state.accounts[identity] = Account(
            cash_wad=h.cash,
            collateral=amounts,
            linear=[Linear(*x) for x in h.linear],
            options=[Option(*x) for x in h.options],
            interest_index=index if h.cash else 0,
        )
    for name, value in totals.items():
        setattr(state, name, value)
    market.settle_totals()
    if chain:
        market.write_state()


def set_equity(market: Market, account_id: int, mark_equity: int, *, chain: bool = True) -> None:
    """Cash of the account such that M is ``mark_equity``; written to both sides."""
    a = market.state.accounts[account_id]
    a.cash_wad, a.interest_index = -(10**30), market.state.borrow_index_e15
    a.cash_wad += mark_equity - market.model.margin(account_id).mark_equity
    if a.cash_wad >= 0:
        a.interest_index = market.state.supply_index_e15 if a.cash_wad else 0
    market.settle_totals()
    if chain:
        market.write_state()


def flag_long_ago(market: Market, account_id: int) -> None:
    """As if somebody had flagged it so long ago that it counts as abandoned."""
    p = market.state.params
    assert p is not None
    ago = p.grace_seconds + waterfall_logic.ABANDONED_SECONDS
    market.state.accounts[account_id].flagged_at = market.world.timestamp - ago
    market.write_state()


@dataclass(frozen=True)
class Plan:
    """θ, and what will follow from it."""

    theta: int
    deficit: int
    insured: int
    closed: list[int]
    caps: list[int]
    haircuts: list[int]


def plan(market: Market, instrument: int, ids: Sequence[int], account_id: int = A) -> Plan:
    """What a keeper computes from the state, at the snapshots as they are."""
    state = market.state
    assert state.params is not None
    size = waterfall_logic.size_of(state.accounts[account_id], instrument)
    sizes = [abs(waterfall_logic.size_of(state.accounts[i], instrument)) for i in ids]
    total = min(abs(size), sum(sizes))
    deficit = -(market.model.margin(account_id).mark_equity * total // abs(size))
    insured = min(deficit, insurance_lib.available(state, market.world, state.params))
    closed = deleverage.shares(sizes, sum(sizes), total)
    caps = [theta.cap_of(market.model.margin(i).equity) for i in ids]
    if insured == deficit:
        caps = [0] * len(ids)
    level = theta.find(closed, caps, deficit - insured)
    haircuts, _ = deleverage.haircuts(closed, caps, total, level, deficit - insured)
    return Plan(level, deficit, insured, closed, caps, haircuts)


def adl(
    market: Market, instrument: int, ids: Sequence[int], level: int, account_id: int = A
) -> Any:
    """The call, on both sides."""
    return market.do(CAROL, "autoDeleverage", account_id, instrument, list(ids), level)


def value(market: Market) -> int:
    """Σ cash with interest + Σ quotes + insurance: nothing but tokens changes it."""
    state = market.state
    total = state.insurance_wad
    for a in state.accounts.values():
        total += interest_lib.touched(state, a.cash_wad, a.interest_index)
        total += sum(x.quote_wad for x in a.linear)
    return total


def with_params(market: Market, **changes: Any) -> RiskParams:
    """Set the parameters of the market with changes of their tail."""
    p = params(**changes)
    market.set_params(p)
    return p


__all__ = ["ALICE", "BOB", "CAROL", "DAVE", "WAD"]
