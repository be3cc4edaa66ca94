"""The stated bound of docs/liquidation.md §3, computed from the account before a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from risk.exact.margin.margin_engine import Margin
from tests.support.vault_twin import WAD, iid


@dataclass(frozen=True)
class HealthBounds:
    """D, and the constant part of the scan, in wei."""

    target_wad: int
    legs_wei: int  # D
    deductions_wei: int  # 8193·rows
    liq_dust_wei: int

    def check_landed(self, before: Margin, after: Margin) -> None:
        """HF' = t within the bound, and not below HF."""
        d = 2 * self.legs_wei
        high = self.target_wad + d * WAD // after.mm + 1
        low = self.target_wad - (d + self.deductions_wei + self.liq_dust_wei) * WAD // after.mm - 5
        assert low <= after.health_factor <= high, (after.health_factor - self.target_wad, d)
        self.check_not_lower(before, after)

    def check_not_lower(self, before: Margin, after: Margin) -> None:
        """HF' ≥ HF within the bound."""
        slack = (2 * self.legs_wei + self.deductions_wei) * (WAD + abs(before.health_factor))
        assert after.health_factor >= before.health_factor - slack // after.mm - 1


def health_bounds(market: Any, account_id: int) -> HealthBounds:
    """For the account as it stands."""
    state, account = market.state, market.state.accounts[account_id]
    p = state.params
    total = 0
    held = [(j, a) for j, a in enumerate(account.collateral) if a]
    for j, _ in held:
        c = p.collaterals[j]
        unit = 10 ** (18 - c.decimals)
        total += 2 * (unit * state.underlyings[c.underlying].price_wad // WAD + 1)
    positions = [*account.linear, *account.options]
    worst = {u: _worst(state, u, positions) for u in range(len(state.underlyings))}
    for x in positions:
        total += 4 * worst[iid.underlying(x.instrument)]
    legs = total + 4 * (len(positions) + len(held) + 2)
    dust = 0
    for u, data in enumerate(state.underlyings):
        units = sum(abs(x.size_wad) for x in positions if iid.underlying(x.instrument) == u)
        params = p.underlyings[u]
        if units > params.depth_wad:
            slope = 2 * data.price_wad * params.liq_bps * units // (params.depth_wad * 10_000 * WAD)
            dust += (len(positions) + 1) * (slope + 2)
    rows = len(account.options) + len(state.underlyings)
    return HealthBounds(p.target_bps * 10**14, legs, 8193 * rows, 2 * dust)


def _worst(state: Any, u: int, positions: list[Any]) -> int:
    """Largest value of 1e-18 units of an instrument of ``u``: nothing here is worth more than
    twice spot or strike.
    """
    strikes = [
        state.buckets[iid.bucket_key(x.instrument)].strikes_wad[iid.strike_index(x.instrument)]
        for x in positions
        if iid.underlying(x.instrument) == u and iid.kind(x.instrument) >= iid.CALL
    ]
    return 2 * max([state.underlyings[u].price_wad, *strikes]) // WAD + 1
