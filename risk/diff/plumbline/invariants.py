"""What must hold after every step of every sequence (DESIGN §4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from risk.diff.plumbline.conduct import misconduct
from risk.exact.custody import interest_lib, pnl_lib
from risk.exact.settlement import settlement_lib
from risk.exact.settlement.settlement_lib import WIND_DOWN
from risk.exact.state import Account, State, World

if TYPE_CHECKING:
    from risk.diff.plumbline.model_session import ModelSession

WAD = 10**18
# every account rounds once against itself, the totals round once an accrual and booking
CASH_DUST = 10**6
QUOTE_DUST = 10**6  # wei that fills, settlements and ADL may lose in one underlying


def broken(session: ModelSession) -> Iterator[str]:
    """One readable line for each invariant that does not hold."""
    state, world = session.state, session.vault.world
    yield from _tokens(state, world)
    sizes, longs, quotes = _positions(state)
    yield from _open_interest(state, sizes, longs)
    yield from _claims(state, sizes, quotes)
    yield from _cash_market(state)
    yield from _flags(state, world)
    yield from misconduct(session)


def _tokens(state: State, world: World) -> Iterator[str]:
    """The token identity, cash and every collateral."""
    claims = sum(a.cash_wad for a in state.accounts.values())
    claims += sum(u.pnl_pool_wad for u in state.underlyings) + state.insurance_wad
    claims += state.interest_wad
    if claims != state.cash_held_wad:
        yield f"cash held {state.cash_held_wad} is not the claims {claims}"
    held = world.balances[state.cash_token][world.vault] * 10 ** (18 - state.cash_decimals)
    if held != state.cash_held_wad:
        yield f"token balance {held} is not the cash held {state.cash_held_wad}"
    for j, collateral in enumerate(state.collaterals):
        total = sum(a.collateral[j] for a in state.accounts.values())
        balance = world.balances.get(collateral.token, {}).get(world.vault, 0)
        if not total == collateral.total_held == balance:
            yield f"collateral {j}: accounts {total}, total {collateral.total_held}"
    if state.insurance_wad < 0:
        yield "the insurance fund is negative"


def _positions(state: State) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """(Σ size by instrument, Σ long by instrument, Σ quote by underlying)"""
    sizes: Counter[int] = Counter()
    longs: Counter[int] = Counter()
    quotes: Counter[int] = Counter()
    for account in state.accounts.values():
        for p in account.linear:
            sizes[p.instrument] += p.size_wad
            quotes[p.instrument >> 28] += p.quote_wad
            if p.size_wad > 0:
                longs[p.instrument] += p.size_wad
        for o in account.options:
            sizes[o.instrument] += o.size_wad
            if o.size_wad > 0:
                longs[o.instrument] += o.size_wad
    return sizes, longs, quotes


def settled_value(state: State, instrument: int) -> int | None:
    """What a unit that is still held will be settled at; None where that is not fixed yet."""
    record = state.settlements.get(WIND_DOWN | instrument)
    if record is not None:
        if instrument >> 26 & 3:
            return record.price_wad
        funding = record.mean_wad - (1 << 80) * (record.mean_wad >> 79)
        return record.price_wad - funding * pnl_lib.FUNDING_UNIT
    if settlement_lib.has_price(state, instrument):
        day = instrument >> 28 << 16 | instrument >> 10 & 0xFFFF
        return settlement_lib.payoff(state, instrument, state.settlements[day].price_wad)
    return None


def _open_interest(state: State, sizes: Counter[int], longs: Counter[int]) -> Iterator[str]:
    """Sizes are zero-sum while nobody was settled; open interest is the longs, exactly."""
    for instrument, total in sizes.items():
        if total and settled_value(state, instrument) is None:
            yield f"sizes of {instrument:#010x} sum to {total}"
    for instrument in longs.keys() | state.open_interest.keys():
        if state.open_interest.get(instrument, 0) != longs[instrument]:
            yield f"open interest of {instrument:#010x}: longs are {longs[instrument]}"
    by_underlying: Counter[int] = Counter()
    for instrument, units in longs.items():
        by_underlying[instrument >> 28] += units
    for u, underlying in enumerate(state.underlyings):
        if underlying.open_interest_wad != by_underlying[u]:
            yield f"open interest {u} is {underlying.open_interest_wad}: {by_underlying[u]} long"


def _claims(state: State, sizes: Counter[int], quotes: Counter[int]) -> Iterator[str]:
    """Per underlying, what accounts claim is what the pool and the other side hold: never more, and
    less by dust only.  What was settled on one side counts at its settlement value on the other.
    """
    owed = Counter({u: quote * WAD for u, quote in quotes.items()})
    for instrument, total in sizes.items():
        if total:
            value = settled_value(state, instrument)
            owed[instrument >> 28] += total * (value or 0)
    for u, underlying in enumerate(state.underlyings):
        if underlying.pnl_pool_wad < 0:
            yield f"pool {u} is negative"
        rest = owed[u] - underlying.pnl_pool_wad * WAD
        if rest > 0:
            yield f"claims of underlying {u} exceed pool and debts by {rest} e-36"
        if rest < -QUOTE_DUST * WAD:
            yield f"underlying {u} lost {-rest} e-36"


def _cash_market(state: State) -> Iterator[str]:
    """The totals cover what accounts add up to, and what lenders are owed is owed by somebody."""
    cash = [
        interest_lib.touched(state, a.cash_wad, a.interest_index) for a in state.accounts.values()
    ]
    supply, borrow = sum(c for c in cash if c > 0), -sum(c for c in cash if c < 0)
    if supply > state.supply_wad + CASH_DUST:
        yield f"lenders own {supply}, the total says {state.supply_wad}"
    if borrow < state.borrow_wad - CASH_DUST:
        yield f"borrowers owe {borrow}, the total says {state.borrow_wad}"
    pools = sum(u.pnl_pool_wad for u in state.underlyings)
    owed = supply - borrow + pools + state.insurance_wad
    if owed > state.cash_held_wad + CASH_DUST:
        yield f"claims {owed} exceed the cash held {state.cash_held_wad}"


def _flags(state: State, world: World) -> Iterator[str]:
    """Times do not lie in the future, nothing waits for a check, an index stands for some cash."""
    if state.deferring or state.deferred:
        yield "margin checks are still deferred"
    for number, account in state.accounts.items():
        if account.flagged_at > world.timestamp:
            yield f"account {number:#x} is flagged in the future"
        if account.cash_wad == 0 and account.interest_index:
            yield f"account {number:#x} has an index without cash"
        yield from _lists(number, account)
    if any(bits > 7 for bits in state.operators.values()):
        yield "an operator has a right that does not exist"


def _lists(number: int, account: Account) -> Iterator[str]:
    """No instrument twice, no empty entry."""
    ids = [p.instrument for p in account.linear] + [o.instrument for o in account.options]
    if len(ids) != len(set(ids)):
        yield f"account {number:#x} holds an instrument twice"
    if any(p.size_wad == 0 and p.quote_wad <= 0 for p in account.linear):
        yield f"account {number:#x} keeps an entry without size or claim"
    if any(o.size_wad == 0 for o in account.options):
        yield f"account {number:#x} keeps an option without size"
