"""Whether an account is bankrupt: mark equity below zero at every price that could be the right
one.  Twin: ``contracts/waterfall/Bankruptcy.sol``.

The same three tests as before a liquidation (docs/liquidation.md §1), of M against 0 instead of E
against MM.  No market's state stops them.
"""

from __future__ import annotations

from collections.abc import Iterable

from risk.exact.errors import ModelRevert
from risk.exact.margin import drift, margin_logic
from risk.exact.margin.drift import Live
from risk.exact.market import feed_reader, funding, snapshots
from risk.exact.market.feed_reader import OracleState
from risk.exact.params.risk_params import RiskParams
from risk.exact.state import Account, State, World


def poke(state: State, world: World, p: RiskParams, mask: Iterable[int]) -> Live:
    """Bring funding of each underlying of ``mask`` to now and take each snapshot that is due,
    ascending, where the live price is usable; returns the usable live prices.
    """
    live = Live()
    for u in sorted(mask):
        funding.accrue(state, world, p, u)
        oracle_state, price_wad, updated_at = feed_reader.live(state, world, p, u)
        if oracle_state > OracleState.UNCERTAIN:
            continue
        live.prices[u] = price_wad, updated_at
        due = snapshots.is_due(state, world, p, u, price_wad)
        if due or snapshots.any_rate_left_band(state, world, p, u):
            snapshots.take(state, world, p, u, price_wad, updated_at)
    return live


def deficit(
    state: State, world: World, p: RiskParams, account_id: int, a: Account, live: Live
) -> int:
    """−M of the account as it is stored, > 0; ``NotBankrupt`` unless M < 0 at the snapshots, at
    the live prices, and with every market without a usable price at its most favourable value
    within its band.
    """
    mark_equity = margin_logic.compute(state, account_id).mark_equity
    if mark_equity >= 0:
        raise ModelRevert("NotBankrupt", (account_id, mark_equity))
    mask = drift.underlying_mask(p, a)
    favour = drift.favour(state, p, a, mask - live.prices.keys())
    for j, amount in enumerate(a.collateral):
        if amount and p.collaterals[j].has_rate:
            rate_wad, _, _ = feed_reader.live_rate(state, world, j)
            if rate_wad:
                live.rates[j] = rate_wad
    moved = drift.moved_mask(state, p, a, mask, live)
    if moved and mark_equity + favour + 2 * drift.bound(state, p, a, moved, live) >= 0:
        for u in sorted(moved):
            snapshots.take(state, world, p, u, *live.prices[u])
        mark_equity = margin_logic.compute(state, account_id).mark_equity
    if mark_equity + favour >= 0:
        raise ModelRevert("NotBankrupt", (account_id, mark_equity))
    return -mark_equity
