"""What must hold after every step of every sequence (DESIGN §4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from risk.exact.state import Linear, Option, State, World

if TYPE_CHECKING:
    from risk.diff.plumbline.setup import Deployment


def broken(state: State, world: World, deployment: Deployment) -> Iterator[str]:
    """One readable line for each invariant that does not hold."""
    claims = sum(a.cash_wad for a in state.accounts.values())
    claims += sum(u.pnl_pool_wad for u in state.underlyings) + state.insurance_wad
    if claims != state.cash_held_wad:
        yield f"cash held {state.cash_held_wad} is not the claims {claims}"
    held = world.balances[state.cash_token][world.vault] * 10 ** (18 - state.cash_decimals)
    if held != state.cash_held_wad:
        yield f"token balance {held} is not the cash held {state.cash_held_wad}"
    for j, collateral in enumerate(state.collaterals):
        total = sum(a.collateral[j] for a in state.accounts.values())
        if (
            not total
            == collateral.total_held
            == world.balances[collateral.token].get(world.vault, 0)
        ):
            yield f"collateral {j}: accounts {total}, total {collateral.total_held}"
    sizes: Counter[int] = Counter()
    longs: Counter[int] = Counter()
    for account in state.accounts.values():
        positions: list[Linear | Option] = [*account.linear, *account.options]
        for p in positions:
            sizes[p.instrument] += p.size_wad
            longs[p.instrument >> 28] += max(0, p.size_wad)
    for instrument, total in sizes.items():
        if total:
            yield f"sizes of {instrument:#010x} sum to {total}"
    for u, underlying in enumerate(state.underlyings):
        if underlying.pnl_pool_wad < 0:
            yield f"pool {u} is negative"
        if underlying.open_interest_wad != longs[u]:
            yield f"open interest {u} is {underlying.open_interest_wad}, longs are {longs[u]}"
    if state.insurance_wad < 0:
        yield "the insurance fund is negative"
